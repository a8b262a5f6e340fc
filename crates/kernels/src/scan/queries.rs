use super::encode::{self, Facts, U, encode, stride};
use super::select::{Raw, select};
#[cfg(target_arch = "x86_64")]
use super::single;
use super::tile::{BLOCK, GROUP, LONGEST_INT8};
use super::{BLANK, Form, Line, Metric, Tile, bytes, bytes_mut, on};
use crate::isa::{self, Isa};
use crate::{exact, gemm};

/// Hits that are handed over together; floors are looked at again after each.
const BATCH: usize = 256;
/// Gallery rows and queries of a 32-bit product: a block of values stays in the cache.
const SINGLE: Shape = Shape { deep: 128, wide: 64, batch: BATCH };
/// Fewer queries than these would leave most of a panel empty.
const FEWEST: usize = 6;
/// Where products are compared in registers: the rows stay in the first cache, the queries in the second.
const FUSED: Shape = Shape { deep: 48, wide: 256, batch: 4 * BATCH };

/// Gallery rows and queries that are compared together, and hits after which they are handed over.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) deep: usize,
    pub(super) wide: usize,
    pub(super) batch: usize,
}

impl Shape {
    pub(super) fn of(form: Form, fused: bool) -> Shape {
        match form {
            Form::Single if fused => FUSED,
            Form::Single => SINGLE,
            _ => Shape { deep: BLOCK, wide: BLOCK, batch: BATCH },
        }
    }

    pub(super) fn most_hits(self) -> usize {
        self.batch + self.deep * self.wide
    }
}

/// A pair whose score may reach its query's floor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hit {
    /// The place of the query among the queries.
    pub query: usize,
    /// The place of the row in the tile.
    pub row: usize,
    /// What the tile says of the score.
    pub score: f64,
    /// The exact score is at most this far from it; infinite where the tile says nothing.
    pub error: f64,
}

/// What a scan hands its hits to.
pub trait Sink {
    /// A score below which nothing matters for a query any more; −∞ for everything. May rise from call to call.
    fn floor(&mut self, query: usize) -> f64;
    /// Takes a pair whose score may be at least the floor that was last given for its query.
    fn hit(&mut self, hit: Hit);
    /// Comes after a batch of hits, before floors are asked for again: the time to score in one go what was left open.
    fn settle(&mut self) {}
}

/// Room for a scan, to be used again by the next.
#[derive(Debug, Default)]
pub struct Scratch {
    pub(super) block: Vec<Line>,
    #[cfg(target_arch = "x86_64")]
    pub(super) panels: Vec<Line>,
    pub(super) side: Side,
    /// The other direction of [`Mutual`](super::Mutual).
    pub(super) back: Side,
}

/// What a scan keeps for its queries.
#[derive(Debug, Default)]
pub(super) struct Side {
    pub(super) hits: Vec<Raw>,
    pub(super) floors: Vec<f32>,
    pub(super) errors: Vec<f64>,
}

impl Scratch {
    /// Hits that come before the sink may settle them, at most.
    pub fn most_hits(form: Form) -> usize {
        Shape::of(form, true).most_hits().max(Shape::of(form, false).most_hits())
    }

    /// Bytes that it holds at most.
    pub fn memory_bytes(form: Form) -> usize {
        let block = Shape::of(form, false);
        4 * block.deep * block.wide
            + 3 * Scratch::most_hits(form) * size_of::<Raw>()
            + 12 * block.wide.max(Shape::of(form, true).wide)
    }
}

/// A block of queries, made ready for a form: as many as share a tile.
#[derive(Debug)]
pub struct Queries<'a> {
    pub(super) isa: Isa,
    form: Form,
    pub(super) metric: Metric,
    pub(super) dim: usize,
    pub(super) values: &'a [f32],
    /// Panels of 16 queries: of each run of 64 bytes, 16 lines with four bytes of every query.
    panels: Vec<Line>,
    /// Rounded queries one after another, where no tile registers are there to read panels.
    plain: Vec<Line>,
    facts: Vec<Facts>,
    /// What a value lacks to a score: x·μ or −‖x − μ‖².
    lifts: Vec<f64>,
    /// ‖μ‖.
    centre: f64,
}

