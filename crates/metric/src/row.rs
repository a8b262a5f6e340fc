//! What a pair loss sees and what it answers: one anchor's row.

use parallax_kernels::{Real, vector};

use crate::distance::DistanceConfig;
use crate::error::Error;
use crate::loss::Opinion;
use crate::mixup::Branches;
use crate::reducer::{Range, ReducerConfig};
use crate::relation::Screen;
use crate::triplets::Triplets;

/// At most this many channels in a loss.
pub const MAX_CHANNELS: usize = 4;

/// What a pass over the rows leaves of a row, or of all of them: four numbers whose meaning the loss gives.
pub type Stat = [f64; 4];

/// The component of a [`Stat`] to which [`RowLoss::stat`] may add from other rows.
pub const SPREAD: usize = 3;

/// A pair loss, stated as the value and the derivative of one anchor's row.
///
/// This is the whole of a loss: its parameters are the fields of the type, and the engine does everything else (tiles,
/// threads, relations, mining, distances, reduction, gradients of embeddings and references).
///
/// A loss reports its *elements* (a pair, a triplet or an anchor, as the loss defines) through [`Slopes::element`] or
/// [`Slopes::elements`], which return the weight that the reducer gives to them, and writes `weight · ∂element/∂s` for
/// every pair it depends on. Elements of different channels are reduced separately and the results added, as for the
/// positive and the negative part of the contrastive loss.
///
/// # Statistics of other rows
/// A loss whose row depends on other rows (lifted structure: the negatives of both ends; intra-pair variance: the mean
/// over the batch) sets [`PASSES`](Self::PASSES). Before the gradient, the engine runs through all rows that many
/// times and calls [`stat`](Self::stat) on each; it folds the statistics in row order ([`fold`](Self::fold)) and lends
/// them to the rows of later passes: [`Row::stat`] is the anchor's own, [`Row::stat_of`] that of a column, and
/// [`Row::folded`] the fold of a pass. Memory is O(B); each pass costs one matrix product.
pub trait RowLoss: Sync {
    /// Name in configs and messages.
    const NAME: &'static str;
    /// Names of the channels; at most [`MAX_CHANNELS`].
    const CHANNELS: &'static [&'static str] = &["loss"];
    /// Passes over all rows before the gradient.
    const PASSES: usize = 0;
    /// Whether each element of channel 0 is a function of one positive pair, and each of channel 1 of one negative. It
    /// spares a pass that counts elements.
    const PAIRWISE: bool = false;

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

    /// Refuses a distance that the loss has no meaning for.
    fn check_distance(&self, _distance: &DistanceConfig) -> Result<(), Error> {
        Ok(())
    }

    /// Whether the loss means anything on a batch with these pairs; if not, its value and gradient are 0.
    fn defined(&self, _pairs: Pairs) -> bool {
        true
    }

    /// Whether the loss compares its row with the rows of the other items of the class ([`Row::mates`]). Each row then
    /// costs as many rows as the class has items, and needs the memory of so many; a separate reference set is refused.
    fn mates(&self) -> bool {
        false
    }

    /// How many elements each channel has on a batch with these pairs, where that follows from them. It spares a pass
    /// to losses of several channels.
    fn elements(&self, _pairs: Pairs) -> Option<[u64; MAX_CHANNELS]> {
        None
    }

    /// First values of the loss's learnable scalars; empty where it has none. The caller owns them, hands them in with
    /// [`Context::scalars`](crate::Context), and receives their gradient.
    fn scalars(&self) -> Vec<f64> {
        Vec::new()
    }

    /// Where there is one scalar for each class: how many classes; labels must be below.
    fn classes(&self) -> Option<usize> {
        None
    }

    /// A term in the scalars alone, which is added to the loss; adds its derivative to `gradient`.
    fn penalty(&self, _scalars: &[f64], _gradient: &mut [f64]) -> f64 {
        0.0
    }

    /// Which negatives are taken for false ones and masked; counted in the statistics.
    fn screen(&self) -> Screen {
        Screen::default()
    }

    /// Whether the loss looks at a teacher's opinion ([`Row::taught`]), and how much of it; by default where its screen does.
    fn teacher(&self) -> Option<Opinion> {
        self.screen().teacher.map(|_| Opinion::Candidates)
    }

    /// For a loss between the two sides of pairs, which other losses are not: whether an [`Objective`](crate::Objective) takes
    /// it in one direction or in both.
    fn pairs(&self) -> Option<Directions> {
        None
    }

    /// The statistic of one row in pass `pass`, from 0. `spread` has one value for each positive, 0 to begin with; what
    /// is written there is added to component [`SPREAD`] of the statistic of that column's row, in row order, where the
    /// columns are rows of the batch.
    fn stat<T: Real>(&self, _pass: usize, _row: &Row<'_, T>, _spread: &mut [f64]) -> Stat {
        Stat::default()
    }

    /// Whether pass `pass` looks at positives only, which then are computed alone where that can be.
    fn positives_suffice(&self, _pass: usize) -> bool {
        false
    }

    /// Whether pass `pass` looks at positives and at [`Row::negatives_sum`] only, which for similarities then need not be
    /// computed one by one.
    fn sums_suffice(&self, _pass: usize) -> bool {
        false
    }

    /// The loss as two branches, for pairs with labels between 0 and 1 ([`mixup`](crate::mixup)); none where it does not
    /// decompose. `larger_is_nearer` says what the values of the distance in force mean. On labels of 0 and 1 the branches
    /// must give what [`row`](Self::row) gives.
    fn branches(&self, _larger_is_nearer: bool) -> Option<Branches> {
        None
    }

    /// Adds a row's statistic to the fold of pass `pass`, which starts at 0; the sum by default.
    fn fold(&self, _pass: usize, folded: &mut Stat, row: &Stat) {
        folded.iter_mut().zip(row).for_each(|(sum, value)| *sum += value);
    }

    /// The elements of one row and their derivatives.
    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>);
}

