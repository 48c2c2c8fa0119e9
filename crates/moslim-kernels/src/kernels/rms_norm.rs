//! Root-mean-square normalisation of contiguous rows.

use super::TASK_ELEMENTS;
use super::simd::{Kernel, LANES, add_lanes, dot, multiply_add, run};
use rayon::prelude::*;

/// The normalised rows, and `1 / sqrt(mean(x²) + ε)` of every row for the backward pass.
pub(crate) fn forward(x: &[f32], weight: &[f32], epsilon: f32) -> (Vec<f32>, Vec<f32>) {
    let width = weight.len();
    let rows = (TASK_ELEMENTS / width).max(1);
    let mut out = vec![0.0; x.len()];
    let mut inverse_rms = vec![0.0; x.len() / width];
    out.par_chunks_mut(rows * width)
        .zip(x.par_chunks(rows * width))
        .zip(inverse_rms.par_chunks_mut(rows))
        .for_each(|((out, x), inverse_rms)| run(Forward { x, weight, epsilon, out, inverse_rms }));
    (out, inverse_rms)
}

/// The gradients of `x` and `weight`.
pub(crate) fn backward(
    x: &[f32],
    weight: &[f32],
    inverse_rms: &[f32],
    upstream: &[f32],
) -> (Vec<f32>, Vec<f32>) {
    let width = weight.len();
    let rows = (TASK_ELEMENTS / width).max(1);
    let mut x_gradient = vec![0.0; x.len()];
    let parts: Vec<Vec<f32>> = x_gradient
        .par_chunks_mut(rows * width)
        .zip(x.par_chunks(rows * width))
        .zip(upstream.par_chunks(rows * width))
        .zip(inverse_rms.par_chunks(rows))
        .map(|(((x_gradient, x), upstream), inverse_rms)| {
            let mut weight_gradient = vec![0.0; width];
            run(Backward {
                x,
                weight,
                inverse_rms,
                upstream,
                x_gradient,
                weight_gradient: &mut weight_gradient,
            });
            weight_gradient
        })
        .collect();
    // Chunks are fixed and their sums are added in order: the same bits for any number of threads.
    let mut weight_gradient = vec![0.0; width];
    for part in parts {
        for (sum, part) in weight_gradient.iter_mut().zip(part) {
            *sum += part;
        }
    }
    (x_gradient, weight_gradient)
}

struct Forward<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
    out: &'a mut [f32],
    inverse_rms: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let width = self.weight.len();
        let rows = self.x.chunks_exact(width).zip(self.out.chunks_exact_mut(width));
        for ((x, out), inverse_rms) in rows.zip(self.inverse_rms) {
            let mean_square = dot::<FMA, LANES>(x, x) / width as f32;
            *inverse_rms = 1.0 / (mean_square + self.epsilon).sqrt();
            for ((out, x), weight) in out.iter_mut().zip(x).zip(self.weight) {
                *out = x * *inverse_rms * weight;
            }
        }
    }
}

struct Backward<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    inverse_rms: &'a [f32],
    upstream: &'a [f32],
    x_gradient: &'a mut [f32],
    weight_gradient: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    /// With `r = 1 / rms`: `dx = r · (g·w - x · r² · mean(g·w·x))` and `dw = Σ g · x · r`.
    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let width = self.weight.len();
        let rows = self.x.chunks_exact(width).zip(self.upstream.chunks_exact(width));
        let rows = rows.zip(self.x_gradient.chunks_exact_mut(width)).zip(self.inverse_rms);
        for (((x, upstream), x_gradient), &inverse_rms) in rows {
            let mean = dot3::<FMA>(x, upstream, self.weight) / width as f32;
            let pull = mean * inverse_rms * inverse_rms;
            let inputs = x.iter().zip(upstream).zip(self.weight);
            let gradients = x_gradient.iter_mut().zip(self.weight_gradient.iter_mut());
            for ((x_gradient, weight_gradient), ((x, upstream), weight)) in gradients.zip(inputs) {
                *x_gradient = inverse_rms * (upstream * weight - x * pull);
                *weight_gradient = multiply_add::<FMA>(*upstream, x * inverse_rms, *weight_gradient);
            }
        }
    }
}

/// `Σ a · b · c`.
#[inline(always)]
fn dot3<const FMA: bool>(a: &[f32], b: &[f32], c: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest), (c, c_rest)) =
        (a.as_chunks::<LANES>(), b.as_chunks::<LANES>(), c.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for ((a, b), c) in a.iter().zip(b).zip(c) {
        for i in 0..LANES {
            lanes[i] = multiply_add::<FMA>(a[i] * b[i], c[i], lanes[i]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).zip(c_rest).map(|((a, b), c)| a * b * c).sum();
    add_lanes(lanes) + rest
}