impl<'a> Queries<'a> {
    /// Makes queries `[n, dim]`, all finite, ready for tiles of the same form, metric and centre.
    ///
    /// # Panics
    /// If `values` is not whole rows, or `centre` not one.
    pub fn new(form: Form, metric: Metric, values: &'a [f32], dim: usize, centre: &[f32]) -> Self {
        Queries::on(isa::current(), form, metric, values, dim, centre)
    }

    /// As [`new`](Self::new) on an instruction set of [`isa::available`].
    ///
    /// # Panics
    /// As [`new`](Self::new), and if the instruction set is above the current one or cannot compute the form.
    pub fn on(isa: Isa, form: Form, metric: Metric, values: &'a [f32], dim: usize, centre: &[f32]) -> Self {
        let mut queries = Queries::without_panels(isa, form, metric, values, dim, centre);
        #[cfg(target_arch = "x86_64")]
        if fused(isa, form, queries.len()) {
            single::pack(values, dim, &mut queries.panels);
        }
        queries
    }

    /// As [`on`](Self::on); 32-bit queries are not laid out in panels.
    pub(super) fn without_panels(
        isa: Isa,
        form: Form,
        metric: Metric,
        values: &'a [f32],
        dim: usize,
        centre: &[f32],
    ) -> Self {
        assert!(isa <= isa::current() && form.runs_on(isa), "{form:?} on {isa}");
        assert!(form != Form::Int8 || dim <= LONGEST_INT8, "sums over {dim} products of codes leave 32 bits");
        assert!(
            dim > 0 && values.len().is_multiple_of(dim) && centre.len() == dim,
            "rows of {dim} and a centre"
        );
        let zero;
        let centre = if form == Form::Single {
            zero = vec![0.0; dim];
            &zero
        } else {
            centre
        };
        let (count, stride) = (values.len() / dim, stride(form, dim));
        let tiled = isa == Isa::Amx && form != Form::Single;
        let padded = if tiled { count.next_multiple_of(2 * GROUP) } else { count };
        let mut plain = vec![BLANK; padded * stride / 64];
        let mut moved = Vec::new();
        let facts: Vec<Facts> = values
            .chunks_exact(dim)
            .enumerate()
            .map(|(at, row)| {
                let out = &mut bytes_mut(&mut plain)[at * stride..(at + 1) * stride];
                encode(isa, form, metric, encode::Side::Query, row, centre, &mut moved, out)
            })
            .collect();
        let lifts = values
            .chunks_exact(dim)
            .map(|row| match metric {
                Metric::Dot => exact::dot(row, centre),
                Metric::Euclidean => -exact::squared_distance(row, centre),
            })
            .collect();
        let panels = if tiled { interleave(&plain, stride) } else { Vec::new() };
        if tiled {
            plain = Vec::new();
        }
        let centre = exact::dot(centre, centre).sqrt();
        Queries { isa, form, metric, dim, values, panels, plain, facts, lifts, centre }
    }

    /// The number of queries.
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// The form that the queries are in.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Bytes that so many queries hold, beside what they were made of.
    pub fn memory_bytes(form: Form, count: usize, dim: usize) -> usize {
        let panels = if form == Form::Single { 4 * count.next_multiple_of(GROUP) * dim } else { 0 };
        panels + Queries::memory_bytes_without_panels(form, count, dim)
    }

    pub(super) fn memory_bytes_without_panels(form: Form, count: usize, dim: usize) -> usize {
        // Panels of tile registers and the rows that they are made of exist together for a moment.
        2 * count.next_multiple_of(2 * GROUP) * stride(form, dim) + count * (size_of::<Facts>() + 8) + 8 * dim
    }

