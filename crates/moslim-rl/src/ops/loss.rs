//! Surrogate losses.

use burn::tensor::Tensor;

/// The clipped surrogate loss of every action ([Schulman et al. 2017](https://arxiv.org/abs/1707.06347), eq. 7), before it is averaged.
///
/// `L = max(−ρA, −clip(ρ, 1−ε, 1+ε)A)` with `ρ = π(a|s) / π_old(a|s)`; no gradient flows into `A` or `π_old`.
/// For PPO and GRPO an action is a token.
/// For RLOO an action is a whole answer and its log-probability the sum over its tokens;
/// with one update per rollout ρ is 1 and the gradient is that of REINFORCE.
///
/// # Shapes
/// - all arguments, returns: the same, `[n_responses]` or `[n_responses, n_tokens]`
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// # let constant = |value: f32| Tensor::<1>::from_floats([value], &Device::default());
/// // ρ = e^0.5 is beyond 1.2, and A is positive: the loss is −1.2.
/// let loss = moslim_rl::ops::clipped_surrogate_loss(constant(-1.0), constant(-1.5), constant(1.0), 0.2);
/// assert!((loss.into_scalar::<f32>() + 1.2).abs() < 1e-6);
/// ```
pub fn clipped_surrogate_loss<const D: usize>(
    logprobs: Tensor<D>,
    old_logprobs: Tensor<D>,
    advantages: Tensor<D>,
    clip_range: f64,
) -> Tensor<D> {
    let advantages = advantages.detach();
    let ratio = (logprobs - old_logprobs.detach()).exp();
    let clipped = ratio.clone().clamp(1.0 - clip_range, 1.0 + clip_range);
    (ratio * advantages.clone()).min_pair(clipped * advantages).neg()
}

/// Where the surrogate loss of an action is clipped and has no gradient: 1, elsewhere 0.
///
/// # Shapes
/// As [`clipped_surrogate_loss`].
pub fn is_clipped<const D: usize>(
    logprobs: Tensor<D>,
    old_logprobs: Tensor<D>,
    advantages: Tensor<D>,
    clip_range: f64,
) -> Tensor<D> {
    let ratio = (logprobs - old_logprobs).exp();
    let above =
        ratio.clone().greater_elem(1.0 + clip_range).float() * advantages.clone().greater_elem(0.0).float();
    let below = ratio.lower_elem(1.0 - clip_range).float() * advantages.lower_elem(0.0).float();
    above + below
}

/// PPO's loss of a value estimate, as in OpenAI's code for learning from preferences, before it is averaged.
///
/// `L = ½ max((V − R)², (clip(V, V_old ± ε) − R)²)`; no gradient flows into `V_old` or `R`.
///
/// # Shapes
/// - all arguments, returns: the same
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// # let constant = |value: f32| Tensor::<1>::from_floats([value], &Device::default());
/// // V moved from 0 to 1, of which 0.2 counts: ½ (0.2 − 2)² is more than ½ (1 − 2)².
/// let loss = moslim_rl::ops::clipped_value_loss(constant(1.0), constant(0.0), constant(2.0), 0.2);
/// assert!((loss.into_scalar::<f32>() - 1.62).abs() < 1e-6);
/// ```
pub fn clipped_value_loss<const D: usize>(
    values: Tensor<D>,
    old_values: Tensor<D>,
    returns: Tensor<D>,
    clip_range: f64,
) -> Tensor<D> {
    let clipped = within(values.clone(), old_values, clip_range);
    (values - returns.clone()).square().max_pair((clipped - returns).square()) * 0.5
}

/// Where the clipped value decides the loss of a value estimate: 1, elsewhere 0.
///
/// # Shapes
/// As [`clipped_value_loss`].
pub fn is_value_clipped<const D: usize>(
    values: Tensor<D>,
    old_values: Tensor<D>,
    returns: Tensor<D>,
    clip_range: f64,
) -> Tensor<D> {
    let clipped = (within(values.clone(), old_values, clip_range) - returns.clone()).square();
    clipped.greater((values - returns).square()).float()
}

/// Values, moved from old ones by at most the range.
fn within<const D: usize>(values: Tensor<D>, old_values: Tensor<D>, clip_range: f64) -> Tensor<D> {
    old_values.clone() + (values - old_values).clamp(-clip_range, clip_range)
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
        let constant = |values: [f32; 4]| Tensor::<1>::from_floats(values, &Device::default());
        let arguments = || {
            (
                constant([-1.0, -1.0, -1.5, -1.5]),
                constant([-1.5, -1.5, -1.0, -1.0]),
                constant([1.0, -1.0, 1.0, -1.0]),
            )
        };
        let (logprobs, old_logprobs, advantages) = arguments();
        let loss = clipped_surrogate_loss(logprobs, old_logprobs, advantages, 0.2);
        let loss: Vec<f32> = loss.into_data().try_to_vec().unwrap();
        let (logprobs, old_logprobs, advantages) = arguments();
        let clipped = is_clipped(logprobs, old_logprobs, advantages, 0.2);
        assert_eq!(clipped.into_data().try_to_vec::<f32>().unwrap(), [1.0, 0.0, 0.0, 1.0]);
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
        let constant = |values: [f32; 3]| Tensor::<1>::from_floats(values, &device);
        let (old_logprobs, advantages) = (constant([-1.0, -2.0, -1.5]), constant([3.0, -0.5, 1.0]));
        let loss = clipped_surrogate_loss(logprobs.clone(), old_logprobs, advantages, 0.2);
        let gradient = logprobs.grad(&loss.sum().backward()).unwrap();
        // −A at ρ = 1; nothing beyond the clip.
        assert_eq!(gradient.into_data().try_to_vec::<f32>().unwrap(), [-3.0, 0.5, 0.0]);
    }

    #[test]
    fn a_value_is_pulled_only_as_far_as_the_clip() {
        let device = Device::default().autodiff();
        let values = Tensor::<1>::from_floats([1.0, 0.1, -1.0], &device).require_grad();
        let (old, returns) =
            (Tensor::zeros([3], &device), Tensor::<1>::from_floats([2.0, 2.0, 2.0], &device));
        let clipped = is_value_clipped(values.clone(), old.clone(), returns.clone(), 0.2);
        assert_eq!(clipped.into_data().try_to_vec::<f32>().unwrap(), [1.0, 0.0, 0.0]);
        let loss = clipped_value_loss(values.clone(), old, returns, 0.2);
        // ½(.2 − 2)², ½(.1 − 2)², ½(−1 − 2)² of both, since the larger counts.
        let found: Vec<f32> = loss.clone().into_data().try_to_vec().unwrap();
        assert!(found.iter().zip([1.62, 1.805, 4.5]).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        let gradient = values.grad(&loss.sum().backward()).unwrap();
        let gradient = gradient.into_data().try_to_vec::<f32>().unwrap();
        assert!(gradient.iter().zip([0.0, -1.9, -3.0]).all(|(a, b)| (a - b).abs() < 1e-6), "{gradient:?}");
    }
}
