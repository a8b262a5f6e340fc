use super::*;

/// `classes` Gaussian heaps of `each` rows in `dim` dimensions.
fn heaps(classes: usize, each: usize, dim: usize, apart: f64, seed: u64) -> Vec<f32> {
    let key = Key::new(seed);
    (0..classes * each)
        .flat_map(|i| {
            (0..dim).map(move |j| {
                let centre = apart * key.named("centre").normal((i / each * dim + j) as u64);
                (centre + key.normal((i * dim + j) as u64)) as f32
            })
        })
        .collect()
}

fn rows<'a>(
    before: Option<&'a [f32]>,
    after: &'a [f32],
    dim: usize,
    text: &'a (dyn Fn(usize) -> String + Sync),
) -> Rows<'a> {
    Rows {
        before: before.map(|values| Embeddings { values, dim }),
        after: Embeddings { values: after, dim },
        labels: None,
        text,
    }
}

#[test]
fn tsne_keeps_heaps_apart_and_maps_lie_alike() {
    let (classes, each, dim) = (6, 40, 20);
    let before = heaps(classes, each, dim, 1.5, 3);
    // The same rows mirrored and turned in the space of vectors: the maps must come out alike.
    let mut after = before.clone();
    for row in after.chunks_exact_mut(dim) {
        row.rotate_left(3);
        row[0] = -row[0];
    }
    let text = |_: usize| String::new();
    let all: Vec<usize> = (0..classes * each).collect();
    let subject = rows(Some(&before), &after, dim, &text);
    let layout = maps(&MapMethod::default(), &subject, Similarity::Euclidean, &all, Key::new(1)).unwrap();
    let same = |map: &[[f64; 2]]| {
        let nearest = |i: usize| {
            let far = |j: usize| (map[i][0] - map[j][0]).powi(2) + (map[i][1] - map[j][1]).powi(2);
            (0..map.len()).filter(|&j| j != i).min_by(|&a, &b| far(a).total_cmp(&far(b))).unwrap()
        };
        (0..map.len()).filter(|&i| nearest(i) / each == i / each).count() as f64 / map.len() as f64
    };
    let map_before = layout.before.as_ref().unwrap();
    assert!(same(map_before) > 0.97 && same(&layout.after) > 0.97);
    assert!(layout.kept_before.unwrap() > 0.35, "{:?}", layout.kept_before);
    let off = map_before.iter().zip(&layout.after).map(|(a, b)| (a[0] - b[0]).hypot(a[1] - b[1]));
    let mean = off.sum::<f64>() / all.len() as f64;
    assert!(mean < 0.25, "mean distance between a row's places {mean}");
    let reach = map_before.iter().chain(&layout.after).flatten().map(|x| x.abs()).fold(0.0, f64::max);
    assert!((reach - 1.0).abs() < 1e-12);
}

#[test]
fn the_same_bytes_with_one_and_two_threads() {
    let values = heaps(4, 30, 9, 1.0, 8);
    let text = |_: usize| String::new();
    let subject = rows(None, &values, 9, &text);
    let all: Vec<usize> = (0..120).collect();
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            maps(&MapMethod::default(), &subject, Similarity::Cosine, &all, Key::new(1)).unwrap().after
        })
    };
    assert_eq!(run(1), run(2));
}

#[test]
fn degenerate_rows_stay_finite() {
    let text = |_: usize| String::new();
    for values in [vec![0.0f32; 60], vec![1.0; 60], [vec![0.0; 57], vec![1e30, -1e30, 1e-30]].concat()] {
        let subject = rows(Some(&values), &values, 3, &text);
        let all: Vec<usize> = (0..20).collect();
        for method in [MapMethod::default(), MapMethod::Pca] {
            for similarity in [Similarity::Cosine, Similarity::Euclidean] {
                let layout = maps(&method, &subject, similarity, &all, Key::new(1)).unwrap();
                let finite = layout.after.iter().flatten().all(|x| x.is_finite() && x.abs() <= 1.0);
                assert!(finite, "{method:?} {similarity:?} {:?}", layout.after);
            }
        }
    }
    let two = [0.0f32; 6];
    assert!(
        maps(&MapMethod::Pca, &rows(None, &two, 3, &text), Similarity::Cosine, &[0, 1], Key::new(1))
            .is_none()
    );
}
