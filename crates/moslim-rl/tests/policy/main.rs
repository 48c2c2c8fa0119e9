//! The algorithms on tasks whose answers are known.

mod bandit;
mod gradients;
mod losses;
mod optimum;
mod options;
mod resume;

use burn::tensor::Device;
use moslim_data::Request;
use moslim_lm::{CausalLm, Generated, ModelConfig, OptimizerConfig, SamplingParams, Stops, TokenRng};
use moslim_rl::{
    Algorithm, BestOfNConfig, GrpoConfig, KlConfig, OnlineDpoConfig, PolicyPrompt, PolicyTrainer, PpoConfig,
    RlooConfig, RolloutEngine, RolloutError, RolloutJobs, TrainingConfig,
};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// Settings of a task with short answers.
fn training(num_generations: usize, max_new_tokens: usize) -> TrainingConfig {
    TrainingConfig::new(
        num_generations,
        SamplingParams { max_new_tokens, ..SamplingParams::default() },
        OptimizerConfig { adam_beta2: 0.95, ..OptimizerConfig::new(1e-2) },
    )
}

/// Every algorithm with a small weight of the KL term.
fn algorithms(beta: f64) -> [Algorithm; 5] {
    let kl = KlConfig::in_reward(beta);
    [
        Algorithm::Rloo(RlooConfig { kl, ..RlooConfig::default() }),
        Algorithm::Ppo(PpoConfig { kl, ..PpoConfig::default() }),
        Algorithm::OnlineDpo(OnlineDpoConfig::default()),
        Algorithm::BestOfN(BestOfNConfig::default()),
        Algorithm::Grpo(GrpoConfig { kl, ..GrpoConfig::default() }),
    ]
}

fn model(vocabulary: usize, seed: u64) -> CausalLm {
    let config = ModelConfig::small(vocabulary, 16, 32, 1, 2);
    CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(seed), &Device::default().autodiff())
}

/// A prompt that asks for something; the policy reads `tokens`.
fn asking(tokens: Vec<u32>) -> PolicyPrompt {
    let plain_tokens = vec![tokens[0]];
    PolicyPrompt { prompt: "".into(), request: Request { levels: vec![Some(0.0)] }, tokens, plain_tokens }
}

fn trainer(config: TrainingConfig, algorithm: Algorithm, policy: CausalLm, steps: usize) -> PolicyTrainer {
    PolicyTrainer::new(config, algorithm, policy, None, Stops::default(), steps).unwrap()
}

/// Answers that were written before, whatever the policy would write.
struct Recorded(Vec<Generated>);

impl RolloutEngine for Recorded {
    fn sample(&mut self, _: &RolloutJobs<'_>) -> Result<[Vec<Generated>; 2], RolloutError> {
        Ok([self.0.clone(), vec![]])
    }
}

fn rng(step: usize) -> TokenRng {
    TokenRng::new(5, step as u64)
}
