//! What is computed of every method under every budget, once, for all parts of the report.

use moslim_eval::pareto::{
    HypervolumeEstimate, PointsError, bootstrap_hypervolume_over_seeds, cardinality, expected_utility,
    hypervolume, inverted_generational_distance, maximum_utility_loss, non_dominated, simplex_weights,
    sparsity,
};
use moslim_eval::stats::{Interval, bootstrap_interval_in_groups, mean};
use rand::{SeedableRng, rngs::ChaCha8Rng};

use super::Compared;
use super::control::ControlSummary;
use super::cost::CostSummary;
use crate::comparison::contender::Contender;
use crate::comparison::measured::{Measured, Outcome, Point};
use crate::{BudgetName, Error};

/// One side of a point: by the judge or by the reward model of training. `[n_prompts][n_objectives]`
type Side = fn(&Point) -> &Vec<Vec<f64>>;
const GOLD: Side = |point| &point.gold;
const PROXY: Side = |point| &point.proxy;

/// The whole comparison.
pub(super) struct Summary<'a> {
    pub comparison: &'a Compared<'a>,
    /// All methods of the recipe, in its order.
    pub methods: Vec<Contender>,
    /// The budgets of the recipe, in its order.
    pub budgets: Vec<BudgetSummary<'a>>,
}

/// What came of the methods under one budget.
pub(super) struct BudgetSummary<'a> {
    pub budget: BudgetName,
    /// Those that were measured with a seed at least, in the recipe's order.
    pub methods: Vec<MethodSummary<'a>>,
    /// Those that were not measured with every seed yet.
    pub under_way: Vec<String>,
}

/// What came of a method under one budget.
pub(super) struct MethodSummary<'a> {
    /// Where it stands among the methods of the recipe.
    pub index: usize,
    pub outcome: &'a Outcome,
    /// Of the points by the judge; the mean over the seeds.
    pub hypervolume: HypervolumeEstimate,
    pub hypervolume_by_seed: Vec<f64>,
    /// The standard deviation of those; NaN with one seed.
    pub spread: f64,
    /// Of the points by the reward model of training.
    pub proxy_hypervolume: HypervolumeEstimate,
    /// The following are means over the seeds.
    pub sparsity: f64,
    pub expected_utility: f64,
    pub maximum_utility_loss: f64,
    pub igd: f64,
    pub cardinality: f64,
    pub points: Vec<PointSummary>,
    /// Over points and seeds.
    pub kl: f64,
    pub mean_length: f64,
    pub cost: CostSummary,
    pub control: ControlSummary,
}

/// A point of a method, over the seeds.
pub(super) struct PointSummary {
    pub weights: Vec<f64>,
    /// What the policies were asked for; one text if it is the same for all seeds.
    pub asked: Vec<String>,
    /// Means over prompts and then seeds. `[n_objectives]`
    pub gold: Vec<f64>,
    /// Their 95 % intervals, over seeds and prompts.
    pub gold_intervals: Vec<Interval>,
    pub proxy: Vec<f64>,
    pub kl: f64,
    pub mean_length: f64,
}

impl PointSummary {
    /// What the point is worth to who weighs the objectives as it does.
    pub(super) fn utility(&self) -> f64 {
        self.weights.iter().zip(&self.gold).map(|(weight, level)| weight * level).sum()
    }
}

impl<'a> Summary<'a> {
    pub(super) fn of(comparison: &'a Compared<'a>) -> Result<Self, Error> {
        let methods = Contender::all_of(comparison.recipe)?;
        let budgets = comparison.recipe.comparison.iter().flat_map(|recipe| &recipe.budgets);
        let budgets = budgets
            .map(|&budget| BudgetSummary::of(comparison, &methods, budget))
            .collect::<Result<_, Error>>()?;
        Ok(Self { comparison, methods, budgets })
    }

    /// The names of the objectives.
    pub(super) fn objectives(&self) -> Vec<&str> {
        self.comparison.schema.objectives().iter().map(|objective| objective.name.as_str()).collect()
    }

    /// The seeds of the recipe.
    pub(super) fn seeds(&self) -> &[u64] {
        self.comparison.recipe.comparison.as_ref().map_or(&[], |recipe| &recipe.seeds)
    }
}

