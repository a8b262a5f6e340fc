//! Multi-head scaled dot-product attention over texts that lie one after another, without padding.
//!
//! Text t is rows `offsets[t]..offsets[t + 1]` of q, k and v; for its queries i and keys j, in every head of size d,
//! `sᵢⱼ = qᵢ · kⱼ / √d + bias`, `wᵢⱼ = exp(sᵢⱼ) / Σ exp(sᵢ.)`, `outᵢ = Σ wᵢⱼ mᵢⱼ vⱼ`, where m is 1 or the dropout mask. The
//! forward pass keeps log Σ exp of every query and head; the backward pass computes the weights again from it (Dao et al.
//! 2022, arXiv 2205.14135), so that no weights are stored. Scores exist for a block of queries of one text and head at a
//! time: 256 KiB on each thread at most, for up to 8,192 keys.
//!
//! Work is split over texts and heads, longest texts first. A text's result does not depend on its neighbours, on its
//! place in the batch, or on the number of threads.

mod backward;
mod forward;
mod rows;
mod tile;

pub use rows::{Rows, RowsMut};

use std::cell::RefCell;
use std::ops::Range;

use crate::isa;

/// Fills the dropout multipliers (0 or 1 / (1 − p)) of one query's keys: arguments are text, head, query and the
/// multipliers, one for each key of the text.
pub type Mask<'a> = &'a (dyn Fn(usize, usize, usize, &mut [f32]) + Sync);

/// A bias of the scores by the distance from query to key.
#[derive(Clone, Copy, Debug)]
pub struct Bias<'a> {
    /// `[heads, 2 · reach − 1]`: what key j adds to the score of query i stands at `j − i + reach − 1`.
    pub table: &'a [f32],
    /// The length of the longest text that the table serves.
    pub reach: usize,
}

/// The shape of a batch of texts, and what is added to plain attention.
#[derive(Clone, Copy)]
pub struct Attention<'a> {
    /// Where each text begins, and where the last ends: ascending, one more than there are texts. Rows outside of all
    /// texts are neither read nor written.
    pub offsets: &'a [usize],
    /// Number of heads, H.
    pub heads: usize,
    /// Width of a head, d.
    pub size: usize,
    /// Relative position bias.
    pub bias: Option<Bias<'a>>,
    /// Dropout of the weights.
    pub dropout: Option<Mask<'a>>,
}

impl<'a> Attention<'a> {
    /// Plain attention.
    pub fn new(offsets: &'a [usize], heads: usize, size: usize) -> Self {
        Attention { offsets, heads, size, bias: None, dropout: None }
    }

    /// Leaves the result `[N, H · d]` in `out` and, where asked for, log Σ exp of the scores in `sums` `[N, H]`.
    ///
    /// # Panics
    /// If offsets do not ascend, a slice is too short, or a text is longer than the bias reaches.
    pub fn forward(&self, q: Rows<'_>, k: Rows<'_>, v: Rows<'_>, out: &mut [f32], sums: Option<&mut [f32]>) {
        forward::run(isa::current(), self, q, k, v, out, sums);
    }

    /// The gradients by q, k and v and, where there is a bias, by its table (`[heads, 2 · reach − 1]`), from that by the
    /// result. `out` and `sums` are what [`Self::forward`] left; everything is overwritten.
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn backward(
        &self,
        [q, k, v]: [Rows<'_>; 3],
        out: &[f32],
        sums: &[f32],
        dout: &[f32],
        gradients: [RowsMut<'_>; 3],
        dbias: Option<&mut [f32]>,
    ) {
        backward::run(isa::current(), self, [q, k, v], out, sums, dout, gradients, dbias);
    }

    fn width(&self) -> usize {
        self.heads * self.size
    }

    fn texts(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    fn text(&self, t: usize) -> Range<usize> {
        self.offsets[t]..self.offsets[t + 1]
    }

    fn scale(&self) -> f32 {
        (1.0 / (self.size as f64).sqrt()) as f32
    }

    /// The number of rows that the texts reach.
    fn check(&self) -> usize {
        assert!(self.offsets.is_sorted(), "offsets of texts must ascend");
        assert!(self.heads > 0 && self.size > 0, "attention needs heads of some width");
        let longest = self.offsets.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
        if let Some(bias) = self.bias {
            assert!(
                bias.reach >= longest.max(1) && bias.table.len() == self.heads * (2 * bias.reach - 1),
                "a bias table of {} values for {} heads and texts of {longest}",
                bias.table.len(),
                self.heads
            );
        }
        self.offsets.last().copied().unwrap_or(0)
    }

    /// Texts and ranges of heads to be worked on by one thread each, dearest first, and the cost of all of them.
    fn items(&self) -> (Vec<(usize, Range<usize>)>, usize) {
        /// Multiplications that are worth a turn of their own.
        const TURN: usize = 1 << 18;
        let mut items = Vec::new();
        let mut total = 0;
        for t in 0..self.texts() {
            let length = self.text(t).len();
            if length == 0 {
                continue;
            }
            let cost = length * length * self.size;
            total += cost * self.heads;
            let heads = TURN.div_ceil(cost).min(self.heads);
            items.extend((0..self.heads).step_by(heads).map(|h| (t, h..self.heads.min(h + heads))));
        }
        items.sort_by_key(|(t, heads)| {
            std::cmp::Reverse(self.text(*t).len() * self.text(*t).len() * heads.len())
        });
        (items, total)
    }

    /// The bias of one query's keys.
    fn bias_of(&self, head: usize, query: usize, keys: usize) -> Option<&'a [f32]> {
        self.bias.map(|bias| {
            let first = head * (2 * bias.reach - 1) + bias.reach - 1 - query;
            &bias.table[first..first + keys]
        })
    }
}

/// Longer texts have what is gone over for every block of queries packed: the rows of a head are a page apart.
const LONG: usize = 64;

/// Values between the rows of a block of scores: keys rounded up to whole vectors of any instruction set, and 64 bytes
/// more, so that rows of 2 KiB do not all fall into the same sets of the cache.
fn pitch(keys: usize) -> usize {
    keys.next_multiple_of(16) + 16
}

/// Queries whose scores exist at one time.
fn block(keys: usize) -> usize {
    const SCORES: usize = 1 << 15;
    (SCORES / pitch(keys)).clamp(8, 64) / 8 * 8
}

/// A buffer of `len` values that the thread keeps between calls; its contents are arbitrary.
fn scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! {
        static BUFFER: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    // Taken out, not borrowed: a mask may be filled by code that comes back here.
    let mut buffer = BUFFER.take();
    if buffer.len() < len {
        buffer.resize(len, 0.0);
    }
    let result = work(&mut buffer[..len]);
    BUFFER.set(buffer);
    result
}

#[cfg(test)]
mod tests;
