//! Whether a head is as often right as it is confident.

use moslim_data::Level;
use serde::Serialize;

use super::most_probable;
use crate::stats::mean;

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

/// Empty bins are left out.
pub(super) fn reliability(probabilities: &[Vec<f64>], labels: &[Level]) -> Vec<ReliabilityBin> {
    let mut bins = vec![(Vec::new(), Vec::new()); N_RELIABILITY_BINS];
    for (row, &label) in probabilities.iter().zip(labels) {
        let predicted = most_probable(row);
        let bin = (row[predicted] * N_RELIABILITY_BINS as f64) as usize;
        let (confidences, hits) = &mut bins[bin.min(N_RELIABILITY_BINS - 1)];
        confidences.push(row[predicted]);
        hits.push(f64::from(predicted == label));
    }
    (bins.iter())
        .filter(|(confidences, _)| !confidences.is_empty())
        .map(|(confidences, hits)| ReliabilityBin {
            n: confidences.len(),
            confidence: mean(confidences),
            accuracy: mean(hits),
        })
        .collect()
}

pub(super) fn expected_calibration_error(bins: &[ReliabilityBin]) -> f64 {
    let n: usize = bins.iter().map(|bin| bin.n).sum();
    let gap: f64 = bins.iter().map(|bin| bin.n as f64 * (bin.accuracy - bin.confidence).abs()).sum();
    gap / n as f64
}
