//! Packed weights, and the products with them.

#[cfg(target_arch = "x86_64")]
use super::amx;
use super::buffer::{Buffer, Plain, Scratch};
use super::epilogue::Finish;
use super::micro::{self, Extra, Micro, Rows, Stored, portable};
#[cfg(target_arch = "x86_64")]
use super::micro::{avx2, avx512};
use super::quantise::{self, CHUNK, Scales};
use super::{Precision, rectangles};
#[cfg(target_arch = "x86_64")]
use super::{
    sweep,
    tile::{self, BLOCK, Operand, Side},
};
use crate::isa::Isa;
use rayon::prelude::*;
use std::ops::Range;

/// Weights in panels of as many columns as one instruction set multiplies at a time.
#[derive(Clone, Debug)]
pub(super) struct Panels {
    isa: Isa,
    form: Form,
    panels: Buffer,
    scales: Option<Scales>,
}

/// What the panels hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Float,
    Half,
    Whole,
    #[cfg(target_arch = "x86_64")]
    Tiles(amx::Kind),
}

/// Weights as they are given: number (output channel, input channel).
#[derive(Clone, Copy)]
pub(super) enum Given<'a> {
    /// `[n, k]`.
    ByOutput(&'a [f32]),
    /// `[k, n]`.
    ByInput(&'a [f32]),
}

/// A product below this many multiplications is done before another thread has woken.
const SMALL: usize = 1 << 19;

/// Fewer weights than these are packed before another thread has woken.
const SMALL_WEIGHTS: usize = 1 << 16;

impl Panels {
    pub(super) fn float(isa: Isa, w: Given<'_>, n: usize, k: usize, precision: Precision) -> Self {
        #[cfg(target_arch = "x86_64")]
        if isa == Isa::Amx && precision != Precision::F32 {
            let kind = if precision == Precision::Split { amx::Kind::Split } else { amx::Kind::Half };
            let operand = match w {
                Given::ByOutput(w) => Operand::deep(w, n, k),
                Given::ByInput(w) => Operand::flat(w, n, k),
            };
            let size = kind.block(k);
            let panels = each_panel(n.div_ceil(BLOCK), size, n * k < SMALL_WEIGHTS, |block, to| {
                // SAFETY: tiles imply the AVX-512 sets.
                unsafe {
                    match kind {
                        amx::Kind::Split => operand.pack::<true>(Side::Right, block, to),
                        _ => operand.pack::<false>(Side::Right, block, to),
                    }
                }
            });
            return Self { isa, form: Form::Tiles(kind), panels, scales: None };
        }
        let small = n * k < SMALL_WEIGHTS;
        let (form, panels) = if precision == Precision::Bf16 {
            (Form::Half, stored::<u16>(w, n, k, width(isa), small))
        } else {
            (Form::Float, stored::<f32>(w, n, k, width(isa), small))
        };
        Self { isa, form, panels, scales: None }
    }

    pub(super) fn int8(isa: Isa, w: &[f32], n: usize, k: usize, smooth: Option<&[f32]>) -> Self {
        let depth = k.next_multiple_of(CHUNK);
        let mut codes = vec![0i8; n * depth];
        let mut scale = vec![0.0; n];
        quantise::rows(isa, w, k, smooth, &mut scale, |row, chunk, from| {
            codes[row * depth + chunk * CHUNK..][..CHUNK].copy_from_slice(from);
        });
        let width = width(isa);
        let mut sums = vec![0; n.next_multiple_of(width)];
        for (sum, row) in sums.iter_mut().zip(codes.chunks_exact(depth.max(1))) {
            *sum = row.iter().map(|&c| i32::from(c)).sum();
        }
        let unsmooth = smooth.map(|smooth| smooth.iter().map(|s| 1.0 / s).collect());
        let scales = Some(Scales { scale, sums, unsmooth });
        #[cfg(target_arch = "x86_64")]
        if isa == Isa::Amx {
            let size = amx::Kind::Whole.block(k);
            let panels = each_panel(n.div_ceil(BLOCK), size, n * k < SMALL_WEIGHTS, |block, to| {
                // SAFETY: tiles imply the AVX-512 sets.
                unsafe { tile::pack_bytes(&codes, n, depth, block, to) };
            });
            return Self { isa, form: Form::Tiles(amx::Kind::Whole), panels, scales };
        }
        let group = if isa == Isa::Avx512 { 4 } else { 2 };
        let groups = k.div_ceil(group);
        let panel = groups * group * width;
        let panels = each_panel(n.div_ceil(width), panel, n * k < SMALL_WEIGHTS, |at, to: &mut [i8]| {
            let columns = at * width..n.min((at + 1) * width);
            for (j, row) in codes[columns.start * depth..columns.end * depth].chunks_exact(depth).enumerate()
            {
                for p in 0..k {
                    to[(p / group * width + j) * group + p % group] = row[p];
                }
            }
        });
        Self { isa, form: Form::Whole, panels, scales }
    }

    pub(super) fn bytes(&self) -> usize {
        let scales = self
            .scales
            .as_ref()
            .map_or(0, |s| 4 * (s.scale.len() + s.sums.len() + s.unsmooth.as_ref().map_or(0, Vec::len)));
        self.panels.bytes() + scales
    }

    /// The product of `x[m, k]` with the weights, of which there are `n` columns.
    pub(super) fn product(&self, x: &[f32], m: usize, n: usize, k: usize, finish: &Finish<'_>) {
        let small = m * n * k.max(1) < SMALL;
        match self.form {
            #[cfg(target_arch = "x86_64")]
            Form::Tiles(kind) => {
                let scales = self.scales.as_ref();
                let weights = sweep::Weights { kind, k, blocks: self.panels.slice(), scales };
                let panels = n.div_ceil(BLOCK);
                rectangles::for_each(m, panels, BLOCK, sweep::ROWS, small, |rows, columns| {
                    // SAFETY: panels of tiles are made only where the instruction set was found; rectangles do not
                    // overlap.
                    unsafe { sweep::rectangle(weights, x, rows, columns, finish) };
                });
            }
            _ => {
                let width = width(self.isa);
                let most = ((1 << 18) / k.max(1)).clamp(64, 256) / 8 * 8;
                rectangles::for_each(m, n.div_ceil(width), 8, most, small, |rows, columns| {
                    // SAFETY: panels are made only for an instruction set that was found; rectangles do not overlap.
                    unsafe { self.rectangle(x, rows, columns, k, finish) };
                });
            }
        }
    }

    /// # Safety
    /// The instruction set runs here, and the rectangle is this task's alone.
    unsafe fn rectangle(
        &self,
        x: &[f32],
        rows: Range<usize>,
        columns: Range<usize>,
        k: usize,
        finish: &Finish<'_>,
    ) {
        let x = &x[rows.start * k..rows.end * k];
        let place = (rows.start, rows.len());
        // SAFETY: passed on to the caller.
        unsafe {
            match (self.form, self.isa) {
                #[cfg(target_arch = "x86_64")]
                (Form::Float, Isa::Avx512 | Isa::Amx) => {
                    self.floats::<{ avx512::WIDTH }, avx512::Float<f32>>(x, place, columns, k, finish);
                }
                #[cfg(target_arch = "x86_64")]
                (Form::Float, Isa::Avx2) => {
                    self.floats::<{ avx2::WIDTH }, avx2::Float<f32>>(x, place, columns, k, finish);
                }
                (Form::Float, _) => {
                    self.floats::<{ portable::WIDTH }, portable::Float<f32>>(x, place, columns, k, finish);
                }
                (Form::Half, isa) => {
                    let mut scratch = Scratch::take();
                    let rounded = &mut scratch.at_least::<f32>(x.len())[..x.len()];
                    for (to, &v) in rounded.iter_mut().zip(x) {
                        *to = micro::widened(micro::bf16(v));
                    }
                    let x = &*rounded;
                    match isa {
                        #[cfg(target_arch = "x86_64")]
                        Isa::Avx512 | Isa::Amx => {
                            self.floats::<{ avx512::WIDTH }, avx512::Float<u16>>(
                                x, place, columns, k, finish,
                            );
                        }
                        #[cfg(target_arch = "x86_64")]
                        Isa::Avx2 => {
                            self.floats::<{ avx2::WIDTH }, avx2::Float<u16>>(x, place, columns, k, finish);
                        }
                        _ => {
                            self.floats::<{ portable::WIDTH }, portable::Float<u16>>(
                                x, place, columns, k, finish,
                            );
                        }
                    }
                }
                #[cfg(target_arch = "x86_64")]
                (_, Isa::Avx512 | Isa::Amx) => {
                    // VNNI takes unsigned codes: 128 more.
                    self.codes::<{ avx512::WIDTH }, avx512::Whole>(x, place, columns, k, finish, |c| {
                        (c as u8) ^ 0x80
                    });
                }
                #[cfg(target_arch = "x86_64")]
                (_, Isa::Avx2) => {
                    self.codes::<{ avx2::WIDTH }, avx2::Whole>(x, place, columns, k, finish, i16::from);
                }
                _ => {
                    self.codes::<{ portable::WIDTH }, portable::Whole>(
                        x,
                        place,
                        columns,
                        k,
                        finish,
                        i16::from,
                    );
                }
            }
        }
    }

    /// # Safety
    /// As [`Self::rectangle`].
    unsafe fn floats<const W: usize, M: Micro<W, A = f32>>(
        &self,
        x: &[f32],
        (first, count): (usize, usize),
        columns: Range<usize>,
        k: usize,
        finish: &Finish<'_>,
    ) {
        let rows = Rows { data: x, stride: k, count, first };
        let extra = Extra { scales: None, sums: &[] };
        // SAFETY: passed on to the caller.
        unsafe { micro::sweep::<W, M>(rows, self.panels.slice(), k, columns, &extra, finish) };
    }

    /// # Safety
    /// As [`Self::rectangle`].
    unsafe fn codes<const W: usize, M: Micro<W>>(
        &self,
        x: &[f32],
        (first, count): (usize, usize),
        columns: Range<usize>,
        k: usize,
        finish: &Finish<'_>,
        code: impl Fn(i8) -> M::A,
    ) {
        let Some(scales) = &self.scales else { return };
        let stride = k.next_multiple_of(CHUNK);
        let mut steps = vec![0.0; count];
        let mut scratch = Scratch::take();
        let data = &mut scratch.at_least::<M::A>(count * stride)[..count * stride];
        quantise::rows(self.isa, x, k, scales.unsmooth.as_deref(), &mut steps, |row, chunk, from| {
            let to = &mut data[row * stride + chunk * CHUNK..][..CHUNK];
            to.iter_mut().zip(from).for_each(|(to, &c)| *to = code(c));
        });
        let rows = Rows { data, stride, count, first };
        let extra = Extra { scales: Some((&steps, &scales.scale)), sums: &scales.sums };
        // SAFETY: passed on to the caller.
        unsafe {
            micro::sweep::<W, M>(rows, self.panels.slice(), k.div_ceil(M::GROUP), columns, &extra, finish);
        }
    }
}

/// Columns of a panel.
fn width(isa: Isa) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Amx | Isa::Avx512 => avx512::WIDTH,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::WIDTH,
        _ => portable::WIDTH,
    }
}

