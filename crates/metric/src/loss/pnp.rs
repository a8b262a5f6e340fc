//! Penalising negatives before positives.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::smooth_ap::ranked_above;
use crate::error::{Error, require};
use crate::row::{Row, RowLoss, Slopes};

/// How the number `r` of negatives before a positive becomes its penalty.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PnpVariant {
    /// `log(1 + r)`: decreasing slope.
    Ds,
    /// `1 − (1 + r)^(−alpha)`: decreasing slope, bounded.
    Dq,
    /// `(1 + r) log(1 + r)`: increasing slope, unbounded.
    Iu,
    /// `(b r − log(1 + b r)) / b²`: increasing slope, bounded.
    Ib,
    /// `r`: constant slope.
    #[default]
    O,
}

/// `(1/G) Σ_j f(r_j)` for each anchor with positives, one element an anchor, where `j` runs over the `G` references of the
/// anchor's class and `r_j = Σ_N σ((sₙ − s_j)/anneal)` counts the negatives before it.
///
/// In a batch against itself the anchor is one of its own references, as in the authors' code. A distance enters with its
/// sign turned. O(P · N) a row.
///
/// Defaults: b 2, alpha 1, anneal 0.01, variant O, cosine, mean over anchors with positives. Li et al., *Rethinking the Optimization of
/// Average Precision: Only Penalizing Negative Instances before Positive Ones is Enough*, AAAI 2022.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Pnp {
    /// Boundary of variant Ib, greater than 0.
    pub b: f64,
    /// Exponent of variant Dq, greater than 0.
    pub alpha: f64,
    /// Width of the step between ranks, greater than 0.
    pub anneal: f64,
    /// The penalty of a count.
    pub variant: PnpVariant,
}

impl Default for Pnp {
    fn default() -> Self {
        Pnp { b: 2.0, alpha: 1.0, anneal: 0.01, variant: PnpVariant::O }
    }
}

impl Pnp {
    /// The penalty of `r` negatives before a positive, and its derivative.
    fn penalty(&self, r: f64) -> (f64, f64) {
        match self.variant {
            PnpVariant::Ds => (r.ln_1p(), 1.0 / (1.0 + r)),
            PnpVariant::Dq => {
                let power = (1.0 + r).powf(-self.alpha);
                (1.0 - power, self.alpha * power / (1.0 + r))
            }
            PnpVariant::Iu => ((1.0 + r) * r.ln_1p(), r.ln_1p() + 1.0),
            PnpVariant::Ib => {
                let b = self.b;
                ((b * r - (b * r).ln_1p()) / (b * b), r / (1.0 + b * r))
            }
            PnpVariant::O => (r, 1.0),
        }
    }
}

impl RowLoss for Pnp {
    const NAME: &'static str = "pnp";

    fn check(&self) -> Result<(), Error> {
        for (field, value) in [("b", self.b), ("alpha", self.alpha), ("anneal", self.anneal)] {
            let valid = value > 0.0 && value.is_finite();
            require(valid, Self::NAME, field, value, "a finite number greater than 0")?;
        }
        Ok(())
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let scale = row.sign() / T::of(self.anneal);
        let itself = row.itself.map(|(_, value)| value);
        if row.positives.is_empty() {
            return;
        }
        let class: Vec<T> = row.positives.iter().copied().chain(itself).collect();
        let count = class.len();
        let mut value = 0.0;
        let pushes = ranked_above(row.negatives, &class, scale, slopes.negatives, |_, before| {
            let (penalty, slope) = self.penalty(before);
            value += penalty;
            slope
        });
        for (j, push) in pushes.into_iter().enumerate() {
            if let Some(d) = slopes.positives.get_mut(j) { *d = push } else { slopes.itself = push }
        }
        let weight = slopes.element(0, T::of(value / count as f64)) * scale / T::of(count as f64);
        vector::scale(slopes.negatives, weight);
        vector::scale(slopes.positives, weight);
        slopes.itself *= weight;
    }
}
