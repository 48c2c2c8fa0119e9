//! Policy optimisation.

mod checks;
mod inputs;
mod log;
mod look;
mod memory;
mod prompts;
mod server_engine;
mod shuffled;

use burn::module::Module;
use moslim_data::{PreferenceSampler, Prompt};
use moslim_lm::{EpochBatches, LoraConfig, TokenRng, write_folder, write_text};
use moslim_rl::{PolicyPrompt, PolicyTrainer, Step, StepStats};
use rand::rngs::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use self::checks::Checks;
pub(crate) use self::inputs::{
    ORDINARY_ANSWERS, hold_unasked, read_policy, read_reward, read_start, reward_trunk,
};
pub(crate) use self::log::PolicyLogStep;
use self::log::{LogLines, Logs, repeated_phrases};
use self::look::Looks;
pub(crate) use self::look::Snapshot;
use self::memory::PhaseMemory;
pub(crate) use self::memory::{forget_peak, peak_bytes};
pub(crate) use self::prompts::{fitting_prompts, policy_prompt, with_fitting_held_out};
use self::server_engine::ServerEngine;
use self::shuffled::ShuffledRequests;
use super::requests::check_told_apart;
use crate::checkpoints::{Checkpoints, Settings};
use crate::mapped_reward::RewardMemory;
use crate::model_card::{CARD, Part, model_card, trains_the_start};
use crate::monitor::{Monitor, MonitorState, Vitals};
use crate::run::{ADAPTER_FOLDER, BEST_POLICY_FOLDER, Purpose, START_FOLDER, remove_folder};
use crate::{DataFile, Datasets, Error, MappedReward, ModelRecipe, PolicyFolder, Run};

/// How the stage is called.
const STAGE: &str = "policy";

/// Trains the policy and writes its folder.
pub(super) fn optimize(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    let start = read_start(run, &run.device.clone().autodiff())?;
    check_told_apart(&run.recipe, &start)?;
    let measured = with_fitting_held_out(run, datasets, &start)?;
    let mut optimization = Optimization::begin(run, datasets, &start, &measured)?;
    let mut progress = run.progress.stage(STAGE, run.recipe.policy.max_steps);
    progress.go_on_from(optimization.trainer.steps_done());
    while optimization.trainer.steps_done() < run.recipe.policy.max_steps {
        if run.is_interrupted() {
            optimization.save()?;
        }
        run.check_interrupted(STAGE)?;
        let StepStats { score, kl, mean_length, .. } = optimization.step()?;
        progress.advance(|| format!("score {score:.3} kl {kl:.2} length {mean_length:.0}"));
    }
    progress.finish();
    write_policy(run, datasets, &start, &optimization.trainer)?;
    optimization.tell_best()
}

/// Writes the folder of the policy, and that of its adapter if it has one.
fn write_policy(
    run: &Run,
    datasets: &Datasets,
    start: &PolicyFolder,
    trainer: &PolicyTrainer,
) -> Result<(), Error> {
    let policy = trainer.policy().valid();
    if let Some(lora) = &run.recipe.lora {
        let card = model_card(run, datasets, Part::Adapter, None)?;
        let config = LoraConfig { base_model_name_or_path: Some(base_of_adapter(run)), ..lora.config() };
        write_folder(&run.folder.join(ADAPTER_FOLDER), |unfinished| {
            config.write_adapter_into(unfinished, &policy)?;
            write_text(&unfinished.join(CARD), &card)
        })?;
    }
    let card = model_card(run, datasets, Part::Policy, None)?;
    start.with_model(policy.merged()).write(&run.policy_folder(), &card)
}

/// Where the base of the run's adapter is: what the recipe names, if that is what the policy started from.
pub(super) fn base_of_adapter(run: &Run) -> String {
    match &run.recipe.model {
        ModelRecipe::Folder { path, .. } if !trains_the_start(&run.recipe) => path.display().to_string(),
        _ => format!("../{START_FOLDER}"),
    }
}

/// A training of a policy on its way.
struct Optimization<'a> {
    run: &'a Run,
    datasets: &'a Datasets,
    start: &'a PolicyFolder,
    prompts: Vec<&'a Prompt>,
    order: EpochBatches,
    sampler: PreferenceSampler,
    requests: ChaCha8Rng,
    shuffle: ChaCha8Rng,
    reward: MappedReward,
    trainer: PolicyTrainer,
    looks: Looks<'a>,
    logs: Logs,
    monitor: Monitor,
    memory: PhaseMemory,
    checkpoints: Checkpoints,
    n_answers: usize,
    best: Option<Best>,
    is_checked: bool,
}

/// The look with the highest score by the reward so far.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Best {
    step: usize,
    score: f64,
}

