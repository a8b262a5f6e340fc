//! Soft assignment to several proxies a class.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cross_entropy::pooled_cross_entropy;
use super::{Needs, ProxyRow};
use crate::error::{Error, require};
use crate::row::{Row, RowLoss, Slopes};

/// `−log( e^(λ(S_y − δ)) / (e^(λ(S_y − δ)) + Σ_{c≠y} e^(λ S_c)) )`, one element an anchor, where
/// `S_c = Σ_k q_k s_ck`, `q = softmax_k(s_ck/γ)`, is the relaxed similarity to the proxies of class `c`.
///
/// The paper adds a penalty that merges proxies of a class:
/// [`SparseCenters`](crate::regularizer::SparseCenters) as the regulariser of the proxies.
///
/// Defaults: 10 proxies a class, λ (`la`) = 20, γ = 0.1, margin δ = 0.01, cosine (a similarity is needed), mean. Qian et
/// al., *SoftTriple Loss: Deep Metric Learning Without Triplet Sampling*, ICCV 2019.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SoftTriple {
    /// Proxies of each class, at least 1.
    pub centers_per_class: usize,
    /// Factor λ of the relaxed similarities, greater than 0.
    pub la: f64,
    /// Temperature γ of the assignment within a class, greater than 0.
    pub gamma: f64,
    /// What is taken off the similarity to the anchor's own class.
    pub margin: f64,
}

impl Default for SoftTriple {
    fn default() -> Self {
        SoftTriple { centers_per_class: 10, la: 20.0, gamma: 0.1, margin: 0.01 }
    }
}

impl RowLoss for SoftTriple {
    const NAME: &'static str = "soft_triple";

    fn check(&self) -> Result<(), Error> {
        let k = self.centers_per_class;
        require(k >= 1, Self::NAME, "centers_per_class", k as f64, "at least 1")?;
        for (field, value) in [("la", self.la), ("gamma", self.gamma)] {
            let valid = value > 0.0 && value.is_finite();
            require(valid, Self::NAME, field, value, "a finite number greater than 0")?;
        }
        require(self.margin.is_finite(), Self::NAME, "margin", self.margin, "a finite number")
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let (scale, margin) = (T::of(self.la), T::of(self.margin));
        let inverse = T::of(1.0 / self.gamma);
        pooled_cross_entropy(
            row,
            slopes,
            self.centers_per_class,
            scale,
            |s, slopes| relaxed(s, inverse, slopes),
            |s| (scale * (s - margin), scale),
        );
    }
}

impl ProxyRow for SoftTriple {
    const NEEDS: Needs = Needs::Similarity;

    fn per_class(&self) -> usize {
        self.centers_per_class
    }
}

/// `S = Σ q_k s_k` with `q = softmax(s · inverse)`, and `∂S/∂s_k = q_k (1 + (s_k − S) · inverse)`.
fn relaxed<T: Real>(s: &[T], inverse: T, slopes: &mut [T]) -> T {
    let top = s.iter().fold(T::NEG_INFINITY, |top, &s| top.max(s));
    let mut sum = T::ZERO;
    for (q, &s) in slopes.iter_mut().zip(s) {
        *q = ((s - top) * inverse).exp();
        sum += *q;
    }
    let pooled = s.iter().zip(&*slopes).map(|(&s, &q)| q * s).sum::<T>() / sum;
    for (q, &s) in slopes.iter_mut().zip(s) {
        *q = *q / sum * (T::ONE + (s - pooled) * inverse);
    }
    pooled
}
