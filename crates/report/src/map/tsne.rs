use parallax_random::Key;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{SquaredDistances, smallest};

/// t-SNE without approximation of the repulsion: van der Maaten and Hinton, JMLR 2008.
///
/// P is made of Gaussian weights of each row's 3·perplexity nearest rows (as in van der Maaten, JMLR 2014), Q of Student's
/// t over all pairs. It starts from the principal components at deviation 1e-4 (Kobak and Berens 2019) with step length
/// max(n / exaggeration / 4, 50) (Belkina et al. 2019), gains, and momentum 0.5, then 0.8.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tsne {
    /// Neighbours that each row tries to stay close to, as an effective number.
    pub perplexity: f64,
    /// Steps in all; the first third exaggerates attraction.
    pub steps: usize,
    /// Factor on attraction in the first third.
    pub exaggeration: f64,
}

impl Default for Tsne {
    fn default() -> Self {
        Tsne { perplexity: 30.0, steps: 750, exaggeration: 12.0 }
    }
}

/// Symmetric sparse P: `entries[starts[i]..starts[i + 1]]` are (j, pᵢⱼ) of row i.
struct Attraction {
    starts: Vec<usize>,
    entries: Vec<(u32, f32)>,
}

impl Tsne {
    /// The perplexity that `n` rows allow.
    pub(super) fn perplexity_for(&self, n: usize) -> f64 {
        let most = (n.saturating_sub(1) / 3).max(1) as f64;
        if self.perplexity >= 1.0 { self.perplexity.min(most) } else { 1.0 }
    }

    /// Whether there are enough rows for t-SNE to mean anything.
    pub(super) fn fits(&self, n: usize) -> bool {
        n >= 8
    }

    /// Lays out the rows behind `squares`, from `start`. The same bytes for any number of threads.
    pub(super) fn layout(&self, squares: &SquaredDistances, start: &[[f64; 2]], key: Key) -> Vec<[f64; 2]> {
        let n = squares.len();
        let attraction = self.attraction(squares);
        let variance = start.iter().map(|p| p[0] * p[0]).sum::<f64>() / n as f64;
        let scale = if variance > 0.0 { 1e-4 / variance.sqrt() } else { 0.0 };
        // Equal rows would never part, so that a heap of them would look like one.
        let place = |i: usize, axis: usize| {
            (start[i][axis] * scale + 1e-6 * key.normal((2 * i + axis) as u64)) as f32
        };
        let mut x: Vec<f32> = (0..n).map(|i| place(i, 0)).collect();
        let mut y: Vec<f32> = (0..n).map(|i| place(i, 1)).collect();
        let exaggeration = self.exaggeration.clamp(1.0, 100.0);
        let rate = (n as f64 / exaggeration / 4.0).max(50.0) as f32;
        let mut speed = vec![[0.0f32; 2]; n];
        let mut gain = vec![[1.0f32; 2]; n];
        let steps = self.steps.min(10_000);
        for step in 0..steps {
            let early = step < steps / 3;
            let (factor, momentum) = if early { (exaggeration as f32, 0.5) } else { (1.0, 0.8) };
            let gradient = gradient(&attraction, &x, &y, factor);
            for i in 0..n {
                for (axis, position) in [&mut x, &mut y].into_iter().enumerate() {
                    let (slope, speed, gain) = (gradient[i][axis], &mut speed[i][axis], &mut gain[i][axis]);
                    let same_way = (slope > 0.0) == (*speed > 0.0);
                    *gain = if same_way { (*gain * 0.8).max(0.01) } else { *gain + 0.2 };
                    *speed = momentum * *speed - rate * *gain * slope;
                    position[i] += *speed;
                }
            }
            for axis in [&mut x, &mut y] {
                let mean = (axis.iter().map(|&x| f64::from(x)).sum::<f64>() / n as f64) as f32;
                axis.iter_mut().for_each(|x| *x -= mean);
            }
        }
        x.into_iter().zip(y).map(|(x, y)| [f64::from(x), f64::from(y)]).collect()
    }

