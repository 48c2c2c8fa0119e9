//! Whether a policy does what the prompt asks: requested levels against achieved ones.
//!
//! The levels achieved come from a judge that the policy was not trained on.

use std::collections::BTreeMap;

use moslim_data::{Level, ObjectiveSchema};
use rand::Rng;
use serde::Serialize;

use crate::stats::{CountMatrix, Interval, mean, resampled_in_groups, slope};

/// One answer, the levels its prompt asked for and the levels a judge found in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// Which question it answers, whatever levels were asked for; intervals resample these.
    pub prompt: usize,
    /// One entry per objective; `None` where the objective was left free.
    pub asked: Vec<Option<Level>>,
    /// One entry per objective.
    pub achieved: Vec<Level>,
}

/// The measures of control over one objective, as values (`T = f64`) or as [`Interval`]s.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ControlMeasures<T> {
    /// The share of answers at exactly the level asked for.
    pub exact: T,
    /// The share of answers at most one level away.
    pub within_one: T,
    /// The mean absolute distance in levels.
    pub mae: T,
    /// Spearman's ρ between asked and achieved.
    pub spearman: T,
    /// Kendall's τ-b between asked and achieved.
    pub kendall_tau_b: T,
    /// Cohen's kappa with quadratic weights.
    pub quadratic_weighted_kappa: T,
    /// How many times the mean achieved level falls from one level asked for to the next.
    pub monotonicity_violations: T,
    /// The mean achieved at the highest level asked for minus the mean at the lowest, in levels.
    pub dynamic_range: T,
}

impl<T> ControlMeasures<T> {
    fn map<U>(self, mut function: impl FnMut(T) -> U) -> ControlMeasures<U> {
        ControlMeasures {
            exact: function(self.exact),
            within_one: function(self.within_one),
            mae: function(self.mae),
            spearman: function(self.spearman),
            kendall_tau_b: function(self.kendall_tau_b),
            quadratic_weighted_kappa: function(self.quadratic_weighted_kappa),
            monotonicity_violations: function(self.monotonicity_violations),
            dynamic_range: function(self.dynamic_range),
        }
    }
}

/// How each measure follows from the counts.
const MEASURES: ControlMeasures<fn(&CountMatrix) -> f64> = ControlMeasures {
    exact: CountMatrix::exact,
    within_one: CountMatrix::within_one,
    mae: CountMatrix::mean_absolute_error,
    spearman: CountMatrix::spearman,
    kendall_tau_b: CountMatrix::kendall_tau_b,
    quadratic_weighted_kappa: CountMatrix::quadratic_weighted_kappa,
    monotonicity_violations,
    dynamic_range,
};

/// The measures one by one.
const FIELDS: ControlMeasures<fn(&ControlMeasures<f64>) -> f64> = ControlMeasures {
    exact: |measures| measures.exact,
    within_one: |measures| measures.within_one,
    mae: |measures| measures.mae,
    spearman: |measures| measures.spearman,
    kendall_tau_b: |measures| measures.kendall_tau_b,
    quadratic_weighted_kappa: |measures| measures.quadratic_weighted_kappa,
    monotonicity_violations: |measures| measures.monotonicity_violations,
    dynamic_range: |measures| measures.dynamic_range,
};

/// Control over one objective, measured on the answers whose prompt asked for a level of it.
///
/// A measure that is not defined on these answers is NaN, `null` in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ObjectiveControl {
    /// The objective's name.
    pub objective: String,
    /// The number of answers whose prompt asked for a level.
    pub n_answers: usize,
    /// The number of different prompts among them.
    pub n_prompts: usize,
    /// Counts of asked levels (rows) against achieved levels (columns).
    pub matrix: CountMatrix,
    /// The mean level achieved for every level asked for. `[n_levels]`
    pub mean_level_by_asked: Vec<f64>,
    /// The mean level of the answers whose prompt left the objective free.
    pub mean_level_unasked: f64,
    /// The measures on all answers.
    #[serde(flatten)]
    pub measures: ControlMeasures<f64>,
    /// 95 % bootstrap intervals over prompts, and over training seeds where there are several.
    pub intervals: ControlMeasures<Interval>,
    /// The measures in every resample, whose draws are the same for all objectives.
    #[serde(skip)]
    pub resampled: Vec<ControlMeasures<f64>>,
}

