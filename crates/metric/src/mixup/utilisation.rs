//! How well a set of embeddings covers another.

use parallax_kernels::{Real, gemm};
use parallax_random::Key;
use rayon::prelude::*;

use super::{Metrix, Mixtures, Pairing};
use crate::batch::check_values;
use crate::context::unit_rows;
use crate::error::{Error, require};

/// Queries that a thread works on at once, and references whose products it holds.
const QUERIES: usize = 32;
const REFERENCES: usize = 1024;

/// `u(Q, X) = mean_q min_x ‖q − x‖²`: how far the queries `[Q, dim]` are from the nearest of the references `[X, dim]`; lower
/// is better.
///
/// With Q the embeddings of a test set and X those of a training set, or mixtures of them, it says how much of the space
/// that the test set needs was used in training (Venkataramanan et al., ICLR 2022). Distances are of the values as they
/// come. Products in tiles find the candidates, with a bound on their rounding, and the distances of those are taken from
/// differences in 64 bits: the result is that of all differences. O(Q·X·D) time, O(threads · tile) memory; the same bytes
/// for any number of threads.
///
/// # Errors
/// An empty side, slices that do not fill rows of `dim`, values that are not finite.
pub fn utilisation<T: Real>(queries: &[T], references: &[T], dim: usize) -> Result<f64, Error> {
    let nearest = nearest_squares(queries, references, dim)?;
    Ok(nearest.iter().sum::<f64>() / nearest.len() as f64)
}

/// `min_x ‖q − x‖²` of every query: what [`utilisation`] is the mean of.
///
/// # Errors
/// As [`utilisation`].
pub fn nearest_squares<T: Real>(queries: &[T], references: &[T], dim: usize) -> Result<Vec<f64>, Error> {
    let (q, x) = (queries.len() / dim.max(1), references.len() / dim.max(1));
    for rows in [q, x] {
        if rows == 0 || dim == 0 {
            return Err(Error::EmptyBatch { rows, dim });
        }
    }
    check_values("queries", queries, q, dim)?;
    check_values("references", references, x, dim)?;
    let square = |row: &[T]| row.iter().map(|v| v.f64() * v.f64()).sum::<f64>();
    let norms: Vec<f64> = references.par_chunks_exact(dim).map(square).collect();
    // |computed − true| of a squared distance by products of T: rounding of the product and of the two norms.
    let rounding = 4.0 * (dim as f64 + 4.0) * T::EPSILON.f64();
    let nearest: Vec<f64> = queries
        .par_chunks(QUERIES * dim)
        .flat_map_iter(|queries| {
            let rows = queries.len() / dim;
            let own: Vec<f64> = queries.chunks_exact(dim).map(square).collect();
            let mut best = vec![f64::INFINITY; rows];
            let mut products = vec![T::ZERO; rows * REFERENCES];
            for (block, references) in references.chunks(REFERENCES * dim).enumerate() {
                let columns = references.len() / dim;
                let products = &mut products[..rows * columns];
                gemm::nt(rows, columns, dim, queries, references, T::ZERO, products);
                let norms = &norms[block * REFERENCES..][..columns];
                for (i, products) in products.chunks_exact(columns).enumerate() {
                    let query = &queries[i * dim..(i + 1) * dim];
                    for (j, (&product, &norm)) in products.iter().zip(norms).enumerate() {
                        let sum = own[i] + norm;
                        // (‖q‖² + ‖x‖²) bounds 2 ‖q‖ ‖x‖, and so the error of the product.
                        if sum - 2.0 * product.f64() - rounding * sum <= best[i] {
                            let exact: f64 = query
                                .iter()
                                .zip(&references[j * dim..(j + 1) * dim])
                                .map(|(q, x)| (q.f64() - x.f64()) * (q.f64() - x.f64()))
                                .sum();
                            best[i] = best[i].min(exact);
                        }
                    }
                }
            }
            best
        })
        .collect();
    Ok(nearest)
}

/// What mixtures of a training set cover of a test set, beside as many more originals.
///
/// Each holds one number for every query, whose mean is the utilisation.
#[derive(Clone, Debug, PartialEq)]
pub struct Utilisation {
    /// Of the test set by the originals that are mixed.
    pub originals: Vec<f64>,
    /// By the same and their mixtures.
    pub with_mixtures: Vec<f64>,
    /// By the same and as many more originals.
    pub with_originals: Vec<f64>,
}

