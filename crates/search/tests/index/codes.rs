//! Indexes of binary codes: every answer is that of comparing all signs.

use std::fs;

use parallax_random::Key;
use parallax_search::{Filter, Index, IndexWriter, Similarity, compact, delete};

use crate::rows::{Draw, Rows, vectors};

/// Signs that differ; 0 counts as positive.
fn differing(x: &[f32], y: &[f32]) -> usize {
    x.iter().zip(y).filter(|(x, y)| (**x >= 0.0) != (**y >= 0.0)).count()
}

/// (row, score) of the nearest `k` rows that are wanted.
fn naive(rows: &Rows, query: &[f32], k: usize, wanted: impl Fn(usize) -> bool) -> Vec<(usize, f64)> {
    let mut all: Vec<(usize, usize)> = (0..rows.ids.len())
        .filter(|&row| wanted(row))
        .map(|row| (differing(query, rows.vector(row)), row))
        .collect();
    all.sort_unstable();
    all.into_iter().take(k).map(|(distance, row)| (row, 0.0 - distance as f64)).collect()
}

#[test]
fn hits_are_those_of_comparing_every_sign() {
    let folder = tempfile::tempdir().unwrap();
    for (dim, draw) in
        [(1, Draw::Normal), (63, Draw::Normal), (64, Draw::Whole), (65, Draw::Normal), (130, Draw::Whole)]
    {
        let key = Key::new(dim as u64);
        let rows = Rows::new(key, 300, dim, draw);
        let path = folder.path().join(format!("index-{dim}"));
        // Several segments, added in two goes.
        rows.write(&path, Similarity::Hamming, 70, 64);
        let deleted = ["doc-3", "doc-150", "doc-299"];
        delete(&path, &deleted).unwrap();
        let queries = vectors(key.named("queries"), 9, dim, draw);
        let filter = Filter::parse("topic = 'billing' OR price > 6").unwrap();
        for threads in [1, 2] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let index = Index::open(&path).unwrap();
                assert_eq!((index.dim(), index.len()), (dim, 297));
                for k in [0, 1, 10, 1000, usize::MAX] {
                    for filtered in [false, true] {
                        let found = index.search(&queries, k, filtered.then_some(&filter)).unwrap();
                        for (query, hits) in queries.chunks(dim).zip(found) {
                            let wanted = |row: usize| {
                                let kept = || {
                                    let attributes = &rows.attributes[row];
                                    attributes["topic"] == "billing"
                                        || attributes
                                            .get("price")
                                            .and_then(|p| p.as_f64())
                                            .is_some_and(|p| p > 6.0)
                                };
                                !deleted.contains(&rows.ids[row].as_str()) && (!filtered || kept())
                            };
                            let found: Vec<(usize, f64)> =
                                hits.iter().map(|hit| (hit.row, hit.score)).collect();
                            assert_eq!(found, naive(&rows, query, k, wanted), "{dim} {k} {filtered}");
                        }
                    }
                }
                assert_eq!(index.vector(0), None);
                let code = index.code(1).unwrap();
                for (at, value) in rows.vector(1).iter().enumerate() {
                    assert_eq!(code[at / 64] >> (at % 64) & 1 == 1, *value >= 0.0);
                }
            });
        }
        let before = Index::open(&path).unwrap();
        let ids = |index: &Index| -> Vec<Vec<(String, f64)>> {
            let found = index.search(&queries, 20, None).unwrap();
            found.iter().map(|list| list.iter().map(|hit| (hit.id.to_owned(), hit.score)).collect()).collect()
        };
        let (want, code) = (ids(&before), before.code(4).unwrap().to_vec());
        drop(before);
        compact(&path).unwrap();
        let after = Index::open(&path).unwrap();
        // Row 3 is gone.
        assert_eq!((ids(&after), after.code(3).unwrap()), (want, &code[..]));
        assert_eq!(after.info().similarity, Similarity::Hamming);
        let bytes = fs::metadata(path.join(newest_vectors(&path))).unwrap().len();
        assert!(bytes <= (297 * dim.div_ceil(64) * 8 + 32) as u64, "{bytes}");
    }
}

fn newest_vectors(path: &std::path::Path) -> String {
    let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".vectors")).max().unwrap()
}

#[test]
fn what_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let rows = Rows::new(Key::new(2), 20, 10, Draw::Normal);
    rows.write(&path, Similarity::Hamming, 20, 64);
    let index = Index::open(&path).unwrap();
    assert!(index.search(&[0.5; 11], 3, None).is_err());
    assert!(index.search(&[f32::NAN; 10], 3, None).is_err());
    let mut writer = IndexWriter::append(&path).unwrap();
    let short = parallax_search::Batch { vectors: &[1.0; 9], ids: &["x".into()], ..Default::default() };
    assert!(writer.add(short).is_err());
}