/// Measures the control over every objective of the schema; intervals come from `resamples` draws of the prompts.
///
/// # Panics
/// When an answer does not have one entry per objective, or a level is outside its objective.
pub fn controllability(
    judged: &[Judged],
    schema: &ObjectiveSchema,
    resamples: usize,
    rng: &mut impl Rng,
) -> Vec<ObjectiveControl> {
    controllability_over_seeds(&[judged], schema, resamples, rng)
}

/// [`controllability`] of the answers of several training seeds together, each with prompts of its own; intervals come from draws of seeds,
/// and of prompts within each seed drawn ([how](crate::stats::bootstrap_interval_in_groups)).
///
/// Two methods that were measured on the same prompts see the same draws when both are given a generator with the same seed.
///
/// # Panics
/// When an answer does not have one entry per objective, or a level is outside its objective.
pub fn controllability_over_seeds(
    judged: &[&[Judged]],
    schema: &ObjectiveSchema,
    resamples: usize,
    rng: &mut impl Rng,
) -> Vec<ObjectiveControl> {
    judged.iter().for_each(|judged| check_lengths(judged, schema));
    // `[n_seeds][n_prompts][n_objectives]`
    let counts: Vec<Vec<Vec<CountMatrix>>> =
        judged.iter().map(|judged| by_prompt(judged, schema)).filter(|prompts| !prompts.is_empty()).collect();
    let n_objectives = schema.objectives().len();
    let sum = |objective: usize, prompts: &mut dyn Iterator<Item = &Vec<CountMatrix>>| {
        let mut sum = CountMatrix::new(schema.objectives()[objective].n_levels());
        prompts.for_each(|prompt| sum += &prompt[objective]);
        sum
    };
    let sizes: Vec<usize> = counts.iter().map(Vec::len).collect();
    // `[resamples][n_objectives]`
    let resampled = resampled_in_groups(&sizes, resamples, rng, |draws| {
        let measures = |objective| {
            let prompts =
                draws.iter().flat_map(|draw| draw.clusters.iter().map(|&prompt| &counts[draw.group][prompt]));
            let matrix = sum(objective, &mut { prompts });
            MEASURES.map(|measure| measure(&matrix))
        };
        (0..n_objectives).map(measures).collect::<Vec<_>>()
    });
    (schema.objectives().iter().enumerate())
        .map(|(index, objective)| {
            let resampled: Vec<ControlMeasures<f64>> =
                resampled.iter().map(|measures| measures[index]).collect();
            let matrix = sum(index, &mut counts.iter().flatten());
            let answers = || judged.iter().copied().flatten();
            let unasked = answers().filter(|answer| answer.asked[index].is_none());
            let unasked: Vec<f64> = unasked.map(|answer| answer.achieved[index] as f64).collect();
            let measures = MEASURES.map(|measure| measure(&matrix));
            ObjectiveControl {
                objective: objective.name.clone(),
                n_answers: matrix.total(),
                n_prompts: counts.iter().flatten().filter(|prompt| prompt[index].total() > 0).count(),
                mean_level_by_asked: matrix.mean_by_row(),
                mean_level_unasked: mean(&unasked),
                measures,
                intervals: FIELDS.map(|field| Interval::of(&resampled.iter().map(field).collect::<Vec<_>>())),
                resampled,
                matrix,
            }
        })
        .collect()
}

/// Counts of asked levels against achieved ones, in the order of the prompts' numbers. `[n_prompts][n_objectives]`
fn by_prompt(judged: &[Judged], schema: &ObjectiveSchema) -> Vec<Vec<CountMatrix>> {
    let nothing =
        || schema.objectives().iter().map(|objective| CountMatrix::new(objective.n_levels())).collect();
    let mut by_prompt = BTreeMap::<usize, Vec<CountMatrix>>::new();
    for answer in judged {
        let counts = by_prompt.entry(answer.prompt).or_insert_with(nothing);
        for ((counts, asked), &achieved) in counts.iter_mut().zip(&answer.asked).zip(&answer.achieved) {
            if let Some(asked) = *asked {
                counts.count(asked, achieved);
            }
        }
    }
    by_prompt.into_values().collect()
}

