//! The product with a transposed matrix, one inner product after the other: for few rows, where turning the matrix costs more than it saves.

use super::super::simd::InstructionSet;
use super::super::view::{Matrix, MatrixMut};
#[cfg(target_arch = "x86_64")]
use super::vector::__m256;
use super::vector::{Base, Vector};

/// `out = scale · a · bᵀ`. The rows of `a` and `b` are contiguous.
pub(crate) fn multiply_transposed(a: Matrix, b: Matrix, scale: f32, out: MatrixMut) {
    assert!(a.strides()[1] == 1 && b.strides()[1] == 1, "contiguous rows");
    assert_eq!(a.shape()[1], b.shape()[1], "{:?} · {:?}ᵀ", a.shape(), b.shape());
    assert_eq!(out.shape(), [a.shape()[0], b.shape()[0]], "{:?} · {:?}ᵀ", a.shape(), b.shape());
    // SAFETY: shapes fit, rows are contiguous, and the set was just detected.
    unsafe { run(InstructionSet::detect(), a, b, scale, out) };
}

/// # Safety
/// Shapes fit, rows are contiguous, and the processor has the instruction set.
unsafe fn run(set: InstructionSet, a: Matrix, b: Matrix, scale: f32, out: MatrixMut) {
    // SAFETY: the caller's promise.
    unsafe {
        match set {
            InstructionSet::Portable => rows::<Base>(a, b, scale, out),
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers in rows of `stride`, so that every sum is exact in any order; what stands between rows would show.
    fn integers([rows, columns]: [usize; 2], stride: usize, step: usize) -> Vec<f32> {
        let number = |i: usize| if i % stride < columns { ((i * step) % 7) as f32 - 3.0 } else { 1e6 };
        (0..rows * stride).map(number).collect()
    }

    #[test]
    fn every_instruction_set_gives_the_inner_products() {
        let inners = [0, 1, 2, 3, 4, 7, 8, 12, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 80, 127, 128, 130];
        for inner in inners {
            for (n_rows, n_columns) in
                [(1, 1), (1, 3), (2, 7), (1, 8), (3, 9), (5, 15), (7, 16), (2, 17), (1, 97), (2, 0), (0, 2)]
            {
                let (a_stride, b_stride, out_stride) = (inner + 1, inner + 3, n_columns + 2);
                let a_data = integers([n_rows, inner], a_stride, 5);
                let b_data = integers([n_columns, inner], b_stride, 3);
                let a = Matrix::new(&a_data, [n_rows, inner], [a_stride, 1]);
                let b = Matrix::new(&b_data, [n_columns, inner], [b_stride, 1]);
                for set in InstructionSet::available() {
                    let mut out = vec![9.0; n_rows * out_stride];
                    // SAFETY: shapes fit, rows are contiguous, and the set is available.
                    unsafe {
                        run(set, a, b, 2.0, MatrixMut::new(&mut out, [n_rows, n_columns], out_stride));
                    };
                    for (i, &found) in out.iter().enumerate() {
                        let (row, column) = (i / out_stride, i % out_stride);
                        let expected = match column < n_columns {
                            true => {
                                2.0 * a.row(row).iter().zip(b.row(column)).map(|(a, b)| a * b).sum::<f32>()
                            }
                            false => 9.0,
                        };
                        assert_eq!(
                            found, expected,
                            "{set:?} {n_rows}x{inner}x{n_columns}: [{row}, {column}]"
                        );
                    }
                }
            }
        }
    }
}
