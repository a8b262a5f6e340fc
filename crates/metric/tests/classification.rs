//! Losses on logits against their formulas.

use parallax_metric::logit::{BinaryCrossEntropy, CrossEntropy};
use parallax_metric::{Batch, Evaluated, LossConfig, Objective};

/// Probabilities and classes.
const P: [f64; 5] = [0.9, 0.6, 0.45, 0.2, 0.55];
const Y: [u32; 5] = [1, 0, 1, 0, 1];

fn logits(p: &[f64]) -> Vec<f64> {
    p.iter().map(|p| (p / (1.0 - p)).ln()).collect()
}

fn run(objective: &Objective, z: &[f64], dim: usize, labels: &[u32]) -> Evaluated<f64> {
    objective.evaluate(&Batch { x: z, dim, labels, refs: None }, false).unwrap()
}

#[test]
fn log_losses_by_hand() {
    let (bce, ce) = (
        Objective::from(LossConfig::BinaryCrossEntropy(BinaryCrossEntropy::default())),
        Objective::from(LossConfig::CrossEntropy(CrossEntropy {})),
    );
    let z = logits(&P);
    let want = -P.iter().zip(Y).map(|(p, y)| if y == 1 { p.ln() } else { (1.0 - p).ln() }).sum::<f64>() / 5.0;
    assert!((run(&bce, &z, 1, &Y).value - want).abs() < 1e-12);
    assert_eq!(run(&bce, &z, 1, &Y), run(&ce, &z, 1, &Y));
    let rows: Vec<f64> = z.iter().flat_map(|&z| [7.0, 7.0 + z]).collect();
    let two = run(&ce, &rows, 2, &Y);
    assert!((two.value - want).abs() < 1e-12);
    two.grad
        .chunks(2)
        .zip(run(&bce, &z, 1, &Y).grad)
        .for_each(|(row, one)| assert!((row[1] - one).abs() < 1e-12));
    let far = run(&bce, &[1000.0, -1000.0], 1, &[0, 0]);
    assert_eq!((far.value, far.grad), (500.0, vec![0.5, 0.0]));
}
