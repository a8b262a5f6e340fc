//! A rectangle of a product on tiles, with the vector units at work between the steps.

use super::amx::{Kind, Tiles};
use super::buffer::Scratch;
use super::epilogue::{self, Apply, Finish, Place, Tile};
use super::quantise::{self, Scales};
use super::tile::{BLOCK, Operand, TILE};
use crate::isa::Isa;
use crate::lanes::{self, Body, Lanes};
use std::ops::Range;

/// Bytes of the rows' operand that stay in the first-level cache during a run.
const RUN: usize = 32 << 10;

/// Bytes of weights that stay in the second-level cache while blocks of rows pass.
const RESIDENT: usize = 5 << 18;

/// Rows that are the work of one task.
pub(super) const ROWS: usize = 256;

/// Weights as blocks of a right operand.
#[derive(Clone, Copy)]
pub(super) struct Weights<'a> {
    pub(super) kind: Kind,
    pub(super) k: usize,
    pub(super) blocks: &'a [u8],
    pub(super) scales: Option<&'a Scales>,
}

/// The rectangle of `rows` and blocks of 32 `columns` of the product of `x` and the weights.
///
/// # Safety
/// [`Isa::Amx`] runs here, the rectangle is this task's alone, and it lies inside `x`, the weights and the output.
pub(super) unsafe fn rectangle(
    weights: Weights<'_>,
    x: &[f32],
    rows: Range<usize>,
    columns: Range<usize>,
    finish: &Finish<'_>,
) {
    assert!(x.len() >= rows.end * weights.k);
    assert!(weights.blocks.len() >= columns.end * weights.kind.block(weights.k));
    // SAFETY: the caller has the instruction set; it contains AVX-512.
    unsafe {
        let tiles = Tiles::configure();
        lanes::run(Isa::Amx, Sweep { tiles: &tiles, weights, x, rows, columns, finish });
    }
}

struct Sweep<'a> {
    tiles: &'a Tiles,
    weights: Weights<'a>,
    x: &'a [f32],
    rows: Range<usize>,
    columns: Range<usize>,
    finish: &'a Finish<'a>,
}

impl Body for Sweep<'_> {
    type Out = ();

    #[inline(always)]
    fn call<L: Lanes>(self, l: L) {
        epilogue::dispatch!(self.finish.activation(), A => self.sweep::<L, A>(l));
    }
}

impl Sweep<'_> {
    #[inline(always)]
    fn sweep<L: Lanes, A: Apply>(self, l: L) {
        let Self { tiles, weights, x, rows, columns, finish } = self;
        let Weights { kind, k, blocks, scales } = weights;
        let (size, steps) = (kind.block(k), k.div_ceil(kind.depth()));
        let runs = size.div_ceil(RUN).max(1);
        let resident = (RESIDENT / size.max(1)).clamp(1, columns.len());
        let mut scratch = Scratch::take();
        let sums_of = BLOCK * BLOCK;
        let scratch = scratch.at_least::<f32>(resident.max(2) * sums_of + size / 4 + BLOCK);
        let (sums, rest) = scratch.split_at_mut(resident.max(2) * sums_of);
        let (left, row_scales) = rest.split_at_mut(size / 4);
        // SAFETY: bytes are bytes.
        let left = unsafe { std::slice::from_raw_parts_mut(left.as_mut_ptr().cast::<u8>(), size) };
        for first in columns.clone().step_by(resident) {
            let panels = first..columns.end.min(first + resident);
            for row in rows.clone().step_by(BLOCK) {
                let height = BLOCK.min(rows.end - row);
                let two = height > 16;
                convert(weights, &x[row * k..(row + height) * k], height, left, row_scales);
                let mut pending: Option<Tile<BLOCK>> = None;
                for run in 0..runs {
                    let (from, to) = (run * steps / runs, (run + 1) * steps / runs);
                    for panel in panels.clone() {
                        // SAFETY: `sums` has a block for each panel, `left` and `blocks` have all steps.
                        unsafe {
                            let sums = sums.as_mut_ptr().add((panel - first) * sums_of);
                            if run == 0 {
                                tiles.zero(two);
                            } else {
                                tiles.load(two, sums.cast(), 4 * BLOCK);
                            }
                            let b = blocks.as_ptr().add(panel * size);
                            for step in from..to {
                                let at = step * kind.step();
                                tiles.step(kind, two, left.as_ptr().add(at), b.add(at));
                                if let Some(tile) = &mut pending {
                                    tile.rows::<L, A>(l, BLOCK.div_ceil(to - from));
                                }
                            }
                            if let Some(tile) = &mut pending {
                                tile.rows::<L, A>(l, BLOCK);
                            }
                            tiles.store(two, sums.cast(), 4 * BLOCK);
                            let place = Place { row, rows: height, column: panel * BLOCK };
                            if run + 1 == runs {
                                let scales = scales.map(|s| (row_scales.as_ptr(), &s.scale[..]));
                                pending = Some(finish.at(place, sums, scales));
                            }
                        }
                    }
                }
                if let Some(mut tile) = pending {
                    // SAFETY: the caller's rectangle contains the tile.
                    unsafe { tile.rows::<L, A>(l, BLOCK) };
                }
            }
        }
    }
}

/// A block of rows as a left operand; 8-bit codes leave the scales of their rows in `scales`.
fn convert(weights: Weights<'_>, x: &[f32], height: usize, left: &mut [u8], row_scales: &mut [f32]) {
    let Weights { kind, k, scales, .. } = weights;
    if let Some(scales) = scales {
        quantise::rows(
            Isa::Amx,
            x,
            k,
            scales.unsmooth.as_deref(),
            &mut row_scales[..height],
            |row, chunk, codes| {
                let tile = chunk * kind.step() + row / 16 * TILE;
                // SAFETY: bytes are bytes.
                let codes = unsafe { &*(&raw const *codes).cast::<[u8; quantise::CHUNK]>() };
                left[tile + row % 16 * 64..][..64].copy_from_slice(codes);
            },
        );
        return;
    }
    let operand = Operand::deep(x, height, k);
    // SAFETY: tiles imply the AVX-512 sets.
    unsafe {
        if kind == Kind::Split {
            operand.pack_rows::<true>(left);
        } else {
            operand.pack_rows::<false>(left);
        }
    }
}
