//! Tokenizers trained on texts.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::wordlevel::{WordLevel, WordLevelTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{AddedToken, Tokenizer as HfTokenizer};

use crate::tokenizer::{IN_MEMORY, failed};
use crate::{ChatTemplate, LmError, SpecialTokens, Tokenizer};

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

const BEGIN: &str = "<s>";
const END: &str = "</s>";
const PADDING: &str = "<pad>";
/// Stands for a word outside the vocabulary.
const UNKNOWN: &str = "<unk>";
/// Opens the answer in [`ChatTemplate::PLAIN`].
const ANSWER: &str = "<answer>";

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
        let reserved =
            [PADDING, BEGIN, END, UNKNOWN, ANSWER].map(|token| AddedToken::from(token, true)).to_vec();
        let failed = || failed(Path::new(IN_MEMORY));
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
        let special = SpecialTokens {
            bos_token: Some(BEGIN.into()),
            eos_token: END.into(),
            unk_token: None,
            pad_token: Some(PADDING.into()),
        };
        Ok(Self::new(inner, special, ChatTemplate::new(ChatTemplate::PLAIN)?))
    }
}
