//! Confusion of the classes in the output of the metric layer.

use parallax_kernels::Real;
use parallax_random::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::batch::check_values;
use crate::error::{Error, require};

/// Energies are not taken to be smaller than this.
const SMALLEST_ENERGY: f64 = 1e-12;

/// Which pairs of different classes the energy is the mean of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConfusedPairs {
    /// All of the batch.
    #[default]
    All,
    /// So many for each row, drawn anew in each step from the rows of other classes; the authors' code draws 10.
    Sampled(usize),
}

/// What the term changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confused {
    /// The weights of the metric layer alone: its input counts as constant.
    #[default]
    MetricLayer,
    /// Everything that the layer's output depends on, as an ablation: the encoder is then asked to mix up the classes too.
    Everything,
}

/// `weight · log E`, or `weight · E`, with the energy `E = (1/|N|) Σ ½ ‖zᵢ − zⱼ‖²` over pairs N of rows of different classes,
/// where `z = W h + b` is the output of the metric layer as it is before any normalisation.
///
/// The loss draws classes apart by whatever tells them apart most easily; this draws them together again in the last linear
/// layer alone, so that what stands before that layer has to supply further evidence. Its gradient is by W: b cancels in
/// the differences, and the layer's input is held constant unless `trains` says otherwise. The metric layer is the last
/// linear layer of the head, and the gradient is `(1/E) ∂E` with log, which does not depend on the size of z.
///
/// All pairs cost O(B·D), by sums over classes: `Σ ‖zᵢ − zⱼ‖² = (B·S − ‖s‖²) − Σ_c (n_c S_c − ‖s_c‖²)` with sums s and sums
/// of squares S, taken in 64 bits around the mean. A batch of one class has value 0 and gradient 0; so has the gradient where
/// E is below 10⁻¹², which is as small as it is taken to be. A loss on cosines does not resist that z shrinks: the log of the
/// run holds the mean length of z (`metric_layer_norm`) beside the energy, also with weight 0.
///
/// Defaults: weight 0.13, log, all pairs, metric layer alone. Chen and Deng, *Energy Confused Adversarial Metric Learning for
/// Zero-Shot Image Retrieval and Clustering*, AAAI 2019; weight, log and unnormalised z as in the authors' code, which
/// samples 10 pairs a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EnergyConfusion {
    /// Factor of the term.
    pub weight: f64,
    /// Whether the logarithm of the energy is taken.
    pub log: bool,
    /// Which pairs of different classes it is the mean of.
    pub pairs: ConfusedPairs,
    /// What the term changes.
    pub trains: Confused,
}

impl Default for EnergyConfusion {
    fn default() -> Self {
        EnergyConfusion {
            weight: 0.13,
            log: true,
            pairs: ConfusedPairs::default(),
            trains: Confused::default(),
        }
    }
}

/// What a batch gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Confusion<T> {
    /// `weight · log E` or `weight · E`.
    pub value: f64,
    /// The energy E; 0 without pairs of different classes.
    pub energy: f64,
    /// Mean length of a row.
    pub norm: f64,
    /// The gradient of the value by the rows, `[rows, dim]`.
    pub grad: Vec<T>,
}

impl EnergyConfusion {
    pub(crate) const NAME: &'static str = "energy_confusion";

    /// Refuses parameters outside their range.
    pub fn check(&self) -> Result<(), Error> {
        let valid = self.weight >= 0.0 && self.weight.is_finite();
        require(valid, Self::NAME, "weight", self.weight, "a finite number of at least 0")?;
        let drawn = self.pairs != ConfusedPairs::Sampled(0);
        require(drawn, Self::NAME, "pairs.sampled", 0.0, "at least 1")
    }

    /// An upper bound on the bytes that [`evaluate`](Self::evaluate) allocates.
    pub fn memory_bytes(&self, rows: usize, dim: usize, value_bytes: usize) -> usize {
        // Centred rows in 64 bits, sums of each class, the gradient in both sizes; candidates of a row.
        rows * dim * (8 + 8 + 8 + value_bytes) + 64 * rows + (16 << 10)
    }

