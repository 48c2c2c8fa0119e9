//! Vector registers of the instruction sets.

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
#[cfg(target_arch = "x86_64")]
pub(super) use std::arch::x86_64::{__m128, __m256, __m512};

/// The widest register that every processor of the target architecture has.
#[cfg(target_arch = "aarch64")]
pub(super) type Base = float32x4_t;
/// The widest register that every processor of the target architecture has, as far as this crate uses it.
#[cfg(not(target_arch = "aarch64"))]
pub(super) type Base = f32;

/// One vector register.
///
/// # Safety
/// The processor has the register's instruction set, and pointers cover `WIDTH` elements.
pub(super) trait Vector: Copy {
    const WIDTH: usize;
    unsafe fn splat(x: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self + a · b`.
    unsafe fn add_product(self, a: Self, b: Self) -> Self;
}

/// A register for sums over rows of any length.
///
/// # Safety
/// As of [`Vector`].
pub(super) trait Reduce: Vector {
    /// The first elements, fewer than a register has, and zeros in the lanes behind them.
    unsafe fn load_first(from: *const f32, n: usize) -> Self;
    /// The sum of the lanes of each of several registers, together cheaper than one by one.
    unsafe fn sums(registers: [Self; 8]) -> [f32; 8];
}

impl Vector for f32 {
    const WIDTH: usize = 1;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        x
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller's promise.
        unsafe { *from }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller's promise.
        unsafe { *to = self }
    }

    #[inline(always)]
    unsafe fn add_product(self, a: Self, b: Self) -> Self {
        self + a * b
    }
}

impl Reduce for f32 {
    #[inline(always)]
    unsafe fn load_first(_from: *const f32, _n: usize) -> Self {
        0.0
    }

    #[inline(always)]
    unsafe fn sums(registers: [Self; 8]) -> [f32; 8] {
        registers
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
macro_rules! vector {
    ($register:ty, $width:literal, $splat:ident, $load:ident, $store:ident, $multiply_add:ident) => {
        impl Vector for $register {
            const WIDTH: usize = $width;

            #[inline(always)]
            unsafe fn splat(x: f32) -> Self {
                // SAFETY: the caller's promise.
                unsafe { $splat(x) }
            }

            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                // SAFETY: the caller's promise.
                unsafe { $load(from) }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                // SAFETY: the caller's promise.
                unsafe { $store(to, self) }
            }

            #[inline(always)]
            unsafe fn add_product(self, a: Self, b: Self) -> Self {
                // SAFETY: the caller's promise.
                unsafe { $multiply_add(a, b, self) }
            }
        }
    };
}

#[cfg(target_arch = "x86_64")]
vector!(__m128, 4, _mm_set1_ps, _mm_loadu_ps, _mm_storeu_ps, _mm_fmadd_ps);
#[cfg(target_arch = "x86_64")]
vector!(__m256, 8, _mm256_set1_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_fmadd_ps);
#[cfg(target_arch = "x86_64")]
vector!(__m512, 16, _mm512_set1_ps, _mm512_loadu_ps, _mm512_storeu_ps, _mm512_fmadd_ps);
#[cfg(target_arch = "aarch64")]
vector!(float32x4_t, 4, vdupq_n_f32, vld1q_f32, vst1q_f32, neon_multiply_add);

/// `a · b + c`, with the arguments in the order of the other sets.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn neon_multiply_add(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
    // SAFETY: every processor of the architecture has it.
    unsafe { vfmaq_f32(c, a, b) }
}

#[cfg(target_arch = "x86_64")]
impl Reduce for __m256 {
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        // SAFETY: the caller's promise, and lanes outside of the mask are not read.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            _mm256_maskload_ps(from, _mm256_cmpgt_epi32(_mm256_set1_epi32(n as i32), lanes))
        }
    }

    #[inline(always)]
    unsafe fn sums([r0, r1, r2, r3, r4, r5, r6, r7]: [Self; 8]) -> [f32; 8] {
        let mut sums = [0.0; 8];
        // SAFETY: the caller's promise; the array has the register's width.
        unsafe {
            let even = add_neighbours(add_halves(r0, r4), add_halves(r2, r6));
            let odd = add_neighbours(add_halves(r1, r5), add_halves(r3, r7));
            _mm256_storeu_ps(sums.as_mut_ptr(), add_neighbours(even, odd));
        }
        sums
    }
}

/// The halves of `a` added to each other, then those of `b`.
///
/// A function and not a closure, as are the others: what is not inlined has to know the instruction set.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn add_halves(a: __m256, b: __m256) -> __m256 {
    _mm256_add_ps(_mm256_permute2f128_ps::<0x20>(a, b), _mm256_permute2f128_ps::<0x31>(a, b))
}

/// In either half of the registers `a0 + a2, b0 + b2, a1 + a3, b1 + b3`.
#[cfg(target_arch = "x86_64")]
#[inline]
#[target_feature(enable = "avx2")]
fn add_neighbours(a: __m256, b: __m256) -> __m256 {
    _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b))
}

#[cfg(target_arch = "aarch64")]
impl Reduce for float32x4_t {
    #[inline(always)]
    unsafe fn load_first(from: *const f32, n: usize) -> Self {
        let mut lanes = [0.0; 4];
        // SAFETY: the caller's promise, and `n` is below the width.
        unsafe {
            std::ptr::copy_nonoverlapping(from, lanes.as_mut_ptr(), n);
            vld1q_f32(lanes.as_ptr())
        }
    }

    #[inline(always)]
    unsafe fn sums([r0, r1, r2, r3, r4, r5, r6, r7]: [Self; 8]) -> [f32; 8] {
        let mut sums = [0.0; 8];
        // SAFETY: every processor of the architecture has the instructions; the array has twice the width.
        unsafe {
            let first = vpaddq_f32(vpaddq_f32(r0, r1), vpaddq_f32(r2, r3));
            let second = vpaddq_f32(vpaddq_f32(r4, r5), vpaddq_f32(r6, r7));
            vst1q_f32(sums.as_mut_ptr(), first);
            vst1q_f32(sums.as_mut_ptr().add(4), second);
        }
        sums
    }
}
