//! A policy in training: every step samples, scores, compares with the reference, and learns.

use std::path::Path;

use burn::module::Module;
use moslim_lm::{
    CausalLm, Decoder, Exchange, LmError, Stops, TokenRng, in_parallel, load_module, load_training,
    read_json, response_distributions, save_module, save_training, write_json,
};
use serde::{Deserialize, Serialize};

use crate::critic::Critic;
use crate::experience::Experience;
use crate::learner::Learner;
use crate::ops::{KlEstimator, forward_divergence};
use crate::rollout::frozen_logprobs;
use crate::stats::{Clock, Phase};
use crate::{
    Algorithm, BuiltInEngine, MissingEos, PhaseSeconds, PolicyPrompt, ReferencePrompt, Reward, RewardError,
    Rollout, RolloutEngine, RolloutError, RolloutJobs, Scores, SettingError, StepStats, TrainingConfig,
    ValueModel,
};

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The reward.
    #[error(transparent)]
    Reward(#[from] RewardError),
    /// The engine that samples.
    #[error(transparent)]
    Rollout(#[from] RolloutError),
    /// The reward has not one finite score per answer.
    #[error("reward: answer {row} of {n_answers}: found {found}, expected a finite score for each")]
    Score {
        /// The answer, counted from 0.
        row: usize,
        /// The number of answers.
        n_answers: usize,
        /// What is there.
        found: String,
    },
}

/// Checks that every answer has a finite score.
fn check_scores(scores: &[f64], n_answers: usize) -> Result<(), StepError> {
    let missing = (scores.len() != n_answers)
        .then(|| (scores.len().min(n_answers), format!("{} scores", scores.len())));
    let broken = || {
        let row = scores.iter().position(|score| !score.is_finite())?;
        Some((row, scores[row].to_string()))
    };
    match missing.or_else(broken) {
        None => Ok(()),
        Some((row, found)) => Err(StepError::Score { row, n_answers, found }),
    }
}

/// A step as it was: its numbers, and the answers they are about.
#[derive(Debug)]
pub struct Step {
    /// Its numbers.
    pub stats: StepStats,
    /// The prompts with a request.
    pub prompts: Vec<PolicyPrompt>,
    /// The policy's answers to them.
    pub rollout: Rollout,
    /// What the reward says of every answer.
    pub scores: Scores,
    /// The scores after what is done about missing ends and outliers.
    pub final_scores: Vec<f64>,
    /// Divergence of every answer from the reference, by K1, in nats.
    pub kl: Vec<f64>,
}

/// What is told when a phase of a step is over.
type OnPhase = Box<dyn FnMut(Phase)>;

/// A policy in training.
pub struct PolicyTrainer {
    algorithm: Algorithm,
    stops: Stops,
    learner: Learner,
    engine: Box<dyn RolloutEngine>,
    on_phase: OnPhase,
    /// The weight of the KL term now.
    beta: f64,
    steps_done: usize,
}

/// What a checkpoint holds beside weights and optimizers.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    steps_done: usize,
    beta: f64,
}

const STATE: &str = "trainer.json";
const CRITIC: &str = "critic";
const REFERENCE: &str = "reference.bpk";

impl PolicyTrainer {
    /// Starts from a policy on a device with gradients; its copy is the reference.
    ///
    /// `reward_model` is what a value model may start from.
    ///
    /// # Errors
    /// If a setting is out of its range, or a reward model is asked for and not given.
    pub fn new(
        config: TrainingConfig,
        algorithm: Algorithm,
        policy: CausalLm,
        reward_model: Option<&Decoder>,
        stops: Stops,
        total_steps: usize,
    ) -> Result<Self, SettingError> {
        algorithm.check()?;
        config.check(&algorithm)?;
        let critic = match &algorithm {
            Algorithm::Ppo(ppo) => {
                let trunk = match ppo.value_model {
                    ValueModel::None => None,
                    ValueModel::SharedTrunk => Some(None),
                    ValueModel::Policy => Some(Some(policy.decoder().clone())),
                    ValueModel::RewardModel => Some(Some(reward_model.cloned().ok_or(SettingError {
                        key: "ppo.value_model".into(),
                        found: "reward_model".into(),
                        expected: "policy, shared_trunk or none: there is no reward model of the policy's vocabulary",
                    })?)),
                };
                let device = policy.device();
                let width = policy.vocabulary().dims()[0];
                let optimizer = ppo.critic_optimizer.clone().unwrap_or_else(|| config.optimizer.clone());
                trunk.map(|trunk| (Critic::new(trunk, width, &device), optimizer))
            }
            _ => None,
        };
        let beta = algorithm.kl().map_or(0.0, |kl| kl.beta);
        let reference = policy.without_adapter().valid();
        let learner = Learner::new(config, policy, reference, critic, total_steps);
        let engine = Box::new(BuiltInEngine);
        Ok(Self { algorithm, stops, learner, engine, on_phase: Box::new(|_| {}), beta, steps_done: 0 })
    }

