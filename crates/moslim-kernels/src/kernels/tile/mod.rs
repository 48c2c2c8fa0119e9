//! Small matrix products inside one thread, with operands in the cache.
//!
//! Written with vector types: the compiler does not keep an array of accumulators in registers, which costs a factor of seven.
#![allow(unsafe_code, reason = "vector intrinsics work on pointers and need their instruction set")]

mod transposed;
mod vector;

pub(crate) use transposed::multiply_transposed;

use super::simd::InstructionSet;
use super::view::{Matrix, MatrixMut};
#[cfg(target_arch = "x86_64")]
use vector::{__m128, __m256, __m512};
use vector::{Base, Vector};

/// `out = scale · a · b`. The rows of `b` are contiguous.
pub(crate) fn multiply(a: Matrix, b: Matrix, scale: f32, out: MatrixMut) {
    // SAFETY: the set was just detected.
    unsafe { Product::new(a, b, scale, false, out).run(InstructionSet::detect()) };
}

/// `out += a · b`. The rows of `b` are contiguous.
pub(crate) fn add_product(a: Matrix, b: Matrix, out: MatrixMut) {
    // SAFETY: the set was just detected.
    unsafe { Product::new(a, b, 1.0, true, out).run(InstructionSet::detect()) };
}

/// A product whose pointers are known to cover their extents.
#[derive(Clone, Copy)]
struct Product {
    rows: usize,
    columns: usize,
    inner: usize,
    a: *const f32,
    a_strides: [usize; 2],
    b: *const f32,
    b_row_stride: usize,
    out: *mut f32,
    out_row_stride: usize,
    scale: f32,
    accumulate: bool,
}

impl Product {
    fn new(a: Matrix, b: Matrix, scale: f32, accumulate: bool, mut out: MatrixMut) -> Self {
        let ([rows, inner], [b_rows, columns]) = (a.shape(), b.shape());
        assert!(
            inner == b_rows && out.shape() == [rows, columns],
            "{:?} · {:?} into {:?}",
            a.shape(),
            b.shape(),
            out.shape()
        );
        assert_eq!(b.strides()[1], 1, "the rows of the second operand are contiguous");
        Self {
            rows,
            columns,
            inner,
            a: a.as_ptr(),
            a_strides: a.strides(),
            b: b.as_ptr(),
            b_row_stride: b.strides()[0],
            out: out.as_mut_ptr(),
            out_row_stride: out.row_stride(),
            scale,
            accumulate,
        }
    }

    /// # Safety
    /// The processor has the instruction set.
    unsafe fn run(self, set: InstructionSet) {
        match set {
            // SAFETY: `new` checked the extents; every processor of the architecture has this set.
            InstructionSet::Portable => unsafe { portable(self) },
            // SAFETY: as above, and the caller's promise.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => unsafe { avx2(self) },
            // SAFETY: as above, and the caller's promise.
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => unsafe { avx512(self) },
        }
    }

    /// As many strips of `V` registers of columns as fit, from column `first` on; returns the first column that is left.
    #[inline(always)]
    unsafe fn strips<V: Vector, const ROWS: usize, const REGISTERS: usize>(self, mut first: usize) -> usize {
        while first + REGISTERS * V::WIDTH <= self.columns {
            // SAFETY: the strip ends before the last column, and every block of rows before the last row.
            unsafe {
                let mut row = 0;
                while row + ROWS <= self.rows {
                    self.tile::<V, ROWS, REGISTERS>(row, first);
                    row += ROWS;
                }
                while row + 2 <= self.rows {
                    self.tile::<V, 2, REGISTERS>(row, first);
                    row += 2;
                }
                if row < self.rows {
                    self.tile::<V, 1, REGISTERS>(row, first);
                }
            }
            first += REGISTERS * V::WIDTH;
        }
        first
    }

    /// `ROWS` rows and `REGISTERS` vectors of columns, all sums in registers.
    #[inline(always)]
    unsafe fn tile<V: Vector, const ROWS: usize, const REGISTERS: usize>(self, row: usize, column: usize) {
        // SAFETY: the caller keeps rows and columns inside the product, whose pointers cover them.
        unsafe {
            let mut sums = [[V::splat(0.0); REGISTERS]; ROWS];
            let a = self.a.add(row * self.a_strides[0]);
            let b = self.b.add(column);
            for k in 0..self.inner {
                let mut b_row = [V::splat(0.0); REGISTERS];
                for (j, vector) in b_row.iter_mut().enumerate() {
                    *vector = V::load(b.add(k * self.b_row_stride + j * V::WIDTH));
                }
                for (i, sums) in sums.iter_mut().enumerate() {
                    let factor = V::splat(*a.add(i * self.a_strides[0] + k * self.a_strides[1]));
                    for (sum, vector) in sums.iter_mut().zip(b_row) {
                        *sum = sum.add_product(factor, vector);
                    }
                }
            }
            let scale = V::splat(self.scale);
            for (i, sums) in sums.into_iter().enumerate() {
                for (j, sum) in sums.into_iter().enumerate() {
                    let out = self.out.add((row + i) * self.out_row_stride + column + j * V::WIDTH);
                    let before = if self.accumulate { V::load(out) } else { V::splat(0.0) };
                    before.add_product(scale, sum).store(out);
                }
            }
        }
    }
}

/// Sixteen sums of plain numbers; on 64-bit Arm, whose every processor has thirty-two registers of four, 8 × 3 registers of sums.
///
/// # Safety
/// The product's pointers cover its extents.
unsafe fn portable(product: Product) {
    // SAFETY: the caller's promise.
    unsafe {
        if cfg!(target_arch = "aarch64") {
            let first = product.strips::<Base, 8, 3>(0);
            let first = product.strips::<Base, 8, 2>(first);
            let first = product.strips::<Base, 8, 1>(first);
            product.strips::<f32, 8, 1>(first);
        } else {
            let first = product.strips::<f32, 4, 4>(0);
            product.strips::<f32, 4, 1>(first);
        }
    }
}

