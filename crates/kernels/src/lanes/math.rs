//! Exponential, tail of the normal distribution, logistic function and hyperbolic tangent of lanes.
//!
//! The polynomials are minimax fits of our own (weighted least squares, reweighted until the errors are level).

use super::Lanes;

/// eˣ, to 1.5 units in the last place for −87.3 ≤ x ≤ 88; 0 below, e⁸⁸ above; NaN stays NaN.
#[inline(always)]
pub(crate) fn exp<L: Lanes>(l: L, x: L::V) -> L::V {
    const LOWEST: f32 = -87.3;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // (eʳ − 1 − r) / r² on |r| ≤ ln 2 / 2, relative error of eʳ 3.1e-9.
    const Q: [f32; 5] = [0.001_381_446_6, 0.008_368_781, 0.041_668_393, 0.166_665_2, 0.499_999_94];
    let held = l.max(l.splat(LOWEST), l.min(l.splat(88.0), x));
    let n = l.round(l.mul(held, l.splat(std::f32::consts::LOG2_E)));
    let r = l.fma(n, l.splat(-LN2_HIGH), held);
    let r = l.fma(n, l.splat(-LN2_LOW), r);
    let mut q = l.splat(Q[0]);
    for c in &Q[1..] {
        q = l.fma(q, r, l.splat(*c));
    }
    let p = l.add(l.fma(l.mul(r, r), q, r), l.splat(1.0));
    let y = l.scale(p, n);
    l.select(l.less(x, l.splat(LOWEST)), l.splat(0.0), y)
}

/// (Φ(−a), e^(−a²/2)) for a ≥ 0, with Φ the normal distribution function: Φ(−a) = e^(−a²/2) · P(1 / (1 + 0.23 a)).
///
/// P is ½ erfcx(a/√2), a smooth function that falls slowly, so that a polynomial gives it to 4.7e-8 of itself wherever
/// the exponential is not 0.
#[inline(always)]
pub(crate) fn normal_tail<L: Lanes>(l: L, a: L::V) -> (L::V, L::V) {
    const P: [f32; 9] = [
        -0.078_431_62,
        0.290_232,
        -0.277_731_2,
        0.300_993_38,
        -0.032_566_67,
        0.119_351_834,
        0.085_808_08,
        0.092_371_49,
        -2.730_724e-5,
    ];
    let bell = exp(l, l.mul(l.mul(a, a), l.splat(-0.5)));
    let t = l.div(l.splat(1.0), l.fma(a, l.splat(0.23), l.splat(1.0)));
    let mut p = l.splat(P[0]);
    for c in &P[1..] {
        p = l.fma(p, t, l.splat(*c));
    }
    (l.mul(p, bell), bell)
}

/// (σ, 1 − σ) for σ = 1 / (1 + e⁻ˣ); the second without the cancellation.
#[inline(always)]
pub(crate) fn logistic<L: Lanes>(l: L, x: L::V) -> (L::V, L::V) {
    let e = exp(l, l.sub(l.splat(0.0), x));
    let s = l.div(l.splat(1.0), l.add(l.splat(1.0), e));
    (s, l.mul(e, s))
}

/// Hyperbolic tangent: a polynomial below 0.625, from the exponential above.
#[inline(always)]
pub(crate) fn tanh<L: Lanes>(l: L, x: L::V) -> L::V {
    // (tanh x − x) / x³ in x², relative error of tanh 8e-9 for |x| ≤ 0.66.
    const P: [f32; 5] = [-0.005_439_447_7, 0.020_397_974, -0.053_665_053, 0.133_305_43, -0.333_332_48];
    let a = l.abs(x);
    let square = l.mul(x, x);
    let mut p = l.splat(P[0]);
    for c in &P[1..] {
        p = l.fma(p, square, l.splat(*c));
    }
    let near = l.fma(l.mul(x, square), p, x);
    let e = exp(l, l.mul(a, l.splat(-2.0)));
    let far = l.div(l.sub(l.splat(1.0), e), l.add(l.splat(1.0), e));
    let far = l.select(l.less(x, l.splat(0.0)), l.sub(l.splat(0.0), far), far);
    l.select(l.less(a, l.splat(0.625)), near, far)
}