/// Panels of `width` columns, `[k, width]` each, with zeros beyond the last column.
pub(super) fn stored<S: Stored>(w: Given<'_>, n: usize, k: usize, width: usize, small: bool) -> Buffer {
    let panel = width * k;
    each_panel(n.div_ceil(width), panel, small, |at, to: &mut [S]| {
        let columns = at * width..n.min((at + 1) * width);
        match w {
            Given::ByOutput(w) => {
                for (j, row) in w[columns.start * k..columns.end * k].chunks_exact(k).enumerate() {
                    for (p, &v) in row.iter().enumerate() {
                        to[p * width + j] = S::of(v);
                    }
                }
            }
            Given::ByInput(w) => {
                for (to, row) in to.chunks_exact_mut(width).zip(w.chunks_exact(n)) {
                    for (to, &v) in to.iter_mut().zip(&row[columns.clone()]) {
                        *to = S::of(v);
                    }
                }
            }
        }
    })
}

/// Panels of `size` numbers, each filled by a call with its place; on all threads, unless they are `small`.
fn each_panel<T: Plain>(
    panels: usize,
    size: usize,
    small: bool,
    fill: impl Fn(usize, &mut [T]) + Sync,
) -> Buffer {
    let mut buffer = Buffer::zeroed::<T>(panels * size);
    if size > 0 {
        let all = &mut buffer.slice_mut::<T>()[..panels * size];
        if small || rayon::current_num_threads() == 1 {
            all.chunks_exact_mut(size).enumerate().for_each(|(at, to)| fill(at, to));
        } else {
            all.par_chunks_exact_mut(size).enumerate().for_each(|(at, to)| fill(at, to));
        }
    }
    buffer
}
