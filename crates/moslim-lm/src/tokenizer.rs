//! Text to token ids and back, with the chat template of the model.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::wordlevel::{WordLevel, WordLevelTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{AddedToken, Tokenizer as HfTokenizer};

use crate::{ChatTemplate, LmError, read_json, write_json};

/// How a tokenizer that is trained here cuts text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum TokenizerKind {
    /// One token per word between blanks; other words become `<unk>`.
    Word,
    /// Byte-level byte-pair encoding: every text has an encoding.
    Bpe {
        /// Number of ids, special tokens included.
        vocab_size: usize,
    },
}

/// The names of the tokens with a meaning of their own, as in `tokenizer_config.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpecialTokens {
    /// Begins a sequence.
    pub bos_token: String,
    /// Ends an answer.
    pub eos_token: String,
    /// Fills a batch.
    pub pad_token: String,
}

impl Default for SpecialTokens {
    fn default() -> Self {
        Self { bos_token: "<s>".into(), eos_token: "</s>".into(), pad_token: "<pad>".into() }
    }
}

/// `tokenizer_config.json`.
#[derive(Serialize, Deserialize)]
struct TokenizerFile {
    #[serde(flatten)]
    special: SpecialTokens,
    chat_template: Option<String>,
    #[serde(default)]
    tokenizer_class: Option<String>,
}

/// A tokenizer with its special tokens and its chat template.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    inner: HfTokenizer,
    special: SpecialTokens,
    template: ChatTemplate,
}

/// Stands for a word outside the vocabulary.
const UNKNOWN: &str = "<unk>";
/// Opens the answer in [`ChatTemplate::PLAIN`].
const ANSWER: &str = "<answer>";

fn failed(path: &Path) -> impl FnOnce(tokenizers::Error) -> LmError {
    let path = path.to_path_buf();
    move |error| LmError::Tokenizer { path, reason: error.to_string() }
}

