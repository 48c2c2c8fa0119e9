//! Rotary position embedding, rotate-half form.

use super::TASK_ELEMENTS;
use super::simd::{Kernel, run};
use super::view::Heads;
use rayon::prelude::*;

/// Which way the pairs are turned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Direction {
    /// By the angle: the operation.
    Forward,
    /// Back by the angle: the transpose, which is the gradient.
    Backward,
}

/// `x` with every pair turned by the angle of its row and position, in memory as `[batch, time, heads, head_dim]`.
///
/// `cos` and `sin` are `[batch, time, head_dim / 2]`.
pub(crate) fn rotate(x: Heads, cos: &[f32], sin: &[f32], direction: Direction) -> Vec<f32> {
    let [batch, heads, time, head_dim] = x.shape();
    let position_elements = heads * head_dim;
    let positions = (TASK_ELEMENTS / position_elements).max(1);
    let mut out = vec![0.0; batch * time * position_elements];
    out.par_chunks_mut(positions * position_elements)
        .enumerate()
        .for_each(|(chunk, out)| run(Rotate { x, cos, sin, direction, first: chunk * positions, out }));
    out
}

struct Rotate<'a> {
    x: Heads<'a>,
    cos: &'a [f32],
    sin: &'a [f32],
    direction: Direction,
    /// Index of the first position of `out` among all rows' positions.
    first: usize,
    out: &'a mut [f32],
}

impl Kernel for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let [_, heads, time, head_dim] = self.x.shape();
        let half = head_dim / 2;
        let sign = if self.direction == Direction::Forward { 1.0 } else { -1.0 };
        for (position, out) in (self.first..).zip(self.out.chunks_exact_mut(heads * head_dim)) {
            let (row, time) = (position / time, position % time);
            let cos = &self.cos[position * half..][..half];
            let sin = &self.sin[position * half..][..half];
            for (head, out) in out.chunks_exact_mut(head_dim).enumerate() {
                let (x_first, x_second) = self.x.position(row, head, time).split_at(half);
                let (out_first, out_second) = out.split_at_mut(half);
                let pairs = x_first.iter().zip(x_second).zip(cos.iter().zip(sin));
                for ((out_first, out_second), ((first, second), (cos, sin))) in
                    out_first.iter_mut().zip(out_second).zip(pairs)
                {
                    let sin = sin * sign;
                    *out_first = first * cos - second * sin;
                    *out_second = second * cos + first * sin;
                }
            }
        }
    }
}
