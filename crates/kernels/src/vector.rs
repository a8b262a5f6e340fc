//! Elementwise functions over slices, vectorised for the machine that runs them: exponentials, softplus, logistic.
//!
//! Exponentials use fused multiply-adds, which are rounded the same everywhere, other formulas plain operations in one
//! order, and sums run in sixteen lanes that are added in a fixed order, so results are the same bytes whichever
//! instruction set is found. Errors are a few units in the last
//! place (tested against `std`).

mod bodies;

use crate::Real;

/// The elementwise functions of one number type; use the free functions of this module.
pub trait Vector: Sized {
    /// `out = exp(scale · (s − shift) − top)`; returns the sum.
    fn exp_sum(s: &[Self], scale: Self, shift: Self, top: Self, out: &mut [Self]) -> Self;
    /// `x = exp(x − top)`; returns the sum.
    fn exp_sum_in_place(x: &mut [Self], top: Self) -> Self;
    /// The largest value, or `start` if that is larger.
    fn largest(s: &[Self], start: Self) -> Self;
    /// `out = log(1 + exp(u))`'s derivative for `u = scale · (s − shift)`; returns the sum of the values.
    fn softplus_sum(s: &[Self], scale: Self, shift: Self, out: &mut [Self]) -> f64;
    /// `out = 1 / (1 + exp(−scale · (s − shift)))`; returns the sum.
    fn logistic_sum(s: &[Self], scale: Self, shift: Self, out: &mut [Self]) -> f64;
    /// For `v = scale · (s − shift)`: how many are greater than 0 and their sum; adds `weight` to `to` there.
    fn hinge_sum(s: &[Self], scale: Self, shift: Self, weight: Self, to: &mut [Self]) -> (u64, f64);
    /// [`hinge_sum`](Self::hinge_sum) for four shifts, one after another.
    fn hinge_sums(
        s: &[Self],
        scale: Self,
        shifts: [Self; 4],
        weight: Self,
        to: &mut [Self],
    ) -> [(u64, f64); 4];
    /// The smallest value, or `start` if that is smaller.
    fn smallest(s: &[Self], start: Self) -> Self;
    /// How many values are greater than `limit`.
    fn above(s: &[Self], limit: Self) -> u64;
    /// `x = factor · x`.
    fn scale(x: &mut [Self], factor: Self);
    /// The sum.
    fn sum(s: &[Self]) -> f64;
    /// `Σ aᵢ bᵢ`.
    fn dot(a: &[Self], b: &[Self]) -> f64;
    /// `to += factor₀ · y₀ + factor₁ · y₁ + …`, one after another; returns the sums of `factorᵢ · yᵢ`.
    fn add_scaled4(to: &mut [Self], factors: [Self; 4], y: [&[Self]; 4]) -> [f64; 4];
    /// `g = n + m − 2g`; returns how many are below `limit · (n + m)`.
    fn squared_distances(g: &mut [Self], n: Self, m: &[Self], limit: Self) -> u64;
    /// `s = √max(s, 0)`.
    fn roots(s: &mut [Self]);
    /// `d = factor · d / s`, and 0 where `s` is not above 0; returns the sum.
    fn divide_sum(d: &mut [Self], factor: Self, s: &[Self]) -> f64;
    /// `d = factor · d`; returns the sum.
    fn scale_sum(d: &mut [Self], factor: Self) -> f64;
    /// `to += factor · y`; returns the sum of `factor · y`.
    fn add_scaled(to: &mut [Self], factor: Self, y: &[Self]) -> f64;
    /// `out = y (1 − y)` for `y = 1 / (1 + exp(−scale · (s − shift)))`; returns the sum of `y`.
    fn step_sum(s: &[Self], scale: Self, shift: Self, out: &mut [Self]) -> f64;
}

/// Squared distances from inner products, in place: `g = n + m − 2g`, where `n` and `m` are squared norms. Returns how
/// many come out below `limit · (n + m)`, where the inner product has cancelled most digits.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn squared_distances<T: Real>(g: &mut [T], n: T, m: &[T], limit: T) -> u64 {
    assert_eq!(g.len(), m.len());
    T::squared_distances(g, n, m, limit)
}

/// `s = √max(s, 0)` in place; NaN stays.
#[inline]
pub fn roots<T: Real>(s: &mut [T]) {
    T::roots(s);
}

