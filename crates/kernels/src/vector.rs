//! Elementwise functions over slices, vectorised for the machine that runs them: exponentials, softplus, logistic.
//!
//! The polynomials use plain multiplications and additions in one order, and sums run in sixteen lanes that are added in
//! a fixed order, so results are the same bytes whichever instruction set is found. Errors are a few units in the last
//! place (tested against `std`).

use crate::Real;

/// Lanes of a sum or a maximum.
const LANES: usize = 16;

/// The elementwise functions of one number type; use the free functions of this module.
pub trait Vector: Sized {
    /// `out = exp(scale · (s − shift) − top)`; returns the sum.
    fn exp_sum(s: &[Self], scale: Self, shift: Self, top: Self, out: &mut [Self]) -> Self;
    /// `x = exp(x − top)`; returns the sum.
    fn exp_sum_in_place(x: &mut [Self], top: Self) -> Self;
    /// The largest value, or `start` if that is larger.
    fn largest(s: &[Self], start: Self) -> Self;
    /// `out = log(1 + exp(u))`'s derivative for `u = scale · (s − shift)`; returns the sum of the values.
    fn softplus_sum(s: &[Self], scale: Self, shift: Self, out: &mut [Self]) -> f64;
    /// `out = 1 / (1 + exp(−scale · (s − shift)))`; returns the sum.
    fn logistic_sum(s: &[Self], scale: Self, shift: Self, out: &mut [Self]) -> f64;
    /// For `v = scale · (s − shift)`: how many are greater than 0 and their sum; adds `weight` to `to` there.
    fn hinge_sum(s: &[Self], scale: Self, shift: Self, weight: Self, to: &mut [Self]) -> (u64, f64);
    /// `g = n + m − 2g`; returns how many are below `limit · (n + m)`.
    fn squared_distances(g: &mut [Self], n: Self, m: &[Self], limit: Self) -> u64;
    /// `s = √max(s, 0)`.
    fn roots(s: &mut [Self]);
    /// `d = factor · d / s`, and 0 where `s` is not above 0; returns the sum.
    fn divide_sum(d: &mut [Self], factor: Self, s: &[Self]) -> f64;
    /// `d = factor · d`; returns the sum.
    fn scale_sum(d: &mut [Self], factor: Self) -> f64;
    /// `to += factor · y`; returns the sum of `factor · y`.
    fn add_scaled(to: &mut [Self], factor: Self, y: &[Self]) -> f64;
    /// `out = y (1 − y)` for `y = 1 / (1 + exp(−scale · (s − shift)))`; returns the sum of `y`.
    fn step_sum(s: &[Self], scale: Self, shift: Self, out: &mut [Self]) -> f64;
}

/// Squared distances from inner products, in place: `g = n + m − 2g`, where `n` and `m` are squared norms. Returns how
/// many come out below `limit · (n + m)`, where the inner product has cancelled most digits.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn squared_distances<T: Real>(g: &mut [T], n: T, m: &[T], limit: T) -> u64 {
    assert_eq!(g.len(), m.len());
    T::squared_distances(g, n, m, limit)
}

/// `s = √max(s, 0)` in place; NaN stays.
#[inline]
pub fn roots<T: Real>(s: &mut [T]) {
    T::roots(s);
}

/// `d = factor · d / s` in place, and 0 where `s` is not above 0; returns the sum.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn divide_sum<T: Real>(d: &mut [T], factor: T, s: &[T]) -> f64 {
    assert_eq!(d.len(), s.len());
    T::divide_sum(d, factor, s)
}

/// `d = factor · d` in place; returns the sum.
#[inline]
pub fn scale_sum<T: Real>(d: &mut [T], factor: T) -> f64 {
    T::scale_sum(d, factor)
}

/// `to += factor · y`; returns the sum of `factor · y`.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn add_scaled<T: Real>(to: &mut [T], factor: T, y: &[T]) -> f64 {
    assert_eq!(to.len(), y.len());
    T::add_scaled(to, factor, y)
}

/// With `y = 1 / (1 + exp(−scale · (s − shift)))`: leaves `y (1 − y)`, the derivative by the exponent, in `out` and returns
/// the sum of `y`.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn step_sum<T: Real>(s: &[T], scale: T, shift: T, out: &mut [T]) -> f64 {
    assert_eq!(s.len(), out.len());
    T::step_sum(s, scale, shift, out)
}

