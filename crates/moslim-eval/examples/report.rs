//! Writes a page with every kind of chart and table to the folder for temporary files and prints where it is.

use std::error::Error;

use moslim_data::{Objective, ObjectiveSchema};
use moslim_eval::chart::{
    Bar, BarChart, BarSeries, Emphasis, HeatMap, LineChart, Reference, ScatterChart, ScatterPoint,
    ScatterSeries, Series, SeriesStyle, VerticalMark, bar_chart, heat_map, line_chart, scatter_chart,
};
use moslim_eval::classification::{Classified, HeadReport};
use moslim_eval::controllability::{Judged, ObjectiveControl, controllability, cross_talk};
use moslim_eval::overoptimization::{Point, parting_point};
use moslim_eval::report::Page;
use moslim_eval::stats::Interval;
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

const RESAMPLES: usize = 1000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let schema = ObjectiveSchema::new(vec![
        Objective::with_scale("helpfulness", 1, 5),
        Objective::with_scale("honesty", 1, 5),
        Objective { name: "harmlessness".into(), levels: vec!["harmful".into(), "harmless".into()] },
    ])?;

    let page = Page::new("A policy that mostly listens")
        .paragraph("Every number on this page is made up; it shows what a report looks like.")
        .warning("One seed only: the intervals cover the choice of prompts, not that of the training run.");
    let page = control_section(page, &schema, &mut rng);
    let page = heads_section(page, &schema, &mut rng);
    let page = overoptimization_section(page, &mut rng);
    let page =
        fronts_section(page).section("Setup").details("Recipe", "[rloo]\nkl_coef = 0.05\nn_samples = 4\n");

    let path = std::env::temp_dir().join("moslim-report.html");
    std::fs::write(&path, page.finish())?;
    #[expect(clippy::print_stdout, reason = "an example may say what it did")]
    {
        println!("{}", path.display());
    }
    Ok(())
}

fn control_section(page: Page, schema: &ObjectiveSchema, rng: &mut ChaCha8Rng) -> Page {
    let judged = judged_answers(schema, rng);
    let control = controllability(&judged, schema, RESAMPLES, rng);
    let rows: Vec<Vec<String>> = control.iter().map(control_row).collect();
    let names: Vec<String> = control.iter().map(|control| control.objective.clone()).collect();
    page.section("Control")
        .note("Helpfulness follows the level asked for; harmlessness follows least.")
        .table(
            &["objective", "answers", "exact", "MAE", "Kendall τ-b", "range in levels"],
            &rows,
            Some("Agreement of asked and achieved levels, with 95 % intervals over prompts."),
        )
        .figure(
            &heat_map(&HeatMap {
                title: "Helpfulness: asked against achieved".into(),
                row_axis: "level asked for".into(),
                column_axis: "level achieved".into(),
                row_names: schema.objectives()[0].levels.clone(),
                column_names: schema.objectives()[0].levels.clone(),
                values: control[0].matrix.rows().iter().map(|row| row.iter().map(|&n| Some(n as f64)).collect()).collect(),
                decimals: 0,
            }),
            "Numbers of answers.",
        )
        .figure(
            &heat_map(&HeatMap {
                title: "Cross-talk".into(),
                row_axis: "asked objective".into(),
                column_axis: "achieved objective".into(),
                row_names: names.clone(),
                column_names: names,
                values: cross_talk(&judged, schema),
                decimals: 2,
            }),
            "Slope of the achieved on the asked level, both scaled to 0..1: 1 on the diagonal is perfect control.",
        )
}

