//! Exact nearest items, a tile of scores at a time.

use std::borrow::Cow;

use parallax_eval::Similarity;
use parallax_kernels::gemm;
use rayon::prelude::*;

use super::Embeddings;

const QUERY_TILE: usize = 64;
const GALLERY_TILE: usize = 1024;

/// Rows made ready for scoring: of unit length where the similarity is cosine.
pub(crate) struct Prepared<'a> {
    values: Cow<'a, [f32]>,
    dim: usize,
    norms: Vec<f64>,
    similarity: Similarity,
}

/// An item near a query.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Found {
    pub(crate) row: usize,
    pub(crate) score: f64,
}

impl<'a> Prepared<'a> {
    pub(crate) fn new(rows: Embeddings<'a>, similarity: Similarity) -> Self {
        let Embeddings { values, dim } = rows;
        let norm = |row: &[f32]| sum(row, row, |a, b| a * b).sqrt();
        let mut values = Cow::Borrowed(values);
        if similarity == Similarity::Cosine {
            values.to_mut().par_chunks_mut(dim).for_each(|row| {
                let length = norm(row);
                if length > 0.0 {
                    row.iter_mut().for_each(|x| *x = (f64::from(*x) / length) as f32);
                }
            });
        }
        let norms = values.par_chunks(dim).map(norm).collect();
        Prepared { values, dim, norms, similarity }
    }

    pub(crate) fn len(&self) -> usize {
        self.norms.len()
    }

    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.dim..][..self.dim]
    }

    /// The score of two rows in 64 bits.
    fn score(&self, row: usize, gallery: &Prepared, item: usize) -> f64 {
        let (x, y) = (self.row(row), gallery.row(item));
        match self.similarity {
            Similarity::Euclidean => 0.0 - sum(x, y, |a, b| (a - b) * (a - b)),
            Similarity::Cosine | Similarity::Dot => sum(x, y, |a, b| a * b),
        }
    }
}

/// Copies of the given rows, of unit length where the similarity is cosine.
pub(crate) fn unit(rows: Embeddings, chosen: &[usize], similarity: Similarity) -> Vec<f32> {
    let dim = rows.dim;
    let copy: Vec<f32> =
        chosen.iter().flat_map(|&row| &rows.values[row * dim..(row + 1) * dim]).copied().collect();
    let prepared = Prepared::new(Embeddings { values: &copy, dim }, similarity);
    prepared.values.into_owned()
}

/// Σ term(xᵢ, yᵢ) in eight partial sums, in a fixed order.
#[inline(always)]
fn sum(x: &[f32], y: &[f32], term: impl Fn(f64, f64) -> f64) -> f64 {
    let mut lanes = [0.0f64; 8];
    let ((x8, x_rest), (y8, y_rest)) = (x.as_chunks::<8>(), y.as_chunks::<8>());
    for (a, b) in x8.iter().zip(y8) {
        for lane in 0..8 {
            lanes[lane] += term(f64::from(a[lane]), f64::from(b[lane]));
        }
    }
    let rest: f64 = x_rest.iter().zip(y_rest).map(|(&a, &b)| term(f64::from(a), f64::from(b))).sum();
    lanes.iter().sum::<f64>() + rest
}

/// The best candidates of one query so far. Scores are of 32 bits until they are settled.
struct Best {
    query: usize,
    k: usize,
    /// Settled items, best first, and then items that may or may not be among the best.
    items: Vec<(usize, Option<f64>)>,
    /// The score of the last place, once `k` items are settled.
    last: f64,
}

impl Best {
    /// Scores the open candidates in 64 bits and keeps the best `k`; equal scores by row.
    fn settle(&mut self, queries: &Prepared, gallery: &Prepared) {
        let query = self.query;
        for (row, score) in &mut self.items {
            score.get_or_insert_with(|| queries.score(query, gallery, *row));
        }
        let value = |item: &(usize, Option<f64>)| item.1.unwrap_or(f64::NEG_INFINITY);
        self.items.sort_by(|a, b| value(b).total_cmp(&value(a)).then(a.0.cmp(&b.0)));
        self.items.truncate(self.k);
        if self.items.len() == self.k {
            self.last = self.items.last().map_or(f64::NEG_INFINITY, value);
        }
    }
}

/// The `k` nearest items of the given queries, nearest first, equal scores by row; with `own`, item `i` is query `i`
/// and does not find itself. Values have been checked to be finite.
///
/// Memory: a tile of 64 × 1,024 scores a thread and 2,048 candidates a query of the tile.
pub(crate) fn nearest(
    queries: &Prepared,
    rows: &[usize],
    gallery: &Prepared,
    own: bool,
    k: usize,
) -> Vec<Vec<Found>> {
    let tiles: Vec<Vec<Vec<Found>>> =
        rows.par_chunks(QUERY_TILE).map(|rows| tile(queries, rows, gallery, own, k)).collect();
    tiles.into_iter().flatten().collect()
}

