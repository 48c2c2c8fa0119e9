//! Causal attention: the forward and backward pass keep no `time × time` matrix.
//!
//! A task takes one head and goes through its queries in blocks.
//! A block's scores against all keys that it sees are small enough to stay in the cache, so an ordinary softmax over whole rows does; the backward pass computes them again from the log-sum-exp of every row.

mod backward;
mod forward;
mod packed;

pub(crate) use backward::{Upstream, backward};
pub(crate) use forward::forward;

use super::TASK_ELEMENTS;
use super::simd::LANES;
use super::view::{Heads, Matrix};
use packed::PackedKeys;

/// Queries handled at once: enough to use a loaded key often, few enough that little work falls above the diagonal.
const QUERY_BLOCK: usize = 32;

/// The inputs of attention.
pub(crate) struct Attention<'a> {
    /// `[batch, heads, time, head_dim]`.
    pub(crate) query: Heads<'a>,
    /// `[batch, key_heads, key_time, head_dim]`.
    pub(crate) key: Heads<'a>,
    /// As `key`.
    pub(crate) value: Heads<'a>,
    /// The first key of every row; empty: the first one.
    pub(crate) starts: &'a [usize],
}

impl<'a> Attention<'a> {
    /// The first visible key of a row.
    fn start(&self, row: usize) -> usize {
        let key_time = self.key.shape()[2];
        self.starts.get(row).map_or(0, |&start| start.min(key_time))
    }

    /// Query heads that share a key head.
    fn group(&self) -> usize {
        self.query.shape()[1] / self.key.shape()[1]
    }

    /// One query head of one row, with the keys and values it may see.
    fn head(&self, row: usize, head: usize) -> Head<'a> {
        let ([_, _, time, head_dim], key_time) = (self.query.shape(), self.key.shape()[2]);
        let start = self.start(row);
        let key_head = head / self.group();
        Head {
            query: self.query.head(row, head),
            key: self.key.head(row, key_head).rows(start..key_time),
            value: self.value.head(row, key_head).rows(start..key_time),
            scale: 1.0 / (head_dim as f32).sqrt(),
            start,
            history: key_time - time,
        }
    }

    /// Heads that make a task worth its overhead.
    fn heads_per_task(&self) -> usize {
        let ([_, _, time, head_dim], key_time) = (self.query.shape(), self.key.shape()[2]);
        (4 * TASK_ELEMENTS / (time * key_time * head_dim)).max(1)
    }
}

/// One head of one row.
struct Head<'a> {
    /// `[time, head_dim]`.
    query: Matrix<'a>,
    /// `[n_keys, head_dim]`, without the padding on the left.
    key: Matrix<'a>,
    /// As `key`.
    value: Matrix<'a>,
    scale: f32,
    /// Keys left out as padding.
    start: usize,
    /// Keys before the first query.
    history: usize,
}

impl Head<'_> {
    /// How many keys a query sees: the first ones of `key`.
    fn n_visible(&self, query: usize) -> usize {
        (query + self.history + 1).saturating_sub(self.start)
    }

    /// The distance of two rows of scores in memory.
    ///
    /// Rows may be worked on in whole lanes; an odd number of them, because all rows would share few cache lines if a power of two lay between them.
    fn score_stride(&self) -> usize {
        (self.key.shape()[0].div_ceil(LANES) | 1) * LANES
    }
}
