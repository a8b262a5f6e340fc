use std::fs;
use std::path::Path;

use parallax_random::Key;
use parallax_search::{
    Attributes, Batch, Error, Index, IndexConfig, IndexWriter, Similarity, compact, delete,
};
use serde_json::json;

use crate::rows::{Draw, Rows};

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn snapshot(folder: &Path) -> Vec<(String, Vec<u8>)> {
    names(folder).into_iter().map(|name| (name.clone(), fs::read(folder.join(name)).unwrap())).collect()
}

fn objects(list: serde_json::Value) -> Vec<Attributes> {
    serde_json::from_value(list).unwrap()
}

fn ids(list: &[&str]) -> Vec<String> {
    list.iter().map(|id| (*id).to_owned()).collect()
}

/// An index of rows with 2 numbers each and these ids.
fn small(path: &Path, list: &[&str]) {
    let mut writer =
        IndexWriter::create(path, IndexConfig { segment_rows: 2, ..Default::default() }).unwrap();
    writer.add(Batch { vectors: &vec![1.0; list.len() * 2], ids: &ids(list), ..Default::default() }).unwrap();
    writer.finish().unwrap();
}

#[test]
fn a_writer_that_does_not_finish_leaves_nothing_or_the_old_index() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let rows = Rows::new(Key::new(1), 100, 3, Draw::Normal);
    let mut writer =
        IndexWriter::create(&path, IndexConfig { segment_rows: 30, ..Default::default() }).unwrap();
    writer.add(rows.batch(0, 100)).unwrap();
    assert!(!path.exists());
    drop(writer);
    assert!(names(folder.path()).is_empty());

    small(&path, &["x", "y", "z"]);
    let before = snapshot(&path);
    for finish in [IndexWriter::append as fn(_) -> _, |path: &Path| {
        IndexWriter::overwrite(path, IndexConfig { segment_rows: 30, ..Default::default() })
    }] {
        let mut writer = finish(&path).unwrap();
        let doubled: Vec<f32> = vec![1.0; 200];
        writer.add(Batch { vectors: &doubled, ids: &rows.ids, ..Default::default() }).unwrap();
        assert!(names(&path).len() > before.len());
        assert_eq!(Index::open(&path).unwrap().len(), 3);
        drop(writer);
        let mut after = snapshot(&path);
        after.retain(|(name, _)| name != "lock");
        assert_eq!(after, before);
    }

    // What a killed writer leaves is not seen, and the next writer removes it.
    for name in ["00000009.vectors", "00000009.column-0", "00000001.deleted-7", ".partial-abc"] {
        fs::write(path.join(name), "half").unwrap();
    }
    fs::write(path.join("notes.txt"), "mine").unwrap();
    assert_eq!(Index::open(&path).unwrap().len(), 3);
    delete(&path, &["x"]).unwrap();
    let left = names(&path);
    assert!(
        !left.iter().any(|name| name.starts_with("00000009") || name.starts_with(".partial")),
        "{left:?}"
    );
    assert!(left.contains(&"notes.txt".to_owned()));
    assert_eq!(Index::open(&path).unwrap().len(), 2);
}

#[test]
fn nothing_is_created_over_something() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    small(&path, &["x"]);
    assert!(matches!(IndexWriter::create(&path, IndexConfig::default()), Err(Error::Exists(_))));
    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    assert!(matches!(IndexWriter::create(&file, IndexConfig::default()), Err(Error::Exists(_))));
    assert!(matches!(IndexWriter::overwrite(&file, IndexConfig::default()), Err(Error::Exists(_))));
    // Something may come to stand there while a writer is at work.
    let late = folder.path().join("late");
    let mut writer = IndexWriter::create(&late, IndexConfig::default()).unwrap();
    writer.add(Batch { vectors: &[1.0], ids: &ids(&["a"]), ..Default::default() }).unwrap();
    fs::write(&late, "mine").unwrap();
    assert!(matches!(writer.finish(), Err(Error::Exists(_))));
    assert_eq!(fs::read(&late).unwrap(), b"mine");
    // An empty folder may be filled.
    let empty = folder.path().join("empty");
    fs::create_dir(&empty).unwrap();
    small(&empty, &["x"]);
    assert_eq!(Index::open(&empty).unwrap().len(), 1);
    assert_eq!(names(folder.path()), ["empty", "file", "index", "late"]);
    assert!(IndexWriter::create(folder.path().join("no/folder"), IndexConfig::default()).is_err());
}