/// `out = exp(scale · (s − shift) − top)`; returns the sum.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn exp_sum<T: Real>(s: &[T], scale: T, shift: T, top: T, out: &mut [T]) -> T {
    assert_eq!(s.len(), out.len());
    T::exp_sum(s, scale, shift, top, out)
}

/// `x = exp(x − top)`; returns the sum.
#[inline]
pub fn exp_sum_in_place<T: Real>(x: &mut [T], top: T) -> T {
    T::exp_sum_in_place(x, top)
}

/// The largest value, or `start` if that is larger. NaN is passed over.
#[inline]
pub fn largest<T: Real>(s: &[T], start: T) -> T {
    T::largest(s, start)
}

/// With `u = scale · (s − shift)`: returns `Σ log(1 + eᵘ)` and leaves `1 / (1 + e⁻ᵘ)`, its derivative, in `out`.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn softplus_sum<T: Real>(s: &[T], scale: T, shift: T, out: &mut [T]) -> f64 {
    assert_eq!(s.len(), out.len());
    T::softplus_sum(s, scale, shift, out)
}

/// With `u = scale · (s − shift)`: leaves `1 / (1 + e⁻ᵘ)` in `out` and returns its sum.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn logistic_sum<T: Real>(s: &[T], scale: T, shift: T, out: &mut [T]) -> f64 {
    assert_eq!(s.len(), out.len());
    T::logistic_sum(s, scale, shift, out)
}

/// With `v = scale · (s − shift)`: returns how many `v` are greater than 0 and their sum, and adds `weight` to `to` where
/// they are.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn hinge_sum<T: Real>(s: &[T], scale: T, shift: T, weight: T, to: &mut [T]) -> (u64, f64) {
    assert_eq!(s.len(), to.len());
    T::hinge_sum(s, scale, shift, weight, to)
}

/// Runs a body with the widest instructions of the machine.
macro_rules! widest {
    ($body:ident($arg:ident: $arg_type:ty $(, $more:ident: $more_type:ty)*) -> $out:ty) => {{
        #[cfg(target_arch = "x86_64")]
        {
            #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")]
            fn avx512($arg: $arg_type $(, $more: $more_type)*) -> $out {
                $body($arg $(, $more)*)
            }
            #[target_feature(enable = "avx2,fma")]
            fn avx2($arg: $arg_type $(, $more: $more_type)*) -> $out {
                $body($arg $(, $more)*)
            }
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("fma")
            {
                // SAFETY: the features that the function is compiled for have just been found.
                return unsafe { avx512($arg $(, $more)*) };
            }
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                // SAFETY: the features that the function is compiled for have just been found.
                return unsafe { avx2($arg $(, $more)*) };
            }
        }
        $body($arg $(, $more)*)
    }};
}