/// Whole strips of eights of a single row: several registers of sums at once, as each has to wait for its last addition.
///
/// # Safety
/// As of [`Product::strips`].
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn single_row(product: Product) -> usize {
    if product.rows != 1 {
        return 0;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let first = product.strips::<__m256, 1, 8>(0);
        let first = product.strips::<__m256, 1, 4>(first);
        let first = product.strips::<__m256, 1, 3>(first);
        product.strips::<__m256, 1, 2>(first)
    }
}

/// Sixteen registers: 6 × 2 sums leave room for the operands.
///
/// # Safety
/// The product's pointers cover its extents.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2(product: Product) {
    // SAFETY: the caller's promise.
    unsafe {
        let first = single_row(product);
        let first = product.strips::<__m256, 6, 2>(first);
        let first = product.strips::<__m256, 8, 1>(first);
        let first = product.strips::<__m128, 8, 1>(first);
        product.strips::<f32, 8, 1>(first);
    }
}

/// Thirty-two registers: 8 × 2 sums.
///
/// # Safety
/// The product's pointers cover its extents.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512vl")]
unsafe fn avx512(product: Product) {
    // SAFETY: the caller's promise.
    unsafe {
        let first = single_row(product);
        let first = product.strips::<__m512, 8, 2>(first);
        let first = product.strips::<__m512, 8, 1>(first);
        let first = product.strips::<__m256, 8, 1>(first);
        let first = product.strips::<__m128, 8, 1>(first);
        product.strips::<f32, 8, 1>(first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers, so that every sum is exact in any order.
    fn integers(n: usize, step: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * step) % 7) as f32 - 3.0).collect()
    }

    #[test]
    fn every_instruction_set_gives_the_product_of_three_loops() {
        for (rows, inner, columns) in [
            (1, 5, 1),
            (1, 7, 24),
            (1, 3, 40),
            (1, 9, 127),
            (3, 24, 65),
            (9, 1, 47),
            (17, 12, 24),
            (8, 64, 63),
            (4, 0, 5),
        ] {
            let (a_data, b_data) = (integers(inner * rows, 5), integers(inner * columns, 3));
            let before = integers(rows * columns, 4);
            for set in InstructionSet::available() {
                let mut out = before.clone();
                let a = Matrix::row_major(&a_data, [inner, rows]).transposed();
                let b = Matrix::row_major(&b_data, [inner, columns]);
                let view = MatrixMut::row_major(&mut out, [rows, columns]);
                // SAFETY: the set is available.
                unsafe { Product::new(a, b, 2.0, true, view).run(set) };
                for i in 0..rows {
                    for j in 0..columns {
                        let sum: f32 =
                            (0..inner).map(|k| a_data[k * rows + i] * b_data[k * columns + j]).sum();
                        assert_eq!(
                            out[i * columns + j],
                            before[i * columns + j] + 2.0 * sum,
                            "{set:?} {rows}x{inner}x{columns}"
                        );
                    }
                }
            }
        }
    }

    /// So a sequence gets the same numbers however long the others of its batch are, and read at once or in parts.
    #[test]
    fn a_product_has_the_same_bits_whatever_the_other_rows_and_hidden_columns_are() {
        let wave = |n: usize| -> Vec<f32> { (0..n).map(|i| (i as f32 * 0.37).sin()).collect() };
        let (a_data, b_data) = (wave(11 * 30), wave(35 * 125));
        for set in InstructionSet::available() {
            let product = |a: Matrix| {
                let [rows, inner] = a.shape();
                let mut out = vec![0.0; rows * 125];
                let b = Matrix::row_major(&b_data[..inner * 125], [inner, 125]);
                let view = MatrixMut::row_major(&mut out, [rows, 125]);
                // SAFETY: the set is available.
                unsafe { Product::new(a, b, 0.7, false, view).run(set) };
                out
            };
            let a = Matrix::row_major(&a_data, [11, 30]);
            let expected = product(a);
            for (first, n) in [(0, 8), (3, 1), (4, 2), (5, 3), (2, 9)] {
                let found = product(a.rows(first..first + n));
                assert_eq!(found, expected[125 * first..][..125 * n], "{set:?} {first} {n}");
            }
            // What a query does not see has a probability of zero.
            let longer: Vec<f32> = (0..11).flat_map(|i| [a.row(i), &[0.0; 5]].concat()).collect();
            assert_eq!(product(Matrix::row_major(&longer, [11, 35])), expected, "{set:?}");
        }
    }

    #[test]
    fn a_view_inside_wider_rows_is_written_alone() {
        let mut out = vec![9.0; 12];
        multiply(
            Matrix::row_major(&[1.0, 2.0], [2, 1]),
            Matrix::row_major(&[3.0, 4.0], [1, 2]),
            1.0,
            MatrixMut::new(&mut out, [2, 2], 5),
        );
        assert_eq!(out, [3.0, 4.0, 9.0, 9.0, 9.0, 6.0, 8.0, 9.0, 9.0, 9.0, 9.0, 9.0]);
    }

    #[test]
    #[should_panic(expected = "into")]
    fn shapes_are_checked() {
        multiply(
            Matrix::row_major(&[0.0; 6], [2, 3]),
            Matrix::row_major(&[0.0; 4], [2, 2]),
            1.0,
            MatrixMut::row_major(&mut [0.0; 4], [2, 2]),
        );
    }
}