#[test]
fn what_is_not_an_index_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for (path, part) in [
        (folder.path().join("nothing"), "this is not an index: nothing stands there"),
        (folder.path().to_owned(), "this is not an index: it has no manifest"),
    ] {
        let error = Index::open(&path).unwrap_err();
        assert!(error.to_string().ends_with(part), "{error}");
        assert!(error.hint().is_some());
        assert!(matches!(IndexWriter::append(&path), Err(Error::NotAnIndex { .. })));
        assert!(delete(&path, &["a"]).is_err());
        assert!(compact(&path).is_err());
    }
    assert!(names(folder.path()).is_empty(), "no lock is left in a folder that is not an index");
    let file = folder.path().join("file");
    fs::write(&file, "mine").unwrap();
    assert!(Index::open(&file).unwrap_err().to_string().ends_with("an index is a folder"));
}

#[test]
fn one_writer_at_a_time() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    small(&path, &["x", "y"]);
    let writer = IndexWriter::append(&path).unwrap();
    assert!(matches!(IndexWriter::append(&path), Err(Error::Locked(_))));
    assert!(matches!(IndexWriter::overwrite(&path, IndexConfig::default()), Err(Error::Locked(_))));
    assert!(matches!(delete(&path, &["x"]), Err(Error::Locked(_))));
    assert!(matches!(compact(&path), Err(Error::Locked(_))));
    drop(writer);
    assert_eq!(delete(&path, &["x"]).unwrap().rows, 1);
}

#[test]
fn bad_rows_are_refused_by_name_and_the_writer_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let mut writer = IndexWriter::create(&path, IndexConfig::default()).unwrap();
    let good = ids(&["a", "b"]);
    writer
        .add(Batch {
            vectors: &[1.0; 6],
            ids: &good,
            attributes: &objects(json!([{"price": 1}, {}])),
            ..Default::default()
        })
        .unwrap();
    let next = ids(&["c", "d"]);
    let base = Batch { vectors: &[1.0; 6], ids: &next, ..Default::default() };
    let mut refused = |batch: Batch, message: &str| {
        let error = writer.add(batch).unwrap_err();
        assert_eq!(error.to_string(), message);
    };
    refused(
        Batch { vectors: &[1.0, 1.0, 1.0, 1.0, f32::NAN, 1.0], ..base },
        "row 3, id \"d\", column 1 (counted from 0) is NaN",
    );
    refused(
        Batch { vectors: &[f32::NEG_INFINITY, 1.0, 1.0, 1.0, 1.0, 1.0], ..base },
        "row 2, id \"c\", column 0 (counted from 0) is -inf",
    );
    refused(
        Batch { vectors: &[1.0; 8], ..base },
        "the vectors: 8 numbers are not 2 rows of 3, the dimension of the index",
    );
    refused(
        Batch { vectors: &[], ..base },
        "the vectors: 0 numbers are not 2 rows of 3, the dimension of the index",
    );
    refused(Batch { texts: &ids(&["one"]), ..base }, "1 texts for 2 ids");
    refused(Batch { attributes: &objects(json!([{}, {}, {}])), ..base }, "3 attributes for 2 ids");
    refused(Batch { ids: &ids(&["c", ""]), ..base }, "row 3 (counted from 0): the id is empty");
    refused(
        Batch { attributes: &objects(json!([{"new": 1}, {"price": "cheap"}])), ..base },
        "row 3 (counted from 0), id \"d\", field \"price\": \"cheap\" was found, and earlier rows hold whole numbers",
    );
    refused(
        Batch { attributes: &objects(json!([{"tags": ["x"]}, {}])), ..base },
        "row 2 (counted from 0), id \"c\", field \"tags\": a list was found; an attribute is a text, a number, true, \
         false or null",
    );
    let many: Attributes = (0..2000).map(|i| (format!("a{i}"), json!(1))).collect();
    assert!(writer.add(Batch { attributes: &[many, Attributes::new()], ..base }).is_err());
    writer.add(base).unwrap();
    let info = writer.finish().unwrap();
    assert_eq!((info.rows, info.attributes.len()), (4, 1), "nothing of a refused batch stays");
    assert_eq!(Index::open(&path).unwrap().info(), info);

    let error = IndexWriter::create(folder.path().join("none"), IndexConfig::default())
        .unwrap()
        .finish()
        .unwrap_err();
    assert_eq!(error.to_string(), "dim is not set, and no row says what it is");
    for config in [
        IndexConfig { dim: 1 << 20, ..Default::default() },
        IndexConfig { segment_rows: 0, ..Default::default() },
        IndexConfig { segment_rows: usize::MAX, ..Default::default() },
    ] {
        assert!(matches!(IndexWriter::create(folder.path().join("none"), config), Err(Error::Config { .. })));
    }
    assert_eq!(names(folder.path()), ["index"]);
}

