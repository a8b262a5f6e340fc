//! The loops, one body for every instruction set and both number types.

use super::Vector;

/// Lanes of a sum or a maximum.
const LANES: usize = 16;

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
        lowest $lowest:literal, highest $highest:literal, far $far:literal, ln2 $ln2_high:literal $ln2_low:literal,
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
                let shifted = x.mul_add(std::$t::consts::LOG2_E, $magic);
                let n = shifted - $magic;
                let r = n.mul_add(-$ln2_low, n.mul_add(-$ln2_high, x));
                let mut p = EXP[0];
                for &c in &EXP[1..] {
                    p = p.mul_add(r, c);
                }
                // Two factors, so that neither leaves the range of normal numbers; n is made positive to be halved.
                let n = shifted.to_bits().wrapping_sub(<$t>::to_bits($magic)).wrapping_add(4096);
                let half = n >> 1;
                p * power_of_two(half.wrapping_sub(2048)) * power_of_two((n - half).wrapping_sub(2048))
            }

            /// e⁻ᵘ for u ≥ 0, and 0 beyond what tells in a sum with 1: what is made of still smaller numbers leaves the
            /// normal ones, with which the machine is a hundred times slower.
            #[inline(always)]
            fn exp_away(u: $t) -> $t {
                if u > $far { 0.0 } else { exp(-u) }
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
            fn smallest_body(s: &[$t], start: $t) -> $t {
                let mut lanes = [start; LANES];
                let (wide, rest) = s.as_chunks::<LANES>();
                for s in wide {
                    for k in 0..LANES {
                        lanes[k] = if s[k] < lanes[k] { s[k] } else { lanes[k] };
                    }
                }
                for (k, &s) in rest.iter().enumerate() {
                    lanes[k] = if s < lanes[k] { s } else { lanes[k] };
                }
                lanes.iter().fold(start, |least, &lane| if lane < least { lane } else { least })
            }

            #[inline(always)]
            fn above_body(s: &[$t], limit: $t) -> u64 {
                let count = |s: &[$t]| s.iter().map(|&s| u32::from(s > limit)).sum::<u32>();
                s.chunks(4096).map(|s| u64::from(count(s))).sum()
            }

            #[inline(always)]
            fn scale_body(x: &mut [$t], factor: $t) {
                x.iter_mut().for_each(|x| *x *= factor);
            }

            #[inline(always)]
            fn sum_body(s: &[$t]) -> f64 {
                let mut total = 0.0f64;
                for s in s.chunks(4096) {
                    let mut lanes = [0.0; LANES];
                    let (wide, rest) = s.as_chunks::<LANES>();
                    for s in wide {
                        for k in 0..LANES {
                            lanes[k] += s[k];
                        }
                    }
                    for (k, &s) in rest.iter().enumerate() {
                        lanes[k] += s;
                    }
                    total += add_lanes(lanes) as f64;
                }
                total
            }

            #[inline(always)]
            fn dot_body(a: &[$t], b: &[$t]) -> f64 {
                let mut total = 0.0f64;
                for (a, b) in a.chunks(4096).zip(b.chunks(4096)) {
                    let mut lanes = [0.0; LANES];
                    let ((wide, rest), (wide_b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
                    for (a, b) in wide.iter().zip(wide_b) {
                        for k in 0..LANES {
                            lanes[k] += a[k] * b[k];
                        }
                    }
                    for (k, (&a, &b)) in rest.iter().zip(rest_b).enumerate() {
                        lanes[k] += a * b;
                    }
                    total += add_lanes(lanes) as f64;
                }
                total
            }

            #[inline(always)]
            fn add_scaled4_body(to: &mut [$t], factors: [$t; 4], y: [&[$t]; 4]) -> [f64; 4] {
                let mut totals = [0.0f64; 4];
                for (block, to) in to.chunks_mut(4096).enumerate() {
                    let y = y.map(|y| &y[block * 4096..][..to.len()]);
                    let mut lanes = [[0.0; LANES]; 4];
                    let whole = to.len() / LANES * LANES;
                    for from in (0..whole).step_by(LANES) {
                        let mut sums = [0.0; LANES];
                        sums.copy_from_slice(&to[from..from + LANES]);
                        for i in 0..4 {
                            let y = &y[i][from..from + LANES];
                            for k in 0..LANES {
                                let value = factors[i] * y[k];
                                lanes[i][k] += value;
                                sums[k] += value;
                            }
                        }
                        to[from..from + LANES].copy_from_slice(&sums);
                    }
                    for at in whole..to.len() {
                        for i in 0..4 {
                            let value = factors[i] * y[i][at];
                            lanes[i][at - whole] += value;
                            to[at] += value;
                        }
                    }
                    totals.iter_mut().zip(lanes).for_each(|(total, lanes)| *total += add_lanes(lanes) as f64);
                }
                totals
            }

            #[inline(always)]
            fn hinge_sums_body(
                s: &[$t],
                scale: $t,
                shifts: [$t; 4],
                weight: $t,
                to: &mut [$t],
            ) -> [(u64, f64); 4] {
                let mut totals = [(0u64, 0.0f64); 4];
                for (s, to) in s.chunks(4096).zip(to.chunks_mut(4096)) {
                    let mut lanes = [[0.0; LANES]; 4];
                    let mut open = [[0u32; LANES]; 4];
                    let (wide, rest) = s.as_chunks::<LANES>();
                    let (wide_to, rest_to) = to.as_chunks_mut::<LANES>();
                    for (s, to) in wide.iter().zip(wide_to) {
                        for i in 0..4 {
                            for k in 0..LANES {
                                let v = scale * (s[k] - shifts[i]);
                                let closed = v <= 0.0;
                                lanes[i][k] += if closed { 0.0 } else { v };
                                open[i][k] += u32::from(!closed);
                                to[k] = if closed { to[k] } else { to[k] + weight };
                            }
                        }
                    }
                    for (k, (&s, to)) in rest.iter().zip(rest_to).enumerate() {
                        for i in 0..4 {
                            let v = scale * (s - shifts[i]);
                            let closed = v <= 0.0;
                            lanes[i][k] += if closed { 0.0 } else { v };
                            open[i][k] += u32::from(!closed);
                            *to = if closed { *to } else { *to + weight };
                        }
                    }
                    for i in 0..4 {
                        totals[i].0 += u64::from(open[i].iter().sum::<u32>());
                        totals[i].1 += add_lanes(lanes[i]) as f64;
                    }
                }
                totals
            }

            #[inline(always)]
            fn softplus_sum_body(s: &[$t], scale: $t, shift: $t, out: &mut [$t]) -> f64 {
                map_sum(s, out, |s, _| {
                    let u = scale * (s - shift);
                    let small = exp_away(u.abs());
                    let inverse = 1.0 / (1.0 + small);
                    let over = if u > 0.0 { u } else { 0.0 };
                    (over + log_one_plus(small), if u > 0.0 { inverse } else { small * inverse })
                })
            }

            #[inline(always)]
            fn logistic_sum_body(s: &[$t], scale: $t, shift: $t, out: &mut [$t]) -> f64 {
                map_sum(s, out, |s, _| {
                    let u = scale * (s - shift);
                    let small = exp_away(u.abs());
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
                    let small = exp_away(u.abs());
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
                fn smallest(s: &[$t], start: $t) -> $t {
                    widest!(smallest_body(s: &[$t], start: $t) -> $t)
                }
                fn above(s: &[$t], limit: $t) -> u64 {
                    widest!(above_body(s: &[$t], limit: $t) -> u64)
                }
                fn scale(x: &mut [$t], factor: $t) {
                    widest!(scale_body(x: &mut [$t], factor: $t) -> ())
                }
                fn sum(s: &[$t]) -> f64 {
                    widest!(sum_body(s: &[$t]) -> f64)
                }
                fn dot(a: &[$t], b: &[$t]) -> f64 {
                    widest!(dot_body(a: &[$t], b: &[$t]) -> f64)
                }
                fn add_scaled4(to: &mut [$t], factors: [$t; 4], y: [&[$t]; 4]) -> [f64; 4] {
                    widest!(add_scaled4_body(to: &mut [$t], factors: [$t; 4], y: [&[$t]; 4]) -> [f64; 4])
                }
                fn hinge_sums(
                    s: &[$t],
                    scale: $t,
                    shifts: [$t; 4],
                    weight: $t,
                    to: &mut [$t],
                ) -> [(u64, f64); 4] {
                    widest!(
                        hinge_sums_body(s: &[$t], scale: $t, shifts: [$t; 4], weight: $t, to: &mut [$t])
                            -> [(u64, f64); 4]
                    )
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
    lowest -104.0, highest 89.0, far 60.0, ln2 0.693_359_4 -2.121_944_4e-4,
    exp [
        1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0
    ],
    log [1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 0.2, 1.0 / 3.0, 1.0]
);
vector!(
    double, f64, u64, mantissa 52, bias 1023, magic 6_755_399_441_055_744.0,
    lowest -746.0, highest 710.0, far 600.0, ln2 6.931_471_803_691_238e-1 1.908_214_929_270_587_7e-10,
    exp [
        1.0 / 6_227_020_800.0, 1.0 / 479_001_600.0, 1.0 / 39_916_800.0, 1.0 / 3_628_800.0, 1.0 / 362_880.0,
        1.0 / 40_320.0, 1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0
    ],
    log [
        1.0 / 37.0, 1.0 / 35.0, 1.0 / 33.0, 1.0 / 31.0, 1.0 / 29.0, 1.0 / 27.0, 1.0 / 25.0, 1.0 / 23.0, 1.0 / 21.0,
        1.0 / 19.0, 1.0 / 17.0, 1.0 / 15.0, 1.0 / 13.0, 1.0 / 11.0, 1.0 / 9.0, 1.0 / 7.0, 0.2, 1.0 / 3.0, 1.0
    ]
);
