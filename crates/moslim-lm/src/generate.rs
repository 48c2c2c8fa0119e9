//! Batched sampling with a key-value cache.

use std::borrow::Cow;

use burn::tensor::{Device, Tensor};
use moslim_kernels::{in_parallel, splits_batches};

use crate::sampling::draw;
use crate::{BYTES_PER_NUMBER, CausalLm, KvCache, ModelConfig, Precision, SamplingParams, Stops, TokenRng};

/// One sampled answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Generated {
    /// The tokens, the end token included if it was reached.
    pub tokens: Vec<u32>,
    /// The log-probability of each token in the whole distribution at the sampling temperature (at 1 for greedy).
    pub logprobs: Vec<f32>,
    /// Whether it ended before it reached the longest allowed length.
    pub finished: bool,
}

/// Rows generated together, more where one batch has the whole device; more prompts are taken in parallel or in turns.
///
/// A batch is halved rather than written with every core at work on each of its small products, unless the halves are too few rows.
const ROWS_OF_A_PART: usize = 64;
const LEAST_ROWS_OF_A_PART: usize = 8;
const ROWS_OF_A_DEVICE: usize = 256;

/// How many answers one batch of [`generate`] writes at most on a device.
pub fn rows_at_once(n_samples: usize, device: &Device) -> usize {
    most_prompts_of_a_part(n_samples, splits_batches(device)) * n_samples.max(1)
}

/// The bytes that [`generate`] takes to write so many answers of one model with its matrices packed, beside those of the model.
///
/// Only matrices of 32 bits are packed, and only on the CPU; in 16 bits that leaves the vocabulary matrix.
pub fn packed_bytes(config: &ModelConfig, precision: Precision, n_answers: usize, device: &Device) -> f64 {
    if !packs(n_answers) || !splits_batches(device) {
        return 0.0;
    }
    let of_layers = match precision {
        Precision::F32 => config.n_layer_weights(),
        Precision::Bf16 => 0.0,
    };
    (of_layers + config.hidden_size as f64 * config.vocab_size as f64) * BYTES_PER_NUMBER
}

fn most_prompts_of_a_part(n_samples: usize, splits_batches: bool) -> usize {
    let rows = if splits_batches { ROWS_OF_A_PART } else { ROWS_OF_A_DEVICE };
    (rows / n_samples.max(1)).max(1)
}

/// How many prompts of a job one batch answers.
fn prompts_of_a_part(n_prompts: usize, n_samples: usize, splits_batches: bool) -> usize {
    let n_samples = n_samples.max(1);
    let most = most_prompts_of_a_part(n_samples, splits_batches);
    match splits_batches {
        true => n_prompts.div_ceil(2).max(LEAST_ROWS_OF_A_PART.div_ceil(n_samples)).min(most),
        false => most,
    }
}

/// The batch is compacted when fewer than this share of its rows is still being written.
const COMPACT_BELOW: f64 = 0.75;

/// Samples `n_samples` answers to every prompt; the answers to one prompt stand together and share one prefill.
///
/// The draws of answer `i` depend on `rng` and `i` alone: with the same prompt and `rng.from_row(i)` it is written again
/// by itself, as the first answer.
///
/// # Panics
/// If a prompt is empty.
pub fn generate(
    model: &CausalLm,
    prompts: &[Vec<u32>],
    n_samples: usize,
    params: &SamplingParams,
    stops: &Stops,
    rng: &TokenRng,
) -> Vec<Generated> {
    generate_each(&[(model, prompts)], n_samples, params, stops, rng).concat()
}

