//! The batches of an epoch.
//!
//! A sampler is a pure function of a key and an epoch: [`Batches::batches`] gives the same lists whenever it is asked, so a
//! run that resumes needs no more than the epoch and the number of batches it has done.

mod duplicates;
mod per_class;
mod stratified;

use parallax_random::Key;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use duplicates::apart;
use per_class::Classes;
use stratified::Strata;

/// How rows are put into batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Sampler {
    /// The same number of rows of each of some random classes, so that every row has positives (P × K sampling).
    PerClass(PerClassSampler),
    /// Every row once an epoch, each class spread evenly over the batches.
    Stratified(StratifiedSampler),
    /// Every row once an epoch, in a random order.
    Shuffled(ShuffledSampler),
    /// Every row once an epoch, in the order of the data.
    Sequential(SequentialSampler),
}

impl Default for Sampler {
    fn default() -> Self {
        Sampler::Shuffled(ShuffledSampler::default())
    }
}

/// A batch is `batch_size / per_class` distinct classes, drawn uniformly, and `per_class` rows of each.
///
/// Rows of a class are drawn without replacement; a class with fewer rows gives all of them, and repeats as few as it must.
/// An epoch has `⌊n / batch_size⌋` batches (at least one), as pytorch-metric-learning's `MPerClassSampler` with
/// `length_before_new_iter = n`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PerClassSampler {
    /// Rows of each class in a batch (default 4).
    pub per_class: usize,
}

impl Default for PerClassSampler {
    fn default() -> Self {
        PerClassSampler { per_class: 4 }
    }
}

/// Every row once an epoch, in a random order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ShuffledSampler {
    /// Leave out the last batch when it is not full, unless it is the only one (default true).
    pub drop_last: bool,
    /// For pairs: keep rows that share a text out of one batch, where they would be each other's false negatives (default true).
    pub no_duplicates: bool,
}

impl Default for ShuffledSampler {
    fn default() -> Self {
        ShuffledSampler { drop_last: true, no_duplicates: true }
    }
}

/// Every row once an epoch, in a random order in which each class is spread evenly: a batch holds about its share of every class,
/// to within one or two rows. So a rare class is in every batch, as losses on a confusion matrix need it, as long as it has
/// twice as many rows as there are batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct StratifiedSampler {
    /// Leave out the last batch when it is not full, unless it is the only one (default true).
    pub drop_last: bool,
}

impl Default for StratifiedSampler {
    fn default() -> Self {
        StratifiedSampler { drop_last: true }
    }
}

/// Every row once an epoch, in the order of the data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SequentialSampler {
    /// Leave out the last batch when it is not full, unless it is the only one (default false).
    pub drop_last: bool,
}

/// What a sampler may know about the rows of the training part, in their order there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Rows<'a> {
    /// The number of rows.
    pub n: usize,
    /// The class of each row, for [`Sampler::PerClass`] and [`Sampler::Stratified`].
    pub labels: Option<&'a [u32]>,
    /// Hashes of the texts of each row (see [`text_hash`]), one list a text column: anchors, positives. Rows with a hash in
    /// common are kept apart by `no_duplicates`.
    pub texts: &'a [&'a [u64]],
}