impl<'a> BudgetSummary<'a> {
    fn of(comparison: &'a Compared<'a>, methods: &[Contender], budget: BudgetName) -> Result<Self, Error> {
        let n_seeds = comparison.recipe.comparison.as_ref().map_or(0, |recipe| recipe.seeds.len());
        let of_method = |method: &Contender| {
            let found = comparison
                .outcomes
                .iter()
                .find(|outcome| outcome.budget == budget && outcome.method == method.name);
            found.filter(|outcome| !outcome.measured.is_empty())
        };
        let outcomes: Vec<(usize, &Outcome)> = methods
            .iter()
            .enumerate()
            .filter_map(|(index, method)| Some((index, of_method(method)?)))
            .collect();
        let is_under_way =
            |method: &&Contender| of_method(method).is_none_or(|outcome| outcome.measured.len() < n_seeds);
        let under_way = methods.iter().filter(is_under_way).map(|method| method.name.clone()).collect();
        let all: Vec<&Measured> = outcomes.iter().flat_map(|(_, outcome)| &outcome.measured).collect();
        let methods = (outcomes.into_iter())
            .map(|(index, outcome)| MethodSummary::of(comparison, index, outcome, &all))
            .collect::<Result<_, Error>>()?;
        Ok(Self { budget, methods, under_way })
    }

    /// The first method of the recipe, if it was measured.
    pub(super) fn first(&self) -> Option<&MethodSummary<'a>> {
        self.methods.first().filter(|method| method.index == 0)
    }
}

impl<'a> MethodSummary<'a> {
    /// `all` is what was measured under this budget, of all methods.
    fn of(
        comparison: &Compared<'_>,
        index: usize,
        outcome: &'a Outcome,
        all: &[&Measured],
    ) -> Result<Self, Error> {
        let measured = &outcome.measured;
        let (resamples, seed) = (comparison.recipe.evaluation.resamples, comparison.recipe.seed);
        let n_objectives = comparison.schema.objectives().len();
        let origin = vec![0.0; n_objectives];
        let means = |measured: &Measured| mean_points(measured, GOLD, n_objectives);
        let weight_steps = comparison.recipe.comparison.as_ref().map_or(0, |recipe| recipe.weight_steps);
        let weights = simplex_weights(n_objectives, weight_steps);

        let estimate = |side: Side| {
            let scores: Vec<Vec<Vec<Vec<f64>>>> = (measured.iter())
                .map(|measured| measured.points.iter().map(|point| side(point).clone()).collect())
                .collect();
            let rng = &mut ChaCha8Rng::seed_from_u64(seed);
            let estimate = bootstrap_hypervolume_over_seeds(&scores, &origin, resamples, rng);
            Ok::<_, Error>(defined(outcome, estimate)?.unwrap_or(NOTHING))
        };
        let by_seed = |measure: &dyn Fn(&Measured) -> Result<f64, PointsError>| {
            let values =
                measured.iter().map(|measured| Ok(defined(outcome, measure(measured))?.unwrap_or(f64::NAN)));
            values.collect::<Result<Vec<f64>, Error>>()
        };
        // The front of all methods' points with the same seed.
        let front = |seed: u64| -> Result<Vec<Vec<f64>>, PointsError> {
            let points: Vec<Vec<f64>> = all
                .iter()
                .filter(|measured| measured.seed == seed)
                .flat_map(|measured| means(measured))
                .collect();
            Ok(non_dominated(&points)?.into_iter().map(|index| points[index].clone()).collect())
        };
        let mean_by_seed = |measure: &dyn Fn(&Measured) -> Result<f64, PointsError>| {
            Ok::<_, Error>(mean(&by_seed(measure)?))
        };

        let hypervolume_by_seed = by_seed(&|measured| hypervolume(&means(measured), &origin))?;
        let points = (0..measured.iter().map(|measured| measured.points.len()).max().unwrap_or(0))
            .map(|point| PointSummary::of(measured, point, n_objectives, resamples, seed))
            .collect();
        let over_points = |value: fn(&Point) -> f64| {
            mean(&measured.iter().flat_map(|measured| &measured.points).map(value).collect::<Vec<_>>())
        };
        Ok(Self {
            index,
            outcome,
            hypervolume: estimate(GOLD)?,
            spread: standard_deviation(&hypervolume_by_seed),
            hypervolume_by_seed,
            proxy_hypervolume: estimate(PROXY)?,
            sparsity: mean_by_seed(&|measured| sparsity(&means(measured)))?,
            expected_utility: mean_by_seed(&|measured| expected_utility(&means(measured), &weights))?,
            maximum_utility_loss: mean_by_seed(&|measured| {
                maximum_utility_loss(&means(measured), &front(measured.seed)?, &weights)
            })?,
            igd: mean_by_seed(&|measured| {
                inverted_generational_distance(&means(measured), &front(measured.seed)?)
            })?,
            cardinality: mean_by_seed(&|measured| Ok(cardinality(&means(measured))? as f64))?,
            points,
            kl: over_points(|point| point.kl),
            mean_length: over_points(|point| point.mean_length),
            cost: CostSummary::of(measured),
            control: ControlSummary::of(measured, comparison.schema, resamples, seed),
        })
    }