    fn attraction(&self, squares: &SquaredDistances) -> Attraction {
        let n = squares.len();
        let perplexity = self.perplexity_for(n);
        let near = ((3.0 * perplexity) as usize).clamp(1, n - 1);
        let one_way: Vec<Vec<(usize, f64)>> = squares.rows(|row, distances| {
            let places = smallest(row, distances, near);
            let chosen: Vec<f64> = places.iter().map(|&place| f64::from(distances[place])).collect();
            places.into_iter().zip(weights(&chosen, perplexity)).collect()
        });
        let mut pairs: Vec<(usize, usize, f64)> = Vec::with_capacity(2 * n * near);
        for (i, row) in one_way.iter().enumerate() {
            for &(j, p) in row {
                pairs.push((i, j, p));
                pairs.push((j, i, p));
            }
        }
        pairs.sort_by_key(|&(i, j, _)| (i, j));
        let mut starts = vec![0; n + 1];
        let mut entries = Vec::with_capacity(pairs.len());
        for same in pairs.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
            // At most two weights, so their order does not matter.
            let p = same.iter().map(|pair| pair.2).sum::<f64>() / (2 * n) as f64;
            entries.push((same[0].1 as u32, p as f32));
            starts[same[0].0 + 1] = entries.len();
        }
        for i in 1..=n {
            starts[i] = starts[i].max(starts[i - 1]);
        }
        Attraction { starts, entries }
    }
}

/// exp(−β·d) normalised to sum 1, with β such that the entropy is ln perplexity (by bisection).
fn weights(squares: &[f64], perplexity: f64) -> Vec<f64> {
    let least = squares.iter().copied().fold(f64::INFINITY, f64::min);
    let mean = squares.iter().map(|d| d - least).sum::<f64>() / squares.len() as f64;
    let at = |beta: f64| -> (Vec<f64>, f64) {
        let raw: Vec<f64> = squares.iter().map(|d| (-beta * (d - least)).exp()).collect();
        let sum: f64 = raw.iter().sum();
        let average = raw.iter().zip(squares).map(|(w, d)| w * (d - least)).sum::<f64>() / sum;
        (raw.iter().map(|w| w / sum).collect(), sum.ln() + beta * average)
    };
    let (mut low, mut high) = (0.0, f64::INFINITY);
    // Where all distances are the same, every β gives the same weights.
    let mut beta = if mean > 0.0 { 1.0 / mean } else { 1.0 };
    for _ in 0..100 {
        let entropy = at(beta).1;
        if (entropy - perplexity.ln()).abs() < 1e-6 {
            break;
        }
        if entropy > perplexity.ln() {
            low = beta;
            beta = if high.is_finite() { (low + high) / 2.0 } else { beta * 2.0 };
        } else {
            high = beta;
            beta = (low + high) / 2.0;
        }
        if beta > 1e12 / mean.max(1e-30) {
            break;
        }
    }
    at(beta).0
}

/// ∂KL(P‖Q)/∂yᵢ = 4 Σⱼ (factor·pᵢⱼ − qᵢⱼ) wᵢⱼ (yᵢ − yⱼ) with wᵢⱼ = 1 / (1 + ‖yᵢ − yⱼ‖²), qᵢⱼ = wᵢⱼ / Σ w.
fn gradient(attraction: &Attraction, x: &[f32], y: &[f32], factor: f32) -> Vec<[f32; 2]> {
    let n = x.len();
    let parts: Vec<(f64, [f32; 2], [f32; 2])> = (0..n)
        .into_par_iter()
        .with_min_len(64)
        .map(|i| {
            let (weight, away) = repulsion(x[i], y[i], x, y);
            let mut pull = [0.0f32; 2];
            for &(j, p) in &attraction.entries[attraction.starts[i]..attraction.starts[i + 1]] {
                let (dx, dy) = (x[i] - x[j as usize], y[i] - y[j as usize]);
                let w = p / (1.0 + dx * dx + dy * dy);
                pull[0] += w * dx;
                pull[1] += w * dy;
            }
            (weight, away, pull)
        })
        .collect();
    let total: f64 = parts.iter().map(|part| part.0).sum();
    let share = (1.0 / total.max(f64::MIN_POSITIVE)) as f32;
    let slope = |pull: f32, away: f32| 4.0 * (factor * pull - share * away);
    parts.iter().map(|(_, away, pull)| [slope(pull[0], away[0]), slope(pull[1], away[1])]).collect()
}

