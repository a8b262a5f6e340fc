//! Activation functions and their derivatives, elementwise over slices.
//!
//! | kind | f(x) | f′(x) |
//! |---|---|---|
//! | [`Activation::Gelu`] | x Φ(x) | Φ(x) + x φ(x) |
//! | [`Activation::GeluTanh`] | x σ(2u), u = √(2/π) (x + 0.044715 x³) | σ + 2 x σ (1 − σ) u′ |
//! | [`Activation::Relu`] | max(x, 0) | 1 where x > 0, else 0 |
//! | [`Activation::Silu`] | x σ(x) | σ + x σ (1 − σ) |
//! | [`Activation::Tanh`] | tanh x | 1 − tanh² x |
//!
//! Φ and φ are distribution function and density of the standard normal distribution, σ the logistic function.
//! Errors are below 2e-7 · max(1, |f|) for values and 7e-7 · max(1, |f′|) for slopes.

use crate::isa::{self, Isa};
use crate::lanes::{self, Body, Lanes};
use crate::share::{self, Parts};

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Activation {
    /// `x·Φ(x)`, with the distribution function of the normal distribution.
    Gelu,
    /// `x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`.
    GeluTanh,
    /// `max(x, 0)`; NaN stays.
    Relu,
    /// `x / (1 + e⁻ˣ)`.
    Silu,
    /// The hyperbolic tangent.
    Tanh,
}

impl Activation {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Gelu, Self::GeluTanh, Self::Relu, Self::Silu, Self::Tanh];

    /// The value at `x`.
    pub fn value(self, x: f32) -> f32 {
        let wide = f64::from(x);
        match self {
            Self::Gelu if wide < -40.0 => 0.0 * x,
            Self::Gelu => (0.5 * wide * (1.0 + erf(wide * std::f64::consts::FRAC_1_SQRT_2))) as f32,
            Self::GeluTanh => {
                let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044715 * wide * wide * wide);
                (0.5 * wide * (1.0 + inner.tanh())) as f32
            }
            Self::Relu if x < 0.0 => 0.0,
            Self::Relu => x,
            Self::Silu => (wide / (1.0 + (-wide).exp())) as f32,
            Self::Tanh => wide.tanh() as f32,
        }
    }

    /// f of lanes.
    #[inline(always)]
    pub(crate) fn lanes_value<L: Lanes>(self, l: L, x: L::V) -> L::V {
        match self {
            Self::Gelu => {
                // x Φ(x) is max(x, 0) − |x| Φ(−|x|): the second term is small, and so is its error.
                l.sub(l.max(l.splat(0.0), x), l.below(l.abs(x)))
            }
            Self::GeluTanh => {
                let (u, _) = cubic(l, x);
                l.mul(l.max(l.splat(-100.0), x), lanes::logistic(l, u).0)
            }
            Self::Relu => l.max(l.splat(0.0), x),
            // Below −100 the logistic function is 0 but for what keeps it from dividing by ∞.
            Self::Silu => l.mul(l.max(l.splat(-100.0), x), lanes::logistic(l, x).0),
            Self::Tanh => lanes::tanh(l, x),
        }
    }

    /// f′ of lanes.
    #[inline(always)]
    pub(crate) fn lanes_slope<L: Lanes>(self, l: L, x: L::V) -> L::V {
        let one = l.splat(1.0);
        match self {
            Self::Gelu => {
                const DENSITY: f32 = 0.398_942_3;
                let (tail, bell) = lanes::normal_tail(l, l.min(l.splat(20.0), l.abs(x)));
                let below = l.select(l.less(x, l.splat(0.0)), tail, l.sub(one, tail));
                let held = l.max(l.splat(-20.0), l.min(l.splat(20.0), x));
                l.fma(l.mul(held, l.splat(DENSITY)), bell, below)
            }
            Self::GeluTanh => {
                let (u, slope) = cubic(l, x);
                let (s, rest) = lanes::logistic(l, u);
                l.fma(l.mul(held(l, x), slope), l.mul(s, rest), s)
            }
            Self::Relu => l.select(l.less(l.splat(0.0), x), one, l.splat(0.0)),
            Self::Silu => {
                let (s, rest) = lanes::logistic(l, x);
                l.fma(held(l, x), l.mul(s, rest), s)
            }
            Self::Tanh => {
                let t = lanes::tanh(l, x);
                l.fma(l.sub(l.splat(0.0), t), t, one)
            }
        }
    }
}

/// Beyond 100 every slope here is 0 or 1 already; an infinite x would make it 0 · ∞.
#[inline(always)]
fn held<L: Lanes>(l: L, x: L::V) -> L::V {
    l.max(l.splat(-100.0), l.min(l.splat(100.0), x))
}

/// 2u and its derivative for the tanh form of GELU.
#[inline(always)]
fn cubic<L: Lanes>(l: L, x: L::V) -> (L::V, L::V) {
    const TWICE_ROOT: f32 = 1.595_769;
    const CUBE: f32 = 0.044_715;
    let x = held(l, x);
    let square = l.mul(x, x);
    let one = l.splat(1.0);
    let u = l.mul(l.mul(l.splat(TWICE_ROOT), x), l.fma(square, l.splat(CUBE), one));
    (u, l.mul(l.splat(TWICE_ROOT), l.fma(square, l.splat(3.0 * CUBE), one)))
}

