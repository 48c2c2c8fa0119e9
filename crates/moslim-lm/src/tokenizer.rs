//! Text to token ids and back, with the chat template of the model.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use tokenizers::Tokenizer as HfTokenizer;

use crate::special_tokens::{CONFIG, SPECIAL_TOKENS, TEMPLATE};
use crate::{ChatTemplate, LmError, SpecialTokens, write_json};

pub(crate) const TOKENIZER: &str = "tokenizer.json";

/// Files that belong to a tokenizer; those that are there are kept byte for byte.
const FILES: [&str; 9] = [
    TOKENIZER,
    CONFIG,
    SPECIAL_TOKENS,
    TEMPLATE,
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
];

/// Stands for the path in errors of a tokenizer that has been read.
pub(crate) const IN_MEMORY: &str = "tokenizer";

fn n_ids(tokenizer: &HfTokenizer) -> usize {
    tokenizer.get_vocab(true).into_values().max().map_or(0, |highest| highest as usize + 1)
}

/// A tokenizer with its special tokens and its chat template.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    pub(crate) inner: HfTokenizer,
    vocab_size: usize,
    /// What ends an answer in a rendered conversation.
    answer_end: u32,
    special: SpecialTokens,
    template: Option<ChatTemplate>,
    /// The files it was read from.
    files: BTreeMap<&'static str, Vec<u8>>,
}

pub(crate) fn failed(path: &Path) -> impl FnOnce(tokenizers::Error) -> LmError {
    let path = path.to_path_buf();
    move |error| LmError::Tokenizer { path, reason: error.to_string() }
}

/// Calls the library, which panics on some files that are not what they should be; here that is an error.
fn guarded<T>(path: &Path, call: impl FnOnce() -> tokenizers::Result<T>) -> Result<T, LmError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(result) => result.map_err(failed(path)),
        Err(_) => Err(LmError::Tokenizer { path: path.into(), reason: "the file contradicts itself".into() }),
    }
}

impl Tokenizer {
    /// Puts the parts together.
    pub(crate) fn new(inner: HfTokenizer, special: SpecialTokens, template: ChatTemplate) -> Self {
        Self::assemble(inner, special, Some(template), BTreeMap::new())
    }

    fn assemble(
        inner: HfTokenizer,
        special: SpecialTokens,
        template: Option<ChatTemplate>,
        files: BTreeMap<&'static str, Vec<u8>>,
    ) -> Self {
        let mut tokenizer =
            Self { vocab_size: n_ids(&inner), answer_end: 0, inner, special, template, files };
        tokenizer.answer_end = tokenizer.rendered_answer_end().unwrap_or(tokenizer.eos());
        tokenizer
    }

    /// Reads the tokenizer of a model folder: `tokenizer.json`, `tokenizer_config.json`, and if they are there
    /// `special_tokens_map.json` and `chat_template.jinja`.
    ///
    /// # Errors
    /// If a file is missing or malformed, or names a special token that the vocabulary lacks.
    pub fn read(folder: &Path) -> Result<Self, LmError> {
        let path = folder.join(TOKENIZER);
        let bytes = std::fs::read(&path).map_err(LmError::io(&path))?;
        // The library panics on texts that are not JSON or nested too deeply.
        serde_json::from_slice::<serde_json::Value>(&bytes)
            .map_err(|source| LmError::Json { path: path.clone(), source })?;
        let mut inner = guarded(&path, || HfTokenizer::from_bytes(&bytes))?;
        // Leftovers of whoever wrote the file: texts are neither cut nor filled up.
        inner.with_padding(None).with_truncation(None).map_err(failed(&path))?;
        let (special, template) = SpecialTokens::read(folder)?;
        for token in special.all() {
            if inner.token_to_id(token).is_none() {
                return Err(LmError::Tokenizer {
                    path: folder.join(CONFIG),
                    reason: format!("`{token}` is not in the vocabulary"),
                });
            }
        }
        let mut files = BTreeMap::new();
        for name in FILES {
            let path = folder.join(name);
            if path.exists() {
                files.insert(name, std::fs::read(&path).map_err(LmError::io(&path))?);
            }
        }
        let template = template.map(ChatTemplate::new).transpose()?;
        Ok(Self::assemble(inner, special, template, files))
    }

