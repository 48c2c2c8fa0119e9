//! Keys turned on their side, so that a query times all keys is a product of contiguous rows.

use super::super::simd::LANES;
use super::super::tile::multiply;
use super::super::view::{Matrix, MatrixMut};

/// Keys of one panel. Panels keep the rows of a long sequence close together.
const PANEL: usize = 128;

/// `[n_keys, head_dim]` as panels of `[head_dim, PANEL]`. Lives on between heads to save allocations.
#[derive(Default)]
pub(super) struct PackedKeys {
    data: Vec<f32>,
    head_dim: usize,
}

impl PackedKeys {
    /// Replaces the keys.
    pub(super) fn pack(&mut self, keys: Matrix) {
        let [n_keys, head_dim] = keys.shape();
        self.head_dim = head_dim;
        self.data.resize(n_keys.div_ceil(PANEL) * PANEL * head_dim, 0.0);
        for first in (0..n_keys).step_by(LANES) {
            let panel = &mut self.data[first / PANEL * PANEL * head_dim..][..PANEL * head_dim];
            // Behind the last key stands a copy of it: those scores are never read.
            let rows: [&[f32]; LANES] = std::array::from_fn(|i| keys.row((first + i).min(n_keys - 1)));
            for (dim, panel_row) in panel.chunks_exact_mut(PANEL).enumerate() {
                for (out, row) in panel_row[first % PANEL..][..LANES].iter_mut().zip(rows) {
                    *out = row[dim];
                }
            }
        }
    }

    /// `scores[i, j] = scale · queries[i] · keys[j]` for the first `n_keys` keys, and anything in the lanes behind them.
    pub(super) fn scores(
        &self,
        queries: Matrix,
        n_keys: usize,
        scale: f32,
        scores: &mut [f32],
        stride: usize,
    ) {
        let n_queries = queries.shape()[0];
        // Whole vectors: the keys behind the last one cost less than a narrower product.
        let n_keys = n_keys.next_multiple_of(LANES);
        for (first, panel) in (0..n_keys).step_by(PANEL).zip(self.data.chunks_exact(PANEL * self.head_dim)) {
            let width = PANEL.min(n_keys - first);
            let keys = Matrix::new(panel, [self.head_dim, width], [PANEL, 1]);
            multiply(queries, keys, scale, MatrixMut::new(&mut scores[first..], [n_queries, width], stride));
        }
    }
}
