//! Large matrix products, on all threads.
#![allow(unsafe_code, reason = "the matrix product's interface is pointers")]

use super::view::{Matrix, MatrixMut};
use ::gemm::Parallelism;

/// `out = scale · a · b`, or `out += ..` if `accumulate`, on all threads if that pays.
pub(crate) fn product_into(a: Matrix, b: Matrix, scale: f32, accumulate: bool, mut out: MatrixMut) {
    let shape = shape_of_product(a, b);
    assert!(out.shape() == shape, "{:?} · {:?} into {:?}", a.shape(), b.shape(), out.shape());
    // SAFETY: `out` has the shape of the product, and its memory holds numbers.
    unsafe { run(a, b, scale, accumulate, out.as_mut_ptr(), out.row_stride()) };
}

/// `scale · a · b`, row-major, on all threads if that pays.
pub(crate) fn product(a: Matrix, b: Matrix, scale: f32) -> Vec<f32> {
    let [rows, columns] = shape_of_product(a, b);
    let n = rows * columns;
    if a.shape()[1] == 0 {
        return vec![0.0; n];
    }
    // Every element is written, so that none needs to be cleared before.
    let mut out = Vec::with_capacity(n);
    // SAFETY: there is room for the product, whose memory is only written and complete then.
    unsafe {
        run(a, b, scale, false, out.as_mut_ptr(), columns);
        out.set_len(n);
    }
    out
}

/// `sum + scale · a · b`, row-major, in the memory of the sum if there is one yet.
pub(crate) fn product_onto(sum: Option<Vec<f32>>, a: Matrix, b: Matrix, scale: f32) -> Vec<f32> {
    let Some(mut sum) = sum else { return product(a, b, scale) };
    product_into(a, b, scale, true, MatrixMut::row_major(&mut sum, shape_of_product(a, b)));
    sum
}

fn shape_of_product(a: Matrix, b: Matrix) -> [usize; 2] {
    let ([rows, inner], [b_rows, columns]) = (a.shape(), b.shape());
    assert_eq!(inner, b_rows, "{:?} · {:?}", a.shape(), b.shape());
    [rows, columns]
}

/// # Safety
/// `out` points to the memory of a row-major matrix of the product's shape with this stride, which holds numbers if it is accumulated to.
unsafe fn run(a: Matrix, b: Matrix, scale: f32, accumulate: bool, out: *mut f32, row_stride: usize) {
    let ([rows, inner], [_, columns]) = (a.shape(), b.shape());
    let is_large = rows * columns * inner >= 128 * 128 * 128;
    let parallelism = if is_large { Parallelism::Rayon(0) } else { Parallelism::None };
    let [a_strides, b_strides] = [a, b].map(|matrix| matrix.strides().map(|stride| stride as isize));
    // SAFETY: the views cover their extents, and the caller's promise.
    unsafe {
        ::gemm::gemm(
            rows,
            columns,
            inner,
            out,
            1,
            row_stride as isize,
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
