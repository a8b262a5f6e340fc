//! Measures that are no means over rows, as if they were.

use crate::Error;

/// Positive and negative rows, called positive or not.
#[derive(Clone, Copy, Default)]
struct Cells {
    tp: f64,
    fp: f64,
    fn_: f64,
    tn: f64,
}

impl Cells {
    fn of(calls: &[(bool, bool)]) -> Cells {
        let mut cells = Cells::default();
        calls.iter().for_each(|&call| *cells.cell(call) += 1.0);
        cells
    }

    fn cell(&mut self, (positive, called): (bool, bool)) -> &mut f64 {
        match (positive, called) {
            (true, true) => &mut self.tp,
            (false, true) => &mut self.fp,
            (true, false) => &mut self.fn_,
            (false, false) => &mut self.tn,
        }
    }

    /// The measures as [`classification`](crate::classification) defines them.
    fn measure(self, name: &str) -> Option<f64> {
        let Cells { tp, fp, fn_, tn } = self;
        let share = |part: f64, of: f64| if of > 0.0 { part / of } else { 0.0 };
        let (recall, specificity) = (share(tp, tp + fn_), share(tn, tn + fp));
        let both = tp + fn_ > 0.0 && tn + fp > 0.0;
        Some(match name {
            "accuracy" => share(tp + tn, tp + fp + fn_ + tn),
            "precision" => share(tp, tp + fp),
            "recall" => recall,
            "f1" => share(2.0 * tp, 2.0 * tp + fp + fn_),
            "balanced_accuracy" if both => 0.5 * (recall + specificity),
            "g_mean" if both => (recall * specificity).sqrt(),
            "balanced_accuracy" | "g_mean" => recall + specificity,
            "mcc" => {
                let product = (tp + fp) * (tp + fn_) * (tn + fp) * (tn + fn_);
                share(tp * tn - fp * fn_, product.sqrt())
            }
            _ => return None,
        })
    }
}

/// The jackknife's pseudo-values `n θ − (n − 1) θ₍₋ᵢ₎` of a measure of a confusion matrix, one for each row: (is positive, is
/// called positive).
///
/// Their mean is the measure up to a bias of order 1/n, and resampling them is, to first order, resampling the rows. So a measure such as
/// F1 goes into a bootstrap that takes means (Tukey 1958; Efron and Tibshirani 1993, section 11.5). Rows in the same cell have the same
/// value: O(n).
///
/// # Errors
/// Fewer than two rows; a measure that is not one of accuracy, precision, recall, f1, balanced_accuracy, g_mean, mcc.
pub fn pseudo_values(measure: &str, calls: &[(bool, bool)]) -> Result<Vec<f64>, Error> {
    if calls.len() < 2 {
        return Err(Error::Sample { index: 1, len: calls.len() });
    }
    let all = Cells::of(calls);
    let unknown = || Error::Measure {
        given: measure.to_owned(),
        valid: "accuracy, precision, recall, f1, balanced_accuracy, g_mean, mcc",
    };
    let whole = all.measure(measure).ok_or_else(unknown)?;
    let n = calls.len() as f64;
    let without = |call: (bool, bool)| {
        let mut cells = all;
        *cells.cell(call) -= 1.0;
        n * whole - (n - 1.0) * cells.measure(measure).unwrap_or(whole)
    };
    let of = [(false, false), (false, true), (true, false), (true, true)].map(without);
    Ok(calls.iter().map(|&(positive, called)| of[2 * usize::from(positive) + usize::from(called)]).collect())
}

#[cfg(test)]
mod tests {
    use parallax_random::Key;

    use super::*;

    fn drawn(n: u64, seed: u64) -> Vec<(bool, bool)> {
        let key = Key::new(seed);
        (0..n)
            .map(|i| {
                let positive = key.named("p").uniform(i) < 0.15;
                (positive, key.named("c").uniform(i) < if positive { 0.8 } else { 0.05 })
            })
            .collect()
    }

    #[test]
    fn the_mean_is_the_measure_and_for_the_accuracy_exactly() {
        let calls = drawn(2000, 1);
        let logits: Vec<f32> = calls.iter().map(|call| if call.1 { 1.0 } else { -1.0 }).collect();
        let classes: Vec<u32> = calls.iter().map(|call| u32::from(call.0)).collect();
        let found = crate::classification(&logits, 1, &classes, 0, 0).unwrap();
        for measure in ["accuracy", "precision", "recall", "f1", "balanced_accuracy", "g_mean", "mcc"] {
            let values = pseudo_values(measure, &calls).unwrap();
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let value = found.measures.iter().find(|m| m.name == measure).unwrap().value;
            let tolerance = if measure == "accuracy" { 1e-9 } else { 1e-3 };
            assert!((mean - value).abs() < tolerance, "{measure}: {mean} {value}");
        }
    }

    #[test]
    fn resampling_them_is_as_wide_as_resampling_rows() {
        let calls = drawn(1500, 2);
        let values = pseudo_values("f1", &calls).unwrap();
        let linear = crate::bootstrap_mean(&values, 2000, Key::new(3)).unwrap();
        let mut direct: Vec<f64> = (0..2000)
            .map(|b| {
                let key = Key::new(4).at(b);
                let sample: Vec<_> = (0..1500).map(|i| calls[key.below(i, 1500)]).collect();
                Cells::of(&sample).measure("f1").unwrap()
            })
            .collect();
        direct.sort_by(f64::total_cmp);
        let width =
            crate::significance::quantile(&direct, 0.975) - crate::significance::quantile(&direct, 0.025);
        assert!(((linear.high - linear.low) / width - 1.0).abs() < 0.1, "{linear:?} against {width}");
    }

    #[test]
    fn what_is_not_of_a_confusion_matrix_is_refused() {
        assert!(pseudo_values("auc", &drawn(10, 1)).is_err());
        assert!(pseudo_values("f1", &drawn(1, 1)).is_err());
    }
}
