//! A loss as two branches.

/// What a pair contributes to its branch, as a function of its value s (a similarity or a distance).
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rho {
    /// `scale · (s − shift)`.
    Linear {
        /// Its slope.
        scale: f64,
        /// Where it is 0.
        shift: f64,
    },
    /// `max(0, scale · (s − shift))`.
    Hinge {
        /// Its slope where it is not 0.
        scale: f64,
        /// Where it begins.
        shift: f64,
    },
    /// `log(1 + e^(scale · (s − shift)))`.
    Softplus {
        /// Its sharpness, with the sign of its slope.
        scale: f64,
        /// Where it is log 2.
        shift: f64,
    },
    /// `e^(scale · (s − shift))`.
    Exponential {
        /// Its sharpness, with the sign of its slope.
        scale: f64,
        /// Where it is 1.
        shift: f64,
    },
}

/// What becomes of the sum S over a branch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sigma {
    /// `factor · S`.
    Sum {
        /// The factor.
        factor: f64,
    },
    /// S divided by the number of pairs with a weight above 0; 0 without any.
    Mean,
    /// `factor · log S`.
    Log {
        /// The factor.
        factor: f64,
        /// What stands for an empty sum.
        empty: f64,
    },
    /// `factor · log(1 + S)`.
    LogOnePlus {
        /// The factor.
        factor: f64,
    },
}

/// What becomes of the sum x of both branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tau {
    /// x.
    Identity,
    /// `max(0, x)`.
    Hinge,
    /// `log(1 + eˣ)`.
    Softplus,
}

/// What the elements of the loss are, which the reducer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementOf {
    /// Every pair of a branch; the branches are channels of their own, σ is the sum, and τ the identity.
    Pair,
    /// Every branch of an anchor, in a channel of its own; τ is the identity. The positive one only where it has pairs.
    Branch,
    /// Every anchor.
    Anchor,
}

/// One branch: `σ(Σ w ρ(s))`, with the weight `w = y` for positives and `w = 1 − y` for negatives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Branch {
    /// Of a pair.
    pub rho: Rho,
    /// Of the sum.
    pub sigma: Sigma,
}

/// `τ( σ⁺(Σ y ρ⁺(s)) + σ⁻(Σ (1 − y) ρ⁻(s)) )`: a loss of one anchor on pairs with labels between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Branches {
    /// Of both branches.
    pub tau: Tau,
    /// The positive branch.
    pub positive: Branch,
    /// The negative branch.
    pub negative: Branch,
    /// What the reducer counts.
    pub elements: ElementOf,
    /// Whether an anchor without positives has no element.
    pub needs_positive: bool,
}

impl Branches {
    /// Two sums over pairs, each pair an element of its branch.
    pub fn of_pairs(positive: Rho, negative: Rho) -> Self {
        let sum = |rho| Branch { rho, sigma: Sigma::Sum { factor: 1.0 } };
        Branches {
            tau: Tau::Identity,
            positive: sum(positive),
            negative: sum(negative),
            elements: ElementOf::Pair,
            needs_positive: false,
        }
    }

    /// The sum of two branches, one element an anchor.
    pub fn of_anchors(positive: Branch, negative: Branch) -> Self {
        Branches {
            tau: Tau::Identity,
            positive,
            negative,
            elements: ElementOf::Anchor,
            needs_positive: false,
        }
    }
}

impl Rho {
    /// Its value at `s` and its slope there.
    pub(super) fn at(self, s: f64) -> (f64, f64) {
        match self {
            Rho::Linear { scale, shift } => (scale * (s - shift), scale),
            Rho::Hinge { scale, shift } => {
                let excess = scale * (s - shift);
                if excess > 0.0 { (excess, scale) } else { (0.0, 0.0) }
            }
            Rho::Softplus { scale, shift } => {
                let (value, slope) = crate::loss::softmax::softplus(scale * (s - shift));
                (value, scale * slope)
            }
            Rho::Exponential { scale, shift } => {
                let value = (scale * (s - shift)).exp();
                (value, scale * value)
            }
        }
    }
}

impl Tau {
    /// Its value at `x` and its slope there.
    pub(super) fn at(self, x: f64) -> (f64, f64) {
        match self {
            Tau::Identity => (x, 1.0),
            Tau::Hinge if x > 0.0 => (x, 1.0),
            Tau::Hinge => (0.0, 0.0),
            Tau::Softplus => crate::loss::softmax::softplus(x),
        }
    }
}

