use parallax_linear::{
    Adapter, Basis, Examples, LinearDiscriminant, Procrustes, Ridge, Scatter, Sides, Targets, Weighting,
    Whitening,
};

use crate::world::{World, apart, cosines, covariance, gaussian, rotation, turned};

fn labelled(world: &World) -> Examples<'_> {
    Examples::Labelled { vectors: &world.vectors, labels: &world.labels, dim: world.dim }
}

fn unit(dim: usize) -> Vec<f64> {
    (0..dim * dim).map(|i| if i % (dim + 1) == 0 { 1.0 } else { 0.0 }).collect()
}

fn skewed() -> World {
    let world = gaussian(7, 12, 30, &[1.0, 0.2, 0.1, 2.0, 0.4], &[0.3, 3.0, 0.5, 1.0, 0.05]);
    let vectors = turned(&world.vectors, &rotation(8, 5), 5);
    World { vectors: vectors.iter().map(|x| x + 0.7).collect(), ..world }
}

/// Every family, with settings away from limits.
fn families() -> Vec<Adapter> {
    let mut adapters = Vec::new();
    for scatter in [Scatter::Total, Scatter::Within] {
        for basis in [Basis::Zca, Basis::Pca] {
            adapters.push(Adapter::Whitening(Whitening { scatter, basis, power: 0.7, ..Default::default() }));
        }
    }
    for targets in [Targets::Centroids, Targets::Simplex] {
        adapters.push(Adapter::Ridge(Ridge { targets, lambda: 0.3, centre: true }));
    }
    for weighting in [Weighting::Ratio, Weighting::Unit] {
        for components in [0, 3] {
            adapters.push(Adapter::LinearDiscriminant(LinearDiscriminant {
                weighting,
                components,
                ..Default::default()
            }));
        }
    }
    adapters
}

#[test]
fn whitening_gives_unit_covariance() {
    let world = skewed();
    for basis in [Basis::Zca, Basis::Pca] {
        let adapter = Adapter::Whitening(Whitening { floor: 0.0, basis, ..Default::default() });
        let map = adapter.fit(&labelled(&world)).unwrap().map().unwrap();
        let mapped = map.apply(&world.vectors, 360).unwrap();
        assert!(apart(&covariance(&mapped, 5), &unit(5)) < 1e-4, "{basis:?}");
    }
    // Within classes: the pooled covariance, divisor n − C.
    let adapter =
        Adapter::Whitening(Whitening { floor: 0.0, scatter: Scatter::Within, ..Default::default() });
    let map = adapter.fit(&labelled(&world)).unwrap().map().unwrap();
    let mapped = map.apply(&world.vectors, 360).unwrap();
    let mut pooled = vec![0.0; 25];
    for class in mapped.chunks_exact(30 * 5) {
        pooled.iter_mut().zip(covariance(class, 5)).for_each(|(p, c)| *p += c / 12.0);
    }
    assert!(apart(&pooled, &unit(5)) < 1e-4, "{pooled:?}");
}

#[test]
fn whitening_with_components_drops_the_others() {
    let vectors = [4.0, 1.0, -4.0, 1.0, 4.0, -1.0, -4.0, -1.0];
    let rows = Examples::Labelled { vectors: &vectors, labels: &[0, 1, 2, 3], dim: 2 };
    let adapter = |basis| {
        Adapter::Whitening(Whitening { floor: 0.0, components: 1, power: 1.0, basis, ..Default::default() })
    };
    let root = (3.0f32 / 64.0).sqrt();
    let pca = adapter(Basis::Pca).fit(&rows).unwrap().map().unwrap();
    assert_eq!((pca.outputs, pca.weight.len()), (1, 2));
    assert!((pca.weight[0] - root).abs() < 1e-6 && pca.weight[1].abs() < 1e-6);
    let zca = adapter(Basis::Zca).fit(&rows).unwrap().map().unwrap();
    assert!((zca.weight[0] - root).abs() < 1e-6 && zca.weight[3].abs() < 1e-6);
}

#[test]
fn ridge_in_one_dimension() {
    // Variance 20/3, that of the class means ±2 is 16/3: W = (16/3) / (20/3 + λ·20/3).
    let rows = Examples::Labelled { vectors: &[6.0, 8.0, 4.0, 2.0], labels: &[4, 4, 9, 9], dim: 1 };
    let weight = |adapter: Ridge| {
        let map = Adapter::Ridge(adapter).fit(&rows).unwrap().map().unwrap();
        (map.weight[0], map.bias.unwrap()[0])
    };
    let (w, b) = weight(Ridge { lambda: 1.0, ..Default::default() });
    assert!((w - 0.4).abs() < 1e-6 && (b + 2.0).abs() < 1e-6);
    let (w, b) = weight(Ridge { lambda: 1.0, centre: false, ..Default::default() });
    assert!((w - 0.4).abs() < 1e-6 && (b - 3.0).abs() < 1e-6);
    let (w, _) = weight(Ridge { lambda: 0.25, targets: Targets::Simplex, ..Default::default() });
    assert!((f64::from(w) - (16.0f64 / 3.0).sqrt() / (20.0 / 3.0 * 1.25)).abs() < 1e-6);
}

