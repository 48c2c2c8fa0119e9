//! Run-time choice of the instruction set, the exponential, and reductions.
//!
//! Kernels are ordinary loops that the compiler vectorises once per instruction set.
#![allow(
    unsafe_code,
    reason = "code for an instruction set may only be called once the processor is known to have it"
)]

/// What the processor offers, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum InstructionSet {
    /// What every processor of the target architecture has.
    Portable,
    /// 256-bit vectors and fused multiply-add (x86-64-v3).
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// 512-bit vectors (x86-64-v4).
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl InstructionSet {
    /// The best set of this processor. The standard library remembers the answer, so asking costs a few loads.
    pub(crate) fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq");
            return if avx512 { Self::Avx512 } else { Self::Avx2 };
        }
        Self::Portable
    }

    /// Every set that this processor has.
    #[cfg(test)]
    pub(crate) fn available() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        let all = [Self::Portable, Self::Avx2, Self::Avx512];
        #[cfg(not(target_arch = "x86_64"))]
        let all = [Self::Portable];
        all.into_iter().filter(|&set| set <= Self::detect()).collect()
    }
}

/// A loop to be compiled for every instruction set; its fields are its arguments.
///
/// An implementation marks `run` as `#[inline(always)]`: only code that is inlined is compiled for the caller's set.
pub(crate) trait Kernel {
    type Output;

    /// `FMA`: a fused multiply-add is one instruction, not a library call.
    fn run<const FMA: bool>(self) -> Self::Output;
}

/// Runs a kernel as compiled for the best instruction set of this processor.
pub(crate) fn run<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: the set was just detected.
    unsafe { run_on(InstructionSet::detect(), kernel) }
}

/// # Safety
/// The processor has the instruction set.
unsafe fn run_on<K: Kernel>(set: InstructionSet, kernel: K) -> K::Output {
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma")]
    fn on_avx2<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<true>()
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,fma,avx512f,avx512vl,avx512bw,avx512dq")]
    fn on_avx512<K: Kernel>(kernel: K) -> K::Output {
        kernel.run::<true>()
    }

    match set {
        // Fused multiply-add is part of every 64-bit Arm processor.
        InstructionSet::Portable => kernel.run::<{ cfg!(target_arch = "aarch64") }>(),
        // SAFETY: the caller's promise.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx2 => unsafe { on_avx2(kernel) },
        // SAFETY: the caller's promise.
        #[cfg(target_arch = "x86_64")]
        InstructionSet::Avx512 => unsafe { on_avx512(kernel) },
    }
}

/// `a · b + c`, rounded once where that is one instruction.
#[inline(always)]
pub(crate) fn multiply_add<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `eˣ` to about one unit in the last place, without branches, so that loops over it vectorise.
///
/// Saturates at about 1.2e-38 and 2.4e38; NaN stays NaN.
/// Range reduction by powers of two and the degree-5 polynomial of Cephes' `expf`.
#[inline(always)]
pub(crate) fn exp<const FMA: bool>(x: f32) -> f32 {
    // Adding 1.5 · 2²³ rounds to an integer and leaves it in the low bits of the mantissa.
    const ROUND_TO_INTEGER: f32 = 12_582_912.0;
    // ln 2 in two parts, so that `n · ln 2` loses nothing.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Written with `if`, because `f32::max` and `f32::min` would drop a NaN.
    let x = if x < -87.336_54 { -87.336_54 } else { x };
    let x = if x > 88.376_26 { 88.376_26 } else { x };
    let shifted = multiply_add::<FMA>(x, std::f32::consts::LOG2_E, ROUND_TO_INTEGER);
    let n = shifted - ROUND_TO_INTEGER;
    let r = multiply_add::<FMA>(n, -LN_2_HIGH, x);
    let r = multiply_add::<FMA>(n, -LN_2_LOW, r);
    let mut polynomial = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        polynomial = multiply_add::<FMA>(polynomial, r, coefficient);
    }
    let fraction = multiply_add::<FMA>(polynomial, r * r, r) + 1.0;
    let power_of_two = f32::from_bits((shifted.to_bits() << 23).wrapping_add(1.0_f32.to_bits()));
    fraction * power_of_two
}

/// `1 / (1 + e⁻ˣ)`.
#[inline(always)]
pub(crate) fn sigmoid<const FMA: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FMA>(-x))
}

/// Independent partial results of a long reduction: wide enough to fill the vector units, fixed so that the order of additions is the same everywhere.
pub(crate) const LANES: usize = 16;

/// The sum of partial results, in a fixed order.
#[inline(always)]
pub(crate) fn add_lanes<const N: usize>(mut lanes: [f32; N]) -> f32 {
    let mut width = N / 2;
    while width > 0 {
        for i in 0..width {
            lanes[i] += lanes[i + width];
        }
        width /= 2;
    }
    lanes[0]
}

/// The inner product; `N` lanes (a power of two) suit rows of at least that length.
#[inline(always)]
pub(crate) fn dot<const FMA: bool, const N: usize>(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<N>(), b.as_chunks::<N>());
    let mut lanes = [0.0; N];
    for (a, b) in a.iter().zip(b) {
        for i in 0..N {
            lanes[i] = multiply_add::<FMA>(a[i], b[i], lanes[i]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    add_lanes(lanes) + rest
}

/// The largest element; NaN elements are passed over.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for i in 0..LANES {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |max, &x| if x > max { x } else { max })
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Exp<'a>(&'a mut [f32]);

    impl Kernel for Exp<'_> {
        type Output = ();

        #[inline(always)]
        fn run<const FMA: bool>(self) {
            for x in self.0 {
                *x = exp::<FMA>(*x);
            }
        }
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        let inputs: Vec<f32> = (-87_000..88_000).map(|i| i as f32 / 1000.0).collect();
        for set in InstructionSet::available() {
            let mut outputs = inputs.clone();
            // SAFETY: the set is available.
            unsafe { run_on(set, Exp(&mut outputs)) };
            for (x, y) in inputs.iter().zip(outputs) {
                let exact = f64::from(*x).exp();
                let error = (f64::from(y) - exact).abs() / exact;
                assert!(
                    error <= 2.0 * f64::from(f32::EPSILON),
                    "{set:?}: exp({x}) = {y}, relative error {error:e}"
                );
            }
        }
    }

    #[test]
    fn exp_saturates_and_keeps_nan() {
        assert_eq!(exp::<false>(0.0), 1.0);
        assert!(exp::<false>(f32::NEG_INFINITY) < 1.3e-38);
        assert!(exp::<false>(f32::INFINITY).is_finite());
        assert!(exp::<false>(f32::NAN).is_nan());
    }

    #[test]
    fn reductions_cover_whole_lanes_and_the_rest() {
        for n in [0, 1, 7, 8, 31, 32, 33, 100] {
            let x: Vec<f32> = (1..=n).map(|i| i as f32).collect();
            let squares = (n * (n + 1) * (2 * n + 1) / 6) as f32;
            assert_eq!(dot::<false, LANES>(&x, &x), squares);
            assert_eq!(dot::<false, 8>(&x, &x), squares);
            assert_eq!(max(&x), if n == 0 { f32::NEG_INFINITY } else { n as f32 });
        }
    }
}
