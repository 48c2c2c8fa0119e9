//! How raw outputs become class probabilities.

use serde::{Deserialize, Serialize};

use crate::calibration::logistic::{log_softmax, sigmoid};
use crate::calibration::normal::ln_interval;

/// Turns the raw outputs of one head, `[n_outputs]`, into the probabilities of its ordered levels, `[K]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Readout {
    /// One logit per level: `P = softmax(scale ∘ logits + bias)`, vector scaling (Guo et al. 2017, section
    /// 4.2).
    ///
    /// A temperature T is `scale = 1/T` for all and `bias = 0`.
    Softmax {
        /// `[K]`, per logit.
        scale: Vec<f64>,
        /// `[K]`, in nats.
        bias: Vec<f64>,
    },
    /// One score s: `P(level > c) = σ(slope·s − thresholds[c])`, proportional odds (McCullagh 1980).
    Cumulative {
        /// More than 0, in nats per unit of the score.
        slope: f64,
        /// `[K − 1]`, ascending, in nats.
        thresholds: Vec<f64>,
    },
    /// One predicted level ŷ with a normal error of deviation σ, rounded to the nearest level:
    /// `P(c) = Φ((c + ½ − ŷ)/σ) − Φ((c − ½ − ŷ)/σ)`, the outermost levels open to ±∞.
    Gaussian {
        /// σ, more than 0, in levels.
        deviation: f64,
        /// K.
        n_levels: usize,
    },
}

impl Readout {
    /// The plain softmax of `n_levels` logits.
    pub fn softmax(n_levels: usize) -> Self {
        Self::temperature(1.0, n_levels)
    }

    /// `softmax(logits / temperature)` of `n_levels` logits (Guo et al. 2017, eq. 9).
    pub fn temperature(temperature: f64, n_levels: usize) -> Self {
        Self::Softmax { scale: vec![temperature.recip(); n_levels], bias: vec![0.0; n_levels] }
    }

    /// K.
    pub fn n_levels(&self) -> usize {
        match self {
            Self::Softmax { scale, .. } => scale.len(),
            Self::Cumulative { thresholds, .. } => thresholds.len() + 1,
            Self::Gaussian { n_levels, .. } => *n_levels,
        }
    }

    /// How many numbers the head puts out: K logits, or one score or level.
    pub fn n_outputs(&self) -> usize {
        match self {
            Self::Softmax { scale, .. } => scale.len(),
            Self::Cumulative { .. } | Self::Gaussian { .. } => 1,
        }
    }

    /// The probabilities of the levels, `[K]`: never negative, with sum 1, for all finite `outputs`,
    /// `[n_outputs]`.
    ///
    /// # Panics
    /// There are not [`n_outputs`](Self::n_outputs) outputs.
    pub fn probabilities(&self, outputs: &[f64]) -> Vec<f64> {
        assert_eq!(outputs.len(), self.n_outputs(), "as many outputs as the readout reads");
        let mut probabilities = match self {
            Self::Softmax { scale, bias } => {
                let affine =
                    outputs.iter().zip(scale).zip(bias).map(|((logit, scale), bias)| scale * logit + bias);
                log_softmax(&affine.collect::<Vec<_>>()).into_iter().map(f64::exp).collect()
            }
            Self::Cumulative { slope, thresholds } => proportional_odds(slope * outputs[0], thresholds),
            Self::Gaussian { deviation, n_levels } => {
                let p = |level| {
                    let (low, high) = rounding_interval(level, *n_levels);
                    ln_interval((low - outputs[0]) / deviation, (high - outputs[0]) / deviation).exp()
                };
                (0..*n_levels).map(p).collect::<Vec<_>>()
            }
        };
        let sum: f64 = probabilities.iter().sum();
        probabilities.iter_mut().for_each(|p| *p /= sum);
        probabilities
    }
}

/// The numbers that round to `level`: from half a level below to half a level above, open at the ends of the
/// range.
pub(crate) fn rounding_interval(level: usize, n_levels: usize) -> (f64, f64) {
    let low = if level == 0 { f64::NEG_INFINITY } else { level as f64 - 0.5 };
    let high = if level + 1 == n_levels { f64::INFINITY } else { level as f64 + 0.5 };
    (low, high)
}

