//! The normal distribution, accurate in its tails.

use std::f64::consts::{FRAC_1_SQRT_2, PI};

/// From here on the continued fraction converges quickly; up to here `1 − erf` loses few digits.
const TAIL: f64 = 2.0;

/// Levels of the continued fraction; enough for 1e-15 at [`TAIL`].
const DEPTH: usize = 60;

/// `ln(Φ(high) − Φ(low))` for `low <= high`, either of them possibly infinite.
pub(crate) fn ln_interval(low: f64, high: f64) -> f64 {
    if low >= 0.0 {
        ln_difference(ln_upper(low), ln_upper(high))
    } else if high <= 0.0 {
        ln_difference(ln_upper(-high), ln_upper(-low))
    } else {
        (1.0 - ln_upper(high).exp() - ln_upper(-low).exp()).ln()
    }
}

/// `ln φ(x)`, the density.
pub(crate) fn ln_density(x: f64) -> f64 {
    -0.5 * x * x - 0.5 * (2.0 * PI).ln()
}

/// `ln(e^larger − e^smaller)`.
fn ln_difference(larger: f64, smaller: f64) -> f64 {
    if smaller == f64::NEG_INFINITY { larger } else { larger + (-(smaller - larger).exp()).ln_1p() }
}

/// `ln(1 − Φ(x))` for `x >= 0`: `1 − Φ(x) = erfc(x/√2) / 2`.
fn ln_upper(x: f64) -> f64 {
    let z = x * FRAC_1_SQRT_2;
    if z < TAIL { (0.5 * (1.0 - erf(z))).ln() } else { -z * z + (0.5 * scaled_erfc(z)).ln() }
}

/// `erf(x) = 2/√π · e^−x² · Σ_n 2ⁿ x^(2n+1) / (1·3·…·(2n+1))`, whose terms do not cancel (Abramowitz and
/// Stegun 1964, 7.1.6).
fn erf(x: f64) -> f64 {
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term > sum * 1e-17 {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    2.0 / PI.sqrt() * (-x * x).exp() * sum
}

/// `e^x² erfc(x) = 1/√π · 1/(x + ½/(x + 1/(x + 3⁄2/(x + …))))` for `x >= `[`TAIL`] (ibid., 7.1.14).
fn scaled_erfc(x: f64) -> f64 {
    let denominator = (1..=DEPTH).rev().fold(x, |below, level| x + 0.5 * level as f64 / below);
    (PI.sqrt() * denominator).recip()
}

#[cfg(test)]
mod tests {
    use super::*;

    const INF: f64 = f64::INFINITY;

    fn assert_close(found: f64, expected: f64) {
        assert!((found - expected).abs() <= 1e-12 * expected.abs(), "{found} {expected}");
    }

    /// Computed with mpmath in 40 digits.
    #[test]
    fn tails_are_exact() {
        for (x, expected) in [
            (0.0, -(2f64.ln())),
            (0.1, -0.776154592730273),
            (1.0, -1.84102164500926),
            (2.8, -5.96965204667521),
            (2.83, -6.06300342546519),
            (3.0, -6.60772622151035),
            (5.0, -15.0649983939887),
            (10.0, -53.2312851505125),
            (38.0, -726.55721601882),
        ] {
            assert_close(ln_interval(x, INF), expected);
            assert_close(ln_interval(-INF, -x), expected);
        }
    }

    /// Computed with mpmath in 40 digits.
    #[test]
    fn intervals_are_exact_on_both_sides() {
        for (low, high, expected) in [
            (-1.0, 2.0, -0.200166294324463),
            (3.0, 4.0, -6.63146778653823),
            (-7.0, -6.0, -20.7380670032825),
            (0.25, 0.75, -1.74487785695592),
            (-40.0, -39.0, -765.083156564378),
            (6.0, 6.001, -25.8296924786036),
        ] {
            assert_close(ln_interval(low, high), expected);
            assert_close(ln_interval(-high, -low), expected);
        }
    }

    #[test]
    fn nothing_is_ever_not_a_number() {
        let bounds = [-INF, f64::MIN, -1e30, -1.0, 0.0, 1e-300, 1.0, 1e30, f64::MAX, INF];
        for (index, &low) in bounds.iter().enumerate() {
            for &high in &bounds[index..] {
                let ln_p = ln_interval(low, high);
                assert!(ln_p <= 0.0, "{low} {high} {ln_p}");
            }
        }
        assert_eq!(ln_interval(-INF, INF), 0.0);
    }
}
