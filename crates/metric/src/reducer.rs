//! How the elements of a loss become one number.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, require};
use crate::row::Tally;

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

/// The mean over all elements, each multiplied with the weight of its anchor's class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ClassWeighted {
    /// Weight of each class, by label; every label of a batch must have one.
    pub weights: Vec<f64>,
}

/// The mean over anchors of the mean over the anchor's elements; an anchor without elements counts as 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct PerAnchor {}

/// The mean over the elements strictly between two bounds: 0 if there are none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Threshold {
    /// Elements must be greater than this; no bound by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low: Option<f64>,
    /// Elements must be less than this; no bound by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high: Option<f64>,
}

/// The sum over all elements divided by what the loss states as its divisor (for the margin loss, how many hinges are
/// open); by the number of elements where the loss states none; 0 where the divisor is 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Divisor {}

/// Turns the elements of a channel (pairs, triplets or anchors, as the loss defines) into one number; channels are added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum ReducerConfig {
    /// Mean over all elements, zeros included.
    Mean(Mean),
    /// Sum over all elements.
    Sum(Sum),
    /// Mean over the elements greater than 0, so that easy pairs do not dilute the hard ones.
    AvgNonZero(AvgNonZero),
    /// Mean over all elements, weighted by the class of the anchor.
    ClassWeighted(ClassWeighted),
    /// Mean over anchors of each anchor's mean, so that large classes do not count for more.
    PerAnchor(PerAnchor),
    /// Mean over the elements between two bounds, to leave out the easiest and the outliers.
    Threshold(Threshold),
    /// Sum over all elements, divided as the loss says.
    Divisor(Divisor),
}

/// An open interval of element values; with no bound on a side, everything on that side.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// Values must be greater.
    pub low: f64,
    /// Values must be less.
    pub high: f64,
}

impl Range {
    /// Every value.
    pub const ALL: Range = Range { low: f64::NEG_INFINITY, high: f64::INFINITY };

    /// Whether a value lies inside; NaN does, so that it is seen in the result.
    #[inline]
    pub fn holds(self, value: f64) -> bool {
        !(value <= self.low || value >= self.high) || self == Self::ALL
    }
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

    /// The sum over the loss's own divisor.
    pub fn divisor() -> Self {
        Self::Divisor(Divisor {})
    }

    /// Refuses parameters outside their range.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::ClassWeighted(c) => c.weights.iter().try_for_each(|&weight| {
                let valid = weight >= 0.0 && weight.is_finite();
                require(valid, "class_weighted", "weights", weight, "finite numbers of at least 0")
            }),
            Self::Threshold(t) => {
                let (low, high) = (t.low.unwrap_or(f64::NEG_INFINITY), t.high.unwrap_or(f64::INFINITY));
                require(low < high, "threshold", "low", low, "less than `high`, and neither may be NaN")
            }
            _ => Ok(()),
        }
    }

    /// The elements that enter the reduction.
    pub fn range(&self) -> Range {
        match self {
            Self::AvgNonZero(_) => Range { low: 0.0, ..Range::ALL },
            Self::Threshold(t) => {
                Range { low: t.low.unwrap_or(f64::NEG_INFINITY), high: t.high.unwrap_or(f64::INFINITY) }
            }
            _ => Range::ALL,
        }
    }

    /// The weight of an anchor of this class.
    pub fn class_weight(&self, label: u32) -> f64 {
        match self {
            Self::ClassWeighted(c) => c.weights.get(label as usize).copied().unwrap_or(1.0),
            _ => 1.0,
        }
    }

    /// How many classes have a weight, where classes are weighted.
    pub(crate) fn classes(&self) -> Option<usize> {
        match self {
            Self::ClassWeighted(c) => Some(c.weights.len()),
            _ => None,
        }
    }

    /// Whether each anchor's elements are averaged first.
    pub(crate) fn per_anchor(&self) -> bool {
        matches!(self, Self::PerAnchor(_))
    }

    /// What the sum of a channel is multiplied with, for a batch of `anchors`.
    pub(crate) fn factor(&self, tally: &Tally, anchors: usize) -> f64 {
        let divisor = match self {
            Self::Sum(_) => 1.0,
            Self::PerAnchor(_) => anchors as f64,
            Self::Divisor(_) if tally.divides => tally.divisor,
            _ => tally.kept as f64,
        };
        if divisor == 0.0 { 0.0 } else { 1.0 / divisor }
    }

    /// Whether [`factor`](Self::factor) depends on the elements.
    pub(crate) fn counts(&self) -> bool {
        !matches!(self, Self::Sum(_) | Self::PerAnchor(_))
    }
}