macro_rules! vector {
    (
        $module:ident, $t:ident, $bits:ident, mantissa $mantissa:literal, bias $bias:literal, magic $magic:literal,
        lowest $lowest:literal, highest $highest:literal, ln2 $ln2_high:literal $ln2_low:literal,
        exp [$($exp:expr),*], log [$($log:expr),*]
    ) => {
        mod $module {
            use super::LANES;

            /// Coefficients of eʳ on |r| ≤ ln 2 / 2, highest first.
            const EXP: &[$t] = &[$($exp),*];
            /// Coefficients of atanh(t) / t in t² on t ≤ 1/3, highest first.
            const LOG: &[$t] = &[$($log),*];

            #[inline(always)]
            fn power_of_two(n: $bits) -> $t {
                <$t>::from_bits(n.wrapping_add($bias) << $mantissa)
            }

            /// eˣ; 0 far below and infinity above the range of the type.
            #[inline(always)]
            fn exp(x: $t) -> $t {
                // NaN passes both comparisons.
                let x = if x < $lowest { $lowest } else { x };
                let x = if x > $highest { $highest } else { x };
                let shifted = x * std::$t::consts::LOG2_E + $magic;
                let n = shifted - $magic;
                let r = (x - n * $ln2_high) - n * $ln2_low;
                let mut p = EXP[0];
                for &c in &EXP[1..] {
                    p = p * r + c;
                }
                // Two factors, so that neither leaves the range of normal numbers; n is made positive to be halved.
                let n = shifted.to_bits().wrapping_sub(<$t>::to_bits($magic)).wrapping_add(4096);
                let half = n >> 1;
                p * power_of_two(half.wrapping_sub(2048)) * power_of_two((n - half).wrapping_sub(2048))
            }

            /// log(1 + e) for e in [0, 1].
            #[inline(always)]
            fn log_one_plus(e: $t) -> $t {
                let t = e / (2.0 + e);
                let square = t * t;
                let mut p = LOG[0];
                for &c in &LOG[1..] {
                    p = p * square + c;
                }
                2.0 * t * p
            }

            #[inline(always)]
            fn add_lanes(lanes: [$t; LANES]) -> $t {
                let mut lanes = lanes;
                let mut width = LANES / 2;
                while width > 0 {
                    for k in 0..width {
                        lanes[k] += lanes[k + width];
                    }
                    width /= 2;
                }
                lanes[0]
            }

            /// Maps `s` to `out` with sums in lanes, carried to f64 every 4096 values.
            #[inline(always)]
            fn map_sum(s: &[$t], out: &mut [$t], f: impl Fn($t, $t) -> ($t, $t)) -> f64 {
                let mut total = 0.0f64;
                for (s, out) in s.chunks(4096).zip(out.chunks_mut(4096)) {
                    let mut lanes = [0.0; LANES];
                    let (wide, rest) = s.as_chunks::<LANES>();
                    let (wide_out, rest_out) = out.as_chunks_mut::<LANES>();
                    for (s, out) in wide.iter().zip(wide_out) {
                        for k in 0..LANES {
                            let (value, kept) = f(s[k], out[k]);
                            lanes[k] += value;
                            out[k] = kept;
                        }
                    }
                    for (k, (s, out)) in rest.iter().zip(rest_out).enumerate() {
                        let (value, kept) = f(*s, *out);
                        lanes[k] += value;
                        *out = kept;
                    }
                    total += add_lanes(lanes) as f64;
                }
                total
            }

            #[inline(always)]
            fn exp_sum_body(s: &[$t], scale: $t, shift: $t, top: $t, out: &mut [$t]) -> $t {
                map_sum(s, out, |s, _| {
                    let e = exp(scale * (s - shift) - top);
                    (e, e)
                }) as $t
            }

            #[inline(always)]
            fn exp_sum_in_place_body(x: &mut [$t], top: $t) -> $t {
                let mut total = 0.0f64;
                for x in x.chunks_mut(4096) {
                    let mut lanes = [0.0; LANES];
                    let (wide, rest) = x.as_chunks_mut::<LANES>();
                    for x in wide {
                        for k in 0..LANES {
                            x[k] = exp(x[k] - top);
                            lanes[k] += x[k];
                        }
                    }
                    for (k, x) in rest.iter_mut().enumerate() {
                        *x = exp(*x - top);
                        lanes[k] += *x;
                    }
                    total += add_lanes(lanes) as f64;
                }
                total as $t
            }

            #[inline(always)]
            fn largest_body(s: &[$t], start: $t) -> $t {
                let mut lanes = [start; LANES];
                let (wide, rest) = s.as_chunks::<LANES>();
                for s in wide {
                    for k in 0..LANES {
                        lanes[k] = if s[k] > lanes[k] { s[k] } else { lanes[k] };
                    }
                }
                for (k, &s) in rest.iter().enumerate() {
                    lanes[k] = if s > lanes[k] { s } else { lanes[k] };
                }
                lanes.iter().fold(start, |top, &lane| if lane > top { lane } else { top })
            }

            #[inline(always)]
            fn softplus_sum_body(s: &[$t], scale: $t, shift: $t, out: &mut [$t]) -> f64 {
                map_sum(s, out, |s, _| {
                    let u = scale * (s - shift);
                    let small = exp(-u.abs());
                    let inverse = 1.0 / (1.0 + small);
                    let over = if u > 0.0 { u } else { 0.0 };
                    (over + log_one_plus(small), if u > 0.0 { inverse } else { small * inverse })
                })
            }

            #[inline(always)]
            fn logistic_sum_body(s: &[$t], scale: $t, shift: $t, out: &mut [$t]) -> f64 {
                map_sum(s, out, |s, _| {
                    let u = scale * (s - shift);
                    let small = exp(-u.abs());
                    let inverse = 1.0 / (1.0 + small);
                    let value = if u > 0.0 { inverse } else { small * inverse };
                    (value, value)
                })
            }

            #[inline(always)]
            fn squared_distances_body(g: &mut [$t], n: $t, m: &[$t], limit: $t) -> u64 {
                let mut near = 0u64;
                for (g, m) in g.chunks_mut(4096).zip(m.chunks(4096)) {
                    let mut here = 0u32;
                    for (g, &m) in g.iter_mut().zip(m) {
                        let sum = n + m;
                        *g = sum - 2.0 * *g;
                        here += u32::from(*g < limit * sum);
                    }
                    near += u64::from(here);
                }
                near
            }

            #[inline(always)]
            fn roots_body(s: &mut [$t]) {
                for s in s {
                    *s = (if *s < 0.0 { 0.0 } else { *s }).sqrt();
                }
            }

            #[inline(always)]
            fn divide_sum_body(d: &mut [$t], factor: $t, s: &[$t]) -> f64 {
                map_sum(s, d, |s, d| {
                    let value = if s > 0.0 { factor * d / s } else { 0.0 };
                    (value, value)
                })
            }

            #[inline(always)]
            fn scale_sum_body(d: &mut [$t], factor: $t) -> f64 {
                let mut total = 0.0f64;
                for d in d.chunks_mut(4096) {
                    let mut lanes = [0.0; LANES];
                    let (wide, rest) = d.as_chunks_mut::<LANES>();
                    for d in wide {
                        for k in 0..LANES {
                            d[k] *= factor;
                            lanes[k] += d[k];
                        }
                    }
                    for (k, d) in rest.iter_mut().enumerate() {
                        *d *= factor;
                        lanes[k] += *d;
                    }
                    total += add_lanes(lanes) as f64;
                }
                total
            }

            #[inline(always)]
            fn add_scaled_body(to: &mut [$t], factor: $t, y: &[$t]) -> f64 {
                map_sum(y, to, |y, to| (factor * y, to + factor * y))
            }

            #[inline(always)]
            fn step_sum_body(s: &[$t], scale: $t, shift: $t, out: &mut [$t]) -> f64 {
                map_sum(s, out, |s, _| {
                    let u = scale * (s - shift);
                    let small = exp(-u.abs());
                    let inverse = 1.0 / (1.0 + small);
                    let value = if u > 0.0 { inverse } else { small * inverse };
                    (value, small * inverse * inverse)
                })
            }

            #[inline(always)]
            fn hinge_sum_body(s: &[$t], scale: $t, shift: $t, weight: $t, to: &mut [$t]) -> (u64, f64) {
                let (mut count, mut total) = (0u64, 0.0f64);
                for (s, to) in s.chunks(4096).zip(to.chunks_mut(4096)) {
                    let mut open = 0u32;
                    total += map_sum(s, to, |s, to| {
                        let v = scale * (s - shift);
                        if v <= 0.0 { (0.0, to) } else { (v, to + weight) }
                    });
                    for &s in s {
                        let closed = scale * (s - shift) <= 0.0;
                        open += u32::from(!closed);
                    }
                    count += u64::from(open);
                }
                (count, total)
            }

            impl super::Vector for $t {
                fn exp_sum(s: &[$t], scale: $t, shift: $t, top: $t, out: &mut [$t]) -> $t {
                    widest!(exp_sum_body(s: &[$t], scale: $t, shift: $t, top: $t, out: &mut [$t]) -> $t)
                }
                fn exp_sum_in_place(x: &mut [$t], top: $t) -> $t {
                    widest!(exp_sum_in_place_body(x: &mut [$t], top: $t) -> $t)
                }
                fn largest(s: &[$t], start: $t) -> $t {
                    widest!(largest_body(s: &[$t], start: $t) -> $t)
                }
                fn softplus_sum(s: &[$t], scale: $t, shift: $t, out: &mut [$t]) -> f64 {
                    widest!(softplus_sum_body(s: &[$t], scale: $t, shift: $t, out: &mut [$t]) -> f64)
                }
                fn logistic_sum(s: &[$t], scale: $t, shift: $t, out: &mut [$t]) -> f64 {
                    widest!(logistic_sum_body(s: &[$t], scale: $t, shift: $t, out: &mut [$t]) -> f64)
                }
                fn squared_distances(g: &mut [$t], n: $t, m: &[$t], limit: $t) -> u64 {
                    widest!(squared_distances_body(g: &mut [$t], n: $t, m: &[$t], limit: $t) -> u64)
                }
                fn roots(s: &mut [$t]) {
                    widest!(roots_body(s: &mut [$t]) -> ())
                }
                fn divide_sum(d: &mut [$t], factor: $t, s: &[$t]) -> f64 {
                    widest!(divide_sum_body(d: &mut [$t], factor: $t, s: &[$t]) -> f64)
                }
                fn scale_sum(d: &mut [$t], factor: $t) -> f64 {
                    widest!(scale_sum_body(d: &mut [$t], factor: $t) -> f64)
                }
                fn add_scaled(to: &mut [$t], factor: $t, y: &[$t]) -> f64 {
                    widest!(add_scaled_body(to: &mut [$t], factor: $t, y: &[$t]) -> f64)
                }
                fn step_sum(s: &[$t], scale: $t, shift: $t, out: &mut [$t]) -> f64 {
                    widest!(step_sum_body(s: &[$t], scale: $t, shift: $t, out: &mut [$t]) -> f64)
                }
                fn hinge_sum(s: &[$t], scale: $t, shift: $t, weight: $t, to: &mut [$t]) -> (u64, f64) {
                    widest!(
                        hinge_sum_body(s: &[$t], scale: $t, shift: $t, weight: $t, to: &mut [$t]) -> (u64, f64)
                    )
                }
            }
        }
    };
}