/// `d = factor · d / s` in place, and 0 where `s` is not above 0; returns the sum.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn divide_sum<T: Real>(d: &mut [T], factor: T, s: &[T]) -> f64 {
    assert_eq!(d.len(), s.len());
    T::divide_sum(d, factor, s)
}

/// `d = factor · d` in place; returns the sum.
#[inline]
pub fn scale_sum<T: Real>(d: &mut [T], factor: T) -> f64 {
    T::scale_sum(d, factor)
}

/// `to += factor · y`; returns the sum of `factor · y`.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn add_scaled<T: Real>(to: &mut [T], factor: T, y: &[T]) -> f64 {
    assert_eq!(to.len(), y.len());
    T::add_scaled(to, factor, y)
}

/// With `y = 1 / (1 + exp(−scale · (s − shift)))`: leaves `y (1 − y)`, the derivative by the exponent, in `out` and returns
/// the sum of `y`.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn step_sum<T: Real>(s: &[T], scale: T, shift: T, out: &mut [T]) -> f64 {
    assert_eq!(s.len(), out.len());
    T::step_sum(s, scale, shift, out)
}

/// `out = exp(scale · (s − shift) − top)`; returns the sum.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn exp_sum<T: Real>(s: &[T], scale: T, shift: T, top: T, out: &mut [T]) -> T {
    assert_eq!(s.len(), out.len());
    T::exp_sum(s, scale, shift, top, out)
}

/// `x = exp(x − top)`; returns the sum.
#[inline]
pub fn exp_sum_in_place<T: Real>(x: &mut [T], top: T) -> T {
    T::exp_sum_in_place(x, top)
}

/// The largest value, or `start` if that is larger. NaN is passed over.
#[inline]
pub fn largest<T: Real>(s: &[T], start: T) -> T {
    T::largest(s, start)
}

/// With `u = scale · (s − shift)`: returns `Σ log(1 + eᵘ)` and leaves `1 / (1 + e⁻ᵘ)`, its derivative, in `out`.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn softplus_sum<T: Real>(s: &[T], scale: T, shift: T, out: &mut [T]) -> f64 {
    assert_eq!(s.len(), out.len());
    T::softplus_sum(s, scale, shift, out)
}

/// With `u = scale · (s − shift)`: leaves `1 / (1 + e⁻ᵘ)` in `out` and returns its sum.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn logistic_sum<T: Real>(s: &[T], scale: T, shift: T, out: &mut [T]) -> f64 {
    assert_eq!(s.len(), out.len());
    T::logistic_sum(s, scale, shift, out)
}

/// With `v = scale · (s − shift)`: returns how many `v` are greater than 0 and their sum, and adds `weight` to `to` where
/// they are.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn hinge_sum<T: Real>(s: &[T], scale: T, shift: T, weight: T, to: &mut [T]) -> (u64, f64) {
    assert_eq!(s.len(), to.len());
    T::hinge_sum(s, scale, shift, weight, to)
}

/// [`hinge_sum`] for four shifts, as if one after another, in one pass over the slices.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn hinge_sums<T: Real>(s: &[T], scale: T, shifts: [T; 4], weight: T, to: &mut [T]) -> [(u64, f64); 4] {
    assert_eq!(s.len(), to.len());
    T::hinge_sums(s, scale, shifts, weight, to)
}

/// The smallest value, or `start` if that is smaller. NaN is passed over.
#[inline]
pub fn smallest<T: Real>(s: &[T], start: T) -> T {
    T::smallest(s, start)
}

/// How many values are greater than `limit`.
#[inline]
pub fn above<T: Real>(s: &[T], limit: T) -> u64 {
    T::above(s, limit)
}

/// `x = factor · x` in place.
#[inline]
pub fn scale<T: Real>(x: &mut [T], factor: T) {
    T::scale(x, factor);
}

/// The sum.
#[inline]
pub fn sum<T: Real>(s: &[T]) -> f64 {
    <T as Vector>::sum(s)
}

/// `Σ aᵢ bᵢ`.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    assert_eq!(a.len(), b.len());
    T::dot(a, b)
}

/// [`add_scaled`] of four lists, as if one after another, in one pass over `to`.
///
/// # Panics
/// If the slices differ in length.
#[inline]
pub fn add_scaled4<T: Real>(to: &mut [T], factors: [T; 4], y: [&[T]; 4]) -> [f64; 4] {
    assert!(y.iter().all(|y| y.len() == to.len()));
    T::add_scaled4(to, factors, y)
}

#[cfg(test)]
mod tests;
