use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parallax_kernels::linear::{Packed, Precision};

use super::array::Array;

/// A place beside a layer for its weights in the layout that the kernels read.
///
/// What is kept counts as long as the layer's weights are the same tensors in memory. It holds on to them, so that nobody
/// writes into them and no other tensor takes their address. A clone begins empty.
#[derive(Default)]
pub struct Packs(Slot);

/// The place itself, shared.
#[derive(Clone, Default)]
pub(super) struct Slot(Arc<Mutex<Option<Arc<Kept>>>>);

struct Kept {
    sources: Vec<Array>,
    precision: Precision,
    smooth: Option<Arc<Vec<f32>>>,
    packed: Packed,
}

impl Packs {
    pub(super) fn slot(&self) -> Slot {
        self.0.clone()
    }
}

impl Slot {
    fn kept(&self) -> MutexGuard<'_, Option<Arc<Kept>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The packed weights of `sources`, made now where they are not kept.
    pub(super) fn with<R>(
        &self,
        sources: &[Array],
        precision: Precision,
        smooth: Option<&Arc<Vec<f32>>>,
        use_it: impl FnOnce(&Packed) -> R,
    ) -> R {
        let kept = self.kept().clone();
        let fits = |kept: &Arc<Kept>| {
            kept.precision == precision
                && kept.sources.len() == sources.len()
                && kept.sources.iter().zip(sources).all(|(a, b)| a.same(b))
                && match (&kept.smooth, smooth) {
                    (None, None) => true,
                    (Some(a), Some(b)) => Arc::ptr_eq(a, b),
                    _ => false,
                }
        };
        let kept = match kept.filter(fits) {
            Some(kept) => kept,
            None => {
                // Not under the lock: packing runs on the pool, whose threads may come here meanwhile.
                let packed = pack(sources, precision, smooth.map(|s| s.as_slice()));
                let kept = Kept { sources: sources.to_vec(), precision, smooth: smooth.cloned(), packed };
                let kept = Arc::new(kept);
                *self.kept() = Some(Arc::clone(&kept));
                kept
            }
        };
        use_it(&kept.packed)
    }
}

/// W `[out, in]` for `x · Wᵀ`, from matrices that stand one above another.
pub(super) fn pack(sources: &[Array], precision: Precision, smooth: Option<&[f32]>) -> Packed {
    let (weights, n, k) = stacked(sources);
    match precision {
        Precision::Int8 => Packed::int8(&weights, n, k, smooth),
        precision => Packed::transposed(&weights, n, k, precision),
    }
}

/// The matrices one above another: values, rows, columns.
pub(super) fn stacked(sources: &[Array]) -> (std::borrow::Cow<'_, [f32]>, usize, usize) {
    let k = sources[0].dims().1;
    if let [one] = sources {
        return (one.values().into(), one.dims().0, k);
    }
    let values: Vec<f32> = sources.iter().flat_map(|w| w.values()).copied().collect();
    let n = values.len() / k.max(1);
    (values.into(), n, k)
}

impl Clone for Packs {
    fn clone(&self) -> Self {
        Packs::default()
    }
}

impl fmt::Debug for Packs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Packs").field(&self.kept().as_ref().map(|kept| kept.precision)).finish()
    }
}
