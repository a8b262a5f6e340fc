//! Which rows of a batch are mixed, and what a mixture is to an anchor.

use parallax_kernels::Real;
use parallax_random::Key;

use super::{Form, Metrix, Pairing};
use crate::error::{Error, require};

/// What a mixture is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anchor {
    /// Its row of the batch, where it is one; proxies are none.
    pub row: Option<u32>,
    /// Its class.
    pub label: u32,
}

/// The mixtures of a batch: `λ · first + (1 − λ) · second`.
#[derive(Clone, Debug, PartialEq)]
pub struct Mixtures {
    sources: Vec<(u32, u32)>,
    shares: Vec<f64>,
    pairs: Pairing,
}

impl Mixtures {
    /// Mixtures of these rows (first, second) with these shares λ of the first.
    ///
    /// # Errors
    /// Lists of different lengths, or shares outside of 0 to 1.
    pub fn new(sources: Vec<(u32, u32)>, shares: Vec<f64>, pairs: Pairing) -> Result<Self, Error> {
        if shares.len() != sources.len() {
            return Err(Error::Shape {
                what: "shares of mixtures",
                found: shares.len(),
                rows: sources.len(),
                dim: 1,
            });
        }
        for &share in &shares {
            let valid = (0.0..=1.0).contains(&share);
            require(valid, Metrix::NAME, "lambda", share, "between 0 and 1")?;
        }
        Ok(Mixtures { sources, shares, pairs })
    }

