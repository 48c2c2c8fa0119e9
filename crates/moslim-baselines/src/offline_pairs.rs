//! Training on pairs of answers that exist already: what DPO, CDPO and MODPO share.

use std::ops::Range;

use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use moslim_lm::{CausalLm, Exchange, Precision, in_parallel, response_logprobs, sum_gradients};

use crate::BaselineError;
use crate::error::check_length;

/// A prompt with the answer that was preferred and the other one, as token ids with their ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AnswerPair<'a> {
    /// What was read.
    pub prompt: &'a [u32],
    /// The preferred answer.
    pub chosen: &'a [u32],
    /// The other one.
    pub rejected: &'a [u32],
}

/// log π(y|x) of the chosen and of the rejected answer of every pair, under a model that does not learn. `[n_pairs][2]`
///
/// # Errors
/// If a prompt or an answer is empty, or the batch size is 0.
pub fn pair_logprobs(
    model: &CausalLm,
    pairs: &[AnswerPair<'_>],
    batch_size: usize,
) -> Result<Vec<[f64; 2]>, BaselineError> {
    check_pairs(pairs, batch_size)?;
    let batches = pairs.chunks(batch_size).collect();
    let of_batch = |batch: &[AnswerPair<'_>]| {
        let [chosen, rejected] =
            sums(model, batch).map(|sums| sums.into_data().iter::<f64>().collect::<Vec<_>>());
        chosen.into_iter().zip(rejected).map(|(chosen, rejected)| [chosen, rejected]).collect::<Vec<_>>()
    };
    Ok(in_parallel(&model.device(), batches, of_batch).concat())
}

/// The mean over all pairs of a loss, and its gradient.
///
/// `loss` is told which pairs it is about, and `log π/π_ref` of their chosen and of their rejected answers, `[n]` each; it returns one
/// loss per pair, `[n]`: `|_, chosen, rejected| PreferenceLoss::Sigmoid.of(chosen - rejected, 0.1)` is DPO.
/// The gradient is computed for `micro_batch_size` pairs at a time, which changes speed and memory, not the result.
///
/// # Shapes
/// - `reference_logprobs`: log π_ref(y|x) of the chosen and of the rejected answer, `[n_pairs][2]`, as [`pair_logprobs`] has them
///
/// # Errors
/// If there is no pair, a prompt or an answer is empty, the micro-batch size is 0, or there is not one reference per pair.
pub fn pair_gradients(
    policy: &CausalLm,
    pairs: &[AnswerPair<'_>],
    reference_logprobs: &[[f64; 2]],
    micro_batch_size: usize,
    precision: Precision,
    loss: impl Fn(Range<usize>, Tensor<1>, Tensor<1>) -> Tensor<1> + Sync,
) -> Result<(GradientsParams, f64), BaselineError> {
    if pairs.is_empty() {
        return Err(BaselineError::Empty { what: "pairs" });
    }
    check_pairs(pairs, micro_batch_size)?;
    check_length("references of pairs", reference_logprobs.len(), pairs.len())?;
    let firsts = (0..pairs.len()).step_by(micro_batch_size);
    let parts = firsts.map(|first| first..(first + micro_batch_size).min(pairs.len())).collect();
    let device = policy.device();
    let (gradients, losses) = sum_gradients(policy, &device, parts, |policy, part: Range<usize>| {
        let [chosen, rejected] = sums(&policy.in_precision(precision), &pairs[part.clone()]);
        let reference = |side: usize| {
            let of_side: Vec<f32> =
                reference_logprobs[part.clone()].iter().map(|pair| pair[side] as f32).collect();
            Tensor::<1>::from_floats(of_side.as_slice(), &device)
        };
        let losses = loss(part.clone(), chosen - reference(0), rejected - reference(1));
        let total = losses.sum() / pairs.len() as f64;
        let value = f64::from(total.clone().into_scalar::<f32>());
        (Some(total), value)
    });
    Ok((gradients, losses.into_iter().sum()))
}

/// log π(y|x) of the chosen and of the rejected answers. `[n_pairs]` each
fn sums(model: &CausalLm, pairs: &[AnswerPair<'_>]) -> [Tensor<1>; 2] {
    // The answers of a pair follow each other, so their prompt is read once.
    let exchanges: Vec<_> = pairs
        .iter()
        .flat_map(|pair| {
            let AnswerPair { prompt, chosen, rejected } = *pair;
            [chosen, rejected].map(|response| Exchange { prompt, response })
        })
        .collect();
    let by_pair = response_logprobs(model, &exchanges, 1.0).logprobs.sum_dim(1).reshape([pairs.len(), 2]);
    [0, 1].map(|side| by_pair.clone().narrow(1, side, 1).squeeze_dim::<1>(1))
}

fn check_pairs(pairs: &[AnswerPair<'_>], batch_size: usize) -> Result<(), BaselineError> {
    if batch_size == 0 {
        return Err(BaselineError::Empty { what: "pairs in a batch" });
    }
    let is_empty =
        |pair: &&AnswerPair<'_>| [pair.prompt, pair.chosen, pair.rejected].iter().any(|ids| ids.is_empty());
    match pairs.iter().find(is_empty) {
        Some(_) => Err(BaselineError::Empty { what: "tokens in a prompt or an answer of a pair" }),
        None => Ok(()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use burn::tensor::Device;
    use moslim_lm::{ModelConfig, Optimizer, OptimizerConfig};
    use moslim_rl::ops::PreferenceLoss;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;

    pub(crate) fn policy(seed: u64) -> CausalLm {
        let config = ModelConfig::small(9, 8, 12, 1, 2);
        CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(seed), &Device::default().autodiff())
    }

    /// Answers of different lengths, of which those with 5 are preferred.
    pub(crate) const PAIRS: [AnswerPair<'static>; 3] = [
        AnswerPair { prompt: &[1, 2], chosen: &[5, 8], rejected: &[3, 4, 8] },
        AnswerPair { prompt: &[2], chosen: &[5, 5, 5, 8], rejected: &[8] },
        AnswerPair { prompt: &[1, 2], chosen: &[5], rejected: &[4] },
    ];

    pub(crate) fn optimizer() -> Optimizer {
        let settings = OptimizerConfig { adam_beta2: 0.95, max_grad_norm: 1e9, ..OptimizerConfig::new(1e-2) };
        Optimizer::new(settings, 100)
    }

    fn dpo(policy: &CausalLm, reference: &[[f64; 2]], micro_batch_size: usize) -> (GradientsParams, f64) {
        let loss =
            |_, chosen: Tensor<1>, rejected: Tensor<1>| PreferenceLoss::Sigmoid.of(chosen - rejected, 0.1);
        pair_gradients(policy, &PAIRS, reference, micro_batch_size, Precision::F32, loss).unwrap()
    }

    #[test]
    fn log_probabilities_are_those_of_single_answers() {
        let model = policy(1);
        let found = pair_logprobs(&model, &PAIRS, 2).unwrap();
        for (pair, found) in PAIRS.iter().zip(found) {
            for (response, found) in [pair.chosen, pair.rejected].into_iter().zip(found) {
                let alone = response_logprobs(&model, &[Exchange { prompt: pair.prompt, response }], 1.0);
                let expected = f64::from(alone.logprobs.sum().into_scalar::<f32>());
                assert!((found - expected).abs() < 1e-5, "{found} instead of {expected}");
            }
        }
    }

    #[test]
    fn the_loss_starts_at_ln_2_and_pairs_are_learned() {
        let mut model = policy(1);
        let reference = pair_logprobs(&model, &PAIRS, 8).unwrap();
        let (whole, parts) = (dpo(&model, &reference, 8), dpo(&model, &reference, 2));
        assert!((whole.1 - 2f64.ln()).abs() < 1e-6 && (parts.1 - whole.1).abs() < 1e-6, "{}", whole.1);
        let norm = |gradients| optimizer().step(model.clone(), gradients).1;
        let (whole, parts) = (norm(whole.0), norm(parts.0));
        assert!((whole - parts).abs() < 1e-5 * whole && whole > 0.0, "{whole} {parts}");

        let mut optimizer = optimizer();
        for _ in 0..20 {
            model = optimizer.step(model.clone(), dpo(&model, &reference, 8).0).0;
        }
        let margin = |before: &[f64; 2], after: &[f64; 2]| (after[0] - after[1]) - (before[0] - before[1]);
        let after = pair_logprobs(&model, &PAIRS, 8).unwrap();
        assert!(reference.iter().zip(&after).all(|(before, after)| margin(before, after) > 0.5), "{after:?}");
    }

    #[test]
    fn pairs_without_tokens_are_refused() {
        let model = policy(1);
        let empty = AnswerPair { rejected: &[], ..PAIRS[0] };
        assert!(pair_logprobs(&model, &[empty], 1).is_err() && pair_logprobs(&model, &PAIRS, 0).is_err());
        assert_eq!(pair_logprobs(&model, &[], 1), Ok(vec![]));
        let gradients = |pairs: &[AnswerPair<'_>], reference: &[[f64; 2]], size| {
            pair_gradients(&model, pairs, reference, size, Precision::F32, |_, chosen, _| chosen)
                .map(|(_, loss)| loss)
        };
        assert!(gradients(&[], &[], 1).is_err() && gradients(&[empty], &[[0.0; 2]], 1).is_err());
        assert!(
            gradients(&PAIRS, &[[0.0; 2]; 2], 1).is_err() && gradients(&PAIRS, &[[0.0; 2]; 3], 0).is_err()
        );
        assert!(gradients(&PAIRS, &[[0.0; 2]; 3], 1).is_ok());
    }
}
