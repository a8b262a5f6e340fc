//! How well similarities of pairs follow scores of them.

use rayon::prelude::*;

use crate::score::Rows;
use crate::{Error, MeasureResult, Retrieval, Similarity};

/// [`Retrieval::mode`] of an evaluation by [`scored_pairs`].
pub const SCORED_PAIRS: &str = "scored_pairs";

const SPEARMAN: &str = "Pearson's correlation of the ranks of the pairs by similarity with their ranks by score; equal values share \
                        the mean of their ranks; 0 where either side is constant";
const PEARSON: &str = "covariance of similarity and score over the product of their standard deviations; 0 where either \
                       side is constant";

/// Pearson's correlation `Σ (x − x̄)(y − ȳ) / √(Σ (x − x̄)² · Σ (y − ȳ)²)`; 0 where either side is constant or empty.
///
/// # Panics
/// If the sides differ in length.
pub fn pearson(x: &[f64], y: &[f64]) -> f64 {
    assert_eq!(x.len(), y.len(), "one value of each side for each pair");
    let n = x.len().max(1) as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (dx, dy) = (x - mean_x, y - mean_y);
        xy += dx * dy;
        xx += dx * dx;
        yy += dy * dy;
    }
    // One root is exact where both sides have the same squares, as equal ranks do; two do not overflow.
    let product = xx * yy;
    let scale = if product.is_normal() { product.sqrt() } else { xx.sqrt() * yy.sqrt() };
    if scale > 0.0 { (xy / scale).clamp(-1.0, 1.0) } else { 0.0 }
}

/// Spearman's rank correlation: [`pearson`] of the [`ranks`].
///
/// # Panics
/// If the sides differ in length.
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    pearson(&ranks(x), &ranks(y))
}

/// Ranks from 1; equal values share the mean of theirs.
pub fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut before = 0;
    for group in order.chunk_by(|&a, &b| values[a] == values[b]) {
        let shared = before as f64 + (group.len() as f64 + 1.0) / 2.0;
        group.iter().for_each(|&at| ranks[at] = shared);
        before += group.len();
    }
    ranks
}

/// Measures pairs with scores: `spearman` and `pearson` of the similarity of row `i` of `first` and row `i` of `second`
/// with `scores[i]`. There are no intervals and no values of single pairs.
///
/// # Errors
/// No pairs, sides that do not have one row for each score, vectors that are not finite.
pub fn scored_pairs(
    first: &[f32],
    second: &[f32],
    dim: usize,
    scores: &[f64],
    similarity: Similarity,
) -> Result<Retrieval, Error> {
    if scores.is_empty() || dim == 0 {
        return Err(Error::Empty { set: "pairs" });
    }
    for (set, values) in [("first texts", first), ("second texts", second)] {
        if values.len() % dim != 0 {
            return Err(Error::Ragged { set, values: values.len(), dim });
        }
        if values.len() / dim != scores.len() {
            return Err(Error::Labels { set, rows: values.len() / dim, labels: scores.len() });
        }
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(Error::NotFinite { set, row: at / dim + 1, column: at % dim + 1, value: values[at] });
        }
    }
    let (x, y) = (Rows::new(first, dim, similarity), Rows::new(second, dim, similarity));
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let of_pair = |(a, b): (&[f32], &[f32])| match similarity {
        Similarity::Cosine | Similarity::Dot => dot(a, b),
        Similarity::Euclidean => {
            -a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum::<f64>()
        }
    };
    let pairs = x.values.par_chunks_exact(dim).zip(y.values.par_chunks_exact(dim));
    let similarities: Vec<f64> = pairs.map(of_pair).collect();
    let result = |name: &str, value: f64, definition: &str| MeasureResult {
        name: name.to_owned(),
        value,
        interval: None,
        class_mean: value,
        tied_queries: 0,
        definition: definition.to_owned(),
    };
    Ok(Retrieval {
        measures: vec![
            result("spearman", spearman(&similarities, scores), SPEARMAN),
            result("pearson", pearson(&similarities, scores), PEARSON),
        ],
        mode: SCORED_PAIRS.to_owned(),
        similarity: similarity.definition().to_owned(),
        queries: scores.len(),
        dropped: 0,
        gallery: scores.len(),
        most_relevant: 0,
        ties: 0,
        interval_method: String::new(),
        resamples: 0,
        per_query: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_of_equal_values_are_shared() {
        assert_eq!(ranks(&[3.0, 1.0, 3.0, 2.0, 3.0]), [4.0, 1.0, 4.0, 2.0, 4.0]);
        assert_eq!(ranks(&[]), [0.0; 0]);
    }

    #[test]
    fn correlations_by_hand() {
        // Deviations (−1.5, −0.5, 0.5, 1.5) and (−2, 0, −1, 3): Σ = 7, squares 5 and 14.
        let (x, y) = ([1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 1.0, 5.0]);
        assert!((pearson(&x, &y) - 7.0 / 70f64.sqrt()).abs() < 1e-15);
        // Ranks (1, 2, 3, 4) and (1, 3, 2, 4): 1 − 6 · 2 / (4 · 15).
        assert!((spearman(&x, &y) - 0.8).abs() < 1e-15);
        assert_eq!(spearman(&x, &[1.0, 10.0, 100.0, 1e6]), 1.0);
        assert_eq!(spearman(&x, &[4.0, 3.0, 2.0, 1.0]), -1.0);
        assert_eq!(pearson(&x, &[2.0; 4]), 0.0);
    }

    #[test]
    fn pairs_are_compared_by_the_similarity() {
        // Cosines 1, 0, −1; inner products 2, 0, −1.
        let first = [1.0, 0.0, 1.0, 0.0, 1.0, 0.0];
        let second = [2.0, 0.0, 0.0, 1.0, -1.0, 0.0];
        let scores = [1.0, 0.0, -1.0];
        let found = scored_pairs(&first, &second, 2, &scores, Similarity::Cosine).unwrap();
        assert!((found.measures[1].value - 1.0).abs() < 1e-12 && found.measures[0].value == 1.0);
        let by_dot = scored_pairs(&first, &second, 2, &scores, Similarity::Dot).unwrap();
        assert!((by_dot.measures[1].value - pearson(&[2.0, 0.0, -1.0], &scores)).abs() < 1e-12);
        let far = scored_pairs(&first, &second, 2, &scores, Similarity::Euclidean).unwrap();
        assert!((far.measures[1].value - pearson(&[-1.0, -2.0, -4.0], &scores)).abs() < 1e-12);
        assert!(scored_pairs(&first, &second[..4], 2, &scores, Similarity::Cosine).is_err());
        assert!(scored_pairs(&[], &[], 2, &[], Similarity::Cosine).is_err());
        assert!(scored_pairs(&[f32::NAN], &[1.0], 1, &[0.0], Similarity::Dot).is_err());
    }
}
