//! How well a method's answers follow the levels asked for, the answers of all seeds together.

use moslim_data::ObjectiveSchema;
use moslim_eval::controllability::{ControlMeasures, Judged, ObjectiveControl, controllability};
use moslim_eval::stats::{Interval, mean};
use rand::{SeedableRng, rngs::ChaCha8Rng};

use crate::comparison::measured::{AskedAnswer, Control, Measured};

/// One entry per objective on either side.
pub(super) struct ControlSummary {
    /// One objective asked for at a time.
    pub one: Vec<ObjectiveControl>,
    /// All asked for together.
    pub all: Vec<ObjectiveControl>,
}

impl ControlSummary {
    pub(super) fn of(measured: &[Measured], schema: &ObjectiveSchema, resamples: usize, seed: u64) -> Self {
        let measure = |side: fn(&Control) -> &[AskedAnswer]| {
            let rng = &mut ChaCha8Rng::seed_from_u64(seed);
            controllability(&pooled(measured, side), schema, resamples, rng)
        };
        Self { one: measure(|control| &control.one), all: measure(|control| &control.all) }
    }
}

/// The answers of all seeds; a prompt of another seed is another prompt.
fn pooled(measured: &[Measured], side: fn(&Control) -> &[AskedAnswer]) -> Vec<Judged> {
    let mut pooled: Vec<Judged> = Vec::new();
    for measured in measured {
        let first = pooled.iter().map(|answer| answer.prompt + 1).max().unwrap_or(0);
        pooled.extend(side(&measured.control).iter().map(|answer| {
            let judged = Judged::from(answer);
            Judged { prompt: first + judged.prompt, ..judged }
        }));
    }
    pooled
}

/// A measure's mean over the objectives that were asked for, and an interval that is wide enough for it.
///
/// Answers that are all the same have no rank correlation with what was asked; they follow nothing, and count as 0.
pub(super) struct MeanOverObjectives {
    pub value: f64,
    /// From the mean of the objectives' lower ends to that of their upper ends, as wide as if they moved together.
    pub interval: Interval,
}

impl MeanOverObjectives {
    pub(super) fn of(
        controls: &[ObjectiveControl],
        value: fn(&ControlMeasures<f64>) -> f64,
        interval: fn(&ControlMeasures<Interval>) -> Interval,
    ) -> Self {
        let mean_of = |number: &dyn Fn(&ObjectiveControl) -> f64| {
            let asked = controls.iter().filter(|control| control.n_answers > 0).map(number);
            mean(&asked.map(|number| if number.is_finite() { number } else { 0.0 }).collect::<Vec<_>>())
        };
        Self {
            value: mean_of(&|control| value(&control.measures)),
            interval: Interval {
                low: mean_of(&|control| interval(&control.intervals).low),
                high: mean_of(&|control| interval(&control.intervals).high),
            },
        }
    }

    /// Of Spearman's rank correlation.
    pub(super) fn spearman(controls: &[ObjectiveControl]) -> Self {
        Self::of(controls, |values| values.spearman, |intervals| intervals.spearman)
    }

    /// Of the share of exact hits.
    pub(super) fn exact(controls: &[ObjectiveControl]) -> Self {
        Self::of(controls, |values| values.exact, |intervals| intervals.exact)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;
    use crate::{BudgetName, MethodName};

    #[test]
    fn prompts_of_two_seeds_are_different_prompts() {
        let points: &[[f64; 2]] = &[[0.5, 0.5]];
        let mut sample = Sample::new(&[MethodName::Moslim], &[BudgetName::Samples], &[1, 2]).with(
            BudgetName::Samples,
            "moslim",
            &[points, points],
        );
        // With the second seed nothing is followed.
        sample.last().measured[1].control.one.iter_mut().for_each(|answer| answer.achieved = vec![0, 0]);
        let control = ControlSummary::of(&sample.outcomes[0].measured, &sample.schema, 200, 0);
        assert_eq!((control.one[0].n_prompts, control.one[0].n_answers), (4, 12));
        assert_eq!(control.one[0].measures.exact, 8.0 / 12.0);

        // Honesty was never asked for alone, and has no part in the mean; all together, answers are all the same.
        let exact = MeanOverObjectives::exact(&control.one);
        assert_eq!(exact.value, 8.0 / 12.0);
        assert!(exact.interval.low < exact.value && exact.value < exact.interval.high);
        let spearman = MeanOverObjectives::spearman(&control.all);
        assert_eq!((spearman.value, spearman.interval.low, spearman.interval.high), (0.0, 0.0, 0.0));
    }

    #[test]
    fn nothing_asked_is_no_number() {
        let sample = Sample::new(&[MethodName::Moslim], &[BudgetName::Samples], &[1]);
        let control = ControlSummary::of(&[], &sample.schema, 200, 0);
        assert!(MeanOverObjectives::spearman(&control.one).value.is_nan());
    }
}
