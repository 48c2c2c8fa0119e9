//! The report as one page.

mod answers;
mod cost;
mod curves;
mod fronts;
mod ground;
mod measures;

use moslim_eval::report::Page;
use moslim_eval::stats::Interval;

use super::conclusion;
use super::summary::{BudgetSummary, Summary};

/// `report/index.html`.
pub(super) fn page(summary: &Summary<'_>) -> String {
    let page = introduction(Page::new("Comparison of methods"), summary);
    let page = summary.budgets.iter().fold(page, |page, of| budget(page, summary, of));
    let page = cost::further_points(page, summary);
    let page = ground::section(page.section("Start policy and reward models"), summary);
    let recipe = summary.comparison.recipe.to_toml();
    page.section("Recipe").details("recipe.toml as it was run", &recipe).finish()
}

fn introduction(page: Page, summary: &Summary<'_>) -> Page {
    let seeds: Vec<String> = summary.seeds().iter().map(u64::to_string).collect();
    page.paragraph(&format!(
        "All methods start from one policy, are trained with the judgement of one reward model unless noted, answer the same \
         held-out questions with the same decoding, and are judged by {}. Levels are divided by the highest, so that every \
         point lies between 0 and 1 in every objective; the reference point of all hypervolumes is 0.",
        summary.comparison.judge
    ))
    .paragraph(&format!(
        "Everything was trained and measured with the seeds {}, from the data on. Intervals are 95 % bootstrap intervals: seeds \
         are drawn with replacement, and questions within each; with few seeds they are too narrow rather than too wide. Methods \
         are compared by the interval of their difference on the same draws, so that they may differ though their own \
         intervals overlap.",
        seeds.join(", ")
    ))
}

/// All that is said of one budget.
fn budget(page: Page, summary: &Summary<'_>, budget: &BudgetSummary<'_>) -> Page {
    let page = page.section(conclusion::equal(budget.budget)).note(&conclusion::of(summary, budget));
    let page = match budget.under_way.is_empty() {
        true => page,
        false => page.warning(&format!("Not measured with every seed yet: {}.", budget.under_way.join(", "))),
    };
    if budget.methods.is_empty() {
        return page;
    }
    let page = measures::overview(page, budget);
    let page = fronts::pictures(page, summary, budget);
    let page = fronts::divergence(page, budget);
    let page = cost::section(page, summary, budget);
    let page = curves::section(page, budget);
    let page = measures::details(page, summary, budget);
    answers::section(page, summary, budget)
}

fn number(value: f64, decimals: usize) -> String {
    match value.is_finite() {
        true => format!("{value:.decimals$}"),
        false => "–".into(),
    }
}

/// The interval is left out where there is none.
fn with_interval(value: f64, Interval { low, high }: Interval, decimals: usize) -> String {
    let value = number(value, decimals);
    match low.is_finite() && high.is_finite() {
        true => format!("{value} [{low:.decimals$}, {high:.decimals$}]"),
        false => value,
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;
    use crate::comparison::report::Compared;
    use crate::{BudgetName, MethodName};

    fn html(comparison: &Compared<'_>) -> String {
        page(&Summary::of(comparison).unwrap())
    }

    #[test]
    fn a_page_has_every_method_and_what_its_numbers_say() {
        let points: &[[f64; 2]] = &[[0.5, 0.75], [1.0, 0.25]];
        let sample = Sample::new(&[MethodName::Moslim, MethodName::Morlhf], &[BudgetName::Samples], &[1])
            .with(BudgetName::Samples, "moslim", &[points])
            .with(BudgetName::Samples, "morlhf", &[&points[..1]]);
        let html = html(&sample.comparison());
        assert!(html.contains("The largest hypervolume is that of moslim 0.500 [0.500, 0.500]."));
        assert!(html.contains("0.375 [0.375, 0.375]"), "of the other method");
        assert!(html.contains("helpfulness and honesty") && html.contains("start policy"));
        // One training of 10 s for any number of points, or one per point, after 20 s and 30 s.
        let row = |cells: &[&str]| {
            cells.iter().map(|cell| format!("<td class=\"number\">{cell}</td>")).collect::<String>()
        };
        assert!(html.contains(&row(&["100", "10.0", "1", "1", "1", "60", "60", "60"])));
        assert!(html.contains(&row(&["100", "10.0", "1", "11", "66", "60", "160", "710"])));
        assert!(html.contains("moslim with seed 1: observed means as points"));
        assert!(html.contains("<td>Because.</td><td>helpfulness=3, honesty=1</td>"));
        assert!(html.contains("<td>one reward model for all objectives</td><td class=\"number\">0.750</td>"));
        assert!(!html.contains("Not measured"));
    }

    #[test]
    fn nothing_measured_still_makes_a_page() {
        let sample = Sample::new(&[MethodName::Moslim], &[BudgetName::Samples, BudgetName::Quality], &[1, 2]);
        let html = html(&sample.comparison());
        assert!(html.contains("Not measured with every seed yet: moslim.") && !html.contains("Overview"));
        let comparison = Compared { grounds: &[], ..sample.comparison() };
        assert!(page(&Summary::of(&comparison).unwrap()).ends_with("</html>\n"));
    }

    #[test]
    fn numbers_that_are_none_are_dashes() {
        let mut sample = Sample::new(&[MethodName::Moslim], &[BudgetName::Samples], &[1]).with(
            BudgetName::Samples,
            "moslim",
            &[&[[0.5, 0.75]]],
        );
        let point = &mut sample.last().measured[0].points[0];
        (point.kl, point.mean_length) = (f64::NAN, f64::NAN);
        (point.gold[0][0], point.answers) = (f64::NAN, Vec::new());
        let html = html(&sample.comparison());
        assert!(
            html.contains("<td class=\"number\">–</td>") && !html.contains("NaN") && !html.contains("[–")
        );
    }
}
