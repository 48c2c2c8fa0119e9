//! Where an answer ends.

use crate::Tokenizer;

/// What ends an answer besides its length.
#[derive(Clone, Debug, Default)]
pub struct Stops {
    ids: Vec<u32>,
    strings: Option<StopStrings>,
}

/// Texts that end an answer, and what turns tokens into text.
#[derive(Clone, Debug)]
struct StopStrings {
    strings: Vec<String>,
    /// So many of the last tokens hold any of the texts that the last token completes.
    window: usize,
    tokenizer: Tokenizer,
}

/// More tokens than one character has.
const TOKENS_OF_A_CHARACTER: usize = 8;

impl From<Vec<u32>> for Stops {
    /// Ends at any of these tokens, which are part of the answer.
    fn from(ids: Vec<u32>) -> Self {
        Self { ids, strings: None }
    }
}

impl Stops {
    /// Ends also as soon as the answer's text holds one of these; empty ones never occur.
    pub fn with_strings(self, strings: &[String], tokenizer: &Tokenizer) -> Self {
        let strings: Vec<String> = strings.iter().filter(|string| !string.is_empty()).cloned().collect();
        let Some(longest) = strings.iter().map(String::len).max() else { return self };
        let window = longest + TOKENS_OF_A_CHARACTER;
        Self { strings: Some(StopStrings { strings, window, tokenizer: tokenizer.clone() }), ..self }
    }

    /// The tokens.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Whether the last of an answer's tokens ends it.
    pub(crate) fn end(&self, answer: &[u32]) -> bool {
        let Some(last) = answer.last() else { return false };
        self.ids.contains(last)
            || self.strings.as_ref().is_some_and(|stop| {
                let tail = &answer[answer.len().saturating_sub(stop.window)..];
                // Text that cannot be decoded holds nothing that ends it.
                stop.tokenizer.decode(tail).is_ok_and(|text| stop.first_in(&text).is_some())
            })
    }

    /// An answer's text up to the first text that ends it.
    pub fn cut<'a>(&self, text: &'a str) -> &'a str {
        match self.strings.as_ref().and_then(|stop| stop.first_in(text)) {
            Some(end) => &text[..end],
            None => text,
        }
    }

    /// How much of the end of an unfinished text may be the beginning of one that ends it, in bytes.
    pub fn pending(&self, text: &str) -> usize {
        let strings = self.strings.iter().flat_map(|stop| &stop.strings);
        let begun = |string: &String| {
            let lengths = (1..string.len()).rev().filter(|&n| string.is_char_boundary(n));
            lengths.into_iter().find(|&n| text.ends_with(&string[..n])).unwrap_or(0)
        };
        strings.map(begun).max().unwrap_or(0)
    }
}

impl StopStrings {
    fn first_in(&self, text: &str) -> Option<usize> {
        self.strings.iter().filter_map(|string| text.find(string.as_str())).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TokenizerKind;

    #[test]
    fn an_answer_ends_at_a_token_or_within_a_text() {
        let tokenizer =
            Tokenizer::train(TokenizerKind::Bpe { vocab_size: 280 }, ["ab cd"].into_iter(), &[]).unwrap();
        let tokens = |text: &str| tokenizer.encode(text).unwrap();
        let ids = Stops::from(vec![tokenizer.eos()]);
        assert!(ids.end(&[3, tokenizer.eos()]) && !ids.end(&[tokenizer.eos(), 3]) && !ids.end(&[]));

        let strings = ["b c".to_owned(), "🦀🦀".into(), String::new()];
        let stops = ids.with_strings(&strings, &tokenizer);
        let whole = tokens("xx ab cd");
        let first = (1..=whole.len()).find(|&n| stops.end(&whole[..n])).unwrap();
        assert!(tokenizer.decode(&whole[..first]).unwrap().contains("b c"));
        assert!(!tokenizer.decode(&whole[..first - 1]).unwrap().contains("b c"));
        assert!(stops.end(&tokens("a long way before 🦀🦀")) && !stops.end(&tokens("🦀 🦀")));
        assert_eq!((stops.cut("ab cd"), stops.cut("abc")), ("a", "abc"));
        assert_eq!(["ab ", "a", "x🦀", ""].map(|text| stops.pending(text)), [2, 0, 4, 0]);
    }
}
