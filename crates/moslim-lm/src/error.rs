//! What can go wrong with a model folder.

use std::path::PathBuf;

/// Why a model, a tokenizer or a template could not be read, written or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LmError {
    /// A file or folder could not be read or written.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// A JSON file is not what it should be.
    #[error("{path}: {source}", path = .path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Line, column and reason.
        source: serde_json::Error,
    },
    /// A model's configuration asks for something that is not supported or contradicts itself.
    #[error("{path}: {field}: found {found}, expected {expected}", path = .path.display())]
    Config {
        /// The configuration file.
        path: PathBuf,
        /// The setting.
        field: &'static str,
        /// What it says.
        found: String,
        /// What is supported.
        expected: String,
    },
    /// The weights do not fit the configuration.
    #[error("{path}: weights do not fit the model: {problems}", path = .path.display())]
    Weights {
        /// The weight file.
        path: PathBuf,
        /// Missing, unexpected and wrongly shaped tensors.
        problems: String,
    },
    /// The tokenizer could not be read, trained or applied.
    #[error("{path}: tokenizer: {reason}", path = .path.display())]
    Tokenizer {
        /// The tokenizer file, or `tokenizer` for one in memory.
        path: PathBuf,
        /// What the tokenizer library says.
        reason: String,
    },
    /// A chat template is missing, malformed or failed.
    #[error("chat template: {0}")]
    Template(#[from] minijinja::Error),
}

impl LmError {
    /// Attaches the path to an I/O error.
    pub fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
