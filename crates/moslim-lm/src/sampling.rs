//! From the logits of a position to one token.

use moslim_kernels::{SoftmaxWeights, softmax_weights};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

/// How tokens are drawn, in the words and the order of transformers: the repetition penalty changes the logits, the
/// temperature divides them, then `top_k`, `top_p` and `min_p` take tokens away one after the other.
///
/// [`Default`] is the model's own distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SamplingParams {
    /// Divides the logits; 0 takes the most probable token.
    pub temperature: f64,
    /// Keeps so many of the most probable tokens; 0 keeps all.
    #[serde(default)]
    pub top_k: usize,
    /// Keeps the smallest set of tokens with at least this probability; 1 keeps all.
    #[serde(default = "one")]
    pub top_p: f64,
    /// Keeps tokens with at least this share of the probability of the most probable one; 0 keeps all.
    #[serde(default)]
    pub min_p: f64,
    /// Divides the positive logits of tokens that stand in the prompt or the answer and multiplies the negative ones
    /// ([Keskar et al. 2019](https://arxiv.org/abs/1909.05858)); 1 for none.
    #[serde(default = "one")]
    pub repetition_penalty: f64,
    /// The longest answer, in tokens, end token included.
    pub max_new_tokens: usize,
}

fn one() -> f64 {
    1.0
}

impl Default for SamplingParams {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: 0,
            top_p: 1.0,
            min_p: 0.0,
            repetition_penalty: 1.0,
            max_new_tokens: 128,
        }
    }
}

/// Temperatures and penalties that do not take logits out of the range of 32-bit numbers.
const SCALES: std::ops::RangeInclusive<f64> = 1e-6..=1e6;

/// The longest answer that is believed.
const MOST_NEW_TOKENS: usize = 1 << 20;

impl SamplingParams {
    /// Checks that every setting is in its range.
    ///
    /// # Errors
    /// The name of the setting, what was found and what was expected, as one sentence.
    pub fn check(&self) -> Result<(), String> {
        let Self { temperature, top_p, min_p, repetition_penalty, max_new_tokens, .. } = *self;
        let checks = [
            (
                "temperature",
                temperature,
                temperature == 0.0 || SCALES.contains(&temperature),
                "0, or from 1e-6 to 1e6",
            ),
            ("top_p", top_p, top_p > 0.0 && top_p <= 1.0, "above 0 and at most 1"),
            ("min_p", min_p, (0.0..=1.0).contains(&min_p), "from 0 to 1"),
            (
                "repetition_penalty",
                repetition_penalty,
                SCALES.contains(&repetition_penalty),
                "from 1e-6 to 1e6",
            ),
            (
                "max_new_tokens",
                max_new_tokens as f64,
                (1..=MOST_NEW_TOKENS).contains(&max_new_tokens),
                "from 1 to 1048576",
            ),
        ];
        match checks.into_iter().find(|(_, _, is_in_range, _)| !is_in_range) {
            Some((name, found, _, expected)) => Err(format!("{name}: found {found}, expected {expected}")),
            None => Ok(()),
        }
    }

    /// Whether every token keeps the probability that the model gives it at the temperature.
    pub(crate) fn keeps_all(&self, vocabulary: usize) -> bool {
        (self.top_k == 0 || self.top_k >= vocabulary) && self.top_p >= 1.0 && self.min_p == 0.0
    }
}

/// Uniform numbers addressed by row and position, so that a draw does not depend on the rest of the batch.
#[derive(Clone, Copy, Debug)]
pub struct TokenRng {
    key: [u8; 32],
    first_row: usize,
}

impl TokenRng {
    /// Independent numbers for every pair of a seed and a stream, such as a training step.
    pub fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        key[8..16].copy_from_slice(&stream.to_le_bytes());
        Self { key, first_row: 0 }
    }

    /// The numbers from another row on: those with which a part of a batch is written again by itself.
    #[must_use]
    pub fn from_row(self, row: usize) -> Self {
        Self { first_row: self.first_row + row, ..self }
    }

    /// The number for a position of a row, in `[0, 1)`.
    pub fn uniform(&self, row: usize, position: usize) -> f64 {
        let mut rng = ChaCha8Rng::from_seed(self.key);
        rng.set_stream((self.first_row + row) as u64);
        // Two 32-bit words make one number.
        rng.set_word_pos(2 * position as u128);
        rng.random()
    }
}

