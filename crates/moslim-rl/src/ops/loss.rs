//! Surrogate losses.

use burn::tensor::{Tensor, TensorData};

/// The clipped surrogate loss of every action ([Schulman et al. 2017](https://arxiv.org/abs/1707.06347), eq. 7), before it is averaged.
///
/// `L = max(−ρA, −clip(ρ, 1−ε, 1+ε)A)` with `ρ = π(a|s) / π_old(a|s)`; no gradient flows into `A` or `π_old`.
/// For RLOO an action is a whole answer and its log-probability the sum over its tokens;
/// with one update per rollout ρ is 1 and the gradient is that of REINFORCE.
///
/// # Shapes
/// - all arguments, returns: `[n_actions]`
pub fn clipped_surrogate_loss(
    logprobs: Tensor<1>,
    old_logprobs: &[f64],
    advantages: &[f64],
    clip_range: f64,
) -> Tensor<1> {
    let device = logprobs.device();
    let constant = |values: &[f64]| {
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        let n_actions = values.len();
        Tensor::<1>::from_data(TensorData::new(values, [n_actions]), &device)
    };
    let advantages = constant(advantages);
    let ratio = (logprobs - constant(old_logprobs)).exp();
    let clipped = ratio.clone().clamp(1.0 - clip_range, 1.0 + clip_range);
    (ratio * advantages.clone()).min_pair(clipped * advantages).neg()
}

/// The divergence KL(π_ref‖π) at every token of answers that the reference sampled: `e^ℓ − 1 − ℓ` with `ℓ = log π − log π_ref`.
///
/// Its expectation is the divergence, and so is its gradient's, as for the negative log-likelihood of these answers.
/// But where both policies agree every single gradient is 0, and not only their mean:
/// this is [`KlEstimator::K3`](crate::ops::KlEstimator::K3) with the two policies in each other's place.
///
/// # Shapes
/// - `logprobs`, `reference_logprobs`, returns: the same
pub fn forward_divergence<const D: usize>(logprobs: Tensor<D>, reference_logprobs: Tensor<D>) -> Tensor<D> {
    let log_ratio = logprobs - reference_logprobs;
    log_ratio.clone().exp() - 1.0 - log_ratio
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn values_on_both_sides_of_the_clip() {
        let logprobs = Tensor::from_data([-1.0, -1.0, -1.5, -1.5], &Device::default());
        let loss = clipped_surrogate_loss(logprobs, &[-1.5, -1.5, -1.0, -1.0], &[1.0, -1.0, 1.0, -1.0], 0.2);
        let loss: Vec<f32> = loss.into_data().try_to_vec().unwrap();
        for (found, expected) in loss.iter().zip([-1.2, 1.648721, -0.606531, 0.8]) {
            assert!((found - expected).abs() < 1e-6, "{loss:?}");
        }
    }

    /// The expectation over the reference is the divergence, and its gradient for the logits is π − π_ref.
    #[test]
    fn the_forward_divergence_is_exact_over_a_categorical_distribution() {
        let device = Device::default().autodiff();
        let reference = [0.5f32, 0.3, 0.2];
        let check = |policy: [f32; 3], expected: f64| {
            let logits = Tensor::<1>::from_data(policy.map(f32::ln), &device).require_grad();
            let logprobs = burn::tensor::activation::log_softmax(logits.clone(), 0);
            let divergence = forward_divergence(logprobs, Tensor::from_data(reference.map(f32::ln), &device));
            let mean = (divergence * Tensor::from_data(reference, &device)).sum();
            assert!((f64::from(mean.clone().into_scalar::<f32>()) - expected).abs() < 1e-6);
            let gradient = logits.grad(&mean.backward()).unwrap().into_data().try_to_vec::<f32>().unwrap();
            for ((found, p), q) in gradient.iter().zip(policy).zip(reference) {
                assert!((found - (p - q)).abs() < 1e-6, "{gradient:?}");
            }
        };
        // 0.5 ln(0.5/0.2) + 0.3 ln(0.3/0.2) + 0.2 ln(0.2/0.6)
        check([0.2, 0.2, 0.6], 0.36006252);
        check(reference, 0.0);
    }

    #[test]
    fn the_gradient_is_that_of_reinforce_until_it_is_clipped() {
        let device = Device::default().autodiff();
        let logprobs = Tensor::<1>::from_data([-1.0, -2.0, -1.0], &device).require_grad();
        let loss = clipped_surrogate_loss(logprobs.clone(), &[-1.0, -2.0, -1.5], &[3.0, -0.5, 1.0], 0.2);
        let gradient = logprobs.grad(&loss.sum().backward()).unwrap();
        // −A at ρ = 1; nothing beyond the clip.
        assert_eq!(gradient.into_data().try_to_vec::<f32>().unwrap(), [-3.0, 0.5, 0.0]);
    }
}
