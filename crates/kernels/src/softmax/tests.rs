use super::*;
use crate::oracle::{close, differences, dot, everywhere, numbers, wide};

fn exact(x: &[f64], d: usize) -> Vec<f64> {
    let mut y = Vec::new();
    for row in x.chunks(d) {
        let top = row.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
        let sum: f64 = row.iter().map(|x| (x - top).exp()).sum();
        y.extend(row.iter().map(|x| (x - top).exp() / sum));
    }
    y
}

#[test]
fn values_and_gradients() {
    for (n, d) in [(1, 1), (4, 3), (3, 16), (5, 37), (200, 130), (0, 4)] {
        let x: Vec<f32> = numbers(n * d, 1).iter().map(|x| 8.0 * x).collect();
        let dy = numbers(n * d, 2);
        let (wx, wdy) = (wide(&x), wide(&dy));
        let want = exact(&wx, d);
        let slope: Vec<f64> = if n > 10 {
            let along: Vec<f64> = want.chunks(d).zip(wdy.chunks(d)).map(|(y, dy)| dot(y, dy)).collect();
            (0..n * d).map(|i| want[i] * (wdy[i] - along[i / d])).collect()
        } else {
            differences(&wx, |x| dot(&exact(x, d), &wdy))
        };
        everywhere(
            |isa| {
                let (mut y, mut dx) = (vec![0.0; n * d], vec![0.0; n * d]);
                forward_on(isa, &x, d, &mut y);
                backward_on(isa, &y, &dy, d, &mut dx);
                vec![y, dx]
            },
            |isa, found| {
                close(&format!("{n}×{d} {isa}"), &found[0], &want, 5e-7);
                close(&format!("gradient {n}×{d} {isa}"), &found[1], &slope, 1e-6);
            },
        );
    }
}

#[test]
fn what_is_masked_is_zero() {
    let x = [1.0, f32::NEG_INFINITY, 1.0, -1e9, 1.0, 1.0];
    for isa in crate::isa::available() {
        let mut y = [0.0; 6];
        forward_on(isa, &x, 6, &mut y);
        assert_eq!(y, [0.25, 0.0, 0.25, 0.0, 0.25, 0.25], "{isa}");
        let mut y = [0.0; 3];
        forward_on(isa, &[0.0, f32::NAN, 1.0], 3, &mut y);
        assert!(y.iter().all(|y| y.is_nan()), "{isa}");
    }
}