/// The directions of a loss between the two sides of pairs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Directions {
    /// Anchors look at positives.
    Forth,
    /// So do positives at anchors; the loss is `share` times the sum of the two.
    Both {
        /// Factor of the sum.
        share: f64,
    },
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
    /// Class of the anchor.
    pub label: u32,
    /// The rank of that class among the classes of the references, from 0; for a class that no reference has, the rank it
    /// would have.
    pub class: u32,
    /// Values of the positive pairs, in the order of their columns.
    pub positives: &'a [T],
    /// Values of the negative pairs, in the order of their columns.
    pub negatives: &'a [T],
    /// Reference rows of the positive pairs.
    pub positive_columns: &'a [u32],
    /// Reference rows of the negative pairs.
    pub negative_columns: &'a [u32],
    /// The anchor's pair with itself, column and value, where a reference is the anchor.
    pub itself: Option<(u32, T)>,
    /// Which of the (positive, negative) pairs of pairs are triplets: all, unless a miner chose.
    pub triplets: Triplets<'a, T>,
    /// Values with every column, whatever its relation to the anchor.
    pub values: &'a [T],
    /// What a teacher says of every column; empty unless the loss asks for it.
    pub taught: &'a [T],
    /// The rows of the other items of the anchor's class, in their order; empty unless the loss asks for them.
    pub mates: &'a [Mate<T>],
    /// Whether a larger value is a nearer pair.
    pub larger_is_nearer: bool,
    /// The largest value that the Euclidean distance of normalised embeddings can take; infinite for other distances.
    pub largest: f64,
    /// The loss's learnable scalars.
    pub scalars: &'a [f64],
    pub(crate) stats: &'a [Stat],
    pub(crate) folded: &'a [Stat],
    pub(crate) columns_are_rows: bool,
    pub(crate) range: Range,
    pub(crate) per_anchor: bool,
    pub(crate) class_weight: f64,
    pub(crate) unlisted: Option<(f64, u64)>,
}

impl<T: Real> Row<'_, T> {
    /// +1 where larger is nearer, otherwise −1: `sign · s` grows with nearness.
    #[inline]
    pub fn sign(&self) -> T {
        if self.larger_is_nearer { T::ONE } else { -T::ONE }
    }

    /// The sum of the values of the negatives, and how many they are.
    #[inline]
    pub fn negatives_sum(&self) -> (f64, u64) {
        self.unlisted.unwrap_or_else(|| (vector::sum(self.negatives), self.negatives.len() as u64))
    }

    /// What the last pass left of this row; zeros before.
    #[inline]
    pub fn stat(&self) -> Stat {
        self.stats.get(self.anchor).copied().unwrap_or_default()
    }

    /// What the last pass left of the row that stands in this column; none where columns are a separate set.
    #[inline]
    pub fn stat_of(&self, column: u32) -> Option<&Stat> {
        if self.columns_are_rows { self.stats.get(column as usize) } else { None }
    }

    /// The fold of a pass over all rows; zeros for a pass that has not been.
    #[inline]
    pub fn folded(&self, pass: usize) -> Stat {
        self.folded.get(pass).copied().unwrap_or_default()
    }
}

