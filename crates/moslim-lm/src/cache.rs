//! Keys and values of the tokens already read.

use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::LlamaConfig;

/// A pre-allocated key-value cache for a left-padded batch.
///
/// Tensors are `[batch, key_heads, capacity, head_dim]`, one pair per layer.
pub struct KvCache {
    layers: Vec<(Tensor<4>, Tensor<4>)>,
    len: usize,
}

impl KvCache {
    /// Room for `capacity` tokens of `batch` rows.
    pub fn new(config: &LlamaConfig, batch: usize, capacity: usize, device: &Device) -> Self {
        let zeros = || Tensor::zeros([batch, config.num_key_value_heads, capacity, config.head_dim()], device);
        Self { layers: (0..config.num_hidden_layers).map(|_| (zeros(), zeros())).collect(), len: 0 }
    }

    /// The number of columns already read.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been read yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Writes the new columns of a layer and returns all columns so far.
    ///
    /// The views must be dropped before the next call: a cache that is referenced elsewhere is copied.
    pub(crate) fn extend(&mut self, layer: usize, key: Tensor<4>, value: Tensor<4>) -> (Tensor<4>, Tensor<4>) {
        let [batch, heads, time, head_dim] = key.dims();
        let end = self.len + time;
        let write = |cached: &mut Tensor<4>, new: Tensor<4>| {
            let device = cached.device();
            let owned = std::mem::replace(cached, Tensor::empty([0, 0, 0, 0], &device));
            *cached = owned.slice_assign([0..batch, 0..heads, self.len..end, 0..head_dim], new);
            cached.clone().slice([0..batch, 0..heads, 0..end, 0..head_dim])
        };
        let (keys, values) = &mut self.layers[layer];
        (write(keys, key), write(values, value))
    }

    /// Marks the columns of one forward pass as read, after every layer has written them.
    pub(crate) fn advance(&mut self, time: usize) {
        self.len += time;
    }

    /// Keeps (or repeats) the given rows, in the given order.
    pub fn select_rows(&mut self, rows: &[usize]) {
        let device = self.layers[0].0.device();
        let rows: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        let n_rows = rows.len();
        let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [n_rows]), &device);
        for (keys, values) in &mut self.layers {
            *keys = keys.clone().select(0, rows.clone());
            *values = values.clone().select(0, rows.clone());
        }
    }
}
