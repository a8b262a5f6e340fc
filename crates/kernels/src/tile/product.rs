//! The product of a tile, summed in registers.

use crate::isa::{self, Isa};
use crate::lanes::{self, Body, Lanes};

/// Rows, and vectors of columns, whose sums are kept in registers together: 24 of 32, beside four of `b` and a factor.
const ROWS: usize = 6;
const VECTORS: usize = 4;

/// Steps of the inner dimension between a load and a store of sums.
const DEPTH: usize = 256;

/// `c[m, n] (+)= a[m, k] · b[k, n]`: `a` with any strides, `b` and `c` with rows of consecutive values.
#[derive(Clone, Copy)]
pub struct Product<T> {
    pub(crate) m: usize,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) a: *const T,
    pub(crate) a_row: usize,
    pub(crate) a_column: usize,
    pub(crate) b: *const T,
    pub(crate) b_row: usize,
    pub(crate) c: *mut T,
    pub(crate) c_row: usize,
    /// Whether the product is added to what stands in `c`.
    pub(crate) add: bool,
}

/// Number types, and whether their products are made here.
pub trait Products: Sized {
    /// Whether this machine has a kernel for the type.
    fn fast() -> bool;

    /// Multiplies, where [`fast`](Self::fast).
    ///
    /// # Safety
    /// All elements that shape and strides reach are readable, those of `c` writable and reached by no one else.
    unsafe fn multiply(product: Product<Self>);
}

impl Products for f32 {
    #[inline]
    fn fast() -> bool {
        isa::current() >= Isa::Avx512
    }

    unsafe fn multiply(product: Product<f32>) {
        lanes::run(isa::current(), product);
    }
}

impl Products for f64 {
    #[inline]
    fn fast() -> bool {
        false
    }

    unsafe fn multiply(_product: Product<f64>) {}
}

// SAFETY of the unsafe blocks: what `Products::multiply` asks of its caller holds for every tile of the product, because a
// tile's rows, columns and steps are parts of the product's.
impl Body for Product<f32> {
    type Out = ();

    #[inline(always)]
    fn call<L: Lanes>(self, l: L) {
        let width = VECTORS * L::N;
        for from in (0..self.k.max(1)).step_by(DEPTH) {
            let depth = DEPTH.min(self.k - from);
            let add = self.add || from > 0;
            for column in (0..self.n).step_by(width) {
                let columns = width.min(self.n - column);
                let mut row = 0;
                while row < self.m {
                    let rows = self.m - row;
                    let tile = Product {
                        n: columns,
                        k: depth,
                        a: unsafe { self.a.add(row * self.a_row + from * self.a_column) },
                        b: unsafe { self.b.add(from * self.b_row + column) },
                        c: unsafe { self.c.add(row * self.c_row + column) },
                        add,
                        ..self
                    };
                    row += unsafe {
                        match (rows >= ROWS, rows >= 4, columns == width) {
                            (true, _, true) => tile.sums::<L, ROWS, VECTORS, true>(l),
                            (false, true, true) => tile.sums::<L, 4, VECTORS, true>(l),
                            (false, false, true) => tile.sums::<L, 1, VECTORS, true>(l),
                            (_, true, false) => tile.ends::<L, 4>(l),
                            (_, false, false) => tile.ends::<L, 1>(l),
                        }
                    };
                }
            }
        }
    }
}

impl Product<f32> {
    /// `R` rows of what is left of the columns; returns `R`.
    ///
    /// # Safety
    /// As [`Products::multiply`], for this tile.
    #[inline(always)]
    unsafe fn ends<L: Lanes, const R: usize>(self, l: L) -> usize {
        // SAFETY: the caller's promise.
        unsafe {
            if self.n <= L::N {
                self.sums::<L, R, 1, false>(l)
            } else if self.n <= 2 * L::N {
                self.sums::<L, R, 2, false>(l)
            } else {
                self.sums::<L, R, VECTORS, false>(l)
            }
        }
    }

    /// `R` rows of at most `V` vectors of columns; returns `R`. With `WHOLE` all vectors are full.
    ///
    /// # Safety
    /// As [`Products::multiply`], for this tile.
    #[inline(always)]
    unsafe fn sums<L: Lanes, const R: usize, const V: usize, const WHOLE: bool>(self, l: L) -> usize {
        let load = |p: *const f32, vector: usize| -> L::V {
            let left = self.n.saturating_sub(vector * L::N);
            // SAFETY: `left` values of the row lie from this vector on.
            unsafe {
                if WHOLE || left >= L::N {
                    l.load(p.add(vector * L::N))
                } else if left == 0 {
                    l.splat(0.0)
                } else {
                    l.load_part(p.add(vector * L::N), left)
                }
            }
        };
        // SAFETY: the caller's promise.
        unsafe {
            let mut sums = [[l.splat(0.0); V]; R];
            if self.add {
                for (r, sums) in sums.iter_mut().enumerate() {
                    let c = self.c.add(r * self.c_row).cast_const();
                    *sums = std::array::from_fn(|vector| load(c, vector));
                }
            }
            let (mut a, mut b) = (self.a, self.b);
            for _ in 0..self.k {
                let values: [L::V; V] = std::array::from_fn(|vector| load(b, vector));
                for (r, sums) in sums.iter_mut().enumerate() {
                    let factor = l.splat(*a.add(r * self.a_row));
                    for vector in 0..V {
                        sums[vector] = l.fma(factor, values[vector], sums[vector]);
                    }
                }
                a = a.wrapping_add(self.a_column);
                b = b.wrapping_add(self.b_row);
            }
            for (r, sums) in sums.iter().enumerate() {
                let c = self.c.add(r * self.c_row);
                for (vector, &sum) in sums.iter().enumerate() {
                    let left = self.n.saturating_sub(vector * L::N);
                    if WHOLE || left >= L::N {
                        l.store(c.add(vector * L::N), sum);
                    } else if left > 0 {
                        l.store_part(c.add(vector * L::N), left, sum);
                    }
                }
            }
        }
        R
    }
}
