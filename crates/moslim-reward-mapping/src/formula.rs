//! The formulas, for one head: `probabilities` `[n_classes]` and a target level counted from 0.

use crate::Ddof;

/// A quantity that is known at whole levels, taken at any level: linear between the two neighbours.
///
/// For probabilities this is the inner product with the two-hot encoding of the level.
pub(crate) fn interpolate(at_level: impl Fn(usize) -> f64, level: f64) -> f64 {
    let (lower, fraction) = (level.floor() as usize, level.fract());
    if fraction == 0.0 {
        return at_level(lower);
    }
    (1.0 - fraction) * at_level(lower) + fraction * at_level(lower + 1)
}

/// `p[t]`
pub(crate) fn target_probability(probabilities: &[f64], target: f64) -> f64 {
    interpolate(|class| probabilities[class], target)
}

/// `(p[t] − avg) / (std + ε)` with `avg` and `std` over the classes of this head.
pub(crate) fn z_within_head(probabilities: &[f64], target: f64, eps: f64, ddof: Ddof) -> f64 {
    let n_classes = probabilities.len() as f64;
    let avg = probabilities.iter().sum::<f64>() / n_classes;
    let sum_of_squares: f64 = probabilities.iter().map(|p| (p - avg).powi(2)).sum();
    let std = (sum_of_squares / (n_classes - f64::from(u8::from(ddof)))).sqrt();
    (target_probability(probabilities, target) - avg) / (std + eps)
}

/// `E = Σ_c c · p[c]`
pub(crate) fn expected_level(probabilities: &[f64]) -> f64 {
    probabilities.iter().enumerate().map(|(class, p)| class as f64 * p).sum()
}

/// `Σ_c p[c] · |c − t|`
pub(crate) fn expected_abs_error(probabilities: &[f64], target: f64) -> f64 {
    probabilities.iter().enumerate().map(|(class, p)| p * (class as f64 - target).abs()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn between_two_levels_the_target_probability_is_linear() {
        let probabilities = [0.1, 0.3, 0.6];
        assert_eq!(target_probability(&probabilities, 2.0), 0.6);
        assert!((target_probability(&probabilities, 1.25) - 0.375).abs() < 1e-15); // 0.75 · 0.3 + 0.25 · 0.6
    }

    #[test]
    fn expectations_by_hand() {
        let probabilities = [0.25, 0.0, 0.75];
        assert_eq!(expected_level(&probabilities), 1.5);
        assert_eq!(expected_abs_error(&probabilities, 1.5), 0.75); // 0.25 · 1.5 + 0.75 · 0.5
    }
}
