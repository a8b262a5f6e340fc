//! Numbers with their derivatives by the four cells of a confusion matrix.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// Below this number a root has the slope that it has here, which is infinite at 0.
const ROOT_FLOOR: f64 = 1e-14;

/// A number with its derivatives by the four cells.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dual {
    pub(super) value: f64,
    pub(super) slopes: [f64; 4],
}

impl Dual {
    pub(super) fn of_number(value: f64) -> Dual {
        Dual { value, slopes: [0.0; 4] }
    }

    /// The four cells, each with a slope of 1 by itself.
    pub(super) fn variables(cells: [f64; 4]) -> [Dual; 4] {
        let mut duals = cells.map(Dual::of_number);
        duals.iter_mut().enumerate().for_each(|(at, dual)| dual.slopes[at] = 1.0);
        duals
    }

    /// `f` of this number, where `slope` is `f'`.
    fn through(self, value: f64, slope: f64) -> Dual {
        Dual { value, slopes: self.slopes.map(|own| if own == 0.0 { 0.0 } else { own * slope }) }
    }

    fn with(self, other: Dual, value: f64, slope: impl Fn(f64, f64) -> f64) -> Dual {
        let mut slopes = [0.0; 4];
        let pairs = self.slopes.iter().zip(&other.slopes);
        slopes.iter_mut().zip(pairs).for_each(|(out, (&a, &b))| *out = slope(a, b));
        Dual { value, slopes }
    }

    /// The quotient; 0 without a slope for nothing of nothing.
    pub(super) fn over(self, other: Dual) -> Dual {
        if self.value == 0.0 && other.value == 0.0 { Dual::of_number(0.0) } else { self / other }
    }

    pub(super) fn sqrt(self) -> Dual {
        self.through(self.value.sqrt(), 0.5 / self.value.max(ROOT_FLOOR).sqrt())
    }

    pub(super) fn power(self, exponent: Dual) -> Dual {
        let (a, b) = (self.value, exponent.value);
        let value = a.powf(b);
        let base = if b < 1.0 && a >= 0.0 { a.max(ROOT_FLOOR) } else { a };
        let by_base = if b == 0.0 { 0.0 } else { b * base.powf(b - 1.0) };
        // A constant exponent has no logarithm of the base in it, which may be negative.
        let by_exponent = if value == 0.0 { 0.0 } else { value * a.ln() };
        self.with(exponent, value, |x, y| {
            let first = if x == 0.0 { 0.0 } else { x * by_base };
            let second = if y == 0.0 { 0.0 } else { y * by_exponent };
            first + second
        })
    }
}

impl Add for Dual {
    type Output = Dual;
    fn add(self, other: Dual) -> Dual {
        self.with(other, self.value + other.value, |a, b| a + b)
    }
}

impl Sub for Dual {
    type Output = Dual;
    fn sub(self, other: Dual) -> Dual {
        self.with(other, self.value - other.value, |a, b| a - b)
    }
}

impl Mul for Dual {
    type Output = Dual;
    // The product rule.
    #[allow(clippy::suspicious_arithmetic_impl)]
    fn mul(self, other: Dual) -> Dual {
        self.with(other, self.value * other.value, |a, b| a * other.value + b * self.value)
    }
}

impl Div for Dual {
    type Output = Dual;
    // The quotient rule.
    #[allow(clippy::suspicious_arithmetic_impl)]
    fn div(self, other: Dual) -> Dual {
        let value = self.value / other.value;
        self.with(other, value, |a, b| (a - value * b) / other.value)
    }
}

impl Neg for Dual {
    type Output = Dual;
    fn neg(self) -> Dual {
        self.through(-self.value, -1.0)
    }
}
