//! What a run takes of memory, before any weights are loaded.

mod sizes;

use std::fmt;

use crate::Error;

/// The memory that the stages of a run take, by component.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The model in a few words.
    pub model: String,
    /// The stages in their order.
    pub stages: Vec<StagePlan>,
}

/// The memory that one stage takes, in bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StagePlan {
    /// The stage.
    pub stage: &'static str,
    /// Weights of all its models, those of frozen copies and of the reward model included.
    pub weights: f64,
    /// Adapters.
    pub adapters: f64,
    /// The sum of the gradients.
    pub gradients: f64,
    /// Moments of the optimizer.
    pub optimizer: f64,
    /// What the micro-batches at work keep between forward and backward pass, an estimate; where that is less than the
    /// gradients that it turns into, these.
    pub activations: f64,
    /// Keys and values while answers are written.
    pub cache: f64,
    /// A packed copy of the matrices of the models that write, while they write eight answers or more on the CPU.
    pub packed: f64,
}

impl StagePlan {
    /// Everything, as if answers were still being written while the policy learns from them.
    pub fn total(&self) -> f64 {
        let StagePlan { weights, adapters, gradients, optimizer, activations, cache, packed, .. } = self;
        weights + adapters + gradients + optimizer + activations + cache + packed
    }

    /// What follows from the sizes of the models alone; there are no gradients while answers are written.
    fn certain(&self) -> f64 {
        self.weights + self.adapters + self.optimizer + self.gradients.max(self.packed)
    }
}

impl Plan {
    /// Refuses what cannot fit: models, their packed matrices, gradients and moments alone; with estimates also what they say.
    ///
    /// # Errors
    /// The first stage that needs more than there is.
    pub fn check(&self, available: Available, with_estimates: bool) -> Result<(), Error> {
        let Available(Some(available)) = available else { return Ok(()) };
        let needs = |stage: &StagePlan| if with_estimates { stage.total() } else { stage.certain() };
        match self.stages.iter().find(|stage| needs(stage) > available) {
            None => Ok(()),
            Some(stage) => Err(Error::Memory {
                stage: stage.stage,
                needed: bytes(needs(stage)),
                available: bytes(available),
                advice: match stage.activations + stage.cache > stage.certain() && with_estimates {
                    true => "smaller micro_batch_size, num_generations or max_new_tokens need less",
                    false if stage.adapters > 0.0 => {
                        "a smaller model, or lora without modules_to_save, needs less"
                    }
                    false => "low-rank adapters ([lora]) or a smaller model need less",
                },
            }),
        }
    }
}

/// Bytes that a person can read.
fn bytes(n: f64) -> String {
    let units = ["kB", "MB", "GB"];
    let unit = units.into_iter().rev().enumerate().find(|(index, _)| n >= 1e3_f64.powi(3 - *index as i32));
    match unit {
        Some((index, unit)) => format!("{:.1} {unit}", n / 1e3_f64.powi(3 - index as i32)),
        None => format!("{n:.0} B"),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WIDTH: usize = 11;
        writeln!(f, "{}\n", self.model)?;
        let names =
            ["weights", "adapters", "gradients", "optimizer", "activations", "KV cache", "packed", "total"];
        let header: Vec<String> = names.iter().map(|name| format!("{name:>WIDTH$}")).collect();
        writeln!(f, "{:14} {}", "", header.join(" "))?;
        for stage in &self.stages {
            let &StagePlan { weights, adapters, gradients, optimizer, activations, cache, packed, .. } =
                stage;
            let cells = [weights, adapters, gradients, optimizer, activations, cache, packed, stage.total()];
            let cells: Vec<String> = cells
                .iter()
                .map(|&n| format!("{:>WIDTH$}", if n == 0.0 { "–".into() } else { bytes(n) }))
                .collect();
            writeln!(f, "{:14} {}", stage.stage, cells.join(" "))?;
        }
        Ok(())
    }
}

/// The memory there is, in bytes, where that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Available(pub Option<f64>);

impl Available {
    /// What the system could give a process now, for a device in its memory; of other devices nothing is known.
    pub fn on(device: &str) -> Self {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let kibibytes: Option<f64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        Self(kibibytes.filter(|_| device == "flex").map(|n| n * 1024.0))
    }

    /// Reads an amount such as `24GB` or `512MB`.
    ///
    /// # Errors
    /// What was found and expected, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let units = [("TB", 1e12), ("GB", 1e9), ("MB", 1e6)];
        let found = units.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
        let amount = found.and_then(|(number, factor)| Some(number.trim().parse::<f64>().ok()? * factor));
        match amount.filter(|amount| amount.is_finite() && *amount > 0.0) {
            Some(amount) => Ok(Self(Some(amount))),
            None => Err(format!("found {text}, expected an amount such as 24GB or 512MB")),
        }
    }
}

impl fmt::Display for Available {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(amount) => write!(f, "available: {}", bytes(amount)),
            None => write!(f, "available: not known; say it with --memory"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_fit_is_refused() {
        let stage = |stage, weights| StagePlan { stage, weights, activations: 4e3, ..StagePlan::default() };
        let plan =
            Plan { model: String::new(), stages: vec![stage("fine-tuning", 2e3), stage("policy", 3e3)] };
        let check = |available: f64, with_estimates| plan.check(Available(Some(available)), with_estimates);
        check(7e3, true).unwrap();
        check(3e3, false).unwrap();
        let error = check(6.9e3, true).unwrap_err().to_string();
        assert!(error.starts_with("policy: needs 7.0 kB of memory, found 6.9 kB; smaller micro_"), "{error}");
        let error = check(1e3, false).unwrap_err().to_string();
        assert!(error.starts_with("fine-tuning: needs 2.0 kB of memory, found 1.0 kB; low-rank"), "{error}");
        plan.check(Available(None), true).unwrap();

        // Packed matrices take the place of gradients, which are not there while answers are written.
        let stage = StagePlan { weights: 2e3, gradients: 1e3, packed: 3e3, ..StagePlan::default() };
        assert_eq!((stage.total(), stage.certain()), (6e3, 5e3));
    }

    #[test]
    fn amounts() {
        assert_eq!(Available::parse("24GB"), Ok(Available(Some(24e9))));
        assert_eq!(Available::parse("1TB"), Ok(Available(Some(1e12))));
        assert_eq!(Available::parse("1.5 MB"), Ok(Available(Some(1.5e6))));
        for wrong in ["24", "GB", "-1GB", "infGB", "nanMB"] {
            assert!(Available::parse(wrong).is_err(), "{wrong}");
        }
        let written: Vec<String> = [12.0, 1234.0, 5.6e6, 7.8e9, 9.1e13].map(bytes).into();
        assert_eq!(written, ["12 B", "1.2 kB", "5.6 MB", "7.8 GB", "91000.0 GB"]);
    }
}