/// Chooses a token from logits; returns it and its log-probability under the model at the temperature (at 1 for greedy).
///
/// `seen` are the tokens that the repetition penalty is for; it does not touch the log-probability.
pub(crate) fn draw(
    logits: &[f32],
    params: &SamplingParams,
    seen: &[&[u32]],
    uniform: impl FnOnce() -> f64,
) -> (u32, f32) {
    // A model that is broken gives no distribution; what it then says is its first token, certain of nothing.
    // Both are asked of every logit, which is many times faster than to stop at the first one.
    let (any_finite, any_nan) =
        logits.iter().fold((false, false), |(finite, nan), z| (finite | z.is_finite(), nan | z.is_nan()));
    if !any_finite || any_nan {
        return (0, f32::NAN);
    }
    let greedy = params.temperature == 0.0;
    let temperature = if greedy { 1.0 } else { params.temperature as f32 };
    let penalised = penalise(logits, params.repetition_penalty as f32, seen);
    let own = softmax_weights(logits, temperature);
    let softmax = penalised.as_deref().map(|logits| softmax_weights(logits, temperature));
    let SoftmaxWeights { weights, total, highest } = softmax.as_ref().unwrap_or(&own);
    let token = match greedy {
        true => {
            let logits = penalised.as_deref().unwrap_or(logits);
            logits.iter().position(|z| z == highest).unwrap_or(0)
        }
        false if params.keeps_all(logits.len()) => pick(weights, total * uniform()),
        false => {
            let kept = kept(weights, params);
            let weights: Vec<f32> = kept.iter().map(|&token| weights[token]).collect();
            let total: f64 = weights.iter().copied().map(f64::from).sum();
            kept[pick(&weights, total * uniform())]
        }
    };
    let logprob = f64::from((logits[token] - own.highest) / temperature) - own.total.ln();
    (token as u32, logprob as f32)
}

/// The logits with the repetition penalty, if there is one.
fn penalise(logits: &[f32], penalty: f32, seen: &[&[u32]]) -> Option<Vec<f32>> {
    (penalty != 1.0).then(|| {
        let mut penalised = logits.to_vec();
        for &token in seen.iter().copied().flatten() {
            let z = logits[token as usize];
            penalised[token as usize] = if z > 0.0 { z / penalty } else { z * penalty };
        }
        penalised
    })
}

/// The tokens that are left, the most probable first.
fn kept(weights: &[f32], params: &SamplingParams) -> Vec<usize> {
    let by_weight = |a: &usize, b: &usize| weights[*b].total_cmp(&weights[*a]);
    let mut order: Vec<usize> = (0..weights.len()).collect();
    if params.top_k > 0 && params.top_k < order.len() {
        order.select_nth_unstable_by(params.top_k - 1, by_weight);
        order.truncate(params.top_k);
    }
    order.sort_by(by_weight);
    if params.top_p < 1.0 {
        let total: f64 = order.iter().map(|&token| f64::from(weights[token])).sum();
        let mut sum = 0.0;
        let enough = order.iter().position(|&token| {
            sum += f64::from(weights[token]);
            sum >= params.top_p * total
        });
        order.truncate(enough.map_or(order.len(), |last| last + 1));
    }
    // The most probable token has weight 1.
    order.retain(|&token| f64::from(weights[token]) >= params.min_p);
    order
}

/// Weights that are added before one of them is looked for.
const BLOCK: usize = 64;

/// The first index at which the running sum exceeds `threshold`; the last index with weight if rounding leaves none.
fn pick(weights: &[f32], threshold: f64) -> usize {
    let mut sum = 0.0;
    for (block, weights) in weights.chunks(BLOCK).enumerate() {
        let after = sum + block_sum(weights);
        if after > threshold {
            for (i, &weight) in weights.iter().enumerate() {
                sum += f64::from(weight);
                if sum > threshold {
                    return block * BLOCK + i;
                }
            }
        }
        sum = after;
    }
    weights.iter().rposition(|&weight| weight > 0.0).unwrap_or(0)
}