vector!(
    single, f32, u32, mantissa 23, bias 127, magic 12_582_912.0,
    lowest -104.0, highest 89.0, ln2 0.693_359_4 -2.121_944_4e-4,
    exp [
        1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0
    ],
    log [1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 0.2, 1.0 / 3.0, 1.0]
);
vector!(
    double, f64, u64, mantissa 52, bias 1023, magic 6_755_399_441_055_744.0,
    lowest -746.0, highest 710.0, ln2 6.931_471_803_691_238e-1 1.908_214_929_270_587_7e-10,
    exp [
        1.0 / 6_227_020_800.0, 1.0 / 479_001_600.0, 1.0 / 39_916_800.0, 1.0 / 3_628_800.0, 1.0 / 362_880.0,
        1.0 / 40_320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0
    ],
    log [
        1.0 / 37.0, 1.0 / 35.0, 1.0 / 33.0, 1.0 / 31.0, 1.0 / 29.0, 1.0 / 27.0, 1.0 / 25.0, 1.0 / 23.0, 1.0 / 21.0,
        1.0 / 19.0, 1.0 / 17.0, 1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 0.2, 1.0 / 3.0, 1.0
    ]
);

#[cfg(test)]
mod tests {
    use super::*;

    /// The error in units of the last place of the exact value.
    fn units(found: f64, exact: f64, epsilon: f64, smallest: f64) -> f64 {
        (found - exact).abs() / (exact.abs().max(smallest) * epsilon)
    }

