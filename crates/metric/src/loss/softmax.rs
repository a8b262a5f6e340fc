//! Log-sum-exp with its derivative.

use parallax_kernels::{Real, vector};

/// `log([1 +] Σⱼ exp(scale·(sⱼ − shift)))`, with the 1 if `one`, and in `weights` the derivative of that by each exponent:
/// the softmax. Without terms it is −∞, or 0 with the 1. Stable for any exponents.
pub(crate) fn log_sum_exp<T: Real>(s: &[T], scale: T, shift: T, one: bool, weights: &mut [T]) -> T {
    let start = if one { T::ZERO } else { T::NEG_INFINITY };
    let nearest =
        if scale >= T::ZERO { vector::largest(s, T::NEG_INFINITY) } else { vector::smallest(s, T::INFINITY) };
    let top = if s.is_empty() { start } else { start.max(scale * (nearest - shift)) };
    if top == T::NEG_INFINITY {
        return top;
    }
    let terms = vector::exp_sum(s, scale, shift, top, weights);
    finish(terms, top, one, weights)
}

/// `log([1 +] Σⱼ exp(xⱼ))`, with the softmax in place of the exponents.
pub(crate) fn log_sum_exp_in_place<T: Real>(x: &mut [T], one: bool) -> T {
    let top = vector::largest(x, if one { T::ZERO } else { T::NEG_INFINITY });
    if top == T::NEG_INFINITY {
        return top;
    }
    let terms = vector::exp_sum_in_place(x, top);
    finish(terms, top, one, x)
}

fn finish<T: Real>(terms: T, top: T, one: bool, weights: &mut [T]) -> T {
    let sum = if one { terms + (-top).exp() } else { terms };
    let inverse = T::ONE / sum;
    vector::scale(weights, inverse);
    // ln_1p keeps the digits of a sum that is far below the 1.
    if top == T::ZERO && one { terms.ln_1p() } else { top + sum.ln() }
}

/// `log(eᵃ + eᵇ)`; −∞ stands for no term.
pub(crate) fn log_add<T: Real>(a: T, b: T) -> T {
    let top = a.max(b);
    if top == T::NEG_INFINITY { top } else { top + ((a - top).exp() + (b - top).exp()).ln() }
}

/// `(log(1 + eᵘ), 1/(1 + e⁻ᵘ))`, stable for any `u`, −∞ included.
pub(crate) fn softplus<T: Real>(u: T) -> (T, T) {
    let small = (-u.abs()).exp();
    let value = u.max(T::ZERO) + small.ln_1p();
    let slope = if u > T::ZERO { T::ONE / (T::ONE + small) } else { small / (T::ONE + small) };
    (value, slope)
}

#[cfg(test)]
mod tests {
    use super::{log_add, log_sum_exp, log_sum_exp_in_place, softplus};

    #[test]
    fn extremes_and_the_plain_formula() {
        let mut w = [0.0; 3];
        let direct = (1.0 + [0.2f64, -1.0, 3.0].iter().map(|s| (2.0 * (s - 0.5)).exp()).sum::<f64>()).ln();
        assert!((log_sum_exp(&[0.2, -1.0, 3.0], 2.0, 0.5, true, &mut w) - direct).abs() < 1e-14);
        assert!((w.iter().sum::<f64>() - (1.0 - (-direct).exp())).abs() < 1e-14, "{w:?}");
        let mut x = [0.2, -1.0, 3.0].map(|s| 2.0 * (s - 0.5));
        assert!((log_sum_exp_in_place(&mut x, true) - direct).abs() < 1e-14);
        assert_eq!(x, w);
        assert_eq!(log_sum_exp(&[1000.0], 1.0, 0.0, true, &mut w[..1]), 1000.0);
        assert_eq!(log_sum_exp(&[-1000.0], -1.0, 0.0, true, &mut w[..1]), 1000.0);
        assert_eq!(log_sum_exp(&[-1e30], 1e30, 0.0, true, &mut w[..1]), 0.0);
        assert_eq!(log_sum_exp::<f64>(&[], 1.0, 0.0, true, &mut []), 0.0);
        assert_eq!(log_sum_exp::<f64>(&[], 1.0, 0.0, false, &mut []), f64::NEG_INFINITY);
        let tiny = log_sum_exp(&[-40.0], 1.0, 0.0, true, &mut w[..1]);
        assert!((tiny / (-40f64).exp() - 1.0).abs() < 1e-12, "{tiny}");
        assert_eq!(log_add(f64::NEG_INFINITY, 3.0), 3.0);
        assert_eq!(log_add(f64::NEG_INFINITY, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert_eq!(softplus(f64::NEG_INFINITY), (0.0, 0.0));
        assert_eq!(softplus(800.0), (800.0, 1.0));
        assert!((softplus(0.3f64).0 - (1.0 + 0.3f64.exp()).ln()).abs() < 1e-15);
    }
}
