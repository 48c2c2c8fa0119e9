//! What a readout is fitted to: labels between levels, with weights.

/// The labels of one head's answers, `[n_samples]`, with their weights.
///
/// A label is a position among the levels `0..K`. One between two levels is shared by both in proportion to
/// its nearness ("two-hot"): level `c` has the share `q_c = max(0, 1 − |c − position|)`, so 2.3 means 0.7 of
/// level 2 and 0.3 of level 3.
#[derive(Clone, Debug, PartialEq)]
pub struct Labels {
    n_levels: usize,
    positions: Vec<f64>,
    weights: Vec<f64>,
}

impl Labels {
    /// Labels at `positions` (`0..=n_levels − 1`; beyond means the nearest end) with `weights` (more than 0).
    ///
    /// Only the ratios of weights count.
    ///
    /// # Panics
    /// As many positions as weights are needed, and at least one level.
    pub fn new(positions: &[f64], weights: &[f64], n_levels: usize) -> Self {
        assert_eq!(positions.len(), weights.len(), "as many labels as weights");
        assert!(n_levels > 0, "at least one level");
        let last = (n_levels - 1) as f64;
        let positions = positions.iter().map(|position| position.clamp(0.0, last)).collect();
        Self { n_levels, positions, weights: normalised(weights) }
    }

    /// K.
    pub fn n_levels(&self) -> usize {
        self.n_levels
    }

    /// How many labels there are.
    pub fn len(&self) -> usize {
        self.positions.len()
    }

    /// Whether there is no label to learn from: none at all, or none with a weight.
    pub fn is_empty(&self) -> bool {
        self.weights.iter().all(|&weight| weight == 0.0)
    }

    /// The two-hot share `q_c` of level `level` in label `sample`.
    pub(crate) fn share(&self, sample: usize, level: usize) -> f64 {
        (1.0 - (level as f64 - self.positions[sample]).abs()).max(0.0)
    }

    /// The weights, with sum 1, `[n_samples]`.
    pub(crate) fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// How many equally weighted samples say as much: `(Σ w)² / Σ w²` (Kish 1965), n for equal weights.
    pub(crate) fn effective_size(&self) -> f64 {
        let of_squares: f64 = self.weights.iter().map(|weight| weight * weight).sum();
        if of_squares > 0.0 { of_squares.recip() } else { 0.0 }
    }

    /// # Panics
    /// There are not `n_outputs` labels.
    pub(crate) fn assert_len(&self, n_outputs: usize) {
        assert_eq!(self.len(), n_outputs, "as many labels as outputs");
    }
}

/// `weights` with sum 1; all 0 if none is positive.
pub(crate) fn normalised(weights: &[f64]) -> Vec<f64> {
    let largest = weights.iter().fold(0.0_f64, |largest, &weight| largest.max(weight));
    if largest == 0.0 {
        return vec![0.0; weights.len()];
    }
    // Divided by the largest first: the sum of huge weights would be infinite.
    let relative: Vec<f64> = weights.iter().map(|weight| weight.max(0.0) / largest).collect();
    let sum: f64 = relative.iter().sum();
    relative.iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_between_two_levels_is_shared_by_them() {
        let labels = Labels::new(&[2.3, 4.0, 9.0, -1.0], &[1.0; 4], 5);
        let shares = |sample| -> Vec<f64> { (0..5).map(|level| labels.share(sample, level)).collect() };
        for (share, expected) in shares(0).iter().zip([0.0, 0.0, 0.7, 0.3, 0.0]) {
            assert!((share - expected).abs() < 1e-12);
        }
        assert_eq!(shares(1), [0.0, 0.0, 0.0, 0.0, 1.0]);
        assert_eq!(shares(2), shares(1));
        assert_eq!(shares(3), [1.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn only_ratios_of_weights_count() {
        let weights = |weights: &[f64]| Labels::new(&[0.0; 2], weights, 2).weights().to_vec();
        assert_eq!(weights(&[1.0, 3.0]), [0.25, 0.75]);
        assert_eq!(weights(&[0.5e308, 1.5e308]), [0.25, 0.75]);
        assert_eq!(weights(&[0.0, 0.0]), [0.0, 0.0]);
    }

    #[test]
    fn unequal_weights_say_less() {
        let size = |weights: &[f64]| Labels::new(&vec![0.0; weights.len()], weights, 2).effective_size();
        assert_eq!(size(&[7.0; 4]), 4.0);
        assert!((size(&[1.0, 3.0]) - 1.6).abs() < 1e-12); // 4² / (1 + 9)
        assert_eq!(size(&[]), 0.0);
    }
}
