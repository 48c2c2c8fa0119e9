//! A policy over four tokens learns to prefer the one that is rewarded.

use burn::tensor::Device;
use moslim_data::Request;
use moslim_lm::{
    CausalLm, LrSchedule, ModelConfig, OptimizerConfig, Precision, SamplingParams, Stops, TokenRng,
};
use moslim_rl::{PolicyPrompt, ReferencePrompt, RewardError, Rloo, RlooConfig};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

const STEPS: usize = 20;

#[allow(clippy::print_stdout)]
fn main() -> Result<(), RewardError> {
    let model_config = ModelConfig::small(4, 8, 16, 1, 1);
    let device = Device::default().autodiff();
    let policy = CausalLm::new(&model_config, &mut ChaCha8Rng::seed_from_u64(0), &device);
    let optimizer = OptimizerConfig {
        learning_rate: 1e-2,
        warmup_ratio: 0.0,
        lr_scheduler_type: LrSchedule::Constant,
        adam_beta1: 0.9,
        adam_beta2: 0.95,
        adam_epsilon: 1e-8,
        weight_decay: 0.0,
        max_grad_norm: 1.0,
    };
    let config = RlooConfig {
        num_generations: 4,
        beta: 0.05,
        num_iterations: 1,
        epsilon: 0.2,
        normalize_advantages: true,
        missing_eos_penalty: 0.0,
        reference_prompt: ReferencePrompt::WithRequest,
        free_prompt_coef: 0.0,
        micro_batch_size: 32,
        precision: Precision::F32,
        sampling: SamplingParams { max_new_tokens: 1, ..SamplingParams::default() },
        optimizer,
    };
    let mut rloo = Rloo::new(config, policy, Stops::default(), STEPS);
    let request = Request { levels: vec![Some(0.0)] };
    let prompts =
        vec![PolicyPrompt { prompt: "".into(), request, tokens: vec![0], plain_tokens: vec![0] }; 8];
    let mut likes_three = |_: &PolicyPrompt, answer: &[u32]| f64::from(u8::from(answer == [3]));
    for step in 0..STEPS {
        let stats = rloo.step(&prompts, &mut likes_three, &TokenRng::new(0, step as u64))?;
        println!("step {step:2}: score {:.2}, KL {:.2}, entropy {:.2}", stats.score, stats.kl, stats.entropy);
    }
    Ok(())
}