impl Branch {
    /// The value on pairs `s` with weights `w`, and its derivative by each in `slopes`; pairs of weight 0 are not there.
    pub(super) fn value(&self, s: &[f64], w: &[f64], slopes: &mut [f64]) -> f64 {
        if let (Rho::Exponential { scale, shift }, Sigma::Log { .. } | Sigma::LogOnePlus { .. }) =
            (self.rho, self.sigma)
        {
            return self.log_of_exponentials(scale, shift, s, w, slopes);
        }
        let (mut sum, mut count) = (0.0, 0usize);
        for ((&s, &w), slope) in s.iter().zip(w).zip(&mut *slopes) {
            if w > 0.0 {
                let (value, by) = self.rho.at(s);
                sum += w * value;
                count += 1;
                *slope = w * by;
            } else {
                *slope = 0.0;
            }
        }
        let (value, by) = match self.sigma {
            Sigma::Sum { factor } => (factor * sum, factor),
            Sigma::Mean => {
                let share = 1.0 / count.max(1) as f64;
                (share * sum, share)
            }
            Sigma::Log { factor, .. } if sum > 0.0 => (factor * sum.ln(), factor / sum),
            Sigma::Log { empty, .. } => (empty, 0.0),
            Sigma::LogOnePlus { factor } => (factor * sum.ln_1p(), factor / (1.0 + sum)),
        };
        slopes.iter_mut().for_each(|slope| *slope *= by);
        value
    }

    /// `factor · log([1 +] Σ w e^(scale (s − shift)))`, as the log-sum-exp of the exponents plus log w.
    fn log_of_exponentials(&self, scale: f64, shift: f64, s: &[f64], w: &[f64], slopes: &mut [f64]) -> f64 {
        let (one, factor) = match self.sigma {
            Sigma::LogOnePlus { factor } => (true, factor),
            Sigma::Log { factor, .. } | Sigma::Sum { factor } => (false, factor),
            Sigma::Mean => (false, 1.0),
        };
        let mut top = if one { 0.0 } else { f64::NEG_INFINITY };
        for ((&s, &w), exponent) in s.iter().zip(w).zip(&mut *slopes) {
            *exponent = if w > 0.0 { scale * (s - shift) + w.ln() } else { f64::NEG_INFINITY };
            top = top.max(*exponent);
        }
        if top == f64::NEG_INFINITY {
            slopes.fill(0.0);
            return if let Sigma::Log { empty, .. } = self.sigma { empty } else { 0.0 };
        }
        let mut terms = 0.0;
        for exponent in &mut *slopes {
            *exponent = (*exponent - top).exp();
            terms += *exponent;
        }
        let sum = if one { terms + (-top).exp() } else { terms };
        let by = factor * scale / sum;
        slopes.iter_mut().for_each(|slope| *slope *= by);
        // ln_1p keeps the digits of a sum that is far below the 1.
        factor * if top == 0.0 && one { terms.ln_1p() } else { top + sum.ln() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_the_central_differences() {
        let (s, w) = ([0.3, -0.2, 0.7, 0.55], [0.6, 1.0, 0.0, 0.25]);
        let rhos = [
            Rho::Linear { scale: -1.0, shift: 0.2 },
            Rho::Hinge { scale: 1.0, shift: 0.1 },
            Rho::Softplus { scale: 5.0, shift: 0.4 },
            Rho::Exponential { scale: -3.0, shift: 0.5 },
        ];
        let sigmas = [
            Sigma::Sum { factor: 0.7 },
            Sigma::Mean,
            Sigma::Log { factor: -1.0, empty: 0.0 },
            Sigma::LogOnePlus { factor: 0.5 },
        ];
        for rho in rhos {
            for sigma in sigmas {
                if matches!((rho, sigma), (Rho::Linear { .. }, Sigma::Log { .. } | Sigma::LogOnePlus { .. }))
                {
                    continue;
                }
                let branch = Branch { rho, sigma };
                let mut slopes = [0.0; 4];
                branch.value(&s, &w, &mut slopes);
                for k in 0..4 {
                    let at = |h: f64| {
                        let mut moved = s;
                        moved[k] += h;
                        branch.value(&moved, &w, &mut [0.0; 4])
                    };
                    let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
                    assert!((slopes[k] - numeric).abs() < 1e-8, "{branch:?} {k}: {} {numeric}", slopes[k]);
                }
            }
        }
    }

    #[test]
    fn the_log_of_exponentials_is_the_plain_formula_and_stable() {
        let branch = |sigma| Branch { rho: Rho::Exponential { scale: 2.0, shift: 0.5 }, sigma };
        let plain = 0.3 * (2.0f64 * (0.9 - 0.5)).exp() + 0.8 * (2.0f64 * (-0.4 - 0.5)).exp();
        let mut slopes = [0.0; 2];
        let one = branch(Sigma::LogOnePlus { factor: 1.0 }).value(&[0.9, -0.4], &[0.3, 0.8], &mut slopes);
        assert!((one - plain.ln_1p()).abs() < 1e-14, "{one}");
        let log = branch(Sigma::Log { factor: 1.0, empty: 7.0 });
        assert!((log.value(&[0.9, -0.4], &[0.3, 0.8], &mut slopes) - plain.ln()).abs() < 1e-14);
        assert_eq!(log.value(&[0.9, -0.4], &[0.0, 0.0], &mut slopes), 7.0);
        assert_eq!(slopes, [0.0, 0.0]);
        assert_eq!(log.value(&[1000.5, 0.0], &[1.0, 1.0], &mut slopes), 2000.0);
    }
}
