use parallax_random::Key;
use parallax_search::{Error, Filter, Hit, Index, IndexConfig, IndexWriter, Similarity, delete};

use crate::rows::{Draw, Rows, best, score, vectors};

const SIMILARITIES: [Similarity; 3] = [Similarity::Cosine, Similarity::Dot, Similarity::Euclidean];

fn on(threads: usize, work: impl FnOnce() + Send) {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(work);
}

/// Whole-numbered vectors: sums are exact, so the order is the one of brute force to the last tie.
#[test]
fn whole_numbers_give_exactly_the_hits_of_brute_force() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::new(1);
    let mut ties = 0;
    for (case, similarity) in [Similarity::Dot, Similarity::Euclidean].into_iter().enumerate() {
        for (segment_rows, count) in [(1 << 18, 3000), (700, 3000), (1, 5), (64, 1)] {
            let rows = Rows::new(key.at(case as u64), count, 6, Draw::Whole);
            let path = folder.path().join(format!("{case}-{segment_rows}-{count}"));
            rows.write(&path, similarity, segment_rows, 999);
            let deleted = |row: usize| row % 11 == 3;
            let ids: Vec<&str> = (0..count).filter(|r| deleted(*r)).map(|r| rows.ids[r].as_str()).collect();
            delete(&path, &ids).unwrap();
            let index = Index::open(&path).unwrap();
            assert_eq!(index.len(), count - ids.len());
            let queries = vectors(key.named("queries"), 300, 6, Draw::Whole);
            let filter = Filter::parse("topic = 'billing' AND weight < 4").unwrap();
            for k in [1, 10, 100, 5000] {
                for filtered in [false, true] {
                    let hits = index.search(&queries, k, filtered.then_some(&filter)).unwrap();
                    assert_eq!(hits.len(), 300);
                    for (query, hits) in queries.chunks(6).zip(&hits).step_by(7) {
                        let keep = |row: usize| {
                            let a = &rows.attributes[row];
                            !deleted(row)
                                && (!filtered || a["topic"] == "billing" && a["weight"].as_f64() < Some(4.0))
                        };
                        let want = best(&rows, similarity, query, k, keep);
                        let got: Vec<(usize, f64)> = hits.iter().map(|hit| (hit.row, hit.score)).collect();
                        assert!(got == want, "{similarity:?}, {segment_rows} rows a segment, k {k}");
                        ties += want.windows(2).filter(|pair| pair[0].1 == pair[1].1).count();
                    }
                }
            }
        }
    }
    assert!(ties > 20_000, "only {ties} ties");
}

#[test]
fn scores_and_order_are_those_of_64_bits() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::new(2);
    for (case, similarity) in SIMILARITIES.into_iter().enumerate() {
        // Far from the origin, where 32 bits cancel badly in a Euclidean tile.
        for shift in [0.0, 30.0] {
            let (dim, count) = (83, 2500);
            let mut rows = Rows::new(key.at(case as u64), count, dim, Draw::Normal);
            rows.vectors.iter_mut().for_each(|v| *v += shift);
            let path = folder.path().join(format!("{case}-{shift}"));
            rows.write(&path, similarity, 1000, 400);
            let index = Index::open(&path).unwrap();
            let mut queries = vectors(key.named("queries"), 40, dim, Draw::Normal);
            queries.iter_mut().for_each(|v| *v += shift);
            let hits = index.search(&queries, 25, None).unwrap();
            for (query, hits) in queries.chunks(dim).zip(hits) {
                let want = best(&rows, similarity, query, 25, |_| true);
                for (hit, (row, value)) in hits.iter().zip(&want) {
                    // Cosine normalises the stored rows in 32 bits; the others keep them as they are.
                    let close =
                        if similarity == Similarity::Cosine { 2e-7 } else { 1e-9 * (1.0 + value.abs()) };
                    assert!((hit.score - value).abs() < close, "{similarity:?}: {} and {value}", hit.score);
                    let own = score(similarity, query, rows.vector(hit.row));
                    assert!((hit.score - own).abs() < close, "{similarity:?}: {} and {own}", hit.score);
                    if similarity != Similarity::Cosine {
                        assert_eq!(hit.row, *row);
                    }
                }
            }
        }
    }
}