    /// The term on the outputs `z` `[rows, dim]` of the metric layer, with these classes; pairs are drawn from `key`.
    ///
    /// # Errors
    /// Parameters outside their range, slices that do not fit together, values that are not finite.
    pub fn evaluate<T: Real>(
        &self,
        z: &[T],
        dim: usize,
        labels: &[u32],
        key: Key,
    ) -> Result<Confusion<T>, Error> {
        self.check()?;
        let rows = labels.len();
        if rows == 0 || dim == 0 {
            return Err(Error::EmptyBatch { rows, dim });
        }
        check_values("outputs of the metric layer", z, rows, dim)?;
        let length = |row: &[T]| row.iter().map(|v| v.f64() * v.f64()).sum::<f64>().sqrt();
        let norm = z.chunks_exact(dim).map(length).sum::<f64>() / rows as f64;
        let mut slopes = vec![0.0; rows * dim];
        let energy = match self.pairs {
            ConfusedPairs::All => all_pairs(z, dim, labels, &mut slopes),
            ConfusedPairs::Sampled(each) => sampled_pairs(z, dim, labels, each, key, &mut slopes),
        };
        let Some(energy) = energy else {
            return Ok(Confusion { value: 0.0, energy: 0.0, norm, grad: vec![T::ZERO; z.len()] });
        };
        let (term, by) = match self.log {
            false => (energy, 1.0),
            true if energy > SMALLEST_ENERGY => (energy.ln(), 1.0 / energy),
            true => (SMALLEST_ENERGY.ln(), 0.0),
        };
        let factor = self.weight * by;
        let grad: Vec<T> = slopes.into_iter().map(|slope| T::of(factor * slope)).collect();
        if !energy.is_finite() || grad.iter().any(|g| !g.is_finite()) {
            return Err(Error::Overflow { what: "energy" });
        }
        Ok(Confusion { value: self.weight * term, energy, norm, grad })
    }
}

/// The mean over all pairs of different classes, and its derivative by the rows; none without such a pair.
fn all_pairs<T: Real>(z: &[T], dim: usize, labels: &[u32], slopes: &mut [f64]) -> Option<f64> {
    let rows = labels.len();
    let mut mean = vec![0.0; dim];
    for row in z.chunks_exact(dim) {
        mean.iter_mut().zip(row).for_each(|(sum, v)| *sum += v.f64());
    }
    mean.iter_mut().for_each(|sum| *sum /= rows as f64);
    // Distances do not see the mean, and without it the sums keep their digits.
    let centred: Vec<f64> =
        z.chunks_exact(dim).flat_map(|row| row.iter().zip(&mean).map(|(v, mean)| v.f64() - mean)).collect();
    let mut classes = labels.to_vec();
    classes.sort_unstable();
    classes.dedup();
    let of: Vec<usize> = labels.iter().map(|label| classes.partition_point(|class| class < label)).collect();
    let mut counts = vec![0.0; classes.len()];
    let mut squares = vec![0.0; classes.len()];
    let mut sums = vec![0.0; classes.len() * dim];
    for (row, &class) in centred.chunks_exact(dim).zip(&of) {
        counts[class] += 1.0;
        squares[class] += row.iter().map(|v| v * v).sum::<f64>();
        sums[class * dim..(class + 1) * dim].iter_mut().zip(row).for_each(|(sum, v)| *sum += v);
    }
    let count = rows as f64;
    let pairs = 0.5 * (count * count - counts.iter().map(|n| n * n).sum::<f64>());
    if pairs == 0.0 {
        return None;
    }
    let mut total = vec![0.0; dim];
    for sums in sums.chunks_exact(dim) {
        total.iter_mut().zip(sums).for_each(|(total, sum)| *total += sum);
    }
    let norm = |row: &[f64]| row.iter().map(|v| v * v).sum::<f64>();
    let mut distances = count * squares.iter().sum::<f64>() - norm(&total);
    for (class, sums) in sums.chunks_exact(dim).enumerate() {
        distances -= counts[class] * squares[class] - norm(sums);
    }
    // ∂E/∂zᵢ = (1/|N|) Σⱼ (zᵢ − zⱼ) over the rows j of other classes.
    for ((row, slopes), &class) in centred.chunks_exact(dim).zip(slopes.chunks_exact_mut(dim)).zip(&of) {
        let others = count - counts[class];
        let own = &sums[class * dim..(class + 1) * dim];
        for (d, slope) in slopes.iter_mut().enumerate() {
            *slope = (others * row[d] - (total[d] - own[d])) / pairs;
        }
    }
    Some((0.5 * distances / pairs).max(0.0))
}

