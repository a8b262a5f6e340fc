use super::Activation;
use crate::isa::Isa;
use crate::lanes::{self, Body, Lanes};

/// What is done to a product before it is stored, in this order: bias, `keep`, activation, residual.
#[derive(Debug, Default)]
pub struct Epilogue<'a> {
    /// `[n]`, added to every row.
    pub bias: Option<&'a [f32]>,
    /// Applied to product and bias.
    pub activation: Option<Activation>,
    /// `[m, n]`: where the values before the activation are left, for the backward pass.
    pub keep: Option<&'a mut [f32]>,
    /// `[m, n]`, added last.
    pub residual: Option<&'a [f32]>,
}

/// An epilogue with the output, shared by tasks that write rectangles of their own.
pub(super) struct Finish<'a> {
    m: usize,
    n: usize,
    y: *mut f32,
    keep: Option<*mut f32>,
    bias: Option<&'a [f32]>,
    activation: Option<Activation>,
    residual: Option<&'a [f32]>,
}

// SAFETY: the pointers are to exclusively borrowed slices of `m·n` numbers, and `tile` asks its callers to write
// rectangles that do not overlap.
unsafe impl Sync for Finish<'_> {}

/// Where a tile of sums stands in the output.
#[derive(Clone, Copy)]
pub(super) struct Place {
    pub(super) row: usize,
    pub(super) rows: usize,
    pub(super) column: usize,
}

impl<'a> Finish<'a> {
    /// # Panics
    /// If a slice does not have the length that its shape says.
    pub(super) fn new(epilogue: Epilogue<'a>, m: usize, n: usize, y: &'a mut [f32]) -> Self {
        let full = |len: usize| len == m * n;
        let Epilogue { bias, activation, keep, residual } = epilogue;
        assert!(
            full(y.len())
                && bias.is_none_or(|bias| bias.len() == n)
                && keep.as_ref().is_none_or(|keep| full(keep.len()))
                && residual.is_none_or(|residual| full(residual.len())),
            "the output or the epilogue of a product of {m}×{n} has slices of other lengths"
        );
        Self { m, n, y: y.as_mut_ptr(), keep: keep.map(<[f32]>::as_mut_ptr), bias, activation, residual }
    }

    pub(super) fn activation(&self) -> Option<Activation> {
        self.activation
    }

    /// The tile at `place`, as wide as the output allows there. `sums` points to rows of `W` sums, of 32-bit integers
    /// where there are scales: of the rows of the tile, and of all output channels.
    ///
    /// # Panics
    /// If the place lies outside of the output.
    pub(super) fn at<const W: usize>(
        &self,
        Place { row, rows, column }: Place,
        sums: *const f32,
        scales: Option<(*const f32, &[f32])>,
    ) -> Tile<W> {
        assert!(row + rows <= self.m && column < self.n);
        let at = row * self.n + column;
        Tile {
            width: W.min(self.n - column),
            done: 0,
            height: rows,
            stride: self.n,
            sums,
            scales: scales.map(|(rows, all)| (rows, all[column..].as_ptr())),
            bias: self.bias.map(|bias| bias[column..].as_ptr()),
            // SAFETY: the place lies inside the output, and so inside what is as large.
            keep: self.keep.map(|keep| unsafe { keep.add(at) }),
            residual: self.residual.map(|residual| residual[at..].as_ptr()),
            // SAFETY: as above.
            y: unsafe { self.y.add(at) },
        }
    }

    /// Finishes and stores a tile.
    ///
    /// # Safety
    /// `sums` and `scales` are readable, and no other thread writes to the tile.
    pub(super) unsafe fn tile<const W: usize>(
        &self,
        isa: Isa,
        place: Place,
        sums: *const f32,
        scales: Option<(*const f32, &[f32])>,
    ) {
        lanes::run(isa, Whole { tile: self.at::<W>(place, sums, scales), activation: self.activation });
    }
}

/// A tile that is finished at once.
struct Whole<const W: usize> {
    tile: Tile<W>,
    activation: Option<Activation>,
}

impl<const W: usize> Body for Whole<W> {
    type Out = ();

    #[inline(always)]
    fn call<L: Lanes>(mut self, l: L) {
        // SAFETY: passed on to the caller of `Finish::tile`.
        dispatch!(self.activation, A => unsafe { self.tile.rows::<L, A>(l, self.tile.height) });
    }
}

/// One tile on its way to the output: pointers to its first number in everything that takes part. All rows have
/// `width ≤ W` numbers there.
pub(super) struct Tile<const W: usize> {
    width: usize,
    done: usize,
    height: usize,
    stride: usize,
    sums: *const f32,
    scales: Option<(*const f32, *const f32)>,
    bias: Option<*const f32>,
    keep: Option<*mut f32>,
    residual: Option<*const f32>,
    y: *mut f32,
}

