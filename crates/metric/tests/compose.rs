//! Memory, gradients in chunks, ranking of pairs, miners that draw, weights on pairs.

use parallax_metric::loss::{
    BinomialDeviance, Contrastive, LiftedStructure, Margin, MultiSimilarity, MultipleNegativesRanking,
    Ntxent, TripletMargin,
};
use parallax_metric::{
    Batch, ChunkedBatch, ClassWeighted, Context, CrossBatchMemory, DistanceConfig, Error, LossConfig, Memory,
    MinerConfig, Objective, Opinion, Own, ReducerConfig, Refs, Teacher, grad_cache, miner, pair_weights,
};
use parallax_random::Key;

const DIM: usize = 6;

fn random(seed: u64, values: usize) -> Vec<f64> {
    (0..values).map(|i| Key::new(seed).normal(i as u64)).collect()
}

fn close(found: f64, want: f64) {
    assert!((found - want).abs() <= 1e-12 * want.abs().max(1.0), "{found} is not {want}");
}

#[test]
fn a_memory_is_a_reference_set_that_holds_the_batch() {
    let objective = Objective::from(LossConfig::Contrastive(Contrastive::default()));
    let config = CrossBatchMemory { memory_size: 7, warm_up: 2, batch_weight: 0.0 };
    let mut memory = Memory::<f64>::new(config, DIM).unwrap();
    // What should be in the ring, oldest first.
    let mut kept: Vec<(Vec<f64>, u32)> = Vec::new();
    for step in 0..6u64 {
        let x = random(step, 3 * DIM);
        let labels: Vec<u32> = (0..3).map(|i| Key::new(step).below(i, 2) as u32).collect();
        let found = memory.evaluate(&objective, &x, &labels, &Context::default()).unwrap();
        assert_eq!(memory.steps(), step + 1);
        if step < 2 {
            let alone = Batch { x: &x, dim: DIM, labels: &labels, refs: None };
            assert_eq!(found, objective.evaluate(&alone, false).unwrap());
            assert!(memory.is_empty());
            continue;
        }
        kept.extend(x.chunks(DIM).map(<[f64]>::to_vec).zip(labels.iter().copied()));
        kept.drain(..kept.len().saturating_sub(7));
        assert_eq!(memory.len(), kept.len());
        let r: Vec<f64> = kept.iter().flat_map(|k| k.0.clone()).collect();
        let ref_labels: Vec<u32> = kept.iter().map(|k| k.1).collect();
        let own: Vec<Option<u32>> = (0..3).map(|i| Some((kept.len() - 3 + i) as u32)).collect();
        let refs = Some(Refs { r: &r, labels: &ref_labels, own: Own::Item(&own) });
        let want = objective.evaluate(&Batch { x: &x, dim: DIM, labels: &labels, refs }, false).unwrap();
        close(found.value, want.value);
        found.grad.iter().zip(&want.grad).for_each(|(a, b)| close(*a, *b));
        assert_eq!(found.stats.positive_pairs, want.stats.positive_pairs);
        // A checkpoint goes on exactly.
        let text = serde_json::to_string(&memory).unwrap();
        let read: Memory<f64> = serde_json::from_str(&text).unwrap();
        assert_eq!(read, memory);
        read.check().unwrap();
        let (values, kept_labels) = memory.contents();
        let (values, kept_labels) = (values.to_vec(), kept_labels.to_vec());
        let empty = Memory::<f64>::new(memory.config().clone(), DIM).unwrap();
        let read = empty.with_contents(values, kept_labels, memory.next(), memory.steps());
        assert_eq!(read.unwrap(), memory);
    }
    // A failed step leaves no trace.
    let before = memory.clone();
    let x = [1.0, f64::NAN, 0.0, 0.0, 0.0, 0.0];
    assert!(memory.evaluate(&objective, &x, &[0], &Context::default()).is_err());
    let constant = Objective { distance: Some(DistanceConfig::Snr(Default::default())), ..objective.clone() };
    assert!(matches!(
        memory.evaluate(&constant, &[1.0; 12], &[0, 1], &Context::default()),
        Err(Error::ConstantRow { .. })
    ));
    assert_eq!(memory, before);
    let big = random(1, 8 * DIM);
    assert!(matches!(
        memory.evaluate(&objective, &big, &[0; 8], &Context::default()),
        Err(Error::TooFewReferences { anchors: 8, references: 7 })
    ));
    // A damaged checkpoint is refused.
    let mut damaged = serde_json::to_value(&memory).unwrap();
    damaged["next"] = 9.into();
    assert!(serde_json::from_value::<Memory<f64>>(damaged).unwrap().check().is_err());
    // The loss of the batch alone is added where it is asked for.
    let short = memory.with_contents(vec![0.0; DIM + 1], vec![0], 1, 4);
    assert!(matches!(short, Err(Error::Shape { .. })));
    let both = CrossBatchMemory { memory_size: 7, warm_up: 0, batch_weight: 0.5 };
    let mut both = Memory::<f64>::new(both, DIM).unwrap();
    let mut plain =
        Memory::<f64>::new(CrossBatchMemory { memory_size: 7, ..Default::default() }, DIM).unwrap();
    let (x, labels) = (random(9, 4 * DIM), [0, 0, 1, 1]);
    let alone = objective.evaluate(&Batch { x: &x, dim: DIM, labels: &labels, refs: None }, false).unwrap();
    let a = both.evaluate(&objective, &x, &labels, &Context::default()).unwrap();
    let b = plain.evaluate(&objective, &x, &labels, &Context::default()).unwrap();
    close(a.value, b.value + 0.5 * alone.value);
    close(a.grad[5], b.grad[5] + 0.5 * alone.grad[5]);
}

