//! Batched sampling with a key-value cache.

use burn::tensor::Tensor;
use moslim_kernels::{in_parallel, splits_batches};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::{CausalLm, KvCache};

/// How answers are drawn.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingParams {
    /// Divides the logits; 0 takes the most probable token.
    pub temperature: f64,
    /// Keeps the smallest set of tokens with at least this probability; 1 keeps all.
    pub top_p: f64,
    /// The longest answer, in tokens, end token included.
    pub max_new_tokens: usize,
}

/// Uniform numbers addressed by row and position, so that a draw does not depend on the rest of the batch.
#[derive(Clone, Copy, Debug)]
pub struct TokenRng {
    key: [u8; 32],
}

impl TokenRng {
    /// Independent numbers for every pair of a seed and a stream, such as a training step.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&stream.to_le_bytes());
        Self { key }
    }

    /// The number for a position of a row, in `[0, 1)`.
    pub fn uniform(&self, row: usize, position: usize) -> f64 {
        let mut rng = ChaCha8Rng::from_seed(self.key);
        rng.set_stream(row as u64);
        // Two 32-bit words make one number.
        rng.set_word_pos(2 * position as u128);
        rng.random()
    }
}

/// One sampled answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// The tokens, the end token included if it was reached.
    pub tokens: Vec<u32>,
    /// The log-probability of each token in the whole distribution at the sampling temperature (at 1 for greedy).
    pub logprobs: Vec<f32>,
    /// Whether an end token was reached.
    pub finished: bool,
}

/// Rows generated together, more where one batch has the whole device; more prompts are taken in parallel or in turns.
const ROWS_OF_A_PART: usize = 64;
const ROWS_OF_A_DEVICE: usize = 256;

/// The batch is compacted when fewer than this share of its rows is still being written.
const COMPACT_BELOW: f64 = 0.75;

/// Samples `n_samples` answers to every prompt; the answers to one prompt stand together and share one prefill.
///
/// The draws of answer `i` depend on `rng` and `i` alone.
///
/// # Panics
/// If a prompt is empty.
pub fn generate(
    model: &CausalLm,
    prompts: &[Vec<u32>],
    n_samples: usize,
    params: &SamplingParams,
    stops: &[u32],
    rng: &TokenRng,
) -> Vec<Generated> {
    let device = model.device();
    let rows = if splits_batches(&device) { ROWS_OF_A_PART } else { ROWS_OF_A_DEVICE };
    let prompts_at_once = (rows / n_samples.max(1)).max(1);
    let batches = prompts.chunks(prompts_at_once).enumerate().collect();
    let answers = in_parallel(&device, batches, |(index, batch)| {
        let first_row = index * prompts_at_once * n_samples;
        generate_batch(model, batch, n_samples, params, stops, rng, first_row)
    });
    answers.concat()
}

#[allow(clippy::too_many_arguments)]
fn generate_batch(
    model: &CausalLm,
    prompts: &[Vec<u32>],
    n_samples: usize,
    params: &SamplingParams,
    stops: &[u32],
    rng: &TokenRng,
    first_row: usize,
) -> Vec<Generated> {
    let longest = prompts.iter().map(Vec::len).max().expect("at least one prompt");
    let mut cache = KvCache::with_capacity(longest + params.max_new_tokens);
    let prompt_rows: Vec<&[u32]> = prompts.iter().map(Vec::as_slice).collect();
    let prompt_logits = to_host(model.last_logits(&prompt_rows, &mut cache));

    // From here on a row of the batch is one answer: `rows[i]` is the answer that row i writes.
    let mut rows: Vec<usize> = (0..prompts.len() * n_samples).collect();
    let mut answers = vec![Generated { tokens: vec![], logprobs: vec![], finished: false }; rows.len()];
    let prompt_of: Vec<usize> = rows.iter().map(|row| row / n_samples).collect();
    cache.select_rows(&prompt_of);
    let vocabulary = prompt_logits.len() / prompts.len();
    let mut logits: Vec<f32> = prompt_of
        .iter()
        .flat_map(|&prompt| &prompt_logits[prompt * vocabulary..(prompt + 1) * vocabulary])
        .copied()
        .collect();

    for position in 0..params.max_new_tokens {
        let mut last = Vec::with_capacity(rows.len());
        for (&row, logits) in rows.iter().zip(logits.chunks(vocabulary)) {
            let answer = &mut answers[row];
            if !answer.finished {
                let (token, logprob) = draw(logits, params, || rng.uniform(first_row + row, position));
                answer.tokens.push(token);
                answer.logprobs.push(logprob);
                answer.finished = stops.contains(&token);
            }
            last.push(*answer.tokens.last().expect("a token was just drawn"));
        }
        let alive: Vec<usize> = (0..rows.len()).filter(|&i| !answers[rows[i]].finished).collect();
        if alive.is_empty() || position + 1 == params.max_new_tokens {
            break;
        }
        if (alive.len() as f64) < COMPACT_BELOW * rows.len() as f64 {
            cache.select_rows(&alive);
            rows = alive.iter().map(|&i| rows[i]).collect();
            last = alive.iter().map(|&i| last[i]).collect();
        }
        let last: Vec<&[u32]> = last.chunks(1).collect();
        logits = to_host(model.last_logits(&last, &mut cache));
    }
    answers
}

