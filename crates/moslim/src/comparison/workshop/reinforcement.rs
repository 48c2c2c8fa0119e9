//! Policy optimisation as every method has it that optimises a reward.

use moslim_data::Prompt;
use moslim_lm::{CausalLm, EpochBatches, TokenRng};
use moslim_rl::{PolicyPrompt, PolicyTrainer, StepStats};
use serde::{Deserialize, Serialize};

use super::remembering::Remembering;
use super::{GENERATE, REFERENCE, REWARD, UPDATE, Workshop};
use crate::Error;
use crate::checkpoints::Checkpoints;
use crate::comparison::measured::Cost;
use crate::file_name::file_name;
use crate::run::Purpose;
use crate::stages::{policy_settings, reward_trunk};

/// How the stage is called.
const STAGE: &str = "policy";

/// What a checkpoint holds beside the trainer.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progressed<M> {
    cost: Cost,
    /// Of the log.
    lines: usize,
    reward: M,
}

impl<'a> Workshop<'a> {
    /// The number of steps that sample so many answers; one at least.
    fn steps_for(&self, n_answers: usize) -> usize {
        let policy = &self.recipe().policy;
        let of_a_step = policy.prompts_per_step * policy.training.num_generations;
        ((n_answers as f64 / of_a_step as f64).round() as usize).max(1)
    }

    /// Trains a policy, the start policy or another with its parameters, on a reward until it has sampled so many answers, by the
    /// algorithm and with the settings of the recipe; goes on from the last checkpoint of an earlier try.
    ///
    /// `word` makes the prompt of a question; a prompt is asked again when all have been.
    /// It is called for every question in turn, also for those of steps that were done before.
    pub(in crate::comparison) fn reinforced<R: Remembering>(
        &mut self,
        name: &str,
        start: Option<CausalLm>,
        n_answers: usize,
        reward: &mut R,
        mut word: impl FnMut(&Prompt) -> Result<PolicyPrompt, Error>,
    ) -> Result<CausalLm, Error> {
        let ground = self.ground;
        let (run, recipe) = (ground.run, &ground.run.recipe.policy);
        let settings = policy_settings(run, &ground.datasets.files);
        let checkpoints = Checkpoints::of(run, &file_name(name), recipe.save_total_limit, settings)?;
        let policy = self.kept(name, |shop, number| {
            let n_steps = shop.steps_for(n_answers);
            let trunk = reward_trunk(run, &ground.start)?;
            let mut trainer = PolicyTrainer::new(
                recipe.training.clone(),
                recipe.algorithm(),
                match start {
                    Some(start) => start,
                    None => ground.trainable(number)?,
                },
                trunk.as_ref(),
                ground.start.lm.stops(),
                n_steps,
            )?;
            let mut n_lines = 0;
            if let Some((folder, progressed)) = checkpoints.last::<Progressed<R::Memory>>()? {
                trainer = trainer.resume(&folder)?;
                reward.remember(progressed.reward)?;
                (shop.cost, n_lines) = (progressed.cost, progressed.lines);
            }
            let seed = run.member_seed(Purpose::PromptOrder, number);
            let mut order = EpochBatches::new(ground.prompts.len(), recipe.prompts_per_step, seed);
            let mut next_prompts = || -> Result<Vec<PolicyPrompt>, Error> {
                let rows = order.next().expect("the order has no end");
                rows.iter().map(|&row| word(ground.prompts[row])).collect()
            };
            for _ in 0..trainer.steps_done() {
                next_prompts()?;
            }
            let rollouts = run.member_seed(Purpose::Rollouts, number);
            let mut log = run.continued_log(&file_name(name), n_lines)?;
            let mut progress = run.progress.stage(name, n_steps);
            progress.go_on_from(trainer.steps_done());
            while trainer.steps_done() < n_steps {
                let step = trainer.steps_done() + 1;
                let rng = TokenRng::new(rollouts, step as u64);
                let stats = trainer.step(&next_prompts()?, reward, &rng)?.stats;
                if !stats.grad_norm.is_finite() {
                    return Err(Error::Diverged { stage: STAGE, step });
                }
                log.push(&stats)?;
                progress.advance(|| format!("score {:.3} kl {:.2}", stats.score, stats.kl));
                shop.count(&stats);
                if step == n_steps {
                    break;
                }
                let is_saved = recipe.save_steps.is_some_and(|steps| step.is_multiple_of(steps));
                if is_saved || run.is_interrupted() {
                    log.sync()?;
                    let (cost, lines) = (shop.cost.clone(), log.n_lines());
                    let progressed = Progressed { cost, lines, reward: reward.memory() };
                    checkpoints.write(step, &progressed, |folder| trainer.save(folder))?;
                }
                run.check_interrupted(STAGE)?;
            }
            progress.finish();
            shop.note_residents_of_reinforcement();
            Ok(trainer.policy().clone())
        })?;
        checkpoints.remove()?;
        Ok(policy)
    }

    fn count(&mut self, stats: &StepStats) {
        self.cost.samples += stats.n_answers;
        let seconds = stats.seconds;
        for (phase, seconds) in [
            (GENERATE, seconds.generate),
            (REWARD, seconds.reward),
            (REFERENCE, seconds.reference),
            (UPDATE, seconds.update),
        ] {
            self.cost.add_seconds(phase, seconds);
        }
    }
}