    #[test]
    fn exponentials_to_a_few_units_in_the_last_place() {
        let mut out = [0.0f64];
        let mut single = [0.0f32];
        let (mut worst, mut worst_single) = (0.0f64, 0.0f64);
        for i in 0..200_000 {
            let x = -740.0 + 1449.0 * f64::from(i) / 200_000.0;
            exp_sum(&[x], 1.0, 0.0, 0.0, &mut out);
            worst = worst.max(units(out[0], x.exp(), f64::EPSILON, f64::MIN_POSITIVE));
            let x = -103.0 + 191.7 * i as f32 / 200_000.0;
            exp_sum(&[x], 1.0, 0.0, 0.0, &mut single);
            let exact = f64::from(x).exp();
            worst_single = worst_single.max(units(
                single[0].into(),
                exact,
                f32::EPSILON.into(),
                f32::MIN_POSITIVE.into(),
            ));
        }
        println!("exp: {worst:.2} units (f64), {worst_single:.2} units (f32)");
        assert!(worst < 3.0 && worst_single < 3.0, "{worst} {worst_single}");
    }

    #[test]
    fn limits() {
        let mut out = [0.0f64; 5];
        exp_sum(&[0.0, -1e300, -750.0, 1e300, f64::NEG_INFINITY], 1.0, 0.0, 0.0, &mut out);
        assert_eq!(out, [1.0, 0.0, 0.0, f64::INFINITY, 0.0]);
        let mut out = [0.0f32; 5];
        exp_sum(&[0.0, -1e30, -110.0, 1e30, f32::NEG_INFINITY], 1.0, 0.0, 0.0, &mut out);
        assert_eq!(out, [1.0, 0.0, 0.0, f32::INFINITY, 0.0]);
        assert!(exp_sum(&[f64::NAN], 1.0, 0.0, 0.0, &mut [0.0]).is_nan());
        assert!(softplus_sum(&[f32::NAN], 1.0, 0.0, &mut [0.0]).is_nan());
        assert!(logistic_sum(&[f32::NAN], 1.0, 0.0, &mut [0.0]).is_nan());
        assert!(hinge_sum(&[f64::NAN], 1.0, 0.0, 1.0, &mut [0.0]).1.is_nan());
        assert_eq!(largest(&[1.0, f64::NAN, 3.0], 2.0), 3.0);
        assert_eq!(largest::<f32>(&[], -1.0), -1.0);
    }

