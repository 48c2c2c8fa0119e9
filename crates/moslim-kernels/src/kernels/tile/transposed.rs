//! The product with a transposed matrix, one inner product after the other: for few rows, where turning the matrix costs more than it saves.

use super::super::simd::InstructionSet;
use super::super::view::{Matrix, MatrixMut};
#[cfg(target_arch = "x86_64")]
use super::vector::__m256;
use super::vector::Vector;

/// `out = scale · a · bᵀ`. The rows of `a` and `b` are contiguous.
pub(crate) fn multiply_transposed(a: Matrix, b: Matrix, scale: f32, out: MatrixMut) {
    assert!(a.strides()[1] == 1 && b.strides()[1] == 1, "contiguous rows");
    assert_eq!(a.shape()[1], b.shape()[1], "{:?} · {:?}ᵀ", a.shape(), b.shape());
    assert_eq!(out.shape(), [a.shape()[0], b.shape()[0]], "{:?} · {:?}ᵀ", a.shape(), b.shape());
    // SAFETY: shapes fit, rows are contiguous, and the set was just detected.
    unsafe {
        match InstructionSet::detect() {
            InstructionSet::Portable => rows::<f32>(a, b, scale, out),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 | InstructionSet::Avx512 => avx2(a, b, scale, out),
        }
    }
}

/// # Safety
/// Shapes fit and rows are contiguous.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(a: Matrix, b: Matrix, scale: f32, out: MatrixMut) {
    // SAFETY: the caller's promise.
    unsafe { rows::<__m256>(a, b, scale, out) };
}

/// # Safety
/// Shapes fit, rows are contiguous, and the processor has the register's instruction set.
#[inline(always)]
unsafe fn rows<V: Vector>(a: Matrix, b: Matrix, scale: f32, mut out: MatrixMut) {
    let ([n_rows, inner], [n_columns, _]) = (a.shape(), b.shape());
    let whole = inner - inner % V::WIDTH;
    for row in 0..n_rows {
        let a = a.row(row);
        for column in 0..n_columns {
            // SAFETY: all indices are inside the views.
            unsafe {
                let b = b.as_ptr().add(column * b.strides()[0]);
                let mut sums = V::splat(0.0);
                for k in (0..whole).step_by(V::WIDTH) {
                    sums = sums.add_product(V::load(a.as_ptr().add(k)), V::load(b.add(k)));
                }
                let mut sum = sums.sum();
                for (k, a) in a.iter().enumerate().skip(whole) {
                    sum += a * *b.add(k);
                }
                *out.as_mut_ptr().add(row * out.row_stride() + column) = scale * sum;
            }
        }
    }
}
