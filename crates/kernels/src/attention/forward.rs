use std::ops::Range;

use super::tile::{self, Left, Out, Right};
use super::{Attention, LONG, Rows, RowsMut, block, pitch, scratch};
use crate::isa::Isa;
use crate::lanes::{self, Body, Lanes};
use crate::share;

pub(super) fn run(
    isa: Isa,
    attention: &Attention<'_>,
    q: Rows<'_>,
    k: Rows<'_>,
    v: Rows<'_>,
    out: &mut [f32],
    sums: Option<&mut [f32]>,
) {
    let rows = attention.check();
    let width = attention.width();
    [q, k, v].iter().for_each(|x| x.check(rows, width));
    let out = RowsMut::whole(out, width);
    out.check(rows, width);
    let sums = sums.map(|sums| RowsMut::whole(sums, attention.heads));
    if let Some(sums) = &sums {
        sums.check(rows, attention.heads);
    }
    let (items, cost) = attention.items();
    share::jobs(items.len(), cost, |at| {
        let (text, heads) = items[at].clone();
        let length = attention.text(text).len();
        let packed = if length > LONG { length * attention.size } else { 0 };
        let need = (attention.size + block(length).min(length) + 1) * pitch(length) + packed;
        scratch(need, |buffer| {
            let sums = sums.as_ref();
            lanes::run(isa, Item { attention, q, k, v, out: &out, sums, text, heads, buffer });
        });
    });
}

/// Some heads of one text.
struct Item<'a> {
    attention: &'a Attention<'a>,
    q: Rows<'a>,
    k: Rows<'a>,
    v: Rows<'a>,
    out: &'a RowsMut<'a>,
    sums: Option<&'a RowsMut<'a>>,
    text: usize,
    heads: Range<usize>,
    buffer: &'a mut [f32],
}

impl Body for Item<'_> {
    type Out = ();
    #[inline(always)]
    fn call<L: Lanes>(self, l: L) {
        let rows = self.attention.text(self.text);
        let (length, size) = (rows.len(), self.attention.size);
        let (pitch, block) = (pitch(length), block(length).min(length));
        let (keys, rest) = self.buffer.split_at_mut(size * pitch);
        let (scores, rest) = rest.split_at_mut(block * pitch);
        let (mask, packed) = rest.split_at_mut(pitch);
        for head in self.heads.clone() {
            let column = head * size;
            // SAFETY: `run` has checked that rows and heads lie inside q, k, v and the results; no other item writes
            // these rows of these heads, and the buffers have been sized for them.
            unsafe {
                let from = self.k.at(rows.start, column);
                tile::transpose(l, [length, size], from, self.k.stride(), keys.as_mut_ptr(), pitch);
                let mut values = Right { start: self.v.at(rows.start, column), row: self.v.stride() };
                if length > LONG {
                    tile::copy(l, [length, size], values, packed.as_mut_ptr(), size);
                    values = Right { start: packed.as_ptr(), row: size };
                }
                for first in (0..length).step_by(block) {
                    let queries = block.min(length - first);
                    let q = self.q.at(rows.start + first, column);
                    tile::product(
                        l,
                        [queries, length.next_multiple_of(16), size],
                        Left { start: q, row: self.q.stride(), column: 1 },
                        Right { start: keys.as_ptr(), row: pitch },
                        Out { start: scores.as_mut_ptr(), row: pitch, add: false },
                    );
                    let (mut tops, mut totals) = ([0f32; 64], [0f32; 64]);
                    for i in 0..queries {
                        let row = &mut scores[i * pitch..i * pitch + length.next_multiple_of(16)];
                        let place = [self.text, head, first + i];
                        (tops[i], totals[i]) = weights(l, self.attention, place, length, row, mask);
                    }
                    if let Some(sums) = self.sums {
                        for i in 0..queries {
                            *sums.at(rows.start + first + i, head) = tops[i] + totals[i].ln();
                        }
                    }
                    let out = self.out.at(rows.start + first, column);
                    tile::product(
                        l,
                        [queries, size, length],
                        Left { start: scores.as_ptr(), row: pitch, column: 1 },
                        values,
                        Out { start: out, row: self.out.stride(), add: false },
                    );
                    for i in 0..queries {
                        let row = std::slice::from_raw_parts_mut(out.add(i * self.out.stride()), size);
                        let inverse = l.splat(1.0 / totals[i]);
                        lanes::update(
                            l,
                            row,
                            #[inline(always)]
                            |x| l.mul(x, inverse),
                        );
                    }
                }
            }
        }
    }
}

/// Products of one query with `length` keys to weights that are still to be divided by their sum, in place; returns the
/// largest score and the sum. The row goes on to whole vectors; what stands there afterwards is of no use.
#[inline(always)]
fn weights<L: Lanes>(
    l: L,
    attention: &Attention<'_>,
    [text, head, query]: [usize; 3],
    length: usize,
    row: &mut [f32],
    mask: &mut [f32],
) -> (f32, f32) {
    let mut scale = attention.scale();
    if let Some(bias) = attention.bias_of(head, query, length) {
        lanes::update1(
            l,
            bias,
            &mut row[..length],
            #[inline(always)]
            |bias, s| l.fma(s, l.splat(scale), bias),
        );
        scale = 1.0;
    }
    let (lowest, zero) = (l.splat(f32::NEG_INFINITY), l.splat(0.0));
    let (mut top, mut sum) = (lowest, zero);
    let ends = row.len();
    let start = row.as_mut_ptr();
    // SAFETY: the row ends on a multiple of 16, which is one of N.
    let largest = unsafe {
        for k in (0..ends).step_by(L::N) {
            let s = l.load(start.add(k));
            let s = if k + L::N > length { l.keep(length.saturating_sub(k), s, lowest) } else { s };
            top = l.max(s, top);
        }
        let largest = l.top(top) * scale;
        let (scale, shift) = (l.splat(scale), l.splat(-largest));
        for k in (0..ends).step_by(L::N) {
            let w = lanes::exp(l, l.fma(l.load(start.add(k)), scale, shift));
            let w = if k + L::N > length { l.keep(length.saturating_sub(k), w, zero) } else { w };
            l.store(start.add(k), w);
            sum = l.add(sum, w);
        }
        largest
    };
    if let Some(fill) = attention.dropout {
        let mask = &mut mask[..length];
        fill(text, head, query, mask);
        lanes::update1(
            l,
            mask,
            &mut row[..length],
            #[inline(always)]
            |mask, w| l.mul(w, mask),
        );
    }
    (largest, l.sum(sum))
}
