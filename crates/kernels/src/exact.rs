//! Scores of single pairs of rows in 64 bits, and how far a 32-bit tile of products can be from them.
//!
//! A product of two 32-bit numbers is exact in 64 bits, so these sums carry rounding of the additions only. Sums run in
//! eight lanes that are added in a fixed order: a value depends on the two rows alone, never on where they stand, on the
//! shape of a tile or on the number of threads. A scan computes tiles in 32 bits and asks for these values only where
//! [`product_error`] says that the tile cannot decide.

use crate::isa::{self, Isa};

/// Σ xᵢ·yᵢ.
pub fn dot(x: &[f32], y: &[f32]) -> f64 {
    sum(x, y, product)
}

/// Σ (xᵢ − yᵢ)².
pub fn squared_distance(x: &[f32], y: &[f32]) -> f64 {
    sum(x, y, square)
}

/// [`dot`] of many pairs, added to `out` in order: the same values to the last bit, several times as fast. Both rows of a
/// pair must have the same length, which may differ from pair to pair.
pub fn dots(pairs: &[(&[f32], &[f32])], out: &mut Vec<f64>) {
    dots_on(isa::current(), pairs, out);
}

/// [`squared_distance`] of many pairs, as [`dots`].
pub fn squared_distances(pairs: &[(&[f32], &[f32])], out: &mut Vec<f64>) {
    squared_distances_on(isa::current(), pairs, out);
}

fn dots_on(isa: Isa, pairs: &[(&[f32], &[f32])], out: &mut Vec<f64>) {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 {
        // SAFETY: the instruction set is at most the current one, which has AVX-512.
        return unsafe { wide_sums::<false>(pairs, out) };
    }
    crate::scan::on!(isa, all_dots(pairs: &[(&[f32], &[f32])], out: &mut Vec<f64>));
}

fn squared_distances_on(isa: Isa, pairs: &[(&[f32], &[f32])], out: &mut Vec<f64>) {
    #[cfg(target_arch = "x86_64")]
    if isa >= Isa::Avx512 {
        // SAFETY: as above.
        return unsafe { wide_sums::<true>(pairs, out) };
    }
    crate::scan::on!(isa, all_squares(pairs: &[(&[f32], &[f32])], out: &mut Vec<f64>));
}

#[inline(always)]
fn all_dots(pairs: &[(&[f32], &[f32])], out: &mut Vec<f64>) {
    sums(pairs, out, product);
}

#[inline(always)]
fn all_squares(pairs: &[(&[f32], &[f32])], out: &mut Vec<f64>) {
    sums(pairs, out, square);
}

