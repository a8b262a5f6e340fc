use super::Lanes;

/// 8 lanes in an array, for the compiler to vectorise as far as its target goes.
#[derive(Clone, Copy)]
pub(super) struct Portable;

const N: usize = 8;
/// Adding 1.5·2²³ leaves no bits for a fraction.
const WHOLE: f32 = 12_582_912.0;

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; N] {
    let mut out = [0.0; N];
    for k in 0..N {
        out[k] = f(k);
    }
    out
}

#[inline(always)]
fn fold(a: [f32; N], f: impl Fn(f32, f32) -> f32) -> f32 {
    let four: [f32; 4] = std::array::from_fn(|k| f(a[k], a[k + 4]));
    f(f(four[0], four[2]), f(four[1], four[3]))
}

// SAFETY of every block below: pointers are the caller's promise.
impl Lanes for Portable {
    type V = [f32; N];
    type M = [bool; N];
    const N: usize = N;
    const MANY: bool = cfg!(target_arch = "aarch64");

    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> [f32; N] {
        unsafe { p.cast::<[f32; N]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn load_part(self, p: *const f32, n: usize) -> [f32; N] {
        each(|k| if k < n { unsafe { *p.add(k) } } else { 0.0 })
    }
    #[inline(always)]
    unsafe fn load_whole(self, p: *const i32) -> [f32; N] {
        unsafe {
            {
                let whole = p.cast::<[i32; N]>().read_unaligned();
                each(|k| whole[k] as f32)
            }
        }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: [f32; N]) {
        unsafe { p.cast::<[f32; N]>().write_unaligned(v) }
    }
    #[inline(always)]
    unsafe fn store_part(self, p: *mut f32, n: usize, v: [f32; N]) {
        for k in 0..n {
            unsafe { *p.add(k) = v[k] }
        }
    }
    #[inline(always)]
    unsafe fn transpose(
        self,
        [rows, columns]: [usize; 2],
        from: *const f32,
        from_stride: usize,
        to: *mut f32,
        to_stride: usize,
    ) {
        for c in 0..columns {
            for r in 0..N {
                let value = if r < rows { unsafe { *from.add(r * from_stride + c) } } else { 0.0 };
                unsafe { *to.add(c * to_stride + r) = value }
            }
        }
    }
    #[inline(always)]
    fn keep(self, n: usize, v: [f32; N], other: [f32; N]) -> [f32; N] {
        each(|k| if k < n { v[k] } else { other[k] })
    }
    #[inline(always)]
    fn splat(self, x: f32) -> [f32; N] {
        [x; N]
    }
    #[inline(always)]
    fn add(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        each(|k| a[k] + b[k])
    }
    #[inline(always)]
    fn sub(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        each(|k| a[k] - b[k])
    }
    #[inline(always)]
    fn mul(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        each(|k| a[k] * b[k])
    }
    #[inline(always)]
    fn div(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        each(|k| a[k] / b[k])
    }
    #[inline(always)]
    fn fma(self, a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        // Without the instruction a fused multiply-add is a slow library call.
        if cfg!(any(target_arch = "aarch64", target_feature = "fma")) {
            each(|k| a[k].mul_add(b[k], c[k]))
        } else {
            each(|k| a[k] * b[k] + c[k])
        }
    }
    #[inline(always)]
    fn min(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        each(|k| if a[k] < b[k] { a[k] } else { b[k] })
    }
    #[inline(always)]
    fn max(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        each(|k| if a[k] > b[k] { a[k] } else { b[k] })
    }
    #[inline(always)]
    fn sqrt(self, a: [f32; N]) -> [f32; N] {
        each(|k| a[k].sqrt())
    }
    #[inline(always)]
    fn abs(self, a: [f32; N]) -> [f32; N] {
        each(|k| a[k].abs())
    }
    #[inline(always)]
    fn less(self, a: [f32; N], b: [f32; N]) -> [bool; N] {
        std::array::from_fn(|k| a[k] < b[k])
    }
    #[inline(always)]
    fn select(self, mask: [bool; N], yes: [f32; N], no: [f32; N]) -> [f32; N] {
        each(|k| if mask[k] { yes[k] } else { no[k] })
    }
    #[inline(always)]
    fn round(self, a: [f32; N]) -> [f32; N] {
        each(|k| (a[k] + WHOLE) - WHOLE)
    }
    #[inline(always)]
    fn scale(self, p: [f32; N], n: [f32; N]) -> [f32; N] {
        each(|k| {
            // The last bits of n + WHOLE are n; the shift drops the rest.
            let exponent = (n[k] + WHOLE).to_bits().wrapping_add(127) << 23;
            p[k] * f32::from_bits(exponent)
        })
    }
    #[inline(always)]
    fn sum(self, a: [f32; N]) -> f32 {
        fold(a, |a, b| a + b)
    }
    #[inline(always)]
    fn top(self, a: [f32; N]) -> f32 {
        fold(a, |a, b| if a > b { a } else { b })
    }
}
