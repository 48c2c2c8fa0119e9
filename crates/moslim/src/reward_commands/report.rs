//! How well a reward model classifies: as a table, as JSON, as a page.

use std::io::Write;

use moslim::{Labeled, Opinion, measure_heads, measure_pairs};
use moslim_data::Objective;
use moslim_eval::chart::{HeatMap, LineChart, Series, SeriesStyle, heat_map, line_chart};
use moslim_eval::classification::{ComparedReport, HeadReport, Measures, SelectiveRisk, SourceReport};
use moslim_eval::report::Page;
use moslim_eval::stats::Interval;
use moslim_reward_model::RewardModelFolder;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde_json::{Map, Value, json};

/// What was measured of every head.
pub(super) struct Report {
    pub objectives: Vec<Objective>,
    pub heads: Vec<HeadReport>,
    /// On pairs, where there are some.
    pairs: Vec<Option<ComparedReport>>,
}

impl Report {
    /// Measures a reward model; intervals come from so many draws of the prompts.
    pub(super) fn of(
        model: &RewardModelFolder,
        data: &Labeled,
        opinion: Opinion,
        resamples: usize,
        seed: u64,
    ) -> anyhow::Result<Self> {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        Ok(Self {
            objectives: model.schema.objectives().to_vec(),
            heads: measure_heads(model, &data.answers, opinion, resamples, rng)?,
            pairs: measure_pairs(model, &data.pairs, resamples, rng)?,
        })
    }

    fn named(&self) -> impl Iterator<Item = (&str, &HeadReport, &Option<ComparedReport>)> {
        let names = self.objectives.iter().map(|objective| objective.name.as_str());
        names.zip(&self.heads).zip(&self.pairs).map(|((name, head), pairs)| (name, head, pairs))
    }

    /// Prints a table, or one JSON object.
    pub(super) fn print(&self, as_json: bool) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        if as_json {
            return Ok(writeln!(out, "{}", Value::Object(self.json()?))?);
        }
        writeln!(
            out,
            "{:20} {:>7} {:>9} {:>15} {:>9} {:>9} {:>6} {:>6} {:>6}",
            "objective", "answers", "accuracy", "95 %", "balanced", "majority", "mae", "kappa", "ece"
        )?;
        for (name, head, _) in self.named().filter(|(_, head, pairs)| head.n > 0 || pairs.is_none()) {
            let HeadReport { n, measures, majority, intervals, .. } = head;
            let Measures { intensity_accuracy, balanced_accuracy, mae, ece, .. } = measures;
            let kappa = measures.quadratic_weighted_kappa;
            let (low, high) = (intervals.intensity_accuracy.low, intervals.intensity_accuracy.high);
            writeln!(
                out,
                "{name:20} {n:>7} {intensity_accuracy:>9.3} {:>15} {balanced_accuracy:>9.3} {majority:>9.3} {mae:>6.3} {kappa:>6.3} {ece:>6.3}",
                format!("{low:.3} to {high:.3}")
            )?;
        }
        for (name, _, pairs) in self.named() {
            if let Some(ComparedReport { n, accuracy, interval }) = pairs {
                let (low, high) = (interval.low, interval.high);
                writeln!(
                    out,
                    "{name:20} {n:>7} pairs, {accuracy:.3} in the right order ({low:.3} to {high:.3})"
                )?;
            }
        }
        Ok(())
    }

    /// Every head by the name of its objective, with the short name of its kappa; numbers that are none are null.
    pub(super) fn json(&self) -> serde_json::Result<Map<String, Value>> {
        let of_head = |(name, head, pairs): (&str, &HeadReport, &Option<ComparedReport>)| {
            let mut value = serde_json::to_value(head)?;
            value["kappa"] = json!(head.measures.quadratic_weighted_kappa);
            if let Some(pairs) = pairs {
                value["pairs"] = serde_json::to_value(pairs)?;
            }
            Ok((name.to_owned(), value))
        };
        self.named().map(of_head).collect()
    }

    /// A page with all measures and pictures.
    pub(super) fn page(&self) -> String {
        let page = Page::new("How well the reward model classifies").section("Measures");
        let names = self.objectives.iter().map(|objective| objective.name.as_str());
        let header: Vec<&str> = std::iter::once("").chain(names).collect();
        let page = page.table(&header, &self.measures(), Some("With 95 % bootstrap intervals over prompts.")).paragraph(
            "Pairwise accuracy: of two answers to one prompt, how often the one with the higher label has the higher expected level. \
             Recognition: how often the head says rightly whether the level lies above the middle of the scale.",
        );
        let sources = self.sources();
        let page = match sources.is_empty() {
            true => page,
            false => page.table(&SOURCE_HEADERS, &sources, Some("By who or what gave the labels.")),
        };
        let pairs: Vec<Vec<String>> =
            self.named().filter_map(|(name, _, pairs)| compared(name, pairs)).collect();
        let page = match pairs.is_empty() {
            true => page,
            false => page.table(&["objective", "pairs", "in the right order", "95 %"], &pairs, None),
        };
        let page = page.section("Are the probabilities honest?").figure(
            &line_chart(&self.reliability()),
            "Share of right answers by the probability of the named level; dashed: as often right as sure.",
        );
        let page = self.named().filter(|(_, head, _)| head.n > 0).fold(
            page.section("Does it err less where it is sure?"),
            |page, (name, head, _)| {
                page.figure(
                    &line_chart(&risk(name, head)),
                    "Wrong answers among those kept, the surest first.",
                )
            },
        );
        let page = page.section("Which levels are confused?");
        let heads = self.objectives.iter().zip(&self.heads).filter(|(_, head)| head.n > 0);
        heads
            .fold(page, |page, (objective, head)| {
                page.figure(
                    &heat_map(&confusion(objective, head)),
                    "Answers by their label and the level named.",
                )
            })
            .finish()
    }

    /// A row per measure, a column per objective.
    fn measures(&self) -> Vec<Vec<String>> {
        let row = |name: &str, cell: &dyn Fn(&HeadReport) -> String| {
            std::iter::once(name.to_owned()).chain(self.heads.iter().map(cell)).collect()
        };
        let mut rows: Vec<Vec<String>> = vec![
            row("answers", &|head| head.n.to_string()),
            row("most frequent level", &|head| number(head.majority)),
        ];
        for (index, name) in Measures::<f64>::NAMES.iter().enumerate() {
            rows.push(row(name, &|head| {
                let value = head.measures.to_array()[index];
                let interval = head.intervals.to_array()[index];
                let (low, high) = (number(interval.low), number(interval.high));
                if value.is_finite() { format!("{value:.3} ({low} to {high})") } else { number(value) }
            }));
        }
        rows
    }

    fn sources(&self) -> Vec<Vec<String>> {
        let of_head = |(name, head, _): (&str, &HeadReport, _)| -> Vec<Vec<String>> {
            let row = |(source, report): (&String, &SourceReport)| {
                let Measures { intensity_accuracy, balanced_accuracy, mae, ece, .. } = report.measures;
                let Interval { low, high } = report.intervals.intensity_accuracy;
                let accuracy =
                    format!("{} ({} to {})", number(intensity_accuracy), number(low), number(high));
                let numbers = [accuracy].into_iter().chain([balanced_accuracy, mae, ece].map(number));
                [name.to_owned(), source.clone(), report.n.to_string()].into_iter().chain(numbers).collect()
            };
            head.by_source.iter().map(row).collect()
        };
        self.named().flat_map(of_head).collect()
    }

    fn reliability(&self) -> LineChart {
        let heads = self.named().map(|(name, head, _)| Series {
            name: name.into(),
            points: head.reliability.iter().map(|bin| (bin.confidence, bin.accuracy)).collect(),
            style: SeriesStyle::Line,
        });
        let honest = Series {
            name: "honest".into(),
            points: vec![(0.0, 0.0), (1.0, 1.0)],
            style: SeriesStyle::Dashed,
        };
        LineChart {
            title: "Accuracy by confidence".into(),
            x_label: "confidence".into(),
            y_label: "accuracy".into(),
            series: heads.chain([honest]).collect(),
            x_range: Some((0.0, 1.0)),
            y_range: Some((0.0, 1.0)),
            ..LineChart::default()
        }
    }
}

