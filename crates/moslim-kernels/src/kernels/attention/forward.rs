//! The forward pass, for whole sequences and for one new token over a cache.

use super::super::simd::{Kernel, LANES, add_lanes, exp, max, run};
use super::super::tile::{multiply, multiply_transposed};
use super::super::view::{HeadsMut, Matrix, MatrixMut};
use super::{Attention, Head, PackedKeys, QUERY_BLOCK};
use rayon::prelude::*;

/// With fewer queries than this, packing the keys costs more than it saves: decoding reads them where they are.
const PACKING_PAYS: usize = 8;

/// The output, in memory as `[batch, time, heads, head_dim]`, and the log-sum-exp of the scores of every query, `[batch, heads, time]`.
///
/// A query that sees no key gives zeros.
#[allow(unsafe_code, reason = "heads are interleaved in memory")]
pub(crate) fn forward(attention: &Attention) -> (Vec<f32>, Vec<f32>) {
    let shape @ [batch, heads, time, head_dim] = attention.query.shape();
    let mut out = vec![0.0; batch * heads * time * head_dim];
    let mut logsumexp = vec![0.0; batch * heads * time];
    let out_heads = HeadsMut::new(&mut out, shape);
    logsumexp.par_chunks_mut(time).enumerate().with_min_len(attention.heads_per_task()).for_each_init(
        Scratch::default,
        |scratch, (index, logsumexp)| {
            let (row, head) = (index / heads, index % heads);
            // SAFETY: every index occurs once.
            let out = unsafe { out_heads.head(row, head) };
            forward_head(&attention.head(row, head), scratch, out, logsumexp);
        },
    );
    (out, logsumexp)
}

#[derive(Default)]
struct Scratch {
    keys: PackedKeys,
    scores: Vec<f32>,
}

fn forward_head(head: &Head, scratch: &mut Scratch, mut out: MatrixMut, logsumexp: &mut [f32]) {
    let time = head.query.shape()[0];
    let stride = head.score_stride();
    scratch.scores.resize(time.min(QUERY_BLOCK) * stride, 0.0);
    let packed = time >= PACKING_PAYS;
    if packed {
        scratch.keys.pack(head.key);
    }
    for first in (0..time).step_by(QUERY_BLOCK) {
        let block = first..time.min(first + QUERY_BLOCK);
        let n_keys = head.n_visible(block.end - 1);
        let queries = head.query.rows(block.clone());
        let scores = &mut scratch.scores[..block.len() * stride];
        if packed {
            scratch.keys.scores(queries, n_keys, head.scale, scores, stride);
        } else {
            let scores = MatrixMut::new(scores, [block.len(), n_keys], stride);
            multiply_transposed(queries, head.key.rows(0..n_keys), head.scale, scores);
        }
        run(Softmax { head, first, n_keys, scores, stride, logsumexp: &mut logsumexp[block.clone()] });
        let probabilities = Matrix::new(scores, [block.len(), n_keys], [stride, 1]);
        multiply(probabilities, head.value.rows(0..n_keys), 1.0, out.rows(block));
    }
}

/// Scores to probabilities, row by row; what a query does not see becomes 0.
struct Softmax<'a> {
    head: &'a Head<'a>,
    /// The query of the first row.
    first: usize,
    n_keys: usize,
    scores: &'a mut [f32],
    stride: usize,
    logsumexp: &'a mut [f32],
}

impl Kernel for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let rows = self.scores.chunks_exact_mut(self.stride).zip(self.logsumexp);
        for (query, (row, logsumexp)) in (self.first..).zip(rows) {
            let n_visible = self.head.n_visible(query);
            // Whole lanes only: what stands behind the visible scores adds nothing to their sum.
            let lanes = &mut row[..n_visible.next_multiple_of(LANES)];
            lanes[n_visible..].fill(f32::NEG_INFINITY);
            let max = max(lanes);
            let sum = exp_and_sum::<FMA>(lanes, max);
            *logsumexp = max + sum.ln();
            let normalizer = 1.0 / sum;
            for probability in lanes {
                *probability *= normalizer;
            }
            row[n_visible..self.n_keys].fill(0.0);
        }
    }
}

/// `x ← e^(x - max)` for whole lanes; returns the sum.
#[inline(always)]
fn exp_and_sum<const FMA: bool>(x: &mut [f32], max: f32) -> f32 {
    let mut sums = [0.0; LANES];
    for lanes in x.as_chunks_mut::<LANES>().0 {
        for i in 0..LANES {
            lanes[i] = exp::<FMA>(lanes[i] - max);
            sums[i] += lanes[i];
        }
    }
    add_lanes(sums)
}
