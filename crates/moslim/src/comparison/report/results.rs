//! Every number of a comparison as JSON.
//!
//! Names are stable; later versions only add to them.

use std::collections::BTreeMap;

use moslim_eval::controllability::ObjectiveControl;
use moslim_eval::pareto::HypervolumeEstimate;
use moslim_eval::stats::mean;
use serde_json::{Map, Value, json};

use super::conclusion;
use super::control::MeanOverObjectives;
use super::summary::{BudgetSummary, MethodSummary, PointSummary, Summary, mean_level};
use crate::BudgetName;
use crate::comparison::measured::SharedGround;

/// All results: those under the first budget at the top, and those of every budget.
pub(super) fn to_json(summary: &Summary<'_>) -> Value {
    let budgets: Map<String, Value> = (summary.budgets.iter())
        .map(|budget| {
            let value = json!({
                "methods": methods(summary, budget),
                "under_way": budget.under_way,
                "conclusion": conclusion::of(summary, budget),
            });
            (budget.budget.name().to_string(), value)
        })
        .collect();
    json!({
        "judge": summary.comparison.judge,
        "objectives": summary.comparison.schema,
        "level_unit": "share of the highest level",
        "reference_point": vec![0.0; summary.objectives().len()],
        "seeds": summary.seeds(),
        "resamples": summary.comparison.recipe.evaluation.resamples,
        "methods": summary.budgets.first().map_or(json!({}), |budget| methods(summary, budget)),
        "budgets": budgets,
        "ground": ground(summary),
    })
}

fn methods(summary: &Summary<'_>, budget: &BudgetSummary<'_>) -> Value {
    let of = |method| (MethodSummary::name(method).to_string(), self::method(summary, budget, method));
    budget.methods.iter().map(of).collect::<Map<_, _>>().into()
}

fn method(summary: &Summary<'_>, budget: &BudgetSummary<'_>, method: &MethodSummary<'_>) -> Value {
    let measured = &method.outcome.measured;
    let curves = measured.iter().filter(|measured| !measured.curves.is_empty());
    let curves: Vec<Value> =
        curves.map(|measured| json!({ "seed": measured.seed, "objectives": measured.curves })).collect();
    let mut value = json!({
        "method": summary.methods[method.index].method,
        "reward_models": summary.methods[method.index].reward_models(),
        "seeds": measured.iter().map(|measured| measured.seed).collect::<Vec<_>>(),
        "hypervolume": estimate(&method.hypervolume),
        "hypervolume_by_seed": method.hypervolume_by_seed,
        "spread": method.spread,
        "proxy_hypervolume": estimate(&method.proxy_hypervolume),
        "sparsity": method.sparsity,
        "expected_utility": method.expected_utility,
        "maximum_utility_loss": method.maximum_utility_loss,
        "igd": method.igd,
        "cardinality": method.cardinality,
        "points": method.points.iter().map(point).collect::<Vec<_>>(),
        "kl": method.kl,
        "mean_length": method.mean_length,
        "samples": method.cost.samples,
        "data_answers": method.cost.data_answers,
        "look_up": { "answers": method.cost.look_up_answers, "seconds": method.cost.look_up_seconds },
        "seconds": method.cost.seconds,
        "seconds_by_seed": method.cost.seconds_by_seed,
        "trainings": method.cost.trainings,
        "peak_bytes": method.cost.peak_bytes,
        "resident_bytes": method.cost.resident_bytes,
        "controllability": {
            "one_asked": control(&method.control.one),
            "all_asked": control(&method.control.all),
        },
        "levels_of_weights": curves,
    });
    if budget.budget == BudgetName::Quality {
        value["reached"] = method.outcome.reached.into();
    }
    value
}

fn estimate(estimate: &HypervolumeEstimate) -> Value {
    json!({ "mean": estimate.value, "low": estimate.interval.low, "high": estimate.interval.high })
}

fn point(point: &PointSummary) -> Value {
    json!({
        "weights": point.weights,
        "asked": point.asked,
        "gold": point.gold,
        "gold_intervals": point.gold_intervals,
        "proxy": point.proxy,
        "kl": point.kl,
        "mean_length": point.mean_length,
    })
}