    /// A bound on |[`Hit::score`] − exact score| of a query against any row of a tile; infinite where 32 bits could
    /// overflow.
    pub fn error(&self, query: usize, tile: &Tile) -> f64 {
        let (x, y) = (&self.facts[query], &tile.reach);
        let rounding = x.residue * y.norm + (x.norm + x.residue) * y.residue + x.low * y.low;
        let (nx, ny) = (x.norm + x.residue, y.norm + y.residue);
        let bias = match self.metric {
            Metric::Dot => self.centre * ny,
            Metric::Euclidean => 0.5 * ny * ny,
        };
        // The parts of a row in two are summed over three times as many products, of slightly larger norms.
        let terms = if self.form == Form::Split { 3 * self.dim } else { self.dim };
        let sum = exact::product_error(terms + 32, nx, ny, 1.02 * nx * ny + 2.0 * bias);
        // Lifts are sums in 64 bits.
        let lift = match self.metric {
            Metric::Dot => (x.norm + self.centre) * self.centre,
            Metric::Euclidean => x.norm * x.norm,
        };
        let factor = if self.metric == Metric::Dot { 1.0 } else { 2.0 };
        factor * (rounding + sum) * (1.0 + 64.0 * U) + 1e-12 * lift
    }

    /// Scores every query against every row of the tile, whose rows as they are are `values`, and hands on what may reach
    /// its query's floor. Hits of one query come in the order of their rows.
    ///
    /// # Panics
    /// If the tile is of another form, metric, dimension or instruction set, or `values` of another length.
    pub fn scan(&self, tile: &Tile, values: &[f32], scratch: &mut Scratch, sink: &mut impl Sink) {
        self.scan_before(None, tile, values, scratch, sink);
    }

    /// As [`scan`](Self::scan), and fetches the tile that comes `next` into the cache meanwhile. That is worth it where
    /// there are some hundred queries: each tile is then read from memory while another is computed.
    ///
    /// # Panics
    /// As [`scan`](Self::scan).
    pub fn scan_before(
        &self,
        next: Option<&Tile>,
        tile: &Tile,
        values: &[f32],
        scratch: &mut Scratch,
        sink: &mut impl Sink,
    ) {
        tile.check(self.isa, self.form, self.metric, self.dim);
        assert!(self.form != Form::Single || values.len() == tile.len() * self.dim, "the rows of the tile");
        if tile.is_empty() {
            return;
        }
        let fused = fused(self.isa, self.form, self.len());
        let Shape { deep, wide, batch } = Shape::of(self.form, fused);
        if !fused {
            scratch.block.resize(wide * deep / 16, BLANK);
        }
        #[cfg(target_arch = "x86_64")]
        let registers = (self.isa == Isa::Amx && self.form != Form::Single).then(|| {
            // SAFETY: the instruction set is at most the current one, so AMX was found and permission given.
            unsafe { super::amx::Registers::lay_out() }
        });
        let blocks = self.len().div_ceil(wide) * tile.len().div_ceil(deep);
        let mut coming = next.map_or([].as_slice(), Tile::lines);
        let share = coming.len().div_ceil(blocks.max(1));
        for first in (0..self.len()).step_by(wide) {
            let columns = wide.min(self.len() - first);
            self.errors(first, columns, tile, &mut scratch.side);
            self.floors(first, columns, wide, &mut scratch.side, sink);
            for row in (0..tile.len()).step_by(deep) {
                let rows = deep.min(tile.len() - row);
                let Scratch { block, side: Side { hits, floors, .. }, .. } = &mut *scratch;
                let (now, later) = coming.split_at(share.min(coming.len()));
                now.iter().for_each(fetch);
                coming = later;
                #[cfg(target_arch = "x86_64")]
                if fused {
                    let block = single::Block {
                        dim: self.dim,
                        rows: &values[row * self.dim..(row + rows) * self.dim],
                        first_row: row,
                        biases: &tile.biases[row..row + rows],
                        panels: &written(&self.panels)[first * self.dim..],
                        columns,
                        floors,
                        coming: &values
                            [(row + rows) * self.dim..(row + rows + deep).min(tile.len()) * self.dim],
                    };
                    // SAFETY: the instruction set is at most the current one, so AVX2 and FMA were found.
                    unsafe { block.select(hits) };
                    if hits.len() >= batch {
                        self.hand_over(first, &mut scratch.side, sink);
                        self.floors(first, columns, wide, &mut scratch.side, sink);
                    }
                    continue;
                }
                let block = numbers(block);
                let width = match self.form {
                    Form::Single => {
                        let a = &values[row * self.dim..(row + rows) * self.dim];
                        let b = &self.values[first * self.dim..(first + columns) * self.dim];
                        gemm::nt(rows, columns, self.dim, a, b, 0.0, &mut block[..rows * columns]);
                        columns
                    }
                    _ => {
                        #[cfg(target_arch = "x86_64")]
                        match &registers {
                            Some(registers) => self.tiled(registers, tile, first, row, block),
                            None => self.integers(tile, first, columns, row, rows, block),
                        }
                        #[cfg(not(target_arch = "x86_64"))]
                        self.integers(tile, first, columns, row, rows, block);
                        BLOCK
                    }
                };
                if self.form == Form::Int8 {
                    self.scale(tile, first, columns, row, rows, block);
                }
                select(
                    self.isa,
                    &block[..rows * width],
                    width,
                    columns,
                    &tile.biases[row..row + rows],
                    &floors[..],
                    row,
                    hits,
                );
                if hits.len() >= batch {
                    self.hand_over(first, &mut scratch.side, sink);
                    self.floors(first, columns, wide, &mut scratch.side, sink);
                }
            }
            self.hand_over(first, &mut scratch.side, sink);
        }
    }

