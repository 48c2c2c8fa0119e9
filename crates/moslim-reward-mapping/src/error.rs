//! What can go wrong when probabilities are mapped.

use thiserror::Error;

/// Why there is no score. Heads, classes and levels are counted from 0.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum MappingError {
    /// A setting of the mapping is out of range.
    #[error("{setting}: {found}, expected {expected}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// Its value.
        found: f64,
        /// What it may be.
        expected: &'static str,
    },
    /// A weighted sum has not one weight per head.
    #[error("weights: {found} number(s), expected one for each of {expected} heads")]
    NumberOfWeights {
        /// The number of weights.
        found: usize,
        /// The number of heads.
        expected: usize,
    },
    /// The probabilities have not one head per objective of the request.
    #[error("probabilities of {found} head(s), expected {expected} as in the request")]
    NumberOfHeads {
        /// The number of heads.
        found: usize,
        /// The number of objectives in the request.
        expected: usize,
    },
    /// A head has nothing to choose from.
    #[error("head {head}: {found} class(es), expected at least 2")]
    TooFewClasses {
        /// The head.
        head: usize,
        /// The number of its classes.
        found: usize,
    },
    /// A probability is no number from 0 to 1.
    #[error("head {head}: class {class} has probability {found}, expected 0 to 1")]
    Probability {
        /// The head.
        head: usize,
        /// The class.
        class: usize,
        /// The value.
        found: f64,
    },
    /// The request asks for a level that the head does not have.
    #[error("head {head}: level {found}, expected 0 to {highest}")]
    Level {
        /// The head.
        head: usize,
        /// The level asked for.
        found: f64,
        /// The head's highest level.
        highest: usize,
    },
    /// The mapping standardises over data but was given no statistics.
    #[error("no target statistics, expected those of a calibration set")]
    MissingStats,
    /// The mapping is pessimistic but was given one opinion alone.
    #[error(
        "no opinions but the model's own, expected several; a reward model has them if it was trained with uncertainty"
    )]
    MissingOpinions,
    /// The statistics belong to other heads.
    #[error("target statistics of heads with {found:?} classes, expected {expected:?}")]
    StatsShape {
        /// The number of classes of every head in the statistics.
        found: Vec<usize>,
        /// The number of classes of every head in the probabilities.
        expected: Vec<usize>,
    },
    /// There is nothing to take statistics of.
    #[error("no answers to take target statistics of, expected at least one")]
    NoAnswers,
}
