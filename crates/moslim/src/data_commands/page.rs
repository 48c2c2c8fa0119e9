//! What files hold, as a page.

use moslim_data::{LabelCounts, LengthPercentiles, Together};
use moslim_eval::chart::{Bar, BarChart, BarSeries, HeatMap, bar_chart, heat_map};
use moslim_eval::report::Page;

use super::inspect::{Report, number};

/// Files, labels, lengths and examples as one HTML page.
pub(super) fn page(report: &Report) -> String {
    let page = files(Page::new("What the data holds"), report);
    let page = labels(page.section("Labels"), report);
    let page = together(page, report);
    let page = lengths(page.section("Lengths"), report);
    let examples = report.examples.iter().enumerate();
    examples
        .fold(page.section("Examples"), |page, (index, example)| {
            page.details(&format!("{}: {}", index + 1, example.labels), &example.text)
        })
        .finish()
}

fn files(page: Page, report: &Report) -> Page {
    let found = &report.found;
    let rows: Vec<Vec<String>> = found
        .files
        .iter()
        .map(|file| vec![file.path.display().to_string(), file.format.clone(), file.records.to_string()])
        .collect();
    let counts = [
        ("records", found.records),
        ("answers with labels", found.labeled),
        ("pairs", found.comparisons),
        ("different prompts", found.prompts),
        ("answers that stand there already", found.duplicates),
        ("of these with other labels", found.contradictions),
    ];
    let counts: Vec<Vec<String>> =
        counts.iter().map(|(name, n)| vec![(*name).into(), n.to_string()]).collect();
    let page = page.section("Files").table(&["file", "format", "records"], &rows, None).table(
        &["what", "how many"],
        &counts,
        None,
    );
    if found.dropped.dropped.is_empty() {
        return page;
    }
    let dropped: Vec<Vec<String>> =
        found.dropped.dropped.iter().map(|(reason, n)| vec![reason.clone(), n.to_string()]).collect();
    let page = page.table(&["dropped because", "how many"], &dropped, None);
    match found.dropped.first_errors.is_empty() {
        true => page,
        false => page.details("The first of them", &found.dropped.first_errors.join("\n")),
    }
}

fn labels(page: Page, report: &Report) -> Page {
    if report.found.objectives.is_empty() {
        return page.paragraph("There are none.");
    }
    report.found.objectives.iter().fold(page, |page, (name, labels)| {
        let LabelCounts { levels, counts, missing, sources } = labels;
        let n: usize = counts.iter().sum::<usize>() + missing;
        let bar = |n_of: usize| Bar { value: n_of as f64 / n.max(1) as f64, interval: None };
        let missing_group = (*missing > 0).then(|| ("no label".to_owned(), *missing));
        let groups = levels.iter().cloned().zip(counts.iter().copied()).chain(missing_group);
        let (groups, counts): (Vec<String>, Vec<usize>) = groups.unzip();
        let chart = BarChart {
            title: format!("How often {name} has each level"),
            y_label: "share of the answers".into(),
            series: vec![BarSeries {
                name: format!("{n} answers"),
                bars: counts.iter().copied().map(bar).collect(),
            }],
            groups,
            reference: None,
            y_range: Some((0.0, 1.0)),
        };
        let mut counted: Vec<String> =
            chart.groups.iter().zip(&counts).map(|(level, n)| format!("{level}: {n}")).collect();
        counted.extend(sources.iter().map(|(source, n)| format!("from {source}: {n}")));
        page.figure(&bar_chart(&chart), &counted.join(", "))
    })
}

fn together(page: Page, report: &Report) -> Page {
    let levels = |name: &String| report.found.objectives[name].levels.clone();
    let tables = report.found.together.iter().zip(&report.spearman);
    tables.fold(page, |page, (Together { objectives: [one, other], counts }, rho)| {
        let map = HeatMap {
            title: format!("{one} and {other} of one answer"),
            row_axis: one.clone(),
            column_axis: other.clone(),
            row_names: levels(one),
            column_names: levels(other),
            values: counts.iter().map(|row| row.iter().map(|&n| Some(n as f64)).collect()).collect(),
            decimals: 0,
        };
        page.figure(
            &heat_map(&map),
            &format!("Answers that have both labels; Spearman correlation {}.", number(*rho)),
        )
    })
}

fn lengths(page: Page, report: &Report) -> Page {
    let rows = report.lengths().map(|(name, lengths)| {
        let LengthPercentiles { n, p50, p90, p99, max } = lengths;
        [name.to_owned()].into_iter().chain([n, p50, p90, p99, max].map(|n| n.to_string())).collect()
    });
    let header = ["", "texts", "50 %", "90 %", "99 %", "longest"];
    page.table(&header, &rows, Some(&format!("Lengths in {}: so many per cent are not longer.", report.unit)))
}
