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

/// The divergence KL(π_ref‖π) of every pair of distributions, in nats.
///
/// # Shapes
/// - `logprobs`, `reference_logprobs`: `[n, n_classes]`, log-probabilities
/// - returns: `[n]`
pub fn forward_divergence(logprobs: Tensor<2>, reference_logprobs: Tensor<2>) -> Tensor<1> {
    let log_ratio = reference_logprobs.clone() - logprobs;
    (reference_logprobs.exp() * log_ratio).sum_dim(1).squeeze_dim(1)
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

    /// The gradient for the logits is π − π_ref, so there is none where the two agree.
    #[test]
    fn the_forward_divergence_and_its_gradient() {
        let device = Device::default().autodiff();
        let reference = [0.5f32, 0.3, 0.2];
        let policies = [[0.2, 0.2, 0.6], reference];
        let logits = Tensor::<2>::from_data(policies.map(|row| row.map(f32::ln)), &device).require_grad();
        let logprobs = burn::tensor::activation::log_softmax(logits.clone(), 1);
        let reference_logprobs = Tensor::from_data([reference.map(f32::ln); 2], &device);
        let divergences = forward_divergence(logprobs, reference_logprobs);
        let found = divergences.clone().into_data().try_to_vec::<f32>().unwrap();
        // 0.5 ln(0.5/0.2) + 0.3 ln(0.3/0.2) + 0.2 ln(0.2/0.6)
        assert!((found[0] - 0.360_062_5).abs() < 1e-6 && found[1].abs() < 1e-6, "{found:?}");
        let gradient = logits.grad(&divergences.sum().backward()).unwrap();
        let gradient = gradient.into_data().try_to_vec::<f32>().unwrap();
        for (found, (p, q)) in gradient.iter().zip(policies.iter().flat_map(|row| row.iter().zip(reference)))
        {
            assert!((found - (p - q)).abs() < 1e-6, "{gradient:?}");
        }
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