#[test]
fn hits_do_not_depend_on_threads_segments_or_company() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::new(3);
    let rows = Rows::new(key, 4000, 40, Draw::Normal);
    let queries = vectors(key.named("queries"), 300, 40, Draw::Normal);
    for similarity in SIMILARITIES {
        let list = |hits: &[Vec<Hit>]| -> Vec<Vec<(usize, u64)>> {
            hits.iter().map(|list| list.iter().map(|hit| (hit.row, hit.score.to_bits())).collect()).collect()
        };
        let mut want: Option<Vec<Vec<(usize, u64)>>> = None;
        for (segment_rows, batch) in [(1 << 18, 4000), (130, 77)] {
            let path = folder.path().join(format!("{similarity:?}-{segment_rows}"));
            rows.write(&path, similarity, segment_rows, batch);
            let index = Index::open(&path).unwrap();
            for threads in [1, 2, 5] {
                on(threads, || {
                    let all = list(&index.search(&queries, 10, None).unwrap());
                    // One query at a time goes through tiles of another shape.
                    for (query, want) in queries.chunks(40).zip(&all).step_by(37) {
                        assert_eq!(&list(&index.search(query, 10, None).unwrap())[0], want);
                    }
                    assert_eq!(
                        want.get_or_insert_with(|| all.clone()),
                        &all,
                        "{similarity:?}, {threads} threads"
                    );
                });
            }
        }
    }
}

/// With a copy of the rows and without, by rows where they lie and gathered, for many queries and for one.
#[test]
fn a_copy_of_the_rows_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let key = Key::new(9);
    let rows = Rows::new(key, 5000, 48, Draw::Normal);
    let queries = vectors(key.named("queries"), 70, 48, Draw::Normal);
    for similarity in SIMILARITIES {
        let path = folder.path().join(format!("{similarity:?}"));
        rows.write(&path, similarity, 1700, 900);
        let plain = Index::open(&path).unwrap().with_copy_limit(0);
        let copied = Index::open(&path).unwrap();
        for filter in [None, Some("weight < 9"), Some("topic = 'billing' AND weight < 4"), Some("weight < 0")]
        {
            let filter = filter.map(|text| Filter::parse(text).unwrap());
            let of = |index: &Index, queries: &[f32]| -> Vec<Vec<(usize, u64)>> {
                let hits = index.search(queries, 10, filter.as_ref()).unwrap();
                hits.iter().map(|h| h.iter().map(|hit| (hit.row, hit.score.to_bits())).collect()).collect()
            };
            // The first queries find no copy yet.
            let single: Vec<_> = queries.chunks(48).flat_map(|query| of(&copied, query)).collect();
            let want = of(&plain, &queries);
            assert_eq!(single, want, "{similarity:?}, {filter:?}");
            assert_eq!(of(&copied, &queries), want, "{similarity:?}, {filter:?}");
            assert_eq!(of(&plain, &queries[..48])[0], want[0]);
        }
    }
}

/// Equal vectors have equal scores wherever they stand, so that bounds cannot tell them apart.
#[test]
fn many_equal_rows_come_in_their_order() {
    let folder = tempfile::tempdir().unwrap();
    for similarity in SIMILARITIES {
        let mut rows = Rows::new(Key::new(4), 5000, 24, Draw::Normal);
        let one = rows.vector(1).to_vec();
        for row in 0..5000 {
            if row % 10 != 9 {
                rows.vectors[row * 24..(row + 1) * 24].copy_from_slice(&one);
            }
        }
        let path = folder.path().join(format!("{similarity:?}"));
        rows.write(&path, similarity, 2000, 5000);
        let index = Index::open(&path).unwrap();
        let query: Vec<f32> = one.iter().map(|v| v * 2.0).collect();
        let hits = &index.search(&query, 1000, None).unwrap()[0];
        let equal: Vec<usize> = hits.iter().filter(|hit| hit.row % 10 != 9).map(|hit| hit.row).collect();
        assert!(equal.len() > 900);
        assert!(
            equal.iter().eq((0..5000)
                .filter(|row| row % 10 != 9)
                .take(equal.len())
                .collect::<Vec<_>>()
                .iter())
        );
    }
}