fn heads_section(page: Page, schema: &ObjectiveSchema, rng: &mut ChaCha8Rng) -> Page {
    let heads: Vec<HeadReport> =
        schema.n_levels().into_iter().map(|n_levels| made_up_head(n_levels, rng)).collect();
    let bar = |value: f64, interval: Interval| Bar { value, interval: Some(interval) };
    page.section("Reward model")
        .figure(
            &bar_chart(&BarChart {
                title: "Accuracy of the heads".into(),
                y_label: "share of answers or pairs".into(),
                groups: schema.objectives().iter().map(|objective| objective.name.clone()).collect(),
                series: vec![
                    BarSeries {
                        name: "intensity accuracy".into(),
                        bars: (heads.iter())
                            .map(|head| {
                                bar(head.measures.intensity_accuracy, head.intervals.intensity_accuracy)
                            })
                            .collect(),
                    },
                    BarSeries {
                        name: "pairwise accuracy".into(),
                        bars: (heads.iter())
                            .map(|head| {
                                bar(head.measures.pairwise_accuracy, head.intervals.pairwise_accuracy)
                            })
                            .collect(),
                    },
                ],
                reference: Some(Reference {
                    name: "always the most frequent label".into(),
                    values: heads.iter().map(|head| head.majority).collect(),
                }),
                y_range: Some((0.0, 1.0)),
            }),
            "Whiskers are 95 % intervals over prompts.",
        )
        .figure(
            &line_chart(&LineChart {
                title: "Reliability".into(),
                x_label: "mean confidence".into(),
                y_label: "accuracy".into(),
                series: (schema.objectives().iter().zip(&heads))
                    .map(|(objective, head)| Series {
                        name: format!("{} (ECE {:.3})", objective.name, head.measures.ece),
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
            }),
            "A calibrated head lies on the diagonal.",
        )
}

fn overoptimization_section(page: Page, rng: &mut ChaCha8Rng) -> Page {
    let points: Vec<Point> = (0..60)
        .map(|step| {
            let distance = f64::from(step) / 10.0;
            let noise = rng.random_range(-0.05..0.05);
            Point {
                kl: distance.powi(2),
                gold: distance * (1.0 - 0.45 * (distance + 0.1).ln()) + noise,
                proxy: distance,
            }
        })
        .collect();
    let curve =
        |score: fn(&Point) -> f64| points.iter().map(|point| (point.distance(), score(point))).collect();
    let parting = parting_point(&points);
    let svg = line_chart(&LineChart {
        title: "Gold and proxy".into(),
        x_label: "√KL to the start policy".into(),
        y_label: "mean score".into(),
        series: vec![
            Series { name: "proxy".into(), points: curve(|point| point.proxy), style: SeriesStyle::Line },
            Series { name: "gold".into(), points: curve(|point| point.gold), style: SeriesStyle::Line },
        ],
        marks: (parting.iter())
            .map(|&index| VerticalMark { x: points[index].distance(), label: "they part".into() })
            .collect(),
        ..LineChart::default()
    });
    page.section("Over-optimisation")
        .figure(&svg, "From the mark on, the proxy rises and the gold score has fallen.")
}

/// Two methods on quarters of circles.
fn fronts_section(page: Page) -> Page {
    let front = |radius: f64| -> Vec<(f64, f64)> {
        let angles = (0..=8).map(|step| f64::from(step) * std::f64::consts::FRAC_PI_2 / 8.0);
        angles.map(|angle| (radius * angle.cos(), radius * angle.sin())).collect()
    };
    let series = |name: &str, radius: f64, emphasis: Emphasis| {
        let around = |value: f64| Some(Interval { low: value - 0.03, high: value + 0.03 });
        let point =
            |&(x, y): &(f64, f64)| ScatterPoint { x, y, x_interval: around(x), y_interval: around(y) };
        let line = front(radius);
        ScatterSeries { name: name.into(), points: line.iter().map(point).collect(), line, emphasis }
    };
    let chart = ScatterChart {
        title: "Fronts".into(),
        x_label: "helpfulness".into(),
        y_label: "honesty".into(),
        series: vec![series("method", 0.9, Emphasis::Strong), series("baseline", 0.7, Emphasis::Plain)],
        ..ScatterChart::default()
    };
    let rows: Vec<Vec<String>> =
        front(0.9).iter().map(|(x, y)| vec![format!("{x:.3}"), format!("{y:.3}")]).collect();
    page.section("Fronts")
        .subsection("Two objectives")
        .figure(&scatter_chart(&chart), "Whiskers are 95 % intervals over prompts.")
        .folded_table("Every point of the method", &["helpfulness", "honesty"], &rows)
}

fn control_row(control: &ObjectiveControl) -> Vec<String> {
    let with_interval =
        |value: f64, interval: Interval| format!("{value:.2} [{:.2}, {:.2}]", interval.low, interval.high);
    let (values, intervals) = (&control.measures, &control.intervals);
    vec![
        control.objective.clone(),
        control.n_answers.to_string(),
        with_interval(values.exact, intervals.exact),
        with_interval(values.mae, intervals.mae),
        with_interval(values.kendall_tau_b, intervals.kendall_tau_b),
        with_interval(values.dynamic_range, intervals.dynamic_range),
    ]
}

/// Every objective is asked for two times out of three, and met more or less.
fn judged_answers(schema: &ObjectiveSchema, rng: &mut ChaCha8Rng) -> Vec<Judged> {
    (0..1200)
        .map(|answer| {
            let (asked, achieved) = (schema.n_levels().into_iter())
                .map(|n_levels| {
                    let asked = rng.random_bool(2.0 / 3.0).then(|| rng.random_range(0..n_levels));
                    let wobble = rng.random_range(0..=2);
                    let achieved =
                        (asked.unwrap_or(n_levels / 2) + wobble).saturating_sub(1).min(n_levels - 1);
                    (asked, achieved)
                })
                .unzip();
            Judged { prompt: answer / 8, asked, achieved }
        })
        .collect()
}

/// A head that puts a random share of its probability on the label and spreads the rest.
fn made_up_head(n_levels: usize, rng: &mut ChaCha8Rng) -> HeadReport {
    let (mut probabilities, mut labels) = (Vec::new(), Vec::new());
    for _ in 0..800 {
        let label = rng.random_range(0..n_levels).max(rng.random_range(0..n_levels));
        let mut row: Vec<f64> = (0..n_levels).map(|_| rng.random_range(0.0..1.0)).collect();
        row[label] += rng.random_range(0.0..2.0);
        let total: f64 = row.iter().sum();
        probabilities.push(row.iter().map(|weight| weight / total).collect());
        labels.push(label);
    }
    let prompts = (0..800).map(|answer| answer / 4).collect();
    let classified =
        Classified { probabilities, labels, prompts, sources: vec![None; 800], deviations: None };
    HeadReport::new(&classified, RESAMPLES, rng)
}
