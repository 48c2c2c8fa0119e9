//! Two rewards that cannot both be had, and two ways to choose between them: a training per weighting, or two trainings and a soup.
//!
//! A policy over four tokens writes one; each reward likes one token.

use burn::module::Module;
use burn::tensor::Device;
use moslim_baselines::{Morlhf, RewardNormalization, RewardPerObjective, RewardedSoup, Weights};
use moslim_data::Request;
use moslim_lm::{
    CausalLm, Exchange, ModelConfig, OptimizerConfig, SamplingParams, Stops, TokenRng, response_logprobs,
};
use moslim_rl::{Algorithm, KlConfig, PolicyPrompt, PolicyTrainer, RlooConfig, TrainingConfig};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

const STEPS: usize = 40;

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = Device::default().autodiff();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let start = CausalLm::new(&ModelConfig::small(4, 8, 16, 1, 1), &mut rng, &device);

    println!("        weights    P(first)  P(second)");
    let mut ends = Vec::new();
    for weights in Weights::grid(2, 4)? {
        let policy = train(&start, weights.clone())?;
        tell("MORLHF", weights.as_slice(), &policy);
        if weights.as_slice().contains(&1.0) {
            ends.push(policy);
        }
    }
    // The grid begins with all weight on the second objective.
    ends.reverse();
    let soup = RewardedSoup::new(ends)?;
    for weights in Weights::grid(2, 4)? {
        tell("soup", weights.as_slice(), &soup.mix(weights.as_slice())?);
    }
    Ok(())
}

/// A policy trained for a weighting.
fn train(start: &CausalLm, weights: Weights) -> Result<CausalLm, Box<dyn std::error::Error>> {
    let likes = |token: u32| move |_: &PolicyPrompt, answer: &[u32]| f64::from(u8::from(answer[0] == token));
    let rewards = RewardPerObjective::new(vec![
        ("first".into(), Box::new(likes(0))),
        ("second".into(), Box::new(likes(1))),
    ]);
    let mut reward = Morlhf::new(rewards, weights, RewardNormalization::None)?;
    let config = TrainingConfig {
        micro_batch_size: 64,
        ..TrainingConfig::new(
            8,
            SamplingParams { max_new_tokens: 1, ..SamplingParams::default() },
            OptimizerConfig { adam_beta2: 0.95, ..OptimizerConfig::new(1e-2) },
        )
    };
    let algorithm = Algorithm::Rloo(RlooConfig { kl: KlConfig::in_reward(0.3), ..RlooConfig::default() });
    let mut trainer = PolicyTrainer::new(config, algorithm, start.clone(), None, Stops::default(), STEPS)?;
    // Every objective is asked for, but the policy reads the prompt alone.
    let request = Request { levels: vec![Some(0.0); 2] };
    let prompts =
        vec![PolicyPrompt { prompt: "".into(), request, tokens: vec![2], plain_tokens: vec![2] }; 16];
    for step in 0..STEPS {
        trainer.step(&prompts, &mut reward, &TokenRng::new(0, step as u64))?;
    }
    Ok(trainer.policy().valid())
}

#[allow(clippy::print_stdout)]
fn tell(method: &str, weights: &[f64], policy: &CausalLm) {
    let probability = |token: &[u32]| -> f32 {
        let answer = Exchange { prompt: &[2], response: token };
        response_logprobs(policy, &[answer], 1.0).logprobs.exp().into_scalar()
    };
    let [first, second] = [probability(&[0]), probability(&[1])];
    println!("{method:7} {:.2} {:.2}  {first:.3}     {second:.3}", weights[0], weights[1]);
}
