//! Why a server did not write rollouts.

use std::path::PathBuf;

/// Why a server did not write rollouts.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// A value of the configuration makes no sense.
    #[error("{field}: found `{found}`, expected {expected}")]
    Config {
        /// Its name.
        field: &'static str,
        /// Its value.
        found: String,
        /// What it may be.
        expected: &'static str,
    },
    /// The API key is not where the configuration says.
    #[error("api_key_env: the environment variable `{0}` is not set, or holds what no header may")]
    ApiKey(String),
    /// The temperature is negative or no number.
    #[error("temperature: found {0}, expected a number of at least 0")]
    Temperature(f64),
    /// The path of a folder can't be told to the server.
    #[error("{}: expected a path that is UTF-8", folder.display())]
    Folder {
        /// The path.
        folder: PathBuf,
        /// The operating system's reason, if it is one of its.
        source: Option<std::io::Error>,
    },
    /// The server could not be reached, or broke off, or took too long.
    #[error("{url}: {source}")]
    Unreachable {
        /// What was asked.
        url: String,
        /// What went wrong on the way.
        source: Box<ureq::Error>,
    },
    /// The server refused or failed.
    #[error("{url}: status {status}, {message}")]
    Status {
        /// What was asked.
        url: String,
        /// The HTTP status.
        status: u16,
        /// What the server said, shortened.
        message: String,
    },
    /// The server refused, though with a status of success.
    #[error("{url}: refused, {message}")]
    Refused {
        /// What was asked.
        url: String,
        /// What the server said, shortened.
        message: String,
    },
    /// The answer is not the JSON it should be.
    #[error("{url}: {source}, in the answer {body}")]
    Malformed {
        /// What was asked.
        url: String,
        /// What is wrong and where.
        source: serde_json::Error,
        /// The start of the answer.
        body: String,
    },
    /// The server does not serve the model.
    #[error("{url}: found {found}, expected {expected}")]
    Model {
        /// What was asked.
        url: String,
        /// What is served.
        found: String,
        /// What the configuration names.
        expected: String,
    },
    /// vLLM takes no adapters while it runs.
    #[error(
        "{0}: found no such address, expected vLLM started with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
    )]
    FixedAdapters(String),
    /// Full weights are pushed to SGLang only.
    #[error("full weights can't be pushed to a vLLM server; train an adapter with [lora], or use sglang")]
    FullWeights,
    /// The answer says in words what was written, but not in tokens.
    #[error("{url}: found no token ids in the answer, expected {expected}")]
    TokenIds {
        /// What was asked.
        url: String,
        /// The option and version that bring them.
        expected: &'static str,
    },
    /// The answer is not what was asked for.
    #[error("{url}: completion {row}: found {found}, expected {expected}")]
    Answer {
        /// What was asked.
        url: String,
        /// Which one of the answer's completions.
        row: usize,
        /// What is there.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// The answer has another number of completions than was asked for.
    #[error("{url}: found {found} completions, expected {expected}")]
    Count {
        /// What was asked.
        url: String,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: usize,
    },
}

impl ServerError {
    /// Whether the same request may succeed later.
    pub(super) fn is_passing(&self) -> bool {
        match self {
            Self::Unreachable { source, .. } => matches!(
                **source,
                ureq::Error::Io(_)
                    | ureq::Error::Timeout(_)
                    | ureq::Error::ConnectionFailed
                    | ureq::Error::Protocol(_)
            ),
            Self::Status { status, .. } => *status >= 500,
            _ => false,
        }
    }
}
