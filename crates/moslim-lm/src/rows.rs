//! Rows of unequal length: packed for projections, as a padded grid for attention.

use burn::tensor::{Device, Int, Tensor, TensorData};
use moslim_kernels::{self as kernels, RowIndices};

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
    /// The cell of every token; absent where there is no padding.
    cells: Option<RowIndices>,
    /// The token of every cell; absent where the cells are the tokens.
    tokens: Option<RowIndices>,
}

impl Packing {
    pub(crate) fn new(rows: &[&[u32]], padding: Padding, device: &Device) -> Self {
        Self::of_lengths(rows.iter().map(|row| row.len()).collect(), padding, None, device)
    }

    /// The same rows as part of a longer packing, in which other tokens stand before them, or behind.
    pub(crate) fn after(self, n_before: usize, device: &Device) -> Self {
        Self::of_lengths(self.lengths, self.padding, Some(n_before), device)
    }

    /// `n_before`: the tokens before these, if there are others at all.
    fn of_lengths(lengths: Vec<usize>, padding: Padding, n_before: Option<usize>, device: &Device) -> Self {
        let (batch, time) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
        let n_tokens: usize = lengths.iter().sum();
        let mut packing = Self { batch, time, lengths, padding, cells: None, tokens: None };
        let first = n_before.unwrap_or(0) as u32;
        let mut cells = Vec::with_capacity(n_tokens);
        let mut tokens = vec![first; batch * time];
        for (row, (&length, start)) in packing.lengths.iter().zip(packing.starts()).enumerate() {
            for column in start..start + length {
                tokens[row * time + column] = first + cells.len() as u32;
                cells.push((row * time + column) as u32);
            }
        }
        let is_padded = n_tokens < batch * time;
        packing.cells = is_padded.then(|| RowIndices::new(cells, device));
        packing.tokens = (is_padded || n_before.is_some()).then(|| RowIndices::new(tokens, device));
        packing
    }

    /// The same on another device.
    pub(crate) fn to_device(&self, device: &Device) -> Self {
        let moved = |indices: &Option<RowIndices>| indices.as_ref().map(|indices| indices.to_device(device));
        Self { cells: moved(&self.cells), tokens: moved(&self.tokens), ..self.clone() }
    }

    /// The first column of every row's tokens.
    pub(crate) fn starts(&self) -> Vec<usize> {
        let start = |&length: &usize| match self.padding {
            Padding::Left => self.time - length,
            Padding::Right => 0,
        };
        self.lengths.iter().map(start).collect()
    }

    /// From all tokens, `[n_tokens, width]`, to `[batch · time, width]`.
    pub(crate) fn grid(&self, packed: Tensor<2>) -> Tensor<2> {
        match &self.tokens {
            Some(tokens) => kernels::select_rows(packed, tokens),
            None => packed,
        }
    }

    /// From `[batch · time, width]` to the tokens of these rows, `[n_tokens, width]`.
    pub(crate) fn packed(&self, grid: Tensor<2>) -> Tensor<2> {
        match &self.cells {
            Some(cells) => kernels::select_rows(grid, cells),
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
    let rows: Vec<u32> = rows.map(|row| row as u32).collect();
    let rows = RowIndices::new(rows, &matrix.device());
    kernels::select_rows(matrix, &rows)
}
