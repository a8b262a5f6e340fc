//! Similarities that should be a teacher's: plain loops, central differences, what is refused.

use parallax_metric::loss::{Match, SimilarityDistillation};
use parallax_metric::{
    Batch, Context, DistanceConfig, Dot, Error, LossConfig, Objective, Opinion, Own, Refs, Teacher,
    pair_weights,
};
use parallax_random::Key;

const DIM: usize = 5;

fn random(seed: u64, values: usize) -> Vec<f64> {
    (0..values).map(|i| Key::new(seed).normal(i as u64)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn objective(compared: Match) -> Objective {
    LossConfig::SimilarityDistillation(SimilarityDistillation {
        compared,
        student_temperature: 0.3,
        teacher_temperature: 0.7,
    })
    .into()
}

/// The loss of rows of (student's, teacher's) similarities.
fn plain(compared: Match, rows: &[Vec<(f64, f64)>]) -> f64 {
    let elements: Vec<f64> = match compared {
        Match::Squared => rows.iter().flatten().map(|(s, t)| (s - t).powi(2)).collect(),
        Match::Divergence => rows
            .iter()
            .map(|row| {
                let q: f64 = row.iter().map(|(s, _)| (s / 0.3).exp()).sum();
                let p: f64 = row.iter().map(|(_, t)| (t / 0.7).exp()).sum();
                let of = |&(s, t): &(f64, f64)| {
                    let (p, q) = ((t / 0.7).exp() / p, (s / 0.3).exp() / q);
                    p * (p / q).ln()
                };
                0.3 * 0.3 * row.iter().map(of).sum::<f64>()
            })
            .collect(),
    };
    elements.iter().sum::<f64>() / elements.len() as f64
}

fn close(found: f64, want: f64, within: f64) {
    assert!((found - want).abs() <= within * want.abs().max(1.0), "{found} is not {want}");
}

#[test]
fn a_batch_against_itself_and_pairs_with_negatives() {
    let (b, hard) = (7, 3);
    let (x, r) = (random(1, b * DIM), random(2, (b + hard) * DIM));
    let labels: Vec<u32> = (0..b as u32).map(|i| i % 3).collect();
    let apart: Vec<u32> = (0..(b + hard) as u32).collect();
    let refs = Some(Refs { r: &r, labels: &apart, own: Own::Positive });
    for (kind, batch) in [
        ("itself", Batch { x: &x, dim: DIM, labels: &labels, refs: None }),
        ("pairs", Batch { x: &x, dim: DIM, labels: &apart[..b], refs }),
    ] {
        let columns = if batch.refs.is_some() { b + hard } else { b };
        // Of any length: what an inner product says is not what a cosine would.
        let (tx, tr) = (random(3, b * 4), random(4, columns * 4));
        let others = if batch.refs.is_some() { &tr } else { &tx };
        let told: Vec<f64> =
            tx.chunks(4).flat_map(|a| others.chunks(4).map(move |c| 0.2 * dot(a, c))).collect();
        let by_rows = Teacher::Embeddings {
            x: &tx.iter().map(|v| 0.2 * v).collect::<Vec<_>>(),
            r: if batch.refs.is_some() { &tr } else { &[] },
            dim: 4,
        };
        for compared in [Match::Divergence, Match::Squared] {
            let objective = objective(compared);
            assert_eq!(objective.wants().teacher, Some(Opinion::Whole));
            let at = |x: &[f64], r: &[f64], teacher| {
                let refs = batch.refs.map(|refs| Refs { r, ..refs });
                let context =
                    Context { teacher: Some(teacher), want_ref_grad: refs.is_some(), ..Context::default() };
                objective.evaluate_with(&Batch { x, refs, ..batch }, &context).expect(kind)
            };
            let columns_of = if batch.refs.is_some() { &r } else { &x };
            let rows: Vec<Vec<(f64, f64)>> = (0..b)
                .map(|i| {
                    let with = |j: usize| {
                        let s = cosine(&x[i * DIM..][..DIM], &columns_of[j * DIM..][..DIM]);
                        (s, told[i * columns + j])
                    };
                    (0..columns).filter(|&j| batch.refs.is_some() || j != i).map(with).collect()
                })
                .collect();
            let similarities = Teacher::Similarities(&told);
            let found = at(&x, &r, similarities);
            close(found.value, plain(compared, &rows), 1e-12);
            let elements = if compared == Match::Squared { rows.iter().map(Vec::len).sum() } else { b };
            assert_eq!(found.stats.channels[0].elements, elements as u64);
            if batch.refs.is_some() {
                // Both sides scaled by √0.2 or one by 0.2: an inner product does not tell.
                close(at(&x, &r, by_rows).value, found.value, 1e-12);
            }
            let slope = |k: usize, of_x: bool| {
                let moved = |by: f64| {
                    let (mut x, mut r) = (x.clone(), r.clone());
                    if of_x {
                        x[k] += by
                    } else {
                        r[k] += by
                    }
                    at(&x, &r, similarities).value
                };
                (moved(1e-6) - moved(-1e-6)) / 2e-6
            };
            (0..x.len()).for_each(|k| close(found.grad[k], slope(k, true), 1e-8));
            if let Some(gradient) = &found.ref_grad {
                (0..r.len()).for_each(|k| close(gradient[k], slope(k, false), 1e-8));
            }
            let floats = |values: &[f64]| values.iter().map(|v| *v as f32).collect::<Vec<f32>>();
            let (x32, r32, told32) = (floats(&x), floats(&r), floats(&told));
            let refs = batch.refs.map(|refs| Refs { r: &r32, labels: refs.labels, own: refs.own });
            let small = Batch { x: &x32, dim: DIM, labels: batch.labels, refs };
            let context = Context { teacher: Some(Teacher::Similarities(&told32)), ..Context::default() };
            close(objective.evaluate_with(&small, &context).expect(kind).value, found.value, 1e-5);
        }
    }
}

#[test]
fn a_student_that_agrees_has_nothing_to_learn() {
    let x = random(5, 8 * DIM);
    let batch = Batch { x: &x, dim: DIM, labels: &[0, 0, 1, 1, 2, 2, 3, 3], refs: None };
    let unit: Vec<f64> =
        x.chunks(DIM).flat_map(|row| row.iter().map(move |v| v / dot(row, row).sqrt())).collect();
    let teacher = Teacher::Embeddings { x: &unit, r: &[], dim: DIM };
    let context = Context { teacher: Some(teacher), ..Context::default() };
    for compared in [Match::Divergence, Match::Squared] {
        let loss = SimilarityDistillation { compared, ..SimilarityDistillation::default() };
        let objective = Objective::from(LossConfig::SimilarityDistillation(loss));
        let found = objective.evaluate_with(&batch, &context).expect("a valid batch");
        assert!(found.value.abs() < 1e-15, "{}", found.value);
        assert!(found.grad.iter().all(|g| g.abs() < 1e-14), "{:?}", found.grad);
    }
}

#[test]
fn what_it_cannot_do_is_refused() {
    let (x, r) = (random(6, 3 * DIM), random(7, 3 * DIM));
    let labels = [0, 1, 2];
    let refs = Some(Refs { r: &r, labels: &labels, own: Own::Positive });
    let batch = Batch { x: &x, dim: DIM, labels: &labels, refs };
    let objective = objective(Match::Divergence);
    assert!(matches!(objective.evaluate(&batch, false), Err(Error::NeedsTeacher { .. })));
    let with = |objective: &Objective, teacher| {
        objective.evaluate_with(&batch, &Context { teacher: Some(teacher), ..Context::default() })
    };
    let lists = with(&objective, Teacher::Candidates(&[0.1, 0.2, 0.3]));
    assert!(matches!(lists, Err(Error::NeedsWholeTeacher { .. })), "{lists:?}");
    let short = with(&objective, Teacher::Similarities(&[0.1; 8]));
    assert!(matches!(short, Err(Error::Shape { .. })), "{short:?}");
    let whole = Teacher::Similarities(&[0.1; 9]);
    let far = Objective { distance: Some(DistanceConfig::euclidean()), ..objective.clone() };
    assert!(matches!(with(&far, whole), Err(Error::Distance { .. })));
    let product = Objective { distance: Some(DistanceConfig::Dot(Dot::default())), ..objective.clone() };
    assert!(with(&product, whole).is_ok());
    let LossConfig::SimilarityDistillation(loss) = &objective.loss else { panic!("another loss") };
    let cold = SimilarityDistillation { teacher_temperature: 0.0, ..loss.clone() };
    assert!(LossConfig::SimilarityDistillation(cold).check().is_err());
    assert!(matches!(pair_weights(&objective.loss, &[0.1], &[0.5], &[0.2]), Err(Error::NoRow { .. })));
    assert!(objective.wants().remembered("it").is_err());
}