    /// Its name in the report.
    pub(super) fn name(&self) -> &str {
        &self.outcome.method
    }
}

const NOTHING: HypervolumeEstimate = HypervolumeEstimate {
    value: f64::NAN,
    mean: f64::NAN,
    interval: Interval { low: f64::NAN, high: f64::NAN },
    resampled: Vec::new(),
};

/// A measure of points that are not all numbers is not defined.
fn defined<T>(outcome: &Outcome, measure: Result<T, PointsError>) -> Result<Option<T>, Error> {
    match measure {
        Ok(value) => Ok(Some(value)),
        Err(PointsError::NotFinite { .. }) => Ok(None),
        Err(error) => Err(Error::Unusable {
            place: format!("{} at equal {}", outcome.method, outcome.budget.name()),
            found: error.to_string(),
            expected: "points of one shape".into(),
        }),
    }
}

impl PointSummary {
    fn of(measured: &[Measured], index: usize, n_objectives: usize, resamples: usize, seed: u64) -> Self {
        let points: Vec<&Point> = measured.iter().filter_map(|measured| measured.points.get(index)).collect();
        let over_seeds = |side: Side, objective: usize| {
            mean(&points.iter().map(|point| mean_level(side(point), objective)).collect::<Vec<_>>())
        };
        let interval = |objective: usize| {
            let sizes: Vec<usize> = points.iter().map(|point| point.gold.len()).collect();
            let rng = &mut ChaCha8Rng::seed_from_u64(seed);
            bootstrap_interval_in_groups(&sizes, resamples, rng, |draws| {
                let of_draw = draws.iter().map(|draw| {
                    let levels =
                        draw.clusters.iter().map(|&prompt| points[draw.group].gold[prompt][objective]);
                    levels.sum::<f64>() / draw.clusters.len() as f64
                });
                of_draw.sum::<f64>() / draws.len() as f64
            })
        };
        let mut asked: Vec<String> = Vec::new();
        for point in &points {
            if !asked.contains(&point.asked) {
                asked.push(point.asked.clone());
            }
        }
        Self {
            weights: points.first().map_or(Vec::new(), |point| point.weights.clone()),
            asked,
            gold: (0..n_objectives).map(|objective| over_seeds(GOLD, objective)).collect(),
            gold_intervals: (0..n_objectives).map(interval).collect(),
            proxy: (0..n_objectives).map(|objective| over_seeds(PROXY, objective)).collect(),
            kl: mean(&points.iter().map(|point| point.kl).collect::<Vec<_>>()),
            mean_length: mean(&points.iter().map(|point| point.mean_length).collect::<Vec<_>>()),
        }
    }
}

/// The points of a seed as means over prompts. `[n_points][n_objectives]`
fn mean_points(measured: &Measured, side: Side, n_objectives: usize) -> Vec<Vec<f64>> {
    let of_point = |point| (0..n_objectives).map(|objective| mean_level(side(point), objective)).collect();
    measured.points.iter().map(of_point).collect()
}

/// The mean over prompts; NaN without prompts.
pub(super) fn mean_level(levels: &[Vec<f64>], objective: usize) -> f64 {
    mean(&levels.iter().map(|levels| levels[objective]).collect::<Vec<_>>())
}

