//! How well a classifier's outputs tell the classes of rows.

use parallax_random::Key;
use rayon::prelude::*;

use crate::significance::{mean, quantile};
use crate::{Error, MeasureResult, Retrieval};

/// [`Retrieval::mode`] of an evaluation by [`classification`].
pub const CLASSIFICATION: &str = "classification";

/// The measures of [`classification`], in their order. The last is the better the smaller it is.
pub const CLASSIFIER_MEASURES: [&str; 10] = [
    "accuracy",
    "precision",
    "recall",
    "f1",
    "balanced_accuracy",
    "g_mean",
    "mcc",
    "average_precision",
    "auc",
    "log_loss",
];

/// How the intervals are made.
const METHOD: &str = "percentile bootstrap over rows, 95 %, linear interpolation between order statistics";

const TWO: [&str; 10] = [
    "(tp + tn) / n",
    "tp / (tp + fp); 0 where nothing is called positive",
    "tp / (tp + fn); 0 where nothing is positive",
    "2 tp / (2 tp + fp + fn); 0 where that is 0 / 0",
    "mean of recall and tn / (tn + fp), of the classes that occur",
    "geometric mean of recall and tn / (tn + fp), of the classes that occur",
    "(tp tn − fp fn) / √((tp + fp)(tp + fn)(tn + fp)(tn + fn)); 0 where that is 0 / 0",
    "Σ (R_k − R_(k−1)) P_k over the thresholds of the logits; rows with equal logits share one; 0 without positives",
    "share of pairs of a positive and a negative in which the positive has the larger logit, ties one half; ½ where a class \
     is missing",
    "mean −log of the probability of the row's class, σ(z) of the positive one; smaller is better",
];

const MANY: [&str; 10] = [
    "share of rows whose class has the largest logit; of equal ones the first counts",
    "mean over the classes that occur of tp / (tp + fp), each class against all others; 0 where nothing is called it",
    "mean over the classes that occur of tp / (tp + fn)",
    "mean over the classes that occur of 2 tp / (2 tp + fp + fn)",
    "mean over the classes that occur of tp / (tp + fn)",
    "geometric mean over the classes that occur of tp / (tp + fn)",
    "Gorodkin's R_K; 0 where that is 0 / 0",
    "mean over the classes that occur of the average precision by their softmax probabilities; without an interval",
    "mean over the classes that occur of the area under the curve by their softmax probabilities; without an interval",
    "mean −log of the softmax probability of the row's class; smaller is better",
];