#[test]
fn a_memory_is_refused_where_the_references_are_others() {
    let refused = |loss: &str| {
        let text = format!("{{\"loss\": {{\"name\": \"{loss}\"}}, \"memory\": {{\"memory_size\": 8}}}}");
        let objective: Objective = serde_json::from_str(&text).unwrap();
        match objective.check() {
            Err(Error::NoMemory { loss: named, .. }) => named == loss,
            other => other.is_err(),
        }
    };
    let none = [
        "proxy_anchor",
        "arcface",
        "cosent",
        "margin_mse",
        "multiple_negatives_ranking",
        "vicreg",
        "n_pairs",
    ];
    none.iter().for_each(|loss| assert!(refused(loss), "{loss}"));
    for loss in ["contrastive", "multi_similarity", "ntxent", "triplet_margin", "supcon", "fast_ap"] {
        assert!(!refused(loss), "{loss}");
    }
}

/// What a teacher says of the candidates alone masks as a matrix does that is far below elsewhere.
#[test]
fn a_teacher_of_candidates_masks_among_them() {
    let (pairs, hard) = (5, 2);
    let (x, r) = (random(3, pairs * DIM), random(4, pairs * (1 + hard) * DIM));
    let labels: Vec<u32> = (0..pairs as u32).collect();
    let ref_labels: Vec<u32> = (0..(pairs * (1 + hard)) as u32).collect();
    let refs = Some(Refs { r: &r, labels: &ref_labels, own: Own::Positive });
    let batch = Batch { x: &x, dim: DIM, labels: &labels, refs };
    let scores = random(5, pairs * (1 + hard));
    let mut matrix = vec![-1e30; pairs * pairs * (1 + hard)];
    for i in 0..pairs {
        let row = &mut matrix[i * pairs * (1 + hard)..];
        row[i] = scores[i * (1 + hard)];
        for k in 0..hard {
            row[pairs + i * hard + k] = scores[i * (1 + hard) + 1 + k];
        }
    }
    for symmetric in [false, true] {
        let loss = MultipleNegativesRanking { teacher_guided: true, symmetric, ..Default::default() };
        let objective = Objective::from(LossConfig::MultipleNegativesRanking(loss));
        assert_eq!(objective.wants().teacher, Some(Opinion::Candidates));
        let by = |teacher| {
            let context = Context { teacher: Some(teacher), want_ref_grad: true, ..Context::default() };
            objective.evaluate_with(&batch, &context)
        };
        let (found, want) = (by(Teacher::Candidates(&scores)), by(Teacher::Similarities(&matrix)));
        let found = found.unwrap();
        assert!(found.stats.masked_by_teacher > 0);
        assert_eq!(found, want.unwrap());
        assert!(matches!(by(Teacher::Candidates(&scores[1..])), Err(Error::Shape { .. })));
    }
}

