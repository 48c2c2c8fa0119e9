//! Tables of all measures, and the hypervolumes as a picture.

use moslim_eval::chart::{Bar, BarChart, BarSeries, bar_chart};
use moslim_eval::controllability::ObjectiveControl;
use moslim_eval::pareto::HypervolumeEstimate;
use moslim_eval::report::Page;

use super::{number, with_interval};
use crate::comparison::report::control::MeanOverObjectives;
use crate::comparison::report::summary::{BudgetSummary, MethodSummary, Summary};

/// What came out and what it took, one row per method, and the hypervolumes.
pub(super) fn overview(page: Page, budget: &BudgetSummary<'_>) -> Page {
    let headers = [
        "method",
        "hypervolume",
        "by the reward model",
        "Spearman, one asked",
        "exact, one asked",
        "Spearman, all asked",
        "exact, all asked",
        "KL",
    ];
    let quality = |method: &MethodSummary<'_>| {
        let mut row = vec![
            method.name().to_string(),
            with_interval(method.hypervolume.value, method.hypervolume.interval, 3),
            number(method.proxy_hypervolume.value, 3),
        ];
        for controls in [&method.control.one, &method.control.all] {
            row.push(number(MeanOverObjectives::spearman(controls).value, 3));
            row.push(number(MeanOverObjectives::exact(controls).value, 3));
        }
        row.push(number(method.kl, 2));
        row
    };
    let effort = |method: &MethodSummary<'_>| {
        let cost = &method.cost;
        vec![
            method.name().to_string(),
            number(cost.samples, 0),
            number(cost.data_answers, 0),
            number(cost.trainings, 0),
            number(cost.total_seconds(), 1),
            number(cost.peak_bytes.unwrap_or(f64::NAN) / 1e6, 0),
            number(cost.look_up_answers, 0),
            number(cost.look_up_seconds, 1),
        ]
    };
    let rows =
        |row: &dyn Fn(&MethodSummary<'_>) -> Vec<String>| budget.methods.iter().map(row).collect::<Vec<_>>();
    page.subsection("Overview")
        .table(
            &headers,
            &rows(&quality),
            Some("Control is the mean over the objectives; KL is in nats per answer, the mean over all points."),
        )
        .table(
            &[
                "method",
                "samples",
                "answers of the data",
                "trainings",
                "seconds",
                "peak of memory, MB",
                "answers to look up",
                "their seconds",
            ],
            &rows(&effort),
            Some(
                "What training took: means over the seeds, and the most memory of all. Answers of the data are those that a \
                 method learned from beside what it sampled. Behind that, what it took to find out what to ask for: which levels \
                 serve weights, or which weights give levels.",
            ),
        )
        .figure(
            &hypervolumes(budget),
            "Hypervolume with its 95 % interval, by the judge and by the reward model that each method was trained with. \
             What the second has more than the first is credit for answers that fool the reward model.",
        )
}

/// So many methods can be read beside each other.
const MOST_METHODS_OF_A_CHART: usize = 7;

fn hypervolumes(budget: &BudgetSummary<'_>) -> String {
    let n_charts = budget.methods.len().div_ceil(MOST_METHODS_OF_A_CHART).max(1);
    let of_a_chart = budget.methods.len().div_ceil(n_charts).max(1);
    budget.methods.chunks(of_a_chart).map(hypervolumes_of).collect()
}

fn hypervolumes_of<'a>(methods: &'a [MethodSummary<'_>]) -> String {
    let series = |name: &str, estimate: fn(&'a MethodSummary<'_>) -> &'a HypervolumeEstimate| BarSeries {
        name: name.into(),
        bars: (methods.iter().map(estimate))
            .map(|estimate| Bar { value: estimate.value, interval: Some(estimate.interval) })
            .collect(),
    };
    bar_chart(&BarChart {
        title: "Hypervolume".into(),
        y_label: "share of the unit cube".into(),
        groups: methods.iter().map(|method| method.name().to_string()).collect(),
        series: vec![
            series("judge", |method| &method.hypervolume),
            series("reward model of training", |method| &method.proxy_hypervolume),
        ],
        y_range: Some((0.0, 1.0)),
        ..BarChart::default()
    })
}

