//! Invented worlds with known answers, shared by the tests.
#![allow(dead_code, unreachable_pub)]

use parallax_random::Key;

/// Vectors with labels.
pub struct World {
    pub vectors: Vec<f32>,
    pub labels: Vec<u32>,
    pub dim: usize,
}

/// `classes × per_class` rows: class means spread by `signal[j]` in dimension `j`, rows about them by `noise[j]`.
pub fn gaussian(seed: u64, classes: usize, per_class: usize, signal: &[f64], noise: &[f64]) -> World {
    let (dim, key) = (signal.len(), Key::new(seed).named("world"));
    let (mut vectors, mut labels) = (Vec::new(), Vec::new());
    for class in 0..classes {
        for row in 0..per_class {
            for j in 0..dim {
                let mean = signal[j] * key.named("mean").at(class as u64).normal(j as u64);
                let index = ((class * per_class + row) * dim + j) as u64;
                vectors.push((mean + noise[j] * key.named("row").normal(index)) as f32);
            }
            labels.push(class as u32);
        }
    }
    World { vectors, labels, dim }
}

/// A rotation `[dim, dim]`: Gram and Schmidt on normal draws.
pub fn rotation(seed: u64, dim: usize) -> Vec<f64> {
    let key = Key::new(seed).named("rotation");
    let mut q: Vec<f64> = (0..dim * dim).map(|i| key.normal(i as u64)).collect();
    for i in 0..dim {
        for _ in 0..2 {
            for j in 0..i {
                let dot: f64 = (0..dim).map(|k| q[i * dim + k] * q[j * dim + k]).sum();
                (0..dim).for_each(|k| q[i * dim + k] -= dot * q[j * dim + k]);
            }
        }
        let norm = (0..dim).map(|k| q[i * dim + k].powi(2)).sum::<f64>().sqrt();
        (0..dim).for_each(|k| q[i * dim + k] /= norm);
    }
    q
}

/// `Q x` of every row.
pub fn turned(vectors: &[f32], q: &[f64], dim: usize) -> Vec<f32> {
    vectors
        .chunks_exact(dim)
        .flat_map(|x| {
            q.chunks_exact(dim)
                .map(|row| row.iter().zip(x).map(|(a, &b)| a * f64::from(b)).sum::<f64>() as f32)
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Cosines of all pairs of rows.
pub fn cosines(vectors: &[f32], dim: usize) -> Vec<f64> {
    let rows: Vec<Vec<f64>> = vectors
        .chunks_exact(dim)
        .map(|row| {
            let norm = row.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt();
            row.iter().map(|&x| f64::from(x) / norm).collect()
        })
        .collect();
    rows.iter().flat_map(|a| rows.iter().map(|b| a.iter().zip(b).map(|(x, y)| x * y).sum())).collect()
}

/// Covariance of rows, divisor n − 1.
pub fn covariance(vectors: &[f32], dim: usize) -> Vec<f64> {
    let n = vectors.len() / dim;
    let mean: Vec<f64> =
        (0..dim).map(|j| (0..n).map(|i| f64::from(vectors[i * dim + j])).sum::<f64>() / n as f64).collect();
    let mut c = vec![0.0; dim * dim];
    for row in vectors.chunks_exact(dim) {
        for i in 0..dim {
            for j in 0..dim {
                c[i * dim + j] +=
                    (f64::from(row[i]) - mean[i]) * (f64::from(row[j]) - mean[j]) / (n - 1) as f64;
            }
        }
    }
    c
}

/// The largest difference of two lists.
pub fn apart(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}
