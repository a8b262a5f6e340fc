//! A loss of two branches on examples with labels between 0 and 1, through the row engine.

use parallax_kernels::Real;

use super::{Branches, ElementOf};
use crate::batch::{Batch, Refs};
use crate::context::Context;
use crate::distance::DistanceConfig;
use crate::error::Error;
use crate::objective::{Evaluated, evaluate_row};
use crate::reducer::ReducerConfig;
use crate::relation::Own;
use crate::row::{Row, RowLoss, Slopes};

/// What examples are to anchors.
pub trait Labels: Sync {
    /// The label of an (anchor, example) pair: 1 for a positive, 0 for a negative, or between; none where the two are not
    /// compared.
    fn label(&self, anchor: usize, example: usize) -> Option<f64>;
}

impl<F: Fn(usize, usize) -> Option<f64> + Sync> Labels for F {
    fn label(&self, anchor: usize, example: usize) -> Option<f64> {
        self(anchor, example)
    }
}

/// What a loss of two branches is taken on.
#[derive(Clone, Copy, Debug)]
pub struct TwoBranch<'a, T> {
    /// The anchors `[A, dim]`.
    pub anchors: &'a [T],
    /// Their classes, for reducers that weigh by class.
    pub classes: &'a [u32],
    /// The examples `[M, dim]`.
    pub examples: &'a [T],
    /// Dimensions of both.
    pub dim: usize,
}

/// `τ(σ⁺(Σ y ρ⁺) + σ⁻(Σ (1 − y) ρ⁻))` of every anchor, reduced: value, gradient by the raw anchors in
/// [`Evaluated::grad`] and by the raw examples in [`Evaluated::ref_grad`].
///
/// It runs on the row engine, so distances, tiles and threads are those of any loss on pairs: one matrix product of A × M
/// for the values and two for the gradients.
///
/// # Errors
/// Slices that do not fit together, values that are not finite, a distance or reducer outside its range, a label outside 0
/// to 1.
pub fn two_branch<T: Real, L: Labels>(
    branches: &Branches,
    distance: &DistanceConfig,
    reducer: &ReducerConfig,
    on: &TwoBranch<'_, T>,
    labels: &L,
) -> Result<Evaluated<T>, Error> {
    let examples = on.examples.len() / on.dim.max(1);
    for anchor in 0..on.classes.len() {
        for example in 0..examples {
            let label = labels.label(anchor, example);
            if let Some(value) = label.filter(|label| !(0.0..=1.0).contains(label)) {
                return Err(Error::Parameter {
                    component: "two_branch",
                    field: "label",
                    value,
                    must: "between 0 and 1",
                });
            }
        }
    }
    evaluate_two_branch(branches, distance, reducer, on, labels, &Context::default())
}

/// [`two_branch`] with labels that are known to be between 0 and 1.
pub(crate) fn evaluate_two_branch<T: Real, L: Labels>(
    branches: &Branches,
    distance: &DistanceConfig,
    reducer: &ReducerConfig,
    on: &TwoBranch<'_, T>,
    labels: &L,
    context: &Context<'_, T>,
) -> Result<Evaluated<T>, Error> {
    // A class that no anchor has, so that every column is listed as a negative; labels decide what it is.
    let mut classes = on.classes.to_vec();
    classes.sort_unstable();
    classes.dedup();
    let free = classes.iter().zip(0u32..).find(|&(&class, at)| class != at);
    let none = free.map_or(classes.len() as u32, |(_, at)| at);
    let columns = vec![none; on.examples.len() / on.dim.max(1)];
    let refs = Some(Refs { r: on.examples, labels: &columns, own: Own::None });
    let batch = Batch { x: on.anchors, dim: on.dim, labels: on.classes, refs };
    // Neither scalars nor a teacher belong to it.
    let context = Context {
        want_ref_grad: true,
        tile_bytes: context.tile_bytes,
        key: context.key,
        ..Context::default()
    };
    match branches.elements {
        ElementOf::Anchor => {
            let loss = Mixed::<L, 1> { branches, labels };
            evaluate_row(&loss, None, distance, reducer, &batch, &context, false)
        }
        ElementOf::Branch | ElementOf::Pair => {
            let loss = Mixed::<L, 2> { branches, labels };
            evaluate_row(&loss, None, distance, reducer, &batch, &context, false)
        }
    }
}

/// Two branches as a row loss of so many channels.
struct Mixed<'a, L, const CHANNELS: usize> {
    branches: &'a Branches,
    labels: &'a L,
}

impl<L: Labels, const CHANNELS: usize> RowLoss for Mixed<'_, L, CHANNELS> {
    const NAME: &'static str = super::Metrix::NAME;
    const CHANNELS: &'static [&'static str] =
        if CHANNELS == 1 { &["loss"] } else { &["positive", "negative"] };

    fn check(&self) -> Result<(), Error> {
        Ok(())
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let Branches { tau, positive, negative, elements, needs_positive } = *self.branches;
        let count = row.negatives.len();
        let (mut s, mut place) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let (mut y, mut not) = (Vec::with_capacity(count), Vec::with_capacity(count));
        for (at, (&column, &value)) in row.negative_columns.iter().zip(row.negatives).enumerate() {
            if let Some(label) = self.labels.label(row.anchor, column as usize) {
                s.push(value.f64());
                place.push(at);
                y.push(label);
                not.push(1.0 - label);
            }
        }
        if elements == ElementOf::Pair {
            for (channel, (rho, weights)) in
                [(positive.rho, &y), (negative.rho, &not)].into_iter().enumerate()
            {
                for ((&s, &at), &w) in s.iter().zip(&place).zip(weights).filter(|(_, w)| **w > 0.0) {
                    let (value, by) = rho.at(s);
                    let weight = slopes.element(channel, T::of(w * value));
                    slopes.negatives[at] += weight * T::of(w * by);
                }
            }
            return;
        }
        let any_positive = y.iter().any(|&y| y > 0.0);
        if needs_positive && !any_positive {
            return;
        }
        let (mut pull, mut push) = (vec![0.0; s.len()], vec![0.0; s.len()]);
        let near = positive.value(&s, &y, &mut pull);
        let far = negative.value(&s, &not, &mut push);
        let (near, far) = if elements == ElementOf::Anchor {
            let (value, by) = tau.at(near + far);
            let weight = slopes.element(0, T::of(value)).f64() * by;
            (weight, weight)
        } else {
            let near = if any_positive { slopes.element(0, T::of(near)).f64() } else { 0.0 };
            (near, slopes.element(1, T::of(far)).f64())
        };
        for ((&at, pull), push) in place.iter().zip(pull).zip(push) {
            slopes.negatives[at] = T::of(near * pull + far * push);
        }
    }
}
