//! A score of a confusion matrix as a loss: the worked example of AnyLoss, and its facts.

use parallax_metric::logit::{Anyloss, BinaryCrossEntropy, Cells, CrossEntropy, Score};
use parallax_metric::{Batch, Context, Error, Evaluated, LossConfig, Objective, Refs};
use parallax_random::Key;

/// The worked example: probabilities and classes.
const P: [f64; 5] = [0.9, 0.6, 0.45, 0.2, 0.55];
const Y: [u32; 5] = [1, 0, 1, 0, 1];

fn logits(p: &[f64]) -> Vec<f64> {
    p.iter().map(|p| (p / (1.0 - p)).ln()).collect()
}

fn objective(score: Score, amplification: f64) -> Objective {
    LossConfig::Anyloss(Anyloss { score, amplification, warm_up: 0 }).into()
}

fn run(objective: &Objective, z: &[f64], dim: usize, labels: &[u32]) -> Evaluated<f64> {
    objective.evaluate(&Batch { x: z, dim, labels, refs: None }, false).unwrap()
}

fn value(score: Score, amplification: f64) -> f64 {
    run(&objective(score, amplification), &logits(&P), 1, &Y).value
}

fn formula(text: &str) -> Score {
    Score::Formula(text.to_owned())
}

#[test]
fn the_worked_example() {
    let want = [
        (Score::Accuracy, 0.359294),
        (Score::F1, 0.311860),
        (Score::GMean, 0.364776),
        (Score::BalancedAccuracy, 0.364285),
        (Score::Precision, 0.282009),
        (Score::Recall, 0.339329),
        (Score::FBeta(2.0), 0.328609),
        (formula("2*tp / (2*tp + fp + fn)"), 0.311860),
        (formula("sqrt(tp/(tp+fn) * tn/(tn+fp))"), 0.364776),
        (formula("(tp + tn) / n"), 0.359294),
    ];
    for (score, want) in want {
        let found = value(score.clone(), 10.0);
        assert!((found - want).abs() < 1e-6, "{score:?}: {found}, not {want}");
    }
}

#[test]
fn the_gradients_of_the_worked_example() {
    let want = [
        (Score::F1, [-0.040224, 0.234869, -0.535183, 0.053967, -0.535183]),
        (Score::GMean, [-0.028304, 0.511220, -0.376587, 0.117466, -0.376587]),
    ];
    for (score, want) in want {
        let found = run(&objective(score.clone(), 10.0), &logits(&P), 1, &Y);
        for ((slope, p), want) in found.grad.iter().zip(P).zip(want) {
            let by_p = slope / (p * (1.0 - p));
            assert!((by_p - want).abs() < 1e-6, "{score:?}: {by_p}, not {want}");
        }
    }
}

#[test]
fn steep_it_is_the_score_of_hard_decisions() {
    let at_73 = [
        (Score::Accuracy, 0.399865),
        (Score::F1, 0.333258),
        (Score::GMean, 0.422455),
        (Score::BalancedAccuracy, 0.416498),
    ];
    for (score, want) in at_73 {
        assert!((value(score.clone(), 73.0) - want).abs() < 1e-6, "{score:?}");
    }
    let hard = [
        (Score::Accuracy, 0.4),
        (Score::F1, 1.0 / 3.0),
        (Score::GMean, 1.0 - (1.0f64 / 3.0).sqrt()),
        (Score::BalancedAccuracy, 5.0 / 12.0),
    ];
    for (score, want) in hard {
        assert!((value(score.clone(), 2000.0) - want).abs() < 1e-12, "{score:?}");
    }
    assert_eq!(value(Score::FBeta(1.0), 10.0), value(Score::F1, 10.0));
    assert!((value(Score::FBeta(1e-5), 10.0) - value(Score::Precision, 10.0)).abs() < 1e-9);
    assert_eq!(value(Score::FBeta(0.0), 10.0), value(Score::Precision, 10.0));
    assert!((value(Score::FBeta(1e6), 10.0) - value(Score::Recall, 10.0)).abs() < 1e-9);
}