/// [`generate`] for several models, each with its own prompts, without one waiting for the other.
///
/// # Panics
/// If there is no model, or a prompt is empty.
pub fn generate_each(
    jobs: &[(&CausalLm, &[Vec<u32>])],
    n_samples: usize,
    params: &SamplingParams,
    stops: &Stops,
    rng: &TokenRng,
) -> Vec<Vec<Generated>> {
    let device = jobs[0].0.device();
    let splits = splits_batches(&device);
    let parts_of = |(job, (model, prompts))| {
        let prompts_at_once = prompts_of_a_part(<[Vec<u32>]>::len(prompts), n_samples, splits);
        let batches = <[Vec<u32>]>::chunks(prompts, prompts_at_once).enumerate();
        batches.map(move |(index, batch)| (job, model, index * prompts_at_once * n_samples, batch))
    };
    let packed: Vec<Cow<'_, CausalLm>> =
        jobs.iter().map(|(model, prompts)| for_many(model, prompts.len() * n_samples)).collect();
    let jobs: Vec<(&CausalLm, &[Vec<u32>])> =
        packed.iter().map(AsRef::as_ref).zip(jobs.iter().map(|(_, prompts)| *prompts)).collect();
    let parts: Vec<(usize, &CausalLm, usize, &[Vec<u32>])> =
        jobs.iter().copied().enumerate().flat_map(parts_of).collect();
    let written = in_parallel(&device, parts, |(job, model, first_row, batch)| {
        (job, Decoding { params, stops, rng: rng.from_row(first_row) }.run(model, batch, n_samples, |_| {}))
    });
    let mut answers = vec![vec![]; jobs.len()];
    written.into_iter().for_each(|(job, of_part)| answers[job].extend(of_part));
    answers
}

/// Whether the matrices of a model that writes so many answers are packed.
///
/// That costs about as much as a token, which pays when every token reads them for several rows.
fn packs(n_answers: usize) -> bool {
    n_answers >= LEAST_ROWS_OF_A_PART
}

/// A model that is to write so many answers.
fn for_many(model: &CausalLm, n_answers: usize) -> Cow<'_, CausalLm> {
    match packs(n_answers) {
        true => Cow::Owned(model.packed()),
        false => Cow::Borrowed(model),
    }
}

/// Samples one answer and shows its tokens so far after each one.
///
/// It is the first answer of [`generate`].
///
/// # Panics
/// If the prompt is empty.
pub fn stream(
    model: &CausalLm,
    prompt: &[u32],
    params: &SamplingParams,
    stops: &Stops,
    rng: &TokenRng,
    mut on_token: impl FnMut(&[u32]),
) -> Generated {
    let decoding = Decoding { params, stops, rng: *rng };
    let answers = decoding.run(model, &[prompt.to_vec()], 1, |answers| on_token(&answers[0].tokens));
    answers.into_iter().next().expect("one prompt has one answer")
}

/// How the rows of a batch are written.
struct Decoding<'a> {
    params: &'a SamplingParams,
    stops: &'a Stops,
    rng: TokenRng,
}

impl Decoding<'_> {
    fn run(
        &self,
        model: &CausalLm,
        prompts: &[Vec<u32>],
        n_samples: usize,
        mut on_position: impl FnMut(&[Generated]),
    ) -> Vec<Generated> {
        let &Self { params, stops, rng } = self;
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
                    let seen = [prompts[row / n_samples].as_slice(), &answer.tokens];
                    let (token, logprob) = draw(logits, params, &seen, || rng.uniform(row, position));
                    answer.tokens.push(token);
                    answer.logprobs.push(logprob);
                    answer.finished = stops.end(&answer.tokens);
                }
                last.push(*answer.tokens.last().expect("a token was just drawn"));
            }
            on_position(&answers);
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
}

fn to_host(logits: Tensor<2>) -> Vec<f32> {
    logits.into_data().convert::<f32>().try_to_vec().expect("logits are floats")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_halved_unless_they_become_too_small_or_stay_too_large() {
        for (n_prompts, n_samples, expected) in [
            (16, 1, 8),
            (15, 1, 8),
            (9, 1, 8),
            (64, 1, 32),
            (1000, 1, 64),
            (2, 4, 2),
            (16, 4, 8),
            (32, 8, 8),
            (3, 100, 1),
        ] {
            assert_eq!(prompts_of_a_part(n_prompts, n_samples, true), expected, "{n_prompts} x {n_samples}");
        }
        // One large batch where one has the whole device.
        assert_eq!(prompts_of_a_part(32, 8, false), 32);
    }
}