impl<T> Row<'_, T> {
    /// Whether column `j` is row `j` of the batch.
    #[inline]
    pub fn columns_are_rows(&self) -> bool {
        self.columns_are_rows
    }

    /// The values of elements that the reducer keeps.
    #[inline]
    pub fn range(&self) -> Range {
        self.range
    }

    /// What the reducer multiplies the elements of this row with, beside what holds for the whole batch, if it keeps so
    /// many of them: a loss that sums over rows in [`RowLoss::stat`] weighs by this.
    #[inline]
    pub fn share(&self, kept: usize) -> f64 {
        if self.per_anchor { 1.0 / kept.max(1) as f64 } else { self.class_weight }
    }
}

/// The row of another item of the anchor's class, after mining.
#[derive(Clone, Debug)]
pub struct Mate<T> {
    /// Its row of the batch.
    pub anchor: u32,
    /// Its values with every column.
    pub values: Vec<T>,
    /// Its positives.
    pub positive_columns: Vec<u32>,
    /// Its negatives.
    pub negative_columns: Vec<u32>,
    pub(crate) triplets: crate::triplets::Chosen<T>,
}

impl<T: Real> Mate<T> {
    /// Which of its (positive, negative) pairs of pairs are triplets.
    pub fn triplets(&self) -> Triplets<'_, T> {
        self.triplets.view()
    }
}

/// The derivatives of one row, zero to begin with, and the account of its elements.
pub struct Slopes<'a, T> {
    /// `∂L/∂s` of the positive pairs.
    pub positives: &'a mut [T],
    /// `∂L/∂s` of the negative pairs.
    pub negatives: &'a mut [T],
    /// `∂L/∂s` of the anchor's pair with itself. Distances to oneself are 0 and have no derivative; it matters for
    /// inner products.
    pub itself: T,
    /// `∂L/∂s` by column, for pairs that are in neither list or in addition to them.
    pub others: &'a mut Vec<(u32, T)>,
    pub(crate) scalar: (u32, f64),
    pub(crate) base: [T; MAX_CHANNELS],
    pub(crate) batch: [T; MAX_CHANNELS],
    pub(crate) per_anchor: bool,
    pub(crate) tallies: &'a mut [Tally; MAX_CHANNELS],
    pub(crate) weights: [T; MAX_CHANNELS],
    pub(crate) range: Range,
}

/// Elements of a row that are reported together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Elements {
    /// How many.
    pub count: u64,
    /// How many are greater than 0.
    pub active: u64,
    /// How many the reducer keeps: those in [`Slopes::range`].
    pub kept: u64,
    /// The sum of the kept ones.
    pub sum: f64,
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
        if self.range.holds(value) {
            tally.kept += 1;
            tally.sum += value;
            self.weights[channel]
        } else {
            T::ZERO
        }
    }

    /// Reports many elements of `channel` at once and returns the weight of the derivative of each kept one.
    #[inline]
    pub fn elements(&mut self, channel: usize, elements: Elements) -> T {
        let tally = &mut self.tallies[channel];
        tally.elements += elements.count;
        tally.active += elements.active;
        tally.kept += elements.kept;
        tally.sum += elements.sum;
        self.weights[channel]
    }

    /// The values that the reducer keeps.
    #[inline]
    pub fn range(&self) -> Range {
        self.range
    }

    /// The weight of an element of another row of the anchor's class of which the reducer keeps `kept` elements.
    #[inline]
    pub fn weight_elsewhere(&self, channel: usize, kept: usize) -> T {
        let share = if self.per_anchor { 1.0 / kept.max(1) as f64 } else { 1.0 };
        self.base[channel] * T::of(share)
    }

    /// The weight of a kept element of `channel` in any row, before what the reducer does row by row.
    #[inline]
    pub fn weight_of_batch(&self, channel: usize) -> T {
        self.batch[channel]
    }

    /// Adds to what the reducer `divisor` divides the channel by. A loss that never calls this is divided by the number
    /// of its elements.
    #[inline]
    pub fn divide(&mut self, channel: usize, amount: f64) {
        self.tallies[channel].divisor += amount;
        self.tallies[channel].divides = true;
    }

    /// Adds to the derivative by a learnable scalar, weights included; a row may use one scalar.
    #[inline]
    pub fn scalar(&mut self, index: usize, derivative: f64) {
        debug_assert!(self.scalar.1 == 0.0 || self.scalar.0 == index as u32);
        self.scalar.0 = index as u32;
        self.scalar.1 += derivative;
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
    /// What the loss divides by, if it says so.
    pub(crate) divisor: f64,
    pub(crate) divides: bool,
}

