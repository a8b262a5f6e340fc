//! How the elements of a loss become one number.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The mean over all elements: 0 if there are none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Mean {}

/// The sum over all elements.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Sum {}

/// The mean over the elements greater than 0: 0 if there are none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AvgNonZero {}

/// Turns the elements of a channel (pairs or anchors, as the loss defines) into one number; channels are added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum ReducerConfig {
    /// Mean over all elements, zeros included.
    Mean(Mean),
    /// Sum over all elements.
    Sum(Sum),
    /// Mean over the elements greater than 0, so that easy pairs do not dilute the hard ones.
    AvgNonZero(AvgNonZero),
}

impl ReducerConfig {
    /// The mean over all elements.
    pub fn mean() -> Self {
        Self::Mean(Mean {})
    }

    /// The sum over all elements.
    pub fn sum() -> Self {
        Self::Sum(Sum {})
    }

    /// The mean over the elements greater than 0.
    pub fn avg_non_zero() -> Self {
        Self::AvgNonZero(AvgNonZero {})
    }

    /// Whether an element of this value enters the reduction.
    #[inline]
    pub(crate) fn keeps(&self, value: f64) -> bool {
        match self {
            Self::Mean(_) | Self::Sum(_) => true,
            Self::AvgNonZero(_) => value > 0.0,
        }
    }

    /// What the sum over the kept elements is multiplied with.
    pub(crate) fn factor(&self, kept: u64) -> f64 {
        match self {
            Self::Sum(_) => 1.0,
            Self::Mean(_) | Self::AvgNonZero(_) => {
                if kept == 0 {
                    0.0
                } else {
                    1.0 / kept as f64
                }
            }
        }
    }

    /// Whether [`factor`](Self::factor) depends on the batch.
    pub(crate) fn counts(&self) -> bool {
        !matches!(self, Self::Sum(_))
    }
}
