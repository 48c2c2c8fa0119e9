//! The report as one page.

mod dial;
mod reward_model;
mod training;

use moslim_eval::chart::{Bar, BarChart, BarSeries, HeatMap, bar_chart, heat_map};
use moslim_eval::controllability::{ControlMeasures, ObjectiveControl};
use moslim_eval::report::Page;
use moslim_eval::stats::mean;

use super::Ablation;
use super::asking::{Measured, Sample};
use super::results::Results;
use crate::Error;

/// A plain question's levels may move by this much of the start policy's before the report warns.
const PLAIN_DRIFT: f64 = 0.1;

/// `report/index.html`.
pub(super) fn page(results: &Results<'_>) -> Result<String, Error> {
    let page = Page::new("MOSLIM run").note(&results.summary());
    let page = control(page.section("Control"), results);
    let page = matrices(page, results);
    let page = dial::section(page, results);
    let page = plain(page.section("Questions without a request"), results);
    let page = reward_model::section(page.section("Reward model"), results);
    let page = training::section(page.section("Policy optimisation"), results);
    let page = ablations(page, results);
    let page = samples(page.section("Answers"), results);
    let page = seconds(page.section("Time"), results)?;
    let page = page.section("Recipe").details("recipe.toml as it was run", &results.run.recipe.to_toml());
    Ok(page.finish())
}

fn number(value: f64, decimals: usize) -> String {
    match value.is_finite() {
        true => format!("{value:.decimals$}"),
        false => "–".into(),
    }
}

const CONTROL_HEADERS: [&str; 9] =
    ["policy", "objective", "Spearman", "95 %", "exact", "95 %", "within one", "MAE", "weighted kappa"];

fn control_rows(name: &str, controls: &[ObjectiveControl]) -> Vec<Vec<String>> {
    controls
        .iter()
        .map(|control| {
            let (found, interval) = (&control.measures, &control.intervals);
            let range = |low, high| {
                format!("{} to {}", number(low, 2), number(high, 2)).replace(char::is_whitespace, "\u{a0}")
            };
            vec![
                name.into(),
                control.objective.clone(),
                number(found.spearman, 3),
                range(interval.spearman.low, interval.spearman.high),
                number(found.exact, 3),
                range(interval.exact.low, interval.exact.high),
                number(found.within_one, 3),
                number(found.mae, 3),
                number(found.quadratic_weighted_kappa, 3),
            ]
        })
        .collect()
}

fn control(page: Page, results: &Results<'_>) -> Page {
    let judge = results.judge.name();
    let mut rows = control_rows("start, one asked", &results.before.one.judged);
    rows.extend(control_rows("start, all asked", &results.before.all.judged));
    rows.extend(control_rows("trained, one asked", &results.after.one.judged));
    rows.extend(control_rows("trained, all asked", &results.after.all.judged));
    if let Some((one, all)) = &results.after.greedy {
        rows.extend(control_rows("trained, one asked, greedy", &one.judged));
        rows.extend(control_rows("trained, all asked, greedy", &all.judged));
    }
    let proxy = control_rows("trained, one asked, by the reward model", &results.after.one.proxy);
    rows.extend(proxy);
    let caption = format!(
        "The level asked for against the level that {judge} finds in the answer, on {} held-out questions.",
        results.datasets.held_out_prompts.len()
    );
    let bars = |measured: &Measured, name: &str| BarSeries {
        name: name.into(),
        bars: measured
            .one
            .judged
            .iter()
            .map(|control| Bar {
                value: control.measures.spearman,
                interval: Some(control.intervals.spearman),
            })
            .collect(),
    };
    let chart = BarChart {
        title: "Does the answer have the level asked for? One objective asked at a time".into(),
        y_label: "Spearman correlation".into(),
        groups: results.objectives().iter().map(|objective| objective.name.clone()).collect(),
        series: vec![bars(results.before, "start policy"), bars(results.after, "trained policy")],
        reference: None,
        y_range: Some((0.0, 1.0)),
    };
    page.figure(&bar_chart(&chart), "Whiskers are 95 % bootstrap intervals over questions.").table(
        &CONTROL_HEADERS,
        &rows,
        Some(&caption),
    )
}

fn matrices(page: Page, results: &Results<'_>) -> Page {
    let objectives = results.objectives().iter().zip(&results.after.one.judged);
    let page = objectives.fold(page, |page, (objective, control)| {
        let share = |row: &Vec<usize>| {
            let total: usize = row.iter().sum();
            row.iter().map(|&count| (total > 0).then(|| count as f64 / total as f64)).collect()
        };
        let map = HeatMap {
            title: objective.name.clone(),
            row_axis: "asked".into(),
            column_axis: "achieved".into(),
            row_names: objective.levels.clone(),
            column_names: objective.levels.clone(),
            values: control.matrix.rows().iter().map(share).collect(),
            decimals: 2,
        };
        page.figure(
            &heat_map(&map),
            &format!("{}: share of answers at each level, by level asked for.", objective.name),
        )
    });
    let names: Vec<String> = results.objectives().iter().map(|objective| objective.name.clone()).collect();
    let map = HeatMap {
        title: "Cross-talk".into(),
        row_axis: "asked".into(),
        column_axis: "moved".into(),
        row_names: names.clone(),
        column_names: names,
        values: results.after.one.cross_talk.clone(),
        decimals: 2,
    };
    page.figure(
        &heat_map(&map),
        "Slope of the achieved level of the column on the level asked for in the row, both scaled to 0…1: \
         1 on the diagonal is perfect control, 0 elsewhere is independence.",
    )
}