impl Tally {
    pub(crate) fn add(&mut self, other: &Tally) {
        self.sum += other.sum;
        self.kept += other.kept;
        self.elements += other.elements;
        self.active += other.active;
        self.divisor += other.divisor;
        self.divides |= other.divides;
    }
}

/// A [`RowLoss`] as an object, so that the engine is compiled once for all of them.
pub(crate) trait AnyLoss<T: Real>: Sync {
    fn name(&self) -> &'static str;
    fn channels(&self) -> &'static [&'static str];
    fn passes(&self) -> usize;
    fn mates(&self) -> bool;
    fn check(&self) -> Result<(), Error>;
    fn check_distance(&self, distance: &DistanceConfig) -> Result<(), Error>;
    fn defined(&self, pairs: Pairs) -> bool;
    fn elements(&self, pairs: Pairs) -> Option<[u64; MAX_CHANNELS]>;
    fn scalars(&self) -> Vec<f64>;
    fn classes(&self) -> Option<usize>;
    fn penalty(&self, scalars: &[f64], gradient: &mut [f64]) -> f64;
    fn screen(&self) -> Screen;
    fn teacher(&self) -> Option<Opinion>;
    fn stat(&self, pass: usize, row: &Row<'_, T>, spread: &mut [f64]) -> Stat;
    fn positives_suffice(&self, pass: usize) -> bool;
    fn sums_suffice(&self, pass: usize) -> bool;
    fn pairwise(&self) -> bool;
    fn fold(&self, pass: usize, folded: &mut Stat, row: &Stat);
    fn row(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>);
}

impl<L: RowLoss, T: Real> AnyLoss<T> for L {
    fn name(&self) -> &'static str {
        L::NAME
    }
    fn channels(&self) -> &'static [&'static str] {
        const { assert!(L::CHANNELS.len() <= MAX_CHANNELS) }
        L::CHANNELS
    }
    fn passes(&self) -> usize {
        L::PASSES
    }
    fn mates(&self) -> bool {
        RowLoss::mates(self)
    }
    fn check(&self) -> Result<(), Error> {
        RowLoss::check(self)
    }
    fn check_distance(&self, distance: &DistanceConfig) -> Result<(), Error> {
        RowLoss::check_distance(self, distance)
    }
    fn defined(&self, pairs: Pairs) -> bool {
        RowLoss::defined(self, pairs)
    }
    fn elements(&self, pairs: Pairs) -> Option<[u64; MAX_CHANNELS]> {
        RowLoss::elements(self, pairs)
    }
    fn scalars(&self) -> Vec<f64> {
        RowLoss::scalars(self)
    }
    fn classes(&self) -> Option<usize> {
        RowLoss::classes(self)
    }
    fn penalty(&self, scalars: &[f64], gradient: &mut [f64]) -> f64 {
        RowLoss::penalty(self, scalars, gradient)
    }
    fn screen(&self) -> Screen {
        RowLoss::screen(self)
    }
    fn teacher(&self) -> Option<Opinion> {
        RowLoss::teacher(self)
    }
    fn stat(&self, pass: usize, row: &Row<'_, T>, spread: &mut [f64]) -> Stat {
        RowLoss::stat(self, pass, row, spread)
    }
    fn positives_suffice(&self, pass: usize) -> bool {
        RowLoss::positives_suffice(self, pass)
    }
    fn sums_suffice(&self, pass: usize) -> bool {
        RowLoss::sums_suffice(self, pass)
    }
    fn pairwise(&self) -> bool {
        L::PAIRWISE
    }
    fn fold(&self, pass: usize, folded: &mut Stat, row: &Stat) {
        RowLoss::fold(self, pass, folded, row);
    }
    fn row(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        RowLoss::row(self, row, slopes);
    }
}
