//! SteerLM 2.0 ([Wang et al. 2024](https://arxiv.org/abs/2406.08673), section 5.2): a model that writes what a classifier of attributes
//! takes for the attributes asked for.
//!
//! The aim is `P(y|a, x) ∝ P(a|x, y) P(y|x)`: P(a|x, y) is the classifier, P(y|x) a model that knows of no attributes.
//! Of n answers sampled from a first conditional model Q', each is weighed by how much more the aim has of it than Q':
//! `∇L ≈ −Σ_i (w'_i − b'_i) ∇ log Q(y_i|a, x)`.

use burn::tensor::{Tensor, TensorData};
use moslim_data::Request;

use crate::BaselineError;
use crate::error::{check_finite, check_length, whole_level};

/// `log P(a|x, y) = Σ_i log p_i[a_i]` over the objectives asked for, taken as independent given the answer.
///
/// # Shapes
/// - `probabilities`: of every level of every objective, `[n_objectives][n_levels]`
///
/// # Errors
/// If the request has not one entry per objective, asks for a level between two, or a probability is not above 0 and at most 1.
///
/// ```
/// use moslim_baselines::attribute_logprob;
/// use moslim_data::Request;
/// let request = Request { levels: vec![Some(1.0), None, Some(0.0)] };
/// let probabilities = [vec![0.5, 0.5], vec![0.9, 0.1], vec![0.25, 0.75]];
/// assert_eq!(attribute_logprob(&probabilities, &request)?, 0.5f64.ln() + 0.25f64.ln());
/// # Ok::<(), moslim_baselines::BaselineError>(())
/// ```
pub fn attribute_logprob(probabilities: &[Vec<f64>], request: &Request) -> Result<f64, BaselineError> {
    check_length("levels of the request", request.levels.len(), probabilities.len())?;
    let asked = request.levels.iter().zip(probabilities).enumerate();
    let logprobs = asked.filter_map(|(objective, (level, probabilities))| {
        let level = whole_level(objective, (*level)?, probabilities.len());
        Some(level.and_then(|level| match probabilities[level] {
            probability if probability > 0.0 && probability <= 1.0 => Ok(probability.ln()),
            found => {
                Err(BaselineError::Number { what: "probability", found, expected: "above 0 and at most 1" })
            }
        }))
    });
    logprobs.sum()
}

/// What the answers to one prompt weigh.
#[derive(Clone, Debug, PartialEq)]
pub struct SteerWeights {
    /// w', what the aim has of every answer; they sum to 1. `[n]`
    pub target: Vec<f64>,
    /// b', what the model in training has of every answer; they sum to 1. `[n]`
    pub baseline: Vec<f64>,
}

impl SteerWeights {
    /// `w' = softmax_i(log P(a|x, y_i) + log P(y_i|x) − log Q'(y_i|a, x))` and `b' = softmax_i(log Q(y_i|a, x) − log Q'(y_i|a, x))`.
    ///
    /// Both are self-normalised importance weights of answers sampled from Q', so w' − b' sums to 0, and is 0 where Q is the aim.
    ///
    /// # Shapes
    /// - `attributes`: log P(a|x, y), `prior`: log P(y|x), `proposal`: log Q'(y|a, x), `policy`: log Q(y|a, x), each `[n]`
    ///
    /// # Errors
    /// If there is no answer, there are not as many of each, or one is infinite or no number.
    pub fn new(
        attributes: &[f64],
        prior: &[f64],
        proposal: &[f64],
        policy: &[f64],
    ) -> Result<Self, BaselineError> {
        if attributes.is_empty() {
            return Err(BaselineError::Empty { what: "answers" });
        }
        for logprobs in [attributes, prior, proposal, policy] {
            check_length("log-probabilities", logprobs.len(), attributes.len())?;
            check_finite("log-probability", logprobs)?;
        }
        let target = (0..attributes.len()).map(|i| attributes[i] + prior[i] - proposal[i]);
        let baseline = policy.iter().zip(proposal).map(|(policy, proposal)| policy - proposal);
        Ok(Self { target: softmax(target.collect()), baseline: softmax(baseline.collect()) })
    }

    /// w' − b', the factor of `∇ log Q(y_i|a, x)` in the ascent. `[n]`
    pub fn coefficients(&self) -> Vec<f64> {
        self.target.iter().zip(&self.baseline).map(|(target, baseline)| target - baseline).collect()
    }

    /// KL(w'‖b') in nats: how far the model is from the aim, on these answers.
    pub fn divergence(&self) -> f64 {
        let terms = self.target.iter().zip(&self.baseline).filter(|(target, _)| **target > 0.0);
        terms.map(|(target, baseline)| target * (target / baseline.max(f64::MIN_POSITIVE)).ln()).sum()
    }
}

