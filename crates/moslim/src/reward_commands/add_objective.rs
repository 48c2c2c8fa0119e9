//! `moslim reward add-objective`

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use moslim::{Datasets, Labeled, Opinion, agreement, fitting_labeled};
use moslim_reward_model::RewardModelFolder;
use serde_json::{Value, json};

use super::report::Report;
use crate::Stage;

/// Teaches a trained reward model the objectives that it lacks.
#[derive(Args)]
pub struct AddObjective {
    #[command(flatten)]
    stage: Stage,
    /// The folder of the reward model, such as runs/old/reward-model
    #[arg(long)]
    model: PathBuf,
    /// Lets the old heads go where the new labels take the backbone, instead of learning what they said before
    #[arg(long)]
    without_rehearsal: bool,
    /// Goes on from the checkpoint that an interrupted training left, if it left one
    #[arg(long)]
    resume: bool,
    /// Prints one JSON object
    #[arg(long)]
    json: bool,
}

impl AddObjective {
    pub(super) fn run(&self) -> anyhow::Result<()> {
        let mut run = self.stage.run()?;
        run.resume = self.resume;
        let old_folder = moslim::model_folder(&self.model)?;
        let old = RewardModelFolder::read(&old_folder, &run.device)?;
        let datasets = Datasets::of(&run.recipe)?;
        let datasets = moslim::add_objectives(&run, datasets, &old_folder, !self.without_rehearsal)?;
        let new = RewardModelFolder::read(&run.reward_model_folder(), &run.device)?;
        let held_out = fitting_labeled(&run, &new.config, &new.tokenizer, &datasets.held_out)?;
        let (resamples, seed) = (run.recipe.evaluation.resamples, run.recipe.seed);
        let pairs = held_out.pairs.iter().flat_map(|pair| {
            [&pair.chosen, &pair.rejected].map(|response| (&pair.prompt, response.as_str()))
        });
        let answers = held_out.answers.iter().map(|answer| (&answer.prompt, answer.response.as_str()));
        let agreement = agreement(&old, &new, &answers.chain(pairs).collect::<Vec<_>>())?;
        let before = Report::of(&old, &under(&held_out, old.schema.len()), Opinion::Own, resamples, seed)?;
        let after = Report::of(&new, &held_out, Opinion::Own, resamples, seed)?;
        let mut out = std::io::stdout().lock();
        if self.json {
            let mut numbers = after.json()?;
            for ((name, before), agreement) in before.json()?.into_iter().zip(&agreement) {
                numbers[&name]["before"] = before;
                numbers[&name]["agreement"] = json!(agreement);
            }
            return Ok(writeln!(out, "{}", Value::Object(numbers))?);
        }
        after.print(false)?;
        writeln!(out, "\n{:20} {:>9} {:>9} {:>10}", "kept", "before", "after", "agreement")?;
        for (index, agreement) in agreement.iter().enumerate() {
            let [before, after] =
                [&before, &after].map(|report| report.heads[index].measures.intensity_accuracy);
            let name = &old.schema.objectives()[index].name;
            writeln!(out, "{name:20} {before:>9.3} {after:>9.3} {agreement:>10.3}")?;
        }
        Ok(())
    }
}

/// The answers with the labels of the first objectives alone.
fn under(labeled: &Labeled, n_objectives: usize) -> Labeled {
    let mut labeled = labeled.clone();
    for answer in &mut labeled.answers {
        answer.levels.truncate(n_objectives);
        answer.sources.truncate(n_objectives);
    }
    labeled
}