fn plain(page: Page, results: &Results<'_>) -> Page {
    let rows: Vec<Vec<String>> = results
        .objectives()
        .iter()
        .enumerate()
        .map(|(index, objective)| {
            vec![
                objective.name.clone(),
                number(results.before.plain.mean_levels[index], 3),
                number(results.after.plain.mean_levels[index], 3),
                format!("{} %", number(100.0 * results.plain_change(index), 1)),
            ]
        })
        .collect();
    let page = page
        .paragraph(
            "A question without a request should still get an ordinary answer, that of the start policy.",
        )
        .table(
            &["objective", "start: mean level", "trained: mean level", "change"],
            &rows,
            Some("Levels are positions counted from 0."),
        );
    let moved =
        (0..results.objectives().len()).filter(|&index| results.plain_change(index).abs() > PLAIN_DRIFT);
    let moved: Vec<&str> = moved.map(|index| results.objectives()[index].name.as_str()).collect();
    match moved.is_empty() {
        true => page,
        false => page.warning(&format!("More than 10 % away from the start policy: {}.", moved.join(", "))),
    }
}

fn ablations(page: Page, results: &Results<'_>) -> Page {
    if results.ablations.is_empty() {
        return page;
    }
    let mean_of = |controls: &[ObjectiveControl], measure: fn(&ControlMeasures<f64>) -> f64| {
        let measures: Vec<f64> = controls.iter().map(|control| measure(&control.measures)).collect();
        number(mean(&measures), 3)
    };
    let mut overview = Vec::new();
    let mut rows = Vec::new();
    for Ablation { name, measured, kl } in results.ablations {
        let (one, all) = (&measured.one.judged, &measured.all.judged);
        overview.push(vec![
            name.clone(),
            mean_of(one, |found| found.exact),
            mean_of(one, |found| found.spearman),
            mean_of(all, |found| found.exact),
            mean_of(all, |found| found.spearman),
            number(*kl, 2),
        ]);
        rows.extend(control_rows(&format!("{name}, one asked"), one));
        rows.extend(control_rows(&format!("{name}, all asked"), all));
    }
    let headers = ["policy", "exact, one asked", "Spearman", "exact, all asked", "Spearman", "KL"];
    page.section("Ablations")
        .paragraph(
            "Policies trained otherwise from the same start with the same reward model; see the recipe for what was changed. \
             First the means over the objectives, with the divergence from the start policy in nats per answer, then each objective.",
        )
        .table(&headers, &overview, None)
        .table(&CONTROL_HEADERS, &rows, None)
}

fn samples(page: Page, results: &Results<'_>) -> Page {
    let schema = &results.datasets.schema;
    let rows = |samples: &[Sample]| -> Vec<Vec<String>> {
        samples
            .iter()
            .map(|sample| {
                let achieved = schema.objectives().iter().zip(&sample.achieved);
                let achieved: Vec<String> = achieved
                    .map(|(objective, &level)| format!("{}={}", objective.name, objective.levels[level]))
                    .collect();
                let asked =
                    if sample.request.is_free() { "–".into() } else { sample.request.describe(schema) };
                vec![sample.question.clone(), asked, sample.response.clone(), achieved.join(",")]
            })
            .collect()
    };
    let headers = ["question", "asked", "answer", results.judge.name()];
    let after = results.after;
    page.table(&headers, &rows(&after.one.samples), Some("Trained policy, one objective asked."))
        .table(&headers, &rows(&after.all.samples), Some("Trained policy, all asked."))
        .table(&headers, &rows(&after.plain.samples), Some("Trained policy, nothing asked."))
        .table(&headers, &rows(&results.before.plain.samples), Some("Start policy, nothing asked."))
}

fn seconds(page: Page, results: &Results<'_>) -> Result<Page, Error> {
    let stages = results.run.seconds()?;
    let bar = |(name, value): (&str, f64)| (name.to_string(), Bar { value, interval: None });
    let chart = |title: &str, bars: Vec<(String, Bar)>| {
        let (groups, bars) = bars.into_iter().unzip();
        bar_chart(&BarChart {
            title: title.into(),
            y_label: "seconds".into(),
            groups,
            series: vec![BarSeries { name: "seconds".into(), bars }],
            ..BarChart::default()
        })
    };
    let of_stages = stages.iter().filter_map(|(name, value)| Some(bar((name, value.as_f64()?)))).collect();
    let phases = results.phase_seconds();
    let of_phases = [
        ("generate", phases.generate),
        ("reward", phases.reward),
        ("reference", phases.reference),
        ("update", phases.update),
    ];
    Ok(page
        .figure(&chart("Stages", of_stages), "Wall time.")
        .figure(&chart("Policy optimisation", of_phases.map(bar).into()), "Wall time of all steps together."))
}
