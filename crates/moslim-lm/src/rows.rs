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

/// A grid of tokens, some of which stand for padding.
///
/// Nothing reads what stands for padding, so no gradient comes back from there.
#[derive(Clone)]
pub(crate) struct Grid {
    pub batch: usize,
    pub time: usize,
    /// The token of every cell; absent where the cells are the tokens.
    tokens: Option<RowIndices>,
}

impl Grid {
    /// Rows of these tokens, which end in the last column, and the first column of every row.
    pub(crate) fn of_tokens(rows: &[Vec<u32>], device: &Device) -> (Self, Vec<usize>) {
        let time = rows.iter().map(Vec::len).max().unwrap_or(0);
        let starts: Vec<usize> = rows.iter().map(|row| time - row.len()).collect();
        let mut tokens = Vec::with_capacity(rows.len() * time);
        for (row, &start) in rows.iter().zip(&starts) {
            tokens.extend(std::iter::repeat_n(0, start));
            tokens.extend(row);
        }
        (Self { batch: rows.len(), time, tokens: Some(RowIndices::new(tokens, device)) }, starts)
    }

    /// What stands here of all tokens, by heads.
    ///
    /// `x`: `[n_tokens, n_heads · head_dim]`, returns: `[batch, n_heads, time, head_dim]`
    pub(crate) fn heads(&self, x: &Tensor<2>, head_dim: usize) -> Tensor<4> {
        let n_heads = x.dims()[1] / head_dim;
        let grid = match &self.tokens {
            Some(tokens) => kernels::select_rows(x.clone(), tokens),
            None => x.clone(),
        };
        grid.reshape([self.batch, self.time, n_heads, head_dim]).swap_dims(1, 2)
    }

    /// The same on another device.
    pub(crate) fn to_device(&self, device: &Device) -> Self {
        Self { tokens: self.tokens.as_ref().map(|tokens| tokens.to_device(device)), ..*self }
    }
}

/// Where each of some tokens stands in a grid.
///
/// Packed, the tokens of all rows follow each other without padding: `[n_tokens, ..]`.
#[derive(Clone)]
pub(crate) struct Packing {
    grid: Grid,
    /// The cell of every token; absent where there is no padding.
    cells: Option<RowIndices>,
}

impl Packing {
    /// The tokens of ragged rows, and the first column of every row.
    ///
    /// `n_before`: absent if no other tokens are packed; else how many of them stand before these.
    pub(crate) fn of_rows(
        rows: &[&[u32]],
        padding: Padding,
        n_before: Option<usize>,
        device: &Device,
    ) -> (Self, Vec<usize>) {
        let (batch, time) = (rows.len(), rows.iter().map(|row| row.len()).max().unwrap_or(0));
        let start = |row: &&[u32]| match padding {
            Padding::Left => time - row.len(),
            Padding::Right => 0,
        };
        let starts: Vec<usize> = rows.iter().map(start).collect();
        let cells_of = |(row, tokens): (usize, &&[u32])| {
            let first = (row * time + starts[row]) as u32;
            first..first + tokens.len() as u32
        };
        let cells = rows.iter().enumerate().flat_map(cells_of).collect();
        (Self::new([batch, time], cells, n_before, device), starts)
    }

    /// Tokens in these cells of a grid of `[batch, time]`, ascending; `n_before` as above.
    fn new([batch, time]: [usize; 2], cells: Vec<u32>, n_before: Option<usize>, device: &Device) -> Self {
        let is_padded = cells.len() < batch * time;
        let first = n_before.unwrap_or(0) as u32;
        let tokens = (is_padded || n_before.is_some()).then(|| {
            let mut tokens = vec![first; batch * time];
            (first..).zip(&cells).for_each(|(token, &cell)| tokens[cell as usize] = token);
            RowIndices::new(tokens, device)
        });
        let cells = is_padded.then(|| RowIndices::new(cells, device));
        Self { grid: Grid { batch, time, tokens }, cells }
    }

    /// Some of the tokens, numbers among them distinct and ascending, in the last columns of the grid: from the first one in which one of them stands.
    ///
    /// `n_before` as above.
    pub(crate) fn part(&self, tokens: &[u32], n_before: Option<usize>, device: &Device) -> Self {
        let Grid { batch, time, .. } = self.grid;
        let cell = |&token: &u32| match &self.cells {
            Some(cells) => cells.rows()[token as usize] as usize,
            None => token as usize,
        };
        let first = tokens.iter().map(|token| cell(token) % time).min().unwrap_or(0);
        let width = time - first;
        let moved = |token| (cell(token) / time * width + cell(token) % time - first) as u32;
        Self::new([batch, width], tokens.iter().map(moved).collect(), n_before, device)
    }

    /// The grid.
    pub(crate) fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The tokens that stand in it.
    pub(crate) fn n_tokens(&self) -> usize {
        self.cells.as_ref().map_or(self.grid.batch * self.grid.time, |cells| cells.rows().len())
    }

    /// Back from heads to these tokens.
    ///
    /// `x`: `[batch, n_heads, time, head_dim]`, returns: `[n_tokens, n_heads · head_dim]`
    pub(crate) fn packed(&self, x: Tensor<4>) -> Tensor<2> {
        let [batch, n_heads, time, head_dim] = x.dims();
        let grid = x.swap_dims(1, 2).reshape([batch * time, n_heads * head_dim]);
        match &self.cells {
            Some(cells) => kernels::select_rows(grid, cells),
            None => grid,
        }
    }

    /// The same on another device.
    pub(crate) fn to_device(&self, device: &Device) -> Self {
        let cells = self.cells.as_ref().map(|cells| cells.to_device(device));
        Self { grid: self.grid.to_device(device), cells }
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
