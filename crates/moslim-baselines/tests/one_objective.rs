//! MORLHF on a bandit: with one objective it is plain reinforcement learning, with two it follows the weights.

use burn::tensor::Device;
use moslim_baselines::{Morlhf, RewardNormalization, RewardPerObjective, Weights};
use moslim_data::Request;
use moslim_lm::{CausalLm, ModelConfig, OptimizerConfig, SamplingParams, Stops, TokenRng};
use moslim_rl::{
    Algorithm, KlConfig, PolicyPrompt, PolicyTrainer, PpoConfig, Reward, RlooConfig, StepStats,
    TrainingConfig,
};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

const N_ARMS: u32 = 4;
const BEGIN: u32 = 8;
const STEPS: usize = 25;

fn prompt(arm: u32) -> PolicyPrompt {
    let request = Request { levels: vec![Some(f64::from(arm)); 2] };
    PolicyPrompt { prompt: "".into(), request, tokens: vec![BEGIN, N_ARMS + arm], plain_tokens: vec![BEGIN] }
}

/// Whether the arm that the prompt names was pulled.
fn named_arm(prompt: &PolicyPrompt, answer: &[u32]) -> f64 {
    f64::from(u8::from(f64::from(answer[0]) == prompt.request.levels[0].unwrap()))
}

fn training() -> TrainingConfig {
    TrainingConfig::new(
        4,
        SamplingParams { max_new_tokens: 1, ..SamplingParams::default() },
        OptimizerConfig { adam_beta2: 0.95, ..OptimizerConfig::new(1e-2) },
    )
}

/// A training's numbers, and the bits of the trained policy's logits.
fn train(algorithm: Algorithm, reward: &mut dyn Reward) -> (Vec<StepStats>, Vec<u32>) {
    let config = ModelConfig::small(9, 16, 32, 1, 2);
    let policy = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(1), &Device::default().autodiff());
    let mut trainer =
        PolicyTrainer::new(training(), algorithm, policy, None, Stops::default(), STEPS).unwrap();
    let prompts: Vec<PolicyPrompt> = (0..16).map(|i| prompt(i % N_ARMS)).collect();
    let step = |step| trainer.step(&prompts, reward, &TokenRng::new(5, step as u64)).unwrap();
    let steps: Vec<_> = (0..STEPS).map(step).collect();
    let sampled = steps.iter().flat_map(|step| &step.rollout.answers).flat_map(|answer| &answer.logprobs);
    let bits = sampled.map(|logprob| logprob.to_bits()).collect();
    (steps.into_iter().map(|step| step.stats).collect(), bits)
}

#[test]
fn one_objective_is_plain_training_to_the_bit() {
    for algorithm in [
        Algorithm::Rloo(RlooConfig { kl: KlConfig::in_reward(0.01), ..RlooConfig::default() }),
        Algorithm::Ppo(PpoConfig { kl: KlConfig::in_reward(0.01), ..PpoConfig::default() }),
    ] {
        let name = algorithm.name();
        let (plain, plain_bits) = train(algorithm.clone(), &mut named_arm);
        let alone = RewardPerObjective::new(vec![("arm".into(), Box::new(named_arm))]);
        let weights = Weights::new(vec![1.0]).unwrap();
        let mut morlhf = Morlhf::new(alone, weights, RewardNormalization::None).unwrap();
        let (found, bits) = train(algorithm, &mut morlhf);
        assert_eq!(bits, plain_bits, "{name}");
        let numbers = |stats: &[StepStats]| -> Vec<[u64; 3]> {
            stats.iter().map(|step| [step.loss, step.grad_norm, step.score].map(f64::to_bits)).collect()
        };
        assert_eq!(numbers(&found), numbers(&plain), "{name}");
        assert!(plain[STEPS - 1].score > plain[0].score + 0.2, "{name}: {}", plain[STEPS - 1].score);
        assert_eq!(found[0].metrics["objective/scores/arm"], found[0].score, "{name}");
    }
}

#[test]
fn the_weights_decide_what_is_learned() {
    for (weight, expected) in [(0.9, 0), (0.1, 1)] {
        let likes =
            |token: u32| move |_: &PolicyPrompt, answer: &[u32]| f64::from(u8::from(answer[0] == token));
        let rewards = RewardPerObjective::new(vec![
            ("first".into(), Box::new(likes(0))),
            ("second".into(), Box::new(likes(1))),
        ]);
        let weights = Weights::new(vec![weight, 1.0 - weight]).unwrap();
        let mut morlhf = Morlhf::new(rewards, weights, RewardNormalization::None).unwrap();
        let (stats, _) = train(Algorithm::Rloo(RlooConfig::default()), &mut morlhf);
        let levels =
            ["first", "second"].map(|name| stats[STEPS - 1].metrics[&format!("objective/level/{name}")]);
        assert!(levels[expected] > 0.8 && levels[1 - expected] < 0.2, "{weight}: {levels:?}");
    }
}
