//! Rows of one batch, written token by token with a key-value cache.
//!
//! Rows that are finished leave the batch, and prompts that wait enter when rows are free: the batch stays full as long as there is work,
//! as in continuous batching ([Yu et al. 2022](https://www.usenix.org/conference/osdi22/presentation/yu)).

use std::ops::Range;

use burn::tensor::Tensor;

use crate::sampling::draw;
use crate::{CausalLm, Generated, KvCache, SamplingParams, Stops, TokenRng};

/// Rows leave and enter when fewer than this share of the batch is still being written, as that copies the cache.
const RENEW_BELOW: f64 = 0.75;

/// How answers are written.
pub(crate) struct Decoding<'a> {
    pub model: &'a CausalLm,
    pub params: &'a SamplingParams,
    pub stops: &'a Stops,
    pub rng: TokenRng,
    /// Answers to every prompt; they enter together and share one reading of it.
    pub n_samples: usize,
    /// Prompts whose answers are written together; more wait.
    pub prompts_at_once: usize,
}

/// Rows that are being written.
struct Batch {
    /// The answer that every row writes.
    rows: Vec<usize>,
    cache: KvCache,
    /// The logits of every row's next token, one row after the other.
    logits: Vec<f32>,
}

impl Decoding<'_> {
    /// The answers to all prompts, those to one together; `on_position` sees them whenever every row of the batch has one token more.
    ///
    /// # Panics
    /// If a prompt is empty.
    pub(crate) fn run(
        &self,
        prompts: &[Vec<u32>],
        mut on_position: impl FnMut(&[Generated]),
    ) -> Vec<Generated> {
        let most_tokens = self.params.max_new_tokens;
        let nothing = Generated { tokens: vec![], logprobs: vec![], finished: false };
        let mut answers = vec![nothing; prompts.len() * self.n_samples];
        if answers.is_empty() || most_tokens == 0 {
            return answers;
        }
        let mut waiting = 0..prompts.len();
        let mut batch = self.opened(prompts, self.entering(&mut waiting, 0));
        loop {
            let last = self.draw(&batch, prompts, &mut answers);
            on_position(&answers);
            let goes_on = |answer: &Generated| !answer.finished && answer.tokens.len() < most_tokens;
            let alive: Vec<usize> =
                (0..batch.rows.len()).filter(|&row| goes_on(&answers[batch.rows[row]])).collect();
            if alive.is_empty() {
                if waiting.is_empty() {
                    return answers;
                }
                batch = self.opened(prompts, self.entering(&mut waiting, 0));
                continue;
            }
            if (alive.len() as f64) >= RENEW_BELOW * batch.rows.len() as f64 {
                batch.logits = self.read(last.chunks(1), &mut batch.cache);
                continue;
            }
            batch.keep(&alive);
            batch.logits = self.read(alive.iter().map(|&row| &last[row..=row]), &mut batch.cache);
            let entering = self.entering(&mut waiting, batch.rows.len());
            if !entering.is_empty() {
                batch.join(self.opened(prompts, entering), most_tokens);
            }
        }
    }

    /// The prompts that find room beside so many rows; they no longer wait.
    fn entering(&self, waiting: &mut Range<usize>, n_rows: usize) -> Range<usize> {
        let free = (self.prompts_at_once * self.n_samples).saturating_sub(n_rows) / self.n_samples;
        let first = waiting.start;
        waiting.start = waiting.end.min(first + free);
        first..waiting.start
    }

    /// A batch of the answers to these prompts, before their first token.
    fn opened(&self, prompts: &[Vec<u32>], entering: Range<usize>) -> Batch {
        let read = &prompts[entering.clone()];
        let longest = read.iter().map(Vec::len).max().expect("somebody enters");
        let mut cache = KvCache::with_capacity(longest + self.params.max_new_tokens);
        let logits = self.read(read.iter().map(Vec::as_slice), &mut cache);
        let rows: Vec<usize> = (entering.start * self.n_samples..entering.end * self.n_samples).collect();
        let prompt_of: Vec<usize> = (0..rows.len()).map(|row| row / self.n_samples).collect();
        cache.select_rows(&prompt_of);
        let vocabulary = logits.len() / read.len();
        let of_prompt = |&prompt: &usize| &logits[prompt * vocabulary..(prompt + 1) * vocabulary];
        let logits = prompt_of.iter().flat_map(of_prompt).copied().collect();
        Batch { rows, cache, logits }
    }

    /// Gives every unfinished answer of the batch its next token; returns the last token of every row.
    fn draw(&self, batch: &Batch, prompts: &[Vec<u32>], answers: &mut [Generated]) -> Vec<u32> {
        let vocabulary = batch.logits.len() / batch.rows.len();
        let rows = batch.rows.iter().zip(batch.logits.chunks(vocabulary));
        let last = rows.map(|(&row, logits)| {
            let answer = &mut answers[row];
            let position = answer.tokens.len();
            if !answer.finished && position < self.params.max_new_tokens {
                let seen = [prompts[row / self.n_samples].as_slice(), &answer.tokens];
                let (token, logprob) = draw(logits, self.params, &seen, || self.rng.uniform(row, position));
                answer.tokens.push(token);
                answer.logprobs.push(logprob);
                answer.finished = self.stops.end(&answer.tokens);
            }
            *answer.tokens.last().expect("a token was just drawn")
        });
        last.collect()
    }

    /// The logits after the last token of every row, one row after the other.
    fn read<'t>(&self, rows: impl Iterator<Item = &'t [u32]>, cache: &mut KvCache) -> Vec<f32> {
        to_host(self.model.last_logits(&rows.collect::<Vec<_>>(), cache))
    }
}

