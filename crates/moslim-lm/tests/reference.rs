//! The decoder against transformers 5.23 (`golden/`: one small model per family), and against itself.

use std::path::PathBuf;

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use moslim_lm::{
    CausalLm, Exchange, KvCache, ModelConfig, Padding, SamplingParams, Stops, TokenRng, final_states,
    generate, load_weights, response_logprobs, save_weights,
};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde::Deserialize;

#[derive(Deserialize)]
struct Golden {
    input_ids: Vec<Vec<u32>>,
    last_logits_row0: Vec<f32>,
    last_logits_row1: Vec<f32>,
    logits_row0_at_5: Vec<f32>,
    token_logprobs_row0: Vec<f32>,
    greedy_continuation_row0: Vec<u32>,
}

/// The number of padding columns of the second golden row.
const PADDING: usize = 12;

/// Grouped queries, llama3 scaling, untied.
const LLAMA: &str = "tiny-llama3";
/// The others: no scaling and untied; biases, tied and in three files; normalised queries and keys, tied or not.
const FAMILIES: [&str; 4] = [LLAMA, "tiny-mistral", "tiny-qwen2", "tiny-qwen3"];

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn reference(name: &str) -> (CausalLm, ModelConfig, Golden) {
    let (device, folder) = (Device::default(), folder(name));
    let config = ModelConfig::read(&folder.join("config.json")).unwrap();
    let mut model = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(0), &device);
    load_weights(&mut model, &folder).unwrap();
    let golden = serde_json::from_str(&std::fs::read_to_string(folder.join("golden.json")).unwrap()).unwrap();
    (model, config, golden)
}

/// One row of a matrix.
fn at(logits: &Tensor<2>, row: usize) -> Vec<f32> {
    logits.clone().narrow(0, row, 1).into_data().try_to_vec().unwrap()
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f32], tolerance: f32) {
    assert_eq!(found.len(), expected.len());
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((found - expected).abs() <= tolerance, "at {index}: {found} instead of {expected}");
    }
}

#[test]
fn logits_are_those_of_transformers() {
    for name in FAMILIES {
        let (model, _, golden) = reference(name);
        let (long, short) = (golden.input_ids[0].as_slice(), &golden.input_ids[1][PADDING..]);
        for padding in [Padding::Left, Padding::Right] {
            let logits = model.logits(&[long, short], padding, None);
            assert_close(&at(&logits, long.len() - 1), &golden.last_logits_row0, 2e-5);
            assert_close(&at(&logits, long.len() + short.len() - 1), &golden.last_logits_row1, 2e-5);
            assert_close(&at(&logits, 5), &golden.logits_row0_at_5, 2e-5);
        }
    }
}

#[test]
fn token_logprobs_are_those_of_transformers() {
    for name in FAMILIES {
        let (model, _, golden) = reference(name);
        let row = &golden.input_ids[0];
        let exchange = Exchange { prompt: &row[..1], response: &row[1..] };
        let found = response_logprobs(&model, &[exchange], 1.0).logprobs;
        assert_close(&found.into_data().try_to_vec::<f32>().unwrap(), &golden.token_logprobs_row0, 1e-5);
    }
}

#[test]
fn greedy_generation_continues_as_transformers_does() {
    for name in FAMILIES {
        let (model, _, golden) = reference(name);
        let n = golden.greedy_continuation_row0.len();
        let params = SamplingParams { temperature: 0.0, max_new_tokens: n, ..SamplingParams::default() };
        let prompts = [golden.input_ids[1][PADDING..].to_vec(), golden.input_ids[0].clone()];
        let answers = generate(&model, &prompts, 2, &params, &Stops::default(), &TokenRng::new(0, 0));
        for answer in &answers[2..] {
            assert_eq!(answer.tokens, golden.greedy_continuation_row0, "{name}");
            assert!(!answer.finished);
        }
    }
}

