//! What is counted while rows are worked on.

use crate::row::{MAX_CHANNELS, Pairs, Tally};

/// Counts of a row, or of a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Account {
    pub(crate) tallies: [Tally; MAX_CHANNELS],
    pub(crate) pairs: Pairs,
    pub(crate) mined: Pairs,
    pub(crate) masked: Masked,
    /// Whether a distance has left the range of the number type.
    pub(crate) overflow: bool,
    pub(super) scalar: (u32, f64),
}

/// Negatives that were masked, by reason.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Masked {
    pub(crate) label: u64,
    pub(crate) score: u64,
    pub(crate) teacher: u64,
}

impl Account {
    pub(super) fn add(&mut self, other: &Account) {
        self.tallies.iter_mut().zip(&other.tallies).for_each(|(a, b)| a.add(b));
        self.pairs.positive += other.pairs.positive;
        self.pairs.negative += other.pairs.negative;
        self.mined.positive += other.mined.positive;
        self.mined.negative += other.mined.negative;
        self.overflow |= other.overflow;
        self.masked.label += other.masked.label;
        self.masked.score += other.masked.score;
        self.masked.teacher += other.masked.teacher;
    }

    pub(super) fn total(rows: &[Account]) -> Account {
        let mut total = Account::default();
        rows.iter().for_each(|row| total.add(row));
        total
    }
}
