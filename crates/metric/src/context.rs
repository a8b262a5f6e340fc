//! What an evaluation is given beside the batch.

use parallax_kernels::Real;
use parallax_random::Key;

use crate::mixup::Mixtures;
use crate::tiling::TILE_BYTES;

/// What an evaluation is given beside the batch; the default suits most losses.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a, T> {
    /// Whether the gradient by the references is wanted.
    pub want_ref_grad: bool,
    /// Bytes of a tile of similarities; see [`memory_bytes`](crate::memory_bytes).
    pub tile_bytes: usize,
    /// The loss's learnable scalars; the loss's first values where none are given.
    pub scalars: Option<&'a [f64]>,
    /// What the loss keeps from batch to batch: [`Evaluated::state`](crate::Evaluated) of the last step. Zeros, or none, stand
    /// for a first batch. As many numbers as [`Wants::state`](crate::Wants) says; none for most losses.
    pub state: Option<&'a [f64]>,
    /// The proxies of the classes, `[classes · per_class, dim]`, class by class, for losses between embeddings and proxies.
    pub proxies: Option<&'a [T]>,
    /// Target scores of the pairs, row by row, for losses on scored pairs: `[B]`, or `[B, 1 + negatives]` for those on lists.
    pub targets: Option<&'a [f64]>,
    /// A teacher's opinion of the batch, for losses that use one.
    pub teacher: Option<Teacher<'a, T>>,
    /// What the metric layer makes of the batch, for the regulariser `energy_confusion`.
    pub layer: Option<Layer<'a, T>>,
    /// Mixtures of the batch, for objectives with mixup. Where none are given and embeddings are mixed, they are drawn from the
    /// key.
    pub mixed: Option<Mixed<'a, T>>,
    /// What miners and losses that draw at random draw from: give each step a key of its own.
    pub key: Key,
}

impl<T> Default for Context<'_, T> {
    fn default() -> Self {
        Context {
            want_ref_grad: false,
            tile_bytes: TILE_BYTES,
            scalars: None,
            state: None,
            proxies: None,
            targets: None,
            teacher: None,
            layer: None,
            mixed: None,
            key: Key::new(0),
        }
    }
}

/// The output of the metric layer, the last linear layer before the embedding, as it is before any normalisation.
#[derive(Clone, Copy, Debug)]
pub struct Layer<'a, T> {
    /// `[rows, dim]`.
    pub z: &'a [T],
    /// Dimensions of a row.
    pub dim: usize,
    /// Class of each row: of the batch, and of its references where they come from the same network.
    pub labels: &'a [u32],
}

/// Mixtures of a batch.
#[derive(Clone, Copy, Debug)]
pub struct Mixed<'a, T> {
    /// What is mixed.
    pub mixtures: &'a Mixtures,
    /// The embeddings of the mixtures `[M, dim]`; none where the embeddings of the batch are to be mixed.
    pub embeddings: Option<&'a [T]>,
}

/// A teacher's similarities between anchors and references; larger is nearer.
#[derive(Clone, Copy, Debug)]
pub enum Teacher<'a, T> {
    /// Similarities `[B, R]`, for a batch against itself `[B, B]`.
    Similarities(&'a [T]),
    /// Similarities of each anchor to its own candidates alone, `[B, 1 + N]`: to reference `i`, then to its `N` references
    /// `B + i·N …`. Of other references the teacher says nothing.
    Candidates(&'a [T]),
    /// The teacher's own embeddings `[B, dim]` and `[R, dim]`, compared row by row, so that memory stays linear: by cosine for
    /// masks, and as they are, by the inner product, where the similarities themselves are learned. `r` is empty for a batch
    /// against itself.
    Embeddings {
        /// Of the anchors.
        x: &'a [T],
        /// Of the references.
        r: &'a [T],
        /// Dimensions of the teacher.
        dim: usize,
    },
}

/// A teacher, checked and prepared.
pub(crate) enum Scores<'a, T> {
    Matrix { values: &'a [T], columns: usize, turned: bool },
    Candidates { values: &'a [T], rows: usize, each: usize },
    Rows { x: Vec<T>, r: Vec<T>, dim: usize },
}

impl<T: Real> Scores<'_, T> {
    /// The scores of anchor `i` with `out.len()` references.
    pub(crate) fn row(&self, i: usize, out: &mut [T]) {
        match self {
            Scores::Matrix { values, columns, turned: false } => {
                out.copy_from_slice(&values[i * columns..][..out.len()]);
            }
            Scores::Matrix { values, columns, turned: true } => {
                out.iter_mut().enumerate().for_each(|(j, out)| *out = values[j * columns + i]);
            }
            Scores::Candidates { values, rows, each } => {
                // So low that it is above no positive.
                out.fill(T::of(-f64::from(f32::MAX)));
                let own = &values[i * each..][..*each];
                out[i] = own[0];
                let first = rows + i * (each - 1);
                // Seen from the positives there are no references but the anchors.
                let others = out.get_mut(first..first + each - 1).unwrap_or_default();
                others.iter_mut().zip(&own[1..]).for_each(|(out, &own)| *out = own);
            }
            Scores::Rows { x, r, dim } => {
                let r = if r.is_empty() { x } else { r };
                let columns = out.len();
                parallax_kernels::gemm::nt(
                    1,
                    columns,
                    *dim,
                    &x[i * dim..][..*dim],
                    &r[..columns * dim],
                    T::ZERO,
                    out,
                );
            }
        }
    }
}

/// Rows divided by their norms.
pub(crate) fn unit_rows<T: Real>(values: &[T], dim: usize) -> Vec<T> {
    let mut unit = values.to_vec();
    for row in unit.chunks_exact_mut(dim.max(1)) {
        let norm = row.iter().map(|v| v.f64() * v.f64()).sum::<f64>().sqrt();
        let inverse = T::of(1.0 / norm.max(1e-12));
        row.iter_mut().for_each(|v| *v *= inverse);
    }
    unit
}
