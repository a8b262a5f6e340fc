//! The contrastive loss on signal-to-noise distances.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Contrastive;
use crate::distance::{DistanceConfig, Snr};
use crate::error::Error;
use crate::mixup::Branches;
use crate::reducer::ReducerConfig;
use crate::row::{MAX_CHANNELS, Pairs, Row, RowLoss, Slopes};

/// [`Contrastive`] with the signal-to-noise distance as its own: `max(0, d − pos_margin)` for each positive pair and
/// `max(0, neg_margin − d)` for each negative pair.
///
/// The paper's regulariser of zero mean is the regulariser `zero_mean`.
///
/// Defaults: 0 and 1, signal-to-noise distance of normalised embeddings, mean over the non-zero pairs. Yuan et al.,
/// *Signal-to-Noise Ratio: A Robust Distance Metric for Deep Metric Learning*, CVPR 2019.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SnrContrastive {
    /// Positives nearer than this cost nothing.
    pub pos_margin: f64,
    /// Negatives farther than this cost nothing.
    pub neg_margin: f64,
}

impl Default for SnrContrastive {
    fn default() -> Self {
        SnrContrastive { pos_margin: 0.0, neg_margin: 1.0 }
    }
}

impl SnrContrastive {
    fn plain(&self) -> Contrastive {
        Contrastive { pos_margin: self.pos_margin, neg_margin: self.neg_margin }
    }
}

impl RowLoss for SnrContrastive {
    const NAME: &'static str = "snr_contrastive";
    const CHANNELS: &'static [&'static str] = Contrastive::CHANNELS;
    const PAIRWISE: bool = true;

    fn distance(&self) -> DistanceConfig {
        DistanceConfig::Snr(Snr::default())
    }

    fn reducer(&self) -> ReducerConfig {
        self.plain().reducer()
    }

    fn check(&self) -> Result<(), Error> {
        super::lifted_structure::finite_margins(Self::NAME, self.pos_margin, self.neg_margin)
    }

    fn elements(&self, pairs: Pairs) -> Option<[u64; MAX_CHANNELS]> {
        self.plain().elements(pairs)
    }

    fn branches(&self, larger_is_nearer: bool) -> Option<Branches> {
        self.plain().branches(larger_is_nearer)
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        self.plain().row(row, slopes);
    }
}
