use super::*;
use crate::activation;
use crate::oracle::{everywhere, numbers};

const PRECISIONS: [Precision; 4] = [Precision::F32, Precision::Split, Precision::Bf16, Precision::Int8];

/// Tails in every dimension, whole tiles, one of everything, nothing to sum, several runs of the inner dimension.
const SHAPES: [(usize, usize, usize); 12] = [
    (1, 1, 1),
    (3, 5, 7),
    (2, 3, 0),
    (16, 32, 64),
    (32, 64, 32),
    (17, 33, 65),
    (33, 31, 1),
    (15, 48, 130),
    (5, 70, 129),
    (70, 40, 1100),
    (300, 96, 40),
    (6, 1300, 520),
];

/// The nearest number with eight significant bits, ties to even; by arithmetic, unlike the kernels.
fn rounded(v: f32) -> f64 {
    let wide = f64::from(v);
    if wide == 0.0 || !wide.is_finite() {
        return wide;
    }
    let unit = 2f64.powi(wide.abs().log2().floor() as i32 - 7);
    (wide / unit).round_ties_even() * unit
}

/// `x·wᵀ` of `[m, k]` and `[n, k]` and the sums of magnitudes, in 64 bits.
fn oracle(x: &[f64], w: &[f64], (m, n, k): (usize, usize, usize)) -> Vec<(f64, f64)> {
    (0..m * n)
        .map(|at| {
            let terms = (0..k).map(|p| x[at / n * k + p] * w[at % n * k + p]);
            terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
        })
        .collect()
}

/// The exact sums that a precision stands for, what additions in 32 bits may make of them, and the size of all terms.
fn wanted(
    x: &[f32],
    w: &[f32],
    shape @ (_, _, k): (usize, usize, usize),
    precision: Precision,
    isa: Isa,
) -> Vec<(f64, f64)> {
    let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let high = |v: &[f32]| v.iter().map(|&v| rounded(v)).collect::<Vec<_>>();
    let low = |v: &[f32]| v.iter().map(|&v| rounded((f64::from(v) - rounded(v)) as f32)).collect::<Vec<_>>();
    let additions = |count: usize| (count + 1) as f64 * 2f64.powi(-24);
    match precision {
        Precision::Bf16 => oracle(&high(x), &high(w), shape)
            .into_iter()
            .map(|(sum, size)| (sum, additions(k) * size))
            .collect(),
        Precision::Split if isa == Isa::Amx => {
            let parts = [(high(x), high(w)), (high(x), low(w)), (low(x), high(w))];
            let parts = parts.map(|(x, w)| oracle(&x, &w, shape));
            let exact = oracle(&wide(x), &wide(w), shape);
            (0..exact.len())
                .map(|at| {
                    let sum: f64 = parts.iter().map(|part| part[at].0).sum();
                    let size: f64 = parts.iter().map(|part| part[at].1).sum();
                    let (want, all) = exact[at];
                    assert!((sum - want).abs() <= 2f64.powi(-15) * all, "the documented bound");
                    (sum, additions(3 * k) * size)
                })
                .collect()
        }
        _ => oracle(&wide(x), &wide(w), shape)
            .into_iter()
            .map(|(sum, size)| (sum, additions(k) * size))
            .collect(),
    }
}

fn transpose(w: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..rows * columns).map(|at| w[at % rows * columns + at / rows]).collect()
}

fn product(packed: &Packed, x: &[f32], m: usize) -> Vec<f32> {
    let mut y = vec![f32::NAN; m * packed.n()];
    packed.product(x, m, Epilogue::default(), &mut y);
    y
}

#[track_caller]
fn same_bits(what: &str, a: &[f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "{what}");
    let differs = a.iter().zip(b).position(|(a, b)| a.to_bits() != b.to_bits());
    assert!(differs.is_none(), "{what}: number {differs:?}");
}