fn to_host(logits: Tensor<2>) -> Vec<f32> {
    logits.into_data().convert::<f32>().try_to_vec().expect("logits are floats")
}

/// Chooses a token from logits; returns it and its log-probability in the whole distribution.
fn draw(logits: &[f32], params: &SamplingParams, uniform: impl FnOnce() -> f64) -> (u32, f32) {
    let greedy = params.temperature == 0.0;
    let temperature = if greedy { 1.0 } else { params.temperature as f32 };
    let (best, highest) = logits
        .iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (i, &z)| if z > best.1 { (i, z) } else { best });
    let weights: Vec<f32> = logits.iter().map(|&z| ((z - highest) / temperature).exp()).collect();
    let total: f64 = weights.iter().map(|&weight| f64::from(weight)).sum();
    let token = match greedy {
        true => best,
        false if params.top_p < 1.0 => {
            let mut order: Vec<usize> = (0..weights.len()).collect();
            order.sort_by(|&a, &b| weights[b].total_cmp(&weights[a]));
            let mut kept = 0.0;
            let enough = order.iter().position(|&i| {
                kept += f64::from(weights[i]);
                kept >= params.top_p * total
            });
            order.truncate(enough.map_or(order.len(), |last| last + 1));
            order[pick(order.iter().map(|&i| weights[i]), kept * uniform())]
        }
        false => pick(weights.iter().copied(), total * uniform()),
    };
    let logprob = f64::from((logits[token] - highest) / temperature) - total.ln();
    (token as u32, logprob as f32)
}

/// The first index at which the running sum exceeds `threshold`; the last index with weight if rounding leaves none.
fn pick(weights: impl Iterator<Item = f32>, threshold: f64) -> usize {
    let (mut sum, mut last) = (0.0, 0);
    for (index, weight) in weights.enumerate() {
        sum += f64::from(weight);
        if weight > 0.0 {
            last = index;
        }
        if sum > threshold {
            return index;
        }
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: SamplingParams = SamplingParams { temperature: 1.0, top_p: 1.0, max_new_tokens: 8 };

    /// Probabilities ½, ¼, ¼.
    fn logits() -> [f32; 3] {
        [2f32.ln(), 0.0, 0.0]
    }

    #[test]
    fn draws_follow_the_inverse_distribution_function() {
        let token = |u| draw(&logits(), &PARAMS, || u).0;
        assert_eq!([0.0, 0.49, 0.51, 0.74, 0.76, 0.999_999].map(token), [0, 0, 1, 1, 2, 2]);
        assert!((draw(&logits(), &PARAMS, || 0.6).1 - 0.25f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn temperature_divides_the_logits() {
        // At temperature 1/2 the probabilities are 4 : 1 : 1.
        let params = SamplingParams { temperature: 0.5, ..PARAMS };
        assert_eq!(draw(&logits(), &params, || 0.66).0, 0);
        assert!((draw(&logits(), &params, || 0.9).1 - (1.0f32 / 6.0).ln()).abs() < 1e-6);
        let greedy = SamplingParams { temperature: 0.0, ..PARAMS };
        assert_eq!(draw(&[0.0, 3.0, 1.0], &greedy, || unreachable!("greedy needs no number")).0, 1);
    }

    #[test]
    fn top_p_keeps_the_most_probable() {
        let params = SamplingParams { top_p: 0.5, ..PARAMS };
        assert_eq!(draw(&logits(), &params, || 0.999).0, 0);
        let params = SamplingParams { top_p: 0.7, ..PARAMS };
        assert_eq!(draw(&logits(), &params, || 0.999).0, 1);
    }

    #[test]
    fn uniform_numbers_are_addressed_and_spread() {
        let rng = TokenRng::new(1, 2);
        assert_eq!(rng.uniform(3, 4), rng.uniform(3, 4));
        let numbers: Vec<f64> = (0..1000).map(|i| rng.uniform(i / 50, i % 50)).collect();
        let mean = numbers.iter().sum::<f64>() / 1000.0;
        // The standard error is 0.009.
        assert!((mean - 0.5).abs() < 0.04, "{mean}");
        assert_ne!(rng.uniform(0, 0), TokenRng::new(1, 3).uniform(0, 0));
        assert_ne!(rng.uniform(0, 0), TokenRng::new(2, 2).uniform(0, 0));
    }
}
