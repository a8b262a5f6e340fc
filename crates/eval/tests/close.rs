//! Rows that bf16 cannot tell apart: far clusters, so that no common mean can be taken away, of rows close together.

use parallax_eval::{Gallery, Measure, Ranking, RetrievalConfig, Similarity, Vectors, retrieval};
use parallax_random::Key;

#[test]
fn clusters_far_apart_of_rows_close_together_are_ranked_exactly() {
    let (n, dim) = (1500, 24);
    let key = Key::new(51);
    let labels: Vec<u32> = (0..n as u64).map(|i| key.named("label").below(i, 12) as u32).collect();
    // Multiples of 1/8, so that the sums of the oracle are exact.
    let values: Vec<f32> = (0..n * dim)
        .map(|at| {
            let (row, column) = (at / dim, at % dim);
            let far = if (row / 7 + column) % 2 == 0 { 900.0 } else { -900.0 };
            let class = key.named("centre").normal(u64::from(labels[row]) * 100 + column as u64);
            far + ((class + 0.8 * key.named("noise").normal(at as u64)) * 8.0).round() as f32 / 8.0
        })
        .collect();
    let measures: Vec<Measure> =
        ["precision@1", "r_precision", "map@r", "map", "mrr"].map(|name| name.parse().unwrap()).to_vec();
    let row = |i: usize| &values[i * dim..(i + 1) * dim];
    for similarity in [Similarity::Euclidean, Similarity::Dot] {
        let rankings: Vec<Ranking> = (0..n)
            .map(|i| {
                let score = |j: usize| -> f64 {
                    let pairs = row(i).iter().zip(row(j)).map(|(&a, &b)| (f64::from(a), f64::from(b)));
                    match similarity {
                        Similarity::Euclidean => -pairs.map(|(a, b)| (a - b) * (a - b)).sum::<f64>(),
                        _ => pairs.map(|(a, b)| a * b).sum(),
                    }
                };
                let items: Vec<(f64, bool)> =
                    (0..n).filter(|&j| j != i).map(|j| (score(j), labels[j] == labels[i])).collect();
                Ranking::from_scores(&items)
            })
            .collect();
        let most = rankings.iter().map(Ranking::relevant).max().unwrap();
        let want: Vec<Vec<f64>> =
            measures.iter().map(|m| rankings.iter().map(|r| m.expected(r, most)).collect()).collect();
        let vectors = Vectors { values: &values, dim, labels: &labels };
        for gallery_tile in [64, 1024] {
            let config = RetrievalConfig {
                measures: measures.clone(),
                similarity,
                resamples: 0,
                gallery_tile,
                ..Default::default()
            };
            let found = retrieval(&config, vectors, Gallery::LeaveOneOut).unwrap().per_query.unwrap();
            assert_eq!(found.columns, want, "{similarity:?}, tiles of {gallery_tile}");
        }
    }
}