/// The sum in eight parts, which do not wait for each other.
fn block_sum(weights: &[f32]) -> f64 {
    let (chunks, rest) = weights.as_chunks::<8>();
    let mut sums = [0.0; 8];
    for chunk in chunks {
        for (sum, &weight) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(weight);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().copied().map(f64::from).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::{Tensor, TensorData};

    const PARAMS: SamplingParams = SamplingParams {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        max_new_tokens: 8,
    };

    /// Probabilities ½, ¼, ¼.
    fn logits() -> [f32; 3] {
        [2f32.ln(), 0.0, 0.0]
    }

    fn token(params: &SamplingParams, u: f64) -> u32 {
        draw(&logits(), params, &[], || u).0
    }

    #[test]
    fn logits_that_are_no_numbers_give_no_probability() {
        for broken in [[f32::NAN, 1.0, 2.0], [f32::NEG_INFINITY; 3], [f32::NAN; 3]] {
            for params in
                [PARAMS, SamplingParams { top_k: 2, ..PARAMS }, SamplingParams { temperature: 0.0, ..PARAMS }]
            {
                let (token, logprob) = draw(&broken, &params, &[], || 0.5);
                assert!(token == 0 && logprob.is_nan(), "{broken:?}");
            }
        }
    }

    #[test]
    fn draws_follow_the_inverse_distribution_function() {
        assert_eq!([0.0, 0.49, 0.51, 0.74, 0.76, 0.999_999].map(|u| token(&PARAMS, u)), [0, 0, 1, 1, 2, 2]);
        assert!((draw(&logits(), &PARAMS, &[], || 0.6).1 - 0.25f32.ln()).abs() < 1e-6);
    }

    /// Over a vocabulary of several blocks, in which some tokens must not be drawn.
    #[test]
    fn every_token_is_drawn_by_the_numbers_that_belong_to_it() {
        let banned = |i: usize| i % 50 == 7 || i >= 497;
        let logit = |i: usize| if banned(i) { f32::NEG_INFINITY } else { (i as f32 * 0.7).sin() * 4.0 };
        let logits: Vec<f32> = (0..500).map(logit).collect();
        let params = SamplingParams { temperature: 0.8, ..PARAMS };
        let weights: Vec<f64> = logits.iter().map(|&z| (f64::from(z) / 0.8).exp()).collect();
        let total: f64 = weights.iter().sum();
        let device = burn::tensor::Device::flex();
        let mut below = 0.0;
        for token in (0..500).filter(|&token| !banned(token)) {
            let (drawn, logprob) = draw(&logits, &params, &[], || (below + weights[token] / 2.0) / total);
            below += weights[token];
            assert_eq!(drawn as usize, token);
            assert!((f64::from(logprob) - (weights[token] / total).ln()).abs() < 1e-5, "{token}");
        }
        // The model's own log-probability, from logits that are the product of 1 and a row.
        let vocabulary = Tensor::<2>::from_data(TensorData::new(logits.clone(), [1, 500]), &device);
        let (logprobs, _) = moslim_kernels::token_logprobs(
            Tensor::ones([1, 1], &device),
            vocabulary.clamp_min(-1e9),
            Tensor::from_ints([123], &device),
            0.8,
        );
        let before: f64 = weights[..123].iter().sum();
        let (drawn, logprob) = draw(&logits, &params, &[], || (before + weights[123] / 2.0) / total);
        assert!(drawn == 123 && (logprob - logprobs.into_scalar::<f32>()).abs() < 1e-5);
        // Rounding may leave a number behind the last token: that is the last one that may be drawn.
        assert_eq!(draw(&logits, &params, &[], || 1.0).0, 496);
    }

    #[test]
    fn temperature_divides_the_logits() {
        // At temperature 1/2 the probabilities are 4 : 1 : 1.
        let params = SamplingParams { temperature: 0.5, ..PARAMS };
        assert_eq!(token(&params, 0.66), 0);
        assert!((draw(&logits(), &params, &[], || 0.9).1 - (1.0f32 / 6.0).ln()).abs() < 1e-6);
        let greedy = SamplingParams { temperature: 0.0, ..PARAMS };
        assert_eq!(draw(&[0.0, 3.0, 1.0], &greedy, &[], || unreachable!("greedy needs no number")).0, 1);
    }

    #[test]
    fn top_p_keeps_the_most_probable() {
        assert_eq!(token(&SamplingParams { top_p: 0.5, ..PARAMS }, 0.999), 0);
        assert_eq!(token(&SamplingParams { top_p: 0.7, ..PARAMS }, 0.999), 1);
    }

    #[test]
    fn top_k_and_min_p_take_tokens_away_one_after_the_other() {
        assert_eq!(token(&SamplingParams { top_k: 1, ..PARAMS }, 0.999), 0);
        assert_eq!(token(&SamplingParams { top_k: 2, ..PARAMS }, 0.999), 1);
        assert_eq!(token(&SamplingParams { top_k: 9, ..PARAMS }, 0.999), 2);
        // The others have half of the highest probability.
        assert_eq!(token(&SamplingParams { min_p: 0.51, ..PARAMS }, 0.999), 0);
        assert_eq!(token(&SamplingParams { min_p: 0.5, ..PARAMS }, 0.999), 2);
        // Of the two that top_k leaves, the first has 2/3.
        assert_eq!(token(&SamplingParams { top_k: 2, top_p: 0.6, ..PARAMS }, 0.999), 0);
        assert_eq!(token(&SamplingParams { top_p: 0.6, ..PARAMS }, 0.999), 1);
        // Filters do not change the reported log-probability.
        let params = SamplingParams { top_k: 1, ..PARAMS };
        assert!((draw(&logits(), &params, &[], || 0.3).1 - 0.5f32.ln()).abs() < 1e-6);
    }

    #[test]
    fn a_repeated_token_loses_whatever_the_sign_of_its_logit() {
        let params = SamplingParams { temperature: 0.0, repetition_penalty: 2.0, ..PARAMS };
        let greedy = |logits: &[f32], seen: &[&[u32]]| draw(logits, &params, seen, || 0.0).0;
        assert_eq!(greedy(&[3.0, 2.0, 1.0], &[]), 0);
        // 3 becomes 1.5, once however often the token was seen.
        assert_eq!(greedy(&[3.0, 2.0, 1.0], &[&[0, 0]]), 1);
        assert_eq!(greedy(&[3.0, 1.4, 1.0], &[&[0], &[0]]), 0);
        // And so it may win.
        assert_eq!(greedy(&[1.0, 4.0, 1.5], &[&[1]]), 1);
        // −1 becomes −2.
        assert_eq!(greedy(&[-1.0, -1.5], &[&[0]]), 1);
    }

    #[test]
    fn settings_out_of_range_are_named() {
        assert_eq!(SamplingParams::default().check(), Ok(()));
        let message = |params: SamplingParams| params.check().unwrap_err();
        assert_eq!(
            message(SamplingParams { top_p: 0.0, ..PARAMS }),
            "top_p: found 0, expected above 0 and at most 1"
        );
        assert!(message(SamplingParams { temperature: f64::NAN, ..PARAMS }).starts_with("temperature"));
        // 32-bit numbers would make 0 of it.
        assert!(message(SamplingParams { temperature: 1e-50, ..PARAMS }).starts_with("temperature"));
        assert!(
            message(SamplingParams { max_new_tokens: usize::MAX, ..PARAMS }).starts_with("max_new_tokens")
        );
        assert!(message(SamplingParams { min_p: 1.5, ..PARAMS }).starts_with("min_p"));
        assert!(
            message(SamplingParams { repetition_penalty: 0.0, ..PARAMS }).starts_with("repetition_penalty")
        );
        assert!(message(SamplingParams { max_new_tokens: 0, ..PARAMS }).starts_with("max_new_tokens"));
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
