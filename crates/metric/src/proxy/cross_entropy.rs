//! The softmax over classes that most proxy losses share.

use parallax_kernels::{Real, vector};

use crate::loss::softmax::{log_sum_exp, softplus};
use crate::row::{Row, Slopes};

/// One element, `−log( e^z / (e^z + Σ_N e^(scale·s_n)) )`, for a row with one proxy a class, where `target` is the logit
/// `z` of the anchor's own proxy and its derivative by that proxy's `s`.
///
/// Returns `−∂L/∂z`, the weight that the reducer gave included; 0 where a miner left the row without its proxy.
pub(super) fn cross_entropy<T: Real>(
    row: &Row<'_, T>,
    slopes: &mut Slopes<'_, T>,
    scale: T,
    target: impl Fn(T) -> (T, T),
) -> T {
    let &[s] = row.positives else { return T::ZERO };
    let (z, dz) = target(s);
    let negatives = log_sum_exp(row.negatives, scale, T::ZERO, false, slopes.negatives);
    let (value, pull) = softplus(negatives - z);
    let pull = slopes.element(0, value) * pull;
    slopes.positives[0] = -pull * dz;
    vector::scale(slopes.negatives, pull * scale);
    pull
}

/// The same where a class has several proxies: `pool` turns the similarities of one class into one, and writes the
/// derivative by each of them; `target` maps the pooled similarity of the anchor's class to its logit.
pub(super) fn pooled_cross_entropy<T: Real>(
    row: &Row<'_, T>,
    slopes: &mut Slopes<'_, T>,
    per_class: usize,
    scale: T,
    pool: impl Fn(&[T], &mut [T]) -> T,
    target: impl Fn(T) -> (T, T),
) {
    if row.positives.is_empty() {
        return;
    }
    let (z, dz) = target(pool(row.positives, slopes.positives));
    let class = |column: &u32| *column as usize / per_class;
    let groups = || row.negative_columns.chunk_by(|a, b| class(a) == class(b)).map(<[u32]>::len);
    let mut pooled = Vec::with_capacity(row.negatives.len() / per_class + 1);
    let mut from = 0;
    for len in groups() {
        let group = from..from + len;
        from = group.end;
        pooled.push(pool(&row.negatives[group.clone()], &mut slopes.negatives[group]));
    }
    let mut weights = vec![T::ZERO; pooled.len()];
    let negatives = log_sum_exp(&pooled, scale, T::ZERO, false, &mut weights);
    let (value, pull) = softplus(negatives - z);
    let pull = slopes.element(0, value) * pull;
    vector::scale(slopes.positives, -pull * dz);
    let mut from = 0;
    for (len, weight) in groups().zip(weights) {
        let factor = pull * scale * weight;
        slopes.negatives[from..from + len].iter_mut().for_each(|slope| *slope *= factor);
        from += len;
    }
}