    #[test]
    fn sums_equal_plain_loops_for_any_length() {
        for n in [0usize, 1, 15, 16, 17, 100, 4095, 4096, 5000] {
            let s: Vec<f64> = (0..n).map(|i| ((i * 37) % 101) as f64 / 10.0 - 5.0).collect();
            let (scale, shift) = (1.7, 0.3);
            let u: Vec<f64> = s.iter().map(|s| scale * (s - shift)).collect();
            let close = |found: f64, want: f64| {
                assert!((found - want).abs() <= 1e-11 * want.abs().max(1.0), "{n}: {found} {want}");
            };
            let mut out = vec![0.0; n];
            close(exp_sum(&s, scale, shift, 2.0, &mut out), u.iter().map(|u| (u - 2.0).exp()).sum());
            let mut place = u.clone();
            close(exp_sum_in_place(&mut place, 2.0), u.iter().map(|u| (u - 2.0).exp()).sum());
            assert_eq!(out, place);
            close(softplus_sum(&s, scale, shift, &mut out), u.iter().map(|u| u.exp().ln_1p()).sum());
            let slopes: Vec<f64> = u.iter().map(|u| 1.0 / (1.0 + (-u).exp())).collect();
            out.iter().zip(&slopes).for_each(|(a, b)| close(*a, *b));
            close(logistic_sum(&s, scale, shift, &mut out), slopes.iter().sum());
            let mut to = vec![1.0; n];
            let (count, sum) = hinge_sum(&s, scale, shift, 0.5, &mut to);
            assert_eq!(count as usize, u.iter().filter(|u| **u > 0.0).count());
            close(sum, u.iter().filter(|u| **u > 0.0).sum());
            assert!(to.iter().zip(&u).all(|(to, u)| *to == if *u > 0.0 { 1.5 } else { 1.0 }));
            let sum = step_sum(&s, scale, shift, &mut out);
            close(sum, slopes.iter().sum());
            out.iter().zip(&slopes).for_each(|(a, y)| close(*a, y * (1.0 - y)));
            let mut d = vec![2.0; n];
            close(divide_sum(&mut d, 3.0, &s), s.iter().filter(|s| **s > 0.0).map(|s| 6.0 / s).sum());
            assert!(d.iter().zip(&s).all(|(d, s)| *d == if *s > 0.0 { 6.0 / s } else { 0.0 }));
            let mut d = s.clone();
            close(scale_sum(&mut d, 0.5), s.iter().map(|s| 0.5 * s).sum());
            close(add_scaled(&mut d, 2.0, &s), s.iter().map(|s| 2.0 * s).sum());
            assert!(d.iter().zip(&s).all(|(d, s)| *d == 0.5 * s + 2.0 * s));
            let mut g = vec![1.0; n];
            let m: Vec<f64> = s.iter().map(|s| s.abs()).collect();
            let near = squared_distances(&mut g, 2.0, &m, 0.5);
            assert!(g.iter().zip(&m).all(|(g, m)| *g == 2.0 + m - 2.0));
            assert_eq!(near as usize, m.iter().filter(|m| **m < 0.5 * (2.0 + **m)).count());
            roots(&mut g);
            assert!(g.iter().zip(&m).all(|(g, m)| *g == (2.0 + m - 2.0).sqrt()));
            let narrow: Vec<f32> = s.iter().map(|&s| s as f32).collect();
            let mut out = vec![0.0f32; n];
            let found = softplus_sum(&narrow, 1.7, 0.3, &mut out);
            let want: f64 = u.iter().map(|u| u.exp().ln_1p()).sum();
            assert!((found - want).abs() <= 2e-6 * want.abs().max(1.0), "{n}: f32 {found} {want}");
        }
    }
}