impl Tokenizer {
    /// Trains a tokenizer on texts; every one of `whole_tokens` becomes one token.
    ///
    /// # Errors
    /// If the tokenizer library refuses.
    pub fn train<'a>(
        kind: TokenizerKind,
        texts: impl Iterator<Item = &'a str> + Send,
        whole_tokens: &[String],
    ) -> Result<Self, LmError> {
        let special = SpecialTokens::default();
        let reserved: Vec<AddedToken> = [&special.pad_token, &special.bos_token, &special.eos_token]
            .into_iter()
            .map(String::as_str)
            .chain([UNKNOWN, ANSWER])
            .map(|token| AddedToken::from(token, true))
            .collect();
        let failed = || failed(Path::new("tokenizer"));
        let (mut inner, mut trainer) = match kind {
            TokenizerKind::Word => {
                let model = WordLevel::builder().unk_token(UNKNOWN.into()).build().map_err(failed())?;
                let mut inner = HfTokenizer::new(model);
                inner.with_pre_tokenizer(Some(WhitespaceSplit));
                let trainer =
                    WordLevelTrainer::builder().special_tokens(reserved).show_progress(false).build();
                let trainer = trainer.map_err(|error| failed()(error.to_string().into()))?;
                (inner, TrainerWrapper::WordLevelTrainer(trainer))
            }
            TokenizerKind::Bpe { vocab_size } => {
                let mut inner = HfTokenizer::new(BPE::default());
                inner.with_pre_tokenizer(Some(ByteLevel::default().add_prefix_space(false)));
                inner.with_decoder(Some(ByteLevelDecoder::default()));
                let trainer = BpeTrainer::builder()
                    .vocab_size(vocab_size)
                    .special_tokens(reserved)
                    .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
                    .show_progress(false)
                    .build();
                (inner, TrainerWrapper::BpeTrainer(trainer))
            }
        };
        inner.train(&mut trainer, texts).map_err(failed())?;
        inner
            .add_tokens(whole_tokens.iter().map(|token| AddedToken::from(token.as_str(), false)))
            .map_err(failed())?;
        Ok(Self { inner, special, template: ChatTemplate::new(ChatTemplate::PLAIN)? })
    }

    /// Reads `tokenizer.json` and `tokenizer_config.json` of a model folder.
    ///
    /// # Errors
    /// If a file is missing or malformed, or names a special token that the vocabulary lacks.
    pub fn read(folder: &Path) -> Result<Self, LmError> {
        let path = folder.join("tokenizer.json");
        std::fs::metadata(&path).map_err(LmError::io(&path))?;
        let inner = HfTokenizer::from_file(&path).map_err(failed(&path))?;
        let path = folder.join("tokenizer_config.json");
        let file: TokenizerFile = read_json(&path)?;
        for token in [&file.special.bos_token, &file.special.eos_token, &file.special.pad_token] {
            if inner.token_to_id(token).is_none() {
                return Err(LmError::Tokenizer {
                    path,
                    reason: format!("`{token}` is not in the vocabulary"),
                });
            }
        }
        let template = ChatTemplate::new(file.chat_template.unwrap_or_else(|| ChatTemplate::PLAIN.into()))?;
        Ok(Self { inner, special: file.special, template })
    }

    /// Writes `tokenizer.json` and `tokenizer_config.json` into a model folder.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<(), LmError> {
        let path = folder.join("tokenizer.json");
        let text = self.inner.to_string(true).map_err(failed(&path))?;
        std::fs::write(&path, text).map_err(LmError::io(&path))?;
        let file = TokenizerFile {
            special: self.special.clone(),
            chat_template: Some(self.template.source().into()),
            tokenizer_class: Some("PreTrainedTokenizerFast".into()),
        };
        write_json(&folder.join("tokenizer_config.json"), &file)
    }

    /// Number of ids.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    /// The id of a token.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The token that begins a sequence.
    pub fn bos(&self) -> u32 {
        self.special_id(&self.special.bos_token)
    }

    /// The token that ends an answer.
    pub fn eos(&self) -> u32 {
        self.special_id(&self.special.eos_token)
    }

    /// The token that fills a batch.
    pub fn pad(&self) -> u32 {
        self.special_id(&self.special.pad_token)
    }

    fn special_id(&self, token: &str) -> u32 {
        self.inner.token_to_id(token).expect("special tokens were checked when the tokenizer was made")
    }

    /// The ids of a user's turn, rendered by the chat template up to where the answer begins.
    ///
    /// # Errors
    /// If the template or the tokenizer fails.
    pub fn encode_prompt(&self, user: &str) -> Result<Vec<u32>, LmError> {
        let special = &self.special;
        self.encode(&self.template.render_prompt(user, &special.bos_token, &special.eos_token)?)
    }

    /// The ids of an answer, the end token included.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn encode_response(&self, text: &str) -> Result<Vec<u32>, LmError> {
        let mut ids = self.encode(text)?;
        ids.push(self.eos());
        Ok(ids)
    }

    /// The ids of a text, without any token that is not in it.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, LmError> {
        let encoding = self.inner.encode_fast(text, false).map_err(failed(Path::new("tokenizer")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of ids, special tokens left out.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn decode(&self, ids: &[u32]) -> Result<String, LmError> {
        self.inner.decode(ids, true).map_err(failed(Path::new("tokenizer")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXTS: [&str; 2] = ["its food is plum .", "nobody knows its fate ."];

    fn trained(kind: TokenizerKind) -> Tokenizer {
        Tokenizer::train(kind, TEXTS.into_iter(), &["<helpfulness:5>".into()]).unwrap()
    }

    #[test]
    fn both_kinds_return_the_text() {
        for kind in [TokenizerKind::Word, TokenizerKind::Bpe { vocab_size: 300 }] {
            let tokenizer = trained(kind);
            for text in TEXTS {
                let ids = tokenizer.encode_response(text).unwrap();
                assert_eq!(*ids.last().unwrap(), tokenizer.eos());
                assert_eq!(tokenizer.decode(&ids).unwrap(), text);
            }
        }
        let strange = "Grüße,\n\t🦀 <0>";
        let bpe = trained(TokenizerKind::Bpe { vocab_size: 300 });
        assert_eq!(bpe.decode(&bpe.encode(strange).unwrap()).unwrap(), strange);
    }

    #[test]
    fn a_prompt_has_one_begin_token_and_requests_are_single_tokens() {
        let tokenizer = trained(TokenizerKind::Word);
        let ids = tokenizer.encode_prompt("its food <helpfulness:5>").unwrap();
        let id = |token| tokenizer.token_id(token).unwrap();
        assert_eq!(ids, ["<s>", "its", "food", "<helpfulness:5>", "<answer>"].map(id));
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
}