#[test]
fn float_products_equal_the_sums_of_rounded_factors() {
    for precision in [Precision::F32, Precision::Split, Precision::Bf16] {
        for shape @ (m, n, k) in SHAPES {
            let (x, w) = (numbers(m * k, 1), numbers(n * k, 2));
            let work = |isa| {
                let transposed = Packed::transposed_on(isa, &w, n, k, precision);
                let plain = Packed::plain_on(isa, &transpose(&w, n, k), k, n, precision);
                assert_eq!((plain.n(), plain.k(), plain.precision(), plain.isa()), (n, k, precision, isa));
                let y = product(&transposed, &x, m);
                same_bits("both layouts", &y, &product(&plain, &x, m));
                vec![y]
            };
            everywhere(work, |isa, y| {
                let wants = wanted(&x, &w, shape, precision, isa);
                for (at, (&y, (want, bound))) in y[0].iter().zip(wants).enumerate() {
                    let error = (f64::from(y) - want).abs();
                    assert!(error <= bound, "{isa} {precision:?} {shape:?} [{at}]: {y} for {want}");
                }
            });
        }
    }
}

#[test]
fn rounding_to_bf16_costs_what_its_eight_bits_say() {
    let shape @ (m, n, k) = (20, 30, 200);
    let (x, w) = (numbers(m * k, 1), numbers(n * k, 2));
    let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    for isa in isa::available() {
        let y = product(&Packed::transposed_on(isa, &w, n, k, Precision::Bf16), &x, m);
        let worst = y
            .iter()
            .zip(oracle(&wide(&x), &wide(&w), shape))
            .map(|(&y, (want, size))| (f64::from(y) - want).abs() / size)
            .fold(0.0, f64::max);
        // Two roundings of at most 2⁻⁹ each; far less than that would mean that nothing was rounded.
        assert!(worst < 2.0 * 2f64.powi(-8) && worst > 1e-5, "{isa}: {worst:e}");
    }
}

/// Codes and scale of a row, by the definition.
fn quantised(row: &[f32]) -> (Vec<i64>, f32) {
    let most = row.iter().fold(0.0f32, |most, v| most.max(v.abs()));
    if most == 0.0 {
        return (vec![0; row.len()], 0.0);
    }
    let inverse = 127.0 / most;
    (row.iter().map(|v| (v * inverse).round_ties_even() as i64).collect(), most / 127.0)
}

#[test]
fn int8_products_are_the_same_numbers_on_every_instruction_set() {
    for (m, n, k) in SHAPES {
        let (x, w) = (numbers(m * k, 1), numbers(n * k, 2));
        let smooth: Vec<f32> = (0..k).map(|p| 2f32.powi(p as i32 % 5 - 2)).collect();
        for smooth in [None, Some(&smooth[..])] {
            let scale = |row: &[f32], by: &dyn Fn(f32, f32) -> f32| -> Vec<f32> {
                row.iter().enumerate().map(|(p, &v)| smooth.map_or(v, |s| by(v, s[p]))).collect()
            };
            let rows: Vec<_> =
                (0..m).map(|r| quantised(&scale(&x[r * k..][..k], &|v, s| v * (1.0 / s)))).collect();
            let columns: Vec<_> =
                (0..n).map(|j| quantised(&scale(&w[j * k..][..k], &|v, s| v * s))).collect();
            let mut want = Vec::new();
            for (codes, step) in &rows {
                for (weights, scale) in &columns {
                    let sum: i64 = codes.iter().zip(weights).map(|(a, b)| a * b).sum();
                    want.push(sum as f32 * (step * scale));
                }
            }
            everywhere(
                |isa| vec![product(&Packed::int8_on(isa, &w, n, k, smooth), &x, m)],
                |isa, y| same_bits(&format!("{isa} {m}×{n}×{k}"), &y[0], &want),
            );
        }
    }
}

