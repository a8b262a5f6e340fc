//! The distances of a row and their chain rule: inner products in, coefficients of inner products out, and the products
//! that turn those into gradients.

use parallax_kernels::{Real, panel, tile, vector};
use rayon::prelude::*;

use super::{Apart, Left, NearPair, Problem, Scratch};
use crate::distance::{Form, add_difference, of_differences, slope_differences, squared};
use crate::tiling::BLOCK_COLUMNS;

/// Below this share of `nᵢ + nⱼ` a squared distance from the inner product has lost its digits to cancellation.
const NEAR: f64 = 1e-3;

impl<T: Real> Problem<'_, T> {
    /// Inner products of the anchors from `first` with every reference, where the distance uses them.
    pub(super) fn products(&self, first: usize, block: &mut [T]) {
        let Some(references) = &self.products else { return };
        let rows = block.len() / self.r.rows();
        let x = &self.x.values[first * self.dim..(first + rows) * self.dim];
        references.against(rows, x, block);
    }

    /// The distance of one pair.
    pub(super) fn pair(&self, i: usize, j: usize) -> T {
        let (x, r) = (self.x.row(i), self.r.row(j));
        let dot = || x.iter().zip(r).map(|(&a, &b)| a * b).sum::<T>();
        match self.distance.form() {
            Form::Product => dot(),
            Form::Codes => T::of(0.5) * (T::of(self.dim as f64) - dot()),
            Form::Differences { p, power } => of_differences(p, power, x, r),
            form => form.of_squared(squared(x, r), self.x.divisor(i)),
        }
    }

    /// The value of an anchor's pair with itself.
    pub(super) fn with_itself(&self, i: usize) -> T {
        match self.distance.form() {
            Form::Product if self.distance.norm().is_some() => T::ONE,
            Form::Product => self.x.row(i).iter().map(|&v| v * v).sum(),
            Form::Codes => {
                let square: T = self.x.row(i).iter().map(|&v| v * v).sum();
                T::of(0.5) * (T::of(self.dim as f64) - square)
            }
            _ => T::ZERO,
        }
    }

    /// Distances of row `i` in place of its inner products; notes the near columns.
    pub(super) fn distances(&self, i: usize, s: &mut [T], scratch: &mut Scratch<T>) {
        let form = self.distance.form();
        match form {
            Form::Product if self.distance.norm().is_some() => {
                // Rows of length 1: s = 1 − d²/2 keeps the digits of 1 − s, so that coincident rows have similarity 1.
                let limit = T::of(1.0 - NEAR);
                let near = vector::above(s, limit);
                let itself = self.relation.itself(i);
                if near > u64::from(itself.is_some_and(|j| s[j] > limit)) {
                    for (j, s) in s.iter_mut().enumerate().filter(|(j, s)| **s > limit && itself != Some(*j))
                    {
                        *s = T::ONE - T::of(0.5) * squared(self.x.row(i), self.r.row(j));
                    }
                }
            }
            Form::Product => {}
            Form::Codes => {
                let (half, dim) = (T::of(0.5), T::of(self.dim as f64));
                s.iter_mut().for_each(|s| *s = half * (dim - *s));
            }
            Form::Differences { p, power } => {
                let x = self.x.row(i);
                for (s, r) in s.iter_mut().zip(self.r.values.chunks_exact(self.dim)) {
                    *s = of_differences(p, power, x, r);
                }
            }
            Form::Euclidean { .. } | Form::SignalToNoise => {
                scratch.near.clear();
                let n = self.x.squares[i];
                let limit = T::of(NEAR);
                let near = vector::squared_distances(s, n, &self.r.squares, limit);
                let itself = self.relation.itself(i);
                let itself_near = itself.is_some_and(|j| s[j] < limit * (n + self.r.squares[j]));
                if near > u64::from(itself_near) {
                    for (j, &m) in self.r.squares.iter().enumerate() {
                        if s[j] < limit * (n + m) && itself != Some(j) {
                            s[j] = squared(self.x.row(i), self.r.row(j));
                            scratch.near.push(j as u32);
                        }
                    }
                }
                if let Some(itself) = itself {
                    s[itself] = T::ZERO;
                }
                let n = self.x.divisor(i);
                match form {
                    Form::Euclidean { power: 1.0 } => vector::roots(s),
                    Form::Euclidean { power: 2.0 } => {}
                    _ => s.iter_mut().for_each(|s| *s = form.of_squared(*s, n)),
                }
            }
        }
    }

    /// Takes the positives of row `i` out of the scratch, with their gradients.
    pub(super) fn set_apart(
        &self,
        i: usize,
        s: &mut [T],
        scratch: &mut Scratch<T>,
        apart: &mut Vec<Apart<T>>,
    ) {
        let form = self.distance.form();
        let n = self.x.divisor(i);
        let two = T::of(2.0);
        let (columns, values, slopes) = scratch.positives.parts();
        for ((&column, &value), &d) in columns.iter().zip(values).zip(&*slopes) {
            let (q, own) = match form {
                Form::Product | Form::Differences { .. } => (d, T::ZERO),
                Form::Codes => (T::of(-0.5) * d, T::ZERO),
                Form::SignalToNoise => (two * d / n, -(two * d * value / n)),
                Form::Euclidean { .. } => (two * d * form.slope_squared(value, n), T::ZERO),
            };
            s[column as usize] = T::ZERO;
            apart.push(Apart { row: i as u32, column, q, own });
        }
        scratch.positives.clear();
    }

    /// Adds the gradients of pairs that were kept apart, times a factor, to both their ends; those of references to `dx` too
    /// where references are the anchors.
    pub(super) fn gather_apart(
        &self,
        apart: &[Apart<T>],
        factor: T,
        dx: &mut [T],
        mut dr: Option<&mut [T]>,
        itself: bool,
    ) {
        let (dim, norms) = (self.dim, self.distance.form().uses_norms());
        let add = |to: &mut [T], factor: T, from: &[T]| {
            to.iter_mut().zip(from).for_each(|(to, &from)| *to += factor * from);
        };
        for pair in apart {
            let (row, column, q) = (pair.row as usize, pair.column as usize, factor * pair.q);
            let (x, r) = (self.x.row(row), self.r.row(column));
            let side = |to: &mut [T], place: usize, own: &[T], other: &[T]| {
                let to = &mut to[place * dim..][..dim];
                if norms { add_difference(2.0, q, own, other, to) } else { add(to, q, other) }
            };
            side(dx, row, x, r);
            if norms {
                add(&mut dx[row * dim..][..dim], factor * pair.own, x);
            }
            if itself {
                side(dx, column, r, x);
            } else if let Some(dr) = &mut dr {
                side(dr, column, r, x);
            }
        }
    }

    /// Overwrites row `i` with the coefficients of its inner products; returns the coefficient of `xᵢ` itself. The slopes
    /// in the scratch become those coefficients.
    pub(super) fn coefficients(
        &self,
        i: usize,
        s: &mut [T],
        scratch: &mut Scratch<T>,
        itself: T,
        near: &mut Vec<NearPair<T>>,
    ) -> T {
        let form = self.distance.form();
        let others: Vec<(u32, T, T)> = scratch.others.iter().map(|&(c, d)| (c, s[c as usize], d)).collect();
        // What the lists do not cover has no coefficient.
        let covered = scratch.covered;
        match self.relation.itself(i) {
            Some(itself) if covered + 1 == s.len() => s[itself] = T::ZERO,
            _ if covered == s.len() => {}
            _ => s.fill(T::ZERO),
        }
        let two = T::of(2.0);
        if let Form::Product | Form::Codes = form {
            let factor = if form == Form::Codes { T::of(-0.5) } else { T::ONE };
            for side in [&mut scratch.positives, &mut scratch.negatives] {
                if form == Form::Codes {
                    vector::scale(side.parts().2, factor);
                }
                side.scatter(s);
            }
            if let Some(column) = self.relation.itself(i) {
                s[column] += factor * itself;
            }
            others.iter().for_each(|&(c, _, d)| s[c as usize] += factor * d);
            return T::ZERO;
        }
        if let Form::Differences { p, power } = form {
            for side in [&mut scratch.positives, &mut scratch.negatives] {
                let (_, values, slopes) = side.parts();
                for (d, &value) in slopes.iter_mut().zip(values) {
                    *d *= slope_differences(p, power, value);
                }
                side.scatter(s);
            }
            for (c, value, d) in others {
                s[c as usize] += d * slope_differences(p, power, value);
            }
            return T::ZERO;
        }
        // s = f(d²), d² = nᵢ + nⱼ − 2g: the coefficient of g is −q, that of xᵢ and of rⱼ themselves q = 2 f'.
        let n = self.x.divisor(i);
        let mut own = 0.0f64;
        for side in [&mut scratch.positives, &mut scratch.negatives] {
            let (_, values, slopes) = side.parts();
            match form {
                Form::Euclidean { power: 1.0 } => own -= vector::divide_sum(slopes, -T::ONE, values),
                Form::Euclidean { power: 2.0 } => own -= vector::scale_sum(slopes, -two),
                Form::SignalToNoise => {
                    // The divisor nᵢ: ∂s/∂xᵢ has −s/nᵢ · 2xᵢ.
                    own -= 2.0 * vector::dot(values, slopes) / n.f64() + vector::scale_sum(slopes, -two / n);
                }
                _ => {
                    for (d, &value) in slopes.iter_mut().zip(values) {
                        *d *= -two * form.slope_squared(value, n);
                        own -= d.f64();
                    }
                }
            }
            side.scatter(s);
        }
        for (c, value, d) in others {
            let q = two * d * form.slope_squared(value, n);
            if form == Form::SignalToNoise {
                own -= (two * d * value / n).f64();
            }
            s[c as usize] += -q;
            own += q.f64();
        }
        for &column in &scratch.near {
            let q = -std::mem::take(&mut s[column as usize]);
            if q != T::ZERO {
                own -= q.f64();
                near.push(NearPair { row: i, column: column as usize, q });
            }
        }
        T::of(own)
    }

    /// `dx` of a block, from the coefficients in it.
    pub(super) fn gather_anchors(&self, first: usize, block: &[T], left: &Left<T>, dx: &mut [T]) {
        let (r, dim) = (self.r.rows(), self.dim);
        let Left { near, own, .. } = left;
        if let Form::Differences { p, .. } = self.distance.form() {
            for (i, (q, dx)) in block.chunks_exact(r).zip(dx.chunks_exact_mut(dim)).enumerate() {
                let x = self.x.row(first + i);
                for (j, &q) in q.iter().enumerate().filter(|(_, q)| **q != T::ZERO) {
                    add_difference(p, q, x, self.r.row(j), dx);
                }
            }
            return;
        }
        tile::combine(own.len(), dim, r, block, &self.r.values, dx);
        if self.distance.form().uses_norms() {
            for (i, (&own, dx)) in own.iter().zip(dx.chunks_exact_mut(dim)).enumerate() {
                dx.iter_mut().zip(self.x.row(first + i)).for_each(|(dx, &x)| *dx += own * x);
            }
        }
        for pair in near {
            let dx = &mut dx[(pair.row - first) * dim..][..dim];
            add_difference(2.0, pair.q, self.x.row(pair.row), self.r.row(pair.column), dx);
        }
    }

    /// `dx` of a batch that is its own reference set, from all its coefficients: both directions of a pair together, block by
    /// block.
    pub(super) fn gather_both(&self, tile: &[T], left: &[Left<T>], dx: &mut [T]) {
        let (b, dim, block) = (self.x.rows(), self.dim, self.tiling.block);
        let near = || left.iter().flat_map(|left| &left.near);
        let blocks = dx.par_chunks_mut(block * dim).zip(left).enumerate();
        blocks.for_each_init(
            || vec![T::ZERO; block.min(b) * b],
            |both, (k, (dx, left))| {
                let (first, rows) = (k * block, dx.len() / dim);
                let both = &mut both[..rows * b];
                tile::add_transposed(first, rows, b, tile, both);
                tile::combine(rows, dim, b, both, &self.x.values, dx);
                if self.distance.form().uses_norms() {
                    let row = |i: usize| (&tile[(first + i) * b..][..b], &both[i * b..][..b]);
                    for (i, (&own, dx)) in left.own.iter().zip(dx.chunks_exact_mut(dim)).enumerate() {
                        // As a reference, a row has the coefficient −Σ of its column.
                        let (one, two) = row(i);
                        let own = T::of(own.f64() + vector::sum(one) - vector::sum(two));
                        dx.iter_mut().zip(self.x.row(first + i)).for_each(|(dx, &x)| *dx += own * x);
                    }
                }
                for pair in near() {
                    let (x, r) = (self.x.row(pair.row), self.x.row(pair.column));
                    if (first..first + rows).contains(&pair.row) {
                        add_difference(2.0, pair.q, x, r, &mut dx[(pair.row - first) * dim..][..dim]);
                    }
                    if (first..first + rows).contains(&pair.column) {
                        add_difference(2.0, pair.q, r, x, &mut dx[(pair.column - first) * dim..][..dim]);
                    }
                }
            },
        );
    }

    /// Adds a tile's share of the references' gradient, split over references; blocks of anchors follow one another, so
    /// that tiles leave no trace in the rounding.
    pub(super) fn gather_references(&self, first: usize, tile: &[T], left: &[Left<T>], dr: &mut [T]) {
        let (r, dim, form) = (self.r.rows(), self.dim, self.distance.form());
        dr.par_chunks_mut(BLOCK_COLUMNS * dim).enumerate().for_each(|(k, dr)| {
            let start = k * BLOCK_COLUMNS;
            let columns = start..start + dr.len() / dim;
            for (i, (block, left)) in tile.chunks(self.tiling.block * r).zip(left).enumerate() {
                let first = first + i * self.tiling.block;
                let rows = block.len() / r;
                if let Form::Differences { p, .. } = form {
                    for (i, q) in block.chunks_exact(r).enumerate() {
                        for (j, dr) in columns.clone().zip(dr.chunks_exact_mut(dim)) {
                            if q[j] != T::ZERO {
                                add_difference(p, q[j], self.r.row(j), self.x.row(first + i), dr);
                            }
                        }
                    }
                    continue;
                }
                let x = &self.x.values[first * dim..][..rows * dim];
                panel::add_tn(start, columns.len(), dim, rows, r, block, x, dr);
                if form.uses_norms() {
                    let mut sums = [T::ZERO; BLOCK_COLUMNS];
                    for row in block.chunks_exact(r) {
                        sums.iter_mut().zip(&row[columns.clone()]).for_each(|(sum, &q)| *sum += -q);
                    }
                    for ((j, dr), own) in columns.clone().zip(dr.chunks_exact_mut(dim)).zip(sums) {
                        dr.iter_mut().zip(self.r.row(j)).for_each(|(dr, &v)| *dr += own * v);
                    }
                }
                for pair in left.near.iter().filter(|pair| columns.contains(&pair.column)) {
                    let dr = &mut dr[(pair.column - start) * dim..][..dim];
                    add_difference(2.0, pair.q, self.r.row(pair.column), self.x.row(pair.row), dr);
                }
            }
        });
    }
}