    /// The bounds of some queries against a tile.
    pub(super) fn errors(&self, first: usize, columns: usize, tile: &Tile, side: &mut Side) {
        side.errors.clear();
        side.errors.extend((first..first + columns).map(|query| self.error(query, tile)));
    }

    /// The 32-bit values below which a pair cannot reach its floor.
    pub(super) fn floors(
        &self,
        first: usize,
        columns: usize,
        wide: usize,
        side: &mut Side,
        sink: &mut impl Sink,
    ) {
        let Side { floors, errors, .. } = side;
        floors.clear();
        floors.resize(wide, f32::INFINITY);
        let half = if self.metric == Metric::Dot { 1.0 } else { 0.5 };
        for (at, (floor, error)) in floors[..columns].iter_mut().zip(errors).enumerate() {
            let query = first + at;
            *floor = (((sink.floor(query) - self.lifts[query] - *error) * half) as f32).next_down();
        }
    }

    /// Gives the sink its hits, of queries from `first` on.
    pub(super) fn hand_over(&self, first: usize, side: &mut Side, sink: &mut impl Sink) {
        let factor = if self.metric == Metric::Dot { 1.0 } else { 2.0 };
        for raw in &side.hits {
            let query = first + raw.column as usize;
            let (score, error) =
                (factor * f64::from(raw.value) + self.lifts[query], side.errors[raw.column as usize]);
            // Infinite errors and values that overflowed decide nothing.
            let decided = (score.abs() + error).is_finite();
            let (score, error) = if decided { (score, error) } else { (0.0, f64::INFINITY) };
            sink.hit(Hit { query, row: raw.row as usize, score, error });
        }
        if !side.hits.is_empty() {
            sink.settle();
        }
        side.hits.clear();
    }

    #[cfg(target_arch = "x86_64")]
    fn tiled(
        &self,
        registers: &super::amx::Registers,
        tile: &Tile,
        first: usize,
        row: usize,
        block: &mut [f32],
    ) {
        use super::amx::{Product, product};
        let stride = stride(self.form, self.dim);
        let kind = if self.form == Form::Int8 { Product::Int8 } else { Product::Bf16 };
        let panels = &bytes(&self.panels)[first * stride..];
        product(registers, kind, &tile.bytes()[row * stride..], stride, panels, block);
    }