/// Σⱼ wⱼ over the other points, and Σⱼ wⱼ² (y − yⱼ), in sixteen partial sums.
fn repulsion(px: f32, py: f32, x: &[f32], y: &[f32]) -> (f64, [f32; 2]) {
    const LANES: usize = 16;
    let (mut weight, mut away_x, mut away_y) = ([0.0f32; LANES], [0.0f32; LANES], [0.0f32; LANES]);
    let ((x16, x_rest), (y16, y_rest)) = (x.as_chunks::<LANES>(), y.as_chunks::<LANES>());
    for (xs, ys) in x16.iter().zip(y16) {
        for lane in 0..LANES {
            let (dx, dy) = (px - xs[lane], py - ys[lane]);
            let w = 1.0 / (1.0 + dx * dx + dy * dy);
            weight[lane] += w;
            away_x[lane] += w * w * dx;
            away_y[lane] += w * w * dy;
        }
    }
    for (&qx, &qy) in x_rest.iter().zip(y_rest) {
        let (dx, dy) = (px - qx, py - qy);
        let w = 1.0 / (1.0 + dx * dx + dy * dy);
        weight[0] += w;
        away_x[0] += w * w * dx;
        away_y[0] += w * w * dy;
    }
    // The point's own weight is 1, at distance 0.
    let weight = weight.iter().map(|&w| f64::from(w)).sum::<f64>() - 1.0;
    (weight, [away_x.iter().sum(), away_y.iter().sum()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_have_the_perplexity() {
        let squares: Vec<f64> = (0..90).map(|i| 0.3 + (i * i) as f64 * 0.01).collect();
        let p = weights(&squares, 30.0);
        let entropy: f64 = p.iter().map(|p| -p * p.ln()).sum();
        assert!((entropy.exp() - 30.0).abs() < 1e-3, "{}", entropy.exp());
        assert!(weights(&[2.0; 5], 3.0).iter().all(|p| (p - 0.2).abs() < 1e-12));
        assert!(weights(&[0.0, 0.0, 1.0, 1e30], 1.5).iter().all(|p| p.is_finite()));
    }

    /// KL(P‖Q) up to the part that does not depend on the map, in 64 bits.
    fn divergence(attraction: &Attraction, x: &[f64], y: &[f64]) -> f64 {
        let n = x.len();
        let w = |i: usize, j: usize| 1.0 / (1.0 + (x[i] - x[j]).powi(2) + (y[i] - y[j]).powi(2));
        let total: f64 = (0..n)
            .flat_map(|i| (0..n).map(move |j| (i, j)))
            .filter(|(i, j)| i != j)
            .map(|(i, j)| w(i, j))
            .sum();
        let row = |i: usize| &attraction.entries[attraction.starts[i]..attraction.starts[i + 1]];
        -(0..n)
            .flat_map(|i| row(i).iter().map(move |&(j, p)| (i, j as usize, f64::from(p))))
            .map(|(i, j, p)| p * (w(i, j) / total).ln())
            .sum::<f64>()
    }

    #[test]
    fn gradient_is_the_slope_of_the_divergence() {
        let key = Key::new(4);
        let (n, dim) = (37, 5);
        let values: Vec<f32> = (0..n * dim).map(|i| key.normal(i as u64) as f32).collect();
        let squares = SquaredDistances::new(&values, dim);
        let attraction = Tsne { perplexity: 6.0, ..Tsne::default() }.attraction(&squares);
        let sum: f64 = attraction.entries.iter().map(|e| f64::from(e.1)).sum();
        assert!((sum - 1.0).abs() < 1e-5, "P sums to {sum}");
        let x: Vec<f64> = (0..n).map(|i| key.normal(1000 + i as u64)).collect();
        let y: Vec<f64> = (0..n).map(|i| key.normal(2000 + i as u64)).collect();
        let single = |v: &[f64]| v.iter().map(|&x| x as f32).collect::<Vec<f32>>();
        let found = gradient(&attraction, &single(&x), &single(&y), 1.0);
        for i in [0, 9, 36] {
            let h = 1e-5;
            let (mut up, mut down) = (x.clone(), x.clone());
            up[i] += h;
            down[i] -= h;
            let want = (divergence(&attraction, &up, &y) - divergence(&attraction, &down, &y)) / (2.0 * h);
            assert!(
                (f64::from(found[i][0]) - want).abs() < 1e-5 + 1e-3 * want.abs(),
                "{:?} {want}",
                found[i]
            );
        }
    }
}