/// `P(c) = σ(a) − σ(b)` with `a = position − thresholds[c−1]` and `b = position − thresholds[c]`.
///
/// The difference is computed as `σ(a) σ(−b) (1 − e^(b−a))`, which is exact in both tails.
fn proportional_odds(position: f64, thresholds: &[f64]) -> Vec<f64> {
    // An infinite position minus a finite threshold is no number only if it is clamped too late.
    let position = position.clamp(-1e300, 1e300);
    let p = |level: usize| {
        let below = if level == 0 { f64::NEG_INFINITY } else { thresholds[level - 1] };
        let above = thresholds.get(level).copied().unwrap_or(f64::INFINITY);
        sigmoid(position - below) * sigmoid(above - position) * -(below - above).exp_m1()
    };
    (0..=thresholds.len()).map(p).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (f, e) in found.iter().zip(expected) {
            assert!((f - e).abs() <= 1e-11 * e.abs(), "{found:?} {expected:?}");
        }
    }

    #[test]
    fn softmax_scales_and_shifts_its_logits() {
        let readout = Readout::Softmax { scale: vec![2.0, 1.0, 0.5], bias: vec![0.0, 1.0, 0.0] };
        // Logits ½ ln 2, −1 and 2 ln 5 become ln 2, 0 and ln 5.
        let p = readout.probabilities(&[0.5 * 2f64.ln(), -1.0, 2.0 * 5f64.ln()]);
        assert_close(&p, &[2.0 / 8.0, 1.0 / 8.0, 5.0 / 8.0]);
        assert_close(&Readout::temperature(2.0, 2).probabilities(&[0.0, 2.0 * 3f64.ln()]), &[0.25, 0.75]);
        assert_close(&Readout::softmax(2).probabilities(&[0.0, 3f64.ln()]), &[0.25, 0.75]);
    }

    /// Computed with mpmath in 40 digits.
    #[test]
    fn scores_and_levels_have_exact_tails() {
        let cumulative = Readout::Cumulative { slope: 2.0, thresholds: vec![-1.0, 0.0, 1.5] };
        let low = [1.0, 1.504615332424749e-26, 6.802669113874596e-27, 1.953841648821924e-27];
        let middle = [0.1192029220221176, 0.1497384993478776, 0.3535179098318594, 0.3775406687981454];
        let high = [7.095474162284704e-23, 1.219202431735447e-22, 6.715307265072177e-22, 1.0];
        for (score, expected) in [(-30.0, low), (0.5, middle), (25.0, high)] {
            assert_close(&cumulative.probabilities(&[score]), &expected);
        }
        let gaussian = Readout::Gaussian { deviation: 0.5, n_levels: 3 };
        let below = [0.9999997133484281, 2.8665029206665e-7, 1.279812543885835e-12];
        assert_close(&gaussian.probabilities(&[-2.0]), &below);
        let inside = [0.06680720126885807, 0.624655260005155, 0.3085375387259869];
        assert_close(&gaussian.probabilities(&[1.25]), &inside);
    }

    #[test]
    fn probabilities_are_probabilities_whatever_is_put_in() {
        let readouts = [
            Readout::softmax(4),
            Readout::Softmax { scale: vec![1e300, -1e300, 0.0, 1.0], bias: vec![-1e300, 1e300, 0.0, 1.0] },
            Readout::Cumulative { slope: 2.0, thresholds: vec![-1.0, 0.0, 1e-12] },
            Readout::Cumulative { slope: 1e300, thresholds: vec![-1e300, 0.0, 1e300] },
            Readout::Cumulative { slope: 1e-300, thresholds: vec![] },
            Readout::Gaussian { deviation: 1e-300, n_levels: 4 },
            Readout::Gaussian { deviation: 0.7, n_levels: 4 },
            Readout::Gaussian { deviation: 1e30, n_levels: 4 },
            Readout::Gaussian { deviation: 1.0, n_levels: 1 },
        ];
        let numbers = [0.0, 0.3, 1.5, -2.0, 40.0, 1e30, -1e30, f64::MAX, f64::MIN];
        for readout in &readouts {
            for start in 0..numbers.len() {
                let outputs: Vec<f64> =
                    numbers.iter().cycle().skip(start).take(readout.n_outputs()).copied().collect();
                let p = readout.probabilities(&outputs);
                assert_eq!(p.len(), readout.n_levels());
                assert!(p.iter().all(|p| (0.0..=1.0).contains(p)), "{readout:?} {outputs:?} {p:?}");
                assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{readout:?} {outputs:?} {p:?}");
            }
        }
    }

    #[test]
    fn a_higher_score_makes_higher_levels_more_probable() {
        let cumulative = Readout::Cumulative { slope: 1.3, thresholds: vec![-2.0, -0.1, 0.0, 3.0] };
        for readout in [cumulative, Readout::Gaussian { deviation: 0.6, n_levels: 5 }] {
            for step in -40..40 {
                let [p, q] = [step, step + 1].map(|step| readout.probabilities(&[f64::from(step) / 8.0]));
                for level in 1..5 {
                    let beyond = |p: &[f64]| p[level..].iter().sum::<f64>();
                    assert!(beyond(&q) > beyond(&p), "{readout:?} {step} {level}");
                }
            }
        }
    }

    #[test]
    fn a_file_names_the_kind_and_nothing_unknown() {
        let text = r#"{"cumulative":{"slope":1.5,"thresholds":[-0.5,0.25]}}"#;
        let readout: Readout = serde_json::from_str(text).unwrap();
        assert_eq!(readout, Readout::Cumulative { slope: 1.5, thresholds: vec![-0.5, 0.25] });
        assert_eq!(serde_json::to_string(&readout).unwrap(), text);
        let unknown = r#"{"gaussian":{"deviation":1.0,"n_levels":3,"bias":0}}"#;
        assert!(serde_json::from_str::<Readout>(unknown).is_err());
    }

    #[test]
    #[should_panic(expected = "as many outputs")]
    fn a_score_readout_reads_one_number() {
        Readout::Gaussian { deviation: 1.0, n_levels: 3 }.probabilities(&[0.0; 3]);
    }
}
