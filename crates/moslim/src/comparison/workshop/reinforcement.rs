//! Policy optimisation as every method has it that optimises a reward.

use moslim_data::Prompt;
use moslim_lm::{CausalLm, EpochBatches, TokenRng};
use moslim_rl::{PolicyPrompt, PolicyTrainer, Reward, StepStats};

use super::{GENERATE, REFERENCE, REWARD, UPDATE, Workshop};
use crate::Error;
use crate::run::Purpose;
use crate::stages::reward_trunk;

/// How the stage is called.
const STAGE: &str = "policy";

impl<'a> Workshop<'a> {
    /// The number of steps that sample so many answers; one at least.
    fn steps_for(&self, n_answers: usize) -> usize {
        let policy = &self.recipe().policy;
        let of_a_step = policy.prompts_per_step * policy.training.num_generations;
        ((n_answers as f64 / of_a_step as f64).round() as usize).max(1)
    }

    /// Trains a policy, the start policy or another with its parameters, on a reward until it has sampled so many answers, by the
    /// algorithm and with the settings of the recipe.
    ///
    /// `word` makes the prompt of a question; a prompt is asked again when all have been.
    pub(in crate::comparison) fn reinforced(
        &mut self,
        name: &str,
        start: Option<CausalLm>,
        n_answers: usize,
        reward: &mut dyn Reward,
        mut word: impl FnMut(&Prompt) -> Result<PolicyPrompt, Error>,
    ) -> Result<CausalLm, Error> {
        let ground = self.ground;
        let (run, recipe) = (ground.run, &ground.run.recipe.policy);
        self.kept(name, |shop, number| {
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
            let seed = run.member_seed(Purpose::PromptOrder, number);
            let mut order = EpochBatches::new(ground.prompts.len(), recipe.prompts_per_step, seed);
            let rollouts = run.member_seed(Purpose::Rollouts, number);
            let mut log = run.continued_log(name, 0)?;
            let mut progress = run.progress.stage(name, n_steps);
            for step in 1..=n_steps {
                run.check_interrupted(STAGE)?;
                let rows = order.next().expect("the order has no end");
                let prompts = rows.iter().map(|&row| word(ground.prompts[row]));
                let prompts: Vec<PolicyPrompt> = prompts.collect::<Result<_, Error>>()?;
                let stats = trainer.step(&prompts, reward, &TokenRng::new(rollouts, step as u64))?.stats;
                if !stats.grad_norm.is_finite() {
                    return Err(Error::Diverged { stage: STAGE, step });
                }
                log.push(&stats)?;
                progress.advance(|| format!("score {:.3} kl {:.2}", stats.score, stats.kl));
                shop.count(&stats);
            }
            progress.finish();
            shop.note_residents_of_reinforcement();
            Ok(trainer.policy().clone())
        })
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