#[test]
fn simplex_ridge_has_the_cosines_of_class_scores() {
    // The score of a class is (m_class − m)ᵀ (C + λ'I)⁻¹ (x − m) up to a common factor; the inverse is written out.
    let world = gaussian(9, 3, 40, &[1.0, 1.0], &[0.5, 2.0]);
    let adapter = Adapter::Ridge(Ridge { lambda: 0.5, targets: Targets::Simplex, centre: true });
    let map = adapter.fit(&labelled(&world)).unwrap().map().unwrap();
    let mapped = map.apply(&world.vectors, 120).unwrap();

    let c = covariance(&world.vectors, 2);
    let penalty = 0.5 * (c[0] + c[3]) / 2.0;
    let (a, b, d) = (c[0] + penalty, c[1], c[3] + penalty);
    let determinant = a * d - b * b;
    let mean = |rows: &[f32]| -> [f64; 2] {
        let n = rows.len() as f64 / 2.0;
        [0, 1].map(|j| rows.iter().skip(j).step_by(2).map(|&x| f64::from(x)).sum::<f64>() / n)
    };
    let grand = mean(&world.vectors);
    let scores: Vec<f32> = world
        .vectors
        .chunks_exact(2)
        .flat_map(|x| {
            let x = [f64::from(x[0]) - grand[0], f64::from(x[1]) - grand[1]];
            let solved = [(d * x[0] - b * x[1]) / determinant, (a * x[1] - b * x[0]) / determinant];
            world
                .vectors
                .chunks_exact(80)
                .map(|class| {
                    let m = mean(class);
                    ((m[0] - grand[0]) * solved[0] + (m[1] - grand[1]) * solved[1]) as f32
                })
                .collect::<Vec<_>>()
        })
        .collect();
    assert!(apart(&cosines(&mapped, 2), &cosines(&scores, 3)) < 1e-4);
}

#[test]
fn procrustes_recovers_a_planted_rotation() {
    let (dim, n) = (9, 200);
    let world = gaussian(10, 1, n, &[0.0; 9], &[1.0; 9]);
    let q = rotation(11, dim);
    let noise = gaussian(12, 1, n, &[0.0; 9], &[1e-4; 9]);
    let positives: Vec<f32> =
        turned(&world.vectors, &q, dim).iter().zip(&noise.vectors).map(|(x, e)| 3.0 * x + e + 2.0).collect();
    let pairs = Examples::Pairs { anchors: &world.vectors, positives: &positives, dim };
    let map = Adapter::Procrustes(Procrustes::default()).fit(&pairs).unwrap().map().unwrap();
    let found: Vec<f64> = map.weight.iter().map(|&w| f64::from(w)).collect();
    assert!(apart(&found, &q) < 1e-3);
    assert_eq!(map.sides, Sides::Queries);
    let scaled = Procrustes { scale: true, ..Default::default() };
    let map = Adapter::Procrustes(scaled).fit(&pairs).unwrap().map().unwrap();
    let mapped = map.apply(&world.vectors, n).unwrap();
    assert!(mapped.iter().zip(&positives).all(|(a, b)| (a - b).abs() < 5e-3));
    // Ridge with a small penalty finds the same map, scale included.
    let map =
        Adapter::Ridge(Ridge { lambda: 1e-6, ..Default::default() }).fit(&pairs).unwrap().map().unwrap();
    let found: Vec<f64> = map.weight.iter().map(|&w| f64::from(w) / 3.0).collect();
    assert!(apart(&found, &q) < 1e-3);
}

#[test]
fn the_discriminant_finds_the_planted_subspace() {
    let (dim, signal, noise) = (6, [1.0, 1.0, 0.0, 0.0, 0.0, 0.0], [0.1, 0.1, 3.0, 3.0, 3.0, 3.0]);
    let world = gaussian(13, 40, 20, &signal, &noise);
    let q = rotation(14, dim);
    let rows = turned(&world.vectors, &q, dim);
    let adapter = Adapter::LinearDiscriminant(LinearDiscriminant {
        within_shrinkage: 0.0,
        between_shrinkage: 0.0,
        components: 2,
        ..Default::default()
    });
    let examples = Examples::Labelled { vectors: &rows, labels: &world.labels, dim };
    let map = adapter.fit(&examples).unwrap().map().unwrap();
    assert_eq!(map.outputs, 2);
    // Each row of W lies in the span of the first two columns of Q.
    for w in map.weight.chunks_exact(dim) {
        let inside: f64 =
            (0..2).map(|j| (0..dim).map(|k| f64::from(w[k]) * q[k * dim + j]).sum::<f64>().powi(2)).sum();
        let norm: f64 = w.iter().map(|&x| f64::from(x).powi(2)).sum();
        assert!(inside / norm > 0.999, "{}", inside / norm);
    }
}