fn control(controls: &[ObjectiveControl]) -> Value {
    let mean = |mean: MeanOverObjectives| json!({ "mean": mean.value, "interval": mean.interval });
    let objectives: Map<String, Value> =
        controls.iter().map(|control| (control.objective.clone(), json!(control))).collect();
    json!({
        "objectives": objectives,
        "spearman": mean(MeanOverObjectives::spearman(controls)),
        "exact": mean(MeanOverObjectives::exact(controls)),
    })
}

/// What all methods have in common: means over the seeds, and every seed.
fn ground(summary: &Summary<'_>) -> Value {
    let grounds = summary.comparison.grounds;
    let n_objectives = summary.objectives().len();
    let by_seed: Vec<Value> = (grounds.iter())
        .map(|ground| {
            let side = |levels: &[Vec<f64>]| -> Vec<f64> {
                (0..n_objectives).map(|objective| mean_level(levels, objective)).collect()
            };
            let start = &ground.start;
            json!({
                "seed": ground.seed,
                "seconds": ground.seconds,
                "accuracy": ground.accuracy,
                "separate_accuracy": ground.separate_accuracy,
                "start": {
                    "gold": side(&start.gold),
                    "proxy": side(&start.proxy),
                    "mean_length": start.mean_length,
                },
            })
        })
        .collect();
    json!({
        "seconds": means(grounds, |ground| &ground.seconds),
        "accuracy": means(grounds, |ground| &ground.accuracy),
        "separate_accuracy": means(grounds, |ground| &ground.separate_accuracy),
        "by_seed": by_seed,
    })
}

/// The mean of every entry over the seeds that have it.
pub(super) fn means(
    grounds: &[SharedGround],
    entries: fn(&SharedGround) -> &BTreeMap<String, f64>,
) -> BTreeMap<String, f64> {
    let mut values = BTreeMap::<String, Vec<f64>>::new();
    for (name, &value) in grounds.iter().flat_map(entries) {
        values.entry(name.clone()).or_default().push(value);
    }
    values.into_iter().map(|(name, values)| (name, mean(&values))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;
    use crate::MethodName;

    #[test]
    fn names_are_those_that_others_read() {
        let budgets = [BudgetName::Samples, BudgetName::Quality];
        let points: &[[f64; 2]] = &[[0.5, 0.5], [1.0, 0.25]];
        let sample = Sample::new(&[MethodName::Moslim, MethodName::Ric], &budgets, &[1])
            .with(BudgetName::Samples, "moslim", &[points])
            .with(BudgetName::Quality, "moslim", &[&[[1.0, 0.5]]]);
        let comparison = sample.comparison();
        let results = to_json(&Summary::of(&comparison).unwrap());
        let moslim = &results["methods"]["moslim"];
        assert_eq!(moslim["hypervolume"], json!({ "mean": 0.375, "low": 0.375, "high": 0.375 }));
        assert_eq!(moslim["seconds"], json!({ "generate": 6.0, "update": 4.0 }));
        assert_eq!([&moslim["samples"], &moslim["trainings"], &moslim["peak_bytes"]], [100.0, 1.0, 5e6]);
        assert_eq!(moslim["points"][1]["gold"], json!([1.0, 0.25]));
        assert_eq!(moslim["controllability"]["one_asked"]["objectives"]["helpfulness"]["exact"], 1.0);
        assert!(moslim["spread"].is_null() && moslim.get("reached").is_none());
        assert_eq!(results["budgets"]["samples"]["methods"]["moslim"], *moslim);
        let quality = &results["budgets"]["quality"]["methods"];
        assert_eq!(
            (&quality["moslim"]["hypervolume"]["mean"], &quality["moslim"]["reached"]),
            (&json!(0.5), &json!(true))
        );
        assert_eq!(results["budgets"]["quality"]["under_way"], json!(["ric"]));
        assert_eq!((&results["reference_point"], &results["seeds"]), (&json!([0.0, 0.0]), &json!([1])));
        assert_eq!(results["ground"]["seconds"]["reward_model"], 30.0);
        assert_eq!(results["ground"]["accuracy"]["honesty"], 0.875);
        assert_eq!(results["ground"]["by_seed"][0]["start"]["gold"], json!([0.25, 0.25]));
    }
}