fn tile(queries: &Prepared, rows: &[usize], gallery: &Prepared, own: bool, k: usize) -> Vec<Vec<Found>> {
    let dim = queries.dim;
    let mut block = Vec::with_capacity(rows.len() * dim);
    rows.iter().for_each(|&row| block.extend_from_slice(queries.row(row)));
    let start = |&query: &usize| Best { query, k, items: Vec::new(), last: f64::NEG_INFINITY };
    let mut best: Vec<Best> = rows.iter().map(start).collect();
    let mut scores = vec![0.0f32; rows.len() * GALLERY_TILE.min(gallery.len())];
    for first in (0..gallery.len()).step_by(GALLERY_TILE) {
        let wide = GALLERY_TILE.min(gallery.len() - first);
        let part = &gallery.values[first * dim..(first + wide) * dim];
        let scores = &mut scores[..rows.len() * wide];
        gemm::nt(rows.len(), wide, dim, &block, part, 0.0, scores);
        let norms = &gallery.norms[first..first + wide];
        let reach = norms.iter().copied().fold(0.0, f64::max);
        for (row, best) in scores.chunks_exact_mut(wide).zip(&mut best) {
            let norm = queries.norms[best.query];
            // The rounding error of a sum of `dim` products, twice over.
            let mut doubt = (dim + 8) as f64 * f64::from(f32::EPSILON) * norm * reach;
            if queries.similarity == Similarity::Euclidean {
                for (value, length) in row.iter_mut().zip(norms) {
                    *value = (2.0 * f64::from(*value) - length * length - norm * norm) as f32;
                }
                doubt = 2.0 * doubt + f64::from(f32::EPSILON) * (norm + reach) * (norm + reach);
            }
            for (chunk, values) in row.chunks(16).enumerate() {
                let floor = (best.last - doubt) as f32;
                // `!(v < floor)` and not `v >= floor`: what overflowed must be looked at.
                #[expect(clippy::neg_cmp_op_on_partial_ord)]
                if !values.iter().fold(false, |any, &value| any | !(value < floor)) {
                    continue;
                }
                for (at, &value) in values.iter().enumerate() {
                    let item = first + chunk * 16 + at;
                    if value < floor || (own && item == best.query) {
                        continue;
                    }
                    best.items.push((item, None));
                }
                if best.items.len() >= 2 * k + 32 {
                    best.settle(queries, gallery);
                }
            }
        }
    }
    best.iter_mut()
        .map(|best| {
            best.settle(queries, gallery);
            best.items.iter().map(|&(row, score)| Found { row, score: score.unwrap_or(0.0) }).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use parallax_random::Key;

    #[test]
    fn neighbours_equal_a_full_sort() {
        let (n, dim) = (2311, 19);
        let key = Key::new(5);
        // Few distinct values, so that there are ties; and a block of equal rows.
        let mut values: Vec<f32> = (0..n * dim).map(|i| key.below(i as u64, 5) as f32 - 2.0).collect();
        for row in 300..700 {
            let (first, rest) = values.split_at_mut(row * dim);
            rest[..dim].copy_from_slice(&first[..dim]);
        }
        for similarity in [Similarity::Cosine, Similarity::Dot, Similarity::Euclidean] {
            let rows = Prepared::new(Embeddings { values: &values, dim }, similarity);
            for own in [true, false] {
                let asked: Vec<usize> = (0..n).step_by(37).collect();
                let found = nearest(&rows, &asked, &rows, own, 7);
                for (&query, found) in asked.iter().zip(&found) {
                    let mut all: Vec<Found> = (0..n)
                        .filter(|&row| !(own && row == query))
                        .map(|row| Found { row, score: rows.score(query, &rows, row) })
                        .collect();
                    all.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.row.cmp(&b.row)));
                    assert_eq!(found, &all[..7], "{similarity:?} {query}");
                }
            }
        }
    }

    #[test]
    fn a_large_offset_does_not_hide_the_nearest() {
        // Squared distances of 1e-4 among vectors of squared length 1e6: the 32-bit tile cannot tell them apart.
        let values: Vec<f32> = (0..64).flat_map(|i| [1000.0, (i * 7 % 64) as f32 * 0.01]).collect();
        let rows = Prepared::new(Embeddings { values: &values, dim: 2 }, Similarity::Euclidean);
        let found = nearest(&rows, &[0], &rows, true, 1);
        assert_eq!(found[0][0].row, 55, "7 · 55 = 6 · 64 + 1");
    }

    #[test]
    fn fewer_items_than_asked_for() {
        let rows = Prepared::new(Embeddings { values: &[1.0, 0.0, 0.0, 1.0], dim: 2 }, Similarity::Cosine);
        assert_eq!(nearest(&rows, &[0], &rows, true, 5)[0], [Found { row: 1, score: 0.0 }]);
    }
}