/// [`sums`] with the eight lanes of a sum in one register: dots, or squared distances.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl")]
fn wide_sums<const SQUARES: bool>(pairs: &[(&[f32], &[f32])], out: &mut Vec<f64>) {
    use std::arch::x86_64::*;
    let (fours, rest) = pairs.as_chunks::<TOGETHER>();
    for (at, four) in fours.iter().enumerate() {
        if let Some(next) = fours.get(at + 1) {
            next.iter().for_each(|(_, y)| fetch(y));
        }
        let length = four[0].0.len();
        if four.iter().any(|(x, y)| x.len() != length || y.len() != length) {
            out.extend(
                four.iter().map(|(x, y)| if SQUARES { sum(x, y, square) } else { sum(x, y, product) }),
            );
            continue;
        }
        // Places beyond the end are read as 0 and add 0 to a lane, which changes none: a sum that starts at 0 is never −0.
        let widened = |row: &[f32], at: usize| {
            let left = row.len() - at;
            let mask = if left < 8 { (1u8 << left) - 1 } else { u8::MAX };
            // SAFETY: the mask holds places of the row only.
            unsafe { _mm512_cvtps_pd(_mm256_maskz_loadu_ps(mask, row.as_ptr().add(at))) }
        };
        // A product of two widened numbers is exact, so that adding it in one go rounds as the addition alone does. A
        // difference need not be, nor its square.
        let add = |lanes: __m512d, x: __m512d, y: __m512d| {
            if SQUARES {
                let apart = _mm512_sub_pd(x, y);
                _mm512_add_pd(lanes, _mm512_mul_pd(apart, apart))
            } else {
                _mm512_fmadd_pd(x, y, lanes)
            }
        };
        let [(x0, y0), (x1, y1), (x2, y2), (x3, y3)] = *four;
        let mut lanes = [_mm512_setzero_pd(); TOGETHER];
        // Mostly one query's rows, whose numbers are then widened once.
        if four.iter().all(|(x, _)| std::ptr::eq(*x, x0)) {
            for at in (0..length).step_by(8) {
                let x = widened(x0, at);
                lanes[0] = add(lanes[0], x, widened(y0, at));
                lanes[1] = add(lanes[1], x, widened(y1, at));
                lanes[2] = add(lanes[2], x, widened(y2, at));
                lanes[3] = add(lanes[3], x, widened(y3, at));
            }
        } else {
            for at in (0..length).step_by(8) {
                lanes[0] = add(lanes[0], widened(x0, at), widened(y0, at));
                lanes[1] = add(lanes[1], widened(x1, at), widened(y1, at));
                lanes[2] = add(lanes[2], widened(x2, at), widened(y2, at));
                lanes[3] = add(lanes[3], widened(x3, at), widened(y3, at));
            }
        }
        out.extend(lanes.map(|lanes| {
            let mut numbers = [0.0; 8];
            // SAFETY: eight numbers are 64 bytes, and the store needs no alignment.
            unsafe { _mm512_storeu_pd(numbers.as_mut_ptr(), lanes) };
            add_lanes(numbers)
        }));
    }
    out.extend(rest.iter().map(|(x, y)| if SQUARES { sum(x, y, square) } else { sum(x, y, product) }));
}

#[inline(always)]
fn product(a: f64, b: f64) -> f64 {
    a * b
}

#[inline(always)]
fn square(a: f64, b: f64) -> f64 {
    let difference = a - b;
    difference * difference
}

/// `value` rounded to a multiple of 2⁻³⁶·`scale`, with −0 made 0.
///
/// Sums that are equal in exact arithmetic differ in their last bits when their terms come in another order. On a grid
/// that is 4,096 times finer than one 32-bit number resolves they are equal again. `scale` must be a power of two, and
/// `|value|` at most a few times as large.
pub fn on_grid(value: f64, scale: f64) -> f64 {
    // Adding 1.5·2⁵² leaves no bits for a fraction, so the sum is a whole number.
    const WHOLE: f64 = 6_755_399_441_055_744.0;
    const STEPS: f64 = (1u64 << 36) as f64;
    let whole = (value / scale * STEPS + WHOLE) - WHOLE;
    whole / STEPS * scale + 0.0
}

/// A sum of squares rounded to 36 bits of its fraction: squares do not cancel, so their grid is relative.
pub fn square_on_grid(square: f64) -> f64 {
    f64::from_bits((square.to_bits() + (1 << 15)) & !((1 << 16) - 1))
}

/// The largest power of two that is at most `x`, a positive normal number; 1 for 0.
pub fn power_of_two(x: f64) -> f64 {
    if x == 0.0 { 1.0 } else { f64::from_bits(x.to_bits() & (0x7ff << 52)) }
}

/// A bound on |computed − exact| for a 32-bit product of `dim` terms, summed in any order, of rows of norms `x` and
/// at most `y`; `reach` is the largest sum of absolute values that is formed (`x·y` for a plain product).
///
/// A sum of `d` products is within `d·u/(1 − d·u)·‖x‖·‖y‖` of the exact one, u = 2⁻²⁴ (Higham, *Accuracy and
/// stability of numerical algorithms*, §3.1). Eight more roundings are allowed for what is added to it. Infinite where
/// 32 bits could overflow, so that a tile then decides nothing.
pub fn product_error(dim: usize, x: f64, y: f64, reach: f64) -> f64 {
    const U: f64 = 1.0 / (1u64 << 24) as f64;
    let du = (dim + 8) as f64 * U;
    if du >= 0.5 || (x + y) * (x + y) > 1e37 {
        return f64::INFINITY;
    }
    // The last term covers what underflows, which is lost absolutely.
    du / (1.0 - du) * reach + dim as f64 * 1e-37
}