/// A linear encoder `x = W u`; the gradient by W in chunks is that of one batch.
#[test]
fn chunks_give_the_gradient_of_the_whole_batch() {
    let (inputs, anchors, hard) = (4, 9, 2);
    let rows = 2 * anchors + hard;
    let u = random(1, rows * inputs);
    let w = random(2, DIM * inputs);
    let forward = |i: usize| -> Vec<f64> {
        (0..DIM).map(|d| (0..inputs).map(|k| w[d * inputs + k] * u[i * inputs + k]).sum()).collect()
    };
    let add = |i: usize, dx: &[f64], dw: &mut [f64]| {
        for d in 0..DIM {
            for k in 0..inputs {
                dw[d * inputs + k] += dx[d] * u[i * inputs + k];
            }
        }
    };
    let labels: Vec<u32> = (0..anchors as u32).collect();
    let ref_labels: Vec<u32> = (0..(anchors + hard) as u32).collect();
    let ranking = MultipleNegativesRanking { symmetric: true, ..Default::default() };
    for (objective, refs) in [
        (
            Objective::from(LossConfig::MultipleNegativesRanking(ranking)),
            Some((ref_labels.as_slice(), Own::Positive)),
        ),
        (Objective::default(), None),
    ] {
        let labels: Vec<u32> =
            if refs.is_some() { labels.clone() } else { labels.iter().map(|l| l / 3).collect() };
        let count = if refs.is_some() { rows } else { anchors };
        let all: Vec<f64> = (0..count).flat_map(forward).collect();
        let split = anchors * DIM;
        let batch = Batch {
            x: &all[..split],
            dim: DIM,
            labels: &labels,
            refs: refs.map(|(labels, own)| Refs { r: &all[split..], labels, own }),
        };
        let whole = objective.evaluate(&batch, true).unwrap();
        let gradient: Vec<f64> = whole.grad.iter().chain(whole.ref_grad.iter().flatten()).copied().collect();
        let mut want = vec![0.0; w.len()];
        gradient.chunks(DIM).enumerate().for_each(|(i, dx)| add(i, dx, &mut want));
        for chunk in [1, 4, 100] {
            let mut dw = vec![0.0; w.len()];
            let chunked = ChunkedBatch { labels: &labels, refs, dim: DIM, chunk };
            let found = grad_cache::<f64, Error>(
                &objective,
                &chunked,
                &Context::default(),
                |range| Ok(range.flat_map(forward).collect()),
                |range, dx| {
                    range.zip(dx.chunks(DIM)).for_each(|(i, dx)| add(i, dx, &mut dw));
                    Ok(())
                },
            )
            .unwrap();
            assert_eq!(found, whole);
            assert_eq!(dw, want, "chunks of {chunk}");
        }
        let wrong = ChunkedBatch { labels: &labels, refs, dim: DIM, chunk: 2 };
        let short = grad_cache::<f64, Error>(
            &objective,
            &wrong,
            &Context::default(),
            |_| Ok(vec![0.0]),
            |_, _| Ok(()),
        );
        assert!(matches!(short, Err(Error::Shape { .. })));
    }
}

fn ranking(change: impl Fn(&mut MultipleNegativesRanking)) -> Objective {
    let mut loss = MultipleNegativesRanking::default();
    change(&mut loss);
    LossConfig::MultipleNegativesRanking(loss).into()
}

