//! How the levels asked for follow the weights that a method takes.

use moslim_eval::chart::{ScatterChart, ScatterPoint, ScatterSeries, scatter_chart};
use moslim_eval::report::Page;

use crate::comparison::measured::{LevelCurve, Measured};
use crate::comparison::report::summary::BudgetSummary;

/// One picture for every method that takes weights.
pub(super) fn section(page: Page, budget: &BudgetSummary<'_>) -> Page {
    let with_curves = budget.methods.iter().filter_map(|method| {
        let measured = method.outcome.measured.iter().find(|measured| !measured.curves.is_empty())?;
        Some((method.name(), measured))
    });
    let mut with_curves = with_curves.peekable();
    if with_curves.peek().is_none() {
        return page;
    }
    let page = page.subsection("From levels to weights").paragraph(
        "A method that takes weights is asked for a level by the weight at which its curve reaches the level. The curve is fitted \
         so that it never falls, to the mean levels that the reward model found in answers to questions of training.",
    );
    with_curves.fold(page, |page, (name, measured)| {
        page.figure(
            &chart(name, measured),
            &format!(
                "{name} with seed {}: observed means as points, the fitted curve as a line.",
                measured.seed
            ),
        )
    })
}

fn chart(name: &str, measured: &Measured) -> String {
    let series = |curve: &LevelCurve| ScatterSeries {
        name: curve.objective.clone(),
        points: (curve.weights.iter().zip(&curve.observed))
            .map(|(&x, &y)| ScatterPoint { x, y, ..ScatterPoint::default() })
            .collect(),
        line: curve.weights.iter().copied().zip(curve.fitted.iter().copied()).collect(),
        ..ScatterSeries::default()
    };
    scatter_chart(&ScatterChart {
        title: name.into(),
        x_label: "weight of the objective".into(),
        y_label: "mean level, from 0".into(),
        series: measured.curves.iter().map(series).collect(),
        x_range: Some((0.0, 1.0)),
        ..ScatterChart::default()
    })
}
