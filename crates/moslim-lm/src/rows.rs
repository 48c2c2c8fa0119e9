//! Rows of unequal length: packed for projections, as a padded grid for attention.

use burn::tensor::{Device, Int, Tensor, TensorData};

/// On which side of a grid the padding stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// All rows end in the last column: prompts that will be read on.
    Left,
    /// All rows begin in the first column.
    Right,
}

/// How the tokens of ragged rows stand in a padded grid.
///
/// Packed, the tokens of all rows follow each other without padding: `[n_tokens, ..]`.
/// As a grid, padding holds the values of the first token; nothing reads them, so no gradient comes back from there.
#[derive(Clone)]
pub(crate) struct Packing {
    pub batch: usize,
    pub time: usize,
    lengths: Vec<usize>,
    padding: Padding,
    /// The cell of every token and the token of every cell; absent where there is no padding.
    indices: Option<(Tensor<1, Int>, Tensor<1, Int>)>,
}

impl Packing {
    pub(crate) fn new(rows: &[&[u32]], padding: Padding, device: &Device) -> Self {
        let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
        let (batch, time) = (rows.len(), lengths.iter().copied().max().unwrap_or(0));
        let n_tokens: usize = lengths.iter().sum();
        let mut packing = Self { batch, time, lengths, padding, indices: None };
        if n_tokens < batch * time {
            let mut cells = Vec::with_capacity(n_tokens);
            let mut tokens = vec![0; batch * time];
            for (row, (&length, start)) in packing.lengths.iter().zip(packing.starts()).enumerate() {
                for column in start..start + length {
                    tokens[row * time + column] = cells.len() as i64;
                    cells.push((row * time + column) as i64);
                }
            }
            packing.indices = Some((ints(cells, device), ints(tokens, device)));
        }
        packing
    }

    /// The same on another device.
    pub(crate) fn to_device(&self, device: &Device) -> Self {
        let moved = |(cells, tokens): (Tensor<1, Int>, Tensor<1, Int>)| {
            (cells.to_device(device), tokens.to_device(device))
        };
        Self { indices: self.indices.clone().map(moved), ..self.clone() }
    }

    /// The first column of every row's tokens.
    pub(crate) fn starts(&self) -> Vec<usize> {
        let start = |&length: &usize| match self.padding {
            Padding::Left => self.time - length,
            Padding::Right => 0,
        };
        self.lengths.iter().map(start).collect()
    }

    /// From `[n_tokens, width]` to `[batch · time, width]`.
    pub(crate) fn grid(&self, packed: Tensor<2>) -> Tensor<2> {
        match &self.indices {
            Some((_, tokens)) => packed.select(0, tokens.clone()),
            None => packed,
        }
    }

    /// From `[batch · time, width]` to `[n_tokens, width]`.
    pub(crate) fn packed(&self, grid: Tensor<2>) -> Tensor<2> {
        match &self.indices {
            Some((cells, _)) => grid.select(0, cells.clone()),
            None => grid,
        }
    }
}

/// The hidden states of ragged rows, packed.
pub struct HiddenStates {
    /// One state per token, the rows after each other. `[n_tokens, hidden_size]`
    pub states: Tensor<2>,
    /// The index of every row's first token.
    pub firsts: Vec<usize>,
}

impl HiddenStates {
    pub(crate) fn new(states: Tensor<2>, rows: &[&[u32]]) -> Self {
        let mut firsts = Vec::with_capacity(rows.len());
        let mut next = 0;
        for row in rows {
            firsts.push(next);
            next += row.len();
        }
        Self { states, firsts }
    }
}

/// Indices as a tensor. `[n]`
pub(crate) fn ints(values: Vec<i64>, device: &Device) -> Tensor<1, Int> {
    let n = values.len();
    Tensor::from_data(TensorData::new(values, [n]), device)
}

/// The rows of a matrix with these numbers. `[rows.len(), width]`
pub(crate) fn select_rows(matrix: Tensor<2>, rows: impl Iterator<Item = usize>) -> Tensor<2> {
    let device = matrix.device();
    matrix.select(0, ints(rows.map(|row| row as i64).collect(), &device))
}
