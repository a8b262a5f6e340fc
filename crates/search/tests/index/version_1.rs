//! An index of version 1 of the format, committed as it was written then.
//!
//! `cargo test -p parallax-search --test index -- --ignored write_the_fixture` writes it; that is for a new version
//! only, under a new name. The old ones stay.

use std::fs;
use std::path::{Path, PathBuf};

use parallax_search::{
    Batch, FORMAT_VERSION, Filter, Index, IndexConfig, IndexWriter, Similarity, compact, delete,
};
use serde_json::json;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/version-1")
}

fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        })
        .filter(|(name, _)| name != "lock")
        .collect();
    files.sort();
    files
}

/// Two segments, every type of attribute, texts, a deleted row.
fn write(path: &Path) {
    let config = IndexConfig {
        dim: 3,
        similarity: Similarity::Euclidean,
        model: Some("all-MiniLM-L6-v2".into()),
        segment_rows: 3,
        metadata: [("prefix".to_owned(), "query: ".to_owned())].into(),
    };
    let mut writer = IndexWriter::create(path, config).unwrap();
    let attributes: Vec<_> = [
        json!({"topic": "billing", "price": 3, "weight": 0.5, "archived": true}),
        json!({"topic": "größe", "price": null, "weight": 2, "empty": null}),
        json!({}),
        json!({"topic": "access", "price": 1.5, "archived": false}),
        json!({"topic": "billing", "price": -7}),
    ]
    .iter()
    .map(|object| object.as_object().unwrap().clone())
    .collect();
    writer
        .add(Batch {
            vectors: &[1.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 3.0, 1.0, 1.0, 1.0, -1.0, 0.5, 0.25],
            ids: &["a", "b", "c", "日", "e"].map(str::to_owned),
            texts: &["first", "", "third", "fourth", "fifth"].map(str::to_owned),
            attributes: &attributes,
        })
        .unwrap();
    writer.finish().unwrap();
    delete(path, &["c"]).unwrap();
}

#[test]
#[ignore = "writes the fixture"]
fn write_the_fixture() {
    let _ = fs::remove_dir_all(fixture());
    fs::create_dir_all(fixture().parent().unwrap()).unwrap();
    write(&fixture());
    fs::remove_file(fixture().join("lock")).unwrap();
}

#[test]
fn an_index_of_version_1_opens_and_answers() {
    let index = Index::open(fixture()).unwrap();
    let info = serde_json::to_value(index.info()).unwrap();
    assert_eq!(
        info,
        json!({
            "version": 1, "generation": 2, "dim": 3, "similarity": "euclidean", "model": "all-MiniLM-L6-v2",
            "metadata": {"prefix": "query: "}, "rows": 4, "deleted": 1, "segments": 2, "has_texts": true,
            "bytes": info["bytes"],
            "attributes": [
                {"name": "topic", "type": "string", "nulls": 1},
                {"name": "price", "type": "f64", "nulls": 2},
                {"name": "weight", "type": "f64", "nulls": 3},
                {"name": "archived", "type": "bool", "nulls": 3},
                {"name": "empty", "type": "null", "nulls": 5},
            ],
        })
    );
    let show = |k, filter: Option<&str>| -> Vec<(String, f64)> {
        let filter = filter.map(|text| Filter::parse(text).unwrap());
        let hits = index.search(&[1.0, 0.0, 0.0], k, filter.as_ref()).unwrap().remove(0);
        hits.iter().map(|hit| (hit.id.to_owned(), hit.score)).collect()
    };
    let of = |list: &[(&str, f64)]| list.iter().map(|(id, s)| ((*id).to_owned(), *s)).collect::<Vec<_>>();
    assert_eq!(show(9, None), of(&[("a", 0.0), ("日", -2.0), ("e", -4.3125), ("b", -5.0)]));
    assert_eq!(show(9, Some("price < 2.5")), of(&[("日", -2.0), ("e", -4.3125)]));
    assert_eq!(show(9, Some("topic IN ('größe', 'billing') AND price IS NULL")), of(&[("b", -5.0)]));
    assert_eq!(show(9, Some("NOT archived OR weight >= 2")), of(&[("日", -2.0), ("b", -5.0)]));
    assert_eq!((index.text(0), index.text(1), index.text(4)), (Some("first"), None, Some("fifth")));
    assert_eq!(
        serde_json::Value::from(index.attributes(0).unwrap()),
        json!({"topic": "billing", "price": 3.0, "weight": 0.5, "archived": true, "empty": null})
    );
    assert_eq!((index.find("c"), index.is_deleted(2), index.id(3)), (None, Some(true), Some("日")));
}

#[test]
fn an_index_of_version_1_can_be_written_to() {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files(&fixture()) {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let mut writer = IndexWriter::append(folder.path()).unwrap();
    writer.add(Batch { vectors: &[9.0, 9.0, 9.0], ids: &["c".into()], ..Default::default() }).unwrap();
    assert_eq!(writer.finish().unwrap().rows, 5);
    let info = compact(folder.path()).unwrap();
    assert_eq!((info.rows, info.deleted, info.segments), (5, 0, 2));
    let index = Index::open(folder.path()).unwrap();
    assert_eq!((index.find("c"), index.find("e"), index.text(2)), (Some(4), Some(3), Some("fourth")));
    assert_eq!(index.attributes(2).unwrap()["price"], 1.5);
}

#[test]
fn the_same_rows_give_the_same_bytes() {
    assert_eq!(FORMAT_VERSION, 1, "write a fixture of the new version, and keep this one");
    let folder = tempfile::tempdir().unwrap();
    for threads in [1, 2] {
        let path = folder.path().join(threads.to_string());
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| write(&path));
        let (now, then) = (files(&path), files(&fixture()));
        assert_eq!(
            now.iter().map(|f| &f.0).collect::<Vec<_>>(),
            then.iter().map(|f| &f.0).collect::<Vec<_>>()
        );
        for (now, then) in now.iter().zip(&then) {
            assert!(now == then, "{} differs", now.0);
        }
    }
}