#[test]
fn extreme_codes_do_not_overflow() {
    let k = 4096;
    for isa in isa::available() {
        let y = product(&Packed::int8_on(isa, &vec![-1.0; 2 * k], 2, k, None), &vec![1.0; k], 1);
        let want = -(127.0 * 127.0 * k as f32) * (1.0f32 / 127.0 * (1.0f32 / 127.0));
        assert_eq!(y, [want, want], "{isa}");
    }
}

#[test]
fn smoothing_saves_the_channels_beside_an_outlier() {
    let (m, n, k) = (8, 16, 64);
    let (mut x, w) = (numbers(m * k, 1), numbers(n * k, 2));
    x.chunks_mut(k).for_each(|row| row[5] *= 500.0);
    let wide = |v: &[f32]| v.iter().map(|&v| f64::from(v)).collect::<Vec<_>>();
    let want = oracle(&wide(&x), &wide(&w), (m, n, k));
    let mut smooth = vec![1.0; k];
    smooth[5] = 22.0;
    let error = |smooth: Option<&[f32]>| -> f64 {
        let y = product(&Packed::int8(&w, n, k, smooth), &x, m);
        y.iter().zip(&want).map(|(&y, (want, _))| (f64::from(y) - want).powi(2)).sum::<f64>().sqrt()
    };
    let (plain, smoothed) = (error(None), error(Some(&smooth)));
    assert!(smoothed < plain / 5.0, "{smoothed} and {plain}");
}

#[test]
fn a_row_does_not_depend_on_its_neighbours() {
    let (m, n, k) = (75, 70, 1090);
    let (x, w) = (numbers(m * k, 1), numbers(n * k, 2));
    for precision in PRECISIONS {
        everywhere(
            |isa| {
                let packed = Packed::transposed_on(isa, &w, n, k, precision);
                let all = product(&packed, &x, m);
                for (first, rows) in [(0, 1), (74, 1), (31, 2), (3, 16), (20, 17), (9, 40), (1, 74)] {
                    let some = product(&packed, &x[first * k..(first + rows) * k], rows);
                    let what = format!("{isa} {precision:?} {rows} rows from {first}");
                    same_bits(&what, &some, &all[first * n..(first + rows) * n]);
                }
                vec![all]
            },
            |_, _| {},
        );
    }
}

#[test]
fn what_is_not_finite_spoils_its_own_row_only() {
    let (m, n, k) = (35, 40, 70);
    let (mut x, w) = (numbers(m * k, 1), vec![0.5; n * k]);
    x[3 * k + 69] = f32::NAN;
    x[20 * k] = f32::NEG_INFINITY;
    for isa in isa::available() {
        for precision in PRECISIONS {
            let y = product(&Packed::transposed_on(isa, &w, n, k, precision), &x, m);
            for (r, row) in y.chunks(n).enumerate() {
                let good = match (r, precision) {
                    (3, _) | (20, Precision::Int8) => row.iter().all(|v| v.is_nan()),
                    // Half of an infinity has no low part, and 0·∞ is not a number.
                    (20, Precision::Split) => row.iter().all(|v| !v.is_finite()),
                    (20, _) => row.iter().all(|&v| v == f32::NEG_INFINITY),
                    _ => row.iter().all(|v| v.is_finite()),
                };
                assert!(good, "{isa} {precision:?} row {r}");
            }
            // A weight that is not finite spoils its own column only.
            let mut w = w.clone();
            w[7 * k + 1] = f32::NAN;
            let y = product(&Packed::transposed_on(isa, &w, n, k, precision), &x[..3 * k], 3);
            let spoilt = |at: usize| y[at].is_nan() == (at % n == 7);
            assert!((0..3 * n).all(spoilt), "{isa} {precision:?}");
        }
    }
}

