//! The text of an answer while it is written.

use crate::{Stops, Tokenizer};

/// Turns the growing tokens of one answer into text that is never taken back.
///
/// Characters of which only some bytes are there yet, and beginnings of texts that would end the answer, are held back.
#[derive(Debug)]
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    stops: &'a Stops,
    text: String,
    shown: usize,
}

impl<'a> TextStream<'a> {
    /// Nothing written yet.
    pub fn new(tokenizer: &'a Tokenizer, stops: &'a Stops) -> Self {
        Self { tokenizer, stops, text: String::new(), shown: 0 }
    }

    /// What is new with all tokens so far.
    pub fn next(&mut self, tokens: &[u32]) -> &str {
        self.read(tokens);
        let complete = self.text.trim_end_matches('\u{fffd}');
        let end = complete.len() - self.stops.pending(complete);
        self.show(end)
    }

    /// What is left when the answer is complete.
    pub fn rest(&mut self, tokens: &[u32]) -> &str {
        self.read(tokens);
        self.show(self.text.len())
    }

    /// The text so far, what was held back included.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn read(&mut self, tokens: &[u32]) {
        // What cannot be decoded adds nothing.
        let text = self.tokenizer.decode(tokens).unwrap_or_default();
        if text.starts_with(&self.text[..self.shown]) {
            self.text = self.stops.cut(&text).to_owned();
        }
    }

    fn show(&mut self, end: usize) -> &str {
        let start = self.shown.min(self.text.len());
        self.shown = end.max(start);
        &self.text[start..self.shown]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::TokenizerKind;

    #[test]
    fn characters_come_whole_and_stops_never_show() {
        let tokenizer =
            Tokenizer::train(TokenizerKind::Bpe { vocab_size: 280 }, ["ab cd"].into_iter(), &[]).unwrap();
        let stops = Stops::default().with_strings(&["END".into()], &tokenizer);
        let pieces = |text: &str| -> Vec<String> {
            let tokens = tokenizer.encode(text).unwrap();
            let mut stream = TextStream::new(&tokenizer, &stops);
            let mut pieces: Vec<String> =
                (1..=tokens.len()).map(|n| stream.next(&tokens[..n]).to_owned()).collect();
            pieces.push(stream.rest(&tokens).to_owned());
            assert_eq!(stream.text(), pieces.concat());
            pieces.into_iter().filter(|piece| !piece.is_empty()).collect()
        };
        assert_eq!(pieces("x🦀y"), ["x", "🦀", "y"]);
        assert_eq!(pieces("xENy"), ["x", "ENy"]);
        assert_eq!(pieces("xEN"), ["x", "EN"]);
        assert_eq!(pieces("xEND"), ["x"]);
    }
}
