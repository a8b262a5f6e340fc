//! Proxies as anchors of the batch.

use parallax_kernels::{Real, vector};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Major, ProxyRow};
use crate::error::{Error, require};
use crate::loss::softmax::log_sum_exp;
use crate::mixup::{Branch, Branches, ElementOf, Rho, Sigma};
use crate::row::{Row, RowLoss, Slopes};

/// For each proxy, over the embeddings of the batch: `log(1 + Σ_P e^(−α(s − δ)))` over those of its class and
/// `log(1 + Σ_N e^(α(s + δ)))` over the others; a distance enters with its sign turned.
///
/// Two channels, `positive` with one element a proxy whose class is in the batch, and `negative` with one a proxy; their
/// means are the divisors of the paper (|P⁺| and |P|). The row is a proxy's, so the tile holds proxies × embeddings and no
/// first pass is needed.
///
/// Defaults: margin δ = 0.1, α = 32, cosine, mean. Kim et al., *Proxy Anchor Loss for Deep Metric Learning*, CVPR 2020.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyAnchor {
    /// Margin δ of both sides.
    pub margin: f64,
    /// Scale α of the exponents, greater than 0.
    pub alpha: f64,
}

impl Default for ProxyAnchor {
    fn default() -> Self {
        ProxyAnchor { margin: 0.1, alpha: 32.0 }
    }
}

impl RowLoss for ProxyAnchor {
    const NAME: &'static str = "proxy_anchor";
    const CHANNELS: &'static [&'static str] = &["positive", "negative"];

    fn check(&self) -> Result<(), Error> {
        require(self.margin.is_finite(), Self::NAME, "margin", self.margin, "a finite number")?;
        let valid = self.alpha > 0.0 && self.alpha.is_finite();
        require(valid, Self::NAME, "alpha", self.alpha, "a finite number greater than 0")
    }

    fn branches(&self, larger_is_nearer: bool) -> Option<Branches> {
        let scale = if larger_is_nearer { self.alpha } else { -self.alpha };
        let branch = |scale: f64, shift: f64| Branch {
            rho: Rho::Exponential { scale, shift },
            sigma: Sigma::LogOnePlus { factor: 1.0 },
        };
        let of_anchors = Branches::of_anchors(branch(-scale, self.margin), branch(scale, -self.margin));
        Some(Branches { elements: ElementOf::Branch, ..of_anchors })
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let scale = row.sign() * T::of(self.alpha);
        let margin = T::of(self.margin);
        if !row.positives.is_empty() {
            let value = log_sum_exp(row.positives, -scale, margin, true, slopes.positives);
            let factor = -scale * slopes.element(0, value);
            vector::scale(slopes.positives, factor);
        }
        let value = log_sum_exp(row.negatives, scale, -margin, true, slopes.negatives);
        let factor = scale * slopes.element(1, value);
        vector::scale(slopes.negatives, factor);
    }
}

impl ProxyRow for ProxyAnchor {
    const MAJOR: Major = Major::Proxies;
}
