//! The section on the reward model.

use moslim_data::Objective;
use moslim_eval::chart::{
    Bar, BarChart, BarSeries, LineChart, Reference, Series, SeriesStyle, bar_chart, line_chart,
};
use moslim_eval::classification::HeadReport;
use moslim_eval::report::Page;

use super::{Results, number};

const HEADERS: [&str; 11] = [
    "objective",
    "intensity accuracy",
    "majority",
    "balanced accuracy",
    "within one",
    "MAE",
    "weighted kappa",
    "pairwise accuracy",
    "recognition",
    "ECE",
    "answers",
];

/// The measures of every head.
fn rows(results: &Results<'_>, heads: &[HeadReport]) -> Vec<Vec<String>> {
    let of = |(objective, head): (&Objective, &HeadReport)| {
        vec![
            objective.name.clone(),
            number(head.measures.intensity_accuracy, 3),
            number(head.majority, 3),
            number(head.measures.balanced_accuracy, 3),
            number(head.measures.within_one, 3),
            number(head.measures.mae, 3),
            number(head.measures.quadratic_weighted_kappa, 3),
            number(head.measures.pairwise_accuracy, 3),
            number(head.measures.recognition_accuracy, 3),
            number(head.measures.ece, 3),
            head.n.to_string(),
        ]
    };
    results.objectives().iter().zip(heads).map(of).collect()
}

/// Accuracy beside the majority baseline, and calibration.
pub(super) fn section(page: Page, results: &Results<'_>) -> Page {
    let accuracy = results.heads.iter().map(|head| Bar {
        value: head.measures.intensity_accuracy,
        interval: Some(head.intervals.intensity_accuracy),
    });
    let chart = BarChart {
        title: "How often a head names the level of a held-out answer".into(),
        y_label: "intensity accuracy".into(),
        groups: results.objectives().iter().map(|objective| objective.name.clone()).collect(),
        series: vec![BarSeries { name: "reward model".into(), bars: accuracy.collect() }],
        reference: Some(Reference {
            name: "most frequent level".into(),
            values: results.heads.iter().map(|head| head.majority).collect(),
        }),
        y_range: Some((0.0, 1.0)),
    };
    let reliability = LineChart {
        title: "Are its probabilities honest?".into(),
        x_label: "confidence".into(),
        y_label: "accuracy".into(),
        series: results
            .objectives()
            .iter()
            .zip(results.heads)
            .map(|(objective, head)| Series {
                name: objective.name.clone(),
                points: head.reliability.iter().map(|bin| (bin.confidence, bin.accuracy)).collect(),
                style: SeriesStyle::Line,
            })
            .chain([Series {
                name: "calibrated".into(),
                points: vec![(0.0, 0.0), (1.0, 1.0)],
                style: SeriesStyle::Dashed,
            }])
            .collect(),
        x_range: Some((0.0, 1.0)),
        y_range: Some((0.0, 1.0)),
        ..LineChart::default()
    };
    let page = page
        .figure(
            &bar_chart(&chart),
            "The dashed line is what always naming the most frequent level would reach.",
        )
        .table(&HEADERS, &rows(results, results.heads), None);
    let page = match results.judge_heads {
        None => page,
        Some(heads) => {
            let caption = "The same of the reward model that judges, which learned from other questions.";
            page.table(&HEADERS, &rows(results, heads), Some(caption))
        }
    };
    page.figure(&line_chart(&reliability), "Share of right answers by the probability of the named level.")
}