/// Random logits, and classes with about a fifth of positives.
fn drawn(seed: u64, rows: usize) -> (Vec<f64>, Vec<u32>) {
    let key = Key::new(seed);
    let z = (0..rows as u64).map(|i| key.normal(i)).collect();
    (z, (0..rows as u64).map(|i| u32::from(key.named("class").uniform(i) < 0.2 || i == 0)).collect())
}

fn scores() -> Vec<Score> {
    vec![
        Score::Accuracy,
        Score::F1,
        Score::GMean,
        Score::BalancedAccuracy,
        Score::Precision,
        Score::Recall,
        Score::FBeta(0.5),
        formula("(tp*tn - fp*fn) / sqrt((tp+fp)*(tp+fn)*(tn+fp)*(tn+fn))"),
    ]
}

#[test]
fn what_changes_nothing() {
    let (z, y) = drawn(1, 60);
    let mut order: Vec<u64> = (0..60).collect();
    Key::new(2).shuffle(&mut order);
    let moved = |values: &[f64]| order.iter().map(|&i| values[i as usize]).collect::<Vec<_>>();
    let turned: Vec<f64> = z.iter().map(|z| -z).collect();
    let other: Vec<u32> = y.iter().map(|y| 1 - y).collect();
    for score in scores() {
        let objective = objective(score.clone(), 20.0);
        let plain = run(&objective, &z, 1, &y);
        let labels: Vec<u32> = order.iter().map(|&i| y[i as usize]).collect();
        let shuffled = run(&objective, &moved(&z), 1, &labels);
        assert!((plain.value - shuffled.value).abs() < 1e-12, "{score:?}");
        let slopes = moved(&plain.grad);
        slopes.iter().zip(&shuffled.grad).for_each(|(a, b)| assert!((a - b).abs() < 1e-12));
        let twice = run(&objective, &[&z[..], &z].concat(), 1, &[&y[..], &y].concat());
        assert!((plain.value - twice.value).abs() < 1e-12, "{score:?}");
        let swapped = run(&objective, &turned, 1, &other).value;
        let same = matches!(score, Score::Accuracy | Score::BalancedAccuracy | Score::GMean);
        let same = same || matches!(score, Score::Formula(_));
        assert_eq!((plain.value - swapped).abs() < 1e-12, same, "{score:?}: {} {swapped}", plain.value);
    }
    // The cells sum to the rows: so n is the number of rows.
    let found = run(&objective(formula("n + 0*tp"), 20.0), &z, 1, &y);
    assert!((found.value + 59.0).abs() < 1e-12, "{}", found.value);
}

#[test]
fn gradients_are_the_central_differences() {
    let (z, y) = drawn(3, 24);
    let labels: Vec<u32> = (0..8).map(|i| i % 3).collect();
    let losses = scores().into_iter().map(|score| objective(score, 6.0)).chain([
        LossConfig::BinaryCrossEntropy(BinaryCrossEntropy { positive_weight: 3.0 }).into(),
        LossConfig::CrossEntropy(CrossEntropy {}).into(),
    ]);
    for objective in losses {
        for (dim, labels) in [(1, &y), (3, &labels)] {
            let found = run(&objective, &z, dim, labels);
            for at in 0..z.len() {
                let value = |h: f64| {
                    let mut moved = z.clone();
                    moved[at] += h;
                    run(&objective, &moved, dim, labels).value
                };
                let numeric = (value(1e-6) - value(-1e-6)) / 2e-6;
                let error = (found.grad[at] - numeric).abs();
                assert!(error < 1e-8, "{objective:?} {dim} {at}: {} {numeric}", found.grad[at]);
            }
        }
    }
}