#[test]
fn plain_padded_batched_and_cached_rows_are_the_same() {
    let (model, _, golden) = reference(LLAMA);
    let (long, short) = (golden.input_ids[0].as_slice(), &golden.input_ids[1][PADDING..]);
    let alone = [long, short].map(|row| model.logits(&[row], Padding::Right, None));
    let mut cache = KvCache::with_capacity(long.len() + 2);
    // The first reading is padded on the left, the last one on the right; the rows change places in between.
    let first = model.logits(&[&long[..9], &short[..4]], Padding::Left, Some(&mut cache));
    cache.select_rows(&[1, 0, 1]);
    let one = model.logits(&[&short[4..5], &long[9..10], &short[4..5]], Padding::Left, Some(&mut cache));
    let rest = model.logits(&[&short[5..], &long[10..], &short[5..7]], Padding::Right, Some(&mut cache));
    for column in 0..9 {
        assert_close(&at(&first, column), &at(&alone[0], column), 2e-5);
    }
    for column in 0..4 {
        assert_close(&at(&first, 9 + column), &at(&alone[1], column), 2e-5);
    }
    assert_close(&at(&one, 0), &at(&alone[1], 4), 2e-5);
    assert_close(&at(&one, 1), &at(&alone[0], 9), 2e-5);
    assert_close(&at(&one, 2), &at(&alone[1], 4), 2e-5);
    let n_short = short.len() - 5;
    for column in 0..n_short {
        assert_close(&at(&rest, column), &at(&alone[1], 5 + column), 2e-5);
    }
    for column in 0..long.len() - 10 {
        assert_close(&at(&rest, n_short + column), &at(&alone[0], 10 + column), 2e-5);
    }
    assert_close(&at(&rest, n_short + long.len() - 10 + 1), &at(&alone[1], 6), 2e-5);
}

#[test]
fn a_shared_prompt_changes_neither_values_nor_gradients() {
    let (model, config, golden) = reference(LLAMA);
    let device = Device::default().autodiff();
    let mut model_on_autodiff = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(0), &device);
    load_weights(&mut model_on_autodiff, &folder(LLAMA)).unwrap();
    let row = golden.input_ids[0].as_slice();
    let shared = |response| Exchange { prompt: &row[..7], response };
    let other = Exchange { prompt: &row[3..8], response: &row[8..10] };
    let exchanges =
        [shared(&row[7..20]), shared(&row[9..10]), shared(&row[12..15]), other, shared(&row[..1])];
    let flat = |grid: Tensor<2>| grid.into_data().try_to_vec::<f32>().unwrap();
    let found = response_logprobs(&model, &exchanges, 0.9);
    let longest = found.logprobs.dims()[1];
    let (logprobs, entropies) = (flat(found.logprobs), flat(found.entropies));
    for (index, exchange) in exchanges.iter().enumerate() {
        let alone = response_logprobs(&model, &[*exchange], 0.9);
        let cells = index * longest..index * longest + exchange.response.len();
        assert_close(&logprobs[cells.clone()], &flat(alone.logprobs), 2e-5);
        assert_close(&entropies[cells], &flat(alone.entropies), 2e-5);
    }
    let states = |exchanges: &[Exchange]| flat(final_states(model.decoder(), exchanges));
    let each: Vec<f32> = exchanges.iter().flat_map(|exchange| states(&[*exchange])).collect();
    assert_close(&states(&exchanges), &each, 2e-5);

    // A weight per exchange, so that no gradient is the same by symmetry.
    let loss = |exchanges: &[Exchange], first: usize| {
        let sums = response_logprobs(&model_on_autodiff, exchanges, 0.9).logprobs.sum_dim(1);
        let weights: Vec<f32> = (0..exchanges.len()).map(|index| (first + index) as f32 - 1.7).collect();
        let weights = Tensor::<1>::from_floats(weights.as_slice(), &device).reshape([exchanges.len(), 1]);
        (sums * weights).sum()
    };
    let gradients_of = |loss: Tensor<1>| {
        struct Collect<'a>(&'a GradientsParams, Vec<f32>);
        impl ModuleVisitor for Collect<'_> {
            fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
                let gradient = self.0.get::<D>(parameter.id).expect("every weight takes part");
                self.1.extend(gradient.into_data().iter::<f32>());
            }
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &model_on_autodiff);
        let mut collect = Collect(&gradients, vec![]);
        model_on_autodiff.visit(&mut collect);
        collect.1
    };
    let together = gradients_of(loss(&exchanges, 0));
    let one_by_one =
        (0..exchanges.len()).map(|index| loss(&exchanges[index..=index], index)).reduce(|a, b| a + b);
    assert_close(&together, &gradients_of(one_by_one.unwrap()), 2e-4);
}

