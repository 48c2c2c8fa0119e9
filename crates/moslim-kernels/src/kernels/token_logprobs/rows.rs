//! One row of logits: its statistics and its gradient.

use super::super::simd::{Kernel, LANES, add_lanes, exp, max, multiply_add};

pub(super) struct RowStatistics<'a> {
    pub(super) logits: &'a [f32],
}

pub(super) struct Row {
    pub(super) logsumexp: f32,
    pub(super) entropy: f32,
}

impl Kernel for RowStatistics<'_> {
    type Output = Row;

    /// With `s = Σ e^(z - max)`: `logsumexp = max + ln s` and `H = ln s - Σ e^(z - max) (z - max) / s`.
    #[inline(always)]
    fn run<const FMA: bool>(self) -> Row {
        let max = max(self.logits);
        let (chunks, rest) = self.logits.as_chunks::<LANES>();
        // The rest is filled up to whole lanes with logits too low to count.
        let mut last = [max - 87.0; LANES];
        last[..rest.len()].copy_from_slice(rest);
        let (mut sums, mut weighted_sums) = ([0.0; LANES], [0.0; LANES]);
        for chunk in chunks.iter().chain([&last]) {
            for i in 0..LANES {
                let below = chunk[i] - max;
                let weight = exp::<FMA>(below);
                sums[i] += weight;
                weighted_sums[i] = multiply_add::<FMA>(weight, below, weighted_sums[i]);
            }
        }
        let (sum, weighted_sum) = (add_lanes(sums), add_lanes(weighted_sums));
        let log_sum = sum.ln();
        Row { logsumexp: max + log_sum, entropy: log_sum - weighted_sum / sum }
    }
}

/// Replaces logits of a row, all of them or some, by their gradients.
pub(super) struct RowGradient<'a> {
    pub(super) logits: &'a mut [f32],
    /// The place of the chosen token, if it is among them.
    pub(super) token: Option<usize>,
    pub(super) logsumexp: f32,
    pub(super) entropy: f32,
    pub(super) logprob_gradient: f32,
    pub(super) entropy_gradient: f32,
}

impl Kernel for RowGradient<'_> {
    type Output = ();

    /// `∂ log p_y / ∂ zⱼ = [j = y] - pⱼ` and `∂H / ∂ zⱼ = -pⱼ (log pⱼ + H)`.
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for logit in self.logits.iter_mut() {
            let logprob = *logit - self.logsumexp;
            let pull =
                multiply_add::<FMA>(self.entropy_gradient, logprob + self.entropy, self.logprob_gradient);
            *logit = -exp::<FMA>(logprob) * pull;
        }
        if let Some(token) = self.token {
            self.logits[token] += self.logprob_gradient;
        }
    }
}
