//! What training takes.

use std::time::Instant;

use burn::module::Module;
use moslim_rl::{Algorithm, PpoConfig, ValueModel};

use super::Workshop;
use crate::Error;
use crate::comparison::measured::Cost;

/// Sampling answers.
pub(in crate::comparison) const GENERATE: &str = "generate";
/// Judging them.
pub(in crate::comparison) const REWARD: &str = "reward";
/// Log-probabilities under models that do not learn.
pub(in crate::comparison) const REFERENCE: &str = "reference";
/// Gradients and optimizer.
pub(in crate::comparison) const UPDATE: &str = "update";

/// Bytes of a number in training.
const BYTES: f64 = 4.0;

impl Cost {
    /// Adds what something else took.
    pub(super) fn add(&mut self, other: &Self) {
        self.samples += other.samples;
        self.data_answers += other.data_answers;
        self.trainings += other.trainings;
        for (phase, seconds) in &other.seconds {
            *self.seconds.entry(phase.clone()).or_default() += seconds;
        }
        self.peak_bytes = self.peak_bytes.into_iter().chain(other.peak_bytes).reduce(f64::max);
        for (model, bytes) in &other.resident_bytes {
            let most = self.resident_bytes.entry(model.clone()).or_default();
            *most = most.max(*bytes);
        }
    }

    /// All phases together.
    pub(in crate::comparison) fn total_seconds(&self) -> f64 {
        self.seconds.values().sum()
    }

    pub(super) fn add_seconds(&mut self, phase: &str, seconds: f64) {
        *self.seconds.entry(phase.into()).or_default() += seconds;
    }
}

impl Workshop<'_> {
    /// Does something and counts its seconds to a phase.
    pub(in crate::comparison) fn timed<T>(
        &mut self,
        phase: &str,
        work: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let started = Instant::now();
        let done = work(self)?;
        self.cost.add_seconds(phase, started.elapsed().as_secs_f64());
        Ok(done)
    }

    /// Counts answers that were sampled elsewhere.
    pub(in crate::comparison) fn count_answers(&mut self, n: usize) {
        self.cost.samples += n;
    }

    /// Notes that a model is there while another is trained.
    pub(in crate::comparison) fn note_resident(&mut self, model: &str, n_numbers: usize) {
        self.cost.resident_bytes.insert(model.into(), BYTES * n_numbers as f64);
    }

    /// Notes the models that are there while a policy is trained on the judgement of its own answers.
    pub(super) fn note_residents_of_reinforcement(&mut self) {
        let ground = self.ground;
        let algorithm = ground.run.recipe.policy.algorithm();
        self.note_residents_of_tuning();
        self.note_resident("reward model", ground.judgement.classifier().n_numbers());
        let value = match algorithm {
            Algorithm::Ppo(PpoConfig { value_model: ValueModel::None | ValueModel::SharedTrunk, .. }) => 0,
            Algorithm::Ppo(PpoConfig { value_model: ValueModel::RewardModel, .. }) => {
                ground.judgement.classifier().n_numbers()
            }
            Algorithm::Ppo(_) => ground.start.lm.model.num_params(),
            _ => 0,
        };
        if value > 0 {
            self.note_resident("value model", value);
        }
    }

    /// Notes the models that are there while a policy is trained on examples.
    pub(super) fn note_residents_of_tuning(&mut self) {
        let ground = self.ground;
        let n_weights = ground.start.lm.model.num_params();
        self.note_resident("policy", n_weights);
        // With an adapter the reference is the policy without it.
        let n_trained = match &ground.run.recipe.lora {
            None => {
                self.note_resident("reference", n_weights);
                n_weights
            }
            Some(_) => ground.trainable(0).map_or(0, |model| model.num_params().saturating_sub(n_weights)),
        };
        self.note_resident("gradients and moments", 3 * n_trained);
    }
}