#[inline(always)]
fn sum(x: &[f32], y: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [0.0f64; 8];
    let ((x8, x_rest), (y8, y_rest)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    for (a, b) in x8.iter().zip(y8) {
        for lane in 0..8 {
            lanes[lane] += term(f64::from(a[lane]), f64::from(b[lane]));
        }
    }
    for (lane, (&a, &b)) in x_rest.iter().zip(y_rest).enumerate() {
        lanes[lane] += term(f64::from(a), f64::from(b));
    }
    add_lanes(lanes)
}

#[inline(always)]
fn add_lanes(lanes: [f64; 8]) -> f64 {
    ((lanes[0] + lanes[4]) + (lanes[2] + lanes[6])) + ((lanes[1] + lanes[5]) + (lanes[3] + lanes[7]))
}

/// Pairs that are summed together: one sum waits for its own additions, four keep the adders busy.
const TOGETHER: usize = 4;

#[inline(always)]
fn sums(pairs: &[(&[f32], &[f32])], out: &mut Vec<f64>, term: impl Fn(f64, f64) -> f64 + Copy) {
    let (fours, rest) = pairs.as_chunks::<TOGETHER>();
    for (at, four) in fours.iter().enumerate() {
        // Rows of a gallery lie anywhere; those of the next four are fetched meanwhile.
        if let Some(next) = fours.get(at + 1) {
            next.iter().for_each(|(_, y)| fetch(y));
        }
        let length = four[0].0.len();
        if four.iter().any(|(x, y)| x.len() != length || y.len() != length) {
            out.extend(four.iter().map(|(x, y)| sum(x, y, term)));
            continue;
        }
        let mut lanes = [[0.0f64; 8]; TOGETHER];
        let whole = length / 8 * 8;
        for at in (0..whole).step_by(8) {
            for (lanes, (x, y)) in lanes.iter_mut().zip(four) {
                let (x, y) = (&x[at..at + 8], &y[at..at + 8]);
                for lane in 0..8 {
                    lanes[lane] += term(f64::from(x[lane]), f64::from(y[lane]));
                }
            }
        }
        for (lanes, (x, y)) in lanes.iter_mut().zip(four) {
            for (lane, (&a, &b)) in x[whole..].iter().zip(&y[whole..]).enumerate() {
                lanes[lane] += term(f64::from(a), f64::from(b));
            }
        }
        out.extend(lanes.map(add_lanes));
    }
    out.extend(rest.iter().map(|(x, y)| sum(x, y, term)));
}

/// Asks for the cache lines of a row.
#[inline(always)]
fn fetch(row: &[f32]) {
    #[cfg(target_arch = "x86_64")]
    for line in row.chunks(16) {
        // SAFETY: a prefetch has no effect on what a program computes, whatever the address; this one is of a slice.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.as_ptr().cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = row;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(n: usize, salt: usize) -> Vec<f32> {
        (0..n).map(|i| ((i * 37 + salt * 11) % 23) as f32 - 11.0).collect()
    }

    #[test]
    fn sums_equal_the_plain_loop_on_whole_numbers() {
        for n in [0, 1, 7, 8, 9, 40, 83] {
            let (x, y) = (row(n, 1), row(n, 2));
            let want: f64 = x.iter().zip(&y).map(|(a, b)| f64::from(a * b)).sum();
            let apart: f64 = x.iter().zip(&y).map(|(a, b)| f64::from((a - b) * (a - b))).sum();
            assert_eq!((dot(&x, &y), squared_distance(&x, &y)), (want, apart));
        }
    }

    #[test]
    fn many_pairs_give_the_bits_of_each_on_every_instruction_set() {
        // Numbers of very different sizes: any other order of the sum, or another rounding, would show.
        let wild = |n: usize, salt: usize| -> Vec<f32> {
            row(n, salt).iter().enumerate().map(|(i, v)| v * 1.37f32.powi((i * 7 % 60) as i32 - 30)).collect()
        };
        for n in [0, 1, 7, 8, 40, 83, 128] {
            for count in [0, 1, 3, 4, 11] {
                let rows: Vec<(Vec<f32>, Vec<f32>)> =
                    (0..count).map(|i| (wild(n, i), wild(n, 50 + i))).collect();
                let mut pairs: Vec<(&[f32], &[f32])> =
                    rows.iter().map(|(x, y)| (x.as_slice(), y.as_slice())).collect();
                if let Some(last) = pairs.get_mut(2) {
                    *last = (&last.0[n / 2..], &last.1[n / 2..]);
                }
                // One row against all others.
                if let Some(first) = rows.first() {
                    pairs.extend(rows.iter().map(|(_, y)| (first.0.as_slice(), y.as_slice())));
                    pairs.extend_from_within(pairs.len() - rows.len()..);
                }
                let want: Vec<u64> = pairs.iter().map(|(x, y)| dot(x, y).to_bits()).collect();
                let apart: Vec<u64> = pairs.iter().map(|(x, y)| squared_distance(x, y).to_bits()).collect();
                for isa in isa::available() {
                    let (mut found, mut squares) = (Vec::new(), Vec::new());
                    dots_on(isa, &pairs, &mut found);
                    squared_distances_on(isa, &pairs, &mut squares);
                    let bits = |values: Vec<f64>| values.iter().map(|v| v.to_bits()).collect::<Vec<u64>>();
                    assert_eq!(
                        (bits(found), bits(squares)),
                        (want.clone(), apart.clone()),
                        "{isa}, {n}, {count}"
                    );
                }
            }
        }
    }

    #[test]
    fn the_grid_hides_the_order_of_a_sum_and_no_more() {
        let third = 1.0 / 3.0;
        assert_eq!(on_grid(third, 1.0), on_grid(third + 1e-15, 1.0));
        assert_ne!(on_grid(third, 1.0), on_grid(third + 1e-10, 1.0));
        assert_eq!(on_grid(-0.0, 1.0).to_bits(), 0);
        assert_eq!(square_on_grid(1e6 / 3.0), square_on_grid(1e6 / 3.0 * (1.0 + 1e-15)));
        assert_ne!(square_on_grid(1e6 / 3.0), square_on_grid(1e6 / 3.0 * (1.0 + 1e-10)));
        assert_eq!(square_on_grid(0.0), 0.0);
        assert_eq!([power_of_two(0.0), power_of_two(1.0), power_of_two(7.9)], [1.0, 1.0, 4.0]);
    }

    #[test]
    fn tiles_stay_within_the_bound() {
        let (d, n) = (301, 40);
        let values: Vec<f32> = (0..n * d).map(|i| ((i * 7919) % 1009) as f32 / 97.0 - 3.0).collect();
        let mut tile = vec![0.0f32; n * n];
        crate::gemm::nt(n, n, d, &values, &values, 0.0, &mut tile);
        let row = |i: usize| &values[i * d..(i + 1) * d];
        let norm = |i: usize| dot(row(i), row(i)).sqrt();
        let widest = (0..n * n)
            .map(|at| {
                let (i, j) = (at / n, at % n);
                let bound = product_error(d, norm(i), norm(j), norm(i) * norm(j));
                (f64::from(tile[at]) - dot(row(i), row(j))).abs() / bound
            })
            .fold(0.0, f64::max);
        assert!(widest > 1e-4 && widest < 1.0, "{widest} of the bound");
        assert_eq!(product_error(d, 1e19, 1e19, 1e38), f64::INFINITY);
    }
}
