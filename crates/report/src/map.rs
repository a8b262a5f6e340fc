//! Two-dimensional maps of vectors before and after, drawn with the same settings and turned to fit each other.

mod pca;
mod procrustes;
mod tsne;

use parallax_eval::Similarity;
use parallax_kernels::gemm;
use parallax_random::Key;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use tsne::Tsne;

use crate::evidence::{Embeddings, MapPoint, Maps, Rows, unit};

/// Neighbours by which a map is judged.
const KEPT: usize = 10;

/// How vectors are laid out in two dimensions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum MapMethod {
    /// Neighbours stay neighbours, far distances mean little (van der Maaten and Hinton 2008).
    Tsne(Tsne),
    /// The two directions of largest variance: distances are true, but most of them are lost.
    Pca,
}

impl Default for MapMethod {
    fn default() -> Self {
        MapMethod::Tsne(Tsne::default())
    }
}

impl MapMethod {
    fn words(&self, n: usize) -> String {
        match self {
            MapMethod::Tsne(tsne) if tsne.fits(n) => format!(
                "t-SNE, exact, perplexity {}, {} steps from the principal components",
                tsne.perplexity_for(n),
                tsne.steps
            ),
            _ => "the two principal components".into(),
        }
    }
}

/// Both maps of some rows.
pub(crate) struct Layout {
    method: String,
    before: Option<Vec<[f64; 2]>>,
    after: Vec<[f64; 2]>,
    kept_before: Option<f64>,
    kept_after: Option<f64>,
}

/// The maps of `drawn` rows; `None` if fewer than three are drawn.
pub(crate) fn maps(
    method: &MapMethod,
    rows: &Rows,
    similarity: Similarity,
    drawn: &[usize],
    key: Key,
) -> Option<Layout> {
    if drawn.len() < 3 {
        return None;
    }
    let one = |embeddings: Embeddings| {
        let dim = embeddings.dim;
        let values = centred(&unit(embeddings, drawn, similarity), dim);
        let start = pca::pca(&values, dim, key.named("pca"));
        let squares = SquaredDistances::new(&values, dim);
        let layout = match method {
            MapMethod::Tsne(tsne) if tsne.fits(drawn.len()) => {
                tsne.layout(&squares, &start, key.named("tsne"))
            }
            _ => start,
        };
        let kept = kept(&squares, &layout);
        (layout, kept)
    };
    let (mut after, kept_after) = one(rows.after);
    procrustes::centre(&mut after);
    let (mut before, kept_before) = match rows.before.map(one) {
        Some((mut before, kept)) => {
            procrustes::centre(&mut before);
            procrustes::align(&mut after, &before);
            (Some(before), kept)
        }
        None => (None, None),
    };
    let all = after.iter().chain(before.iter().flatten()).flatten();
    let reach = all.map(|x| x.abs()).fold(0.0, f64::max);
    if reach > 0.0 {
        after.iter_mut().chain(before.iter_mut().flatten()).flatten().for_each(|x| *x /= reach);
    }
    Some(Layout { method: method.words(drawn.len()), before, after, kept_before, kept_after })
}

impl Layout {
    /// With texts and classes.
    pub(crate) fn into_maps(
        self,
        labels: Option<&[u32]>,
        names: &[String],
        drawn: &[usize],
        text: &dyn Fn(usize) -> String,
    ) -> Maps {
        let mut present: Vec<u32> =
            labels.map_or(Vec::new(), |labels| drawn.iter().map(|&row| labels[row]).collect());
        present.sort_unstable();
        present.dedup();
        let short = |[x, y]: [f64; 2]| [x as f32, y as f32];
        let points: Vec<MapPoint> = drawn
            .iter()
            .enumerate()
            .map(|(at, &row)| MapPoint {
                row,
                class: labels.and_then(|labels| present.binary_search(&labels[row]).ok()),
                text: text(row),
                before: self.before.as_ref().map(|before| short(before[at])),
                after: short(self.after[at]),
            })
            .collect();
        let drawn = crate::Drawn { points: points.len(), classes: present.len(), ..Default::default() };
        Maps {
            method: self.method,
            classes: present
                .iter()
                .map(|&label| crate::evidence::class_name(&names[label as usize]))
                .collect(),
            points,
            drawn,
            kept_before: self.kept_before,
            kept_after: self.kept_after,
        }
    }
}