/// Measures the outputs of a classifier: `logits` is `[rows, outputs]`, with one output for two classes (the second is the
/// positive one, called at `z ≥ 0`) or one for each class.
///
/// The result has the measures of [`CLASSIFIER_MEASURES`] with their definitions, in the form of a retrieval whose queries are
/// rows; `class_mean` repeats the value. Rows are put in an order of their own first, so that the answer does not depend on
/// theirs; resample `b` draws from the key of `seed` at `b`. Cost of the intervals: `O(resamples · rows)`.
///
/// # Errors
/// No rows, logits that are not one row for each class number or not finite, a class that has no output.
pub fn classification(
    logits: &[f32],
    outputs: usize,
    classes: &[u32],
    resamples: usize,
    seed: u64,
) -> Result<Retrieval, Error> {
    let set = "logits";
    if classes.is_empty() || outputs == 0 {
        return Err(Error::Empty { set });
    }
    if logits.len() != outputs * classes.len() {
        return Err(Error::Labels { set, rows: logits.len() / outputs, labels: classes.len() });
    }
    if let Some(at) = logits.iter().position(|value| !value.is_finite()) {
        let value = logits[at];
        return Err(Error::NotFinite { set, row: at / outputs + 1, column: at % outputs + 1, value });
    }
    let known = outputs.max(2);
    if let Some(row) = classes.iter().position(|&class| class as usize >= known) {
        return Err(Error::NoOutput { row: row + 1, class: classes[row], classes: known });
    }
    let rows = Rows::new(logits, outputs, classes);
    let mut values = rows.measures(None);
    if outputs > 1 {
        let (precision, area) = rows.mean_rankings(logits, outputs, classes);
        values[7] = precision;
        values[8] = area;
    }
    let key = Key::new(seed);
    let n = classes.len();
    let draws: Vec<[f64; 10]> = (0..resamples as u64)
        .into_par_iter()
        .map_init(
            || vec![0u32; n],
            |times, resample| {
                times.fill(0);
                let key = key.at(resample);
                (0..n as u64).for_each(|draw| times[key.below(draw, n)] += 1);
                rows.measures(Some(times))
            },
        )
        .collect();
    let interval = |measure: usize| {
        if draws.is_empty() || outputs > 1 && (measure == 7 || measure == 8) {
            return None;
        }
        let mut column: Vec<f64> = draws.iter().map(|values| values[measure]).collect();
        column.sort_unstable_by(f64::total_cmp);
        Some([quantile(&column, 0.025), quantile(&column, 0.975)])
    };
    let definitions = if outputs == 1 { TWO } else { MANY };
    let measures = CLASSIFIER_MEASURES.iter().enumerate().map(|(at, name)| MeasureResult {
        name: (*name).to_owned(),
        value: values[at],
        interval: interval(at),
        class_mean: values[at],
        tied_queries: 0,
        definition: definitions[at].to_owned(),
    });
    Ok(Retrieval {
        measures: measures.collect(),
        mode: CLASSIFICATION.to_owned(),
        similarity: if outputs == 1 { "positive where the logit is at least 0" } else { "the largest logit" }
            .to_owned(),
        queries: n,
        dropped: 0,
        gallery: n,
        most_relevant: 0,
        ties: 0,
        interval_method: if resamples > 0 { METHOD.to_owned() } else { String::new() },
        resamples,
        per_query: None,
    })
}

/// What is measured of a row.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
struct Row {
    /// The logit of the positive class; 0 where there are several outputs.
    score: f64,
    class: u32,
    called: u32,
    loss: f64,
}

/// Rows in descending order of their scores.
struct Rows {
    rows: Vec<Row>,
    classes: usize,
    /// Whether a score ranks the rows.
    ranked: bool,
}

/// `log(1 + e^u)`.
fn softplus(u: f64) -> f64 {
    u.max(0.0) + (-u.abs()).exp().ln_1p()
}

/// `log Σ e^z`.
fn log_sum_exp(z: &[f32]) -> f64 {
    let top = z.iter().fold(f64::NEG_INFINITY, |top, &z| top.max(f64::from(z)));
    top + z.iter().map(|&z| (f64::from(z) - top).exp()).sum::<f64>().ln()
}

impl Rows {
    fn new(logits: &[f32], outputs: usize, classes: &[u32]) -> Self {
        let row = |(z, &class): (&[f32], &u32)| match z {
            [z] => {
                let score = f64::from(*z);
                let loss = softplus(if class == 1 { -score } else { score });
                Row { score, class, called: u32::from(score >= 0.0), loss }
            }
            z => {
                let called = (0..z.len()).rev().max_by(|&a, &b| z[a].total_cmp(&z[b])).unwrap_or(0);
                let loss = log_sum_exp(z) - f64::from(z[class as usize]);
                Row { score: 0.0, class, called: called as u32, loss }
            }
        };
        let mut rows: Vec<Row> = logits.chunks_exact(outputs).zip(classes).map(row).collect();
        rows.sort_by(|a, b| {
            b.score
                .total_cmp(&a.score)
                .then(a.class.cmp(&b.class))
                .then(a.called.cmp(&b.called))
                .then(a.loss.total_cmp(&b.loss))
        });
        Rows { rows, classes: outputs.max(2), ranked: outputs == 1 }
    }