    /// The mixtures of a batch of `rows` rows, drawn from `key`; none for fewer than two rows.
    ///
    /// Each round puts the rows in a random circle; mixture k is row k with the row that follows it.
    pub fn draw(metrix: &Metrix, rows: usize, key: Key) -> Self {
        let pairs = match metrix.pairs {
            Pairing::Alternate if key.named("pairing").uniform(0) < 0.5 => Pairing::PositiveNegative,
            Pairing::Alternate => Pairing::AnchorNegative,
            pairs => pairs,
        };
        let mut sources = Vec::new();
        if rows >= 2 {
            for round in 0..metrix.rounds as u64 {
                let mut circle: Vec<u32> = (0..rows as u32).collect();
                key.named("circle").at(round).shuffle(&mut circle);
                let mut next = vec![0; rows];
                for (at, &row) in circle.iter().enumerate() {
                    next[row as usize] = circle[(at + 1) % rows];
                }
                sources.extend(next.into_iter().enumerate().map(|(row, next)| (row as u32, next)));
            }
        }
        let lambda = key.named("lambda");
        let one = metrix.one_lambda || metrix.form == Form::Labelings;
        let shares = (0..sources.len() as u64)
            .map(|k| symmetric_beta(metrix.alpha, lambda.at(if one { 0 } else { k })))
            .collect();
        Mixtures { sources, shares, pairs }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.sources.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// The rows that are mixed: (first, second).
    pub fn sources(&self) -> &[(u32, u32)] {
        &self.sources
    }

    /// The share λ of the first source of each.
    pub fn shares(&self) -> &[f64] {
        &self.shares
    }

    /// Which mixtures an anchor is compared with; never [`Pairing::Alternate`] where they were drawn.
    pub fn pairs(&self) -> Pairing {
        self.pairs
    }

    /// Refuses sources that are no rows of a batch of `rows` rows.
    pub(crate) fn check(&self, rows: usize) -> Result<(), Error> {
        match self.sources.iter().position(|&(i, j)| i.max(j) as usize >= rows) {
            None => Ok(()),
            Some(entry) => Err(Error::MixtureSource { entry, rows }),
        }
    }

    /// The label `y = λ y₁ + (1 − λ) y₂` of mixture `k` for an anchor, in a batch with these classes; none where the two are
    /// not compared.
    #[inline]
    pub fn label(&self, k: usize, anchor: Anchor, labels: &[u32]) -> Option<f64> {
        let (i, j) = self.sources[k];
        let (first, second) = (labels[i as usize] == anchor.label, labels[j as usize] == anchor.label);
        let share = self.shares[k];
        let own = anchor.row.is_some_and(|row| row == i || row == j);
        let compared = match self.pairs {
            Pairing::All | Pairing::Alternate => true,
            Pairing::PositiveNegative => first != second && !own,
            Pairing::AnchorNegative => first != second && own,
        };
        compared.then_some(match (first, second) {
            (true, true) => 1.0,
            (true, false) => share,
            (false, true) => 1.0 - share,
            (false, false) => 0.0,
        })
    }

    /// The mixtures of rows `[rows, dim]`: `[M, dim]`.
    ///
    /// # Panics
    /// If a source lies beyond the rows.
    pub fn mix<T: Real>(&self, rows: &[T], dim: usize) -> Vec<T> {
        let mut mixed = Vec::with_capacity(self.len() * dim);
        for (&(i, j), &share) in self.sources.iter().zip(&self.shares) {
            let (a, b) = (&rows[i as usize * dim..][..dim], &rows[j as usize * dim..][..dim]);
            let (first, second) = (T::of(share), T::of(1.0 - share));
            mixed.extend(a.iter().zip(b).map(|(&a, &b)| first * a + second * b));
        }
        mixed
    }

    /// Adds to the gradient by the rows `[rows, dim]` what comes from a gradient by the mixtures `[M, dim]`.
    ///
    /// # Panics
    /// If a source lies beyond the rows.
    pub fn mix_backward<T: Real>(&self, gradient: &[T], dim: usize, rows: &mut [T]) {
        for (k, (&(i, j), &share)) in self.sources.iter().zip(&self.shares).enumerate() {
            let from = &gradient[k * dim..(k + 1) * dim];
            for (source, share) in [(i, T::of(share)), (j, T::of(1.0 - share))] {
                let to = &mut rows[source as usize * dim..][..dim];
                to.iter_mut().zip(from).for_each(|(to, &from)| *to += share * from);
            }
        }
    }
}

/// A draw of Beta(α, α): `G₁ / (G₁ + G₂)` of two draws of Gamma(α).
fn symmetric_beta(alpha: f64, key: Key) -> f64 {
    // From the logarithms, since for a small α both are often 0 in any precision.
    1.0 / (1.0 + (log_gamma_draw(alpha, key.at(1)) - log_gamma_draw(alpha, key.at(0))).exp())
}

/// The logarithm of a draw of Gamma(α), after Marsaglia and Tsang, *A Simple Method for Generating Gamma Variables*, ACM TOMS
/// 2000.
fn log_gamma_draw(alpha: f64, key: Key) -> f64 {
    if alpha < 1.0 {
        let uniform = 1.0 - key.named("boost").uniform(0);
        return log_gamma_draw(alpha + 1.0, key.named("larger")) + uniform.ln() / alpha;
    }
    let d = alpha - 1.0 / 3.0;
    let c = 1.0 / (9.0 * d).sqrt();
    let mut at = 0;
    loop {
        let x = key.normal(at);
        let v = (1.0 + c * x).powi(3);
        if v > 0.0 && (1.0 - key.uniform(at)).ln() < 0.5 * x * x + d * (1.0 - v + v.ln()) {
            return (d * v).ln();
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_have_the_moments_of_the_beta_distribution() {
        for alpha in [0.2, 1.0, 2.0, 8.0] {
            let draws: Vec<f64> = (0..40_000).map(|i| symmetric_beta(alpha, Key::new(5).at(i))).collect();
            let mean = draws.iter().sum::<f64>() / draws.len() as f64;
            let square = draws.iter().map(|v| (v - 0.5) * (v - 0.5)).sum::<f64>() / draws.len() as f64;
            let fourth = draws.iter().map(|v| (v - 0.5).powi(4)).sum::<f64>() / draws.len() as f64;
            let variance = 0.25 / (2.0 * alpha + 1.0);
            assert!((mean - 0.5).abs() < 0.006, "{alpha}: {mean}");
            assert!((square / variance - 1.0).abs() < 0.02, "{alpha}: {square}");
            // Kurtosis 3 − 6 / (2α + 3).
            let kurtosis = 3.0 - 6.0 / (2.0 * alpha + 3.0);
            assert!((fourth / (square * square) / kurtosis - 1.0).abs() < 0.03, "{alpha}: {fourth}");
            assert!(draws.iter().all(|v| (0.0..=1.0).contains(v)));
        }
        assert!((0..100).all(|i| symmetric_beta(1e-3, Key::new(i)).is_finite()));
    }

    #[test]
    fn every_row_is_source_of_two_and_none_of_itself() {
        let metrix = Metrix { rounds: 3, ..Metrix::default() };
        let mixtures = Mixtures::draw(&metrix, 17, Key::new(1));
        assert_eq!(mixtures.len(), 51);
        for round in mixtures.sources().chunks(17) {
            let mut second: Vec<u32> = round.iter().map(|pair| pair.1).collect();
            second.sort_unstable();
            assert_eq!(second, (0..17).collect::<Vec<u32>>());
            assert!(round.iter().enumerate().all(|(row, &(i, j))| i as usize == row && j != i));
        }
        assert!(mixtures.shares().windows(2).any(|pair| pair[0] != pair[1]));
        let one = Mixtures::draw(&Metrix { one_lambda: true, ..metrix }, 17, Key::new(1));
        assert!(one.shares().iter().all(|&share| share == one.shares()[0]));
        assert!(Mixtures::draw(&Metrix::default(), 1, Key::new(1)).is_empty());
    }

    #[test]
    fn a_label_says_what_the_sources_are_to_the_anchor() {
        let labels = [0, 0, 1, 2];
        let mixed = |sources: &[(u32, u32)], pairs| {
            Mixtures::new(sources.to_vec(), vec![0.7; sources.len()], pairs).unwrap()
        };
        let sources = [(0, 1), (1, 2), (2, 1), (2, 3), (0, 2)];
        let anchor = Anchor { row: Some(0), label: 0 };
        let of = |pairs| -> Vec<Option<f64>> {
            let mixtures = mixed(&sources, pairs);
            (0..5).map(|k| mixtures.label(k, anchor, &labels)).collect()
        };
        let other = 1.0 - 0.7;
        assert_eq!(of(Pairing::All), [Some(1.0), Some(0.7), Some(other), Some(0.0), Some(0.7)]);
        assert_eq!(of(Pairing::PositiveNegative), [None, Some(0.7), Some(other), None, None]);
        assert_eq!(of(Pairing::AnchorNegative), [None, None, None, None, Some(0.7)]);
        // A proxy is no row of the batch.
        let proxy = Anchor { row: None, label: 0 };
        assert_eq!(mixed(&sources, Pairing::PositiveNegative).label(4, proxy, &labels), Some(0.7));
        assert!(Mixtures::new(vec![(0, 1)], vec![1.5], Pairing::All).is_err());
        assert!(Mixtures::new(vec![(0, 1)], vec![], Pairing::All).is_err());
        assert!(mixed(&[(0, 4)], Pairing::All).check(4).is_err());
    }

    #[test]
    fn alternating_takes_both_kinds() {
        let metrix = Metrix { pairs: Pairing::Alternate, ..Metrix::default() };
        let first = (0..200)
            .filter(|&step| Mixtures::draw(&metrix, 4, Key::new(step)).pairs() == Pairing::PositiveNegative);
        assert!((70..130).contains(&first.count()));
    }
}
