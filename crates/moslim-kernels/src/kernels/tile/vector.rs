//! Vector registers of the instruction sets.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::super::simd::add_lanes;
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
    /// The sum of the lanes.
    unsafe fn sum(self) -> f32;
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

    #[inline(always)]
    unsafe fn sum(self) -> f32 {
        self
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

            #[inline(always)]
            unsafe fn sum(self) -> f32 {
                let mut lanes = [0.0; $width];
                // SAFETY: the array has the register's width, and the caller's promise.
                unsafe { self.store(lanes.as_mut_ptr()) };
                add_lanes(lanes)
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
vector!(float32x4_t, 4, vdupq_n_f32, vld1q_f32, vst1q_f32, vfmaq_f32_of);

/// `a · b + c`, with the arguments in the order of the other sets.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn vfmaq_f32_of(a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
    // SAFETY: every processor of the architecture has it.
    unsafe { vfmaq_f32(c, a, b) }
}