/// What a checkpoint holds beside the trainer.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progressed {
    n_answers: usize,
    /// Numbers drawn for requests.
    requests: u64,
    /// Numbers drawn for shuffling them.
    shuffle: u64,
    best: Option<Best>,
    lines: LogLines,
    reward: RewardMemory,
    monitor: MonitorState,
}

impl<'a> Optimization<'a> {
    /// Begins, or goes on from the last checkpoint.
    fn begin(
        run: &'a Run,
        datasets: &'a Datasets,
        start: &'a PolicyFolder,
        measured: &'a Datasets,
    ) -> Result<Self, Error> {
        let recipe = &run.recipe.policy;
        let mut reward = read_reward(run, start)?;
        let prompts = fitting_prompts(run, datasets, start)?;
        let order = EpochBatches::new(prompts.len(), recipe.prompts_per_step, run.seed(Purpose::PromptOrder));
        let memory = PhaseMemory::start();
        let phases = memory.clone();
        let reward_trunk = reward_trunk(run, start)?;
        let trainer = PolicyTrainer::new(
            recipe.training.clone(),
            recipe.algorithm(),
            run.with_adapter(start.lm.model.clone(), 0)?,
            reward_trunk.as_ref(),
            start.lm.stops(),
            recipe.max_steps,
        )?
        .with_phases(move |phase| phases.lap(phase));
        let trainer = match ServerEngine::of(run, start)? {
            Some(engine) => trainer.with_engine(Box::new(engine)),
            None => trainer,
        };
        let checkpoints =
            Checkpoints::of(run, STAGE, recipe.save_total_limit, settings(run, &datasets.files))?;
        let (mut requests, mut shuffle) = (run.rng(Purpose::Requests), run.rng(Purpose::Shuffle));
        let (trainer, lines, monitor, n_answers, best) = match checkpoints.last::<Progressed>()? {
            Some((folder, progressed)) => {
                requests.set_word_pos(progressed.requests.into());
                shuffle.set_word_pos(progressed.shuffle.into());
                reward.remember(progressed.reward);
                let Progressed { lines, monitor, n_answers, best, .. } = progressed;
                (trainer.resume(&folder)?, lines, monitor, n_answers, best)
            }
            None => {
                if recipe.unasked_coef > 0.0 {
                    hold_unasked(run, datasets, start, &mut reward)?;
                }
                (trainer, LogLines::default(), MonitorState::default(), 0, None)
            }
        };
        let mut optimization = Self {
            run,
            datasets,
            start,
            prompts,
            order: order.skip_to(trainer.steps_done()),
            sampler: PreferenceSampler::new(recipe.requests.clone(), &datasets.schema)?,
            requests,
            shuffle,
            reward,
            looks: Looks::new(run, measured, start)?,
            logs: Logs::open(run, lines)?,
            monitor: Monitor::resume(recipe.monitor.clone(), monitor)?,
            memory,
            checkpoints,
            n_answers,
            best,
            is_checked: false,
            trainer,
        };
        if lines.snapshots == 0 {
            optimization.look(0.0)?;
        }
        Ok(optimization)
    }

    /// One step with all that belongs to it; returns its numbers.
    fn step(&mut self) -> Result<StepStats, Error> {
        let (run, recipe) = (self.run, &self.run.recipe.policy);
        let rows = self.order.next().expect("the order has no end");
        let prompts: Vec<PolicyPrompt> = rows
            .iter()
            .map(|&row| policy_prompt(self.start, self.prompts[row], self.sampler.sample(&mut self.requests)))
            .collect::<Result<_, _>>()?;
        let checks = Checks { recipe, progress: &run.progress };
        if !self.is_checked {
            checks.show_prompt(self.start, &prompts[0])?;
            checks.weights_are_used(self.trainer.policy(), &prompts[0])?;
        }
        let number = self.trainer.steps_done() + 1;
        let rng = TokenRng::new(run.seed(Purpose::Rollouts), number as u64);
        let step = match recipe.shuffle_requests {
            false => self.trainer.step(&prompts, &mut self.reward, &rng)?,
            true => {
                let mut shuffled = ShuffledRequests { inner: &mut self.reward, rng: &mut self.shuffle };
                self.trainer.step(&prompts, &mut shuffled, &rng)?
            }
        };
        if !self.is_checked {
            checks.agreement(&step)?;
            if number == 1 {
                checks.start(&step)?;
            }
            self.is_checked = true;
        }
        if !step.stats.grad_norm.is_finite() {
            return Err(Error::Diverged { stage: STAGE, step: number });
        }
        self.note(number, step)
    }

