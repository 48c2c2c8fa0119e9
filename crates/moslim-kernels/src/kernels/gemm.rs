//! Large matrix products, on all threads.

use super::view::{Matrix, MatrixMut};
use ::gemm::Parallelism;

/// `out = scale · a · b`, or `out += ..` if `accumulate`, on all threads if that pays.
#[allow(unsafe_code, reason = "the matrix product's interface is pointers")]
pub(crate) fn product(a: Matrix, b: Matrix, scale: f32, accumulate: bool, mut out: MatrixMut) {
    let ([rows, inner], [b_rows, columns]) = (a.shape(), b.shape());
    assert!(
        inner == b_rows && out.shape() == [rows, columns],
        "{:?} · {:?} into {:?}",
        a.shape(),
        b.shape(),
        out.shape()
    );
    let is_large = rows * columns * inner >= 128 * 128 * 128;
    let parallelism = if is_large { Parallelism::Rayon(0) } else { Parallelism::None };
    let [a_strides, b_strides] = [a, b].map(|matrix| matrix.strides().map(|stride| stride as isize));
    // SAFETY: the views cover their extents, and shapes fit.
    unsafe {
        ::gemm::gemm(
            rows,
            columns,
            inner,
            out.as_mut_ptr(),
            1,
            out.row_stride() as isize,
            accumulate,
            a.as_ptr(),
            a_strides[1],
            a_strides[0],
            b.as_ptr(),
            b_strides[1],
            b_strides[0],
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}
