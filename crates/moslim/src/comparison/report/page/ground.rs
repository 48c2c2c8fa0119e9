//! What the methods have in common, and how good the reward models are that they were trained with.

use moslim_eval::report::Page;

use super::{number, with_interval};
use crate::RewardModels;
use crate::comparison::report::results::means;
use crate::comparison::report::summary::Summary;

/// The accuracy of the reward models beside what the methods made of them.
pub(super) fn section(page: Page, summary: &Summary<'_>) -> Page {
    let objectives = summary.objectives();
    let grounds = summary.comparison.grounds;
    let shared = means(grounds, |ground| &ground.accuracy);
    let separate = means(grounds, |ground| &ground.separate_accuracy);
    let mut headers = vec!["method", "trained with"];
    headers.extend(&objectives);
    headers.push("hypervolume");
    let measured = |index: usize| {
        let methods = summary.budgets.first().into_iter().flat_map(|budget| &budget.methods);
        methods.into_iter().find(|method| method.index == index).map(|method| &method.hypervolume)
    };
    let rows: Vec<Vec<String>> = (summary.methods.iter().enumerate())
        .map(|(index, method)| {
            let (words, accuracy) = match method.reward_models() {
                RewardModels::Shared => ("one reward model for all objectives", &shared),
                RewardModels::Separate => ("a reward model per objective", &separate),
            };
            let mut row = vec![method.name.clone(), words.to_string()];
            row.extend(
                objectives
                    .iter()
                    .map(|objective| number(accuracy.get(*objective).copied().unwrap_or(f64::NAN), 3)),
            );
            row.push(
                measured(index).map_or("–".into(), |found| with_interval(found.value, found.interval, 3)),
            );
            row
        })
        .collect();
    page.table(
        &headers,
        &rows,
        Some("Share of held-out answers whose level the reward model names, means over the seeds; hypervolume under the first budget."),
    )
}