/// How far asking for one objective moves each: entry `[i][j]` is the least-squares slope of the achieved level of `j` on the asked level of `i`.
///
/// The diagonal is taken over the answers where `i` is asked; the rest over the answers where `i` is asked and `j` is left free.
/// Both levels are scaled to 0..1 by K-1: 1 on the diagonal is perfect control, 0 elsewhere is none where none was asked for.
/// `None` where no two different levels of `i` were asked for on such answers. `[n_objectives, n_objectives]`
///
/// # Panics
/// When an answer does not have one entry per objective.
pub fn cross_talk(judged: &[Judged], schema: &ObjectiveSchema) -> Vec<Vec<Option<f64>>> {
    check_lengths(judged, schema);
    let scaled =
        |index: usize, level: Level| level as f64 / (schema.objectives()[index].n_levels() as f64 - 1.0);
    let entry = |i: usize, j: usize| {
        let (asked, achieved): (Vec<f64>, Vec<f64>) = (judged.iter())
            .filter(|answer| i == j || answer.asked[j].is_none())
            .filter_map(|answer| Some((scaled(i, answer.asked[i]?), scaled(j, answer.achieved[j]))))
            .unzip();
        Some(slope(&asked, &achieved)).filter(|slope| slope.is_finite())
    };
    let n_objectives = schema.objectives().len();
    (0..n_objectives).map(|i| (0..n_objectives).map(|j| entry(i, j)).collect()).collect()
}

fn check_lengths(judged: &[Judged], schema: &ObjectiveSchema) {
    let n_objectives = schema.objectives().len();
    for answer in judged {
        assert!(
            answer.asked.len() == n_objectives && answer.achieved.len() == n_objectives,
            "a judged answer needs {n_objectives} asked and achieved levels, got {} and {}",
            answer.asked.len(),
            answer.achieved.len(),
        );
    }
}

/// The mean achieved level of the levels that were asked for, from the lowest to the highest.
fn means_of_asked(matrix: &CountMatrix) -> Vec<f64> {
    matrix.mean_by_row().into_iter().filter(|mean| mean.is_finite()).collect()
}

/// A count, as a number like its siblings; NaN when nothing was asked.
fn monotonicity_violations(matrix: &CountMatrix) -> f64 {
    let means = means_of_asked(matrix);
    if means.is_empty() {
        return f64::NAN;
    }
    means.windows(2).filter(|pair| pair[1] < pair[0]).count() as f64
}

