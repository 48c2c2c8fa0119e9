//! Keys and values of the tokens already read.

use burn::tensor::Tensor;
use moslim_kernels::{RowIndices, select_rows};

/// The keys and values of a left-padded batch, for reading on from where it stands.
///
/// It is allocated once and written in place.
pub struct KvCache {
    /// One pair per layer that has been written: `[batch, key_heads, capacity, head_dim]`.
    layers: Vec<(Tensor<4>, Tensor<4>)>,
    /// Padding columns at the left of each row.
    starts: Vec<usize>,
    capacity: usize,
    len: usize,
}

impl KvCache {
    /// An empty cache with room for so many columns.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { layers: vec![], starts: vec![], capacity, len: 0 }
    }

    /// The number of columns already read.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been read yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Padding columns at the left of each row.
    pub(crate) fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// Writes the new columns of a layer and returns all columns so far.
    ///
    /// The views must be dropped before the next call: a cache that is referenced elsewhere is copied.
    pub(crate) fn extend(&mut self, layer: usize, key: Tensor<4>, value: Tensor<4>) -> [Tensor<4>; 2] {
        let columns = self.len..self.len + key.dims()[2];
        let capacity = self.capacity;
        let [batch, heads, _, head_dim] = key.dims();
        if layer == self.layers.len() {
            let zeros = || Tensor::zeros([batch, heads, capacity, head_dim], &key.device());
            self.layers.push((zeros(), zeros()));
        }
        let write = |cached: &mut Tensor<4>, new: Tensor<4>| {
            let device = cached.device();
            let owned = std::mem::replace(cached, Tensor::empty([0, 0, 0, 0], &device));
            *cached = owned.slice_assign([0..batch, 0..heads, columns.clone(), 0..head_dim], new);
            cached.clone().slice([0..batch, 0..heads, 0..columns.end, 0..head_dim])
        };
        let (keys, values) = &mut self.layers[layer];
        [write(keys, key), write(values, value)]
    }

    /// Marks the columns of one forward pass as read, after every layer has written them.
    pub(crate) fn advance(&mut self, starts: Vec<usize>, time: usize) {
        self.starts = starts;
        self.len += time;
    }

    /// Takes in the rows of another cache behind its own, with room for so many columns more.
    ///
    /// Both end in the same column then, and columns that are padding for all rows are gone.
    pub(crate) fn join(&mut self, other: Self, room: usize) {
        let width_of = |cache: &Self| cache.len - cache.starts.iter().min().expect("a cache has rows");
        let widths = [width_of(self), width_of(&other)];
        let len = widths[0].max(widths[1]);
        let joined = |caches: [&Tensor<4>; 2]| {
            let [n_rows, heads, _, head_dim] = caches[0].dims();
            let n_others = caches[1].dims()[0];
            let shape = [n_rows + n_others, heads, len + room, head_dim];
            let mut all = Tensor::zeros(shape, (&caches[0].device(), caches[0].dtype()));
            let rows = [0..n_rows, n_rows..n_rows + n_others];
            for (((rows, cache), read), width) in
                rows.into_iter().zip(caches).zip([self.len, other.len]).zip(widths)
            {
                let columns = cache.clone().slice([0..rows.len(), 0..heads, read - width..read, 0..head_dim]);
                all = all.slice_assign([rows, 0..heads, len - width..len, 0..head_dim], columns);
            }
            all
        };
        let layers = self.layers.iter().zip(&other.layers);
        let layers = layers.map(|(own, others)| (joined([&own.0, &others.0]), joined([&own.1, &others.1])));
        let layers = layers.collect();
        let moved =
            |cache: &Self| cache.starts.iter().map(|start| start + len - cache.len).collect::<Vec<_>>();
        let starts = [moved(self), moved(&other)].concat();
        *self = Self { layers, starts, capacity: len + room, len };
    }

    /// Keeps (or repeats) the given rows, in the given order.
    pub fn select_rows(&mut self, rows: &[usize]) {
        self.starts = rows.iter().map(|&row| self.starts[row]).collect();
        let rows: Vec<u32> = rows.iter().map(|&row| row as u32).collect();
        let Some(device) = self.layers.first().map(|(keys, _)| keys.device()) else { return };
        let rows = RowIndices::new(rows, &device);
        for (keys, values) in &mut self.layers {
            *keys = select_rows(keys.clone(), &rows);
            *values = select_rows(values.clone(), &rows);
        }
    }
}