    /// All measures, of each row once or so many times.
    fn measures(&self, times: Option<&[u32]>) -> [f64; 10] {
        let weight = |at: usize| times.map_or(1.0, |times| f64::from(times[at]));
        let k = self.classes;
        let mut cells = vec![0.0; k * k];
        let (mut loss, mut n) = (0.0, 0.0);
        for (at, row) in self.rows.iter().enumerate() {
            let weight = weight(at);
            cells[row.class as usize * k + row.called as usize] += weight;
            loss += weight * row.loss;
            n += weight;
        }
        let rates = if self.ranked { two(&cells) } else { many(&cells, k) };
        let (precision, area) = match self.ranked {
            true => ranking(self.rows.iter().map(|row| (row.score, row.class == 1)).zip((0..).map(weight))),
            false => (0.0, 0.0),
        };
        let [accuracy, called, recall, f1, balanced, geometric, mcc] = rates;
        [accuracy, called, recall, f1, balanced, geometric, mcc, precision, area, loss / n]
    }

    /// The mean average precision and area of the classes that occur, each against all others.
    fn mean_rankings(&self, logits: &[f32], outputs: usize, classes: &[u32]) -> (f64, f64) {
        let sums: Vec<f64> = logits.chunks_exact(outputs).map(log_sum_exp).collect();
        let found: Vec<(f64, f64)> = (0..outputs)
            .into_par_iter()
            .filter(|&class| classes.contains(&(class as u32)))
            .map(|class| {
                let mut rows: Vec<(f64, bool)> = (sums.iter().zip(classes).enumerate())
                    .map(|(row, (sum, &own))| {
                        (f64::from(logits[row * outputs + class]) - sum, own as usize == class)
                    })
                    .collect();
                rows.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                ranking(rows.into_iter().zip(std::iter::repeat(1.0)))
            })
            .collect();
        let (precision, area): (Vec<f64>, Vec<f64>) = found.into_iter().unzip();
        (mean(precision), mean(area))
    }
}

fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}

/// Accuracy, precision, recall, F1, balanced accuracy, G-mean and Matthews's correlation of two classes.
fn two(cells: &[f64]) -> [f64; 7] {
    let &[tn, fp, fn_, tp] = cells else { return [0.0; 7] };
    let (recall, specificity) = (ratio(tp, tp + fn_), ratio(tn, tn + fp));
    let (balanced, geometric) = match (tp + fn_ > 0.0, tn + fp > 0.0) {
        (true, true) => (0.5 * (recall + specificity), (recall * specificity).sqrt()),
        (true, false) => (recall, recall),
        _ => (specificity, specificity),
    };
    // Roots one by one, so that no product of four counts is rounded.
    let scale = ((tp + fp) * (tp + fn_)).sqrt() * ((tn + fp) * (tn + fn_)).sqrt();
    [
        (tp + tn) / (tp + fp + fn_ + tn),
        ratio(tp, tp + fp),
        recall,
        ratio(2.0 * tp, 2.0 * tp + fp + fn_),
        balanced,
        geometric,
        ratio(tp * tn - fp * fn_, scale),
    ]
}

/// The same of several classes, `cells[class · k + called]`.
fn many(cells: &[f64], k: usize) -> [f64; 7] {
    let of = |class: usize| cells[class * k..][..k].iter().sum::<f64>();
    let called = |class: usize| (0..k).map(|row| cells[row * k + class]).sum::<f64>();
    let (mut n, mut right, mut occur) = (0.0, 0.0, 0.0);
    let (mut precision, mut recall, mut f1, mut logs) = (0.0, 0.0, 0.0, 0.0);
    let (mut both, mut own_squares, mut called_squares) = (0.0, 0.0, 0.0);
    for class in 0..k {
        let (own, called, tp) = (of(class), called(class), cells[class * k + class]);
        n += own;
        right += tp;
        both += own * called;
        own_squares += own * own;
        called_squares += called * called;
        if own > 0.0 {
            occur += 1.0;
            precision += ratio(tp, called);
            recall += tp / own;
            f1 += 2.0 * tp / (own + called);
            logs += (tp / own).ln();
        }
    }
    let scale = (n * n - own_squares).sqrt() * (n * n - called_squares).sqrt();
    [
        right / n,
        precision / occur,
        recall / occur,
        f1 / occur,
        recall / occur,
        (logs / occur).exp(),
        ratio(right * n - both, scale),
    ]
}

