//! `moslim reward score`

use std::io::{BufRead, Write};

use anyhow::{Context, anyhow};
use clap::Args;
use moslim::{classify, classify_with_opinions};
use moslim_data::Prompt;
use moslim_reward_model::{Judgement, RewardModelFolder};
use serde_json::{Map, Value, json};

use super::{Model, names};

/// Classifies the answers of standard input.
#[derive(Args)]
pub struct Score {
    #[command(flatten)]
    model: Model,
    /// Writes `deviations` too: for every objective, how far the opinions on the expected level lie apart
    #[arg(long)]
    uncertainty: bool,
    /// Answers that are classified together
    #[arg(long, default_value = "256", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
}

impl Score {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let model = self.model.read()?;
        if self.uncertainty && model.uncertainty.is_none() {
            return Err(self.model.without_opinions());
        }
        let mut out = std::io::stdout().lock();
        let mut rows = Vec::new();
        for (index, line) in std::io::stdin().lock().lines().enumerate() {
            let place = || format!("standard input:{}", index + 1);
            let line = line.with_context(place)?;
            if line.trim().is_empty() {
                continue;
            }
            rows.push(Row::read(index + 1, &line).map_err(|problem| anyhow!("{}: {problem}", place()))?);
            if rows.len() == self.batch_size as usize {
                self.write_scored(&model, std::mem::take(&mut rows), &mut out)?;
            }
        }
        self.write_scored(&model, rows, &mut out)
    }

    fn classify(&self, model: &RewardModelFolder, rows: &[Row]) -> Result<Vec<Judgement>, moslim::Error> {
        let answers: Vec<(&Prompt, &str)> =
            rows.iter().map(|row| (&row.prompt, row.response.as_str())).collect();
        if self.uncertainty {
            return classify_with_opinions(model, &answers);
        }
        let alone = |probabilities| Judgement { probabilities, opinions: vec![] };
        Ok(classify(model, &answers)?.into_iter().map(alone).collect())
    }

    fn write_scored(
        &self,
        model: &RewardModelFolder,
        rows: Vec<Row>,
        out: &mut impl Write,
    ) -> anyhow::Result<()> {
        let classified = match self.classify(model, &rows) {
            Err(_) if rows.len() > 1 => {
                // One by one, so that what can be scored is, and the line that cannot is named.
                return rows.into_iter().try_for_each(|row| self.write_scored(model, vec![row], out));
            }
            classified => classified.with_context(|| rows.first().map_or(String::new(), Row::place))?,
        };
        for (Row { mut fields, .. }, answer) in rows.into_iter().zip(classified) {
            let levels = names(&model.schema).into_iter().zip(&answer.probabilities.0);
            let levels: Map<String, Value> = levels.map(|(name, head)| (name.into(), json!(head))).collect();
            fields.insert("levels".into(), Value::Object(levels));
            if self.uncertainty {
                let deviations = names(&model.schema).into_iter().zip(answer.level_deviations());
                let deviations: Map<String, Value> =
                    deviations.map(|(name, deviation)| (name.into(), json!(deviation))).collect();
                fields.insert("deviations".into(), Value::Object(deviations));
            }
            writeln!(out, "{}", Value::Object(fields))?;
        }
        // Whoever reads on sees whole batches.
        Ok(out.flush()?)
    }
}

/// A line to be scored.
struct Row {
    /// Its number, counted from 1.
    line: usize,
    fields: Map<String, Value>,
    prompt: Prompt,
    response: String,
}

impl Row {
    fn place(&self) -> String {
        format!("standard input:{}", self.line)
    }

    fn read(line: usize, text: &str) -> Result<Self, String> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let Value::Object(fields) = value else { return Err(format!("{value}, expected an object")) };
        let field = |name: &str| fields.get(name).ok_or_else(|| format!("missing field `{name}`"));
        let prompt = field("prompt")?;
        let prompt = serde_json::from_value(prompt.clone()).map_err(|_| {
            format!("prompt: {prompt}, expected a text or a list of turns that ends in the user's")
        })?;
        let response = field("response")?;
        let response = response.as_str().ok_or_else(|| format!("response: {response}, expected a text"))?;
        Ok(Self { line, response: response.into(), prompt, fields })
    }
}
