use super::encode::{Facts, Side, encode, stride};
use super::{BLANK, Form, Line, Metric, bytes, bytes_mut};
use crate::isa::{self, Isa};

/// Rows that stand together in a tile register.
pub(super) const GROUP: usize = 16;
/// Rows of a tile are padded to whole blocks of two registers.
pub(super) const BLOCK: usize = 2 * GROUP;

/// Products of codes are at most 127², and their sums stay below 2³¹.
pub(super) const LONGEST_INT8: usize = 131_072;

/// A run of gallery rows, made ready for a form: rounded rows, one bias each, and the largest norm and residue.
///
/// A bound holds for a whole tile, so a row of another size than the rest costs its neighbours their bounds and no
/// others. 256 to 1,024 rows are good.
#[derive(Clone, Debug)]
pub struct Tile {
    isa: Isa,
    form: Form,
    metric: Metric,
    dim: usize,
    rows: usize,
    /// Rounded rows one after another; where there are tile registers, in groups of 16 rows with the first line of each,
    /// the second of each and so on, so that a register is loaded from one run of memory.
    lines: Vec<Line>,
    pub(super) scales: Vec<f32>,
    pub(super) biases: Vec<f32>,
    /// The largest of each fact but the scale.
    pub(super) reach: Facts,
    /// Room for one row.
    moved: Vec<f32>,
    row: Vec<Line>,
}

impl Tile {
    /// A tile without rows, to be filled.
    pub fn new(form: Form, metric: Metric, dim: usize) -> Tile {
        Tile::on(isa::current(), form, metric, dim)
    }

    /// As [`new`](Self::new) on an instruction set of [`isa::available`].
    ///
    /// # Panics
    /// If the instruction set is above the current one or cannot compute the form.
    pub fn on(isa: Isa, form: Form, metric: Metric, dim: usize) -> Tile {
        assert!(isa <= isa::current() && form.runs_on(isa), "{form:?} on {isa}");
        assert!(form != Form::Int8 || dim <= LONGEST_INT8, "sums over {dim} products of codes leave 32 bits");
        Tile {
            isa,
            form,
            metric,
            dim,
            rows: 0,
            lines: Vec::new(),
            scales: Vec::new(),
            biases: Vec::new(),
            reach: Facts::default(),
            moved: Vec::new(),
            row: Vec::new(),
        }
    }

    /// Takes other rows, `[rows, dim]`, all finite. `centre` must be that of the queries; where the form is
    /// [`Form::Single`] it is not used.
    ///
    /// # Panics
    /// If `values` is not whole rows, or `centre` not one.
    pub fn fill(&mut self, values: &[f32], centre: &[f32]) {
        let dim = self.dim;
        assert!(values.len().is_multiple_of(dim) && centre.len() == dim, "rows of {dim} and a centre");
        self.rows = values.len() / dim;
        let stride = stride(self.form, dim);
        self.clear();
        let zero;
        let centre = if self.form == Form::Single {
            zero = vec![0.0; dim];
            &zero
        } else {
            centre
        };
        let steps = stride / 64;
        let tiled = self.isa == Isa::Amx;
        self.row.resize(steps, BLANK);
        for (at, row) in values.chunks_exact(dim).enumerate() {
            let out = if tiled { &mut self.row } else { &mut self.lines[at * steps..(at + 1) * steps] };
            let out = bytes_mut(out);
            let facts =
                encode(self.isa, self.form, self.metric, Side::Row, row, centre, &mut self.moved, out);
            if tiled {
                let first = at / GROUP * GROUP * steps + at % GROUP;
                for (step, line) in self.row.iter().enumerate() {
                    self.lines[first + step * GROUP] = *line;
                }
            }
            self.scales[at] = facts.scale;
            self.biases[at] = facts.bias;
            self.reach.widen(&facts);
        }
    }

    /// Takes rows of other tiles of the same kind, by their places there.
    ///
    /// # Panics
    /// If a tile is of another kind, or has no such row.
    pub fn gather<'a>(&mut self, rows: impl ExactSizeIterator<Item = (&'a Tile, usize)>) {
        self.rows = rows.len();
        let steps = stride(self.form, self.dim) / 64;
        self.clear();
        let place = |at: usize, step: usize| match self.isa {
            Isa::Amx => at / GROUP * GROUP * steps + step * GROUP + at % GROUP,
            _ => at * steps + step,
        };
        for (at, (from, row)) in rows.enumerate() {
            from.check(self.isa, self.form, self.metric, self.dim);
            assert!(row < from.rows, "row {row} of {}", from.rows);
            for step in 0..steps {
                self.lines[place(at, step)] = from.lines[place(row, step)];
            }
            (self.scales[at], self.biases[at]) = (from.scales[row], from.biases[row]);
            self.reach.widen(&from.reach);
        }
    }

    /// Room for the rows, of which nothing is known yet.
    fn clear(&mut self) {
        let stride = stride(self.form, self.dim);
        let padded = self.rows.next_multiple_of(BLOCK);
        self.lines.resize(padded * stride / 64, BLANK);
        // The last block may have room left, where no row of earlier fillings must stay.
        self.lines[self.rows / BLOCK * BLOCK * stride / 64..].fill(BLANK);
        self.scales.clear();
        self.scales.resize(padded, 0.0);
        self.biases.clear();
        self.biases.resize(padded, 0.0);
        self.reach = Facts::default();
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// The form that the rows are in.
    pub fn form(&self) -> Form {
        self.form
    }

    /// Bytes that a tile of so many rows holds.
    pub fn memory_bytes(form: Form, rows: usize, dim: usize) -> usize {
        rows.next_multiple_of(BLOCK) * (stride(form, dim) + 8)
            + 4 * dim
            + stride(form, dim)
            + size_of::<Tile>()
    }

    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    pub(super) fn bytes(&self) -> &[u8] {
        bytes(&self.lines)
    }
}

impl Tile {
    /// # Panics
    /// If the tile is not of this kind.
    pub(super) fn check(&self, isa: Isa, form: Form, metric: Metric, dim: usize) {
        let own = (self.isa, self.form, self.metric, self.dim);
        assert!(
            own == (isa, form, metric, dim),
            "a tile of {own:?} against queries of {:?}",
            (isa, form, metric, dim)
        );
    }
}
