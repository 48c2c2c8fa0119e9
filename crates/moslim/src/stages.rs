//! The stages of a run; each reads what the one before wrote.

mod ablations;
mod fitting;
mod policy;
mod requests;
mod reward_model;
mod sft;

use std::time::Instant;

use crate::checkpoints::Settings;
use crate::rollout_server::RolloutServer;
use crate::{Available, Datasets, Error, Plan, Run};

pub use fitting::fitting_labeled;
pub(crate) use fitting::{LONGEST_ROLLOUT, check_context};
pub(crate) use policy::{
    ORDINARY_ANSWERS, PolicyLogStep, Snapshot, fitting_prompts, forget_peak, hold_unasked, peak_bytes,
    policy_prompt, read_policy, read_reward, read_start, reward_trunk, settings as policy_settings,
    with_fitting_held_out,
};
pub(crate) use requests::same_tokens;
pub use reward_model::add_objectives;

/// How policy optimisation is called in the manifest.
const POLICY: &str = "policy";

/// Runs a stage and notes its seconds.
fn timed<T>(run: &Run, stage: &str, work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let started = Instant::now();
    let done = work()?;
    run.note_seconds(stage, started.elapsed().as_secs_f64())?;
    Ok(done)
}

/// Runs a stage, and notes its seconds and that it is done; its checkpoints then go.
fn whole_stage(
    run: &Run,
    stage: &'static str,
    seconds: &str,
    datasets: &Datasets,
    decided_by: Settings,
    work: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    run.note_begun(stage)?;
    timed(run, seconds, work)?;
    run.note_done(stage, &datasets.files, decided_by)?;
    run.drop_checkpoints()
}

/// Makes the start policy: fresh or from a folder, then plain text, then answers, as the recipe says.
///
/// # Errors
/// If a file cannot be read or written, training diverges, or the run is interrupted.
pub fn pretrain_and_sft(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    let settings = sft::settings(run, &datasets.files);
    whole_stage(run, "sft", "sft", datasets, settings, || sft::pretrain_and_sft(run, datasets))
}

/// Trains the reward model on the start policy's backbone; with files, also the judge, on held-out questions.
///
/// # Errors
/// If the start policy is missing, the data changed, a file cannot be written, training diverges, or the run is interrupted.
pub fn train_reward_model(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    run.check_data(&["sft"], &datasets.files)?;
    let settings = reward_model::settings(run, &datasets.files);
    whole_stage(run, "reward fit", "reward_model", datasets, settings, || reward_model::train(run, datasets))
}

/// Trains a reward model of fewer objectives in the run's own folder, unless a run that resumes has it.
///
/// # Errors
/// As [`train_reward_model`].
pub(crate) fn train_separate_reward_model(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    let settings = reward_model::settings(run, &datasets.files);
    if run.resume && run.is_done("reward fit", &settings)? {
        return Ok(());
    }
    let train = || reward_model::train_alone(run, datasets);
    whole_stage(run, "reward fit", "reward_model", datasets, settings, train)
}

/// Trains the policy with the reward model of the run folder.
///
/// # Errors
/// If an earlier stage is missing, the data changed, a file cannot be written, a check fails, training diverges, or the run is interrupted.
pub fn optimize_policy(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    run.check_data(&["sft", "reward fit"], &datasets.files)?;
    let settings = policy::settings(run, &datasets.files);
    whole_stage(run, POLICY, "policy", datasets, settings, || policy::optimize(run, datasets))
}

/// Whether policy optimisation is done, in a run that resumes.
fn policy_is_done(run: &Run, datasets: &Datasets) -> Result<bool, Error> {
    Ok(run.resume && run.is_done(POLICY, &policy::settings(run, &datasets.files))?)
}

/// Measures the policy of the run folder, with the ablations trained there, and writes the report.
///
/// # Errors
/// If an earlier stage is missing, the data changed, a file cannot be read or written, or the run is interrupted.
pub fn evaluate(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    run.check_data(&["sft", "reward fit", POLICY], &datasets.files)?;
    crate::evaluation::write_report(run, datasets, ablations::trained(run))
}

/// All stages, the ablations of the recipe, and the report; a run that resumes leaves out the stages that are done.
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
    // Before hours are spent on answers that nobody can sample.
    if let Some(server) = &run.recipe.policy.rollout_server {
        RolloutServer::connect(server.clone())?;
    }
    // What refuses a changed run comes before anything is written.
    run.check_data(&["sft", "reward fit", POLICY], &datasets.files)?;
    let is_done = Done::of(run, &datasets)?;
    let has_policy = policy_is_done(run, &datasets)?;
    run.follow_recipe()?;
    is_done.do_the_rest(run, &datasets)?;
    if !has_policy {
        optimize_policy(run, &datasets)?;
    }
    timed(run, "ablations", || ablations::train(run, &datasets))?;
    evaluate(run, &datasets)
}

/// What is done of that which policy optimisation starts from, in a run that resumes.
struct Done {
    has_start: bool,
    has_reward_model: bool,
}

impl Done {
    fn of(run: &Run, datasets: &Datasets) -> Result<Self, Error> {
        let done =
            |stage: &str, settings: Settings| Ok::<_, Error>(run.resume && run.is_done(stage, &settings)?);
        Ok(Self {
            has_start: done("sft", sft::settings(run, &datasets.files))?,
            has_reward_model: done("reward fit", reward_model::settings(run, &datasets.files))?,
        })
    }

    fn do_the_rest(self, run: &Run, datasets: &Datasets) -> Result<(), Error> {
        if !self.has_start {
            pretrain_and_sft(run, datasets)?;
        }
        if !self.has_reward_model {
            train_reward_model(run, datasets)?;
        }
        Ok(())
    }
}

/// Makes what policy optimisation starts from, the start policy and the reward model, unless a run that resumes has them.
///
/// # Errors
/// Those of the two stages.
pub(crate) fn prepare(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    run.check_data(&["sft", "reward fit"], &datasets.files)?;
    let done = Done::of(run, datasets)?;
    run.follow_recipe()?;
    done.do_the_rest(run, datasets)
}
