//! From the logits of a position to one token.

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
    if !logits.iter().any(|logit| logit.is_finite()) || logits.iter().any(|logit| logit.is_nan()) {
        return (0, f32::NAN);
    }
    let greedy = params.temperature == 0.0;
    let temperature = if greedy { 1.0 } else { params.temperature as f32 };
    let penalised = penalise(logits, params.repetition_penalty as f32, seen);
    let own = Weights::new(logits, temperature);
    let weights = penalised.as_deref().map(|logits| Weights::new(logits, temperature));
    let weights = weights.as_ref().unwrap_or(&own);
    let token = match greedy {
        true => weights.best,
        false if params.keeps_all(logits.len()) => {
            pick(weights.values.iter().copied(), weights.total * uniform())
        }
        false => {
            let kept = weights.kept(params);
            let total: f64 = kept.iter().map(|&token| f64::from(weights.values[token])).sum();
            kept[pick(kept.iter().map(|&token| weights.values[token]), total * uniform())]
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

/// Probabilities before they are divided by their sum.
struct Weights {
    values: Vec<f32>,
    total: f64,
    best: usize,
    highest: f32,
}

impl Weights {
    fn new(logits: &[f32], temperature: f32) -> Self {
        let (best, highest) = logits
            .iter()
            .enumerate()
            .fold((0, f32::NEG_INFINITY), |best, (i, &z)| if z > best.1 { (i, z) } else { best });
        let values: Vec<f32> = logits.iter().map(|&z| ((z - highest) / temperature).exp()).collect();
        let total = values.iter().map(|&value| f64::from(value)).sum();
        Self { values, total, best, highest }
    }

    /// The tokens that are left, the most probable first.
    fn kept(&self, params: &SamplingParams) -> Vec<usize> {
        let by_weight = |a: &usize, b: &usize| self.values[*b].total_cmp(&self.values[*a]);
        let mut order: Vec<usize> = (0..self.values.len()).collect();
        if params.top_k > 0 && params.top_k < order.len() {
            order.select_nth_unstable_by(params.top_k - 1, by_weight);
            order.truncate(params.top_k);
        }
        order.sort_by(by_weight);
        if params.top_p < 1.0 {
            let total: f64 = order.iter().map(|&token| f64::from(self.values[token])).sum();
            let mut sum = 0.0;
            let enough = order.iter().position(|&token| {
                sum += f64::from(self.values[token]);
                sum >= params.top_p * total
            });
            order.truncate(enough.map_or(order.len(), |last| last + 1));
        }
        // The most probable token has weight 1.
        order.retain(|&token| f64::from(self.values[token]) >= params.min_p);
        order
    }
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