    /// Everything that follows a step: logs, a look, warnings, a checkpoint.
    fn note(&mut self, number: usize, step: Step) -> Result<StepStats, Error> {
        let recipe = &self.run.recipe.policy;
        let mut stats = step.stats.clone();
        stats.metrics.extend(self.memory.take());
        let repeated = repeated_phrases(&step);
        stats.metrics.insert("completions/repeated_ngrams".into(), repeated);
        self.n_answers += stats.n_answers;
        self.logs.step(number, self.n_answers, stats.clone())?;
        let is_last = number == recipe.max_steps;
        let mut held_out = None;
        if number.is_multiple_of(recipe.eval_steps) || is_last {
            self.logs.completions(self.start, number, &step)?;
            held_out = self.look(stats.kl)?;
        }
        let vitals = Vitals {
            step: number,
            score: stats.score,
            kl: stats.kl,
            entropy: stats.entropy.unwrap_or(f64::NAN),
            mean_length: stats.mean_length,
            grad_norm: stats.grad_norm,
            ratio_error: stats.ratio_error,
            repeated,
            clipped_ratio: stats.clipped_ratio,
            held_out,
        };
        // A step without answers to prompts with a request shows nothing.
        if !step.rollout.answers.is_empty() {
            self.watch(vitals)?;
        }
        if recipe.save_steps.is_some_and(|steps| number.is_multiple_of(steps) || is_last) {
            self.save()?;
        }
        Ok(stats)
    }

    /// Looks at held-out questions; returns the mean scores by the reward and by the judge, if there is one.
    fn look(&mut self, kl: f64) -> Result<Option<(f64, f64)>, Error> {
        let snapshot = self.looks.look(&self.trainer, &self.reward, kl)?;
        self.logs.snapshots.push(&snapshot)?;
        let (step, score) = (snapshot.step, snapshot.proxy());
        if self.run.recipe.policy.keep_best && self.best.is_none_or(|best| score > best.score) {
            self.best = Some(Best { step, score });
            let policy = self.start.with_model(self.trainer.policy().valid().merged());
            let card = model_card(self.run, self.datasets, Part::Policy, None)?;
            policy.write(&self.run.folder.join(BEST_POLICY_FOLDER), &card)?;
        }
        Ok(snapshot.held_out())
    }

    /// Says which look was the best, and drops its policy, or that of an earlier run, where the last one is no worse.
    fn tell_best(&self) -> Result<(), Error> {
        if let Some(Best { step, score }) = self.best.filter(|best| best.step < self.trainer.steps_done()) {
            self.run.progress.say(&format!(
                "{STAGE}: the best look was after step {step}, with a score of {score:.3}: {BEST_POLICY_FOLDER}"
            ));
            return Ok(());
        }
        remove_folder(&self.run.folder.join(BEST_POLICY_FOLDER))
    }

    /// Tells of signs of trouble, and ends the run at those that the recipe names.
    fn watch(&mut self, vitals: Vitals) -> Result<(), Error> {
        let mut ends = None;
        for warning in self.monitor.observe(&vitals) {
            self.logs.warning(&warning)?;
            let message = format!("{}: {}", warning.sign, warning.message);
            self.run.progress.say(&format!("warning: step {}: {message}", vitals.step));
            if self.run.recipe.policy.stop_on.contains(&warning.sign) {
                ends = Some(message);
            }
        }
        match ends {
            Some(warning) => {
                self.save()?;
                Err(Error::Stopped { step: vitals.step, warning })
            }
            None => Ok(()),
        }
    }

    /// Writes a checkpoint.
    fn save(&self) -> Result<(), Error> {
        let position = |rng: &ChaCha8Rng| rng.get_word_pos() as u64;
        let progressed = Progressed {
            n_answers: self.n_answers,
            best: self.best,
            requests: position(&self.requests),
            shuffle: position(&self.shuffle),
            lines: self.logs.lines()?,
            reward: self.reward.memory(),
            monitor: self.monitor.state().clone(),
        };
        self.checkpoints.write(self.trainer.steps_done(), &progressed, |folder| self.trainer.save(folder))
    }
}

/// What decides the training of a policy: everything of the recipe but what comes after it, and the data.
pub(crate) fn settings(run: &Run, files: &[DataFile]) -> Settings {
    let mut recipe = toml::Table::try_from(&run.recipe).expect("a recipe is a table");
    for later in ["evaluation", "ablations", "comparison"] {
        recipe.remove(later);
    }
    // What is watched and how often it is written decides nothing.
    if let Some(toml::Value::Table(policy)) = recipe.get_mut("policy") {
        for nothing in ["save_steps", "save_total_limit", "skip_checks", "monitor", "stop_on"] {
            policy.remove(nothing);
        }
    }
    Settings::of(&recipe, files)
}
