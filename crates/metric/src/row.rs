//! What a pair loss sees and what it answers: one anchor's row.

use parallax_kernels::Real;

use crate::distance::DistanceConfig;
use crate::error::Error;
use crate::reducer::ReducerConfig;

/// At most this many channels in a loss.
pub const MAX_CHANNELS: usize = 4;

/// A pair loss, stated as the value and the derivative of one anchor's row.
///
/// This is the whole of a loss: its parameters are the fields of the type, and the engine does everything else (tiles,
/// threads, relations, mining, distances, reduction, gradients of embeddings and references).
///
/// A loss reports its *elements* (a pair or an anchor, as the loss defines) through [`Slopes::element`], which returns
/// the weight that the reducer gives to this element, and writes `weight · ∂element/∂s` for every pair it depends on.
/// Elements of different channels are reduced separately and the results added, as for the positive and the negative
/// part of the contrastive loss.
///
/// # Where statistics of other rows will enter
/// A loss whose row needs other rows (lifted structure: the negatives of both ends; triplet swap; intra-pair variance)
/// needs a first pass. It belongs here as an associated `type Stat` with `fn stat(&self, row) -> Stat`, folded by the
/// engine in row order into a `Vec<Stat>` (O(B) memory) that [`Row`] then lends out; the engine has that pass already,
/// for the counts of the reducers. No loss needs it yet, so it is not there yet.
pub trait RowLoss: Sync {
    /// Name in configs and messages.
    const NAME: &'static str;
    /// Names of the channels; at most [`MAX_CHANNELS`].
    const CHANNELS: &'static [&'static str] = &["loss"];

    /// The distance where the objective names none.
    fn distance(&self) -> DistanceConfig {
        DistanceConfig::cosine()
    }

    /// The reducer where the objective names none.
    fn reducer(&self) -> ReducerConfig {
        ReducerConfig::mean()
    }

    /// Refuses parameters outside their range.
    fn check(&self) -> Result<(), Error>;

    /// Whether the loss means anything on a batch with these pairs; if not, its value and gradient are 0.
    fn defined(&self, _pairs: Pairs) -> bool {
        true
    }

    /// The elements of one row and their derivatives.
    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>);
}

/// Pairs of a batch that reach the loss, after mining.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pairs {
    /// Pairs of the same class.
    pub positive: u64,
    /// Pairs of different classes.
    pub negative: u64,
}

/// One anchor's row: its distances (or similarities) to the positives and negatives that remain after masking and mining.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a, T> {
    /// Row of the batch, from 0.
    pub anchor: usize,
    /// Values of the positive pairs, in the order of their columns.
    pub positives: &'a [T],
    /// Values of the negative pairs, in the order of their columns.
    pub negatives: &'a [T],
    /// Reference rows of the positive pairs.
    pub positive_columns: &'a [u32],
    /// Reference rows of the negative pairs.
    pub negative_columns: &'a [u32],
    /// Whether a larger value is a nearer pair.
    pub larger_is_nearer: bool,
}

impl<T: Real> Row<'_, T> {
    /// +1 where larger is nearer, otherwise −1: `sign · s` grows with nearness.
    #[inline]
    pub fn sign(&self) -> T {
        if self.larger_is_nearer { T::ONE } else { -T::ONE }
    }
}

/// The derivatives of one row, zero to begin with, and the account of its elements.
pub struct Slopes<'a, T> {
    /// `∂L/∂s` of the positive pairs.
    pub positives: &'a mut [T],
    /// `∂L/∂s` of the negative pairs.
    pub negatives: &'a mut [T],
    pub(crate) tallies: &'a mut [Tally; MAX_CHANNELS],
    pub(crate) weights: &'a [T; MAX_CHANNELS],
    pub(crate) reducer: &'a ReducerConfig,
}

impl<T: Real> Slopes<'_, T> {
    /// Reports an element of `channel` with this value and returns the weight of its derivative: 0 if the reducer leaves
    /// the element out.
    #[inline]
    pub fn element(&mut self, channel: usize, value: T) -> T {
        let tally = &mut self.tallies[channel];
        let value = value.f64();
        tally.elements += 1;
        tally.active += u64::from(value > 0.0);
        if self.reducer.keeps(value) {
            tally.kept += 1;
            tally.sum += value;
            self.weights[channel]
        } else {
            T::ZERO
        }
    }
}

/// The elements of one channel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tally {
    /// Sum over the kept elements.
    pub(crate) sum: f64,
    /// Elements that the reducer keeps.
    pub(crate) kept: u64,
    /// Elements.
    pub(crate) elements: u64,
    /// Elements greater than 0.
    pub(crate) active: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.sum += other.sum;
        self.kept += other.kept;
        self.elements += other.elements;
        self.active += other.active;
    }
}