/// `−Σ_i (w'_i − b'_i) log Q(y_i|a, x)`, whose gradient is that of the divergence of the aim from the model; none flows into w' and b'.
///
/// # Shapes
/// - `logprobs`: log Q(y|a, x) of whole answers, `[n]`; `coefficients`: w' − b', `[n]`
/// - returns: `[1]`
///
/// # Panics
/// If there is not one coefficient per answer.
pub fn steerlm2_loss(logprobs: Tensor<1>, coefficients: &[f64]) -> Tensor<1> {
    let [n] = logprobs.dims();
    assert_eq!(coefficients.len(), n, "one coefficient per answer");
    let coefficients: Vec<f32> = coefficients.iter().map(|&coefficient| coefficient as f32).collect();
    let coefficients = Tensor::<1>::from_data(TensorData::new(coefficients, [n]), &logprobs.device());
    (logprobs * coefficients).sum().neg()
}

fn softmax(logits: Vec<f64>) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = logits.into_iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use burn::tensor::activation::log_softmax;

    use super::*;

    #[track_caller]
    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        assert!(
            found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
            "{found:?} instead of {expected:?}"
        );
    }

    #[test]
    fn weights_are_those_of_bayes() {
        let ln = |values: [f64; 2]| values.map(f64::ln);
        // P(a|y) P(y) / Q' = 0.8 · 0.5 / 0.5 and 0.2 · 0.5 / 0.25; Q/Q' = 1 and 2.
        let weights =
            SteerWeights::new(&ln([0.8, 0.2]), &ln([0.5; 2]), &ln([0.5, 0.25]), &ln([0.5, 0.5])).unwrap();
        assert_close(&weights.target, &[2.0 / 3.0, 1.0 / 3.0]);
        assert_close(&weights.baseline, &[1.0 / 3.0, 2.0 / 3.0]);
        assert_close(&weights.coefficients(), &[1.0 / 3.0, -1.0 / 3.0]);
        assert_close(&[weights.divergence()], &[2f64.ln() / 3.0]);
        // Log-probabilities of long answers do not overflow.
        let long = SteerWeights::new(&[-1.0, -2.0], &[-3000.0; 2], &[-2000.0; 2], &[-2500.0; 2]).unwrap();
        assert_close(&long.target, &[1.0 / (1.0 + (-1f64).exp()), 1.0 / (1.0 + 1f64.exp())]);
    }

    #[test]
    fn a_model_that_is_the_aim_is_left_alone() {
        let (attributes, prior, proposal) = ([-0.3, -1.2, -2.0], [-4.0, -6.0, -5.0], [-4.5, -5.0, -5.5]);
        let aim: Vec<f64> = attributes.iter().zip(prior).map(|(a, p)| a + p + 0.7).collect();
        let weights = SteerWeights::new(&attributes, &prior, &proposal, &aim).unwrap();
        assert_close(&weights.coefficients(), &[0.0; 3]);
        assert!(weights.divergence().abs() < 1e-12);
    }

    /// Where an answer is a choice of three, the gradient for the logits is that of KL(P‖Q) with every answer sampled once.
    #[test]
    fn the_gradient_is_the_sum_of_weighted_ones() {
        let device = Device::default().autodiff();
        let logits = Tensor::<2>::from_data([[0.3f32, -0.2, 0.9]], &device).require_grad();
        let logprobs = log_softmax(logits.clone(), 1).reshape([3]);
        let policy: Vec<f64> = logprobs.clone().into_data().iter::<f64>().collect();
        let (attributes, prior) =
            ([0.7f64.ln(), 0.2f64.ln(), 0.4f64.ln()], [0.2f64.ln(), 0.5f64.ln(), 0.3f64.ln()]);
        // All answers once is a sample from the uniform proposal.
        let weights = SteerWeights::new(&attributes, &prior, &[3f64.recip().ln(); 3], &policy).unwrap();
        let loss = steerlm2_loss(logprobs, &weights.coefficients());
        let gradient: Vec<f64> = logits.grad(&loss.backward()).unwrap().into_data().iter::<f64>().collect();
        let sum = 0.7 * 0.2 + 0.2 * 0.5 + 0.4 * 0.3;
        let aim = [0.14 / sum, 0.1 / sum, 0.12 / sum];
        // d KL(P‖Q) / d logit = q − p.
        let expected: Vec<f64> = policy.iter().zip(aim).map(|(q, p)| q.exp() - p).collect();
        assert_close(&gradient, &expected);
    }

    #[test]
    fn what_is_no_log_probability_is_refused() {
        assert!(SteerWeights::new(&[], &[], &[], &[]).is_err());
        assert!(SteerWeights::new(&[0.0], &[0.0], &[0.0], &[]).is_err());
        assert!(SteerWeights::new(&[0.0], &[0.0], &[f64::NEG_INFINITY], &[0.0]).is_err());
        let logprob = |probabilities: &[f64], level| {
            attribute_logprob(&[probabilities.to_vec()], &Request { levels: vec![level] })
        };
        assert_eq!(logprob(&[0.0, 1.0], None), Ok(0.0));
        assert_eq!(logprob(&[0.0, 1.0], Some(1.0)), Ok(0.0));
        assert!(logprob(&[0.0, 1.0], Some(0.0)).is_err() && logprob(&[f64::NAN; 2], Some(0.0)).is_err());
        assert!(logprob(&[0.5; 2], Some(2.0)).is_err() && logprob(&[0.5; 2], Some(0.5)).is_err());
        assert!(attribute_logprob(&[], &Request { levels: vec![None] }).is_err());
    }
}
