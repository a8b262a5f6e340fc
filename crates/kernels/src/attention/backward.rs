use std::ops::Range;

use super::tile::{self, Left, Out, Right};
use super::{Attention, Rows, RowsMut, block, pitch, scratch};
use crate::isa::Isa;
use crate::lanes::{self, Body, Lanes};
use crate::share::{self, Parts};

pub(super) fn run(
    isa: Isa,
    attention: &Attention<'_>,
    inputs: [Rows<'_>; 3],
    out: &[f32],
    sums: &[f32],
    dout: &[f32],
    gradients: [RowsMut<'_>; 3],
    dbias: Option<&mut [f32]>,
) {
    let rows = attention.check();
    let (width, heads) = (attention.width(), attention.heads);
    inputs.iter().for_each(|x| x.check(rows, width));
    gradients.iter().for_each(|x| x.check(rows, width));
    assert!(
        out.len() >= rows * width && dout.len() >= rows * width && sums.len() >= rows * heads,
        "attention over {rows} rows"
    );
    // Each text's gradient by its part of the bias table, head by head; added up over texts in order afterwards.
    let wanted = attention.bias.zip(dbias);
    let spans: Vec<usize> = std::iter::once(0)
        .chain((0..attention.texts()).scan(0, |end, t| {
            *end += heads * (2 * attention.text(t).len()).saturating_sub(1);
            Some(*end)
        }))
        .collect();
    let mut partial = vec![0.0; if wanted.is_some() { spans[attention.texts()] } else { 0 }];
    let parts = Parts::new(&mut partial);
    let (items, cost) = attention.items();
    share::jobs(items.len(), 3 * cost, |at| {
        let (text, heads) = items[at].clone();
        let reach = (2 * attention.text(text).len()).saturating_sub(1);
        let span = spans[text] + heads.start * reach..spans[text] + heads.end * reach;
        // SAFETY: items are disjoint ranges of heads of a text, and so are their spans.
        let dbias = wanted.is_some().then(|| unsafe { parts.part(span) });
        let length = attention.text(text).len();
        let need = 2 * (attention.size + block(length).min(length)) * pitch(length) + length;
        let gradients = &gradients;
        scratch(need, |buffer| {
            let passed = Passed { attention, out, sums, dout, text };
            lanes::run(isa, Item { passed, inputs, gradients, dbias, heads, buffer });
        });
    });
    if let Some((bias, to)) = wanted {
        assert_eq!(to.len(), bias.table.len(), "the gradient by the bias has the shape of its table");
        to.fill(0.0);
        let whole = 2 * bias.reach - 1;
        for t in 0..attention.texts() {
            let length = attention.text(t).len();
            let reach = (2 * length).saturating_sub(1);
            for head in 0..if length == 0 { 0 } else { heads } {
                let from = &partial[spans[t] + head * reach..spans[t] + (head + 1) * reach];
                let first = head * whole + bias.reach - length;
                to[first..first + reach].iter_mut().zip(from).for_each(|(to, x)| *to += x);
            }
        }
    }
}

/// Some heads of one text.
struct Item<'a> {
    passed: Passed<'a>,
    inputs: [Rows<'a>; 3],
    gradients: &'a [RowsMut<'a>; 3],
    /// `[heads, 2 · length − 1]`, zeros.
    dbias: Option<&'a mut [f32]>,
    heads: Range<usize>,
    buffer: &'a mut [f32],
}

/// What the forward pass left, for one text.
#[derive(Clone, Copy)]
struct Passed<'a> {
    attention: &'a Attention<'a>,
    out: &'a [f32],
    sums: &'a [f32],
    dout: &'a [f32],
    text: usize,
}

