//! What an evaluation yields: value, gradients and what the batch held.

use serde::Serialize;

use crate::engine::Account;
use crate::row::Pairs;

/// Value and gradient of an objective on a batch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluated<T> {
    /// The loss.
    pub value: f64,
    /// Its gradient by the raw embeddings, `[B, dim]`.
    pub grad: Vec<T>,
    /// Its gradient by the raw references, `[R, dim]`, if there are references and it was asked for.
    pub ref_grad: Option<Vec<T>>,
    /// Its gradient by the loss's learnable scalars; empty where it has none.
    pub scalar_grad: Vec<f64>,
    /// What the loss keeps for the next batch, to be handed in as [`Context::state`](crate::Context); empty for most losses.
    pub state: Vec<f64>,
    /// Its gradient by the raw proxies, as they lie in the context; empty where the loss has none.
    pub proxy_grad: Vec<T>,
    /// Its gradient by the outputs of the metric layer, [`Context::layer`](crate::Context); empty without one.
    pub layer_grad: Vec<T>,
    /// Its gradient by the embeddings of mixtures, [`Context::mixed`](crate::Context); empty where none were given.
    pub mixed_grad: Vec<T>,
    /// What is worth a line in a log beside the value, by name; terms are parts of the value.
    pub terms: Vec<(&'static str, f64)>,
    /// What the batch held.
    pub stats: ObjectiveStats,
}

impl<T> Evaluated<T> {
    /// Adds to the term of this name.
    pub(crate) fn term(&mut self, name: &'static str, value: f64) {
        match self.terms.iter_mut().find(|term| term.0 == name) {
            Some(term) => term.1 += value,
            None => self.terms.push((name, value)),
        }
    }
}

/// What a batch held and how much of it reached the loss.
///
/// For a symmetric loss the counts are of both directions.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ObjectiveStats {
    /// (anchor, reference) pairs of one class.
    pub positive_pairs: u64,
    /// (anchor, reference) pairs of two classes.
    pub negative_pairs: u64,
    /// Positive pairs left by the miner; without one, all.
    pub mined_positive: u64,
    /// Negative pairs left by the miner; without one, all.
    pub mined_negative: u64,
    /// References masked because they share the anchor's label without being its own positive.
    pub masked_false_negatives: u64,
    /// Negatives masked because they are as good as identical to the anchor.
    pub masked_by_score: u64,
    /// Negatives masked because the teacher scores them above the anchor's positive.
    pub masked_by_teacher: u64,
    /// Elements of the loss greater than 0, over all channels.
    pub active: u64,
    /// The parts of the loss, reduced separately and added.
    pub channels: Vec<ChannelStats>,
}

/// One part of a loss.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChannelStats {
    /// Its name, such as `positive`.
    pub name: &'static str,
    /// Its reduced value.
    pub value: f64,
    /// Its elements: pairs or anchors, as the loss defines.
    pub elements: u64,
    /// Its elements greater than 0.
    pub active: u64,
}

/// Pairs that a miner keeps, as (anchor, reference) rows, sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MinedPairs {
    /// Pairs of one class.
    pub positives: Vec<(u32, u32)>,
    /// Pairs of two classes.
    pub negatives: Vec<(u32, u32)>,
}

/// (anchor, positive, negative) rows that a miner keeps, sorted.
pub type MinedTriplets = Vec<(u32, u32, u32)>;

impl ObjectiveStats {
    /// Adds the counts of another direction; the values of the channels are weighed by `share`.
    pub(super) fn add(&mut self, other: &ObjectiveStats, share: f64) {
        self.positive_pairs += other.positive_pairs;
        self.negative_pairs += other.negative_pairs;
        self.mined_positive += other.mined_positive;
        self.mined_negative += other.mined_negative;
        self.masked_false_negatives += other.masked_false_negatives;
        self.masked_by_score += other.masked_by_score;
        self.masked_by_teacher += other.masked_by_teacher;
        self.active += other.active;
        for (a, b) in self.channels.iter_mut().zip(&other.channels) {
            a.value = share * (a.value + b.value);
            a.elements += b.elements;
            a.active += b.active;
        }
    }
}

pub(super) fn stats_of(account: &Account, channels: Vec<ChannelStats>) -> ObjectiveStats {
    let Pairs { positive: positive_pairs, negative: negative_pairs } = account.pairs;
    let Pairs { positive: mined_positive, negative: mined_negative } = account.mined;
    ObjectiveStats {
        positive_pairs,
        negative_pairs,
        mined_positive,
        mined_negative,
        masked_false_negatives: account.masked.label,
        masked_by_score: account.masked.score,
        masked_by_teacher: account.masked.teacher,
        active: channels.iter().map(|c| c.active).sum(),
        channels,
    }
}
