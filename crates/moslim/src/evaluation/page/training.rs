//! The section on policy optimisation.

use moslim_eval::chart::{LineChart, Series, SeriesStyle, VerticalMark, line_chart};
use moslim_eval::controllability::ObjectiveControl;
use moslim_eval::report::Page;

use super::Results;
use crate::stages::PolicyLogStep;

/// A number of a step, by its name in the legend.
type Curve<'a> = (&'a str, fn(&PolicyLogStep) -> f64);

fn line(name: &str, points: Vec<(f64, f64)>) -> Series {
    Series { name: name.into(), points, style: SeriesStyle::Line }
}

/// Numbers of every step over the steps.
fn over_steps(steps: &[PolicyLogStep], title: &str, y_label: &str, curves: &[Curve<'_>]) -> String {
    let points = |value: &fn(&PolicyLogStep) -> f64| {
        steps.iter().map(|step| (step.step as f64, value(step))).collect()
    };
    line_chart(&LineChart {
        title: title.into(),
        x_label: "step".into(),
        y_label: y_label.into(),
        series: curves.iter().map(|(name, value)| line(name, points(value))).collect(),
        ..LineChart::default()
    })
}

/// How reward, divergence and length moved, and whether proxy and judge parted.
pub(super) fn section(page: Page, results: &Results<'_>) -> Page {
    let curves = results.curves;
    let judge = results.judge.name();
    let distance = LineChart {
        title: "Score over the distance from the start policy".into(),
        x_label: "√KL, in √nats".into(),
        y_label: "mean score".into(),
        series: vec![
            line("reward model", curves.points.iter().map(|point| (point.distance(), point.proxy)).collect()),
            line(judge, curves.points.iter().map(|point| (point.distance(), point.gold)).collect()),
        ],
        marks: curves
            .parted
            .map(|index| VerticalMark { x: curves.points[index].distance(), label: "they part".into() })
            .into_iter()
            .collect(),
        ..LineChart::default()
    };
    let score = over_steps(
        &curves.steps,
        "Reward",
        "mean per answer",
        &[("score", |step| step.stats.score), ("score − β KL", |step| step.stats.rlhf_reward)],
    );
    let kl = over_steps(
        &curves.steps,
        "Divergence from the start policy",
        "nats per answer",
        &[("k1", |step| step.stats.kl), ("k3", |step| step.stats.kl_k3)],
    );
    let length =
        over_steps(&curves.steps, "Length", "tokens per answer", &[("mean", |step| step.stats.mean_length)]);
    let verdict = match results.parted_at_step() {
        Some(step) => format!(
            "From step {step} on the score of the reward model rises while that of {judge} falls: over-optimisation."
        ),
        None => format!("The scores of the reward model and of {judge} did not part."),
    };
    let page =
        page.figure(&line_chart(&distance), "Both scores are of the same answers to held-out questions.");
    let page = match results.parted_at_step() {
        Some(_) => page.warning(&verdict),
        None => page.note(&verdict),
    };
    let page = match results.early_stop_hint() {
        Some(hint) => page.note(&hint),
        None => page,
    };
    let hits = |controls: &[ObjectiveControl]| {
        controls
            .iter()
            .map(|control| format!("{} {:.0} %", control.objective, 100.0 * control.measures.exact))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let page = page.note(&format!(
        "Exact hits of the trained policy, one objective asked: {} by the reward model, {} by {judge}. \
         What the first has more than the second is credit for answers that fool it{}.",
        hits(&results.after.one.proxy),
        hits(&results.after.one.judged),
        if results.judge_heads.is_some() { ", or what the judge, a model too, gets wrong" } else { "" }
    ));
    page.figure(&score, "On the prompts of training.")
        .figure(&kl, "Summed over an answer, mean over the prompts of training that ask for something.")
        .figure(&length, "End token included.")
}
