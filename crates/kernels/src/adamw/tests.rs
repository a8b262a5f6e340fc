use super::*;
use crate::oracle::{everywhere, numbers};

/// The formula, one value at a time, every operation rounded.
fn plain(step: &Step, lr: f64, decay: f64, x: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32]) {
    let [b1, b2] = step.betas;
    let t = step.t as f64;
    let keep = (1.0 - lr * decay) as f32;
    let rate = (lr / (1.0 - b1.powf(t))) as f32;
    let root = (1.0 - b2.powf(t)).sqrt() as f32;
    let (c1, c2, b1, b2) = ((1.0 - b1) as f32, (1.0 - b2) as f32, b1 as f32, b2 as f32);
    for i in 0..x.len() {
        let g = g[i] * step.scale;
        m[i] = b1 * m[i] + c1 * g;
        v[i] = b2 * v[i] + c2 * g * g;
        x[i] = x[i] * keep - rate * m[i] / (v[i].sqrt() / root + step.eps as f32);
    }
}

#[test]
fn the_same_bits_as_one_value_at_a_time() {
    let sizes = [1usize, 15, 16, 33, BLOCK + 5, 0];
    let rates = [(1e-3, 0.0), (2e-5, 0.01), (0.1, 0.5), (1e-2, 0.1), (3e-4, 0.01), (1.0, 1.0)];
    let set = |salt| sizes.map(|n| numbers(n, salt));
    let start = (set(1), set(3), set(4).map(|v| v.into_iter().map(f32::abs).collect::<Vec<_>>()));
    let gradients = set(2);
    let step = |t| Step { betas: [0.9, 0.999], eps: 1e-8, t, scale: 0.37 };
    let mut want = start.clone();
    for t in [1, 2, 700] {
        for i in 0..sizes.len() {
            let (x, m, v) = (&mut want.0[i], &mut want.1[i], &mut want.2[i]);
            plain(&step(t), rates[i].0, rates[i].1, x, &gradients[i], m, v);
        }
    }
    everywhere(
        |isa| {
            let (mut x, mut m, mut v) = start.clone();
            for t in [1, 2, 700] {
                let mut parameters: Vec<Parameter<'_>> = x
                    .iter_mut()
                    .zip(&gradients)
                    .zip(m.iter_mut().zip(&mut v))
                    .zip(rates)
                    .map(|(((values, gradient), (first, second)), (lr, weight_decay))| Parameter {
                        values,
                        gradient,
                        first,
                        second,
                        lr,
                        weight_decay,
                    })
                    .collect();
                update_on(isa, step(t), &mut parameters);
            }
            x.into_iter().chain(m).chain(v).collect()
        },
        |isa, found| {
            let want: Vec<&Vec<f32>> = want.0.iter().chain(&want.1).chain(&want.2).collect();
            for (found, want) in found.iter().zip(want) {
                assert!(found.iter().zip(want).all(|(a, b)| a.to_bits() == b.to_bits()), "{isa}");
            }
        },
    );
}

#[test]
fn the_norm_of_all_slices() {
    let parts: Vec<Vec<f32>> = [3usize, 0, BLOCK, BLOCK + 17].map(|n| numbers(n, n as u64)).to_vec();
    let slices: Vec<&[f32]> = parts.iter().map(Vec::as_slice).collect();
    let want: f64 = parts.iter().flatten().map(|&x| f64::from(x) * f64::from(x)).sum();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| squared_norm(&slices))
    };
    assert!((with(1) - want).abs() < 1e-9 * want, "{} {want}", with(1));
    assert_eq!(with(1).to_bits(), with(2).to_bits());
    assert_eq!(global_norm(&slices), with(1).sqrt());
    assert_eq!(global_norm(&[]), 0.0);
}
