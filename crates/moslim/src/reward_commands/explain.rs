//! `moslim reward explain`

use std::fmt::Write as _;
use std::io::Write as _;

use anyhow::{Context, anyhow};
use clap::Args;
use moslim::{Explanation, HeadExplanation, Recipe};
use moslim_data::{Prompt, Request};
use moslim_reward_model::Readout;

use super::Model;

/// Explains the score of one answer, without the penalty on what a request leaves open, which compares answers of training.
#[derive(Args)]
pub struct Explain {
    #[command(flatten)]
    model: Model,
    /// The question, without any request
    #[arg(long)]
    prompt: String,
    /// The answer
    #[arg(long)]
    response: String,
    /// The levels asked for, such as helpfulness=5,honesty=2; the others are left free
    #[arg(long, default_value = "")]
    want: String,
    /// A recipe whose mapping is used instead of the model's own
    #[arg(long, value_name = "RECIPE")]
    mapping: Option<String>,
    /// Changes a setting of that recipe, such as mapping.divisor=none; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE", requires = "mapping")]
    changes: Vec<String>,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

impl Explain {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let model = self.model.read()?;
        let mapping = match &self.mapping {
            Some(recipe) => Recipe::read(recipe, &self.changes)?.mapping,
            None => model.mapping.clone().ok_or_else(|| {
                anyhow!("{}: no mapping, expected one; name a recipe with --mapping", self.model)
            })?,
        };
        let request = Request::parse(&self.want, &model.schema).context("--want")?;
        let prompt = Prompt::from(self.prompt.as_str());
        let explanation = Explanation::of(&model, &mapping, &prompt, &self.response, &request)?;
        let text = match self.json {
            true => serde_json::to_string(&explanation)? + "\n",
            false => in_words(&explanation),
        };
        Ok(write!(std::io::stdout(), "{text}")?)
    }
}

/// An explanation as a person reads it.
fn in_words(explanation: &Explanation) -> String {
    let Explanation { prompt, response, n_tokens, heads, .. } = explanation;
    let mut text = format!("read ({n_tokens} tokens): {prompt}{response}\n");
    for head in heads {
        text += &of_head(head, &explanation.formula);
    }
    let taking_part: Vec<String> =
        heads.iter().filter_map(|head| Some(format!("{:.4}", head.term?))).collect();
    let own = explanation.own_score;
    let _ = match explanation.divisor {
        None => writeln!(text, "\nscore {own:.4}: no head takes part"),
        Some(divisor) => writeln!(
            text,
            "\nscore {own:.4} = ({}) / {divisor} (divisor {}, mask {})",
            taking_part.join(" + "),
            named(&explanation.mapping.divisor),
            named(&explanation.mapping.mask),
        ),
    };
    if let Some(opinions) = &explanation.opinions {
        let n = opinions.scores.len();
        let (mean, deviation) = (opinions.mean, opinions.deviation);
        let _ = writeln!(text, "{n} opinions: mean {mean:.4}, deviation {deviation:.4}");
    }
    if explanation.mapping.pessimism.asks() {
        let pessimism = named(&explanation.mapping.pessimism);
        let _ = writeln!(text, "reward {:.4}: pessimism {pessimism}", explanation.score);
    }
    text
}

fn of_head(head: &HeadExplanation, formula: &str) -> String {
    let HeadExplanation { objective, levels, outputs, probabilities, .. } = head;
    let mut text = format!("\n{objective} ({}, {})\n", named(&head.kind), readout(&head.readout));
    let name = |position: f64| match levels.get(position as usize) {
        Some(level) if position.fract() == 0.0 => level.clone(),
        _ => format!("{position:.2} of 0..{}", levels.len() - 1),
    };
    let output = |index: usize| {
        let deviations = head.output_deviations.as_ref();
        let deviation = deviations.map_or(String::new(), |of| format!(" +- {:.3}", of[index]));
        format!("output {:>8.4}{deviation}", outputs[index])
    };
    if outputs.len() != levels.len() {
        let _ = writeln!(text, "  {}", output(0));
    }
    for (level, name) in levels.iter().enumerate() {
        let output =
            if outputs.len() == levels.len() { format!("  {}", output(level)) } else { String::new() };
        let statistics = head.statistics.as_ref().map_or(String::new(), |statistics| {
            let of_level = statistics[level];
            format!("  over training answers: mean {:.4} std {:.4}", of_level.mean, of_level.std)
        });
        let _ = writeln!(text, "  {name:>12}{output}  p {:.4}{statistics}", probabilities[level]);
    }
    let before = head
        .expected_level_before_isotonic
        .map_or(String::new(), |level| format!(", before the isotonic function {level:.4}"));
    let deviation =
        head.deviation.map_or(String::new(), |deviation| format!(", opinions deviate by {deviation:.4}"));
    let _ = writeln!(text, "  E {:.4} (levels count from 0){before}{deviation}", head.expected_level);
    let _ = match (head.asked, head.term) {
        (_, None) => writeln!(text, "  not asked for: takes no part"),
        (None, Some(term)) => writeln!(text, "  term {term:.4} = {formula}, t the highest level"),
        (Some(asked), Some(term)) => {
            writeln!(text, "  term {term:.4} = {formula}, t = {asked} (asked for {})", name(asked))
        }
    };
    text
}

fn readout(readout: &Readout) -> String {
    match readout {
        Readout::Softmax { scale, bias }
            if bias.iter().all(|b| *b == 0.0) && scale.iter().all(|s| s == &scale[0]) =>
        {
            format!("softmax at temperature {:.3}", scale[0].recip())
        }
        Readout::Softmax { scale, bias } => format!("softmax of {scale:.3?} * outputs + {bias:.3?}"),
        Readout::Cumulative { slope, thresholds } => {
            format!("P(level > c) = sigmoid({slope:.3} * output - {thresholds:.3?}[c])")
        }
        Readout::Gaussian { deviation, n_levels } => {
            let center = (*n_levels as f64 - 1.0) / 2.0;
            format!("normal around output + {center}, deviation {deviation:.3}")
        }
    }
}

/// A setting as a recipe writes it.
fn named(setting: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(setting).unwrap_or_default();
    text.replace(['"', '{', '}'], "").replace(':', " ")
}
