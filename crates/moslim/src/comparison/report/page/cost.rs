//! What the methods cost: time, memory, and trainings for further points.

use std::collections::{BTreeMap, BTreeSet};

use moslim_eval::report::Page;

use super::number;
use crate::RewardModels;
use crate::comparison::report::cost::CostSummary;
use crate::comparison::report::results::means;
use crate::comparison::report::summary::{BudgetSummary, MethodSummary, Summary};

/// Numbers of wanted preference points: one, and all tenths for two objectives and for three.
const WANTED: [usize; 3] = [1, 11, 66];

/// Seconds by phase, and the models that are there while a policy is trained.
pub(super) fn section(page: Page, summary: &Summary<'_>, budget: &BudgetSummary<'_>) -> Page {
    let (phase_headers, phase_rows) = table(budget, |cost| &cost.seconds, 1.0, 1, true);
    let ground = means(summary.comparison.grounds, |ground| &ground.seconds);
    let ground: Vec<String> = ground
        .iter()
        .map(|(name, seconds)| format!("{} {}", name.replace('_', " "), number(*seconds, 1)))
        .collect();
    let caption = format!(
        "Seconds of training by phase, means over the seeds. Before that, once for all methods: {}.",
        if ground.is_empty() { "nothing".into() } else { ground.join(", ") }
    );
    let (model_headers, model_rows) = table(budget, |cost| &cost.resident_bytes, 1e-6, 1, false);
    page.subsection("Cost").table(&strs(&phase_headers), &phase_rows, Some(&caption)).paragraph(
        "A value model predicts the score of an answer from its beginning; only PPO has one, unless its value is a head on the \
         policy. RLOO, Online DPO, best-of-n and GRPO compare answers to the same question with each other and need none, and \
         fine-tuning and DPO on pairs have neither reward nor value.",
    ).table(
        &strs(&model_headers),
        &model_rows,
        Some("MB of the weights of every model that is there while a policy is trained, and of what the optimizer keeps."),
    )
}

fn strs(texts: &[String]) -> Vec<&str> {
    texts.iter().map(String::as_str).collect()
}

/// One row per method and one column per entry that any method has; `total` adds a column for the sum.
fn table(
    budget: &BudgetSummary<'_>,
    entries: fn(&CostSummary) -> &BTreeMap<String, f64>,
    unit: f64,
    decimals: usize,
    total: bool,
) -> (Vec<String>, Vec<Vec<String>>) {
    let names: BTreeSet<&String> =
        budget.methods.iter().flat_map(|method| entries(&method.cost).keys()).collect();
    let row = |method: &MethodSummary<'_>| {
        let entries = entries(&method.cost);
        let mut row = vec![method.name().to_string()];
        row.extend(
            names
                .iter()
                .map(|name| entries.get(*name).map_or("–".into(), |value| number(value * unit, decimals))),
        );
        row.extend(total.then(|| number(entries.values().sum::<f64>() * unit, decimals)));
        row
    };
    let mut headers = vec!["method".to_string()];
    headers.extend(names.iter().map(|name| name.replace('_', " ")));
    headers.extend(total.then(|| "total".into()));
    (headers, budget.methods.iter().map(row).collect())
}

/// What a method that was measured at some points takes for others.
struct Needs {
    /// Trainings of a policy.
    trainings: f64,
    /// All seconds: start policy, reward models and trainings.
    seconds: f64,
}

fn needs(summary: &Summary<'_>, method: &MethodSummary<'_>, n_points: usize) -> Needs {
    let ground = means(summary.comparison.grounds, |ground| &ground.seconds);
    let known = &summary.methods[method.index];
    let reward_models = match known.reward_models() {
        RewardModels::Shared => ground.get("reward_model"),
        RewardModels::Separate => ground.get("separate_reward_models"),
    };
    let trainings = match known.method.trains_per_point() {
        true => (known.method.trainings_beside_points(summary.objectives().len()) + n_points) as f64,
        false => method.cost.trainings,
    };
    let seconds = ground.get("sft").unwrap_or(&0.0)
        + reward_models.unwrap_or(&f64::NAN)
        + trainings * method.cost.total_seconds() / method.cost.trainings;
    Needs { trainings, seconds }
}

/// What it takes to serve more points, by the seconds measured under the first budget.
pub(super) fn further_points(page: Page, summary: &Summary<'_>) -> Page {
    let Some(budget) = summary.budgets.first().filter(|budget| !budget.methods.is_empty()) else {
        return page;
    };
    let n_objectives = summary.objectives().len();
    let kinds = |method: &MethodSummary<'_>| {
        let known = &summary.methods[method.index];
        let here = match known.reward_models() {
            RewardModels::Shared => 1,
            RewardModels::Separate => n_objectives,
        };
        vec![
            method.name().to_string(),
            known.method.trainings().into(),
            known.method.published_reward_models().into(),
            here.to_string(),
        ]
    };
    let numbers = |method: &MethodSummary<'_>| {
        let needs = WANTED.map(|wanted| needs(summary, method, wanted));
        let mut row = vec![
            method.name().to_string(),
            number(method.cost.samples / method.cost.trainings, 0),
            number(method.cost.total_seconds() / method.cost.trainings, 1),
        ];
        row.extend(needs.iter().map(|needs| number(needs.trainings, 0)));
        row.extend(needs.iter().map(|needs| number(needs.seconds, 0)));
        row
    };
    let rows =
        |row: &dyn Fn(&MethodSummary<'_>) -> Vec<String>| budget.methods.iter().map(row).collect::<Vec<_>>();
    let mut headers = ["method", "samples per training", "seconds per training"].map(String::from).to_vec();
    headers.extend(WANTED.map(|wanted| format!("trainings, M = {wanted}")));
    headers.extend(WANTED.map(|wanted| format!("seconds, M = {wanted}")));
    page.section("Further preference points")
        .paragraph(&format!(
            "What M wanted preference points take with N = {n_objectives} rewards: the seconds of the start policy, those of the \
             reward models used here, and the trainings times the seconds that one of them took on average under the first budget. \
             Where that budget gives all methods the same samples, who trains more often has fewer for each training."
        ))
        .table(
            &["method", "it trains", "reward models, as published", "reward models here"],
            &rows(&kinds),
            None,
        )
        .table(&strs(&headers), &rows(&numbers), None)
}
