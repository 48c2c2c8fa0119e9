//! What the methods answer to the same questions.

use moslim_eval::report::Page;

use crate::comparison::measured::{Measured, ShownAnswer};
use crate::comparison::report::summary::{BudgetSummary, Summary};

/// Answers of all methods at the weighting that is nearest to equal weights, with the first seed that each has.
pub(super) fn section(page: Page, summary: &Summary<'_>, budget: &BudgetSummary<'_>) -> Page {
    let mut weights = "–".to_string();
    let mut rows = Vec::new();
    let start = summary.comparison.grounds.first().map(|ground| &ground.start);
    for answer in start.iter().flat_map(|start| &start.answers) {
        rows.push(row(summary, "start policy", "nothing", answer));
    }
    for method in &budget.methods {
        let Some((point, measured)) = method.outcome.measured.first().and_then(most_equal) else {
            continue;
        };
        let point = &measured.points[point];
        weights = point.weights.iter().map(|weight| format!("{weight:.2}")).collect::<Vec<_>>().join(", ");
        rows.extend(point.answers.iter().map(|answer| row(summary, method.name(), &point.asked, answer)));
    }
    if rows.is_empty() {
        return page;
    }
    // Stable: the methods stay in their order within a question.
    let mut questions: Vec<String> = Vec::new();
    for row in &rows {
        if !questions.contains(&row[0]) {
            questions.push(row[0].clone());
        }
    }
    rows.sort_by_key(|row| questions.iter().position(|question| *question == row[0]));
    let headers = ["question", "method", "asked", "answer", summary.comparison.judge];
    let caption = format!("All methods at the weights {weights}, with the first seed.");
    page.subsection("Answers side by side").table(&headers, &rows, Some(&caption))
}

/// The point whose weights differ least from equal ones.
fn most_equal(measured: &Measured) -> Option<(usize, &Measured)> {
    let distance = |weights: &[f64]| -> f64 {
        let equal = 1.0 / weights.len() as f64;
        weights.iter().map(|weight| (weight - equal).powi(2)).sum()
    };
    let points = measured.points.iter().map(|point| distance(&point.weights)).enumerate();
    points.min_by(|a, b| a.1.total_cmp(&b.1)).map(|(point, _)| (point, measured))
}

fn row(summary: &Summary<'_>, method: &str, asked: &str, answer: &ShownAnswer) -> Vec<String> {
    let objectives = summary.comparison.schema.objectives().iter().zip(&answer.levels);
    let levels: Vec<String> = objectives
        .map(|(objective, &level)| {
            format!("{}={}", objective.name, objective.levels.get(level).map_or("–", String::as_str))
        })
        .collect();
    vec![answer.question.clone(), method.into(), asked.into(), answer.response.clone(), levels.join(", ")]
}