/// The sigmoid of 36.5 is 1 in 32 bits; the slopes are finite, not 0 and of the right sign all the same.
#[test]
fn single_precision_keeps_every_sign() {
    let z: Vec<f32> = vec![30.0, -30.0, 200.0, -200.0, 1e30, -1e30, 0.1, -0.1];
    let y: Vec<u32> = vec![1, 1, 0, 0, 0, 1, 1, 0];
    for score in [Score::F1, Score::Accuracy, Score::GMean, Score::BalancedAccuracy] {
        for amplification in [73.0, 1000.0] {
            let objective = objective(score.clone(), amplification);
            let batch = Batch { x: &z, dim: 1, labels: &y, refs: None };
            let found = objective.evaluate(&batch, false).unwrap();
            assert!(found.value.is_finite());
            for (slope, label) in found.grad.iter().zip(&y) {
                // More of the class of a row lowers the loss.
                assert!(slope.is_finite() && *slope != 0.0 && (*slope < 0.0) == (*label == 1), "{found:?}");
            }
        }
    }
    // In the middle the slope in 32 bits is that in 64.
    let near: Vec<f32> = (0..40).map(|i| 0.05 * i as f32 - 1.0).collect();
    let double: Vec<f64> = near.iter().map(|&z| f64::from(z)).collect();
    let labels: Vec<u32> = (0..40).map(|i| u32::from(i % 3 == 0)).collect();
    let objective = objective(Score::F1, 73.0);
    let batch = Batch { x: &near, dim: 1, labels: &labels, refs: None };
    let single = objective.evaluate(&batch, false).unwrap();
    let exact = run(&objective, &double, 1, &labels);
    assert_eq!(single.value, exact.value);
    single.grad.iter().zip(&exact.grad).for_each(|(a, b)| assert!((f64::from(*a) / b - 1.0).abs() < 1e-6));
}

#[test]
fn a_class_that_is_missing_is_left_out() {
    let z = [0.3, -0.2, 1.0];
    let rate = |score: Score, labels: [u32; 3]| run(&objective(score, 10.0), &z, 1, &labels).value;
    let specificity = rate(formula("tn / (tn + fp)"), [0; 3]);
    assert_eq!(rate(Score::BalancedAccuracy, [0; 3]), specificity);
    assert_eq!(rate(Score::GMean, [0; 3]), specificity);
    assert_eq!(rate(Score::GMean, [1; 3]), rate(Score::Recall, [1; 3]));
    let found = run(&objective(Score::Recall, 10.0), &z, 1, &[0; 3]);
    assert_eq!((found.value, found.grad), (1.0, vec![0.0; 3]));
}

#[test]
fn several_outputs_are_each_against_all_others() {
    let (z, _) = drawn(5, 12);
    let labels = [0, 2, 2, 0];
    let objective = objective(Score::F1, 8.0);
    let found = run(&objective, &z, 3, &labels);
    let of = |class: usize| {
        let column: Vec<f64> = z.iter().skip(class).step_by(3).copied().collect();
        let own: Vec<u32> = labels.iter().map(|&label| u32::from(label as usize == class)).collect();
        run(&objective, &column, 1, &own)
    };
    let (first, third) = (of(0), of(2));
    assert!((found.value - 0.5 * (first.value + third.value)).abs() < 1e-12);
    for row in 0..4 {
        assert!((found.grad[3 * row] - 0.5 * first.grad[row]).abs() < 1e-12);
        // Class 1 does not occur.
        assert_eq!(found.grad[3 * row + 1], 0.0);
    }
}

#[test]
fn warm_up_is_the_log_loss_and_ends() {
    let loss = Anyloss { warm_up: 2, ..Anyloss::default() };
    let objective = Objective::from(LossConfig::Anyloss(loss));
    assert_eq!(objective.wants().state, 1);
    let z = logits(&P);
    let batch = Batch { x: &z, dim: 1, labels: &Y, refs: None };
    let bce = run(&LossConfig::BinaryCrossEntropy(BinaryCrossEntropy::default()).into(), &z, 1, &Y).value;
    let mut state = vec![0.0];
    let mut values = Vec::new();
    for _ in 0..4 {
        let context = Context { state: Some(&state), ..Context::default() };
        let found = objective.evaluate_with(&batch, &context).unwrap();
        values.push(found.value);
        state = found.state;
    }
    let steep = value(Score::F1, 73.0);
    assert_eq!(values, [bce, bce, steep, steep]);
}

