//! What grows.

/// A piece of work, and the dimension of it that grows.
#[derive(Debug)]
pub struct Axis {
    /// Its name on the command line and in the results.
    pub name: &'static str,
    /// The work, and what stays as it is, for a reader.
    pub title: &'static str,
    /// What the values count.
    pub unit: &'static str,
    /// The work by its name among the works.
    pub work: &'static str,
    /// The dimension that grows.
    pub dimension: &'static str,
    /// The dimensions that stay, as `rows=4`.
    pub fixed: &'static [&'static str],
    /// The sizes, rising.
    pub values: &'static [usize],
}

/// All axes.
pub const AXES: [Axis; 9] = [
    Axis {
        name: "train-batch",
        title: "training step, 128 tokens each",
        unit: "sequences",
        work: "train",
        dimension: "rows",
        fixed: &["length=128"],
        values: &[2, 4, 8, 16, 32, 64],
    },
    Axis {
        name: "train-length",
        title: "training step, 4 sequences",
        unit: "tokens each",
        work: "train",
        dimension: "length",
        fixed: &["rows=4"],
        values: &[32, 64, 128, 256, 512, 1024, 2048],
    },
    Axis {
        name: "logprobs-vocabulary",
        title: "log-probabilities, 2048 tokens",
        unit: "words of the vocabulary",
        work: "logprobs",
        dimension: "vocabulary",
        fixed: &["tokens=2048"],
        values: &[1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 151_936],
    },
    Axis {
        name: "logprobs-gradient-vocabulary",
        title: "log-probabilities, gradients, 2048 tokens",
        unit: "words of the vocabulary",
        work: "logprobs-gradient",
        dimension: "vocabulary",
        fixed: &["tokens=2048"],
        values: &[1024, 2048, 4096, 8192, 16_384, 32_768, 65_536, 151_936],
    },
    Axis {
        name: "logprobs-tokens",
        title: "log-probabilities, 32 768 words",
        unit: "tokens",
        work: "logprobs",
        dimension: "tokens",
        fixed: &["vocabulary=32768"],
        values: &[64, 128, 256, 512, 1024, 2048, 4096, 8192],
    },
    Axis {
        name: "score-objectives",
        title: "scoring 64 answers of 20 to 400 tokens",
        unit: "objectives",
        work: "score",
        dimension: "objectives",
        fixed: &["answers=64"],
        values: &[1, 2, 4, 8, 16, 32, 64],
    },
    Axis {
        name: "score-answers",
        title: "scoring answers of 20 to 100 tokens",
        unit: "answers",
        work: "score",
        dimension: "answers",
        fixed: &["longest=100"],
        values: &[16, 32, 64, 128, 256, 512, 1024],
    },
    Axis {
        name: "generate-samples",
        title: "generation, 4 prompts",
        unit: "answers per prompt",
        work: "generate",
        dimension: "samples",
        fixed: &["prompts=4"],
        values: &[1, 2, 4, 8, 16, 32],
    },
    Axis {
        name: "rloo-samples",
        title: "step of RLOO, 4 prompts",
        unit: "answers per prompt",
        work: "rloo",
        dimension: "samples",
        fixed: &["prompts=4"],
        values: &[2, 4, 8, 16, 32],
    },
];
