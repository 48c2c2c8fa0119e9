//! The paper or the code that was released with it.

use serde::{Deserialize, Serialize};

/// Which of two descriptions of a baseline holds where they differ; the README lists the differences.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// What the paper says.
    #[default]
    Paper,
    /// What the code does that was released with it.
    ReleasedCode,
}
