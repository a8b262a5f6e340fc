//! Late interaction: similarity of two sets of token embeddings.

use parallax_kernels::{Real, gemm};
use rayon::prelude::*;

use crate::batch::check_values;
use crate::error::Error;

/// Sets of token embeddings, one after another: the tokens of set `i` are rows `offsets[i]..offsets[i + 1]` of `values`.
#[derive(Clone, Copy, Debug)]
pub struct TokenSets<'a, T> {
    /// Token embeddings `[tokens, dim]`, normalised by the caller where cosines are meant.
    pub values: &'a [T],
    /// Where each set begins, and at the end the number of tokens: one entry more than sets, never falling.
    pub offsets: &'a [u32],
    /// Dimensions of a token embedding.
    pub dim: usize,
}

impl<T: Real> TokenSets<'_, T> {
    /// How many sets.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no set.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn set(&self, i: usize) -> &[T] {
        &self.values[self.offsets[i] as usize * self.dim..self.offsets[i + 1] as usize * self.dim]
    }

    fn check(&self, what: &'static str) -> Result<(), Error> {
        let tokens = self.offsets.last().copied().unwrap_or(0) as usize;
        let first = self.offsets.first().copied().unwrap_or(0);
        if self.dim == 0 || first != 0 || self.offsets.windows(2).any(|w| w[0] > w[1]) {
            return Err(Error::Shape {
                what: "token offsets",
                found: self.offsets.len(),
                rows: tokens,
                dim: self.dim,
            });
        }
        check_values(what, self.values, tokens, self.dim)
    }
}

/// `s(q, d) = Σ_t max_u q_t · d_u` of every query set with every document set, `[queries, documents]`; larger is nearer.
///
/// It is not a function of one inner product a pair, so it stands beside the row engine: O(query tokens · document tokens ·
/// dim) time, and memory of the scores and one query's products with one document a thread. A document without tokens has
/// score 0. Khattab and Zaharia, *ColBERT*, SIGIR 2020, equation 3.
///
/// # Errors
/// Offsets that fall or do not start at 0, sets of different dimensions, and values that are not finite.
pub fn maxsim<T: Real>(queries: &TokenSets<'_, T>, documents: &TokenSets<'_, T>) -> Result<Vec<T>, Error> {
    check(queries, documents)?;
    let mut scores = vec![T::ZERO; queries.len() * documents.len()];
    if documents.is_empty() {
        return Ok(scores);
    }
    scores.par_chunks_mut(documents.len()).enumerate().for_each_init(Vec::new, |products, (i, scores)| {
        for (j, score) in scores.iter_mut().enumerate() {
            best(queries.set(i), documents.set(j), queries.dim, products, |_, _, s| *score += s);
        }
    });
    Ok(scores)
}

/// Gradients of [`maxsim`] by the query tokens and by the document tokens, from the gradient by the scores `[queries,
/// documents]`. Of equally near tokens the first receives it.
///
/// # Errors
/// As [`maxsim`], and a gradient of another shape.
pub fn maxsim_backward<T: Real>(
    queries: &TokenSets<'_, T>,
    documents: &TokenSets<'_, T>,
    gradient: &[T],
) -> Result<(Vec<T>, Vec<T>), Error> {
    check(queries, documents)?;
    let (rows, columns, dim) = (queries.len(), documents.len(), queries.dim);
    if gradient.len() != rows * columns {
        return Err(Error::Shape { what: "gradient of scores", found: gradient.len(), rows, dim: columns });
    }
    let add = |to: &mut [T], factor: T, from: &[T]| {
        to.iter_mut().zip(from).for_each(|(to, &from)| *to += factor * from);
    };
    let by_query = by_set(queries, |i, products, part| {
        for j in 0..columns {
            let (d, set) = (gradient[i * columns + j], documents.set(j));
            best(queries.set(i), set, dim, products, |t, u, _| {
                add(&mut part[t * dim..][..dim], d, &set[u * dim..][..dim]);
            });
        }
    });
    let by_document = by_set(documents, |j, products, part| {
        for i in 0..rows {
            let (d, set) = (gradient[i * columns + j], queries.set(i));
            best(set, documents.set(j), dim, products, |t, u, _| {
                add(&mut part[u * dim..][..dim], d, &set[t * dim..][..dim]);
            });
        }
    });
    Ok((by_query, by_document))
}