/// The hash by which texts are held to be the same (FNV-1a, 64 bits).
pub fn text_hash(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

/// The batches of every epoch: rows of the training part by their place in it.
#[derive(Clone, Debug)]
pub struct Batches {
    n: usize,
    batch_size: usize,
    count: usize,
    key: Key,
    order: Order,
}

#[derive(Clone, Debug)]
enum Order {
    PerClass(Classes),
    Stratified(Strata),
    Shuffled { texts: Vec<Vec<u64>> },
    Sequential,
}

impl Sampler {
    /// Prepares the batches.
    ///
    /// # Errors
    /// If there are no rows, the batch size is 0, labels are needed and absent, a list has another length than `rows.n`, or
    /// batch size, rows of a class and number of classes do not fit; the message gives values that would.
    pub fn build(&self, batch_size: usize, rows: Rows<'_>, key: Key) -> Result<Batches> {
        let n = rows.n;
        if n == 0 {
            return Err(Error::unusable("there is no row to sample from", "check the split"));
        }
        if n > u32::MAX as usize {
            return Err(Error::unusable(format!("{n} rows"), format!("at most {} can be sampled", u32::MAX)));
        }
        if batch_size == 0 {
            return Err(Error::option("batch_size", "is 0; it must be at least 1"));
        }
        let lengths = rows.labels.map(<[u32]>::len).into_iter().chain(rows.texts.iter().map(|t| t.len()));
        if let Some(found) = lengths.into_iter().find(|&length| length != n) {
            let (first, second) = ("the training part".to_owned(), "what was said of its rows".to_owned());
            return Err(Error::LengthsDiffer { first, first_rows: n, second, second_rows: found });
        }
        let whole = |drop_last: bool| {
            if drop_last { (n / batch_size).max(1) } else { n.div_ceil(batch_size) }
        };
        let labels = |sampler: &str| {
            rows.labels.ok_or_else(|| {
                let problem = format!("the {sampler} sampler needs a class for each row");
                Error::unusable(problem, "set data.label, or sampler.name = \"shuffled\"")
            })
        };
        let (count, order) = match self {
            Sampler::PerClass(PerClassSampler { per_class }) => {
                let labels = labels("per_class")?;
                (whole(true), Order::PerClass(Classes::new(labels, *per_class, batch_size)?))
            }
            Sampler::Stratified(StratifiedSampler { drop_last }) => {
                (whole(*drop_last), Order::Stratified(Strata::new(labels("stratified")?)))
            }
            Sampler::Shuffled(ShuffledSampler { drop_last, no_duplicates }) => {
                let texts: &[&[u64]] = if *no_duplicates { rows.texts } else { &[] };
                let texts = if texts.is_empty() {
                    Vec::new()
                } else {
                    let of = |row: usize| {
                        let mut texts: Vec<u64> = texts.iter().map(|hashes| hashes[row]).collect();
                        texts.sort_unstable();
                        texts.dedup();
                        texts
                    };
                    (0..n).map(of).collect()
                };
                (whole(*drop_last), Order::Shuffled { texts })
            }
            Sampler::Sequential(SequentialSampler { drop_last }) => (whole(*drop_last), Order::Sequential),
        };
        Ok(Batches { n, batch_size, count, key: key.named("sampler"), order })
    }
}

impl Batches {
    /// Batches in an epoch; the same for every epoch.
    pub fn batches_per_epoch(&self) -> usize {
        self.count
    }

    /// The batches of an epoch: places in the training part, `0..n`.
    pub fn batches(&self, epoch: u64) -> Vec<Vec<u32>> {
        let key = self.key.at(epoch);
        let mut order: Vec<u32> = match &self.order {
            Order::PerClass(classes) => {
                return (0..self.count).map(|batch| classes.batch(key.at(batch as u64))).collect();
            }
            Order::Stratified(strata) => strata.order(key),
            Order::Shuffled { .. } | Order::Sequential => (0..self.n as u32).collect(),
        };
        if let Order::Shuffled { texts } = &self.order {
            key.shuffle(&mut order);
            if !texts.is_empty() {
                order = apart(&order, self.batch_size, texts);
            }
        }
        order.chunks(self.batch_size).take(self.count).map(<[u32]>::to_vec).collect()
    }

    /// Classes that have fewer rows than a batch takes of them, so that rows of theirs repeat within a batch. 0 for the
    /// samplers that take each row once.
    pub fn short_classes(&self) -> usize {
        match &self.order {
            Order::PerClass(classes) => classes.short(),
            _ => 0,
        }
    }

    /// Rows of an epoch that share a text with an earlier row of their batch after all, because no other row was left or
    /// near enough in the order. 0 unless the sampler keeps texts apart.
    pub fn duplicates(&self, epoch: u64) -> usize {
        let Order::Shuffled { texts } = &self.order else { return 0 };
        if texts.is_empty() {
            return 0;
        }
        self.batches(epoch)
            .iter()
            .map(|batch| {
                let mut seen = std::collections::HashSet::new();
                batch
                    .iter()
                    .filter(|&&row| {
                        let texts = &texts[row as usize];
                        let shared = texts.iter().any(|hash| seen.contains(hash));
                        seen.extend(texts.iter().copied());
                        shared
                    })
                    .count()
            })
            .sum()
    }
}

#[cfg(test)]
mod tests;