    /// Writes the tokenizer into a model folder; files that it was read from are written as they were.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), LmError> {
        for (name, bytes) in &self.files {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(LmError::io(&path))?;
        }
        if !self.files.is_empty() {
            return Ok(());
        }
        let path = folder.join(TOKENIZER);
        let text = self.inner.to_string(true).map_err(failed(&path))?;
        std::fs::write(&path, text).map_err(LmError::io(&path))?;
        let SpecialTokens { bos_token, eos_token, pad_token, .. } = &self.special;
        let config = serde_json::json!({
            "bos_token": bos_token,
            "eos_token": eos_token,
            "pad_token": pad_token,
            "chat_template": self.template.as_ref().map(ChatTemplate::source),
            "tokenizer_class": "PreTrainedTokenizerFast",
        });
        write_json(&folder.join(CONFIG), &config)
    }

    /// The number of ids: one more than the highest, also where some between are not used.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// Whether both have the same tokens with the same ids.
    pub fn has_vocabulary_of(&self, other: &Self) -> bool {
        self.inner.get_vocab(true) == other.inner.get_vocab(true)
    }

    /// The id of a token.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token that begins a sequence, where the model has one.
    pub fn bos(&self) -> Option<u32> {
        self.special.bos_token.as_deref().map(|token| self.special_id(token))
    }

    /// The token that ends a sequence.
    pub fn eos(&self) -> u32 {
        self.special_id(&self.special.eos_token)
    }

    /// The token that ends an answer: the one that the chat template puts there, such as `<|im_end|>`, or the end token.
    pub fn answer_end(&self) -> u32 {
        self.answer_end
    }

    /// The token that fills a batch; the end token where the model has none.
    pub fn pad(&self) -> u32 {
        self.special_id(self.special.pad_token.as_ref().unwrap_or(&self.special.eos_token))
    }

    /// The names of the special tokens.
    pub(crate) fn special(&self) -> &SpecialTokens {
        &self.special
    }

    fn special_id(&self, token: &str) -> u32 {
        self.inner.token_to_id(token).expect("special tokens were checked when the tokenizer was made")
    }

    /// The chat template; a model without one continues text.
    pub fn template(&self) -> Option<&ChatTemplate> {
        self.template.as_ref()
    }

    /// The ids of a text that stands by itself, with the begin token that the tokenizer puts before it.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn encode_document(&self, text: &str) -> Result<Vec<u32>, LmError> {
        let mut ids = self.encode_with(text, true)?;
        ids.pop_if(|last| *last == self.eos());
        Ok(ids)
    }

    /// The ids of a text, without any token that is not in it.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, LmError> {
        self.encode_with(text, false)
    }

    fn encode_with(&self, text: &str, special_tokens: bool) -> Result<Vec<u32>, LmError> {
        let encoding = guarded(Path::new(IN_MEMORY), || self.inner.encode_fast(text, special_tokens))?;
        match encoding.get_ids().iter().find(|&&id| id as usize >= self.vocab_size) {
            None => Ok(encoding.get_ids().to_vec()),
            // What the tokenizer adds by itself need not be in its vocabulary.
            Some(id) => Err(LmError::Tokenizer {
                path: IN_MEMORY.into(),
                reason: format!("id {id}, expected below {}", self.vocab_size),
            }),
        }
    }

    /// The text of ids, special tokens included.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn decode_whole(&self, ids: &[u32]) -> Result<String, LmError> {
        guarded(Path::new(IN_MEMORY), || self.inner.decode(ids, false))
    }

    /// The text of ids, special tokens left out.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, LmError> {
        guarded(Path::new(IN_MEMORY), || self.inner.decode(ids, true))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::TokenizerKind;
    use crate::conversation::tests::completing;

    pub(crate) const TEXTS: [&str; 2] = ["its food is plum .", "nobody knows its fate ."];

    pub(crate) fn trained(kind: TokenizerKind) -> Tokenizer {
        Tokenizer::train(kind, TEXTS.into_iter(), &["<helpfulness:5>".into()]).unwrap()
    }

    #[test]
    fn a_folder_gives_the_same_tokenizer_back() {
        let folder = tempfile::tempdir().unwrap();
        let tokenizer = trained(TokenizerKind::Bpe { vocab_size: 280 });
        tokenizer.write(folder.path()).unwrap();
        let read = Tokenizer::read(folder.path()).unwrap();
        let text = "its plum knows <helpfulness:5> fate";
        assert_eq!(read.encode_prompt(text).unwrap(), tokenizer.encode_prompt(text).unwrap());
        std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
        assert!(
            Tokenizer::read(folder.path()).unwrap_err().to_string().contains("tokenizer.json: tokenizer:")
        );
        assert!(Tokenizer::read(Path::new("/nowhere")).is_err());
    }

    #[test]
    fn files_are_written_as_they_were_read() {
        let [one, other] = [(), ()].map(|()| tempfile::tempdir().unwrap());
        completing(one.path());
        std::fs::write(one.path().join(TEMPLATE), "{{ bos_token }}{{ messages[0].content }}").unwrap();
        let tokenizer = Tokenizer::read(one.path()).unwrap();
        // The template writes the begin token; none is added to it.
        assert_eq!(tokenizer.encode_prompt("a").unwrap(), [1, 6]);
        tokenizer.write(other.path()).unwrap();
        for name in [TOKENIZER, CONFIG, SPECIAL_TOKENS, TEMPLATE] {
            let read = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
            assert!(read(one.path()) == read(other.path()), "{name}");
        }
    }

    #[test]
    fn templates_may_have_names_and_tokens_must_exist() {
        let folder = tempfile::tempdir().unwrap();
        completing(folder.path());
        let write = |text: &str| std::fs::write(folder.path().join(CONFIG), text).unwrap();
        write(
            r#"{"chat_template": [{"name": "tool_use", "template": "t"}, {"name": "default", "template": "d"}]}"#,
        );
        assert_eq!(Tokenizer::read(folder.path()).unwrap().template().unwrap().source(), "d");
        let message = || Tokenizer::read(folder.path()).unwrap_err().to_string();
        write(r#"{"bos_token": "<begin>"}"#);
        assert!(message().ends_with("`<begin>` is not in the vocabulary"), "{}", message());
        std::fs::remove_file(folder.path().join(SPECIAL_TOKENS)).unwrap();
        write("{}");
        assert!(message().ends_with("no eos_token"), "{}", message());
    }
}