#[test]
fn an_id_names_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    small(&path, &["e", "c", "a", "d", "b"]);
    let before = fs::read(path.join("manifest")).unwrap();
    let add = |list: &[&str], replace: bool| {
        let mut writer = IndexWriter::append(&path).unwrap();
        if replace {
            writer = writer.replace_duplicates();
        }
        writer
            .add(Batch { vectors: &vec![2.0; list.len() * 2], ids: &ids(list), ..Default::default() })
            .unwrap();
        writer.finish()
    };
    let error = add(&["f", "d"], false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the id \"d\" is given twice, in rows 3 and 6 of the index (counted from 0)"
    );
    let error = add(&["g", "h", "i", "g"], false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the id \"g\" is given twice, in rows 5 and 8 of the index (counted from 0)"
    );
    assert_eq!(fs::read(path.join("manifest")).unwrap(), before);

    let info = add(&["d", "f", "g", "f", "f", "a"], true).unwrap();
    assert_eq!((info.rows, info.deleted), (7, 4));
    let index = Index::open(&path).unwrap();
    let live: Vec<&str> = (0..index.numbered_rows())
        .filter(|row| index.is_deleted(*row) == Some(false))
        .map(|row| index.id(row).unwrap())
        .collect();
    assert_eq!(live, ["e", "c", "b", "d", "g", "f", "a"]);
    assert_eq!((index.find("d"), index.find("f")), (Some(5), Some(9)));

    // An id is free again once its row is deleted.
    let deleted = delete(&path, &["d", "nobody", "g", "d"]).unwrap();
    assert_eq!((deleted.rows, deleted.unknown), (2, ids(&["nobody"])));
    assert_eq!(add(&["d"], false).unwrap().rows, 6);
    let generation = Index::open(&path).unwrap().info().generation;
    assert_eq!(delete(&path, &["nobody"]).unwrap().rows, 0);
    assert_eq!(Index::open(&path).unwrap().info().generation, generation, "nothing was written for nothing");
}

/// Appending, deleting and compacting in turn against a list.
#[test]
fn a_life_of_changes_equals_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let rows = Rows::new(Key::new(9), 900, 5, Draw::Whole);
    let config = IndexConfig { similarity: Similarity::Dot, segment_rows: 50, dim: 5, ..Default::default() };
    IndexWriter::create(&path, config).unwrap().finish().unwrap();
    let mut alive: Vec<usize> = Vec::new();
    let mut next = 0;
    let held = Index::open(&path).unwrap();
    for step in 0..60u64 {
        let key = Key::new(10).at(step);
        match key.below(0, 4) {
            0 | 1 => {
                let end = (next + key.below(1, 60)).min(900);
                let mut writer = IndexWriter::append(&path).unwrap();
                for from in (next..end).step_by(13) {
                    writer.add(rows.batch(from, (from + 13).min(end))).unwrap();
                }
                writer.finish().unwrap();
                alive.extend(next..end);
                next = end;
            }
            2 => {
                let gone: Vec<usize> =
                    alive.iter().copied().filter(|r| key.uniform(*r as u64 + 5) < 0.05).collect();
                let list: Vec<&String> = gone.iter().map(|row| &rows.ids[*row]).collect();
                assert_eq!(delete(&path, &list).unwrap().rows, gone.len());
                alive.retain(|row| !gone.contains(row));
            }
            _ => {
                let info = compact(&path).unwrap();
                assert_eq!((info.rows, info.deleted), (alive.len() as u64, 0));
                assert_eq!(info.segments, alive.len().div_ceil(50));
            }
        }
        let index = Index::open(&path).unwrap();
        let live: Vec<usize> =
            (0..index.numbered_rows()).filter(|row| index.is_deleted(*row) == Some(false)).collect();
        assert_eq!(live.len(), alive.len());
        for (&row, &want) in live.iter().zip(&alive) {
            assert_eq!(index.id(row).unwrap(), rows.ids[want]);
            assert_eq!(index.text(row).unwrap_or(""), rows.texts[want]);
            assert_eq!(index.vector(row).unwrap(), rows.vector(want));
            for (name, value) in index.attributes(row).unwrap() {
                assert_eq!(&value, rows.attributes[want].get(&name).unwrap_or(&json!(null)), "{name}");
            }
        }
    }
    assert!(alive.len() > 300 && held.is_empty(), "{} rows are alive", alive.len());
    let named = Index::open(&path).unwrap().info().segments;
    let vectors = names(&path).iter().filter(|name| name.ends_with(".vectors")).count();
    assert_eq!(vectors, named, "files of old segments are gone");
}

