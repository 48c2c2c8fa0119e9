//! A policy over four tokens learns to prefer the one that is rewarded, by every algorithm.

use burn::tensor::Device;
use moslim_data::Request;
use moslim_lm::{CausalLm, ModelConfig, OptimizerConfig, SamplingParams, Stops, TokenRng};
use moslim_rl::{
    Algorithm, BestOfNConfig, GrpoConfig, OnlineDpoConfig, PolicyPrompt, PolicyTrainer, PpoConfig,
    RlooConfig, TrainingConfig,
};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

const STEPS: usize = 20;

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let optimizer = OptimizerConfig { adam_beta2: 0.95, ..OptimizerConfig::new(1e-2) };
    let config = TrainingConfig {
        micro_batch_size: 32,
        ..TrainingConfig::new(4, SamplingParams { max_new_tokens: 1, ..SamplingParams::default() }, optimizer)
    };
    let request = Request { levels: vec![Some(0.0)] };
    let prompts =
        vec![PolicyPrompt { prompt: "".into(), request, tokens: vec![0], plain_tokens: vec![0] }; 8];
    let mut likes_three = |_: &PolicyPrompt, answer: &[u32]| f64::from(u8::from(answer == [3]));
    for algorithm in [
        Algorithm::Rloo(RlooConfig::default()),
        Algorithm::Ppo(PpoConfig::default()),
        Algorithm::OnlineDpo(OnlineDpoConfig::default()),
        Algorithm::BestOfN(BestOfNConfig::default()),
        Algorithm::Grpo(GrpoConfig::default()),
    ] {
        println!("{}", algorithm.name());
        let model_config = ModelConfig::small(4, 8, 16, 1, 1);
        let device = Device::default().autodiff();
        let policy = CausalLm::new(&model_config, &mut ChaCha8Rng::seed_from_u64(0), &device);
        let mut trainer =
            PolicyTrainer::new(config.clone(), algorithm, policy, None, Stops::default(), STEPS)?;
        for step in 0..STEPS {
            let stats = trainer.step(&prompts, &mut likes_three, &TokenRng::new(0, step as u64))?.stats;
            if step % 5 == 4 {
                let (score, kl, entropy) = (stats.score, stats.kl, stats.entropy.unwrap_or(f64::NAN));
                println!("  step {step:2}: score {score:.2}, KL {kl:.2}, entropy {entropy:.2}");
            }
        }
    }
    Ok(())
}
