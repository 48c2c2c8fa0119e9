//! What the policy does at levels that training left out, and between levels.

use moslim_data::Objective;
use moslim_eval::chart::{LineChart, Series, SeriesStyle, line_chart};
use moslim_eval::dial::DialPoint;
use moslim_eval::report::Page;

use super::{Results, number};

/// Every position of every objective, if anything beside the levels of training was asked for.
pub(super) fn section(page: Page, results: &Results<'_>) -> Page {
    let special = |point: &DialPoint| !point.trained || point.position.fract() != 0.0;
    if !results.dial.iter().flatten().any(special) {
        return page;
    }
    let page = page.section("Between levels and beyond those of training").paragraph(&format!(
        "One objective asked for at a time, at every position that has a wording. A position between two levels has no answer \
         of its own: by {}, an answer is at one of the two, or elsewhere.",
        results.judge.name()
    ));
    let objectives = || results.objectives().iter().zip(results.dial);
    let page = objectives().fold(page, |page, (objective, points)| {
        page.figure(&chart(objective, points), "Mean level of the answers by the position asked for.")
    });
    let rows: Vec<Vec<String>> =
        objectives().flat_map(|(objective, points)| rows(objective, points)).collect();
    let headers = [
        "objective",
        "asked",
        "in training",
        "answers",
        "mean level",
        "at it, or at a level beside it",
        "MAE",
    ];
    page.table(&headers, &rows, Some("Mean levels are positions counted from 0."))
}

fn chart(objective: &Objective, points: &[DialPoint]) -> String {
    let series = |name: &str, style, kept: &dyn Fn(&DialPoint) -> bool| Series {
        name: name.into(),
        points: points
            .iter()
            .filter(|point| kept(point))
            .map(|point| (point.position, point.mean_level))
            .collect(),
        style,
    };
    let is_whole = |point: &DialPoint| point.position.fract() == 0.0;
    let highest = (objective.n_levels() - 1) as f64;
    line_chart(&LineChart {
        title: objective.name.clone(),
        x_label: "asked, as a position from 0".into(),
        y_label: "mean level".into(),
        series: vec![
            Series {
                name: "as asked".into(),
                points: vec![(0.0, 0.0), (highest, highest)],
                style: SeriesStyle::Dashed,
            },
            series("levels of training", SeriesStyle::Line, &|point| is_whole(point) && point.trained),
            series("levels left out", SeriesStyle::Points, &|point| is_whole(point) && !point.trained),
            series("between levels", SeriesStyle::Points, &|point| !is_whole(point)),
        ]
        .into_iter()
        .filter(|series| !series.points.is_empty())
        .collect(),
        x_range: Some((0.0, highest)),
        y_range: Some((0.0, highest)),
        ..LineChart::default()
    })
}

fn rows(objective: &Objective, points: &[DialPoint]) -> Vec<Vec<String>> {
    let row = |point: &DialPoint| {
        vec![
            objective.name.clone(),
            objective.position_name(point.position).unwrap_or_else(|| point.position.to_string()),
            if point.trained { "yes" } else { "no" }.into(),
            point.n_answers.to_string(),
            number(point.mean_level, 2),
            number(point.nearest, 3),
            number(point.mae, 3),
        ]
    };
    points.iter().map(row).collect()
}
