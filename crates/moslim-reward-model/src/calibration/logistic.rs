//! Logistic functions that neither overflow nor lose their tails.

/// `1 / (1 + e^−x)`.
pub(crate) fn sigmoid(x: f64) -> f64 {
    if x >= 0.0 {
        (1.0 + (-x).exp()).recip()
    } else {
        let e = x.exp();
        e / (1.0 + e)
    }
}

/// `ln(1 + e^x)`, which is `−ln sigmoid(−x)`.
pub(crate) fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

/// `ln softmax(logits)`, `[K]`.
pub(crate) fn log_softmax(logits: &[f64]) -> Vec<f64> {
    // Beyond 1e300 the difference of two logits could be infinite, and so could a product before.
    let bounded = || logits.iter().map(|logit| logit.clamp(-1e300, 1e300));
    let largest = bounded().fold(f64::NEG_INFINITY, f64::max);
    let ln_sum = bounded().map(|logit| (logit - largest).exp()).sum::<f64>().ln();
    bounded().map(|logit| logit - largest - ln_sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-14 * expected.abs(), "{found} {expected}");
    }

    /// Computed with mpmath in 30 digits.
    #[test]
    fn tails_are_exact() {
        assert_close(sigmoid(-40.0), 4.24835425529159e-18);
        assert_close(sigmoid(1.5), 0.817574476193644);
        assert_close(softplus(-40.0), 4.24835425529159e-18);
        assert_close(softplus(1.5), 1.70141327798275);
        assert_eq!((sigmoid(1e30), sigmoid(-1e30), softplus(1e30), softplus(-1e30)), (1.0, 0.0, 1e30, 0.0));
    }

    #[test]
    fn a_constant_added_to_all_logits_changes_nothing() {
        for (found, expected) in log_softmax(&[1e15, 1e15 + 2.0]).iter().zip(log_softmax(&[0.0, 2.0])) {
            assert_close(*found, expected);
        }
        assert_close(log_softmax(&[0.0, 3f64.ln()])[0], 0.25f64.ln());
        assert_eq!(log_softmax(&[f64::MAX, f64::MIN]), [0.0, -2e300]);
    }
}
