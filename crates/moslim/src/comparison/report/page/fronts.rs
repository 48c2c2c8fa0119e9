//! What the methods reach, as pictures.

use moslim_eval::chart::{Emphasis, ScatterChart, ScatterPoint, ScatterSeries, scatter_chart};
use moslim_eval::pareto::non_dominated;
use moslim_eval::report::Page;
use moslim_eval::stats::mean;

use crate::comparison::report::summary::{BudgetSummary, MethodSummary, Summary, mean_level};

/// One picture for every pair of objectives.
pub(super) fn pictures(page: Page, summary: &Summary<'_>, budget: &BudgetSummary<'_>) -> Page {
    let objectives = summary.objectives();
    let pairs = (0..objectives.len()).flat_map(|x| (x + 1..objectives.len()).map(move |y| (x, y)));
    let page = page.subsection("Fronts");
    pairs.fold(page, |page, (x, y)| {
        let chart = ScatterChart {
            title: format!("{} and {}", objectives[x], objectives[y]),
            x_label: format!("{}, share of the highest level", objectives[x]),
            y_label: format!("{}, share of the highest level", objectives[y]),
            series: [start(summary, x, y)]
                .into_iter()
                .chain(budget.methods.iter().map(|method| front(method, x, y)))
                .collect(),
            ..ScatterChart::default()
        };
        let others = match objectives.len() {
            2 => String::new(),
            _ => " A point that looks dominated here may be ahead in another objective.".into(),
        };
        let caption = format!(
            "Every point is one weighting, with 95 % intervals; lines go through the points of a method that no other point of \
             it dominates in these two objectives.{others}"
        );
        page.figure(&scatter_chart(&chart), &caption)
    })
}

fn emphasis(method: &MethodSummary<'_>) -> Emphasis {
    if method.index == 0 { Emphasis::Strong } else { Emphasis::Plain }
}

fn front(method: &MethodSummary<'_>, x: usize, y: usize) -> ScatterSeries {
    let points = method.points.iter().map(|point| ScatterPoint {
        x: point.gold[x],
        y: point.gold[y],
        x_interval: Some(point.gold_intervals[x]),
        y_interval: Some(point.gold_intervals[y]),
    });
    let points: Vec<ScatterPoint> =
        points.filter(|point| point.x.is_finite() && point.y.is_finite()).collect();
    let places: Vec<[f64; 2]> = points.iter().map(|point| [point.x, point.y]).collect();
    let mut line: Vec<(f64, f64)> = (non_dominated(&places).unwrap_or_default().into_iter())
        .map(|index| (places[index][0], places[index][1]))
        .collect();
    line.sort_by(|a, b| a.0.total_cmp(&b.0));
    ScatterSeries { name: method.name().into(), points, line, emphasis: emphasis(method) }
}

/// The start policy, which is asked for nothing.
fn start(summary: &Summary<'_>, x: usize, y: usize) -> ScatterSeries {
    let level = |objective| {
        let grounds = summary.comparison.grounds.iter();
        mean(&grounds.map(|ground| mean_level(&ground.start.gold, objective)).collect::<Vec<_>>())
    };
    ScatterSeries {
        name: "start policy".into(),
        points: vec![ScatterPoint { x: level(x), y: level(y), ..ScatterPoint::default() }],
        emphasis: Emphasis::Muted,
        ..ScatterSeries::default()
    }
}

/// What every point is worth by its own weights, over what it took to get there.
pub(super) fn divergence(page: Page, budget: &BudgetSummary<'_>) -> Page {
    let series = |method: &MethodSummary<'_>| ScatterSeries {
        name: method.name().into(),
        points: (method.points.iter())
            .map(|point| ScatterPoint { x: point.kl, y: point.utility(), ..ScatterPoint::default() })
            .collect(),
        emphasis: emphasis(method),
        ..ScatterSeries::default()
    };
    let chart = ScatterChart {
        title: "Quality against divergence".into(),
        x_label: "KL from the start policy, nats per answer".into(),
        y_label: "weighted sum of the levels, by the judge".into(),
        series: budget.methods.iter().map(series).collect(),
        ..ScatterChart::default()
    };
    page.subsection("Quality against divergence").figure(
        &scatter_chart(&chart),
        "Every point is one weighting w: w · levels over KL. Methods compare at equal KL, one above the other; who is further \
         right has gone further from the start policy for what is gained.",
    )
}
