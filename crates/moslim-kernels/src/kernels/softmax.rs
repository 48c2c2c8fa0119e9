//! The weights of a softmax over one slice.

use super::simd::{Kernel, LANES, exp, max, run};

/// `e^((z - highest) / temperature)` into `weights`; returns the highest logit and the sum of the weights.
pub(crate) fn softmax_weights(logits: &[f32], temperature: f32, weights: &mut [f32]) -> (f32, f64) {
    run(SoftmaxWeights { logits, temperature, weights })
}

struct SoftmaxWeights<'a> {
    logits: &'a [f32],
    temperature: f32,
    weights: &'a mut [f32],
}

impl Kernel for SoftmaxWeights<'_> {
    type Output = (f32, f64);

    #[inline(always)]
    fn run<const FMA: bool>(self) -> (f32, f64) {
        let highest = max(self.logits);
        let mut sums = [0.0; LANES];
        let (logits, logits_rest) = self.logits.as_chunks::<LANES>();
        let (weights, weights_rest) = self.weights.as_chunks_mut::<LANES>();
        for (logits, weights) in logits.iter().zip(weights) {
            for i in 0..LANES {
                weights[i] = weight::<FMA>((logits[i] - highest) / self.temperature);
                sums[i] += f64::from(weights[i]);
            }
        }
        for ((&logit, out), sum) in logits_rest.iter().zip(weights_rest).zip(&mut sums) {
            *out = weight::<FMA>((logit - highest) / self.temperature);
            *sum += f64::from(*out);
        }
        (highest, sums.iter().sum())
    }
}

/// `eˣ`, and 0 where [`exp`] would stop falling: what must not be drawn has to weigh nothing.
#[inline(always)]
fn weight<const FMA: bool>(x: f32) -> f32 {
    if x < -87.0 { 0.0 } else { exp::<FMA>(x) }
}
