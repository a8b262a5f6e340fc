//! Distances and similarities between an anchor and a reference.
//!
//! Every distance but [`Lp`] with `p ≠ 2` is a function of the inner product `g = xᵢ·rⱼ` and of one statistic of each
//! row, so a whole tile of them costs one matrix product. [`Frame`](crate::frame) holds the rows in the form in which
//! that is true: normalised, centred, or as they came.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, require};

/// Cosine similarity `xᵢ·rⱼ / (‖xᵢ‖ ‖rⱼ‖)`; larger is nearer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cosine {}

/// Inner product `xᵢ·rⱼ`; larger is nearer.
///
/// pytorch-metric-learning's `DotProductSimilarity` normalises by default, which makes it the cosine; here the default
/// is the plain product.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Dot {
    /// Divide embeddings by their L2 norm first (then it is the cosine).
    pub normalize: bool,
}

/// `(Σₖ |xᵢₖ − rⱼₖ|ᵖ)^(power/p)`; smaller is nearer.
///
/// `p = 2` goes through the matrix product. Other `p` are computed from the differences, pair by pair: O(B·R·D) without
/// a matrix product, several times slower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Lp {
    /// Order of the norm, at least 1.
    pub p: f64,
    /// Exponent of the distance, greater than 0.
    pub power: f64,
    /// Divide embeddings by their p-norm first.
    pub normalize: bool,
}

impl Default for Lp {
    fn default() -> Self {
        Lp { p: 2.0, power: 1.0, normalize: true }
    }
}

/// `‖xᵢ − rⱼ‖²`: [`Lp`] with `p = 2` and `power = 2`; smaller is nearer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SquaredEuclidean {
    /// Divide embeddings by their L2 norm first.
    pub normalize: bool,
}

impl Default for SquaredEuclidean {
    fn default() -> Self {
        SquaredEuclidean { normalize: true }
    }
}

/// Signal-to-noise distance `var(xᵢ − rⱼ) / var(xᵢ)`, variances over the dimensions; smaller is nearer.
///
/// The ratio does not depend on whether the variances are divided by `D` or `D − 1`. It is not symmetric: the anchor is
/// the signal. One dimension has no variance and is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Snr {
    /// Divide embeddings by their L2 norm first.
    pub normalize: bool,
    /// Added to the variance of the anchor, so that one without any (a constant vector, a dead head) has a distance; with the
    /// default of 0 such an anchor is refused.
    pub eps: f64,
}

impl Default for Snr {
    fn default() -> Self {
        Snr { normalize: true, eps: 0.0 }
    }
}

/// Hamming distance of codes in −1 and +1, `(D − xᵢ·rⱼ) / 2`: in how many dimensions two codes differ; smaller is nearer.
///
/// For soft codes between −1 and 1 it is the expected count when each component is the mean of a random sign, with the
/// derivative that training needs. It is computed on the values as they come: take signs first for hard codes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Hamming {}

/// How near a reference is to an anchor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum DistanceConfig {
    /// Cosine similarity (larger is nearer).
    Cosine(Cosine),
    /// Inner product (larger is nearer).
    Dot(Dot),
    /// Lp norm of the difference, raised to a power (smaller is nearer).
    Lp(Lp),
    /// Squared Euclidean distance (smaller is nearer).
    SquaredEuclidean(SquaredEuclidean),
    /// Variance of the difference over variance of the anchor (smaller is nearer; Yuan et al., Signal-to-Noise Ratio: A
    /// Robust Distance Metric for Deep Metric Learning, CVPR 2019).
    Snr(Snr),
    /// Number of dimensions in which codes of −1 and +1 differ; soft codes are allowed (smaller is nearer).
    Hamming(Hamming),
}

impl DistanceConfig {
    /// Cosine similarity.
    pub fn cosine() -> Self {
        Self::Cosine(Cosine {})
    }

    /// Euclidean distance of L2-normalised embeddings.
    pub fn euclidean() -> Self {
        Self::Lp(Lp::default())
    }

    /// Whether a larger value means nearer, as for similarities. Margins and logits of the losses turn with it.
    pub fn larger_is_nearer(&self) -> bool {
        matches!(self, Self::Cosine(_) | Self::Dot(_))
    }

    /// Refuses parameters outside their range.
    pub fn check(&self) -> Result<(), Error> {
        if let Self::Snr(Snr { eps, .. }) = self {
            let valid = *eps >= 0.0 && eps.is_finite();
            return require(valid, "snr", "eps", *eps, "a finite number of at least 0");
        }
        let Self::Lp(lp) = self else { return Ok(()) };
        require(lp.p >= 1.0 && lp.p.is_finite(), "lp", "p", lp.p, "a finite number of at least 1")?;
        require(
            lp.power > 0.0 && lp.power.is_finite(),
            "lp",
            "power",
            lp.power,
            "a finite number greater than 0",
        )
    }

    /// The Euclidean distance of normalised embeddings that belongs to a value, where it follows from it.
    pub(crate) fn on_sphere(&self, value: f64) -> Option<f64> {
        if self.norm() != Some(2.0) {
            return None;
        }
        match self.form() {
            Form::Product => Some((2.0 - 2.0 * value).max(0.0).sqrt()),
            Form::Euclidean { power } => Some(value.max(0.0).powf(1.0 / power)),
            Form::SignalToNoise | Form::Codes | Form::Differences { .. } => None,
        }
    }

