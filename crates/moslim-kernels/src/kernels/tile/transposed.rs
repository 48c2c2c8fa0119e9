//! The product with a transposed matrix from inner products: for few rows, where turning the matrix costs more than it saves.

use super::super::simd::InstructionSet;
use super::super::view::{Matrix, MatrixMut};
#[cfg(target_arch = "x86_64")]
use super::vector::__m256;
use super::vector::{Base, Reduce};

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
            InstructionSet::Portable => any_length::<Base>(a, b, scale, out),
            // Rows are too short for wider registers to pay.
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
    unsafe { any_length::<__m256>(a, b, scale, out) };
}

/// Rows of `b` handled at once: as many as a register has lanes, so that their sums are added together.
const COLUMNS: usize = 8;

/// Stands for a number of registers that only the running program knows.
const ANY: usize = usize::MAX;

/// The lengths of most heads, in registers of eight, are compiled by themselves, which makes them up to a third faster.
///
/// # Safety
/// Shapes fit, rows are contiguous, and the processor has the register's instruction set.
#[inline(always)]
unsafe fn any_length<V: Reduce>(a: Matrix, b: Matrix, scale: f32, out: MatrixMut) {
    // SAFETY: the caller's promise.
    unsafe {
        match a.shape()[1] / V::WIDTH {
            3 => rows::<V, 3>(a, b, scale, out),
            4 => rows::<V, 4>(a, b, scale, out),
            8 => rows::<V, 8>(a, b, scale, out),
            16 => rows::<V, 16>(a, b, scale, out),
            _ => rows::<V, ANY>(a, b, scale, out),
        }
    }
}

/// # Safety
/// Shapes fit, rows are contiguous and of `REGISTERS` whole registers, and the processor has the register's instruction set.
#[inline(always)]
unsafe fn rows<V: Reduce, const REGISTERS: usize>(a: Matrix, b: Matrix, scale: f32, mut out: MatrixMut) {
    let ([n_rows, inner], [n_columns, _]) = (a.shape(), b.shape());
    let (out_stride, out) = (out.row_stride(), out.as_mut_ptr());
    let mut first = 0;
    while first < n_columns {
        if first + COLUMNS > n_columns && n_columns >= COLUMNS {
            // The last rows once more rather than fewer: a sum is the same wherever its row stands.
            first = n_columns - COLUMNS;
        }
        let b_row = |i: usize| b.as_ptr().wrapping_add((first + i).min(n_columns - 1) * b.strides()[0]);
        for row in 0..n_rows {
            let a = a.row(row).as_ptr();
            let out = out.wrapping_add(row * out_stride + first);
            // SAFETY: all rows and columns are inside the views.
            unsafe {
                let mut sums = [V::splat(0.0); COLUMNS];
                for (i, sums) in sums.iter_mut().enumerate() {
                    *sums = lane_sums::<V, REGISTERS>(a, b_row(i), inner);
                }
                let products = V::sums(sums).map(|sum| scale * sum);
                if n_columns >= COLUMNS {
                    out.cast::<[f32; COLUMNS]>().write_unaligned(products);
                } else {
                    out.copy_from_nonoverlapping(products.as_ptr(), n_columns);
                }
            }
        }
        first += COLUMNS;
    }
}

/// The inner product of `n` elements, spread over the lanes of a register.
///
/// Row after row as they lie in memory: several rows in step are faster in the cache and slower outside of it.
///
/// # Safety
/// Pointers cover `n` elements, which fill `REGISTERS` whole registers, and the processor has the register's instruction set.
#[inline(always)]
unsafe fn lane_sums<V: Reduce, const REGISTERS: usize>(a: *const f32, b: *const f32, n: usize) -> V {
    let registers = if REGISTERS == ANY { n / V::WIDTH } else { REGISTERS };
    let (whole, rest) = (registers * V::WIDTH, n % V::WIDTH);
    // SAFETY: the caller's promise.
    unsafe {
        let mut sums = V::splat(0.0);
        for k in (0..whole).step_by(V::WIDTH) {
            sums = sums.add_product(V::load(a.add(k)), V::load(b.add(k)));
        }
        if rest > 0 {
            sums = sums.add_product(V::load_first(a.add(whole), rest), V::load_first(b.add(whole), rest));
        }
        sums
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

    /// A cache that grows leaves the scores of its old keys as they were.
    #[test]
    fn a_product_has_the_same_bits_wherever_its_row_stands() {
        let data: Vec<f32> = (0..20 * 27).map(|i| (i as f32 * 0.37).sin()).collect();
        let all = Matrix::row_major(&data, [20, 27]);
        for set in InstructionSet::available() {
            let products = |rows: std::ops::Range<usize>| {
                let mut out = vec![0.0; rows.len()];
                let view = MatrixMut::row_major(&mut out, [1, rows.len()]);
                // SAFETY: shapes fit, rows are contiguous, and the set is available.
                unsafe { run(set, all.rows(3..4), all.rows(rows), 0.7, view) };
                out
            };
            let expected = products(0..20);
            for (first, n) in [(0, 1), (5, 3), (1, 8), (2, 11), (4, 16)] {
                assert_eq!(products(first..first + n), expected[first..first + n], "{set:?} {first} {n}");
            }
        }
    }
}
