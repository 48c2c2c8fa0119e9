//! Softmax over numbers on the host: what sampling needs of logits.

/// Probabilities before they are divided by their sum.
#[derive(Clone, Debug, PartialEq)]
pub struct SoftmaxWeights {
    /// `e^((z - highest) / temperature)` of every logit `z`: 1 for the highest one, and 0 where it would be below 1e-37.
    pub weights: Vec<f32>,
    /// The sum of the weights; the log-sum-exp of the logits is `highest / temperature + ln total`.
    pub total: f64,
    /// The highest logit; −∞ if there is none.
    pub highest: f32,
}

/// The weights of `softmax(logits / temperature)`.
///
/// Numbers on the host and not a tensor: it runs on the calling thread, vectorised with the feature `flex`.
///
/// `temperature` is above 0.
/// A logit of −∞ has weight 0; one that is NaN has the weight NaN, and so has the highest one if it is infinite.
///
/// # Shapes
/// - `logits`, [`SoftmaxWeights::weights`]: the same length
///
/// ```
/// // At temperature 1/2 logits count twice: weights of 1, 1/4 and 0.
/// let softmax = moslim_kernels::softmax_weights(&[2f32.ln(), 0.0, f32::NEG_INFINITY], 0.5);
/// assert!((softmax.weights[1] - 0.25).abs() < 1e-6 && softmax.weights[2] == 0.0);
/// assert!((softmax.total - 1.25).abs() < 1e-6);
/// assert_eq!(softmax.highest, 2f32.ln());
/// ```
pub fn softmax_weights(logits: &[f32], temperature: f32) -> SoftmaxWeights {
    #[cfg(feature = "flex")]
    {
        let mut weights = vec![0.0; logits.len()];
        let (highest, total) = crate::kernels::softmax::softmax_weights(logits, temperature, &mut weights);
        SoftmaxWeights { weights, total, highest }
    }
    #[cfg(not(feature = "flex"))]
    plain(logits, temperature)
}

/// The same with plain loops.
#[cfg(any(test, not(feature = "flex")))]
fn plain(logits: &[f32], temperature: f32) -> SoftmaxWeights {
    let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |&z: &f32| match (z - highest) / temperature {
        below if below < -87.0 => 0.0,
        below => below.exp(),
    };
    let weights: Vec<f32> = logits.iter().map(weight).collect();
    let total = weights.iter().copied().map(f64::from).sum();
    SoftmaxWeights { weights, total, highest }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_those_of_plain_loops_in_f64() {
        for n in [0, 1, 3, 15, 16, 17, 33, 300] {
            for (temperature, scale) in [(1.0, 3.0), (0.3, 80.0), (2.0, 0.0)] {
                let logits: Vec<f32> = (0..n).map(|i| (i as f32 * 0.7).sin() * scale).collect();
                let highest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let exact = |&z: &f32| ((f64::from(z) - f64::from(highest)) / f64::from(temperature)).exp();
                let expected: Vec<f64> = logits.iter().map(exact).collect();
                for found in [softmax_weights(&logits, temperature), plain(&logits, temperature)] {
                    assert_eq!((found.highest, found.weights.len()), (highest, n));
                    for (weight, expected) in found.weights.iter().zip(&expected) {
                        assert!((f64::from(*weight) - expected).abs() < 1e-6 * expected.max(1e-3), "{n}");
                    }
                    let total: f64 = expected.iter().sum();
                    assert!((found.total - total).abs() <= 1e-6 * total, "{n}: {} for {total}", found.total);
                }
            }
        }
    }

    #[test]
    fn what_must_not_be_drawn_weighs_nothing() {
        let mut logits = [0.5; 40];
        // In whole lanes and behind them.
        for i in [3, 38] {
            logits[i] = f32::NEG_INFINITY;
            logits[i + 1] = -1e30;
        }
        for found in [softmax_weights(&logits, 0.7), plain(&logits, 0.7)] {
            let expected: Vec<f32> = logits.iter().map(|&z| if z == 0.5 { 1.0 } else { 0.0 }).collect();
            assert_eq!((found.weights, found.total), (expected, 36.0));
        }
    }

    #[test]
    fn logits_that_are_no_numbers_have_weights_that_are_none() {
        for found in [softmax_weights(&[1.0, f32::NAN], 1.0), plain(&[1.0, f32::NAN], 1.0)] {
            assert!(found.weights[0] == 1.0 && found.weights[1].is_nan() && found.total.is_nan());
            assert_eq!(found.highest, 1.0);
        }
        for infinite in [[f32::INFINITY; 2], [f32::NEG_INFINITY; 2]] {
            for found in [softmax_weights(&infinite, 1.0), plain(&infinite, 1.0)] {
                assert!(found.weights.iter().all(|weight| weight.is_nan()), "{infinite:?}");
            }
        }
    }
}