#[test]
fn few_rows_no_rows_and_zero_vectors() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("empty");
    let config = IndexConfig { dim: 3, ..Default::default() };
    let info = IndexWriter::create(&path, config).unwrap().finish().unwrap();
    assert_eq!((info.rows, info.segments, info.dim), (0, 0, 3));
    let index = Index::open(&path).unwrap();
    assert!(index.is_empty());
    assert_eq!(index.search(&[1.0; 6], 5, None).unwrap(), vec![vec![], vec![]]);
    assert_eq!(index.search(&[], 5, None).unwrap().len(), 0);

    let rows = Rows::new(Key::new(5), 3, 4, Draw::Normal);
    for similarity in SIMILARITIES {
        let path = folder.path().join(format!("{similarity:?}"));
        rows.write(&path, similarity, 2, 2);
        let index = Index::open(&path).unwrap();
        let hits = &index.search(&[0.0; 4], 10, None).unwrap()[0];
        assert_eq!(hits.len(), 3, "k beyond the rows");
        if similarity != Similarity::Euclidean {
            assert!(hits.iter().enumerate().all(|(i, hit)| (hit.row, hit.score) == (i, 0.0)));
        } else {
            assert_eq!((hits[0].row, hits[0].score), (0, 0.0));
        }
        assert!(index.search(&[1.0; 4], 0, None).unwrap()[0].is_empty());
        let hits = &index.search(&[1.0, 2.0, 3.0, 4.0], usize::MAX, None).unwrap()[0];
        assert_eq!(hits.len(), 3);
    }
}

/// Products of such rows leave the range of 32 bits, so tiles decide nothing and every row is scored in 64.
#[test]
fn huge_and_tiny_values() {
    let folder = tempfile::tempdir().unwrap();
    for similarity in SIMILARITIES {
        for (case, size) in [1e30f32, 1e-30, 3e-42].into_iter().enumerate() {
            let mut rows = Rows::new(Key::new(6), 200, 5, Draw::Whole);
            rows.vectors.iter_mut().for_each(|v| *v *= size);
            let path = folder.path().join(format!("{similarity:?}-{case}"));
            rows.write(&path, similarity, 90, 200);
            let index = Index::open(&path).unwrap();
            let query: Vec<f32> = [1.0f32, -2.0, 0.0, 2.0, 1.0].iter().map(|v| v * size).collect();
            let hits = &index.search(&query, 20, None).unwrap()[0];
            let want = best(&rows, similarity, &query, 20, |_| true);
            let scale = want.iter().map(|w| w.1.abs()).fold(0.0, f64::max);
            for (hit, (_, value)) in hits.iter().zip(&want) {
                assert!(
                    (hit.score - value).abs() <= 3e-7 * scale,
                    "{similarity:?} {size}: {} {value}",
                    hit.score
                );
            }
        }
    }
}

#[test]
fn queries_that_cannot_be_searched_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("i");
    Rows::new(Key::new(7), 9, 4, Draw::Normal).write(&path, Similarity::Cosine, 100, 9);
    let index = Index::open(&path).unwrap();
    let error = index.search(&[1.0; 7], 3, None).unwrap_err();
    assert_eq!(error.to_string(), "the queries: 7 numbers are not 2 rows of 4, the dimension of the index");
    let error = index.search(&[1.0, 1.0, 1.0, 1.0, 1.0, f32::NAN, 1.0, 1.0], 3, None).unwrap_err();
    assert!(matches!(error, Error::QueryNotFinite { row: 1, column: 1, .. }), "{error}");
    assert!(error.hint().is_some());
}

#[test]
fn hits_carry_what_was_stored() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("i");
    let rows = Rows::new(Key::new(8), 40, 4, Draw::Normal);
    rows.write(&path, Similarity::Dot, 15, 7);
    let index = Index::open(&path).unwrap();
    let hits = &index.search(rows.vector(12), 40, None).unwrap()[0];
    for hit in hits {
        assert_eq!(hit.id, rows.ids[hit.row]);
        assert_eq!(hit.text.unwrap_or(""), rows.texts[hit.row]);
        for (name, value) in hit.attributes() {
            assert_eq!(&value, rows.attributes[hit.row].get(&name).unwrap_or(&serde_json::Value::Null));
        }
        assert_eq!(index.vector(hit.row), Some(rows.vector(hit.row)));
        assert_eq!((index.find(hit.id), index.id(hit.row)), (Some(hit.row), Some(hit.id)));
        let json = serde_json::to_value(hit).unwrap();
        assert_eq!(json["attributes"]["topic"], rows.attributes[hit.row]["topic"]);
        assert_eq!(json["score"].as_f64(), Some(hit.score));
        assert_eq!(json["row"], hit.row);
    }
    assert_eq!((index.find("nobody"), index.id(40), index.text(usize::MAX)), (None, None, None));
}
