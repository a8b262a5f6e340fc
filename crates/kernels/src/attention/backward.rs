use std::ops::Range;

use super::tile::{self, Left, Out, Right};
use super::{Attention, LONG, Rows, RowsMut, block, pitch, scratch};
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
        let packed = if length > LONG { 3 * length * attention.size } else { 0 };
        let need = (2 * (attention.size + block(length).min(length)) + 1) * pitch(length) + packed;
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
        let (slopes, rest) = rest.split_at_mut(block * pitch);
        let (mask, packed) = rest.split_at_mut(pitch);
        let whole = [length, size];
        for head in heads.clone() {
            let column = head * size;
            let mut dbias = dbias.as_deref_mut().map(|dbias| {
                let reach = 2 * length - 1;
                &mut dbias[(head - heads.start) * reach..(head - heads.start + 1) * reach]
            });
            // SAFETY: `run` has checked that rows and heads lie inside every matrix; no other item writes these rows of
            // these heads, and the buffers have been sized for them.
            unsafe {
                let mut k_rows = Right { start: k.at(rows.start, column), row: k.stride() };
                tile::transpose(l, whole, k_rows.start, k_rows.row, keys.as_mut_ptr(), pitch);
                let v_from = v.at(rows.start, column);
                tile::transpose(l, whole, v_from, v.stride(), values.as_mut_ptr(), pitch);
                let (dk_rows, dv_rows) = (dk.at(rows.start, column), dv.at(rows.start, column));
                let mut dk_out = Out { start: dk_rows, row: dk.stride(), add: false };
                let mut dv_out = Out { start: dv_rows, row: dv.stride(), add: false };
                if length > LONG {
                    // Rows of a wide matrix are pages apart: what is gone over for each block of queries is packed.
                    let (k_packed, rest) = packed.split_at_mut(length * size);
                    let (dk_packed, dv_packed) = rest.split_at_mut(length * size);
                    tile::copy(l, whole, k_rows, k_packed.as_mut_ptr(), size);
                    k_rows = Right { start: k_packed.as_ptr(), row: size };
                    dk_out = Out { start: dk_packed.as_mut_ptr(), row: size, add: false };
                    dv_out = Out { start: dv_packed.as_mut_ptr(), row: size, add: false };
                }
                for first in (0..length).step_by(block) {
                    let queries = block.min(length - first);
                    let at = rows.start + first;
                    let q_rows = Right { start: q.at(at, column), row: q.stride() };
                    let d_rows = Right { start: passed.dout.as_ptr().add(at * width + column), row: width };
                    tile::product(
                        l,
                        [queries, padded, size],
                        Left { start: q_rows.start, row: q_rows.row, column: 1 },
                        Right { start: keys.as_ptr(), row: pitch },
                        Out { start: weights.as_mut_ptr(), row: pitch, add: false },
                    );
                    tile::product(
                        l,
                        [queries, padded, size],
                        Left { start: d_rows.start, row: d_rows.row, column: 1 },
                        Right { start: values.as_ptr(), row: pitch },
                        Out { start: slopes.as_mut_ptr(), row: pitch, add: false },
                    );
                    for i in 0..queries {
                        let weights = &mut weights[i * pitch..i * pitch + padded];
                        let slopes = &mut slopes[i * pitch..i * pitch + padded];
                        let place = [head, first + i, length];
                        passed.slopes(l, place, weights, slopes, mask, dbias.as_deref_mut());
                    }
                    tile::product(
                        l,
                        [queries, size, length],
                        Left { start: slopes.as_ptr(), row: pitch, column: 1 },
                        k_rows,
                        Out { start: dq.at(at, column), row: dq.stride(), add: false },
                    );
                    let turned = |x: &[f32]| Left { start: x.as_ptr(), row: 1, column: pitch };
                    tile::product(l, [length, size, queries], turned(slopes), q_rows, dk_out);
                    tile::product(l, [length, size, queries], turned(weights), d_rows, dv_out);
                    (dk_out.add, dv_out.add) = (true, true);
                }
                if length > LONG {
                    tile::copy(l, whole, dk_out.read(), dk_rows, dk.stride());
                    tile::copy(l, whole, dv_out.read(), dv_rows, dv.stride());
                }
            }
        }
    }
}

impl Passed<'_> {
    /// For one query: products of q and k become the weights that v is mixed with, products of dout and v become the
    /// gradient by the scores, times the scale of the scores. Rows go on to whole vectors; what stands there afterwards
    /// is of no use.
    #[inline(always)]
    fn slopes<L: Lanes>(
        &self,
        l: L,
        [head, query, length]: [usize; 3],
        weights: &mut [f32],
        slopes: &mut [f32],
        mask: &mut [f32],
        dbias: Option<&mut [f32]>,
    ) {
        let attention = self.attention;
        let row = attention.text(self.text).start + query;
        let shift = l.splat(-self.sums[row * attention.heads + head]);
        let factor = attention.scale();
        let mut scale = l.splat(factor);
        if let Some(bias) = attention.bias_of(head, query, length) {
            let old = scale;
            lanes::update1(
                l,
                bias,
                &mut weights[..length],
                #[inline(always)]
                |bias, s| l.fma(s, old, bias),
            );
            scale = l.splat(1.0);
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
        let (along, factor) = (l.splat(-along), l.splat(factor));
        let dropped = attention.dropout.is_some();
        if let Some(fill) = attention.dropout {
            fill(self.text, head, query, &mut mask[..length]);
        }
        let ends = weights.len();
        assert!(slopes.len() == ends && mask.len() >= ends);
        let (weights, slopes, mask) = (weights.as_mut_ptr(), slopes.as_mut_ptr(), mask.as_ptr());
        // SAFETY: the rows end on a multiple of 16, which is one of N.
        unsafe {
            for k in (0..ends).step_by(L::N) {
                let mut w = lanes::exp(l, l.fma(l.load(weights.add(k)), scale, shift));
                let mut slope = l.load(slopes.add(k));
                if dropped {
                    let mask = l.load(mask.add(k));
                    slope = l.mul(w, l.fma(slope, mask, along));
                    w = l.mul(w, mask);
                    l.store(weights.add(k), w);
                } else {
                    slope = l.mul(w, l.add(slope, along));
                    l.store(weights.add(k), w);
                }
                l.store(slopes.add(k), l.mul(slope, factor));
            }
        }
        if let Some(dbias) = dbias {
            // SAFETY: the row of slopes has at least `length` values.
            let slopes = unsafe { std::slice::from_raw_parts(slopes, length) };
            let inverse = l.splat((attention.size as f64).sqrt() as f32);
            let first = length - 1 - query;
            lanes::update1(
                l,
                slopes,
                &mut dbias[first..first + length],
                #[inline(always)]
                |slope, sum| l.fma(slope, inverse, sum),
            );
        }
    }
}
