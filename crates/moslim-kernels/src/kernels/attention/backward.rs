//! The backward pass: probabilities again from the scores, then the gradients of query, key and value.

use super::super::simd::{Kernel, LANES, dot, exp, run};
use super::super::tile::{add_product, multiply};
use super::super::view::{Heads, HeadsMut, Matrix, MatrixMut};
use super::{Attention, Head, PackedKeys, QUERY_BLOCK};
use rayon::prelude::*;

/// What the forward pass left, and the gradient that arrived.
pub(crate) struct Upstream<'a> {
    /// The forward pass's output, `[batch, heads, time, head_dim]`.
    pub(crate) out: Heads<'a>,
    /// The forward pass's log-sum-exp, `[batch, heads, time]`.
    pub(crate) logsumexp: &'a [f32],
    /// The gradient of the output, `[batch, heads, time, head_dim]`.
    pub(crate) gradient: Heads<'a>,
}

/// Gradients, in memory as `[batch, time, heads, head_dim]`.
pub(crate) struct AttentionGradients {
    pub(crate) query: Vec<f32>,
    pub(crate) key: Vec<f32>,
    pub(crate) value: Vec<f32>,
}

/// The gradients of query, key and value. One task per key head: the queries that share it add to the same gradient, in order.
#[allow(unsafe_code, reason = "heads are interleaved in memory")]
pub(crate) fn backward(attention: &Attention, upstream: &Upstream) -> AttentionGradients {
    let (query_shape, key_shape) = (attention.query.shape(), attention.key.shape());
    let [batch, key_heads, key_time, _] = key_shape;
    let [mut query, mut key, mut value] =
        [query_shape, key_shape, key_shape].map(|shape| vec![0.0; shape.iter().product()]);
    let query_gradients = HeadsMut::new(&mut query, query_shape);
    let key_gradients = HeadsMut::new(&mut key, key_shape);
    let value_gradients = HeadsMut::new(&mut value, key_shape);
    (0..batch * key_heads).into_par_iter().with_min_len(attention.heads_per_task()).for_each_init(
        Scratch::default,
        |scratch, index| {
            let (row, key_head) = (index / key_heads, index % key_heads);
            let visible = attention.start(row)..key_time;
            // SAFETY: every index occurs once, and query heads belong to one key head.
            let (mut key, mut value) =
                unsafe { (key_gradients.head(row, key_head), value_gradients.head(row, key_head)) };
            for head in key_head * attention.group()..(key_head + 1) * attention.group() {
                // SAFETY: as above.
                let query = unsafe { query_gradients.head(row, head) };
                let gradients = HeadGradients {
                    query,
                    key: key.rows(visible.clone()),
                    value: value.rows(visible.clone()),
                };
                backward_head(&attention.head(row, head), &upstream.head(row, head), scratch, gradients);
            }
        },
    );
    AttentionGradients { query, key, value }
}

impl<'a> Upstream<'a> {
    fn head(&self, row: usize, head: usize) -> HeadUpstream<'a> {
        let [_, heads, time, _] = self.out.shape();
        let logsumexp = &self.logsumexp[(row * heads + head) * time..][..time];
        HeadUpstream { out: self.out.head(row, head), logsumexp, gradient: self.gradient.head(row, head) }
    }
}

/// [`Upstream`] of one head of one row.
struct HeadUpstream<'a> {
    out: Matrix<'a>,
    logsumexp: &'a [f32],
    gradient: Matrix<'a>,
}

/// Where the gradients of one head go; key and value without the padding on the left.
struct HeadGradients<'a> {
    query: MatrixMut<'a>,
    key: MatrixMut<'a>,
    value: MatrixMut<'a>,
}

#[derive(Default)]
struct Scratch {
    keys: PackedKeys,
    values: PackedKeys,
    probabilities: Vec<f32>,
    score_gradients: Vec<f32>,
}

/// With `P = softmax(S)` and `O = P·V`: `dV = Pᵀ·dO`, `dP = dO·Vᵀ`, `dS = P ∘ (dP - rowsum(dO ∘ O))`, `dQ = dS·K`, `dK = dSᵀ·Q`.
fn backward_head(head: &Head, upstream: &HeadUpstream, scratch: &mut Scratch, mut gradients: HeadGradients) {
    let time = head.query.shape()[0];
    let stride = head.score_stride();
    scratch.keys.pack(head.key);
    scratch.values.pack(head.value);
    scratch.probabilities.resize(QUERY_BLOCK * stride, 0.0);
    scratch.score_gradients.resize(QUERY_BLOCK * stride, 0.0);
    for first in (0..time).step_by(QUERY_BLOCK) {
        let block = first..time.min(first + QUERY_BLOCK);
        let n_keys = head.n_visible(block.end - 1);
        let (queries, gradient) = (head.query.rows(block.clone()), upstream.gradient.rows(block.clone()));
        scratch.keys.scores(queries, n_keys, head.scale, &mut scratch.probabilities, stride);
        scratch.values.scores(gradient, n_keys, 1.0, &mut scratch.score_gradients, stride);
        run(SoftmaxBackward {
            head,
            upstream,
            block: block.clone(),
            n_keys,
            probabilities: &mut scratch.probabilities,
            score_gradients: &mut scratch.score_gradients,
            stride,
        });
        let view = |scores| Matrix::new(scores, [block.len(), n_keys], [stride, 1]);
        let (probabilities, score_gradients) = (view(&scratch.probabilities), view(&scratch.score_gradients));
        add_product(probabilities.transposed(), gradient, gradients.value.rows(0..n_keys));
        add_product(score_gradients.transposed(), queries, gradients.key.rows(0..n_keys));
        multiply(score_gradients, head.key.rows(0..n_keys), 1.0, gradients.query.rows(block));
    }
}

/// Scores become probabilities, the gradients of probabilities become those of the unscaled scores.
struct SoftmaxBackward<'a> {
    head: &'a Head<'a>,
    upstream: &'a HeadUpstream<'a>,
    block: std::ops::Range<usize>,
    n_keys: usize,
    probabilities: &'a mut [f32],
    score_gradients: &'a mut [f32],
    stride: usize,
}

impl Kernel for SoftmaxBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let rows = self
            .probabilities
            .chunks_exact_mut(self.stride)
            .zip(self.score_gradients.chunks_exact_mut(self.stride));
        for (query, (probabilities, score_gradients)) in self.block.zip(rows) {
            let n_visible = self.head.n_visible(query);
            let logsumexp = self.upstream.logsumexp[query];
            let mean = dot::<FMA, 8>(self.upstream.gradient.row(query), self.upstream.out.row(query));
            // Whole lanes only, then zeros over what they computed too much.
            let n_lanes = n_visible.next_multiple_of(LANES);
            let lanes = probabilities[..n_lanes].iter_mut().zip(&mut score_gradients[..n_lanes]);
            for (probability, gradient) in lanes {
                *probability = exp::<FMA>(*probability - logsumexp);
                *gradient = *probability * (*gradient - mean) * self.head.scale;
            }
            probabilities[n_visible..self.n_keys].fill(0.0);
            score_gradients[n_visible..self.n_keys].fill(0.0);
        }
    }
}
