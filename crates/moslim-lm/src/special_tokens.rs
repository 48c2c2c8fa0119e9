//! What the files beside `tokenizer.json` say: special tokens and the chat template.

use std::path::Path;

use serde::Deserialize;

use crate::{LmError, read_json};

pub(crate) const CONFIG: &str = "tokenizer_config.json";
pub(crate) const SPECIAL_TOKENS: &str = "special_tokens_map.json";
pub(crate) const TEMPLATE: &str = "chat_template.jinja";

/// The names of the tokens with a meaning of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpecialTokens {
    /// Begins a sequence, where the model has such a token.
    pub bos_token: Option<String>,
    /// Ends an answer.
    pub eos_token: String,
    /// Stands for what the vocabulary lacks, where the model has such a token; only templates may use it.
    pub unk_token: Option<String>,
    /// Fills a batch, where the model has such a token; nothing here depends on it.
    pub pad_token: Option<String>,
}

/// A special token as files spell it.
#[derive(Deserialize)]
#[serde(untagged)]
enum TokenEntry {
    Text(String),
    Added { content: String },
}

impl TokenEntry {
    fn text(self) -> String {
        match self {
            Self::Text(text) | Self::Added { content: text } => text,
        }
    }
}

/// The part of `tokenizer_config.json` and `special_tokens_map.json` that is read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct TokenizerConfig {
    bos_token: Option<TokenEntry>,
    eos_token: Option<TokenEntry>,
    unk_token: Option<TokenEntry>,
    pad_token: Option<TokenEntry>,
    chat_template: Option<TemplateEntry>,
}

/// A template, or several with names of which the one called `default` is meant.
#[derive(Deserialize)]
#[serde(untagged)]
enum TemplateEntry {
    One(String),
    Named(Vec<NamedTemplate>),
}

#[derive(Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

impl TemplateEntry {
    fn source(self) -> Option<String> {
        match self {
            Self::One(source) => Some(source),
            Self::Named(all) => all.into_iter().find(|one| one.name == "default").map(|one| one.template),
        }
    }
}

impl SpecialTokens {
    /// Reads the special tokens of a folder and the source of its chat template.
    pub(crate) fn read(folder: &Path) -> Result<(Self, Option<String>), LmError> {
        let path = folder.join(CONFIG);
        let config: TokenizerConfig = read_json(&path)?;
        let map_path = folder.join(SPECIAL_TOKENS);
        let map = if map_path.exists() { read_json(&map_path)? } else { TokenizerConfig::default() };
        let named = |one: Option<TokenEntry>, other: Option<TokenEntry>| one.or(other).map(TokenEntry::text);
        let eos_token = named(config.eos_token, map.eos_token);
        let special = Self {
            bos_token: named(config.bos_token, map.bos_token),
            eos_token: eos_token.ok_or_else(|| LmError::Tokenizer { path, reason: "no eos_token".into() })?,
            unk_token: named(config.unk_token, map.unk_token),
            pad_token: named(config.pad_token, map.pad_token),
        };
        let template_path = folder.join(TEMPLATE);
        let template = match template_path.exists() {
            true => Some(std::fs::read_to_string(&template_path).map_err(LmError::io(template_path))?),
            false => config.chat_template.and_then(TemplateEntry::source),
        };
        Ok((special, template))
    }

    /// The names of tokens that must exist.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        let optional = [&self.bos_token, &self.pad_token].into_iter().flatten();
        optional.chain([&self.eos_token]).map(String::as_str)
    }
}
