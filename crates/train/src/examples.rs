//! What a step is made of.

use parallax_nn::Input;

use crate::Result;

/// One training row.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// The text or vector itself; of a pair, its first side.
    pub anchor: Input,
    /// Of a pair, the side that belongs to the anchor.
    pub positive: Option<Input>,
    /// Of a pair, texts that do not belong to the anchor, with a label each (see [`Examples::labels`]).
    pub negatives: Vec<(Input, u32)>,
}

/// The training rows, fetched by number when a batch needs them, so that texts can stay on disk.
pub trait Examples: Sync {
    /// The class of every row, from 0 to the number of classes without a gap, so that proxies can stand for them. For pairs: rows that share a text have the same number, so that they are not taken for each
    /// other's negatives.
    fn labels(&self) -> &[u32];

    /// Whether rows are pairs.
    fn paired(&self) -> bool;

    /// The score of every row, for pairs that have one.
    fn scores(&self) -> Option<&[f64]> {
        None
    }

    /// The rows with these numbers, in this order.
    ///
    /// # Errors
    /// A row that cannot be read.
    fn fetch(&self, rows: &[u32]) -> Result<Vec<Example>>;
}
