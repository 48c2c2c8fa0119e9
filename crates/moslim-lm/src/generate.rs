//! Sampling answers to many prompts.

use std::borrow::Cow;

use burn::tensor::Device;
use moslim_kernels::{in_parallel, splits_batches};

use crate::decoding::Decoding;
use crate::{BYTES_PER_NUMBER, CausalLm, ModelConfig, Precision, SamplingParams, Stops, TokenRng};

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

/// Rows written together, more where one batch has the whole device; more are written in other parts, or wait.
///
/// A batch is halved rather than written with every core at work on each of its small products, unless the halves are too few rows.
const ROWS_OF_A_PART: usize = 64;
const LEAST_ROWS_OF_A_PART: usize = 8;
const ROWS_OF_A_DEVICE: usize = 256;

/// Parts of one job where batches are split; prompts beyond that wait in their part until rows are free.
///
/// The number of cores is not in it, so that parts, and with them the last bits of sums, are the same everywhere.
const MOST_PARTS: usize = 16;

/// How many answers one batch of [`generate`] writes at most on a device.
pub fn rows_at_once(n_samples: usize, device: &Device) -> usize {
    prompts_at_once(n_samples, splits_batches(device)) * n_samples.max(1)
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

/// How many prompts one batch answers at once.
fn prompts_at_once(n_samples: usize, splits_batches: bool) -> usize {
    let rows = if splits_batches { ROWS_OF_A_PART } else { ROWS_OF_A_DEVICE };
    (rows / n_samples.max(1)).max(1)
}

/// How many prompts of a job one part answers, those that wait included.
fn prompts_of_a_part(n_prompts: usize, n_samples: usize, splits_batches: bool) -> usize {
    let n_samples = n_samples.max(1);
    match splits_batches {
        true => {
            let half = n_prompts.div_ceil(2).max(LEAST_ROWS_OF_A_PART.div_ceil(n_samples));
            half.min(prompts_at_once(n_samples, true)).max(n_prompts.div_ceil(MOST_PARTS))
        }
        false => n_prompts.max(1),
    }
}

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
        let size = prompts_of_a_part(<[Vec<u32>]>::len(prompts), n_samples, splits);
        let parts = <[Vec<u32>]>::chunks(prompts, size).enumerate();
        parts.map(move |(index, part)| (job, model, index * size * n_samples, part))
    };
    let packed: Vec<Cow<'_, CausalLm>> =
        jobs.iter().map(|(model, prompts)| for_many(model, prompts.len() * n_samples)).collect();
    let jobs: Vec<(&CausalLm, &[Vec<u32>])> =
        packed.iter().map(AsRef::as_ref).zip(jobs.iter().map(|(_, prompts)| *prompts)).collect();
    let parts: Vec<(usize, &CausalLm, usize, &[Vec<u32>])> =
        jobs.iter().copied().enumerate().flat_map(parts_of).collect();
    let prompts_at_once = prompts_at_once(n_samples, splits);
    let written = in_parallel(&device, parts, |(job, model, first_row, part)| {
        let rng = rng.from_row(first_row);
        let decoding = Decoding { model, params, stops, rng, n_samples, prompts_at_once };
        (job, decoding.run(part, |_| {}))
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
    let decoding = Decoding { model, params, stops, rng: *rng, n_samples: 1, prompts_at_once: 1 };
    let answers = decoding.run(&[prompt.to_vec()], |answers| on_token(&answers[0].tokens));
    answers.into_iter().next().expect("one prompt has one answer")
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
            // Sixteen parts, in which prompts wait.
            (1600, 1, 100),
            (800, 4, 50),
        ] {
            assert_eq!(prompts_of_a_part(n_prompts, n_samples, true), expected, "{n_prompts} x {n_samples}");
        }
        // One part where one batch has the whole device.
        assert_eq!(prompts_of_a_part(1000, 8, false), 1000);
        assert_eq!(prompts_at_once(8, false), 32);
    }
}