    /// The norm by which embeddings are divided, if any.
    pub(crate) fn norm(&self) -> Option<f64> {
        match self {
            Self::Cosine(_) => Some(2.0),
            Self::Lp(lp) => lp.normalize.then_some(lp.p),
            Self::Dot(Dot { normalize })
            | Self::SquaredEuclidean(SquaredEuclidean { normalize })
            | Self::Snr(Snr { normalize, .. }) => normalize.then_some(2.0),
            Self::Hamming(_) => None,
        }
    }

    /// How the value follows from prepared rows.
    pub(crate) fn form(&self) -> Form {
        match self {
            Self::Cosine(_) | Self::Dot(_) => Form::Product,
            Self::Lp(lp) if lp.p == 2.0 => Form::Euclidean { power: lp.power },
            Self::Lp(lp) => Form::Differences { p: lp.p, power: lp.power },
            Self::SquaredEuclidean(_) => Form::Euclidean { power: 2.0 },
            Self::Snr(_) => Form::SignalToNoise,
            Self::Hamming(_) => Form::Codes,
        }
    }
}

/// How a value follows from prepared rows `x`, `r` with squared norms `n` and inner product `g`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Form {
    /// `s = g`.
    Product,
    /// `s = (D − g) / 2`.
    Codes,
    /// `s = (nᵢ + nⱼ − 2g)^(power/2)`.
    Euclidean { power: f64 },
    /// `s = (nᵢ + nⱼ − 2g) / nᵢ` of centred rows.
    SignalToNoise,
    /// `s = (Σ |x − r|ᵖ)^(power/p)`, from the differences.
    Differences { p: f64, power: f64 },
}

impl Form {
    /// Whether the squared norms enter.
    pub(crate) fn uses_norms(self) -> bool {
        matches!(self, Form::Euclidean { .. } | Form::SignalToNoise)
    }

    /// The value of a squared distance `d2` for a row whose divisor is `n`.
    #[inline(always)]
    pub(crate) fn of_squared<T: Real>(self, d2: T, n: T) -> T {
        match self {
            Form::Euclidean { power: 1.0 } => d2.sqrt(),
            Form::Euclidean { power: 2.0 } => d2,
            Form::Euclidean { power } => d2.powf(T::of(0.5 * power)),
            Form::SignalToNoise => d2 / n,
            Form::Product | Form::Codes | Form::Differences { .. } => d2,
        }
    }

    /// `∂s/∂d²` where the value is `s`; 0 for coincident rows, where the distance itself has a kink.
    #[inline(always)]
    pub(crate) fn slope_squared<T: Real>(self, s: T, n: T) -> T {
        match self {
            Form::Euclidean { power: 2.0 } => T::ONE,
            Form::SignalToNoise => T::ONE / n,
            _ if s <= T::ZERO => T::ZERO,
            Form::Euclidean { power: 1.0 } => T::of(0.5) / s,
            Form::Euclidean { power } => T::of(0.5 * power) * s.powf(T::of(1.0 - 2.0 / power)),
            Form::Product | Form::Codes | Form::Differences { .. } => T::ZERO,
        }
    }
}

/// `(Σₖ |aₖ − bₖ|ᵖ)^(power/p)`.
pub(crate) fn of_differences<T: Real>(p: f64, power: f64, a: &[T], b: &[T]) -> T {
    let differences = a.iter().zip(b).map(|(&a, &b)| (a - b).abs());
    let sum: T = if p == 1.0 {
        differences.sum()
    } else {
        let p = T::of(p);
        differences.map(|d| d.powf(p)).sum()
    };
    if power == p { sum } else { sum.powf(T::of(power / p)) }
}

/// The factor `q` of `∂s/∂aₖ = q · sign(aₖ − bₖ) |aₖ − bₖ|^(p−1)` where the value is `s`; 0 for coincident rows.
pub(crate) fn slope_differences<T: Real>(p: f64, power: f64, s: T) -> T {
    if power == p {
        T::of(power)
    } else if s > T::ZERO {
        T::of(power) * s.powf(T::of(1.0 - p / power))
    } else {
        T::ZERO
    }
}

/// Adds `q · sign(aₖ − bₖ) |aₖ − bₖ|^(p−1)` to `to`: for `p = 2`, `q` times the difference.
pub(crate) fn add_difference<T: Real>(p: f64, q: T, a: &[T], b: &[T], to: &mut [T]) {
    let pairs = to.iter_mut().zip(a.iter().zip(b));
    if p == 2.0 {
        pairs.for_each(|(to, (&a, &b))| *to += q * (a - b));
    } else {
        let exponent = T::of(p - 1.0);
        pairs.for_each(|(to, (&a, &b))| {
            let d = a - b;
            if d > T::ZERO {
                *to += if p == 1.0 { q } else { q * d.powf(exponent) };
            } else if d < T::ZERO {
                *to -= if p == 1.0 { q } else { q * (-d).powf(exponent) };
            }
        });
    }
}

/// `‖a − b‖²`, from the differences.
pub(crate) fn squared<T: Real>(a: &[T], b: &[T]) -> T {
    a.iter().zip(b).map(|(&a, &b)| (a - b) * (a - b)).sum()
}