#[test]
fn an_open_index_keeps_what_it_saw() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let rows = Rows::new(Key::new(11), 300, 4, Draw::Normal);
    rows.write(&path, Similarity::Cosine, 100, 300);
    let index = Index::open(&path).unwrap();
    let answer = |index: &Index| {
        let hits = index.search(rows.vector(1), 20, None).unwrap().remove(0);
        hits.iter().map(|hit| (hit.id.to_owned(), hit.score.to_bits())).collect::<Vec<_>>()
    };
    let before = answer(&index);
    let gone: Vec<String> = before.iter().take(5).map(|hit| hit.0.clone()).collect();
    delete(&path, &gone).unwrap();
    compact(&path).unwrap();
    assert_eq!(answer(&index), before);
    assert_eq!(answer(&Index::open(&path).unwrap())[..15], before[5..]);
}

#[test]
fn whole_numbers_become_numbers_across_segments() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let mut writer =
        IndexWriter::create(&path, IndexConfig { segment_rows: 1, ..Default::default() }).unwrap();
    let list = objects(json!([{"x": 1}, {"x": null}, {"x": 2.5}, {"x": 3}]));
    writer
        .add(Batch {
            vectors: &[1.0; 4],
            ids: &ids(&["a", "b", "c", "d"]),
            attributes: &list,
            ..Default::default()
        })
        .unwrap();
    writer.finish().unwrap();
    let values = |path: &Path| {
        let index = Index::open(path).unwrap();
        (0..4).map(|row| index.attributes(row).unwrap()["x"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(values(&path), [json!(1.0), json!(null), json!(2.5), json!(3.0)]);
    compact(&path).unwrap();
    assert_eq!(values(&path), [json!(1.0), json!(null), json!(2.5), json!(3.0)]);
}

/// Run by the next test in a process of its own, until it is killed.
#[test]
#[ignore = "writes for ever"]
fn write_for_ever() {
    let path = std::env::var_os("PARALLAX_TEST_INDEX").unwrap();
    for turn in 0.. {
        let start = Index::open(&path).unwrap().info().generation;
        let mut writer = IndexWriter::append(&path).unwrap();
        let list: Vec<String> = (0..50).map(|i| format!("{start} {turn} {i}")).collect();
        writer.add(Batch { vectors: &[0.5; 100], ids: &list, ..Default::default() }).unwrap();
        writer.finish().unwrap();
        delete(&path, &list[..25]).unwrap();
        if turn % 3 == 2 {
            compact(&path).unwrap();
        }
    }
}

/// Readers look on while another process writes, and while it is killed.
#[test]
fn a_killed_writer_leaves_an_index_that_opens() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let config = IndexConfig { dim: 2, segment_rows: 20, ..Default::default() };
    IndexWriter::create(&path, config).unwrap().finish().unwrap();
    for round in 0..8 {
        let before = Index::open(&path).unwrap().info().generation;
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "writing::write_for_ever"])
            .env("PARALLAX_TEST_INDEX", &path)
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut seen = before;
        while seen < before + 4 + round {
            assert!(child.try_wait().unwrap().is_none(), "the writer has ended by itself");
            let index = Index::open(&path).unwrap();
            assert_eq!(index.len() % 25, 0);
            seen = index.info().generation;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(Index::open(&path).unwrap().len() % 25, 0);
    }
    let info = compact(&path).unwrap();
    assert_eq!(info.segments, (info.rows as usize).div_ceil(20));
    let named = info.segments * 3 + 2;
    assert_eq!(names(&path).len(), named, "what killed writers left is gone: {:?}", names(&path));
}
