//! Views of numbers in memory: what kernels read and write.
#![allow(
    unsafe_code,
    reason = "the heads of one row are interleaved in memory and written by different tasks"
)]

use std::marker::PhantomData;
use std::ops::Range;

/// A matrix to read, with any strides.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// The matrix whose first element is `data[0]`.
    pub(crate) fn new(data: &'a [f32], shape: [usize; 2], strides: [usize; 2]) -> Self {
        assert!(
            extent(&shape, &strides) <= data.len(),
            "a matrix {shape:?} with strides {strides:?} in {} elements",
            data.len()
        );
        Self { data, shape, strides }
    }

    pub(crate) fn row_major(data: &'a [f32], shape: [usize; 2]) -> Self {
        Self::new(data, shape, [shape[1], 1])
    }

    pub(crate) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    pub(crate) fn strides(&self) -> [usize; 2] {
        self.strides
    }

    pub(crate) fn as_ptr(&self) -> *const f32 {
        self.data.as_ptr()
    }

    pub(crate) fn transposed(self) -> Self {
        let ([rows, columns], [row_stride, column_stride]) = (self.shape, self.strides);
        Self { shape: [columns, rows], strides: [column_stride, row_stride], ..self }
    }

    /// Some of the rows.
    pub(crate) fn rows(self, rows: Range<usize>) -> Self {
        assert!(rows.end <= self.shape[0], "rows {rows:?} of a matrix {:?}", self.shape);
        // An empty view at the end of the last row would start behind the data.
        let start = (rows.start * self.strides[0]).min(self.data.len());
        Self { data: &self.data[start..], shape: [rows.len(), self.shape[1]], ..self }
    }

    /// Copies some of the columns into rows of `stride` elements.
    pub(crate) fn copy_columns(&self, columns: Range<usize>, out: &mut [f32], stride: usize) {
        assert!(columns.end <= self.shape[1], "columns {columns:?} of a matrix {:?}", self.shape);
        for (row, out) in out.chunks_mut(stride).take(self.shape[0]).enumerate() {
            let first = row * self.strides[0] + columns.start * self.strides[1];
            let elements = self.data[first..].iter().step_by(self.strides[1].max(1));
            out[..columns.len()].iter_mut().zip(elements).for_each(|(out, element)| *out = *element);
        }
    }

    /// One row of a matrix whose rows are contiguous.
    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> &'a [f32] {
        debug_assert_eq!(self.strides[1], 1);
        &self.data[row * self.strides[0]..][..self.shape[1]]
    }
}

/// A matrix to write, with contiguous rows.
pub(crate) struct MatrixMut<'a> {
    start: *mut f32,
    shape: [usize; 2],
    row_stride: usize,
    borrow: PhantomData<&'a mut [f32]>,
}

impl<'a> MatrixMut<'a> {
    /// The matrix whose first element is `data[0]`.
    pub(crate) fn new(data: &'a mut [f32], shape: [usize; 2], row_stride: usize) -> Self {
        assert!(
            shape[1] <= row_stride,
            "rows of {} elements overlap with a stride of {row_stride}",
            shape[1]
        );
        assert!(
            extent(&shape, &[row_stride, 1]) <= data.len(),
            "a matrix {shape:?} with row stride {row_stride} in {} elements",
            data.len()
        );
        Self { start: data.as_mut_ptr(), shape, row_stride, borrow: PhantomData }
    }

    pub(crate) fn row_major(data: &'a mut [f32], shape: [usize; 2]) -> Self {
        Self::new(data, shape, shape[1])
    }

    pub(crate) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    pub(crate) fn row_stride(&self) -> usize {
        self.row_stride
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.start
    }

    /// Some of the rows.
    pub(crate) fn rows(&mut self, rows: Range<usize>) -> MatrixMut<'_> {
        assert!(rows.end <= self.shape[0], "rows {rows:?} of a matrix {:?}", self.shape);
        MatrixMut {
            start: self.start.wrapping_add(rows.start * self.row_stride),
            shape: [rows.len(), self.shape[1]],
            row_stride: self.row_stride,
            borrow: PhantomData,
        }
    }
}