/// With n - 1; NaN of fewer than two values.
fn standard_deviation(values: &[f64]) -> f64 {
    let center = mean(values);
    let squares: f64 = values.iter().map(|value| (value - center).powi(2)).sum();
    (squares / (values.len() as f64 - 1.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;
    use crate::MethodName;

    const BUDGETS: [BudgetName; 1] = [BudgetName::Samples];

    #[test]
    fn measures_are_those_of_the_front_by_seed_and_then_their_mean() {
        let methods = [MethodName::Moslim, MethodName::Morlhf];
        let sample = Sample::new(&methods, &BUDGETS, &[1, 2])
            .with(BUDGETS[0], "moslim", &[&[[0.5, 0.75], [1.0, 0.25]], &[[0.5, 0.5], [0.25, 0.25]]])
            .with(BUDGETS[0], "morlhf", &[&[[0.25, 1.0]], &[[1.0, 0.5]]]);
        let comparison = sample.comparison();
        let summary = Summary::of(&comparison).unwrap();
        let moslim = summary.budgets[0].first().unwrap();
        // 0.5 · 0.75 + 0.5 · 0.25 = 0.5 with the first seed; 0.25 with the second, whose second point is dominated.
        assert_eq!(moslim.hypervolume_by_seed, [0.5, 0.25]);
        assert_eq!(moslim.hypervolume.value, 0.375);
        // All four draws of seeds have the values 0.5, 0.375 twice, 0.25; questions of a seed agree.
        assert_eq!(<[f64; 2]>::from(moslim.hypervolume.interval), [0.25, 0.5]);
        assert!((moslim.spread - 0.25 / 2.0_f64.sqrt()).abs() < 1e-12);
        assert_eq!(moslim.proxy_hypervolume.value, 0.25);
        assert_eq!(moslim.cardinality, 1.5);
        assert_eq!(moslim.sparsity, 0.25); // 0.5² + 0.5², and one point
        // At the weights (0, 1), (½, ½), (1, 0): 0.75, 0.625, 1; 0.5 three times.
        assert!((moslim.expected_utility - (2.375 / 3.0 + 0.5) / 2.0).abs() < 1e-12);
        // The common front of the first seed has (0.25, 1) too, 0.25 and 0.25 from (0.5, 0.75), the others at 0; that of the
        // second seed is (1, 0.5) alone, 0.5 from (0.5, 0.5).
        assert!((moslim.igd - (0.125_f64.sqrt() / 3.0 + 0.5) / 2.0).abs() < 1e-12);
        // (0.25, 1) is worth 0.25 more at (0, 1); (1, 0.5) is worth 0.5 more at (1, 0).
        assert_eq!(moslim.maximum_utility_loss, 0.375);

        let point = &moslim.points[0];
        assert_eq!((point.gold.as_slice(), point.weights.as_slice()), (&[0.5, 0.625][..], &[0.0, 1.0][..]));
        assert_eq!(<[f64; 2]>::from(point.gold_intervals[1]), [0.5, 0.75]);
        assert_eq!((point.utility(), point.asked.len()), (0.625, 1));
    }

    #[test]
    fn what_is_not_measured_is_under_way() {
        let methods = [MethodName::Moslim, MethodName::Morlhf, MethodName::Cpo];
        let budgets = [BudgetName::Samples, BudgetName::Quality];
        let sample = Sample::new(&methods, &budgets, &[1, 2])
            .with(BUDGETS[0], "morlhf", &[&[[0.25, 1.0]]])
            .with(BUDGETS[0], "cpo", &[&[[0.25, 1.0]], &[[0.25, 1.0]]])
            .with(BUDGETS[0], "moslim", &[]);
        let comparison = sample.comparison();
        let summary = Summary::of(&comparison).unwrap();
        assert_eq!(summary.budgets[0].under_way, ["moslim", "morlhf"]);
        assert!(summary.budgets[0].first().is_none());
        let names: Vec<&str> = summary.budgets[0].methods.iter().map(MethodSummary::name).collect();
        assert_eq!(names, ["morlhf", "cpo"]);
        assert!(summary.budgets[1].methods.is_empty());
        assert_eq!(summary.budgets[1].under_way.len(), 3);
        // One seed has no spread.
        assert!(summary.budgets[0].methods[0].spread.is_nan());
    }

    #[test]
    fn numbers_that_are_none_give_none_and_shapes_that_differ_are_refused() {
        let mut sample = Sample::new(&[MethodName::Moslim], &BUDGETS, &[1]).with(
            BUDGETS[0],
            "moslim",
            &[&[[0.5, 0.5]; 2]],
        );
        sample.last().measured[0].points[0].gold[1][0] = f64::NAN;
        let comparison = sample.comparison();
        let summary = Summary::of(&comparison).unwrap();
        let moslim = summary.budgets[0].first().unwrap();
        assert!(
            moslim.hypervolume.value.is_nan() && moslim.igd.is_nan() && moslim.points[0].gold[0].is_nan()
        );
        assert_eq!(moslim.points[0].gold[1], 0.5);

        sample.last().measured[0].points[0].gold[1][0] = 0.5;
        sample.last().measured[0].points[1].gold.pop();
        let comparison = sample.comparison();
        let error = Summary::of(&comparison).map(|_| ()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "moslim at equal samples: point 1 has scores of 1 prompts, expected 2, expected points of one shape"
        );
    }
}