#[test]
fn the_weighted_discriminant_is_a_difference_of_inverses() {
    // Two dimensions without correlation: WᵀW = diag(1/w − 1/(w + b)), with b by the analysis of variance.
    let vectors = [3.0, 1.0, 1.0, -1.0, -1.0, 2.0, -3.0, -2.0, 0.5, 5.5, -0.5, 6.5];
    let rows = Examples::Labelled { vectors: &vectors, labels: &[0, 0, 1, 1, 2, 2], dim: 2 };
    let adapter = LinearDiscriminant { within_shrinkage: 0.0, between_shrinkage: 0.0, ..Default::default() };
    let map = Adapter::LinearDiscriminant(adapter.clone()).fit(&rows).unwrap().map().unwrap();
    let w: Vec<f64> = map.weight.iter().map(|&x| f64::from(x)).collect();
    let gram = [w[0] * w[0] + w[2] * w[2], w[0] * w[1] + w[2] * w[3], w[1] * w[1] + w[3] * w[3]];
    // S_w: differences (2, 2), (2, 4), (1, -1): Σ d dᵀ / 2 over 3 degrees.
    let s_w = [(4.0 + 4.0 + 1.0) / 6.0, (4.0 + 8.0 - 1.0) / 6.0, (4.0 + 16.0 + 1.0) / 6.0];
    // Means (2, 0), (−2, 0), (0, 6) about (0, 2): MS = 2·Σ/2.
    let ms = [4.0 + 4.0, -4.0 + 4.0, 4.0 + 4.0 + 16.0];
    let s_b: Vec<f64> = ms.iter().zip(s_w).map(|(m, w)| (m - w) / 2.0).collect();
    let inverse = |m: [f64; 3]| {
        let determinant = m[0] * m[2] - m[1] * m[1];
        [m[2] / determinant, -m[1] / determinant, m[0] / determinant]
    };
    let (first, second) = (inverse(s_w), inverse([s_w[0] + s_b[0], s_w[1] + s_b[1], s_w[2] + s_b[2]]));
    let want: Vec<f64> = first.iter().zip(second).map(|(a, b)| a - b).collect();
    assert!(apart(&gram, &want) < 1e-6, "{gram:?} {want:?}");
    // `unit` with every component is S_w^(−½).
    let unit = LinearDiscriminant { weighting: Weighting::Unit, ..adapter };
    let map = Adapter::LinearDiscriminant(unit).fit(&rows).unwrap().map().unwrap();
    let w: Vec<f64> = map.weight.iter().map(|&x| f64::from(x)).collect();
    let gram = [w[0] * w[0] + w[2] * w[2], w[0] * w[1] + w[2] * w[3], w[1] * w[1] + w[3] * w[3]];
    assert!(apart(&gram, &first) < 1e-6);
}

#[test]
fn cosines_do_not_see_a_rotation_or_a_scale_of_the_input() {
    let world = skewed();
    let q = rotation(15, 5);
    for adapter in families() {
        for alpha in [0.0, 0.4, 1.0] {
            let after = |vectors: &[f32]| {
                let examples = Examples::Labelled { vectors, labels: &world.labels, dim: 5 };
                let map = adapter.fit(&examples).unwrap().blend(alpha).unwrap();
                cosines(&map.apply(vectors, 360).unwrap(), map.outputs)
            };
            let plain = after(&world.vectors);
            let scaled: Vec<f32> = world.vectors.iter().map(|x| x * 1000.0).collect();
            for (what, other) in [("turned", turned(&world.vectors, &q, 5)), ("scaled", scaled)] {
                let difference = apart(&plain, &after(&other));
                assert!(difference < 2e-4, "{} at {alpha}, {what}: {difference}", adapter.describe());
            }
        }
    }
}

