//! Similarities that should be a teacher's.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Opinion;
use super::softmax::log_sum_exp;
use crate::distance::DistanceConfig;
use crate::error::Error;
use crate::row::{Row, RowLoss, Slopes};
use crate::scored::check_temperatures;

/// The similarities of a batch, `s`, should be those that a teacher sees, `t`, whatever the classes say.
///
/// With `match = "divergence"` each anchor is an element, `τ² · KL( softmax(t / τ_t) ‖ softmax(s / τ) )` over all its pairs;
/// `τ²` keeps the size of the gradient. With `match = "squared"` each pair is one, `(s − t)²`. Of the teacher's embeddings the
/// inner products are compared as they are, or the cosines where its model compares by cosine. For a batch of pairs the
/// matrix is that of anchors against positives and hard negatives. A teacher or a student with the head `structural_sparse`
/// brings its learned similarity with it: that is the distance of the distillation, then.
///
/// Defaults: divergence, τ = τ_t = 0.05, cosine, mean over the elements. Hinton et al., *Distilling the Knowledge in a Neural
/// Network*, 2015, on the lists that a batch makes; squared as in Tung and Mori, *Similarity-Preserving Knowledge Distillation*,
/// ICCV 2019, on cosines instead of rows of the Gram matrix divided by their norms.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SimilarityDistillation {
    /// What is compared: the distribution over an anchor's pairs, or each pair.
    #[serde(rename = "match")]
    pub compared: Match,
    /// Divisor τ of the student's similarities, greater than 0; for the divergence.
    pub student_temperature: f64,
    /// Divisor τ_t of the teacher's, greater than 0; for the divergence.
    pub teacher_temperature: f64,
}

/// What [`SimilarityDistillation`] compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// The distributions over the pairs of an anchor.
    #[default]
    Divergence,
    /// Each similarity.
    Squared,
}

impl Default for SimilarityDistillation {
    fn default() -> Self {
        SimilarityDistillation {
            compared: Match::Divergence,
            student_temperature: 0.05,
            teacher_temperature: 0.05,
        }
    }
}

impl SimilarityDistillation {
    fn divergence<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        let (tau, teacher) = (T::of(self.student_temperature), T::of(1.0 / self.teacher_temperature));
        let scale = T::ONE / tau;
        // Softmax within positives and within negatives, and what takes each to the softmax over both.
        let positive = log_sum_exp(row.positives, scale, T::ZERO, false, slopes.positives);
        let negative = log_sum_exp(row.negatives, scale, T::ZERO, false, slopes.negatives);
        let student = super::softmax::log_add(positive, negative);
        let columns = || row.positive_columns.iter().chain(row.negative_columns);
        let told = || columns().map(|&column| teacher * row.taught[column as usize]);
        let top = told().fold(T::NEG_INFINITY, T::max);
        let total = top + told().map(|t| (t - top).exp()).sum::<T>().ln();
        let mut value = T::ZERO;
        for (s, t) in row.positives.iter().chain(row.negatives).zip(told()) {
            let (log_p, log_q) = (t - total, scale * *s - student);
            let p = log_p.exp();
            // What the teacher gives no weight says nothing, however far it is.
            if p > T::ZERO {
                value += p * (log_p - log_q);
            }
        }
        let weight = slopes.element(0, tau * tau * value) * tau;
        let shares = [(positive - student).exp(), (negative - student).exp()];
        let lists =
            [(&mut *slopes.positives, row.positive_columns), (slopes.negatives, row.negative_columns)];
        for (share, (slopes, columns)) in shares.into_iter().zip(lists) {
            for (slope, &column) in slopes.iter_mut().zip(columns) {
                let p = (teacher * row.taught[column as usize] - total).exp();
                *slope = weight * (share * *slope - p);
            }
        }
    }

    fn squared<T: Real>(row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        for (k, (&s, &column)) in row.positives.iter().zip(row.positive_columns).enumerate() {
            let off = s - row.taught[column as usize];
            slopes.positives[k] = slopes.element(0, off * off) * (off + off);
        }
        for (k, (&s, &column)) in row.negatives.iter().zip(row.negative_columns).enumerate() {
            let off = s - row.taught[column as usize];
            slopes.negatives[k] = slopes.element(0, off * off) * (off + off);
        }
    }
}

impl RowLoss for SimilarityDistillation {
    const NAME: &'static str = "similarity_distillation";

    fn check(&self) -> Result<(), Error> {
        check_temperatures(Self::NAME, self.student_temperature, self.teacher_temperature)
    }

    fn check_distance(&self, distance: &DistanceConfig) -> Result<(), Error> {
        let needs = "a similarity, such as the cosine";
        match distance.larger_is_nearer() {
            true => Ok(()),
            false => Err(Error::Distance { component: Self::NAME, needs }),
        }
    }

    fn teacher(&self) -> Option<Opinion> {
        Some(Opinion::Whole)
    }

    fn row<T: Real>(&self, row: &Row<'_, T>, slopes: &mut Slopes<'_, T>) {
        if row.positives.is_empty() && row.negatives.is_empty() {
            return;
        }
        match self.compared {
            Match::Divergence => self.divergence(row, slopes),
            Match::Squared => Self::squared(row, slopes),
        }
    }
}
