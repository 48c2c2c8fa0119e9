//! A matrix in panels, for many products with few rows.

use super::TASK_ELEMENTS;
use super::tile::multiply;
use super::view::{ColumnsMut, Matrix};
use rayon::prelude::*;

/// Columns of a panel: those of two of the widest registers, so that a block of rows goes through it once.
const WIDTH: usize = 32;

/// `[inner, columns]` as panels of `[inner, WIDTH]`, the last one filled up with zeros.
///
/// An ordinary product reads rows that are far apart, or turns a transposed view so every time.
#[derive(Debug)]
pub(crate) struct Panels {
    data: Vec<f32>,
    inner: usize,
    columns: usize,
}

impl Panels {
    /// Copies a matrix of at least one row and one column.
    pub(crate) fn new(matrix: Matrix) -> Self {
        let [inner, columns] = matrix.shape();
        let mut data = vec![0.0; columns.div_ceil(WIDTH) * WIDTH * inner];
        data.par_chunks_mut(inner * WIDTH).enumerate().for_each(|(index, panel)| {
            let first = index * WIDTH;
            matrix.copy_columns(first..columns.min(first + WIDTH), panel, WIDTH);
        });
        Self { data, inner, columns }
    }

    pub(crate) fn shape(&self) -> [usize; 2] {
        [self.inner, self.columns]
    }

    /// `x · matrix`, row-major.
    pub(crate) fn product(&self, x: Matrix) -> Vec<f32> {
        let [rows, inner] = x.shape();
        assert_eq!(inner, self.inner, "{:?} · {:?}", x.shape(), self.shape());
        let mut out = vec![0.0; rows * self.columns];
        let columns_of_out = ColumnsMut::new(&mut out, [rows, self.columns]);
        // A task is worth it by its arithmetic, of which an element takes `inner` times two.
        let panels_of_a_task = (4 * TASK_ELEMENTS / (rows * inner)).max(1);
        let panels = self.data.par_chunks(inner * WIDTH).enumerate().with_min_len(panels_of_a_task);
        panels.for_each(|(index, panel)| {
            let columns = index * WIDTH..self.columns.min((index + 1) * WIDTH);
            let panel = Matrix::new(panel, [inner, columns.len()], [WIDTH, 1]);
            #[allow(unsafe_code, reason = "panels write columns of the same rows")]
            // SAFETY: every panel has columns of its own.
            let out = unsafe { columns_of_out.columns(columns) };
            multiply(x, panel, 1.0, out);
        });
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_is_that_of_three_loops() {
        // Small integers, so that every sum is exact in any order.
        let integers =
            |n: usize, step: usize| -> Vec<f32> { (0..n).map(|i| ((i * step) % 7) as f32 - 3.0).collect() };
        for (rows, inner, columns) in [(1, 1, 1), (1, 40, 33), (8, 5, 32), (19, 70, 95), (64, 33, 129)] {
            let (x, matrix) = (integers(rows * inner, 5), integers(inner * columns, 3));
            let expected: Vec<f32> = (0..rows * columns)
                .map(|i| {
                    (0..inner)
                        .map(move |k| (i, k))
                        .map(|(i, k)| x[i / columns * inner + k] * matrix[k * columns + i % columns])
                })
                .map(Iterator::sum)
                .collect();
            let turned: Vec<f32> =
                (0..inner * columns).map(|i| matrix[i % inner * columns + i / inner]).collect();
            for matrix in [
                Matrix::row_major(&matrix, [inner, columns]),
                Matrix::row_major(&turned, [columns, inner]).transposed(),
            ] {
                let found = Panels::new(matrix).product(Matrix::row_major(&x, [rows, inner]));
                assert_eq!(found, expected, "{rows}x{inner}x{columns}");
            }
        }
    }
}
