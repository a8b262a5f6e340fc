use super::*;
use crate::oracle::{close, differences, dot, everywhere, numbers, wide};

fn exact(pool: &Pool<'_>, x: &[f64], normalised: bool) -> Vec<f64> {
    let d = pool.width;
    let mut out = Vec::new();
    for t in 0..pool.offsets.len() - 1 {
        let all = pool.offsets[t]..pool.offsets[t + 1];
        let skipped = pool.skipped.map_or(0, |s| s[t]).min(all.len());
        let rows: Vec<usize> = (all.start + skipped..all.end).collect();
        let n = rows.len() as f64;
        let mut y: Vec<f64> = (0..d)
            .map(|c| {
                let column: Vec<f64> = rows.iter().map(|r| x[r * d + c]).collect();
                let places = || (1 + skipped..=all.len()).map(|t| t as f64);
                match pool.mode {
                    _ if all.is_empty() => 0.0,
                    Mode::Cls => column.first().copied().unwrap_or(x[all.start * d + c]),
                    Mode::Last => x[(all.end - 1) * d + c],
                    _ if rows.is_empty() => 0.0,
                    Mode::Mean => column.iter().sum::<f64>() / n,
                    Mode::MeanSqrtLength => column.iter().sum::<f64>() / n.sqrt(),
                    Mode::WeightedMean => {
                        column.iter().zip(places()).map(|(x, t)| x * t).sum::<f64>() / places().sum::<f64>()
                    }
                    Mode::Max => column.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b)),
                }
            })
            .collect();
        if normalised {
            let norm = dot(&y, &y).max(1e-24).sqrt();
            y.iter_mut().for_each(|y| *y /= norm);
        }
        out.extend(y);
    }
    out
}

const OFFSETS: [usize; 7] = [0, 3, 4, 4, 9, 26, 28];
const SKIPPED: [usize; 6] = [1, 0, 0, 2, 20, 1];

#[test]
fn values_and_gradients_of_every_mode() {
    for d in [1, 5, 16, 19] {
        let x = numbers(28 * d, d as u64);
        let dout = numbers(6 * d, 50 + d as u64);
        for mode in Mode::ALL {
            for skipped in [None, Some(&SKIPPED[..])] {
                for normalised in [false, true] {
                    // One unit of a normalised vector is ±1, whose differences are of no use beside a sign change.
                    let pool = Pool { mode, width: d, offsets: &OFFSETS, skipped };
                    let want = exact(&pool, &wide(&x), normalised);
                    let slope = differences(&wide(&x), |x| dot(&exact(&pool, x, normalised), &wide(&dout)));
                    everywhere(
                        |isa| {
                            let (mut out, mut norms) = (vec![0.0; 6 * d], vec![0.0; 6]);
                            let kept = normalised.then_some(&mut norms[..]);
                            pool.forward_on(isa, &x, &mut out, kept);
                            let mut dx = vec![7.0; 28 * d];
                            let norms = normalised.then_some(&norms[..]);
                            pool.backward_on(isa, &x, &out, norms, &dout, &mut dx);
                            vec![out, dx]
                        },
                        |isa, found| {
                            let what = format!("{mode:?} {d} {skipped:?} {normalised} {isa}");
                            close(&what, &found[0], &want, 1e-6);
                            close(&what, &found[1], &slope, 2e-5);
                        },
                    );
                }
            }
        }
    }
}

#[test]
fn equal_maxima_give_the_gradient_to_the_first() {
    let pool = Pool { mode: Mode::Max, width: 2, offsets: &[0, 3], skipped: None };
    let x = [1.0, 5.0, 2.0, 5.0, 2.0, 4.0];
    let mut out = [0.0; 2];
    pool.forward(&x, &mut out, None);
    assert_eq!(out, [2.0, 5.0]);
    let mut dx = [9.0; 6];
    pool.backward(&x, &out, None, &[1.0, 10.0], &mut dx);
    assert_eq!(dx, [0.0, 10.0, 1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn no_texts() {
    for offsets in [&[][..], &[0]] {
        let pool = Pool { mode: Mode::Mean, width: 4, offsets, skipped: None };
        pool.forward(&[], &mut [], Some(&mut []));
        pool.backward(&[], &[], Some(&[]), &[], &mut []);
    }
}

#[test]
fn rows_divided_by_their_lengths() {
    let (n, d) = (9, 21);
    let mut x = numbers(n * d, 1);
    x[..d].fill(0.0);
    let dy = numbers(n * d, 2);
    let exact = |x: &[f64]| -> Vec<f64> {
        x.chunks(d)
            .flat_map(|row| {
                let norm = dot(row, row).max(1e-24).sqrt();
                row.iter().map(move |x| x / norm)
            })
            .collect()
    };
    let want = exact(&wide(&x));
    let slope = differences(&wide(&x), |x| dot(&exact(x), &wide(&dy)));
    everywhere(
        |isa| {
            let (mut y, mut norms, mut dx) = (vec![0.0; n * d], vec![0.0; n], vec![0.0; n * d]);
            normalize_on(isa, &x, d, &mut y, &mut norms);
            normalize_backward_on(isa, &y, &norms, &dy, &mut dx);
            vec![y, dx]
        },
        |isa, found| {
            close(&format!("{isa}"), &found[0], &want, 1e-6);
            close(&format!("{isa}"), &found[1][d..], &slope[d..], 1e-5);
            // Beside 0 the divisor is constant.
            let first: Vec<f64> = dy[..d].iter().map(|&dy| f64::from(dy) * 1e12).collect();
            close(&format!("{isa}"), &found[1][..d], &first, 1e-6);
        },
    );
    normalize_backward(&[], &[], &[], &mut []);
}