/// `y = f(x)`, on all threads of the current pool.
///
/// # Panics
/// If the slices differ in length.
pub fn forward(kind: Activation, x: &[f32], y: &mut [f32]) {
    forward_on(isa::current(), kind, x, y);
}

/// `x = f(x)` on the calling thread.
pub fn forward_here(kind: Activation, x: &mut [f32]) {
    struct Here<'a>(Activation, &'a mut [f32]);
    impl Body for Here<'_> {
        type Out = ();
        #[inline(always)]
        fn call<L: Lanes>(self, l: L) {
            lanes::update(
                l,
                self.1,
                #[inline(always)]
                |x| self.0.lanes_value(l, x),
            );
        }
    }
    lanes::run(isa::current(), Here(kind, x));
}

/// `dx = dy · f′(x)`, on all threads of the current pool; `x` is what the function was applied to.
///
/// # Panics
/// If the slices differ in length.
pub fn backward(kind: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    backward_on(isa::current(), kind, x, dy, dx);
}

pub(crate) fn forward_on(isa: Isa, kind: Activation, x: &[f32], y: &mut [f32]) {
    struct Forward<'a>(Activation, &'a [f32], &'a mut [f32]);
    impl Body for Forward<'_> {
        type Out = ();
        #[inline(always)]
        fn call<L: Lanes>(self, l: L) {
            // One loop for each kind, rather than a choice at each step.
            match self.0 {
                Activation::Gelu => lanes::map(
                    l,
                    self.1,
                    self.2,
                    #[inline(always)]
                    |x| Activation::Gelu.lanes_value(l, x),
                ),
                Activation::GeluTanh => lanes::map(
                    l,
                    self.1,
                    self.2,
                    #[inline(always)]
                    |x| Activation::GeluTanh.lanes_value(l, x),
                ),
                Activation::Relu => lanes::map(
                    l,
                    self.1,
                    self.2,
                    #[inline(always)]
                    |x| Activation::Relu.lanes_value(l, x),
                ),
                Activation::Silu => lanes::map(
                    l,
                    self.1,
                    self.2,
                    #[inline(always)]
                    |x| Activation::Silu.lanes_value(l, x),
                ),
                Activation::Tanh => lanes::map(
                    l,
                    self.1,
                    self.2,
                    #[inline(always)]
                    |x| Activation::Tanh.lanes_value(l, x),
                ),
            }
        }
    }
    assert_eq!(x.len(), y.len());
    let n = x.len();
    let y = Parts::new(y);
    share::rows(n, 1, |range| {
        // SAFETY: ranges are disjoint.
        let y = unsafe { y.part(range.clone()) };
        lanes::run(isa, Forward(kind, &x[range], y));
    });
}

fn backward_on(isa: Isa, kind: Activation, x: &[f32], dy: &[f32], dx: &mut [f32]) {
    struct Backward<'a>(Activation, &'a [f32], &'a [f32], &'a mut [f32]);
    impl Body for Backward<'_> {
        type Out = ();
        #[inline(always)]
        fn call<L: Lanes>(self, l: L) {
            let Backward(kind, x, dy, dx) = self;
            match kind {
                Activation::Gelu => {
                    lanes::map2(
                        l,
                        x,
                        dy,
                        dx,
                        #[inline(always)]
                        |x, dy| l.mul(dy, Activation::Gelu.lanes_slope(l, x)),
                    );
                }
                Activation::GeluTanh => {
                    lanes::map2(
                        l,
                        x,
                        dy,
                        dx,
                        #[inline(always)]
                        |x, dy| l.mul(dy, Activation::GeluTanh.lanes_slope(l, x)),
                    );
                }
                Activation::Relu => {
                    lanes::map2(
                        l,
                        x,
                        dy,
                        dx,
                        #[inline(always)]
                        |x, dy| l.mul(dy, Activation::Relu.lanes_slope(l, x)),
                    );
                }
                Activation::Silu => {
                    lanes::map2(
                        l,
                        x,
                        dy,
                        dx,
                        #[inline(always)]
                        |x, dy| l.mul(dy, Activation::Silu.lanes_slope(l, x)),
                    );
                }
                Activation::Tanh => {
                    lanes::map2(
                        l,
                        x,
                        dy,
                        dx,
                        #[inline(always)]
                        |x, dy| l.mul(dy, Activation::Tanh.lanes_slope(l, x)),
                    );
                }
            }
        }
    }
    assert!(x.len() == dy.len() && x.len() == dx.len());
    let n = x.len();
    let dx = Parts::new(dx);
    share::rows(n, 1, |range| {
        // SAFETY: ranges are disjoint.
        let dx = unsafe { dx.part(range.clone()) };
        lanes::run(isa, Backward(kind, &x[range.clone()], &dy[range], dx));
    });
}

/// By the series 2/√π·e^(−x²)·Σ 2ⁱ·x^(2i+1) / (1·3·…·(2i+1)), whose terms have one sign.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut odd) = (x, x, 1.0);
    while term.abs() > 1e-18 * sum.abs() {
        odd += 2.0;
        term *= 2.0 * x * x / odd;
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests;