#[test]
fn false_negatives_are_masked_by_label_score_and_teacher_and_counted() {
    let (b, hard) = (4, 2);
    let x = random(1, b * DIM);
    let mut r = random(2, (b + hard) * DIM);
    // Hard negative 4 is anchor 2 in other words: the same direction.
    let copy: Vec<f64> = x[2 * DIM..3 * DIM].iter().map(|v| 3.0 * v).collect();
    r[4 * DIM..5 * DIM].copy_from_slice(&copy);
    let labels = [0, 1, 2, 3];
    let ref_labels = [0, 1, 2, 3, 7, 1];
    let refs = Some(Refs { r: &r, labels: &ref_labels, own: Own::Positive });
    let batch = Batch { x: &x, dim: DIM, labels: &labels, refs };
    let cosine = |i: usize, j: usize| {
        let (a, b) = (&x[i * DIM..][..DIM], &r[j * DIM..][..DIM]);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let loss = |masked: &[(usize, usize)], margin: f64| {
        let row = |i: usize| {
            let own = 20.0 * (cosine(i, i) - margin);
            let others: f64 = (0..b + hard)
                .filter(|&j| j != i && ref_labels[j] != labels[i] && !masked.contains(&(i, j)))
                .map(|j| (20.0 * cosine(i, j)).exp())
                .sum();
            (own.exp() + others).ln() - own
        };
        (0..b).map(row).sum::<f64>() / b as f64
    };
    let counts = |objective: &Objective, teacher: Option<Teacher<'_, f64>>| {
        let context = Context { teacher, ..Context::default() };
        let found = objective.evaluate_with(&batch, &context).unwrap();
        let s = &found.stats;
        (found.value, s.masked_false_negatives, s.masked_by_score, s.masked_by_teacher)
    };
    let (value, by_label, by_score, by_teacher) = counts(&ranking(|_| {}), None);
    close(value, loss(&[(2, 4)], 0.0));
    assert_eq!((by_label, by_score, by_teacher), (1, 1, 0));
    let (value, .., by_score, _) = counts(&ranking(|l| l.mask_above = 2.0), None);
    close(value, loss(&[], 0.0));
    assert_eq!(by_score, 0);
    let (value, ..) = counts(&ranking(|l| l.margin = 0.3), None);
    close(value, loss(&[(2, 4)], 0.3));
    // A teacher that scores two references above the positive.
    let guided = ranking(|l| l.teacher_guided = true);
    let mut scores = vec![0.1; b * (b + hard)];
    (0..b).for_each(|i| scores[i * (b + hard) + i] = 0.5);
    scores[1] = 0.6;
    scores[3 * (b + hard) + 4] = 0.51;
    let (value, .., by_teacher) = counts(&guided, Some(Teacher::Similarities(&scores)));
    close(value, loss(&[(2, 4), (0, 1), (3, 4)], 0.0));
    assert_eq!(by_teacher, 2);
    let wide = ranking(|l| (l.teacher_guided, l.teacher_margin) = (true, 0.05));
    let (value, .., by_teacher) = counts(&wide, Some(Teacher::Similarities(&scores)));
    close(value, loss(&[(2, 4), (0, 1)], 0.0));
    assert_eq!(by_teacher, 1);
    // A teacher by its embeddings gives the same as its similarities.
    let (tx, tr) = (random(5, b * 3), random(6, (b + hard) * 3));
    let cosines: Vec<f64> = tx
        .chunks(3)
        .flat_map(|a| {
            tr.chunks(3).map(|r| {
                let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
                dot(a, r) / (dot(a, a) * dot(r, r)).sqrt()
            })
        })
        .collect();
    for symmetric in [false, true] {
        let guided = ranking(|l| (l.teacher_guided, l.symmetric) = (true, symmetric));
        let a = counts(&guided, Some(Teacher::Similarities(&cosines)));
        let c = counts(&guided, Some(Teacher::Embeddings { x: &tx, r: &tr, dim: 3 }));
        assert_eq!(a, c);
        assert!(a.3 > 0);
    }
    // Missing or misshapen.
    assert!(matches!(guided.evaluate(&batch, false), Err(Error::NeedsTeacher { .. })));
    let context = Context { teacher: Some(Teacher::Similarities(&scores[1..])), ..Context::default() };
    assert!(matches!(guided.evaluate_with(&batch, &context), Err(Error::Shape { .. })));
    let alone = Batch { refs: None, ..batch };
    assert!(matches!(guided.evaluate(&alone, false), Err(Error::NeedsPairs { .. })));
}