#[test]
fn both_bases_and_every_blend_agree_with_their_limits() {
    let world = skewed();
    let examples = labelled(&world);
    let trace = |c: &[f64]| (0..5).map(|i| c[i * 6]).sum::<f64>();
    for adapter in families() {
        let fit = adapter.fit(&examples).unwrap();
        assert_eq!(fit.blend(0.0).unwrap().weight, parallax_linear::Map::identity(5).weight);
        assert_eq!(fit.blend(1.0).unwrap(), fit.map().unwrap());
        // Just below 1 the blend has as many outputs as inputs, and the same cosines.
        let full = fit.map().unwrap();
        let near = fit.blend(1.0 - 1e-9).unwrap();
        assert_eq!(near.outputs, 5);
        let of = |map: &parallax_linear::Map| cosines(&map.apply(&world.vectors, 360).unwrap(), map.outputs);
        assert!(apart(&of(&full), &of(&near)) < 2e-3, "{}", adapter.describe());
        // W_½ = ½sI + ½P with equal spreads: 2W_½ − P is s·I, and s²·tr C is the spread of the mapped rows.
        let half = fit.blend(0.5).unwrap();
        let s = 2.0 * half.weight[5] - near.weight[5];
        assert!(s.abs() < 1e-5, "off the diagonal there is no identity: {s}");
        let s = f64::from(2.0 * half.weight[0] - near.weight[0]);
        let mapped = full.apply(&world.vectors, 360).unwrap();
        let want = trace(&covariance(&world.vectors, 5)) * s * s;
        let spread: f64 = {
            let c = covariance(&mapped, full.outputs);
            (0..full.outputs).map(|i| c[i * (full.outputs + 1)]).sum()
        };
        assert!((want / spread - 1.0).abs() < 1e-3, "{}: {want} {spread}", adapter.describe());
        assert!(fit.blend(1.1).is_err() && fit.blend(f64::NAN).is_err());
    }
}

#[test]
fn pairs_are_classes_of_two() {
    let world = gaussian(16, 50, 2, &[1.0; 4], &[0.1, 0.2, 0.3, 2.0]);
    let side = |first: usize| -> Vec<f32> {
        world.vectors.chunks_exact(4).skip(first).step_by(2).flatten().copied().collect()
    };
    let (anchors, positives) = (side(0), side(1));
    let pairs = Examples::Pairs { anchors: &anchors, positives: &positives, dim: 4 };
    for adapter in families().into_iter().filter(|adapter| adapter.name() != "ridge") {
        let as_pairs = adapter.fit(&pairs).unwrap().map().unwrap();
        let as_rows = adapter.fit(&labelled(&world)).unwrap().map().unwrap();
        assert_eq!(as_pairs.sides, Sides::Both);
        let difference = as_pairs.weight.iter().zip(&as_rows.weight).map(|(a, b)| (a - b).abs());
        assert!(difference.fold(0.0, f32::max) < 1e-4, "{}", adapter.describe());
    }
}

#[test]
fn rank_deficient_rows_work() {
    // Fewer rows than dimensions, a constant column, and a column twice.
    let small = gaussian(17, 4, 3, &[1.0; 20], &[0.5; 20]);
    let mut rows = small.vectors.clone();
    rows.chunks_exact_mut(20).for_each(|row| {
        row[3] = 5.0;
        row[7] = row[2];
    });
    let examples = Examples::Labelled { vectors: &rows, labels: &small.labels, dim: 20 };
    for adapter in
        families().into_iter().chain([Adapter::Whitening(Whitening { floor: 0.0, ..Default::default() })])
    {
        let map = adapter.fit(&examples).unwrap().blend(0.5).unwrap();
        let mapped = map.apply(&rows, 12).unwrap();
        assert!(mapped.iter().all(|y| y.is_finite() && y.abs() < 1e4), "{}", adapter.describe());
    }
    // Without a floor what does not vary becomes 0, and the rest is white.
    let adapter = Adapter::Whitening(Whitening { floor: 0.0, basis: Basis::Pca, ..Default::default() });
    let map = adapter.fit(&examples).unwrap().map().unwrap();
    let white = covariance(&map.apply(&rows, 12).unwrap(), 20);
    let diagonal: f64 = (0..20).map(|i| white[i * 21]).sum();
    assert!((diagonal - 11.0).abs() < 1e-3, "{diagonal}");
}

#[test]
fn one_and_two_threads_give_the_same_bytes() {
    let world = gaussian(18, 30, 40, &[1.0; 150], &[1.0; 150]);
    for adapter in families() {
        let fit = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| adapter.fit(&labelled(&world)).unwrap().blend(0.3).unwrap())
        };
        assert_eq!(fit(1), fit(2), "{}", adapter.describe());
    }
    let (anchors, positives) = world.vectors.split_at(world.vectors.len() / 2);
    let pairs = Examples::Pairs { anchors, positives, dim: 150 };
    for adapter in [Adapter::Procrustes(Procrustes::default()), Adapter::Ridge(Ridge::default())] {
        let fit = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| adapter.fit(&pairs).unwrap().map().unwrap())
        };
        assert_eq!(fit(1), fit(2), "{}", adapter.describe());
    }
}
