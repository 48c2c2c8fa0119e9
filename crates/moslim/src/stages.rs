//! The stages of a run; each reads what the one before wrote.

mod ablations;
mod policy;
mod reward_model;
mod sft;

use std::time::Instant;

use moslim_lm::ModelConfig;

use crate::{Available, Datasets, Error, Plan, Run};

pub use policy::with_fitting_held_out;
pub(crate) use policy::{PolicyLogStep, Snapshot, read_policy, read_reward, read_start};

/// Runs a stage and notes its seconds.
fn timed<T>(run: &Run, stage: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let started = Instant::now();
    let done = work()?;
    run.note_seconds(stage, started.elapsed().as_secs_f64())?;
    Ok(done)
}

/// What [`check_context`] calls a rollout.
pub(crate) const LONGEST_ROLLOUT: &str = "answer of max_new_tokens to prompt";

/// Refuses sequences that are longer than the model was made for; nothing is cut.
pub(crate) fn check_context(
    config: &ModelConfig,
    what: &str,
    lengths: impl Iterator<Item = usize>,
) -> Result<(), Error> {
    let context = config.max_position_embeddings;
    match lengths.enumerate().find(|&(_, length)| length > context) {
        None => Ok(()),
        Some((index, length)) => Err(Error::Unusable {
            place: format!("{what} {}", index + 1),
            found: format!("{length} tokens"),
            expected: format!("at most {context}, the model's max_position_embeddings"),
        }),
    }
}

/// Leaves out what is longer than the recipe allows, and says how much; refuses what is longer than the model was made for.
fn fitting<T>(
    run: &Run,
    config: &ModelConfig,
    what: &str,
    mut items: Vec<T>,
    length: impl Fn(&T) -> usize,
) -> Result<Vec<T>, Error> {
    if let Some(max_length) = run.recipe.data.max_length() {
        let before = items.len();
        items.retain(|item| length(item) <= max_length);
        let n = before - items.len();
        if items.is_empty() && n > 0 {
            return Err(Error::Unusable {
                place: "data.max_length".into(),
                found: max_length.to_string(),
                expected: format!("more; every {what} is longer"),
            });
        }
        if n > 0 {
            run.progress.say(&format!("{what}: {n} of {before} left out, longer than {max_length} tokens"));
        }
    }
    check_context(config, what, items.iter().map(length))?;
    Ok(items)
}

/// Makes the start policy: fresh or from a folder, then plain text, then answers, as the recipe says.
///
/// # Errors
/// If a file cannot be read or written, training diverges, or the run is interrupted.
pub fn pretrain_and_sft(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    timed(run, "sft", || sft::pretrain_and_sft(run, datasets))?;
    run.note_data("sft", &datasets.files)
}

/// Trains the reward model on the start policy's backbone; with files, also the judge, on held-out questions.
///
/// # Errors
/// If the start policy is missing, the data changed, a file cannot be written, training diverges, or the run is interrupted.
pub fn train_reward_model(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    run.check_data(&["sft"], &datasets.files)?;
    timed(run, "reward_model", || reward_model::train(run, datasets))?;
    run.note_data("reward fit", &datasets.files)
}

/// Trains the policy with the reward model of the run folder.
///
/// # Errors
/// If an earlier stage is missing, the data changed, a file cannot be written, the first-minibatch ratio is off, training diverges, or
/// the run is interrupted.
pub fn optimize_policy(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    run.check_data(&["sft", "reward fit"], &datasets.files)?;
    timed(run, "policy", || policy::optimize(run, datasets))?;
    run.note_data("rloo", &datasets.files)
}

/// Measures the policy of the run folder, with the ablations trained there, and writes the report.
///
/// # Errors
/// If an earlier stage is missing, the data changed, a file cannot be read or written, or the run is interrupted.
pub fn evaluate(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    run.check_data(&["sft", "reward fit", "rloo"], &datasets.files)?;
    crate::evaluation::write_report(run, datasets, ablations::trained(run))
}

/// All stages, the ablations of the recipe, and the report.
///
/// # Errors
/// Those of the stages, and at once if the models cannot fit into the memory that is `available`.
pub fn train(run: &Run, available: Available) -> Result<(), Error> {
    let datasets = Datasets::of(&run.recipe)?;
    Plan::of(&run.recipe, &datasets, &run.device)?.check(available, false)?;
    run.progress.say(&format!("run folder: {}", run.folder.display()));
    if let Some(summary) = &datasets.summary {
        run.progress.say(summary);
    }
    pretrain_and_sft(run, &datasets)?;
    train_reward_model(run, &datasets)?;
    optimize_policy(run, &datasets)?;
    timed(run, "ablations", || ablations::train(run, &datasets))?;
    evaluate(run, &datasets)
}
