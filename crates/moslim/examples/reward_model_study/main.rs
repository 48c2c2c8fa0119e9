//! Which reward model is good, and when: measured on the testbed against gold levels.
//!
//! `cargo run --release -p moslim --example reward_model_study -- kinds --answers 4000 --seeds 3`
//!
//! - `kinds`: every kind of head
//! - `aggregations`: every way to put the losses of the heads together
//! - `levels`: every kind of head on one objective of 2, 3, 5 and 10 levels
//! - `sharing`: one model for all objectives against one for each, a frozen backbone, and one objective left out
//! - `growing`: harmlessness learned later, with and without rehearsal
//! - `uncertainty`: posteriors and ensembles, on answers of the testbed and on others
//!
//! Prints a Markdown table; without arguments a tiny one, to show that it runs.

mod ground;
mod heads;
mod more;
mod table;

use clap::{Parser, ValueEnum};

#[derive(Clone, Copy, PartialEq, ValueEnum)]
enum Study {
    Kinds,
    Aggregations,
    Levels,
    Sharing,
    Growing,
    Uncertainty,
}

#[derive(Parser)]
struct Arguments {
    #[arg(value_enum, default_value = "aggregations")]
    study: Study,
    /// Labelled answers; several numbers give several rows
    #[arg(long, value_delimiter = ',', default_value = "120")]
    answers: Vec<usize>,
    /// Shares of wrong labels
    #[arg(long, value_delimiter = ',', default_value = "0.0")]
    noise: Vec<f64>,
    /// Kinds of heads whose names contain this
    #[arg(long, default_value = "")]
    kind: String,
    #[arg(long, default_value = "1")]
    seeds: u64,
    /// Unlabelled answers that the backbone reads first
    #[arg(long, default_value = "200")]
    sft_answers: usize,
    #[arg(long, default_value = "60")]
    held_out: usize,
    #[arg(long, default_value = "1.0")]
    epochs: f64,
    #[arg(long, default_value = "16")]
    hidden_size: usize,
    #[arg(long, default_value = "1")]
    layers: usize,
}

fn main() {
    let arguments = Arguments::parse();
    let table = match arguments.study {
        Study::Kinds => heads::kinds(&arguments),
        Study::Aggregations => heads::aggregations(&arguments),
        Study::Levels => heads::levels(&arguments),
        Study::Sharing => more::sharing(&arguments),
        Study::Growing => more::growing(&arguments),
        Study::Uncertainty => more::uncertainty(&arguments),
    };
    table.print();
}
