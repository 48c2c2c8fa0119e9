//! How much of a piece of work: its dimensions by name.

use anyhow::{Context, Result, anyhow, bail, ensure};

/// The names of all works.
pub const NAMES: [&str; 7] =
    ["matmul", "train", "generate", "rloo", "score", "logprobs", "logprobs-gradient"];

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// What is measured, unless dimensions are set.
    Full,
    /// Enough to see that it runs.
    Tiny,
}

struct Dimension {
    name: &'static str,
    full: usize,
    tiny: usize,
    least: usize,
}

const fn dimension(name: &'static str, full: usize, tiny: usize) -> Dimension {
    Dimension { name, full, tiny, least: 1 }
}

fn dimensions(work: &str) -> Option<&'static [Dimension]> {
    Some(match work {
        "matmul" => const { &[dimension("n", 1024, 16)] },
        // Tokens of every row.
        "train" => const { &[dimension("rows", 16, 4), dimension("length", 128, 8)] },
        "generate" => const { &[dimension("prompts", 16, 2), dimension("samples", 1, 2)] },
        // Siblings are each other's baseline.
        "rloo" => {
            const { &[dimension("prompts", 16, 2), Dimension { least: 2, ..dimension("samples", 4, 2) }] }
        }
        // Answers have from 20 tokens to the longest.
        "score" => {
            const {
                &[
                    dimension("answers", 256, 4),
                    Dimension { least: 20, ..dimension("longest", 400, 24) },
                    dimension("objectives", 3, 3),
                ]
            }
        }
        "logprobs" | "logprobs-gradient" => {
            const { &[dimension("tokens", 2048, 8), dimension("vocabulary", 151_936, 100)] }
        }
        _ => return None,
    })
}

/// The dimensions of a work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape(Vec<(&'static str, usize)>);

impl Shape {
    /// The shape of a work with some of its dimensions set, each as `rows=16`.
    ///
    /// # Errors
    /// If there is no such work or dimension, or a number is none or too small.
    pub fn of(work: &str, size: Size, settings: &[&str]) -> Result<Self> {
        let dimensions = dimensions(work)
            .with_context(|| format!("no work {work}, expected one of {}", NAMES.join(", ")))?;
        let default = |of: &Dimension| if size == Size::Full { of.full } else { of.tiny };
        let mut values: Vec<usize> = dimensions.iter().map(default).collect();
        for setting in settings {
            let (name, value) =
                setting.split_once('=').ok_or_else(|| anyhow!("{setting}, expected as in rows=16"))?;
            let Some(place) = dimensions.iter().position(|dimension| dimension.name == name) else {
                let names: Vec<&str> = dimensions.iter().map(|dimension| dimension.name).collect();
                bail!("{work}: no dimension {name}, expected one of {}", names.join(", "));
            };
            let least = dimensions[place].least;
            values[place] =
                value.parse().map_err(|_| anyhow!("{work}: {setting}, expected a number from {least} on"))?;
            ensure!(values[place] >= least, "{work}: {setting}, expected a number from {least} on");
        }
        Ok(Self(dimensions.iter().map(|dimension| dimension.name).zip(values).collect()))
    }

    /// The size in a dimension.
    ///
    /// # Panics
    /// If the work has no such dimension.
    pub fn get(&self, name: &str) -> usize {
        let found = self.0.iter().find(|(other, _)| *other == name);
        found.unwrap_or_else(|| panic!("no dimension {name} among {:?}", self.0)).1
    }
}