/// `[batch, heads, time, head_dim]` to read: contiguous rows of `head_dim`, any strides otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Heads<'a> {
    data: &'a [f32],
    shape: [usize; 4],
    strides: [usize; 3],
}

impl<'a> Heads<'a> {
    /// The view whose first element is `data[0]`; strides of batch, heads and time.
    pub(crate) fn new(data: &'a [f32], shape: [usize; 4], strides: [usize; 3]) -> Self {
        let [batch, heads, time] = strides;
        assert!(
            extent(&shape, &[batch, heads, time, 1]) <= data.len(),
            "heads {shape:?} with strides {strides:?} in {} elements",
            data.len()
        );
        Self { data, shape, strides }
    }

    pub(crate) fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// One head of one row: `[time, head_dim]`.
    pub(crate) fn head(&self, row: usize, head: usize) -> Matrix<'a> {
        let [_, _, time, head_dim] = self.shape;
        let start = row * self.strides[0] + head * self.strides[1];
        Matrix::new(&self.data[start..], [time, head_dim], [self.strides[2], 1])
    }

    /// One position of one head: `[head_dim]`.
    #[inline(always)]
    pub(crate) fn position(&self, row: usize, head: usize, time: usize) -> &'a [f32] {
        let start = row * self.strides[0] + head * self.strides[1] + time * self.strides[2];
        &self.data[start..][..self.shape[3]]
    }
}

/// `[batch, heads, time, head_dim]` to write, in memory as `[batch, time, heads, head_dim]`.
///
/// That is the order in which projections leave and expect their rows, so the `swap_dims` and `reshape` around attention copy nothing.
pub(crate) struct HeadsMut<'a> {
    start: *mut f32,
    shape: [usize; 4],
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for an exclusive slice; its parts are handed out only under the promise of `head`.
unsafe impl Sync for HeadsMut<'_> {}

impl<'a> HeadsMut<'a> {
    pub(crate) fn new(data: &'a mut [f32], shape: [usize; 4]) -> Self {
        assert_eq!(shape.iter().product::<usize>(), data.len(), "heads {shape:?}");
        Self { start: data.as_mut_ptr(), shape, borrow: PhantomData }
    }

    /// One head of one row: `[time, head_dim]`.
    ///
    /// # Safety
    /// No two views of the same head of the same row exist at once.
    pub(crate) unsafe fn head(&self, row: usize, head: usize) -> MatrixMut<'a> {
        let [batch, heads, time, head_dim] = self.shape;
        assert!(row < batch && head < heads, "head [{row}, {head}] of {:?}", self.shape);
        let start = self.start.wrapping_add((row * time * heads + head) * head_dim);
        MatrixMut { start, shape: [time, head_dim], row_stride: heads * head_dim, borrow: PhantomData }
    }
}

/// A row-major matrix to write, whose columns different tasks write.
pub(crate) struct ColumnsMut<'a> {
    start: *mut f32,
    shape: [usize; 2],
    borrow: PhantomData<&'a mut [f32]>,
}

// SAFETY: it stands for an exclusive slice; its parts are handed out only under the promise of `columns`.
unsafe impl Sync for ColumnsMut<'_> {}

impl<'a> ColumnsMut<'a> {
    pub(crate) fn new(data: &'a mut [f32], shape: [usize; 2]) -> Self {
        assert_eq!(shape[0] * shape[1], data.len(), "a matrix {shape:?}");
        Self { start: data.as_mut_ptr(), shape, borrow: PhantomData }
    }

    /// Some of the columns.
    ///
    /// # Safety
    /// No two views of the same column exist at once.
    pub(crate) unsafe fn columns(&self, columns: Range<usize>) -> MatrixMut<'a> {
        let [rows, all] = self.shape;
        assert!(columns.end <= all, "columns {columns:?} of a matrix {:?}", self.shape);
        let start = self.start.wrapping_add(columns.start);
        MatrixMut { start, shape: [rows, columns.len()], row_stride: all, borrow: PhantomData }
    }
}

/// Elements from the first to the last one of a view.
fn extent(shape: &[usize], strides: &[usize]) -> usize {
    if shape.contains(&0) {
        return 0;
    }
    1 + shape.iter().zip(strides).map(|(n, stride)| (n - 1) * stride).sum::<usize>()
}
