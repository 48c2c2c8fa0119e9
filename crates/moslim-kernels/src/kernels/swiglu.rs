//! `silu(gate) · up`, element by element.

use super::TASK_ELEMENTS;
use super::simd::{Kernel, multiply_add, run, sigmoid};
use rayon::prelude::*;

/// `out = gate · σ(gate) · up`.
pub(crate) fn forward(gate: &[f32], up: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; gate.len()];
    out.par_chunks_mut(TASK_ELEMENTS)
        .zip(gate.par_chunks(TASK_ELEMENTS))
        .zip(up.par_chunks(TASK_ELEMENTS))
        .for_each(|((out, gate), up)| run(Forward { gate, up, out }));
    out
}

/// The gradients of `gate` and `up`.
pub(crate) fn backward(gate: &[f32], up: &[f32], upstream: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let (mut gate_gradient, mut up_gradient) = (vec![0.0; gate.len()], vec![0.0; up.len()]);
    gate_gradient
        .par_chunks_mut(TASK_ELEMENTS)
        .zip(up_gradient.par_chunks_mut(TASK_ELEMENTS))
        .zip(gate.par_chunks(TASK_ELEMENTS))
        .zip(up.par_chunks(TASK_ELEMENTS))
        .zip(upstream.par_chunks(TASK_ELEMENTS))
        .for_each(|((((gate_gradient, up_gradient), gate), up), upstream)| {
            run(Backward { gate, up, upstream, gate_gradient, up_gradient });
        });
    (gate_gradient, up_gradient)
}

struct Forward<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    out: &'a mut [f32],
}

impl Kernel for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        for ((out, &gate), &up) in self.out.iter_mut().zip(self.gate).zip(self.up) {
            *out = gate * sigmoid::<FMA>(gate) * up;
        }
    }
}

struct Backward<'a> {
    gate: &'a [f32],
    up: &'a [f32],
    upstream: &'a [f32],
    gate_gradient: &'a mut [f32],
    up_gradient: &'a mut [f32],
}

impl Kernel for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let inputs = self.gate.iter().zip(self.up).zip(self.upstream);
        let gradients = self.gate_gradient.iter_mut().zip(self.up_gradient);
        for ((gate_gradient, up_gradient), ((&gate, &up), &upstream)) in gradients.zip(inputs) {
            let sigmoid = sigmoid::<FMA>(gate);
            let silu = gate * sigmoid;
            *up_gradient = upstream * silu;
            // silu' = σ + silu · (1 - σ)
            *gate_gradient = upstream * up * multiply_add::<FMA>(silu, 1.0 - sigmoid, sigmoid);
        }
    }
}