    /// Sums of products of codes without tile registers, as integers in the place of the 32-bit values.
    fn integers(
        &self,
        tile: &Tile,
        first: usize,
        columns: usize,
        row: usize,
        rows: usize,
        block: &mut [f32],
    ) {
        let stride = stride(self.form, self.dim);
        let (a, b) = (&tile.bytes()[row * stride..], &bytes(&self.plain)[first * stride..]);
        for (a, out) in a.chunks_exact(stride).take(rows).zip(block.chunks_exact_mut(BLOCK)) {
            for (b, out) in b.chunks_exact(stride).take(columns).zip(out) {
                let sum = on!(self.isa, codes_dot(a: &[u8], b: &[u8]) -> i32);
                *out = f32::from_bits(sum as u32);
            }
        }
    }

    /// Integer sums made numbers, in place.
    fn scale(&self, tile: &Tile, first: usize, columns: usize, row: usize, rows: usize, block: &mut [f32]) {
        let mut scales = [0.0f32; BLOCK];
        for (scale, facts) in scales.iter_mut().zip(&self.facts[first..first + columns]) {
            *scale = facts.scale;
        }
        let (of_rows, scales) = (&tile.scales[row..row + rows], &scales);
        on!(self.isa, scale_block(block: &mut [f32], of_rows: &[f32], scales: &[f32; BLOCK]));
    }
}

/// Asks for a cache line, to the second cache.
#[inline(always)]
fn fetch(line: &Line) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a prefetch has no effect on what a program computes, whatever the address; this one is of a line.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(
            std::ptr::from_ref(line).cast(),
        );
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}

/// Whether so many queries are laid out for products that are compared in registers.
fn fused(isa: Isa, form: Form, queries: usize) -> bool {
    isa == Isa::Avx2 && form == Form::Single && queries >= FEWEST
}

#[inline(always)]
fn scale_block(block: &mut [f32], of_rows: &[f32], scales: &[f32; BLOCK]) {
    for (values, &row) in block.as_chunks_mut::<BLOCK>().0.iter_mut().zip(of_rows) {
        for (value, scale) in values.iter_mut().zip(scales) {
            *value = value.to_bits() as i32 as f32 * row * scale;
        }
    }
}

#[inline(always)]
fn codes_dot(a: &[u8], b: &[u8]) -> i32 {
    let mut lanes = [0i32; 32];
    for (a, b) in a.as_chunks::<64>().0.iter().zip(b.as_chunks::<64>().0) {
        for lane in 0..32 {
            let product = |at: usize| i32::from(i16::from(a[at] as i8) * i16::from(b[at] as i8));
            lanes[lane] += product(2 * lane) + product(2 * lane + 1);
        }
    }
    lanes.iter().sum()
}

/// Rows of `stride` bytes, a multiple of 64, as panels of 16.
fn interleave(rows: &[Line], stride: usize) -> Vec<Line> {
    let mut panels = vec![BLANK; rows.len()];
    let steps = stride / 64;
    for (rows, panel) in rows.chunks_exact(GROUP * steps).zip(panels.chunks_exact_mut(GROUP * steps)) {
        for step in 0..steps {
            for query in 0..GROUP {
                let words = rows[query * steps + step].0.as_chunks::<4>().0.iter();
                for (word, line) in words.zip(&mut panel[step * 16..step * 16 + 16]) {
                    line.0[query * 4..query * 4 + 4].copy_from_slice(word);
                }
            }
        }
    }
    panels
}

pub(super) fn numbers(lines: &mut [Line]) -> &mut [f32] {
    let bytes = bytes_mut(lines);
    // SAFETY: the bytes stand on a multiple of 64 and every pattern of bits is a number.
    unsafe { std::slice::from_raw_parts_mut(bytes.as_mut_ptr().cast(), bytes.len() / 4) }
}

#[cfg(target_arch = "x86_64")]
pub(super) fn written(lines: &[Line]) -> &[f32] {
    let bytes = bytes(lines);
    // SAFETY: as in `numbers`.
    unsafe { std::slice::from_raw_parts(bytes.as_ptr().cast(), bytes.len() / 4) }
}
