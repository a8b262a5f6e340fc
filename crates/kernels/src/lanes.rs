//! One body of code for every instruction set: lanes of `f32` with the operations that the fused kernels need.
//!
//! A kernel is a [`Body`], generic over [`Lanes`]; [`run`] compiles it once for each instruction set and calls the one
//! that it is told. A value of a `Lanes` type is the proof that its instructions may run: only [`run`] makes them.
//! Elementwise results may differ in the last place between instruction sets (fused multiply-add or not), never between
//! places in a vector or numbers of threads.

use crate::isa::Isa;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod math;
mod portable;
mod rows;
#[cfg(target_arch = "x86_64")]
mod segments;

pub(crate) use math::{exp, logistic, normal_tail, tanh};
pub(crate) use rows::{dot, largest, map, map2, total, update, update_total, update1, update2};

/// Lanes of `f32` of one instruction set.
///
/// Methods that take pointers are unsafe: the caller answers for the memory. `part` methods touch the first `n < N` lanes
/// only; the other lanes are read as 0.
pub(crate) trait Lanes: Copy {
    /// The lanes.
    type V: Copy;
    /// One truth value for each lane.
    type M: Copy;
    /// How many.
    const N: usize;
    /// Whether 16 accumulators fit in registers.
    const MANY: bool;

    /// # Safety
    /// `p` is readable for `N` values.
    unsafe fn load(self, p: *const f32) -> Self::V;
    /// # Safety
    /// `p` is readable for `n < N` values.
    unsafe fn load_part(self, p: *const f32, n: usize) -> Self::V;
    /// Whole numbers, rounded to the nearest.
    ///
    /// # Safety
    /// `p` is readable for `N` values.
    unsafe fn load_whole(self, p: *const i32) -> Self::V;
    /// # Safety
    /// `p` is writable for `N` values.
    unsafe fn store(self, p: *mut f32, v: Self::V);
    /// # Safety
    /// `p` is writable for `n < N` values.
    unsafe fn store_part(self, p: *mut f32, n: usize, v: Self::V);
    /// `to[c · to_stride + r] = from[r · from_stride + c]` for `r < rows ≤ N` and `c < columns ≤ N`; 0 for other `r < N`.
    ///
    /// # Safety
    /// `rows` rows of `columns` values are readable, and `columns` rows of `N` writable.
    unsafe fn transpose(
        self,
        size: [usize; 2],
        from: *const f32,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    );
    /// The first `n ≤ N` lanes of `v`, and `other` in the rest.
    fn keep(self, n: usize, v: Self::V, other: Self::V) -> Self::V;

    fn splat(self, x: f32) -> Self::V;
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once where the instruction exists.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The smaller; `b` where either is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// The larger; `b` where either is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    fn sqrt(self, a: Self::V) -> Self::V;
    fn abs(self, a: Self::V) -> Self::V;
    /// `a < b`; false where either is NaN.
    fn less(self, a: Self::V, b: Self::V) -> Self::M;
    fn select(self, mask: Self::M, yes: Self::V, no: Self::V) -> Self::V;
    /// The nearest whole number, for |a| below 2²².
    fn round(self, a: Self::V) -> Self::V;
    /// `p · 2ⁿ` for whole n from −126 to 127.
    fn scale(self, p: Self::V, n: Self::V) -> Self::V;
    /// a·Φ(−a) for a ≥ 0, with Φ the normal distribution function, to 1e-7; any number for NaN.
    #[inline(always)]
    fn below(self, a: Self::V) -> Self::V {
        // Beyond 20 it is 0 long since, but an infinite factor would make it NaN.
        let a = self.min(self.splat(20.0), a);
        self.mul(a, normal_tail(self, a).0)
    }
    /// Σ of the lanes, halves added to halves.
    fn sum(self, a: Self::V) -> f32;
    /// The largest lane.
    fn top(self, a: Self::V) -> f32;
}

/// What [`run`] runs. `call` must be `#[inline(always)]`, and so must everything that it calls with `lanes`, closures included:
/// what is not inlined is compiled without the instructions, and calls a function for each of them.
pub(crate) trait Body {
    type Out;
    fn call<L: Lanes>(self, lanes: L) -> Self::Out;
}

/// Calls a body with the lanes of `isa`, or the widest below it that this machine has.
pub(crate) fn run<B: Body>(isa: Isa, body: B) -> B::Out {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")]
        fn wide<B: Body>(body: B) -> B::Out {
            // SAFETY: this function is compiled for, and called with, these features only.
            body.call(unsafe { avx512::Avx512::new() })
        }
        #[target_feature(enable = "avx2,fma")]
        fn middle<B: Body>(body: B) -> B::Out {
            // SAFETY: this function is compiled for, and called with, these features only.
            body.call(unsafe { avx2::Avx2::new() })
        }
        // What is asked for must not be believed: an `Isa` can be made by anyone.
        let isa = isa.min(crate::isa::current());
        if isa >= Isa::Avx512 {
            // SAFETY: `isa::current` has found the features.
            return unsafe { wide(body) };
        }
        if isa >= Isa::Avx2 {
            // SAFETY: `isa::current` has found the features.
            return unsafe { middle(body) };
        }
    }
    let _ = isa;
    body.call(portable::Portable)
}
