//! Dropout masks: functions of a key and of where a unit stands.

use std::sync::Arc;

use parallax_random::Key;
use rayon::prelude::*;

use super::array::Array;
use super::graph::Operation;

/// Zeroes each unit with probability p and scales the rest by 1 / (1 − p).
#[derive(Clone, Debug)]
pub(super) struct Mask {
    pub(super) p: f64,
    pub(super) key: Key,
    /// (row, position) of every token: the text's place in the batch and the token's in the text.
    pub(super) places: Arc<[(usize, usize)]>,
}

impl Mask {
    /// Multiplies token states `[N, width]`.
    pub(super) fn apply(&self, values: &mut [f32], width: usize) {
        values.par_chunks_mut(width).zip(&*self.places).with_min_len(64).for_each(|(units, &place)| {
            let draw = draw(self.p, self.key, place);
            for (at, pair) in units.chunks_mut(2).enumerate() {
                pair.iter_mut().zip(draw(at)).for_each(|(unit, factor)| *unit *= factor);
            }
        });
    }

    /// The multipliers of one token's units.
    pub(super) fn fill(&self, units: &mut [f32], place: (usize, usize)) {
        let draw = draw(self.p, self.key, place);
        for (at, pair) in units.chunks_mut(2).enumerate() {
            pair.iter_mut().zip(draw(at)).for_each(|(unit, factor)| *unit = factor);
        }
    }
}

/// The multipliers of the units of one token, two from each draw of 64 bits.
fn draw(p: f64, key: Key, (row, position): (usize, usize)) -> impl Fn(usize) -> [f32; 2] {
    pairs(p, key.at(((row as u64) << 32) | position as u64))
}

/// The multipliers of one query's keys in one head.
pub(super) fn attention_mask(p: f64, key: Key, row: usize, head: usize, query: usize, keys: &mut [f32]) {
    let draw = pairs(p, key.at(((row as u64) << 32) | ((head as u64) << 20) | query as u64));
    for (at, pair) in keys.chunks_mut(2).enumerate() {
        pair.iter_mut().zip(draw(at)).for_each(|(unit, factor)| *unit = factor);
    }
}

fn pairs(p: f64, key: Key) -> impl Fn(usize) -> [f32; 2] {
    let keep = (1.0 / (1.0 - p)) as f32;
    let threshold = (p * 4_294_967_296.0) as u32;
    move |at| {
        let bits = key.bits(at as u64);
        [bits as u32, (bits >> 32) as u32].map(|half| if half >= threshold { keep } else { 0.0 })
    }
}

/// The mask alone.
#[derive(Clone, Debug)]
pub(super) struct Dropout(pub(super) Mask);

impl Operation for Dropout {
    type Kept = ();

    fn forward(&self, inputs: Vec<Array>, keep: bool) -> (Array, Option<()>) {
        let x = inputs.into_iter().next().expect("x");
        (self.masked(x), keep.then_some(()))
    }

    fn backward(&self, (): (), gradient: Array, _: &[bool]) -> Vec<Option<Array>> {
        vec![Some(self.masked(gradient))]
    }
}

impl Dropout {
    fn masked(&self, x: Array) -> Array {
        let (n, d) = x.dims();
        let mut values = x.into_values();
        self.0.apply(&mut values, d);
        Array::new(values, [n, d])
    }
}