#[test]
fn several_positives_in_both_directions() {
    // Anchors 0, 1, 2; references 0 and 1 belong to anchor 0, 2 to anchor 1, 3 to anchors 1 and 2; 4 is a hard negative.
    let pairs = [(0, 0), (0, 1), (1, 2), (1, 3), (2, 3)];
    let (x, r) = (random(1, 3 * DIM), random(2, 5 * DIM));
    let (labels, ref_labels) = ([0, 1, 2], [10, 11, 12, 13, 14]);
    let refs = Some(Refs { r: &r, labels: &ref_labels, own: Own::Pairs(&pairs) });
    let batch = Batch { x: &x, dim: DIM, labels: &labels, refs };
    let cosine = |i: u32, j: u32| {
        let (a, b) = (&x[i as usize * DIM..][..DIM], &r[j as usize * DIM..][..DIM]);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        20.0 * dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    let entropy =
        |own: f64, others: Vec<f64>| (own.exp() + others.into_iter().map(f64::exp).sum::<f64>()).ln() - own;
    let forth = |&(i, j): &(u32, u32)| {
        entropy(cosine(i, j), (0..5).filter(|&k| !pairs.contains(&(i, k))).map(|k| cosine(i, k)).collect())
    };
    let back = |&(i, j): &(u32, u32)| {
        entropy(cosine(i, j), (0..3).filter(|&k| !pairs.contains(&(k, j))).map(|k| cosine(k, j)).collect())
    };
    let mean = |f: &dyn Fn(&(u32, u32)) -> f64| pairs.iter().map(f).sum::<f64>() / 5.0;
    close(ranking(|_| {}).evaluate(&batch, true).unwrap().value, mean(&forth));
    let both = ranking(|l| l.symmetric = true).evaluate(&batch, true).unwrap();
    close(both.value, 0.5 * (mean(&forth) + mean(&back)));
    for unsorted in [&[(1, 0), (0, 1)][..], &[(0, 1), (0, 1)], &[(0, 5)], &[(3, 0)]] {
        let refs = Some(Refs { r: &r, labels: &ref_labels, own: Own::Pairs(unsorted) });
        let wrong = ranking(|_| {}).evaluate(&Batch { refs, ..batch }, false);
        assert!(matches!(wrong, Err(Error::PairList { .. })), "{unsorted:?}");
    }
}

#[test]
fn drawn_negatives_follow_their_weights() {
    // One positive pair on the circle of many dimensions; negatives at known distances.
    let dims = 8;
    let at = |d: f64| {
        let s = 1.0 - d * d / 2.0;
        let mut v = vec![0.0; dims];
        (v[0], v[1]) = (s, (1.0 - s * s).sqrt());
        v
    };
    let distances = [0.3, 0.6, 0.9, 1.2, 1.39, 1.6];
    let mut r = at(0.2);
    distances.iter().for_each(|&d| r.extend(at(d)));
    let ref_labels = [0, 1, 1, 1, 1, 1, 1];
    let x = at(0.0);
    let refs = Some(Refs { r: &r, labels: &ref_labels, own: Own::None });
    let batch = Batch { x: &x, dim: dims, labels: &[0], refs };
    let config = miner::DistanceWeighted::default();
    let objective = Objective { miner: Some(MinerConfig::DistanceWeighted(config)), ..Objective::default() };
    let mut counts = [0.0; 6];
    let draws = 20_000;
    for seed in 0..draws {
        let context = Context { key: Key::new(seed), ..Context::default() };
        let found = objective.mine_triplets(&batch, &context).unwrap();
        assert_eq!(found.len(), 1);
        counts[found[0].2 as usize - 1] += 1.0 / draws as f64;
    }
    let weight = |d: f64| {
        let (n, d) = (dims as f64, d.max(0.5));
        if d >= 1.4 { 0.0 } else { d.powf(2.0 - n) * (1.0 - d * d / 4.0).powf((3.0 - n) / 2.0) }
    };
    let total: f64 = distances.iter().map(|&d| weight(d)).sum();
    for (count, &d) in counts.iter().zip(&distances) {
        let want = weight(d) / total;
        assert!((count - want).abs() < 4.0 * (want / draws as f64).sqrt() + 1e-9, "{d}: {count} {want}");
    }
    // The same key draws the same, and Euclidean distances the same as cosines.
    let context = Context { key: Key::new(7), ..Context::default() };
    let euclidean = Objective { distance: Some(DistanceConfig::euclidean()), ..objective.clone() };
    assert_eq!(objective.mine_triplets(&batch, &context), euclidean.mine_triplets(&batch, &context));
    let snr = Objective { distance: Some(DistanceConfig::Snr(Default::default())), ..objective };
    assert!(matches!(snr.check(), Err(Error::Distance { .. })));
}

#[test]
fn a_uniform_histogram_takes_from_every_bin() {
    let b = 60;
    let x = random(3, b * DIM);
    let labels: Vec<u32> = (0..b as u32).map(|i| i / 5).collect();
    let batch = Batch { x: &x, dim: DIM, labels: &labels, refs: None };
    let mined = |bins, pos_per_bin, neg_per_bin| {
        let miner = miner::UniformHistogram { num_bins: bins, pos_per_bin, neg_per_bin };
        let objective =
            Objective { miner: Some(MinerConfig::UniformHistogram(miner)), ..Objective::default() };
        objective.mine(&batch).unwrap()
    };
    let all = Objective::default().mine(&batch).unwrap();
    let cosine = |&(i, j): &(u32, u32)| {
        let (a, b) = (&x[i as usize * DIM..][..DIM], &x[j as usize * DIM..][..DIM]);
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
    };
    // So many draws that nearly every pair is drawn; so few that each bin gives at most that many.
    let most = mined(4, 100_000, 100_000);
    assert_eq!(most, all);
    let few = mined(10, 3, 7);
    for (found, of, per_bin) in [(&few.positives, &all.positives, 3), (&few.negatives, &all.negatives, 7)] {
        let values: Vec<f64> = of.iter().map(cosine).collect();
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let bin = |s: f64| (((s - low) / (high - low) * 10.0) as usize).min(9);
        let mut filled = [0; 10];
        values.iter().for_each(|&s| filled[bin(s)] += 1);
        let mut taken = [0; 10];
        found.iter().for_each(|pair| taken[bin(cosine(pair))] += 1);
        for (taken, filled) in taken.iter().zip(filled) {
            assert!(*taken <= per_bin && (*taken > 0) == (filled > 0), "{taken} of {filled}");
        }
        assert!(found.iter().all(|pair| of.contains(pair)));
    }
}

#[test]
fn weights_on_pairs() {
    let grid: Vec<f64> = (-9..=9).map(|i| f64::from(i) / 10.0).collect();
    // Binomial deviance: a pair's weight is a logistic curve of its own similarity.
    let loss = LossConfig::BinomialDeviance(BinomialDeviance { alpha: 2.0, beta: 10.0, base: 0.5 });
    for weight in pair_weights(&loss, &grid, &[], &[]).unwrap() {
        close(weight.positive, 2.0 / (1.0 + (2.0 * (weight.similarity - 0.5)).exp()));
        close(weight.negative, 10.0 / (1.0 + (-10.0 * (weight.similarity - 0.5)).exp()));
    }
    // Multi-similarity: the example of the paper's third kind of similarity, the others in the denominator.
    let loss = LossConfig::MultiSimilarity(MultiSimilarity { alpha: 2.0, beta: 50.0, base: 0.5 });
    let weight = pair_weights(&loss, &[0.4], &[0.9, 0.7], &[]).unwrap()[0];
    assert!((weight.positive - 0.365574).abs() < 1e-6, "{weight:?}");
    // A triplet hinge: a step at the margin, in terms of the Euclidean distance.
    let loss = LossConfig::TripletMargin(TripletMargin { margin: 0.1, ..TripletMargin::default() });
    let positive: f64 = 0.5;
    let limit = (2.0 - 2.0 * positive).sqrt() + 0.1;
    for weight in pair_weights(&loss, &grid, &[positive], &[]).unwrap() {
        let d = (2.0 - 2.0 * weight.similarity).sqrt();
        close(weight.negative, if d < limit { 1.0 / d } else { 0.0 });
    }
    let lifted = LossConfig::LiftedStructure(LiftedStructure::default());
    assert!(
        pair_weights(&lifted, &grid, &[0.6], &[0.2])
            .unwrap()
            .iter()
            .all(|w| w.positive >= 0.0 && w.negative > 0.0)
    );
    assert!(pair_weights(&loss, &[1.5], &[], &[]).is_err());
}

#[test]
fn scalars_and_weights_must_fit() {
    let (x, labels) = (random(1, 4 * DIM), [0, 0, 1, 1]);
    let batch = Batch { x: &x, dim: DIM, labels: &labels, refs: None };
    let margin = |num_classes| {
        Objective::from(LossConfig::Margin(Margin { learn_beta: true, num_classes, ..Margin::default() }))
    };
    assert_eq!(margin(Some(3)).scalars(), [1.2; 3]);
    let found = margin(Some(3)).evaluate(&batch, false).unwrap();
    assert_eq!((found.scalar_grad.len(), found.scalar_grad[2]), (3, 0.0));
    let context = Context { scalars: Some(&[1.0]), ..Context::default() };
    assert!(matches!(
        margin(Some(3)).evaluate_with(&batch, &context),
        Err(Error::Scalars { expected: 3, found: 1, .. })
    ));
    assert!(matches!(
        margin(Some(1)).evaluate(&batch, false),
        Err(Error::UnknownClass { row: 2, label: 1, classes: 1, .. })
    ));
    let reducer = Some(ReducerConfig::ClassWeighted(ClassWeighted { weights: vec![1.0] }));
    let weighted = Objective { reducer, ..LossConfig::Ntxent(Ntxent::default()).into() };
    assert!(matches!(weighted.evaluate(&batch, false), Err(Error::UnknownClass { .. })));
}
