use std::sync::Arc;

use parallax_kernels::embedding::{self, Lookup, gather, scatter_add};
use parallax_kernels::norm::layer_norm_backward;
use rayon::prelude::*;

use super::array::{self, Array};
use super::graph::Operation;

/// The sum of one row of each table for every token, or its layer norm.
///
/// Inputs: the tables `[Vⱼ, D]`, then γ and β `[D]` if there is a norm.
#[derive(Clone, Debug)]
pub(super) struct Embed {
    /// For each table, the row of every token.
    pub(super) rows: Vec<Arc<[u32]>>,
    /// ε of the norm.
    pub(super) norm: Option<f64>,
}

/// What [`Embed`] keeps.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Rows of each table.
    heights: Vec<usize>,
    width: usize,
    norm: Option<(Array, Array, Array)>,
}

impl Operation for Embed {
    type Kept = Kept;

    fn forward(&self, inputs: Vec<Array>, keep: bool) -> (Array, Option<Kept>) {
        let (tables, norm) = inputs.split_at(self.rows.len());
        let (n, d) = (self.rows[0].len(), tables[0].dims().1);
        let lookups: Vec<Lookup<'_>> = tables
            .iter()
            .zip(&self.rows)
            .map(|(table, rows)| Lookup { table: table.values(), rows })
            .collect();
        let normed = self.norm.map(|epsilon| embedding::Norm {
            gamma: norm[0].values(),
            beta: norm[1].values(),
            epsilon: epsilon as f32,
        });
        let keep_norm = keep && normed.is_some();
        let mut y = array::take(n * d);
        let mut sum = keep_norm.then(|| array::take(n * d));
        let mut statistics = keep_norm.then(|| vec![0.0; 2 * n]);
        gather(&lookups, d, normed, sum.as_deref_mut(), &mut y, statistics.as_deref_mut());
        let kept = keep.then(|| Kept {
            heights: tables.iter().map(|table| table.dims().0).collect(),
            width: d,
            norm: sum.zip(statistics).map(|(sum, statistics)| {
                (Array::new(sum, [n, d]), Array::new(statistics, [n, 2]), norm[0].clone())
            }),
        });
        (Array::new(y, [n, d]), kept)
    }

    fn backward(&self, kept: Kept, gradient: Array, wanted: &[bool]) -> Vec<Option<Array>> {
        let Kept { heights, width: d, norm } = kept;
        let n = self.rows[0].len();
        let mut last = Vec::new();
        let gradient = match norm {
            None => gradient,
            Some((sum, statistics, gamma)) => {
                let mut dx = array::take(n * d);
                let (mut dgamma, mut dbeta) = (vec![0.0; d], vec![0.0; d]);
                layer_norm_backward(
                    sum.values(),
                    statistics.values(),
                    gamma.values(),
                    gradient.values(),
                    &mut dx,
                    &mut dgamma,
                    &mut dbeta,
                );
                sum.give();
                gradient.give();
                last = vec![Some(Array::new(dgamma, [d])), Some(Array::new(dbeta, [d]))];
                Array::new(dx, [n, d])
            }
        };
        let mut results: Vec<Option<Array>> = (0..self.rows.len())
            .map(|at| {
                wanted[at].then(|| {
                    let mut table = array::take(heights[at] * d);
                    table.par_chunks_mut(1 << 16).for_each(|part| part.fill(0.0));
                    scatter_add(&self.rows[at], d, gradient.values(), &mut table);
                    Array::new(table, [heights[at], d])
                })
            })
            .collect();
        gradient.give();
        results.append(&mut last);
        results
    }
}