#[test]
fn a_run_file_names_a_score() {
    let read = |score: &str| -> Result<Score, String> {
        let text = format!("loss = {{ name = \"anyloss\", score = {score} }}");
        let objective: Objective = toml::from_str(&text).map_err(|error| error.to_string())?;
        objective.check().map_err(|error| error.to_string())?;
        assert_eq!(toml::from_str::<Objective>(&toml::to_string(&objective).unwrap()).unwrap(), objective);
        match objective.loss {
            LossConfig::Anyloss(loss) => Ok(loss.score),
            _ => unreachable!(),
        }
    };
    assert_eq!(read("\"g_mean\""), Ok(Score::GMean));
    assert_eq!(read("{ f_beta = 2.0 }"), Ok(Score::FBeta(2.0)));
    assert_eq!(read("{ formula = \"tp / (tp + fp + fn)\" }"), Ok(formula("tp / (tp + fp + fn)")));
    assert!(read("{ formula = \"tp / (tp + fp\" }").unwrap_err().contains("character 14: \")\" is missing"));
    assert!(read("{ f_beta = -1.0 }").unwrap_err().contains("f_beta"));
    assert!(read("\"f3\"").is_err());
}

#[test]
fn what_does_not_fit_is_refused() {
    let of = objective;
    let objective = of(Score::F1, 73.0);
    let refused = |objective: &Objective, x: &[f64], dim: usize, labels: &[u32]| {
        objective.evaluate(&Batch { x, dim, labels, refs: None }, false).unwrap_err()
    };
    let wrong = refused(&objective, &[0.0, 1.0], 1, &[0, 2]);
    assert_eq!(wrong, Error::UnknownClass { component: "anyloss", row: 1, label: 2, classes: 2 });
    assert!(matches!(refused(&objective, &[f64::NAN], 1, &[0]), Error::NotFinite { .. }));
    assert!(matches!(refused(&objective, &[], 1, &[]), Error::EmptyBatch { .. }));
    let refs = Some(Refs { r: &[0.0], labels: &[0], own: parallax_metric::Own::None });
    let batch = Batch { x: &[0.0], dim: 1, labels: &[0], refs };
    assert!(matches!(objective.evaluate(&batch, false), Err(Error::NeedsItself { .. })));
    let steep = Objective::from(LossConfig::Anyloss(Anyloss { amplification: 0.0, ..Anyloss::default() }));
    assert!(matches!(steep.check(), Err(Error::Parameter { .. })));
    let reduced = Objective { reducer: Some(parallax_metric::ReducerConfig::sum()), ..objective.clone() };
    assert_eq!(reduced.check().unwrap_err().to_string(), "anyloss takes no reducer");
    let divided = of(formula("1 / (tp - tp)"), 73.0);
    assert!(matches!(refused(&divided, &[0.0], 1, &[1]), Error::Refused { .. }));
    let remembered: Objective =
        serde_json::from_str(r#"{"loss": {"name": "anyloss"}, "memory": {"memory_size": 8}}"#).unwrap();
    assert!(matches!(remembered.check(), Err(Error::NoMemory { .. })));
    let prefixes: Objective =
        serde_json::from_str(r#"{"loss": {"name": "anyloss"}, "matryoshka": {"dims": [1]}}"#).unwrap();
    assert!(matches!(prefixes.check(), Err(Error::Unused { part: "matryoshka", .. })));
}

/// Logistic regression on two overlapping normal classes, ten to one: each score as a loss beats log-loss on its own measure,
/// on most of ten draws; log-loss stays ahead in log-loss; the loss of recall calls everything positive.
#[test]
fn each_score_wins_on_its_own_measure() {
    let dim = 3;
    let rows = |seed: u64, n: usize| {
        let key = Key::new(seed);
        let labels: Vec<u32> = (0..n).map(|i| u32::from(i % 11 == 0)).collect();
        let x: Vec<f64> = (0..n * dim)
            .map(|at| {
                key.normal(at as u64) + if at % dim == 0 { 1.3 * f64::from(labels[at / dim]) } else { 0.0 }
            })
            .collect();
        (x, labels)
    };
    let forward = |weights: &[f64], x: &[f64]| -> Vec<f64> {
        x.chunks(dim)
            .map(|row| weights[dim] + row.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>())
            .collect()
    };
    // Adam on the whole batch, from zeros.
    let fit = |objective: &Objective, x: &[f64], labels: &[u32]| -> Vec<f64> {
        let (mut w, mut m, mut v) = (vec![0.0; dim + 1], vec![0.0; dim + 1], vec![0.0; dim + 1]);
        for step in 1..=400 {
            let found = run(objective, &forward(&w, x), 1, labels);
            let mut g = vec![0.0; dim + 1];
            for (row, slope) in x.chunks(dim).zip(&found.grad) {
                row.iter().zip(&mut g).for_each(|(x, g)| *g += x * slope);
                g[dim] += slope;
            }
            for k in 0..=dim {
                m[k] = 0.9 * m[k] + 0.1 * g[k];
                v[k] = 0.999 * v[k] + 0.001 * g[k] * g[k];
                let scale = (1.0 - 0.999f64.powi(step)).sqrt() / (1.0 - 0.9f64.powi(step));
                w[k] -= 0.02 * scale * m[k] / (v[k].sqrt() + 1e-12);
            }
        }
        w
    };
    let cells = |z: &[f64], labels: &[u32]| {
        let mut cells = Cells::default();
        for (z, &label) in z.iter().zip(labels) {
            *match (label, *z >= 0.0) {
                (1, true) => &mut cells.tp,
                (1, false) => &mut cells.fn_,
                (_, true) => &mut cells.fp,
                _ => &mut cells.tn,
            } += 1.0;
        }
        cells
    };
    let bce = Objective::from(LossConfig::BinaryCrossEntropy(BinaryCrossEntropy::default()));
    let scores = [Score::F1, Score::BalancedAccuracy, Score::GMean];
    let (mut wins, mut calibrated) = ([0; 3], 0);
    for seed in 0..10 {
        let (x, labels) = rows(seed, 440);
        let (test, truth) = rows(1000 + seed, 2200);
        let base = forward(&fit(&bce, &x, &labels), &test);
        let base_loss = run(&bce, &base, 1, &truth).value;
        for (score, wins) in scores.iter().zip(&mut wins) {
            let z = forward(&fit(&objective(score.clone(), 73.0), &x, &labels), &test);
            let of = |z: &[f64]| score.of(cells(z, &truth)).unwrap().0;
            *wins += usize::from(of(&z) > of(&base));
            calibrated += usize::from(run(&bce, &z, 1, &truth).value > base_loss);
        }
        if seed == 0 {
            let recall = forward(&fit(&objective(Score::Recall, 73.0), &x, &labels), &test);
            let f1 = forward(&fit(&objective(Score::F1, 73.0), &x, &labels), &test);
            let (by_recall, by_f1) = (cells(&recall, &truth), cells(&f1, &truth));
            // Nearly everything is called positive.
            assert!(by_recall.fn_ <= 1.0 && by_recall.tn < 0.05 * by_recall.fp, "{by_recall:?}");
            assert!(Score::F1.of(by_f1).unwrap().0 > Score::F1.of(by_recall).unwrap().0);
        }
    }
    assert!(wins.iter().all(|&wins| wins >= 8), "{wins:?}");
    assert!(calibrated >= 28, "{calibrated} of 30");
}