/// An activation as a type: a closure would be compiled without the instructions of the lanes where it is not inlined.
pub(super) trait Apply {
    fn apply<L: Lanes>(l: L, v: L::V) -> L::V;
}

/// No activation.
pub(super) struct Identity;

impl Apply for Identity {
    #[inline(always)]
    fn apply<L: Lanes>(_: L, v: L::V) -> L::V {
        v
    }
}

macro_rules! apply {
    ($($name:ident)*) => {
        $(
            pub(super) struct $name;
            impl Apply for $name {
                #[inline(always)]
                fn apply<L: Lanes>(l: L, v: L::V) -> L::V {
                    Activation::$name.lanes_value(l, v)
                }
            }
        )*
    };
}
apply!(Gelu GeluTanh Relu Silu Tanh);

/// Runs an expression with `A` as the type of an activation.
macro_rules! dispatch {
    ($activation:expr, $a:ident => $run:expr) => {{
        use $crate::linear::epilogue;
        match $activation {
            None => {
                type $a = epilogue::Identity;
                $run
            }
            Some($crate::activation::Activation::Gelu) => {
                type $a = epilogue::Gelu;
                $run
            }
            Some($crate::activation::Activation::GeluTanh) => {
                type $a = epilogue::GeluTanh;
                $run
            }
            Some($crate::activation::Activation::Relu) => {
                type $a = epilogue::Relu;
                $run
            }
            Some($crate::activation::Activation::Silu) => {
                type $a = epilogue::Silu;
                $run
            }
            Some($crate::activation::Activation::Tanh) => {
                type $a = epilogue::Tanh;
                $run
            }
        }
    }};
}
pub(super) use dispatch;

impl<const W: usize> Tile<W> {
    /// Finishes and stores the next `count` rows, or those that are left.
    ///
    /// # Safety
    /// `sums` and `scales` are readable, and no other thread writes to the tile.
    #[inline(always)]
    pub(super) unsafe fn rows<L: Lanes, A: Apply>(&mut self, l: L, count: usize) {
        let rows = self.done..self.height.min(self.done + count);
        self.done = rows.end;
        for r in rows {
            for column in (0..self.width).step_by(L::N) {
                let part = (self.width - column).min(L::N);
                // SAFETY: `part` lanes from `column` on lie inside every row (`Finish::at`).
                unsafe {
                    if part == L::N {
                        self.lanes::<L, A, true>(l, r, column, part);
                    } else {
                        self.lanes::<L, A, false>(l, r, column, part);
                    }
                }
            }
        }
    }

    /// Lanes from `column` on of row `r`: all of them, or the first `part`.
    ///
    /// # Safety
    /// They lie inside the row.
    #[inline(always)]
    unsafe fn lanes<L: Lanes, A: Apply, const ALL: bool>(&self, l: L, r: usize, column: usize, part: usize) {
        // SAFETY: passed on to the caller.
        unsafe {
            let at = r * self.stride + column;
            let sums = self.sums.add(r * W + column);
            let mut v = match self.scales {
                None => l.load(sums),
                Some((rows, columns)) => {
                    let scale = load::<L, ALL>(l, columns.add(column), part);
                    l.mul(l.load_whole(sums.cast()), l.mul(l.splat(*rows.add(r)), scale))
                }
            };
            if let Some(bias) = self.bias {
                v = l.add(v, load::<L, ALL>(l, bias.add(column), part));
            }
            if let Some(keep) = self.keep {
                store::<L, ALL>(l, keep.add(at), part, v);
            }
            v = A::apply(l, v);
            if let Some(residual) = self.residual {
                v = l.add(v, load::<L, ALL>(l, residual.add(at), part));
            }
            store::<L, ALL>(l, self.y.add(at), part, v);
        }
    }
}

/// # Safety
/// `from` is readable over the lanes.
#[inline(always)]
unsafe fn load<L: Lanes, const ALL: bool>(l: L, from: *const f32, part: usize) -> L::V {
    // SAFETY: passed on to the caller.
    unsafe { if ALL { l.load(from) } else { l.load_part(from, part) } }
}

/// # Safety
/// `to` is writable over the lanes.
#[inline(always)]
unsafe fn store<L: Lanes, const ALL: bool>(l: L, to: *mut f32, part: usize, v: L::V) {
    // SAFETY: passed on to the caller.
    unsafe { if ALL { l.store(to, v) } else { l.store_part(to, part, v) } }
}