    /// Lets another engine sample.
    #[must_use]
    pub fn with_engine(self, engine: Box<dyn RolloutEngine>) -> Self {
        Self { engine, ..self }
    }

    /// Tells when a phase of a step is over, for who measures its memory.
    #[must_use]
    pub fn with_phases(self, on_phase: impl FnMut(Phase) + 'static) -> Self {
        Self { on_phase: Box::new(on_phase), ..self }
    }

    /// The policy as it is now, on a device with gradients.
    pub fn policy(&self) -> &CausalLm {
        &self.learner.model.policy
    }

    /// The number of steps done.
    pub fn steps_done(&self) -> usize {
        self.steps_done
    }

    /// Writes everything that the next step depends on into an existing folder, bit for bit.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save(&self, folder: &Path) -> Result<(), LmError> {
        let Learner { config, model, reference, optimizer, critic_optimizer } = &self.learner;
        save_training(&model.policy, optimizer, folder)?;
        if let (Some(critic), Some(optimizer)) = (&model.critic, critic_optimizer) {
            let folder = folder.join(CRITIC);
            std::fs::create_dir_all(&folder).map_err(LmError::io(&folder))?;
            save_training(critic, optimizer, &folder)?;
        }
        if config.ref_model_sync_steps.is_some() {
            save_module(reference, &folder.join(REFERENCE))?;
        }
        write_json(&folder.join(STATE), &State { steps_done: self.steps_done, beta: self.beta })
    }

    /// A trainer with the same settings and the same start, as [`save`](Self::save) left it.
    ///
    /// # Errors
    /// If a file is missing or malformed.
    pub fn resume(self, folder: &Path) -> Result<Self, LmError> {
        let State { steps_done, beta } = read_json(&folder.join(STATE))?;
        let Learner { config, mut model, mut reference, mut optimizer, mut critic_optimizer } = self.learner;
        (model.policy, optimizer) = load_training(model.policy, optimizer, folder)?;
        if let (Some(critic), Some(optimizer)) = (model.critic.take(), critic_optimizer.take()) {
            let (critic, optimizer) = load_training(critic, optimizer, &folder.join(CRITIC))?;
            (model.critic, critic_optimizer) = (Some(critic), Some(optimizer));
        }
        if config.ref_model_sync_steps.is_some() {
            reference = load_module(reference, &folder.join(REFERENCE))?;
        }
        let learner = Learner { config, model, reference, optimizer, critic_optimizer };
        Ok(Self { learner, steps_done, beta, ..self })
    }

    /// One rollout and its updates.
    ///
    /// `rng` must be fresh for every step.
    ///
    /// # Errors
    /// Those of the reward and of the engine.
    pub fn step(
        &mut self,
        prompts: &[PolicyPrompt],
        reward: &mut dyn Reward,
        rng: &TokenRng,
    ) -> Result<Step, StepError> {
        let mut clock = Clock::start();
        let (asked, free): (Vec<PolicyPrompt>, Vec<PolicyPrompt>) =
            prompts.iter().cloned().partition(|prompt| !prompt.request.is_free());
        let lr = self.learner.optimizer.learning_rate();

        // y ~ π(·|x), k answers to every prompt; the reference answers those without a request.
        let [rollout, free_rollout] = self.rollouts(&asked, &free, rng)?;
        let generate = clock.lap();
        (self.on_phase)(Phase::Generate);

        let scores = reward.score(&asked, &rollout)?;
        check_scores(&scores.values, rollout.answers.len())?;
        let reward_seconds = clock.lap();
        (self.on_phase)(Phase::Reward);

        let config = &self.learner.config;
        let read_by_reference = |index: usize| match config.reference_prompt {
            ReferencePrompt::Plain => asked[index].plain_tokens.as_slice(),
            ReferencePrompt::WithRequest => asked[index].tokens.as_slice(),
        };
        let reference_logprobs = frozen_logprobs(
            &self.learner.reference,
            &rollout.exchanges(read_by_reference),
            config.sampling.temperature,
            config.micro_batch_size,
        );
        let reference = clock.lap();
        (self.on_phase)(Phase::Reference);

        let experience = Experience {
            prompts: &asked,
            rollout: &rollout,
            scores: self.final_scores(&scores.values, &rollout),
            objectives: &scores.objectives,
            reference_logprobs,
            kept: self.kept(&rollout),
            kl: self.algorithm.kl().map(|kl| (kl.placement, self.beta)),
            free: free_rollout.exchanges(|index| &free[index].plain_tokens),
            importance_cap: config.importance_cap,
            rng: *rng,
        };
        let update = self.algorithm.learn(&mut self.learner, &experience);
        let seconds = PhaseSeconds { generate, reward: reward_seconds, reference, update: clock.lap() };
        (self.on_phase)(Phase::Update);

        let stats = StepStats { lr, seconds, ..StepStats::of(&experience, &scores, update) };
        let n_tokens =
            |rollout: &Rollout| rollout.answers.iter().map(|answer| answer.tokens.len()).sum::<usize>();
        let stats = StepStats {
            n_answers: rollout.answers.len() + free_rollout.answers.len(),
            num_tokens: n_tokens(&rollout) + n_tokens(&free_rollout),
            ..stats
        };
        let kl = experience.divergences(KlEstimator::K1);
        let final_scores = experience.scores;
        self.advance(stats.kl, rollout.answers.len());
        Ok(Step { stats, prompts: asked, rollout, scores, final_scores, kl })
    }

    /// Counts the step, and moves what moves between steps.
    fn advance(&mut self, kl: f64, n_answers: usize) {
        self.steps_done += 1;
        if let Some(adaptive) = self.algorithm.kl().and_then(|kl| kl.adaptive) {
            self.beta = adaptive.next(self.beta, kl, n_answers);
        }
        let config = &self.learner.config;
        if config.ref_model_sync_steps.is_some_and(|steps| self.steps_done.is_multiple_of(steps)) {
            let policy = self.learner.model.policy.valid().merged();
            self.learner.reference = policy.in_precision(config.precision);
        }
    }

    /// The policy's answers to prompts with a request, and the reference's to those without.
    fn rollouts(
        &mut self,
        asked: &[PolicyPrompt],
        free: &[PolicyPrompt],
        rng: &TokenRng,
    ) -> Result<[Rollout; 2], RolloutError> {
        let Learner { config, model, reference, .. } = &self.learner;
        let policy = model.policy.valid().in_precision(config.precision);
        let asked_tokens: Vec<Vec<u32>> = asked.iter().map(|prompt| prompt.tokens.clone()).collect();
        let free_tokens: Vec<Vec<u32>> = free.iter().map(|prompt| prompt.plain_tokens.clone()).collect();
        let jobs = RolloutJobs {
            policy: &policy,
            asked: &asked_tokens,
            reference,
            free: &free_tokens,
            n_samples: config.num_generations,
            sampling: &config.sampling,
            stops: &self.stops,
            rng,
        };
        let [asked_answers, free_answers] = self.engine.sample(&jobs)?;
        let mut rollout = Rollout::new(config.num_generations, asked_answers);
        if self.engine.is_elsewhere() {
            let exchanges = rollout.exchanges(|index| &asked_tokens[index]);
            let temperature = config.sampling.temperature;
            let logprobs = frozen_logprobs(&policy, &exchanges, temperature, config.micro_batch_size);
            let of_engine = rollout.answers.iter_mut().zip(logprobs).map(|(answer, logprobs)| {
                let logprobs = logprobs.into_iter().map(|logprob| logprob as f32).collect();
                std::mem::replace(&mut answer.logprobs, logprobs)
            });
            rollout.engine_logprobs = Some(of_engine.collect());
        }
        Ok([rollout, Rollout::new(config.num_generations, free_answers)])
    }

    fn final_scores(&self, scores: &[f64], rollout: &Rollout) -> Vec<f64> {
        let config = &self.learner.config;
        let of_answer = |(&score, answer): (&f64, &moslim_lm::Generated)| {
            let score = match config.missing_eos {
                MissingEos::Subtract(penalty) if !answer.finished => score - penalty,
                MissingEos::Replace(value) if !answer.finished => value,
                _ => score,
            };
            config.reward_clip_range.map_or(score, |[low, high]| score.clamp(low, high))
        };
        scores.iter().zip(&rollout.answers).map(of_answer).collect()
    }

    /// The rows that are learned from.
    fn kept(&self, rollout: &Rollout) -> Vec<usize> {
        let drops = self.learner.config.missing_eos == MissingEos::Drop;
        (0..rollout.answers.len()).filter(|&row| !drops || rollout.answers[row].finished).collect()
    }

    /// KL(π‖π_ref) of the whole distributions along answers of the policy, summed over their tokens, mean over the answers; in nats.
    ///
    /// `exchanges` are what the policy read and wrote, `read_by_reference` the same with what the reference reads.
    ///
    /// # Panics
    /// If the two are not of the same answers.
    pub fn whole_kl(&self, exchanges: &[Exchange<'_>], read_by_reference: &[Exchange<'_>]) -> f64 {
        assert_eq!(exchanges.len(), read_by_reference.len(), "the same answers for both");
        let Learner { config, model, reference, .. } = &self.learner;
        let policy = model.policy.valid().in_precision(config.precision);
        let temperature = config.sampling.temperature;
        let size = config.micro_batch_size;
        let parts = exchanges.chunks(size).zip(read_by_reference.chunks(size)).collect();
        let of_part = |(exchanges, read_by_reference): (&[Exchange<'_>], &[Exchange<'_>])| {
            let now = response_distributions(&policy, exchanges, temperature);
            let before = response_distributions(reference, read_by_reference, temperature);
            crate::learner::scalar(forward_divergence(before, now).sum())
        };
        let sums = in_parallel(&policy.device(), parts, of_part);
        sums.into_iter().sum::<f64>() / exchanges.len().max(1) as f64
    }
}
