//! What a method's training took, over the seeds.

use std::collections::BTreeMap;

use moslim_eval::stats::mean;

use crate::comparison::measured::{Cost, LookUp, Measured};

/// The cost of a training with every seed; means over the seeds, but the most memory.
pub(super) struct CostSummary {
    pub samples: f64,
    pub data_answers: f64,
    pub trainings: f64,
    pub look_up_answers: f64,
    pub look_up_seconds: f64,
    /// By phase.
    pub seconds: BTreeMap<String, f64>,
    /// Of all phases, in the order of the seeds.
    pub seconds_by_seed: Vec<f64>,
    pub peak_bytes: Option<f64>,
    /// By resident model.
    pub resident_bytes: BTreeMap<String, f64>,
}

impl CostSummary {
    pub(super) fn of(measured: &[Measured]) -> Self {
        let costs: Vec<&Cost> = measured.iter().map(|measured| &measured.cost).collect();
        let mean_of = |value: fn(&Cost) -> usize| {
            mean(&costs.iter().map(|cost| value(cost) as f64).collect::<Vec<_>>())
        };
        let mean_of_look_up = |value: fn(&LookUp) -> f64| {
            mean(&measured.iter().map(|measured| value(&measured.look_up)).collect::<Vec<_>>())
        };
        let mut seconds = BTreeMap::<String, f64>::new();
        let mut resident_bytes = BTreeMap::<String, f64>::new();
        for cost in &costs {
            for (phase, value) in &cost.seconds {
                *seconds.entry(phase.clone()).or_default() += value / costs.len() as f64;
            }
            for (model, &value) in &cost.resident_bytes {
                let most = resident_bytes.entry(model.clone()).or_default();
                *most = most.max(value);
            }
        }
        Self {
            samples: mean_of(|cost| cost.samples),
            data_answers: mean_of(|cost| cost.data_answers),
            trainings: mean_of(|cost| cost.trainings),
            look_up_answers: mean_of_look_up(|look_up| look_up.answers as f64),
            look_up_seconds: mean_of_look_up(|look_up| look_up.seconds),
            seconds,
            seconds_by_seed: costs.iter().map(|cost| cost.seconds.values().sum()).collect(),
            peak_bytes: costs.iter().filter_map(|cost| cost.peak_bytes).reduce(f64::max),
            resident_bytes,
        }
    }

    /// Of all phases, the mean over the seeds.
    pub(super) fn total_seconds(&self) -> f64 {
        mean(&self.seconds_by_seed)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;
    use crate::{BudgetName, MethodName};

    #[test]
    fn seconds_and_samples_are_means_and_memory_the_most() {
        let points: &[[f64; 2]] = &[[0.5, 0.5]];
        let mut sample = Sample::new(&[MethodName::Moslim], &[BudgetName::Samples], &[1, 2]).with(
            BudgetName::Samples,
            "moslim",
            &[points, points],
        );
        let second = &mut sample.last().measured[1].cost;
        second.seconds = BTreeMap::from([("generate".into(), 2.0), ("reward".into(), 4.0)]);
        second.samples = 300;
        second.peak_bytes = None;
        second.resident_bytes.insert("policy".into(), 1e6);
        let cost = CostSummary::of(&sample.outcomes[0].measured);
        let seconds: Vec<(&str, f64)> =
            cost.seconds.iter().map(|(phase, &value)| (phase.as_str(), value)).collect();
        assert_eq!(seconds, [("generate", 4.0), ("reward", 2.0), ("update", 2.0)]);
        assert_eq!((cost.seconds_by_seed.as_slice(), cost.total_seconds()), (&[10.0, 6.0][..], 8.0));
        assert_eq!((cost.samples, cost.trainings, cost.peak_bytes), (200.0, 1.0, Some(5e6)));
        assert_eq!(cost.resident_bytes["policy"], 2e6);
    }
}
