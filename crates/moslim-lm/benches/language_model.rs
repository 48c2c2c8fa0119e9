//! Generation and log-probabilities on the scale of the default run; ids carry prompts × samples × tokens.

use std::hint::black_box;

use burn::module::Module;
use burn::tensor::Device;
use criterion::{Criterion, criterion_group, criterion_main};
use moslim_lm::{
    CausalLm, Exchange, ModelConfig, SamplingParams, Stops, TokenRng, generate, response_logprobs,
};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// The vocabularies of sampling: of a small model, and of Qwen2.
const VOCABULARIES: [usize; 2] = [4096, 152_064];

const PROMPTS: usize = 8;
const SAMPLES: usize = 8;
const PROMPT_TOKENS: u32 = 28;
const RESPONSE_TOKENS: usize = 30;

fn benchmark(criterion: &mut Criterion) {
    let config = ModelConfig::small(300, 96, 256, 3, 4);
    let device = Device::default().autodiff();
    let model = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(0), &device);
    let frozen = model.valid();
    let prompts: Vec<Vec<u32>> =
        (0..PROMPTS as u32).map(|i| (0..PROMPT_TOKENS).map(|j| (i * 31 + j * 7) % 300).collect()).collect();
    let params = SamplingParams { max_new_tokens: RESPONSE_TOKENS, ..SamplingParams::default() };
    let sample = || generate(&frozen, &prompts, SAMPLES, &params, &Stops::default(), &TokenRng::new(0, 0));
    let answers = sample();
    assert!(answers.iter().all(|answer| answer.tokens.len() == RESPONSE_TOKENS));
    let shape = format!("{PROMPTS}x{SAMPLES}x{RESPONSE_TOKENS}");

    criterion.bench_function(&format!("generate/{shape}"), |bencher| bencher.iter(|| black_box(sample())));
    let exchange = |row: usize| Exchange { prompt: &prompts[row / SAMPLES], response: &answers[row].tokens };
    let shared: Vec<Exchange> = (0..answers.len()).map(exchange).collect();
    // No two neighbours have the same prompt, so every prompt is read for every response.
    let separate: Vec<Exchange> =
        (0..answers.len()).map(|i| exchange((i % PROMPTS) * SAMPLES + i / PROMPTS)).collect();
    for (name, exchanges) in [("shared prompts", &shared), ("separate prompts", &separate)] {
        criterion.bench_function(&format!("logprobs with gradient, {name}/{shape}"), |bencher| {
            bencher.iter(|| response_logprobs(&model, exchanges, 1.0).logprobs.sum().backward());
        });
    }
}

/// Generation with a model so narrow that most of the time goes into drawing tokens; ids carry the vocabulary.
fn sampling(criterion: &mut Criterion) {
    let device = Device::default();
    for vocabulary in VOCABULARIES {
        let config = ModelConfig::small(vocabulary, 2, 2, 1, 1);
        let model = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(0), &device);
        let prompts = vec![vec![1, 2, 3]];
        for (name, top_p) in [("all tokens", 1.0), ("nucleus", 0.9)] {
            let params = SamplingParams { max_new_tokens: 8, top_p, ..SamplingParams::default() };
            let sample = || generate(&model, &prompts, 1, &params, &Stops::default(), &TokenRng::new(0, 0));
            assert_eq!(sample()[0].tokens.len(), 8);
            criterion.bench_function(&format!("sampling from {name}/{vocabulary}"), |bencher| {
                bencher.iter(|| black_box(sample()));
            });
        }
    }
}

criterion_group!(benches, benchmark, sampling);
criterion_main!(benches);