const SOURCE_HEADERS: [&str; 7] =
    ["objective", "source", "labels", "intensity accuracy", "balanced accuracy", "MAE", "ECE"];

fn number(value: f64) -> String {
    if value.is_finite() { format!("{value:.3}") } else { "–".into() }
}

fn compared(name: &str, pairs: &Option<ComparedReport>) -> Option<Vec<String>> {
    let ComparedReport { n, accuracy, interval } = pairs.as_ref()?;
    let interval = format!("{:.3} to {:.3}", interval.low, interval.high);
    Some(vec![name.into(), n.to_string(), format!("{accuracy:.3}"), interval])
}

fn risk(name: &str, head: &HeadReport) -> LineChart {
    let series = |name: String, curve: &SelectiveRisk| Series {
        name: format!("{name} (mean {:.3})", curve.mean_risk),
        points: curve.points.clone(),
        style: SeriesStyle::Line,
    };
    let opinions = head.selective_by_deviation.as_ref();
    let random = Series {
        name: "at random".into(),
        points: vec![(0.0, head.selective.risk), (1.0, head.selective.risk)],
        style: SeriesStyle::Dashed,
    };
    LineChart {
        title: format!("{name}: risk by coverage"),
        x_label: "share of the answers kept".into(),
        y_label: "share of them named wrongly".into(),
        series: [series("by probability".into(), &head.selective)]
            .into_iter()
            .chain(opinions.map(|curve| series("by opinions".into(), curve)))
            .chain([random])
            .collect(),
        x_range: Some((0.0, 1.0)),
        y_range: Some((0.0, 1.1 * head.selective.risk.max(0.05))),
        ..LineChart::default()
    }
}

fn confusion(objective: &Objective, head: &HeadReport) -> HeatMap {
    let counts = head.confusion.rows().iter();
    HeatMap {
        title: format!("{}: label and level named", objective.name),
        row_axis: "label".into(),
        column_axis: "named".into(),
        row_names: objective.levels.clone(),
        column_names: objective.levels.clone(),
        values: counts.map(|row| row.iter().map(|&n| Some(n as f64)).collect()).collect(),
        decimals: 0,
    }
}
