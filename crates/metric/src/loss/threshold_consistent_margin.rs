//! A regulariser for one threshold over all classes.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, require};
use crate::reducer::ReducerConfig;
use crate::row::{MAX_CHANNELS, Pairs, Row, RowLoss, Slopes};

/// `λ⁺ (m⁺ − s)` for each positive pair with a similarity below `m⁺` and `λ⁻ (s − m⁻)` for each negative pair above `m⁻`,
/// averaged over those pairs and added.
///
/// It asks every class for the same similarities within and between, so that one threshold serves all; it is meant to
/// stand beside another loss. With a distance the differences turn round.
///
/// Defaults: lambdas 1, margin_plus 0.9, margin_minus 0.5, cosine, mean over the non-zero pairs. Zhang et al., *Threshold-
/// Consistent Margin Loss for Open-World Deep Metric Learning*, ICLR 2024, equation 6.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ThresholdConsistentMargin {
    /// Weight of the positive part, at least 0.
    pub lambda_plus: f64,
    /// Weight of the negative part, at least 0.
    pub lambda_minus: f64,
    /// Positives nearer than this cost nothing.
    pub margin_plus: f64,
    /// Negatives farther than this cost nothing.
    pub margin_minus: f64,
}

impl Default for ThresholdConsistentMargin {
    fn default() -> Self {
        ThresholdConsistentMargin { lambda_plus: 1.0, lambda_minus: 1.0, margin_plus: 0.9, margin_minus: 0.5 }
    }
}

impl RowLoss for ThresholdConsistentMargin {
    const NAME: &'static str = "threshold_consistent_margin";
    const CHANNELS: &'static [&'static str] = &["positive", "negative"];
    const PAIRWISE: bool = true;

    fn reducer(&self) -> ReducerConfig {
        ReducerConfig::avg_non_zero()
    }

    fn check(&self) -> Result<(), Error> {
        for (field, value) in [("lambda_plus", self.lambda_plus), ("lambda_minus", self.lambda_minus)] {
            let valid = value >= 0.0 && value.is_finite();
            require(valid, Self::NAME, field, value, "a finite number of at least 0")?;
        }
        for (field, value) in [("margin_plus", self.margin_plus), ("margin_minus", self.margin_minus)] {
            require(value.is_finite(), Self::NAME, field, value, "a finite number")?;
        }
        Ok(())
    }

    fn elements(&self, pairs: Pairs) -> Option<[u64; MAX_CHANNELS]> {
        Some([pairs.positive, pairs.negative, 0, 0])
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let sign = row.sign();
        super::contrastive::hinges(row.positives, -sign, self.margin_plus, self.lambda_plus, 0, slopes);
        super::contrastive::hinges(row.negatives, sign, self.margin_minus, self.lambda_minus, 1, slopes);
    }
}