/// Average precision and area under the curve of rows in descending order of their scores, ((score, positive), weight).
fn ranking(rows: impl Iterator<Item = ((f64, bool), f64)>) -> (f64, f64) {
    let (mut tp, mut fp) = (0.0, 0.0);
    let (mut precision, mut area) = (0.0, 0.0);
    let mut group = (f64::NAN, 0.0, 0.0);
    let mut close = |(_, positives, negatives): (f64, f64, f64)| {
        if positives + negatives > 0.0 {
            // Negatives of this group stand below all positives before it, and beside its own.
            area += negatives * (tp + 0.5 * positives);
            tp += positives;
            fp += negatives;
            precision += positives * tp / (tp + fp);
        }
    };
    for ((score, positive), weight) in rows {
        if score != group.0 {
            close(group);
            group = (score, 0.0, 0.0);
        }
        *(if positive { &mut group.1 } else { &mut group.2 }) += weight;
    }
    close(group);
    (ratio(precision, tp), if tp * fp == 0.0 { 0.5 } else { area / (tp * fp) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(found: &Retrieval, name: &str) -> f64 {
        found.measures.iter().find(|measure| measure.name == name).unwrap().value
    }

    #[test]
    fn two_classes_by_hand() {
        // tp 2, fp 1, fn 1, tn 2; one tie of a positive and a negative at 0.5.
        let logits = [2.0, 0.5, 0.5, -1.0, -1.5, -2.0];
        let classes = [1, 1, 0, 1, 0, 0];
        let found = classification(&logits, 1, &classes, 0, 0).unwrap();
        let third = 1.0 / 3.0;
        let want = [
            ("accuracy", 2.0 * third),
            ("precision", 2.0 * third),
            ("recall", 2.0 * third),
            ("f1", 2.0 * third),
            ("balanced_accuracy", 2.0 * third),
            ("g_mean", 2.0 * third),
            ("mcc", third),
            // Thresholds at 2 (P 1, R 1/3), at 0.5 (P 2/3, R 2/3), at −1 (P 3/4, R 1).
            ("average_precision", third * (1.0 + 2.0 * third + 0.75)),
            // Of 9 pairs the positives win 3 + 2.5 + 2.
            ("auc", 7.5 / 9.0),
        ];
        for (name, want) in want {
            assert!((value(&found, name) - want).abs() < 1e-12, "{name}: {}", value(&found, name));
        }
        let losses = logits.iter().zip(classes).map(|(&z, class)| {
            let p = 1.0 / (1.0 + (-f64::from(z)).exp());
            -(if class == 1 { p } else { 1.0 - p }).ln()
        });
        assert!((value(&found, "log_loss") - losses.sum::<f64>() / 6.0).abs() < 1e-12);
        assert_eq!(found.measures[0].interval, None);
    }

    #[test]
    fn three_classes_by_hand() {
        let logits = [1.0, 0.0, 0.0, 0.0, 2.0, 1.0, 1.0, 0.0, 0.5, 0.0, 0.0, 3.0];
        let found = classification(&logits, 3, &[0, 1, 2, 2], 0, 0).unwrap();
        // Called 0, 1, 0, 2. Recalls 1, 1, 1/2; precisions 1/2, 1, 1; F1 2/3, 1, 2/3.
        assert_eq!(value(&found, "accuracy"), 0.75);
        assert!((value(&found, "precision") - 2.5 / 3.0).abs() < 1e-12);
        assert!((value(&found, "balanced_accuracy") - 2.5 / 3.0).abs() < 1e-12);
        assert!((value(&found, "f1") - 7.0 / 9.0).abs() < 1e-12);
        assert!((value(&found, "g_mean") - 0.5f64.powf(1.0 / 3.0)).abs() < 1e-12);
        // R_K = (3·4 − (1·2 + 1·1 + 2·1)) / √((16 − 6)(16 − 6)).
        assert!((value(&found, "mcc") - 0.7).abs() < 1e-12);
        // Of two outputs the larger counts as one logit does, their difference.
        let pairs = [0.0, 2.0, 0.0, 0.5, 0.0, 0.5, 0.0, -1.0, 0.0, -1.5, 0.0, -2.0];
        let one = classification(&[2.0, 0.5, 0.5, -1.0, -1.5, -2.0], 1, &[1, 1, 0, 1, 0, 0], 0, 0).unwrap();
        let two = classification(&pairs, 2, &[1, 1, 0, 1, 0, 0], 0, 0).unwrap();
        for name in ["accuracy", "balanced_accuracy", "g_mean", "mcc", "log_loss", "auc"] {
            assert!((value(&one, name) - value(&two, name)).abs() < 1e-12, "{name}");
        }
    }

    #[test]
    fn what_is_missing_is_said_and_not_divided_by() {
        let found = classification(&[-1.0, -2.0], 1, &[0, 0], 20, 0).unwrap();
        for (name, want) in [
            ("accuracy", 1.0),
            ("precision", 0.0),
            ("recall", 0.0),
            ("f1", 0.0),
            ("balanced_accuracy", 1.0),
            ("g_mean", 1.0),
            ("mcc", 0.0),
            ("average_precision", 0.0),
            ("auc", 0.5),
        ] {
            assert_eq!(value(&found, name), want, "{name}");
        }
        assert!(classification(&[], 1, &[], 0, 0).is_err());
        assert!(classification(&[f32::NAN], 1, &[0], 0, 0).is_err());
        assert!(classification(&[0.0, 1.0], 1, &[0], 0, 0).is_err());
        assert!(matches!(
            classification(&[0.0], 1, &[2], 0, 0),
            Err(Error::NoOutput { row: 1, class: 2, .. })
        ));
    }

    #[test]
    fn intervals_hold_the_value_and_no_order_changes_a_bit() {
        let key = Key::new(7);
        let n = 400;
        let classes: Vec<u32> = (0..n).map(|i| u32::from(key.named("class").uniform(i) < 0.2)).collect();
        let logits: Vec<f32> =
            (0..n).map(|i| (key.normal(i) + 2.0 * f64::from(classes[i as usize]) - 1.0) as f32).collect();
        let run = |threads: usize, logits: &[f32], classes: &[u32]| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| classification(logits, 1, classes, 500, 3).unwrap())
        };
        let found = run(1, &logits, &classes);
        for measure in &found.measures {
            let [low, high] = measure.interval.unwrap();
            assert!(low < measure.value && measure.value < high, "{measure:?}");
        }
        // A proportion of 400 rows has this standard error.
        let accuracy = &found.measures[0];
        let error = (accuracy.value * (1.0 - accuracy.value) / n as f64).sqrt();
        let [low, high] = accuracy.interval.unwrap();
        assert!(((high - low) / (3.92 * error) - 1.0).abs() < 0.15, "{low} {high} {error}");
        assert_eq!(found, run(2, &logits, &classes));
        let turned = |values: &[u32]| values.iter().rev().copied().collect::<Vec<_>>();
        let backwards: Vec<f32> = logits.iter().rev().copied().collect();
        assert_eq!(found, run(2, &backwards, &turned(&classes)));
        let scores: Vec<f32> = logits.iter().map(|z| -z).collect();
        let flipped: Vec<u32> = classes.iter().map(|class| 1 - class).collect();
        let flipped = run(2, &scores, &flipped);
        assert!((value(&found, "auc") - value(&flipped, "auc")).abs() < 1e-12);
    }
}