/// Gathers a gradient set by set: each side gathers its own, so that no two threads write to one token.
fn by_set<T: Real>(sets: &TokenSets<'_, T>, one: impl Fn(usize, &mut Vec<T>, &mut [T]) + Sync) -> Vec<T> {
    let parts: Vec<Vec<T>> = (0..sets.len())
        .into_par_iter()
        .map_init(Vec::new, |products, i| {
            let mut part = vec![T::ZERO; sets.set(i).len()];
            one(i, products, &mut part);
            part
        })
        .collect();
    parts.concat()
}

fn check<T: Real>(queries: &TokenSets<'_, T>, documents: &TokenSets<'_, T>) -> Result<(), Error> {
    queries.check("query tokens")?;
    documents.check("document tokens")?;
    if queries.dim != documents.dim {
        let (found, rows, dim) = (documents.dim, 1, queries.dim);
        return Err(Error::Shape { what: "dimensions of document tokens", found, rows, dim });
    }
    Ok(())
}

/// Calls `take(token, its nearest document token, their product)` for each query token.
fn best<T: Real>(
    query: &[T],
    document: &[T],
    dim: usize,
    products: &mut Vec<T>,
    mut take: impl FnMut(usize, usize, T),
) {
    let (tokens, others) = (query.len() / dim, document.len() / dim);
    if others == 0 {
        return;
    }
    products.resize(tokens * others, T::ZERO);
    gemm::nt(tokens, others, dim, query, document, T::ZERO, products);
    for (t, row) in products.chunks_exact(others).enumerate() {
        let mut nearest = 0;
        for (u, &s) in row.iter().enumerate() {
            if s > row[nearest] {
                nearest = u;
            }
        }
        take(t, nearest, row[nearest]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use parallax_random::Key;

    fn sets<'a>(values: &'a [f64], offsets: &'a [u32]) -> TokenSets<'a, f64> {
        TokenSets { values, offsets, dim: 3 }
    }

    #[test]
    fn scores_and_gradients() {
        let dim = 3;
        let random =
            |seed, n: usize| -> Vec<f64> { (0..n).map(|i| Key::new(seed).normal(i as u64)).collect() };
        let (q, d) = (random(1, 5 * dim), random(2, 7 * dim));
        let (q_offsets, d_offsets) = ([0, 2, 5], [0, 3, 3, 7]);
        let scores = maxsim(&sets(&q, &q_offsets), &sets(&d, &d_offsets)).unwrap();
        let dot = |t: usize, u: usize| (0..dim).map(|k| q[t * dim + k] * d[u * dim + k]).sum::<f64>();
        for i in 0..2 {
            for j in 0..3 {
                let want: f64 = (q_offsets[i] as usize..q_offsets[i + 1] as usize)
                    .map(|t| {
                        let products = (d_offsets[j] as usize..d_offsets[j + 1] as usize).map(|u| dot(t, u));
                        products.reduce(f64::max).unwrap_or(0.0)
                    })
                    .sum();
                assert!((scores[i * 3 + j] - want).abs() < 1e-12);
            }
        }
        let gradient = random(3, 6);
        let (by_query, by_document) =
            maxsim_backward(&sets(&q, &q_offsets), &sets(&d, &d_offsets), &gradient).unwrap();
        let value = |q: &[f64], d: &[f64]| -> f64 {
            maxsim(&sets(q, &q_offsets), &sets(d, &d_offsets))
                .unwrap()
                .iter()
                .zip(&gradient)
                .map(|(s, g)| s * g)
                .sum()
        };
        let step = 1e-6;
        for k in 0..q.len() {
            let at = |offset: f64| {
                let mut moved = q.clone();
                moved[k] += offset;
                value(&moved, &d)
            };
            assert!(((at(step) - at(-step)) / (2.0 * step) - by_query[k]).abs() < 1e-8);
        }
        for k in 0..d.len() {
            let at = |offset: f64| {
                let mut moved = d.clone();
                moved[k] += offset;
                value(&q, &moved)
            };
            assert!(((at(step) - at(-step)) / (2.0 * step) - by_document[k]).abs() < 1e-8);
        }
        let wrong = TokenSets { values: &q[..], offsets: &[0, 4, 3], dim };
        assert!(maxsim(&wrong, &sets(&d, &d_offsets)).is_err());
        assert!(maxsim_backward(&sets(&q, &q_offsets), &sets(&d, &d_offsets), &gradient[1..]).is_err());
    }
}