impl Batch {
    /// Leaves out all other rows.
    fn keep(&mut self, rows: &[usize]) {
        self.cache.select_rows(rows);
        self.rows = rows.iter().map(|&row| self.rows[row]).collect();
    }

    /// Takes in another batch, with room for so many tokens.
    fn join(&mut self, entering: Self, room: usize) {
        self.cache.join(entering.cache, room);
        self.rows.extend(entering.rows);
        self.logits.extend(entering.logits);
    }
}

fn to_host(logits: Tensor<2>) -> Vec<f32> {
    logits.into_data().convert::<f32>().try_to_vec().expect("logits are floats")
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use crate::{ModelConfig, Precision};

    use super::*;

    /// Prompts of 1 to 9 tokens, whose answers end by chance.
    #[test]
    fn answers_are_the_same_whoever_waits_and_enters() {
        let config = ModelConfig::small(11, 16, 24, 2, 2);
        let model = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(3), &Device::default());
        let prompts: Vec<Vec<u32>> =
            (0..23).map(|i: u32| (0..1 + i * 5 % 9).map(|k| (i + 3 * k) % 11).collect()).collect();
        let (params, stops) =
            (SamplingParams { max_new_tokens: 17, ..SamplingParams::default() }, Stops::from(vec![4]));
        for (precision, tolerance) in [(Precision::F32, 1e-5), (Precision::Bf16, 0.05)] {
            let model = model.in_precision(precision);
            let written = |prompts: &[Vec<u32>], first: usize, prompts_at_once, n_samples| {
                let rng = TokenRng::new(8, 0).from_row(first * n_samples);
                Decoding { model: &model, params: &params, stops: &stops, rng, n_samples, prompts_at_once }
                    .run(prompts, |_| {})
            };
            for (prompts_at_once, n_samples) in [(1, 1), (2, 3), (5, 1), (5, 2), (23, 2)] {
                let alone: Vec<Generated> = (prompts.iter().enumerate())
                    .flat_map(|(i, prompt)| written(std::slice::from_ref(prompt), i, 1, n_samples))
                    .collect();
                let lengths: Vec<usize> = alone.iter().map(|answer| answer.tokens.len()).collect();
                assert!(lengths.contains(&17) && lengths.iter().any(|&length| length < 4), "{lengths:?}");
                let together = written(&prompts, 0, prompts_at_once, n_samples);
                assert_eq!(together.len(), alone.len());
                for (index, (found, expected)) in together.iter().zip(&alone).enumerate() {
                    let what = format!("{precision:?}, {prompts_at_once} x {n_samples}, answer {index}");
                    assert_eq!(found.tokens, expected.tokens, "{what}");
                    assert_eq!(found.finished, expected.finished, "{what}");
                    for (found, expected) in found.logprobs.iter().zip(&expected.logprobs) {
                        assert!((found - expected).abs() < tolerance, "{what}: {found}, expected {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_batch_is_refilled() {
        let config = ModelConfig::small(11, 16, 24, 1, 2);
        let model = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(3), &Device::default());
        let decoding = |prompts_at_once| {
            let params = SamplingParams { max_new_tokens: 40, ..SamplingParams::default() };
            let stops = Stops::from(vec![4]);
            let rng = TokenRng::new(1, 0);
            let mut positions = 0;
            let answers = Decoding {
                model: &model,
                params: &params,
                stops: &stops,
                rng,
                n_samples: 1,
                prompts_at_once,
            }
            .run(&vec![vec![1, 2]; 64], |_| positions += 1);
            (positions, answers.iter().map(|answer| answer.tokens.len()).sum::<usize>())
        };
        // Lengths are geometric with mean 11, the longest 40: batches of eight that wait for their longest would take over 150 steps.
        let (steps, tokens) = decoding(8);
        let fullness = tokens as f64 / (8 * steps) as f64;
        assert!(fullness > 0.75, "{tokens} tokens in {steps} steps of 8 rows");
    }

    #[test]
    fn an_empty_prompt_is_refused_wherever_it_stands() {
        let config = ModelConfig::small(11, 16, 24, 1, 2);
        let model = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(3), &Device::default());
        for prompts in [vec![vec![], vec![1, 2]], vec![vec![1, 2], vec![]], vec![vec![]]] {
            let written = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                let params = SamplingParams { max_new_tokens: 2, ..SamplingParams::default() };
                crate::generate(&model, &prompts, 1, &params, &Stops::default(), &TokenRng::new(1, 0))
            }));
            assert!(written.is_err(), "{prompts:?}");
        }
    }
}