/// [`utilisation`] of a test set by a part of a training set, by that part with `n` mixtures of its rows, and by that part with
/// `n` more rows of the training set.
///
/// The part is all rows but `n`, drawn from `key`. Rows are brought to length 1, and so are mixtures. Mixtures are drawn as
/// in training, with `alpha`; with the pairing `positive_negative` or `anchor_negative` only those of two classes.
///
/// # Errors
/// As [`utilisation`], and an `n` that is 0 or leaves fewer than two rows to be mixed.
pub fn utilisation_of_mixtures<T: Real>(
    queries: &[T],
    training: &[T],
    labels: &[u32],
    dim: usize,
    n: usize,
    metrix: &Metrix,
    key: Key,
) -> Result<Utilisation, Error> {
    metrix.check()?;
    let rows = labels.len();
    check_values("training rows", training, rows, dim)?;
    require(
        n > 0 && n + 2 <= rows,
        "utilisation",
        "n",
        n as f64,
        "at least 1, and leave two rows to be mixed",
    )?;
    let (queries, training) = (unit_rows(queries, dim), unit_rows(training, dim));
    let mut order: Vec<u32> = (0..rows as u32).collect();
    key.named("part").shuffle(&mut order);
    let (part, more) = order.split_at(rows - n);
    let gather = |rows: &[u32]| -> Vec<T> {
        rows.iter().flat_map(|&row| &training[row as usize * dim..][..dim]).copied().collect()
    };
    let (originals, more) = (gather(part), gather(more));
    let classes: Vec<u32> = part.iter().map(|&row| labels[row as usize]).collect();
    let two_classes = metrix.pairs != Pairing::All;
    if two_classes && classes.windows(2).all(|pair| pair[0] == pair[1]) {
        return Err(Error::Combination {
            component: "utilisation",
            must: "mixtures of two classes need rows of two classes",
        });
    }
    let mut mixed: Vec<T> = Vec::with_capacity(n * dim);
    let mut round = 0;
    while mixed.len() < n * dim {
        let metrix = Metrix { rounds: 1, ..metrix.clone() };
        let drawn = Mixtures::draw(&metrix, part.len(), key.named("mixtures").at(round));
        let all = unit_rows(&drawn.mix(&originals, dim), dim);
        for (row, &(i, j)) in all.chunks_exact(dim).zip(drawn.sources()) {
            if mixed.len() < n * dim && (!two_classes || classes[i as usize] != classes[j as usize]) {
                mixed.extend(row);
            }
        }
        round += 1;
    }
    let with = |more: &[T]| nearest_squares(&queries, &[&originals[..], more].concat(), dim);
    Ok(Utilisation {
        originals: nearest_squares(&queries, &originals, dim)?,
        with_mixtures: with(&mixed)?,
        with_originals: with(&more)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(degrees: &[f64]) -> Vec<f64> {
        degrees.iter().flat_map(|d| [d.to_radians().cos(), d.to_radians().sin()]).collect()
    }

    #[test]
    fn two_queries_and_two_references_by_hand() {
        let u = utilisation(&at(&[45.0, 100.0]), &at(&[0.0, 90.0]), 2).unwrap();
        assert!((u - 0.308_085).abs() < 5e-7, "{u}");
    }

    #[test]
    fn tiles_give_what_all_differences_give() {
        fn check<T: Real>() {
            let (dim, key) = (7, Key::new(2));
            let values = |n: usize, key: Key| -> Vec<T> {
                // Far from the origin, where products lose digits.
                (0..n * dim).map(|i| T::of(key.normal(i as u64) + 30.0)).collect()
            };
            let (q, x) = (values(70, key.at(0)), values(2_500, key.at(1)));
            let naive = q.chunks_exact(dim).map(|q| {
                let distance =
                    |x: &[T]| q.iter().zip(x).map(|(q, x)| (q.f64() - x.f64()).powi(2)).sum::<f64>();
                x.chunks_exact(dim).map(distance).fold(f64::INFINITY, f64::min)
            });
            let naive = naive.sum::<f64>() / 70.0;
            for threads in [1, 2] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert_eq!(pool.install(|| utilisation(&q, &x, dim)).unwrap(), naive);
            }
        }
        check::<f32>();
        check::<f64>();
    }

    #[test]
    fn more_references_only_lower_it() {
        let key = Key::new(4);
        let values: Vec<f64> = (0..60 * 4).map(|i| key.normal(i)).collect();
        let labels: Vec<u32> = (0..50).map(|i| i % 5).collect();
        let (training, queries) = values.split_at(50 * 4);
        for pairs in [Pairing::All, Pairing::PositiveNegative] {
            let metrix = Metrix { pairs, ..Metrix::default() };
            let u = utilisation_of_mixtures(queries, training, &labels, 4, 20, &metrix, key).unwrap();
            for (at, originals) in u.originals.iter().enumerate() {
                assert!(u.with_mixtures[at] <= *originals && u.with_originals[at] <= *originals, "{u:?}");
            }
            assert!(u.with_mixtures.iter().sum::<f64>() < u.originals.iter().sum::<f64>(), "{u:?}");
        }
        let metrix = Metrix::default();
        assert!(utilisation_of_mixtures(queries, training, &labels, 4, 49, &metrix, key).is_err());
        assert!(utilisation::<f64>(&[], training, 4).is_err());
    }
}
