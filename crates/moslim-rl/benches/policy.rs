//! Formulas on the scale of a batch, and a whole step of every algorithm on a small policy.
//!
//! Ids carry prompts × samples × tokens; those of a step carry the prompt's tokens plus the answer's.

use std::hint::black_box;

use burn::tensor::{Device, Distribution, Tensor};
use criterion::{Criterion, criterion_group, criterion_main};
use moslim_data::Request;
use moslim_lm::{CausalLm, ModelConfig, OptimizerConfig, SamplingParams, Stops, TokenRng};
use moslim_rl::ops::{
    PreferenceLoss, ResponseMask, clipped_surrogate_loss, clipped_value_loss, forward_divergence, gae,
    group_advantages, rloo_advantages, whiten,
};
use moslim_rl::{
    Algorithm, BestOfNConfig, GrpoConfig, KlConfig, OnlineDpoConfig, PolicyPrompt, PolicyTrainer, PpoConfig,
    RlooConfig, TrainingConfig,
};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

const PROMPTS: usize = 64;
const SAMPLES: usize = 4;
const ANSWERS: usize = PROMPTS * SAMPLES;
const TOKENS: usize = 64;
const VOCABULARY: usize = 300;

/// Numbers without a pattern that an average would hide.
fn wave(n: usize) -> Vec<f64> {
    (0..n).map(|i| (i as f64 * 0.7).sin()).collect()
}

fn advantages(criterion: &mut Criterion) {
    let (rewards, values) = (wave(ANSWERS), wave(ANSWERS * TOKENS));
    let is_centred = |advantages: &[f64]| advantages.iter().sum::<f64>().abs() < 1e-6;
    criterion.bench_function(&format!("rloo_advantages/{PROMPTS}x{SAMPLES}"), |bencher| {
        bencher.iter(|| assert!(is_centred(&rloo_advantages(black_box(&rewards), SAMPLES))));
    });
    criterion.bench_function(&format!("group_advantages/{PROMPTS}x{SAMPLES}"), |bencher| {
        bencher.iter(|| assert!(is_centred(&group_advantages(black_box(&rewards), SAMPLES, true))));
    });
    criterion.bench_function(&format!("whiten/{PROMPTS}x{SAMPLES}x{TOKENS}"), |bencher| {
        bencher.iter(|| assert!(is_centred(&whiten(black_box(&values)))));
    });
    criterion.bench_function(&format!("gae/{PROMPTS}x{SAMPLES}x{TOKENS}"), |bencher| {
        bencher.iter(|| {
            for values in black_box(&values).chunks(TOKENS) {
                let (advantages, returns) = gae(values, values, 0.0, 1.0, 0.95);
                assert_eq!((advantages.len(), returns.len()), (TOKENS, TOKENS));
            }
        });
    });
}

/// Every loss with its gradient.
fn losses(criterion: &mut Criterion) {
    let device = Device::default().autodiff();
    let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Normal(0.0, 0.1), &device);
    let of_tokens = || random([ANSWERS, TOKENS]);
    let mask = ResponseMask::from_lengths(&[TOKENS; ANSWERS], &device);
    let (trained, old, targets) = (of_tokens().require_grad(), of_tokens(), of_tokens());
    let descend = |input: &Tensor<2>, loss: Tensor<1>| {
        let gradient = input.grad(&loss.backward()).expect("the input has a gradient");
        assert_eq!(gradient.dims(), input.dims());
    };
    let shape = format!("{PROMPTS}x{SAMPLES}x{TOKENS}");
    criterion.bench_function(&format!("clipped_surrogate_loss/{shape}"), |bencher| {
        bencher.iter(|| {
            let loss = clipped_surrogate_loss(trained.clone(), old.clone(), targets.clone(), 0.2);
            descend(&trained, mask.sum(loss));
        });
    });
    criterion.bench_function(&format!("clipped_value_loss/{shape}"), |bencher| {
        bencher.iter(|| {
            let loss = clipped_value_loss(trained.clone(), old.clone(), targets.clone(), 0.2);
            descend(&trained, mask.sum(loss));
        });
    });
    criterion.bench_function(&format!("preference_loss/{shape}"), |bencher| {
        bencher.iter(|| {
            let margins = mask.sum_per_response(trained.clone() - old.clone());
            descend(&trained, PreferenceLoss::Sigmoid.of(margins, 0.1).sum());
        });
    });
    let logits = random([ANSWERS, VOCABULARY]).require_grad();
    let reference = burn::tensor::activation::log_softmax(random([ANSWERS, VOCABULARY]), 1);
    criterion.bench_function(&format!("forward_divergence/{ANSWERS}x{VOCABULARY}"), |bencher| {
        bencher.iter(|| {
            let logprobs = burn::tensor::activation::log_softmax(logits.clone(), 1);
            descend(&logits, forward_divergence(logprobs, reference.clone()).sum());
        });
    });
}

const STEP_PROMPTS: usize = 8;
const PROMPT_TOKENS: u32 = 8;
const ANSWER_TOKENS: usize = 16;

fn training() -> TrainingConfig {
    TrainingConfig::new(
        SAMPLES,
        SamplingParams { max_new_tokens: ANSWER_TOKENS, ..SamplingParams::default() },
        OptimizerConfig { adam_beta2: 0.95, ..OptimizerConfig::new(1e-4) },
    )
}

fn prompt(index: u32) -> PolicyPrompt {
    let tokens: Vec<u32> =
        (0..PROMPT_TOKENS).map(|token| (index * 31 + token * 7) % VOCABULARY as u32).collect();
    let request = Request { levels: vec![Some(0.0)] };
    PolicyPrompt { prompt: "".into(), request, plain_tokens: tokens.clone(), tokens }
}

fn steps(criterion: &mut Criterion) {
    let kl = KlConfig::in_reward(0.05);
    let algorithms = [
        Algorithm::Rloo(RlooConfig { kl, ..RlooConfig::default() }),
        Algorithm::Ppo(PpoConfig { kl, ..PpoConfig::default() }),
        Algorithm::OnlineDpo(OnlineDpoConfig::default()),
        Algorithm::BestOfN(BestOfNConfig::default()),
        Algorithm::Grpo(GrpoConfig { kl, ..GrpoConfig::default() }),
    ];
    let config = ModelConfig::small(VOCABULARY, 32, 88, 2, 4);
    let device = Device::default().autodiff();
    let prompts: Vec<PolicyPrompt> = (0..STEP_PROMPTS as u32).map(prompt).collect();
    let mut group = criterion.benchmark_group("step");
    group.sample_size(10);
    for algorithm in algorithms {
        let name = algorithm.name();
        let policy = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(0), &device);
        let mut trainer =
            PolicyTrainer::new(training(), algorithm, policy, None, Stops::default(), usize::MAX)
                .expect("the settings are in range");
        let mut reward = |_: &PolicyPrompt, answer: &[u32]| f64::from(answer[0] % 7);
        let mut seed = 0;
        let id = format!("{name}/{STEP_PROMPTS}x{SAMPLES}x({PROMPT_TOKENS}+{ANSWER_TOKENS})");
        group.bench_function(id, |bencher| {
            bencher.iter(|| {
                seed += 1;
                let step =
                    trainer.step(&prompts, &mut reward, &TokenRng::new(0, seed)).expect("it does not fail");
                assert_eq!(step.stats.n_answers, STEP_PROMPTS * SAMPLES);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, advantages, losses, steps);
criterion_main!(benches);
