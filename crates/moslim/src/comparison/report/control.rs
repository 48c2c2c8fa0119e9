//! How well a method's answers follow the levels asked for, the answers of all seeds together.

use moslim_data::ObjectiveSchema;
use moslim_eval::controllability::{ControlMeasures, Judged, ObjectiveControl, controllability_over_seeds};
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
            let judged = measured.iter().map(|measured| side(&measured.control).iter().map(Judged::from));
            let judged: Vec<Vec<Judged>> = judged.map(Iterator::collect).collect();
            let by_seed: Vec<&[Judged]> = judged.iter().map(Vec::as_slice).collect();
            controllability_over_seeds(&by_seed, schema, resamples, &mut ChaCha8Rng::seed_from_u64(seed))
        };
        Self { one: measure(|control| &control.one), all: measure(|control| &control.all) }
    }
}

/// A measure's mean over the objectives that were asked for.
///
/// Answers that are all the same have no rank correlation with what was asked; they follow nothing, and count as 0.
pub(super) struct MeanOverObjectives {
    pub value: f64,
    pub interval: Interval,
    /// The mean in every resample.
    pub resampled: Vec<f64>,
}

impl MeanOverObjectives {
    fn of(controls: &[ObjectiveControl], measure: fn(&ControlMeasures<f64>) -> f64) -> Self {
        let asked = || controls.iter().filter(|control| control.n_answers > 0);
        let mean_of = |measures: &dyn Fn(&ObjectiveControl) -> ControlMeasures<f64>| {
            let numbers = asked().map(|control| measure(&measures(control)));
            mean(&numbers.map(|number| if number.is_finite() { number } else { 0.0 }).collect::<Vec<_>>())
        };
        let n_resamples = asked().next().map_or(0, |control| control.resampled.len());
        let resampled: Vec<f64> =
            (0..n_resamples).map(|index| mean_of(&|control| control.resampled[index])).collect();
        Self { value: mean_of(&|control| control.measures), interval: Interval::of(&resampled), resampled }
    }

    /// Of Spearman's rank correlation.
    pub(super) fn spearman(controls: &[ObjectiveControl]) -> Self {
        Self::of(controls, |measures| measures.spearman)
    }

    /// Of the share of exact hits.
    pub(super) fn exact(controls: &[ObjectiveControl]) -> Self {
        Self::of(controls, |measures| measures.exact)
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;
    use crate::{BudgetName, MethodName};

    #[test]
    fn seeds_have_prompts_of_their_own_and_differ() {
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
        // Of two seeds, one with every answer as asked for and one with a third, some resamples have the same twice.
        assert_eq!(<[f64; 2]>::from(exact.interval), [1.0 / 3.0, 1.0]);
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
