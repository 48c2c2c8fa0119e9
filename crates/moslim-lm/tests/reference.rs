//! The decoder against transformers 5.23 (`golden/tiny-llama3`: grouped queries, llama3 scaling, untied), and against itself.

use std::path::PathBuf;

use burn::tensor::{Device, Int, Tensor, TensorData};
use moslim_lm::{
    CausalLm, Exchange, KvCache, LlamaConfig, SamplingParams, TokenRng, generate, load_weights, response_logprobs,
    save_weights,
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

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny-llama3")
}

fn reference() -> (CausalLm, LlamaConfig, Golden) {
    let device = Device::default();
    let config = LlamaConfig::read(&folder().join("config.json")).unwrap();
    let mut model = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(0), &device);
    load_weights(&mut model, &folder()).unwrap();
    let golden = serde_json::from_str(&std::fs::read_to_string(folder().join("golden.json")).unwrap()).unwrap();
    (model, config, golden)
}

fn batch(rows: &[&[u32]]) -> Tensor<2, Int> {
    let ids: Vec<i64> = rows.iter().flat_map(|row| row.iter().map(|&id| i64::from(id))).collect();
    Tensor::from_data(TensorData::new(ids, [rows.len(), rows[0].len()]), &Device::default())
}

fn at(logits: &Tensor<3>, row: usize, column: usize) -> Vec<f32> {
    let cell = logits.clone().narrow(0, row, 1).narrow(1, column, 1);
    cell.into_data().try_to_vec().unwrap()
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
    let (model, _, golden) = reference();
    let rows: Vec<&[u32]> = golden.input_ids.iter().map(Vec::as_slice).collect();
    let logits = model.logits(batch(&rows), &[0, PADDING], None);
    let last = rows[0].len() - 1;
    assert_close(&at(&logits, 0, last), &golden.last_logits_row0, 2e-5);
    assert_close(&at(&logits, 1, last), &golden.last_logits_row1, 2e-5);
    assert_close(&at(&logits, 0, 5), &golden.logits_row0_at_5, 2e-5);
}

#[test]
fn token_logprobs_are_those_of_transformers() {
    let (model, _, golden) = reference();
    let row = &golden.input_ids[0];
    let exchange = Exchange { prompt: &row[..1], response: &row[1..] };
    let found = response_logprobs(&model, &[exchange], 1.0).logprobs;
    assert_close(&found.into_data().try_to_vec::<f32>().unwrap(), &golden.token_logprobs_row0, 2e-5);
}

#[test]
fn greedy_generation_continues_as_transformers_does() {
    let (model, config, golden) = reference();
    let n = golden.greedy_continuation_row0.len();
    let params = SamplingParams { temperature: 0.0, top_p: 1.0, max_new_tokens: n };
    let prompts = [golden.input_ids[1][PADDING..].to_vec(), golden.input_ids[0].clone()];
    let answers = generate(&model, &config, &prompts, 2, &params, &[], &TokenRng::new(0, 0));
    for answer in &answers[2..] {
        assert_eq!(answer.tokens, golden.greedy_continuation_row0);
        assert!(!answer.finished);
    }
}

#[test]
fn plain_padded_batched_and_cached_rows_are_the_same() {
    let (model, config, golden) = reference();
    let (long, short) = (&golden.input_ids[0], &golden.input_ids[1][PADDING..]);
    let alone = model.logits(batch(&[short]), &[0], None);
    let rows: Vec<&[u32]> = golden.input_ids.iter().map(Vec::as_slice).collect();
    let together = model.logits(batch(&rows), &[0, PADDING], None);
    let mut cache = KvCache::new(&config, 2, long.len(), &Device::default());
    let mut cached = Vec::new();
    // Unequal pieces: many columns, one column, the rest.
    for piece in [0..10, 10..11, 11..14, 14..long.len()] {
        let columns: Vec<&[u32]> = rows.iter().map(|row| &row[piece.clone()]).collect();
        cached.push(model.logits(batch(&columns), &[0, PADDING], Some(&mut cache)));
    }
    let cached = Tensor::cat(cached, 1);
    for column in 0..short.len() {
        assert_close(&at(&together, 1, PADDING + column), &at(&alone, 0, column), 2e-5);
        assert_close(&at(&cached, 1, PADDING + column), &at(&alone, 0, column), 2e-5);
    }
    for column in 0..long.len() {
        assert_close(&at(&cached, 0, column), &at(&together, 0, column), 2e-5);
    }
}

#[test]
fn sampled_logprobs_are_those_of_a_forward_pass() {
    let (model, config, golden) = reference();
    let params = SamplingParams { temperature: 0.7, top_p: 1.0, max_new_tokens: 20 };
    let prompts = [golden.input_ids[0].clone(), golden.input_ids[1][PADDING..].to_vec()];
    let stops: Vec<u32> = (0..40).collect();
    let answers = generate(&model, &config, &prompts, 5, &params, &stops, &TokenRng::new(3, 1));
    assert!(answers.iter().any(|answer| answer.finished && answer.tokens.len() < 20), "no answer ended early");
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
        assert!(forward[row * longest + answer.tokens.len()..(row + 1) * longest].iter().all(|&padding| padding == 0.0));
    }
    let again = generate(&model, &config, &prompts, 5, &params, &stops, &TokenRng::new(3, 1));
    assert_eq!(answers, again);
    assert_ne!(answers, generate(&model, &config, &prompts, 5, &params, &stops, &TokenRng::new(4, 1)));
}

#[test]
fn weights_survive_a_round_trip_and_wrong_ones_are_listed() {
    let (model, config, golden) = reference();
    let folder = tempfile::tempdir().unwrap();
    save_weights(&model, &folder.path().join("model.safetensors")).unwrap();
    let mut read = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(1), &Device::default());
    load_weights(&mut read, folder.path()).unwrap();
    let tokens = batch(&[&golden.input_ids[0]]);
    let bits = |model: &CausalLm| model.logits(tokens.clone(), &[0], None).into_data().try_to_vec::<f32>().unwrap();
    assert_eq!(bits(&read), bits(&model));

    let wider = LlamaConfig { intermediate_size: 120, num_hidden_layers: 3, ..config.clone() };
    let mut wrong = CausalLm::new(&wider, &mut ChaCha8Rng::seed_from_u64(1), &Device::default());
    let message = load_weights(&mut wrong, folder.path()).unwrap_err().to_string();
    assert!(message.contains("model.layers.0.mlp.gate_proj.weight"), "{message}");
    assert!(message.contains("missing model.layers.2.self_attn.q_proj.weight"), "{message}");
    let tied = LlamaConfig { tie_word_embeddings: true, ..config };
    let mut wrong = CausalLm::new(&tied, &mut ChaCha8Rng::seed_from_u64(1), &Device::default());
    let message = load_weights(&mut wrong, folder.path()).unwrap_err().to_string();
    assert!(message.contains("unexpected lm_head.weight"), "{message}");
    std::fs::write(folder.path().join("model.safetensors"), b"not weights").unwrap();
    assert!(load_weights(&mut wrong, folder.path()).unwrap_err().to_string().contains("model.safetensors"));
    std::fs::remove_file(folder.path().join("model.safetensors")).unwrap();
    assert!(load_weights(&mut wrong, folder.path()).unwrap_err().to_string().contains("No such file"));
}