/// NaN when fewer than two levels were asked.
fn dynamic_range(matrix: &CountMatrix) -> f64 {
    match means_of_asked(matrix)[..] {
        [lowest, .., highest] => highest - lowest,
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use moslim_data::Objective;
    use rand::{SeedableRng, rngs::ChaCha8Rng};

    use super::*;

    fn schema(n_levels: &[i64]) -> ObjectiveSchema {
        let objectives = (n_levels.iter().enumerate())
            .map(|(index, &n_levels)| Objective::with_scale(format!("objective-{index}"), 1, n_levels));
        ObjectiveSchema::new(objectives.collect()).unwrap()
    }

    fn judged(prompt: usize, asked: &[Option<Level>], achieved: &[Level]) -> Judged {
        Judged { prompt, asked: asked.to_vec(), achieved: achieved.to_vec() }
    }

    fn measure(judged: &[Judged], schema: &ObjectiveSchema) -> Vec<ObjectiveControl> {
        controllability(judged, schema, 500, &mut ChaCha8Rng::seed_from_u64(3))
    }

    /// The golden vector: every level asked twice, once per prompt.
    fn golden() -> Vec<Judged> {
        let achieved = [0, 1, 1, 3, 3, 1, 1, 2, 4, 4];
        (achieved.iter().enumerate())
            .map(|(index, &achieved)| judged(index / 5, &[Some(index % 5)], &[achieved]))
            .collect()
    }

    #[test]
    fn measures_equal_the_golden_values() {
        let control = measure(&golden(), &schema(&[5])).remove(0);
        let measures = control.measures;
        assert_eq!((measures.exact, measures.within_one, measures.mae), (0.6, 1.0, 0.4));
        assert!((measures.spearman - 0.894_792).abs() < 1e-6);
        assert!((measures.kendall_tau_b - 0.805_807).abs() < 1e-6);
        assert!((measures.quadratic_weighted_kappa - 0.894_737).abs() < 1e-6);
        assert_eq!(measures.monotonicity_violations, 0.0);
        assert_eq!(measures.dynamic_range, 3.0);
        assert_eq!(control.mean_level_by_asked, [0.5, 1.0, 1.5, 3.5, 3.5]);
        assert_eq!((control.n_answers, control.n_prompts), (10, 2));
        assert_eq!(control.matrix.rows()[2], [0, 1, 1, 0, 0]);
        // Both prompts hit 3 of 5, so no draw of prompts can change the share; the distances are 2 and 2 as well.
        assert_eq!(control.intervals.exact, Interval { low: 0.6, high: 0.6 });
        // The first prompt alone spans 0 to 3, the second 1 to 4: the range is 3 in every draw.
        assert_eq!(control.intervals.dynamic_range, Interval { low: 3.0, high: 3.0 });
        let kappa = control.intervals.quadratic_weighted_kappa;
        assert!(
            kappa.low <= measures.quadratic_weighted_kappa && measures.quadratic_weighted_kappa <= kappa.high
        );
    }

    #[test]
    fn a_fall_between_neighbours_asked_for_is_a_violation() {
        // Means 2, 1, 3 for the levels 0, 1 and 3; level 2 was never asked.
        let answers =
            [(0, 2), (1, 1), (3, 3)].map(|(asked, achieved)| judged(0, &[Some(asked)], &[achieved]));
        let control = measure(&answers, &schema(&[4])).remove(0);
        assert_eq!(control.measures.monotonicity_violations, 1.0);
        assert_eq!(control.measures.dynamic_range, 1.0);
        assert!(control.mean_level_by_asked[2].is_nan());
    }

    #[test]
    fn answers_that_left_the_objective_free_count_apart() {
        let answers = [
            judged(0, &[Some(1), None], &[1, 0]),
            judged(1, &[None, Some(1)], &[0, 1]),
            judged(2, &[Some(0), None], &[0, 1]),
        ];
        let control = measure(&answers, &schema(&[2, 2]));
        assert_eq!((control[0].n_answers, control[0].measures.exact), (2, 1.0));
        assert_eq!(control[0].mean_level_unasked, 0.0);
        assert_eq!(control[1].mean_level_unasked, 0.5);
    }

    #[test]
    fn json_has_the_documented_names_and_null_for_what_is_not_defined() {
        let control = measure(&[judged(0, &[None], &[1])], &schema(&[2])).remove(0);
        let json = serde_json::to_value(&control).unwrap();
        for name in [
            "exact",
            "within_one",
            "mae",
            "spearman",
            "kendall_tau_b",
            "quadratic_weighted_kappa",
            "monotonicity_violations",
            "dynamic_range",
        ] {
            assert!(json[name].is_null() && json.get(name).is_some(), "{name}");
            assert_eq!(json["intervals"][name], serde_json::json!([null, null]), "{name}");
        }
        assert_eq!(json["matrix"], serde_json::json!([[0, 0], [0, 0]]));
        assert_eq!(json["mean_level_by_asked"], serde_json::json!([null, null]));
        assert_eq!(json["mean_level_unasked"], 1.0);
    }

    #[test]
    fn cross_talk_is_scaled_and_taken_where_the_other_is_free() {
        // Objective 0 (5 levels) is met exactly; objective 1 (2 levels), left free, flips with it from 0 to 1.
        let answers = [
            judged(0, &[Some(0), None], &[0, 0]),
            judged(0, &[Some(4), None], &[4, 1]),
            // Asked for both: no evidence of cross-talk, whatever happens here.
            judged(0, &[Some(4), Some(0)], &[4, 0]),
        ];
        let talk = cross_talk(&answers, &schema(&[5, 2]));
        assert_eq!(talk, [[Some(1.0), Some(1.0)], [None, None]]);
    }

    #[test]
    fn one_level_asked_for_gives_no_slope() {
        let answers = [judged(0, &[Some(1)], &[0]), judged(1, &[Some(1)], &[2])];
        assert_eq!(cross_talk(&answers, &schema(&[4])), [[None]]);
    }

    #[test]
    #[should_panic(expected = "needs 2 asked and achieved levels, got 1 and 1")]
    fn an_answer_of_another_schema_is_a_mistake() {
        measure(&golden(), &schema(&[5, 2]));
    }
}