/// The mean over `each` pairs a row (fewer where there are fewer), drawn without repeats; none without a pair.
fn sampled_pairs<T: Real>(
    z: &[T],
    dim: usize,
    labels: &[u32],
    each: usize,
    key: Key,
    slopes: &mut [f64],
) -> Option<f64> {
    let (mut sum, mut pairs) = (0.0, 0u64);
    let mut others: Vec<u32> = Vec::with_capacity(labels.len());
    for (i, label) in labels.iter().enumerate() {
        others.clear();
        others.extend((0..labels.len() as u32).filter(|&j| labels[j as usize] != *label));
        let key = key.at(i as u64);
        for k in 0..each.min(others.len()) {
            let chosen = k + key.below(k as u64, others.len() - k);
            others.swap(k, chosen);
            let j = others[k] as usize;
            pairs += 1;
            for d in 0..dim {
                let difference = z[i * dim + d].f64() - z[j * dim + d].f64();
                sum += 0.5 * difference * difference;
                slopes[i * dim + d] += difference;
                slopes[j * dim + d] -= difference;
            }
        }
    }
    if pairs == 0 {
        return None;
    }
    slopes.iter_mut().for_each(|slope| *slope /= pairs as f64);
    Some(sum / pairs as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const Z: [f64; 8] = [1.0, 0.0, 0.5, 0.5, -1.0, 1.0, 0.0, 2.0];
    const LABELS: [u32; 4] = [0, 0, 1, 1];

    fn term(weight: f64) -> EnergyConfusion {
        EnergyConfusion { weight, ..EnergyConfusion::default() }
    }

    fn drawn(rows: usize, dim: usize, key: Key) -> (Vec<f64>, Vec<u32>) {
        let z = (0..rows * dim).map(|i| key.normal(i as u64) + 3.0).collect();
        (z, (0..rows).map(|i| key.named("label").below(i as u64, 5) as u32).collect())
    }

    #[test]
    fn two_classes_of_two_by_hand() {
        let found = term(1.0).evaluate(&Z, 2, &LABELS, Key::new(0)).unwrap();
        assert!((found.energy - 1.875).abs() < 1e-15, "{}", found.energy);
        assert!((found.value - 0.628_609).abs() < 5e-7, "{}", found.value);
        let want =
            [0.4, -0.4, 0.266_666_666_7, -0.266_666_666_7, -0.466_666_666_7, 0.2, -0.2, 0.466_666_666_7];
        assert!(found.grad.iter().zip(want).all(|(g, want)| (g - want).abs() < 1e-9), "{:?}", found.grad);
        for d in 0..2 {
            let column: f64 = found.grad.iter().skip(d).step_by(2).sum();
            assert!(column.abs() < 1e-15, "{column}");
        }
        let lengths = 1.0 + 0.5f64.sqrt() + 2f64.sqrt() + 2.0;
        assert!((found.norm - lengths / 4.0).abs() < 1e-15);
        let plain = EnergyConfusion { log: false, ..term(0.5) };
        assert!((plain.evaluate(&Z, 2, &LABELS, Key::new(0)).unwrap().value - 0.9375).abs() < 1e-15);
    }

    #[test]
    fn the_energy_is_the_gap_and_the_spreads() {
        let found = term(1.0).evaluate(&Z, 2, &LABELS, Key::new(0)).unwrap();
        // ‖Δμ‖² = ‖(1.25, −1.25)‖², traces 0.25 / 2 and (0.5 + 0.5) / 2.
        let (gap, spreads) = (2.0 * 1.25f64.powi(2), 0.125 + 0.5);
        assert!((2.0 * found.energy - 3.75).abs() < 1e-14);
        assert!((2.0 * found.energy - (gap + spreads)).abs() < 1e-14);
        // 2E‖X − Y‖² − E‖X − X'‖² − E‖Y − Y'‖², a sample with itself included.
        let energy_distance = 2.0 * 3.75 - 0.5 / 2.0 - 2.0 / 2.0;
        assert!((energy_distance - 6.25).abs() < 1e-14 && (energy_distance - 2.0 * gap).abs() < 1e-14);
    }

    #[test]
    fn sums_over_classes_are_the_sums_over_pairs() {
        let (z, labels) = drawn(40, 6, Key::new(3));
        let (mut sum, mut pairs) = (0.0, 0.0);
        for i in 0..40 {
            for j in 0..i {
                if labels[i] != labels[j] {
                    pairs += 1.0;
                    sum += (0..6).map(|d| (z[i * 6 + d] - z[j * 6 + d]).powi(2)).sum::<f64>();
                }
            }
        }
        let found =
            EnergyConfusion { log: false, ..term(1.0) }.evaluate(&z, 6, &labels, Key::new(0)).unwrap();
        assert!((2.0 * pairs * found.energy - sum).abs() < 1e-9, "{} {sum}", 2.0 * pairs * found.energy);
        // Enough draws for every row are all pairs, each twice.
        let all = EnergyConfusion { pairs: ConfusedPairs::Sampled(40), ..term(0.3) };
        let all = all.evaluate(&z, 6, &labels, Key::new(9)).unwrap();
        let shortcut = term(0.3).evaluate(&z, 6, &labels, Key::new(0)).unwrap();
        assert!((all.energy - shortcut.energy).abs() < 1e-12);
        assert!(all.grad.iter().zip(&shortcut.grad).all(|(a, b)| (a - b).abs() < 1e-12));
    }

    #[test]
    fn gradients_are_the_central_differences() {
        let (z, labels) = drawn(9, 3, Key::new(4));
        for pairs in [ConfusedPairs::All, ConfusedPairs::Sampled(3)] {
            for log in [true, false] {
                let term = EnergyConfusion { log, pairs, ..term(0.7) };
                let found = term.evaluate(&z, 3, &labels, Key::new(5)).unwrap();
                for k in 0..z.len() {
                    let at = |h: f64| {
                        let mut moved = z.clone();
                        moved[k] += h;
                        term.evaluate(&moved, 3, &labels, Key::new(5)).unwrap().value
                    };
                    let numeric = (at(1e-5) - at(-1e-5)) / 2e-5;
                    assert!((found.grad[k] - numeric).abs() < 1e-8, "{term:?} {k}");
                }
            }
        }
    }

    #[test]
    fn the_size_of_z_and_the_number_of_pairs_leave_the_gradient_of_the_log() {
        let found = term(1.0).evaluate(&Z, 2, &LABELS, Key::new(0)).unwrap();
        let scaled: Vec<f64> = Z.iter().map(|v| 3.0 * v).collect();
        let more = term(1.0).evaluate(&scaled, 2, &LABELS, Key::new(0)).unwrap();
        assert!((more.energy - 9.0 * found.energy).abs() < 1e-12);
        assert!(more.grad.iter().zip(&found.grad).all(|(a, b)| (3.0 * a - b).abs() < 1e-12));
        // Each row twice: twice the sums over pairs for each, the same mean over them.
        let (z, labels) = ([&Z[..], &Z].concat(), [&LABELS[..], &LABELS].concat());
        let twice = term(1.0).evaluate(&z, 2, &labels, Key::new(0)).unwrap();
        assert!((twice.value - found.value).abs() < 1e-12);
        assert!(twice.grad[..8].iter().zip(&found.grad).all(|(a, b)| (2.0 * a - b).abs() < 1e-12));
    }

    #[test]
    fn nothing_to_confuse_is_nothing() {
        for pairs in [ConfusedPairs::All, ConfusedPairs::Sampled(2)] {
            let term = EnergyConfusion { pairs, ..term(1.0) };
            let one_class = term.evaluate(&Z, 2, &[3; 4], Key::new(0)).unwrap();
            assert_eq!((one_class.value, one_class.energy), (0.0, 0.0));
            assert_eq!(one_class.grad, [0.0; 8]);
            let same = term.evaluate(&[1.0f64; 8], 2, &LABELS, Key::new(0)).unwrap();
            assert!((same.value - 1e-12f64.ln()).abs() < 1e-12 && same.grad == [0.0; 8]);
        }
        assert!(term(1.0).evaluate(&Z, 2, &LABELS[..3], Key::new(0)).is_err());
        assert!(term(f64::NAN).check().is_err());
        assert!(EnergyConfusion { pairs: ConfusedPairs::Sampled(0), ..term(1.0) }.check().is_err());
    }
}