#[test]
fn the_epilogue_is_bias_then_activation_then_residual() {
    let (m, n, k) = (37, 53, 40);
    let (x, w, bias) = (numbers(m * k, 1), numbers(n * k, 2), numbers(n, 3));
    let residual = numbers(m * n, 4);
    for isa in isa::available() {
        for precision in PRECISIONS {
            let packed = Packed::transposed_on(isa, &w, n, k, precision);
            let mut before = product(&packed, &x, m);
            before.chunks_mut(n).for_each(|row| row.iter_mut().zip(&bias).for_each(|(y, b)| *y += b));
            for kind in std::iter::once(None).chain(Activation::ALL.map(Some)) {
                let mut after = before.clone();
                if let Some(kind) = kind {
                    // Values of one instruction set may differ in the last place from those of another.
                    activation::forward_on(isa, kind, &before, &mut after);
                }
                let mut y = vec![f32::NAN; m * n];
                let (mut kept, bias) = (y.clone(), Some(&bias[..]));
                let all =
                    Epilogue { bias, activation: kind, keep: Some(&mut kept), residual: Some(&residual) };
                packed.product(&x, m, all, &mut y);
                same_bits("kept", &kept, &before);
                let want: Vec<f32> = after.iter().zip(&residual).map(|(a, b)| a + b).collect();
                same_bits(&format!("{isa} {precision:?} {kind:?}"), &y, &want);
                packed.product(&x, m, Epilogue { bias, activation: kind, ..Epilogue::default() }, &mut y);
                same_bits("without a residual", &y, &after);
            }
        }
    }
}

#[test]
fn weight_gradients_equal_the_sums_of_rounded_factors() {
    for (m, n, k) in [(1, 1, 1), (7, 3, 5), (600, 33, 17), (1100, 48, 70), (64, 100, 130), (2100, 17, 40)] {
        let (dy, x) = (numbers(m * n, 1), numbers(m * k, 2));
        for precision in [Precision::F32, Precision::Split, Precision::Bf16] {
            let (by_output, by_input) = (transpose(&dy, m, n), transpose(&x, m, k));
            let work = |isa| {
                let mut dw = vec![f32::NAN; n * k];
                weight_gradient_on(isa, &dy, &x, m, n, k, precision, &mut dw);
                vec![dw]
            };
            everywhere(work, |isa, dw| {
                let wants = wanted(&by_output, &by_input, (n, k, m), precision, isa);
                for (at, (&dw, (want, bound))) in dw[0].iter().zip(wants).enumerate() {
                    let error = (f64::from(dw) - want).abs();
                    assert!(error <= bound, "{isa} {precision:?} {m}×{n}×{k} [{at}]: {dw} for {want}");
                }
            });
        }
    }
    let mut dw = [f32::NAN; 6];
    weight_gradient(&[], &[], 0, 2, 3, Precision::Bf16, &mut dw);
    assert_eq!(dw, [0.0; 6]);
}

#[test]
fn bias_gradients_are_sums_of_columns() {
    for (m, n) in [(0, 3), (1, 1), (5, 300), (400, 129)] {
        let dy: Vec<f32> = (0..m * n).map(|i| (i * 37 % 101) as f32 - 50.0).collect();
        let want: Vec<f32> = (0..n).map(|j| (0..m).map(|r| dy[r * n + j]).sum()).collect();
        let work = |_| {
            let mut db = vec![f32::NAN; n];
            bias_gradient(&dy, m, n, &mut db);
            vec![db]
        };
        everywhere(work, |_, db| assert_eq!(db[0], want));
    }
}

#[test]
fn packed_weights_take_the_memory_of_their_precision() {
    let w = numbers(128 * 256, 1);
    let bytes = |precision| Packed::transposed(&w, 128, 256, precision).bytes();
    assert_eq!(bytes(Precision::F32), 128 * 256 * 4);
    assert_eq!(bytes(Precision::Bf16), 128 * 256 * 2);
    assert_eq!(bytes(Precision::Int8), 128 * 256 + 2 * 4 * 128);
}