/// Rows less their mean, so that products of them cancel less.
fn centred(values: &[f32], dim: usize) -> Vec<f32> {
    let mut mean = vec![0.0f64; dim];
    for row in values.chunks_exact(dim) {
        mean.iter_mut().zip(row).for_each(|(mean, &x)| *mean += f64::from(x));
    }
    let n = (values.len() / dim) as f64;
    // Squares of what is larger than this may not fit into 32 bits.
    let reach = values.iter().fold(0.0, |reach: f64, &x| reach.max(f64::from(x).abs()));
    let scale = if reach > 1e9 { 1.0 / reach } else { 1.0 };
    values
        .chunks_exact(dim)
        .flat_map(|row| row.iter().zip(&mean).map(|(&x, mean)| (scale * (f64::from(x) - mean / n)) as f32))
        .collect()
}

/// ‖xᵢ − xⱼ‖² of all rows, a row at a time from tiles.
pub(crate) struct SquaredDistances<'a> {
    values: &'a [f32],
    dim: usize,
    squares: Vec<f64>,
}

impl<'a> SquaredDistances<'a> {
    fn new(values: &'a [f32], dim: usize) -> Self {
        let square = |row: &[f32]| row.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
        SquaredDistances { values, dim, squares: values.chunks_exact(dim).map(square).collect() }
    }

    pub(crate) fn len(&self) -> usize {
        self.squares.len()
    }

    /// Calls `each` with every row and its squared distances to all rows, in parallel; answers in order of rows.
    pub(crate) fn rows<T: Send>(&self, each: impl Fn(usize, &[f32]) -> T + Sync) -> Vec<T> {
        const TILE: usize = 64;
        let n = self.len();
        let tiles: Vec<Vec<T>> = (0..n.div_ceil(TILE))
            .into_par_iter()
            .map(|tile| {
                let rows = tile * TILE..n.min((tile + 1) * TILE);
                let mut products = vec![0.0f32; rows.len() * n];
                let part = &self.values[rows.start * self.dim..rows.end * self.dim];
                gemm::nt(rows.len(), n, self.dim, part, self.values, 0.0, &mut products);
                rows.zip(products.chunks_exact_mut(n))
                    .map(|(row, products)| {
                        for (product, square) in products.iter_mut().zip(&self.squares) {
                            let distance = self.squares[row] + square - 2.0 * f64::from(*product);
                            *product = distance.max(0.0) as f32;
                        }
                        each(row, products)
                    })
                    .collect()
            })
            .collect();
        tiles.into_iter().flatten().collect()
    }
}

/// The places of the `k` smallest distances from `row` to others, ties by place, in no order.
pub(crate) fn smallest(row: usize, distances: &[f32], k: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..distances.len()).filter(|&place| place != row).collect();
    if k < places.len() {
        places.select_nth_unstable_by(k, |&a, &b| distances[a].total_cmp(&distances[b]).then(a.cmp(&b)));
        places.truncate(k);
    }
    places
}

/// Mean share of the ten nearest rows that are among the ten nearest on the map; `None` for so few rows that it says
/// nothing.
fn kept(squares: &SquaredDistances, layout: &[[f64; 2]]) -> Option<f64> {
    let n = layout.len();
    if n < 2 * KEPT + 1 {
        return None;
    }
    let shares = squares.rows(|row, distances| {
        let [x, y] = layout[row];
        let drawn: Vec<f32> =
            layout.iter().map(|[u, v]| ((u - x) * (u - x) + (v - y) * (v - y)) as f32).collect();
        let on_map = smallest(row, &drawn, KEPT);
        smallest(row, distances, KEPT).iter().filter(|place| on_map.contains(place)).count()
    });
    Some(shares.iter().sum::<usize>() as f64 / (n * KEPT) as f64)
}

#[cfg(test)]
mod tests;