/// What else is measured of a front, control by objective, and every point.
pub(super) fn details(page: Page, summary: &Summary<'_>, budget: &BudgetSummary<'_>) -> Page {
    let headers = [
        "method",
        "hypervolume by seed",
        "spread",
        "expected utility",
        "maximum utility loss",
        "IGD",
        "sparsity",
        "cardinality",
        "length",
    ];
    let row = |method: &MethodSummary<'_>| {
        let by_seed: Vec<String> = method.hypervolume_by_seed.iter().map(|&value| number(value, 3)).collect();
        vec![
            method.name().into(),
            by_seed.join(", "),
            number(method.spread, 3),
            number(method.expected_utility, 3),
            number(method.maximum_utility_loss, 3),
            number(method.igd, 3),
            number(method.sparsity, 4),
            number(method.cardinality, 1),
            number(method.mean_length, 1),
        ]
    };
    let rows: Vec<Vec<String>> = budget.methods.iter().map(row).collect();
    let control: Vec<Vec<String>> = budget.methods.iter().flat_map(control_rows).collect();
    let (point_headers, points) = points(summary, budget);
    let point_headers: Vec<&str> = point_headers.iter().map(String::as_str).collect();
    page.subsection("All measures")
        .table(
            &headers,
            &rows,
            Some(
                "Spread is the standard deviation of the hypervolume over the seeds. Utility loss and IGD are against the front \
                 of all methods' points of the same seed; both are better when small, like sparsity. Length is in tokens.",
            ),
        )
        .folded_table("Control by objective", &CONTROL_HEADERS, &control)
        .folded_table("Every point: weights, what was asked, levels by judge and reward model, KL", &point_headers, &points)
}

const CONTROL_HEADERS: [&str; 9] = [
    "method",
    "asked",
    "objective",
    "Spearman",
    "exact",
    "within one",
    "MAE",
    "weighted kappa",
    "falls between levels",
];

fn control_rows(method: &MethodSummary<'_>) -> Vec<Vec<String>> {
    let row = |(asked, control): (&str, &ObjectiveControl)| {
        let (values, intervals) = (&control.measures, &control.intervals);
        vec![
            method.name().into(),
            asked.into(),
            control.objective.clone(),
            with_interval(values.spearman, intervals.spearman, 2),
            with_interval(values.exact, intervals.exact, 2),
            number(values.within_one, 3),
            number(values.mae, 3),
            number(values.quadratic_weighted_kappa, 3),
            number(values.monotonicity_violations, 0),
        ]
    };
    let one = method.control.one.iter().map(|control| ("one", control));
    one.chain(method.control.all.iter().map(|control| ("all", control))).map(row).collect()
}

/// Headers and rows.
fn points(summary: &Summary<'_>, budget: &BudgetSummary<'_>) -> (Vec<String>, Vec<Vec<String>>) {
    let mut headers = vec!["method".to_string(), "weights".into(), "asked".into()];
    let objectives = summary.objectives();
    headers.extend(objectives.iter().map(|objective| (*objective).to_string()));
    headers.extend(objectives.iter().map(|objective| format!("{objective}, reward model")));
    headers.extend(["KL".into(), "length".into()]);
    let rows =
        budget.methods.iter().flat_map(|method| method.points.iter().map(move |point| (method, point)));
    let rows = rows.map(|(method, point)| {
        let weights: Vec<String> = point.weights.iter().map(|&weight| number(weight, 2)).collect();
        let mut row = vec![method.name().to_string(), weights.join(", "), point.asked.join(" or ")];
        let gold = point.gold.iter().zip(&point.gold_intervals);
        row.extend(gold.map(|(&level, &interval)| with_interval(level, interval, 3)));
        row.extend(point.proxy.iter().map(|&level| number(level, 3)));
        row.extend([number(point.kl, 2), number(point.mean_length, 1)]);
        row
    });
    (headers, rows.collect())
}