impl Body for Item<'_> {
    type Out = ();
    #[inline(always)]
    fn call<L: Lanes>(self, l: L) {
        let Item { passed, inputs, gradients, mut dbias, heads, buffer } = self;
        let attention = passed.attention;
        let rows = attention.text(passed.text);
        let (length, size, width) = (rows.len(), attention.size, attention.width());
        let (pitch, block) = (pitch(length), block(length).min(length));
        let padded = length.next_multiple_of(16);
        let [q, k, v] = inputs;
        let [dq, dk, dv] = gradients;
        let (keys, rest) = buffer.split_at_mut(size * pitch);
        let (values, rest) = rest.split_at_mut(size * pitch);
        let (weights, rest) = rest.split_at_mut(block * pitch);
        let (slopes, mask) = rest.split_at_mut(block * pitch);
        for head in heads.clone() {
            let column = head * size;
            let mut dbias = dbias.as_deref_mut().map(|dbias| {
                let reach = 2 * length - 1;
                &mut dbias[(head - heads.start) * reach..(head - heads.start + 1) * reach]
            });
            // SAFETY: `run` has checked that rows and heads lie inside every matrix; no other item writes these rows of
            // these heads, and the buffers have been sized for them.
            unsafe {
                let (k_from, v_from) = (k.at(rows.start, column), v.at(rows.start, column));
                tile::transpose(l, [length, size], k_from, k.stride(), keys.as_mut_ptr(), pitch);
                tile::transpose(l, [length, size], v_from, v.stride(), values.as_mut_ptr(), pitch);
                for first in (0..length).step_by(block) {
                    let queries = block.min(length - first);
                    let at = rows.start + first;
                    let q_from = q.at(at, column);
                    let d_from = passed.dout.as_ptr().add(at * width + column);
                    tile::product(
                        l,
                        [queries, padded, size],
                        Left { start: q_from, row: q.stride(), column: 1 },
                        Right { start: keys.as_ptr(), row: pitch },
                        Out { start: weights.as_mut_ptr(), row: pitch, add: false },
                    );
                    tile::product(
                        l,
                        [queries, padded, size],
                        Left { start: d_from, row: width, column: 1 },
                        Right { start: values.as_ptr(), row: pitch },
                        Out { start: slopes.as_mut_ptr(), row: pitch, add: false },
                    );
                    for i in 0..queries {
                        let weights = &mut weights[i * pitch..i * pitch + length];
                        let slopes = &mut slopes[i * pitch..i * pitch + length];
                        passed.slopes(l, head, first + i, weights, slopes, mask, dbias.as_deref_mut());
                    }
                    tile::product(
                        l,
                        [queries, size, length],
                        Left { start: slopes.as_ptr(), row: pitch, column: 1 },
                        Right { start: k_from, row: k.stride() },
                        Out { start: dq.at(at, column), row: dq.stride(), add: false },
                    );
                    tile::product(
                        l,
                        [length, size, queries],
                        Left { start: slopes.as_ptr(), row: 1, column: pitch },
                        Right { start: q_from, row: q.stride() },
                        Out { start: dk.at(rows.start, column), row: dk.stride(), add: first > 0 },
                    );
                    tile::product(
                        l,
                        [length, size, queries],
                        Left { start: weights.as_ptr(), row: 1, column: pitch },
                        Right { start: d_from, row: width },
                        Out { start: dv.at(rows.start, column), row: dv.stride(), add: first > 0 },
                    );
                }
            }
        }
    }
}

impl Passed<'_> {
    /// For one query: products of q and k become the weights that v is mixed with, products of dout and v become the
    /// gradient by the scores, times the scale of the scores.
    #[inline(always)]
    fn slopes<L: Lanes>(
        &self,
        l: L,
        head: usize,
        query: usize,
        weights: &mut [f32],
        slopes: &mut [f32],
        mask: &mut [f32],
        dbias: Option<&mut [f32]>,
    ) {
        let attention = self.attention;
        let length = weights.len();
        let row = attention.text(self.text).start + query;
        let shift = l.splat(-self.sums[row * attention.heads + head]);
        let scale = l.splat(attention.scale());
        match attention.bias_of(head, query, length) {
            Some(bias) => lanes::update1(
                l,
                bias,
                weights,
                #[inline(always)]
                |bias, s| lanes::exp(l, l.add(l.fma(s, scale, bias), shift)),
            ),
            None => lanes::update(
                l,
                weights,
                #[inline(always)]
                |s| lanes::exp(l, l.fma(s, scale, shift)),
            ),
        }
        let span = row * attention.width() + head * attention.size;
        let span = span..span + attention.size;
        let along = lanes::dot(
            l,
            &self.out[span.clone()],
            &self.dout[span],
            #[inline(always)]
            |out, dout| l.mul(out, dout),
        );
        let along = l.splat(along);
        match attention.dropout {
            None => lanes::update1(
                l,
                weights,
                slopes,
                #[inline(always)]
                |w, slope| l.mul(w, l.sub(slope, along)),
            ),
            Some(fill) => {
                fill(self.text, head, query, mask);
                lanes::update2(
                    l,
                    weights,
                    mask,
                    slopes,
                    #[inline(always)]
                    |w, mask, slope| l.mul(w, l.sub(l.mul(slope, mask), along)),
                );
                lanes::update1(
                    l,
                    mask,
                    weights,
                    #[inline(always)]
                    |mask, w| l.mul(w, mask),
                );
            }
        }
        if let Some(dbias) = dbias {
            let first = length - 1 - query;
            lanes::update1(
                l,
                slopes,
                &mut dbias[first..first + length],
                #[inline(always)]
                |slope, sum| l.add(sum, slope),
            );
        }
        lanes::update(
            l,
            slopes,
            #[inline(always)]
            |slope| l.mul(slope, scale),
        );
    }
}
