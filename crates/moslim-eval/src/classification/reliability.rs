//! Whether a head is as often right as it is confident.

use serde::Serialize;

/// The number of equal-width bins of confidence, as in [Guo et al. 2017](https://arxiv.org/abs/1706.04599).
const N_RELIABILITY_BINS: usize = 15;

/// The answers whose most probable class has a probability in one fifteenth of 0..1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ReliabilityBin {
    /// The number of answers.
    pub n: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share of them whose predicted level is the label.
    pub accuracy: f64,
}

/// Counts of answers by their confidence.
#[derive(Default)]
pub(super) struct ReliabilityBins([Sums; N_RELIABILITY_BINS]);

#[derive(Clone, Copy, Default)]
struct Sums {
    n: usize,
    confidence: f64,
    hits: f64,
}

impl ReliabilityBins {
    pub(super) fn add(&mut self, confidence: f64, is_hit: bool) {
        let bin = (confidence * N_RELIABILITY_BINS as f64) as usize;
        let sums = &mut self.0[bin.min(N_RELIABILITY_BINS - 1)];
        sums.n += 1;
        sums.confidence += confidence;
        sums.hits += f64::from(is_hit);
    }

    /// Empty bins are left out.
    pub(super) fn filled(&self) -> Vec<ReliabilityBin> {
        let filled = self.0.iter().filter(|sums| sums.n > 0);
        filled
            .map(|&Sums { n, confidence, hits }| ReliabilityBin {
                n,
                confidence: confidence / n as f64,
                accuracy: hits / n as f64,
            })
            .collect()
    }

    pub(super) fn expected_calibration_error(&self) -> f64 {
        let n: usize = self.0.iter().map(|sums| sums.n).sum();
        // n_b |accuracy_b − confidence_b|, where the sums are n_b times the means.
        let gap: f64 = self.0.iter().map(|sums| (sums.hits - sums.confidence).abs()).sum();
        gap / n as f64
    }
}