#[test]
fn sampled_logprobs_are_those_of_a_forward_pass() {
    let (model, _, golden) = reference(LLAMA);
    let params = SamplingParams { temperature: 0.7, max_new_tokens: 20, ..SamplingParams::default() };
    let prompts = [golden.input_ids[0].clone(), golden.input_ids[1][PADDING..].to_vec()];
    let stops = Stops::from((0..40).collect::<Vec<u32>>());
    let answers = generate(&model, &prompts, 5, &params, &stops, &TokenRng::new(3, 1));
    assert!(
        answers.iter().any(|answer| answer.finished && answer.tokens.len() < 20),
        "no answer ended early"
    );
    let exchanges: Vec<Exchange> = answers
        .iter()
        .enumerate()
        .map(|(row, answer)| Exchange { prompt: &prompts[row / 5], response: &answer.tokens })
        .collect();
    let forward = response_logprobs(&model, &exchanges, 0.7).logprobs;
    let longest = forward.dims()[1];
    let forward: Vec<f32> = forward.into_data().try_to_vec().unwrap();
    for (row, answer) in answers.iter().enumerate() {
        assert_close(&forward[row * longest..][..answer.tokens.len()], &answer.logprobs, 5e-5);
        assert!(
            forward[row * longest + answer.tokens.len()..(row + 1) * longest]
                .iter()
                .all(|&padding| padding == 0.0)
        );
    }
    let again = generate(&model, &prompts, 5, &params, &stops, &TokenRng::new(3, 1));
    assert_eq!(answers, again);
    assert_ne!(answers, generate(&model, &prompts, 5, &params, &stops, &TokenRng::new(4, 1)));
}

#[test]
fn weights_survive_a_round_trip_and_wrong_ones_are_listed() {
    let (model, config, golden) = reference(LLAMA);
    let folder = tempfile::tempdir().unwrap();
    save_weights(&model, folder.path()).unwrap();
    let mut read = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(1), &Device::default());
    load_weights(&mut read, folder.path()).unwrap();
    let row = golden.input_ids[0].as_slice();
    let bits = |model: &CausalLm| {
        model.logits(&[row], Padding::Right, None).into_data().try_to_vec::<f32>().unwrap()
    };
    assert_eq!(bits(&read), bits(&model));

    let wider = ModelConfig { intermediate_size: 120, num_hidden_layers: 3, ..config.clone() };
    let mut wrong = CausalLm::new(&wider, &mut ChaCha8Rng::seed_from_u64(1), &Device::default());
    let message = load_weights(&mut wrong, folder.path()).unwrap_err().to_string();
    // As files have it: outputs before inputs.
    let shapes = "model.layers.0.mlp.gate_proj.weight: shape [112, 48], expected [120, 48]";
    assert!(message.contains(shapes), "{message}");
    assert!(message.contains("missing model.layers.2.input_layernorm.weight"), "{message}");
    assert!(message.contains("missing model.layers.2.self_attn.q_proj.weight"), "{message}");
    let tied = ModelConfig { tie_word_embeddings: true, ..config };
    let mut wrong = CausalLm::new(&tied, &mut ChaCha8Rng::seed_from_u64(1), &Device::default());
    let message = load_weights(&mut wrong, folder.path()).unwrap_err().to_string();
    assert!(message.contains("unexpected lm_head.weight"), "{message}");
    std::fs::write(folder.path().join("model.safetensors"), b"not weights").unwrap();
    assert!(load_weights(&mut wrong, folder.path()).unwrap_err().to_string().contains("model.safetensors"));
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert!(load_weights(&mut wrong, folder.path()).unwrap_err().to_string().contains("No such file"));
}
