//! Triplets by the angle at the negative.

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{At, RowMiner};
use crate::distance::squared;
use crate::error::{Error, require};
use crate::relation::Candidates;
use crate::triplets::Chosen;

/// Takes the triplets in which `atan( ‖a − p‖ / (2 ‖n − (a + p)/2‖) )` is greater than `angle`.
///
/// That is the angle at the negative under which half of the segment from anchor to positive is seen when they stand
/// square. It is measured on the embeddings as they came, whatever the objective's distance, as in
/// pytorch-metric-learning; normalise them first for angles on the sphere. O(P · N · D) a row; the triplets of a row are
/// listed.
///
/// Default: 20 degrees. Wang et al., *Deep Metric Learning with Angular Loss*, ICCV 2017.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Angular {
    /// Angle in degrees, between 0 and 90.
    pub angle: f64,
}

impl Default for Angular {
    fn default() -> Self {
        Angular { angle: 20.0 }
    }
}

impl RowMiner for Angular {
    fn check(&self) -> Result<(), Error> {
        require((0.0..=90.0).contains(&self.angle), "angular miner", "angle", self.angle, "between 0 and 90")
    }

    fn mine<T: Real>(
        &self,
        at: &At<'_, T>,
        positives: &mut Candidates<T>,
        negatives: &mut Candidates<T>,
    ) -> Chosen<T> {
        let limit = self.angle.to_radians();
        let anchor = at.x.raw_row(at.anchor);
        let half = T::of(0.5);
        let mut list = Vec::new();
        let (mut has_positive, mut has_negative) =
            (vec![false; positives.len()], vec![false; negatives.len()]);
        for (p, &column) in positives.columns().iter().enumerate() {
            let positive = at.r.raw_row(column as usize);
            let centre: Vec<T> = anchor.iter().zip(positive).map(|(&a, &p)| half * (a + p)).collect();
            let apart = squared(anchor, positive).f64().sqrt();
            for (n, &column) in negatives.columns().iter().enumerate() {
                let away = squared(at.r.raw_row(column as usize), &centre).f64().sqrt();
                if (apart / (2.0 * away)).atan() > limit {
                    list.push((p as u32, n as u32));
                    (has_positive[p], has_negative[n]) = (true, true);
                }
            }
        }
        keep_listed(list, &has_positive, &has_negative, positives, negatives)
    }
}

/// Keeps the pairs that are in a triplet and numbers the triplets by what is left.
pub(super) fn keep_listed<T: Real>(
    mut list: Vec<(u32, u32)>,
    has_positive: &[bool],
    has_negative: &[bool],
    positives: &mut Candidates<T>,
    negatives: &mut Candidates<T>,
) -> Chosen<T> {
    let places = |has: &[bool]| -> Vec<u32> {
        has.iter()
            .scan(0, |next, &has| {
                let place = *next;
                *next += u32::from(has);
                Some(place)
            })
            .collect()
    };
    let (p_place, n_place) = (places(has_positive), places(has_negative));
    list.iter_mut().for_each(|(p, n)| (*p, *n) = (p_place[*p as usize], n_place[*n as usize]));
    positives.retain_entries(|k, _, _| has_positive[k]);
    negatives.retain_entries(|k, _, _| has_negative[k]);
    Chosen::Listed(list)
}
