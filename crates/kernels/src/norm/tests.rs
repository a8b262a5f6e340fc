use super::*;
use crate::oracle::{close, differences, dot, everywhere, numbers, wide};

fn exact(x: &[f64], gamma: &[f64], beta: &[f64], epsilon: f64) -> Vec<f64> {
    let d = gamma.len();
    let mut y = Vec::new();
    for row in x.chunks(d) {
        let mean = row.iter().sum::<f64>() / d as f64;
        let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / d as f64;
        let root = (variance + epsilon).sqrt();
        y.extend(row.iter().zip(gamma).zip(beta).map(|((x, g), b)| (x - mean) / root * g + b));
    }
    y
}

const EPSILON: f32 = 1e-5;

#[test]
fn values_sums_and_statistics() {
    for (n, d) in [(1, 1), (3, 5), (2, 16), (7, 33), (130, 384), (0, 8)] {
        let (x, residual) = (numbers(n * d, 1), numbers(n * d, 2));
        let (gamma, beta) = (numbers(d, 3), numbers(d, 4));
        let total: Vec<f32> = x.iter().zip(&residual).map(|(a, b)| a + b).collect();
        let want = exact(&wide(&total), &wide(&gamma), &wide(&beta), f64::from(EPSILON));
        everywhere(
            |isa| {
                let (mut y, mut sum, mut statistics) = (vec![0.0; n * d], vec![0.0; n * d], vec![0.0; 2 * n]);
                let (kept, known) = (Some(&mut sum[..]), Some(&mut statistics[..]));
                forward_on(isa, &x, Some(&residual), &gamma, &beta, EPSILON, kept, &mut y, known);
                let mut plain = vec![0.0; n * d];
                forward_on(isa, &total, None, &gamma, &beta, EPSILON, None, &mut plain, None);
                vec![y, plain, sum, statistics]
            },
            |isa, found| {
                let what = format!("{n}×{d} {isa}");
                close(&what, &found[0], &want, 3e-6);
                assert_eq!(found[0], found[1], "{what}");
                assert_eq!(found[2], total, "{what}");
                for (row, statistics) in total.chunks(d).zip(found[3].chunks(2)) {
                    let mean = wide(row).iter().sum::<f64>() / d as f64;
                    assert!((f64::from(statistics[0]) - mean).abs() < 1e-6, "{what}");
                }
            },
        );
    }
}

#[test]
fn a_large_mean_does_not_cancel() {
    let x: Vec<f32> = numbers(64, 5).iter().map(|x| 1000.0 + x).collect();
    let (gamma, beta) = (vec![1.0; 64], vec![0.0; 64]);
    let want = exact(&wide(&x), &wide(&gamma), &wide(&beta), f64::from(EPSILON));
    let mut y = vec![0.0; 64];
    layer_norm(&x, None, &gamma, &beta, EPSILON, None, &mut y, None);
    close("large mean", &y, &want, 2e-4);
}

#[test]
fn gradients_are_differences() {
    for (n, d) in [(1, 3), (5, 17), (3, 40)] {
        let (x, dy, gamma, beta) = (numbers(n * d, 1), numbers(n * d, 2), numbers(d, 3), numbers(d, 4));
        let (wx, wdy, wgamma, wbeta) = (wide(&x), wide(&dy), wide(&gamma), wide(&beta));
        let e = f64::from(EPSILON);
        let dx = differences(&wx, |x| dot(&exact(x, &wgamma, &wbeta, e), &wdy));
        let dgamma = differences(&wgamma, |gamma| dot(&exact(&wx, gamma, &wbeta, e), &wdy));
        let dbeta = differences(&wbeta, |beta| dot(&exact(&wx, &wgamma, beta, e), &wdy));
        everywhere(
            |isa| gradients(isa, &x, &dy, &gamma, &beta),
            |isa, found| {
                let what = format!("{n}×{d} {isa}");
                close(&what, &found[0], &dx, 1e-5);
                close(&what, &found[1], &dgamma, 1e-5);
                close(&what, &found[2], &dbeta, 1e-5);
            },
        );
    }
}

fn gradients(isa: Isa, x: &[f32], dy: &[f32], gamma: &[f32], beta: &[f32]) -> Vec<Vec<f32>> {
    let d = gamma.len();
    let n = x.len() / d;
    let (mut y, mut statistics) = (vec![0.0; n * d], vec![0.0; 2 * n]);
    forward_on(isa, x, None, gamma, beta, EPSILON, None, &mut y, Some(&mut statistics));
    let (mut dx, mut dgamma, mut dbeta) = (vec![9.0; n * d], vec![9.0; d], vec![9.0; d]);
    backward_on(isa, x, &statistics, gamma, dy, &mut dx, &mut dgamma, &mut dbeta);
    vec![dx, dgamma, dbeta]
}

#[test]
fn many_rows_sum_to_the_parts() {
    // More than one block, and a last block that is not full.
    let (n, d) = (3 * BLOCK + 7, 48);
    let (x, dy, gamma, beta) = (numbers(n * d, 1), numbers(n * d, 2), numbers(d, 3), numbers(d, 4));
    everywhere(
        |isa| gradients(isa, &x, &dy, &gamma, &beta),
        |isa, found| {
            let mut sums = vec![0.0f64; d];
            for r in 0..n {
                let row = r * d..(r + 1) * d;
                let one = gradients(isa, &x[row.clone()], &dy[row.clone()], &gamma, &beta);
                assert_eq!(one[0], found[0][row], "a row alone, {isa}");
                sums.iter_mut().zip(&one[1]).for_each(|(sum, x)| *sum += f64::from(*x));
            }
            close(&format!("{isa}"), &found[1], &sums, 1e-5);
        },
    );
    let empty = gradients(crate::isa::current(), &[], &[], &gamma, &beta);
    assert_eq!(empty[1], vec![0.0; d]);
}
