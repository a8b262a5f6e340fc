use std::ops::Range;

use super::tile::{self, Left, Out, Right};
use super::{Attention, Rows, RowsMut, block, pitch, scratch};
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
        let need = attention.size * pitch(length) + block(length).min(length) * pitch(length) + length;
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
        let (scores, mask) = rest.split_at_mut(block * pitch);
        for head in self.heads.clone() {
            let column = head * size;
            // SAFETY: `run` has checked that rows and heads lie inside q, k, v and the results; no other item writes
            // these rows of these heads, and the buffers have been sized for them.
            unsafe {
                let from = self.k.at(rows.start, column);
                tile::transpose(l, [length, size], from, self.k.stride(), keys.as_mut_ptr(), pitch);
                for first in (0..length).step_by(block) {
                    let queries = block.min(length - first);
                    tile::product(
                        l,
                        [queries, length.next_multiple_of(16), size],
                        Left {
                            start: self.q.at(rows.start + first, column),
                            row: self.q.stride(),
                            column: 1,
                        },
                        Right { start: keys.as_ptr(), row: pitch },
                        Out { start: scores.as_mut_ptr(), row: pitch, add: false },
                    );
                    let mut inverse = [0f32; 64];
                    for i in 0..queries {
                        let row = &mut scores[i * pitch..i * pitch + length];
                        let sum = weights(l, self.attention, [self.text, head, first + i], row, mask);
                        inverse[i] = 1.0 / sum.1;
                        if let Some(sums) = self.sums {
                            *sums.at(rows.start + first + i, head) = sum.0 + sum.1.ln();
                        }
                    }
                    let out = self.out.at(rows.start + first, column);
                    tile::product(
                        l,
                        [queries, size, length],
                        Left { start: scores.as_ptr(), row: pitch, column: 1 },
                        Right { start: self.v.at(rows.start, column), row: self.v.stride() },
                        Out { start: out, row: self.out.stride(), add: false },
                    );
                    for i in 0..queries {
                        let row = std::slice::from_raw_parts_mut(out.add(i * self.out.stride()), size);
                        let inverse = l.splat(inverse[i]);
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

/// Products to weights that are still to be divided by their sum, in place; returns the largest score and the sum.
#[inline(always)]
fn weights<L: Lanes>(
    l: L,
    attention: &Attention<'_>,
    [text, head, query]: [usize; 3],
    row: &mut [f32],
    mask: &mut [f32],
) -> (f32, f32) {
    let mut scale = attention.scale();
    if let Some(bias) = attention.bias_of(head, query, row.len()) {
        lanes::update1(
            l,
            bias,
            row,
            #[inline(always)]
            |bias, s| l.fma(s, l.splat(scale), bias),
        );
        scale = 1.0;
    }
    let top = lanes::largest(l, row) * scale;
    let (scale, shift) = (l.splat(scale), l.splat(-top));
    let sum = lanes::update_total(
        l,
        row,
        #[inline(always)]
        |s| lanes::exp(l, l.fma(s, scale, shift)),
    );
    if let Some(fill) = attention.dropout {
        fill(text, head, query, mask);
        lanes::update1(
            l,
            mask,
            row,
            #[inline(always)]
            |mask, w| l.mul(w, mask),
        );
    }
    (top, sum)
}
