use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parallax_random::Key;
use parallax_search::{Error, Filter, Index, IndexWriter, Similarity, compact, delete};
use serde_json::{Value, json};

use crate::rows::{Draw, Rows};

const FOOTER: usize = 32;

/// A small index with every kind of file.
fn write(path: &Path) -> Vec<(String, Vec<u8>)> {
    let rows = Rows::new(Key::new(1), 21, 3, Draw::Normal);
    rows.write(path, Similarity::Euclidean, 11, 8);
    delete(path, &["doc-4", "doc-20"]).unwrap();
    fs::remove_file(path.join("lock")).unwrap();
    let mut files: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|e| {
            let path = e.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    assert_eq!(files.len(), 1 + 2 * (4 + 4 + 1), "{:?}", files.iter().map(|f| &f.0).collect::<Vec<_>>());
    files
}

/// Everything that can be asked of an index.
fn use_all(index: &Index) {
    let dim = index.dim();
    for filter in [None, Some("topic LIKE '%i%' OR price > 2.5 OR NOT archived OR weight IS NULL")] {
        let filter = filter.map(|text| Filter::parse(text).unwrap());
        let Ok(answers) = index.search(&vec![0.5; dim * 2], 50, filter.as_ref()) else { continue };
        for hit in answers.into_iter().flatten() {
            serde_json::to_string(&hit).unwrap();
            index.find(hit.id);
        }
    }
    serde_json::to_string(&index.info()).unwrap();
    for row in 0..index.numbered_rows() + 1 {
        let _ =
            (index.id(row), index.text(row), index.attributes(row), index.vector(row), index.is_deleted(row));
    }
}

#[test]
fn every_flipped_byte_and_every_cut_is_a_clear_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let files = write(&path);
    use_all(&Index::open(&path).unwrap());
    let mut tried = 0;
    for (name, whole) in &files {
        let file = path.join(name);
        let refused = |bytes: &[u8], what: &str| {
            fs::write(&file, bytes).unwrap();
            let error = Index::open(&path).expect_err(&format!("{name}: {what}"));
            assert!(
                matches!(error, Error::Damaged { .. } | Error::Version { .. }),
                "{name}: {what}: {error}"
            );
            assert!(error.to_string().contains(name.as_str()), "{name}: {what}: {error}");
        };
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (at % 8);
            refused(&bytes, &format!("byte {at} flipped"));
            refused(&whole[..at], &format!("cut to {at} bytes"));
            tried += 2;
        }
        refused(&[whole.as_slice(), b"\0"].concat(), "a byte more");
        refused(&[b"\0", whole.as_slice()].concat(), "a byte before");
        for (other, bytes) in files.iter().filter(|(other, bytes)| other != name && bytes != whole) {
            refused(bytes, &format!("{other} in its place"));
        }
        fs::remove_file(&file).unwrap();
        assert!(Index::open(&path).unwrap_err().to_string().contains(if name == "manifest" {
            "no manifest"
        } else {
            name
        }));
        fs::create_dir(&file).unwrap();
        assert!(Index::open(&path).is_err());
        fs::remove_dir(&file).unwrap();
        fs::write(&file, whole).unwrap();
    }
    use_all(&Index::open(&path).unwrap());
    assert!(tried > 6000, "{tried} damages tried");
}

/// A body with a footer that fits it, and the checksum.
fn seal(body: &[u8], footer: &[u8]) -> (Vec<u8>, u32) {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(body);
    hasher.update(&(body.len() as u64).to_le_bytes());
    hasher.update(&footer[12..]);
    let crc = hasher.finalize();
    let file = [body, &(body.len() as u64).to_le_bytes(), &crc.to_le_bytes(), &footer[12..]].concat();
    (file, crc)
}

/// Puts the length and the checksum of a file into the manifest.
fn record(manifest: &mut Value, name: &str, bytes: usize, crc: u32) {
    let (number, part) = name.split_once('.').unwrap();
    let number: u64 = number.parse().unwrap();
    let segments = manifest["segments"].as_array_mut().unwrap();
    let segment = segments.iter_mut().find(|s| s["number"] == number).unwrap();
    let file = json!({"bytes": bytes, "crc32": crc});
    if let Some(place) = part.strip_prefix("column-") {
        segment["columns"][place.parse::<usize>().unwrap()]["file"] = file;
    } else if part.starts_with("deleted-") {
        segment["deleted"]["file"] = file;
    } else {
        segment[part] = file;
    }
}

/// Files whose checksums fit what someone has put into them: opening may succeed, and nothing may panic.
#[test]
fn hostile_files_with_valid_checksums_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let files = write(&path);
    let manifest = files.iter().find(|(name, _)| name == "manifest").unwrap().1.clone();
    let (body, footer) = manifest.split_at(manifest.len() - FOOTER);
    let (mut opened, mut refused) = (0, 0);
    for (name, whole) in files.iter().filter(|(name, _)| name != "manifest") {
        for case in 0..250u64 {
            let key = Key::new(2).named(name).at(case);
            let mut hostile = whole[..whole.len() - FOOTER].to_vec();
            for change in 0..1 + key.below(0, 3) as u64 {
                let key = key.at(change);
                let at = key.below(0, hostile.len().max(1));
                match key.below(1, 6) {
                    _ if hostile.is_empty() => hostile.push(0),
                    0 => hostile[at] ^= 1 << key.below(2, 8),
                    1 => hostile[at] = [0, 255, 127, 128][key.below(2, 4)],
                    2 => hostile.truncate(at),
                    3 => hostile.extend_from_slice(&key.bits(2).to_le_bytes()),
                    4 => {
                        let word = at / 8 * 8;
                        let value = [u64::MAX, 0, 1 << 63, 1 << 32, key.bits(4)][key.below(3, 5)];
                        hostile.iter_mut().skip(word).zip(value.to_le_bytes()).for_each(|(b, v)| *b = v);
                    }
                    _ => hostile.swap(at, key.below(3, whole.len() - FOOTER).min(at)),
                }
            }
            let (file, crc) = seal(&hostile, &whole[whole.len() - FOOTER..]);
            fs::write(path.join(name), file).unwrap();
            let mut json: Value = serde_json::from_slice(body).unwrap();
            record(&mut json, name, hostile.len(), crc);
            fs::write(path.join("manifest"), seal(json.to_string().as_bytes(), footer).0).unwrap();
            match catch_unwind(AssertUnwindSafe(|| Index::open(&path).map(|index| use_all(&index)))) {
                Ok(Ok(())) => opened += 1,
                Ok(Err(_)) => refused += 1,
                Err(_) => panic!("{name}, case {case}"),
            }
        }
        fs::write(path.join(name), whole).unwrap();
    }
    assert!(opened > 200 && refused > 1000, "{opened} opened, {refused} refused");
}

#[test]
fn hostile_manifests_with_valid_checksums_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("index");
    let files = write(&path);
    let whole = files.iter().find(|(name, _)| name == "manifest").unwrap().1.clone();
    let (body, footer) = whole.split_at(whole.len() - FOOTER);
    let good: Value = serde_json::from_slice(body).unwrap();
    let mut paths = Vec::new();
    pointers(&good, String::new(), &mut paths);
    let values = [
        json!(null),
        json!(0),
        json!(1),
        json!(-1),
        json!(2),
        json!(u64::MAX),
        json!(u32::MAX),
        json!(1u64 << 40),
        json!("x"),
        json!([]),
        json!({}),
        json!(true),
        json!(0.5),
        json!("f64"),
        json!("string"),
        json!("i64"),
        json!("bool"),
    ];
    let (mut opened, mut refused) = (0, 0);
    for pointer in &paths {
        for value in &values {
            let mut json = good.clone();
            *json.pointer_mut(pointer).unwrap() = value.clone();
            fs::write(path.join("manifest"), seal(json.to_string().as_bytes(), footer).0).unwrap();
            match catch_unwind(AssertUnwindSafe(|| Index::open(&path).map(|index| use_all(&index)))) {
                Ok(Ok(())) => opened += 1,
                Ok(Err(_)) => refused += 1,
                Err(_) => panic!("{pointer} = {value}"),
            }
        }
    }
    assert!(opened > 50 && refused > 1000, "{opened} opened, {refused} refused");
    let deep = "[".repeat(100_000);
    fs::write(path.join("manifest"), seal(deep.as_bytes(), footer).0).unwrap();
    assert!(Index::open(&path).is_err());
    // A damaged index can be overwritten, and only that.
    assert!(IndexWriter::append(&path).is_err());
    assert!(delete(&path, &["doc-1"]).is_err());
    assert!(compact(&path).is_err());
    let writer =
        IndexWriter::overwrite(&path, parallax_search::IndexConfig { dim: 3, ..Default::default() }).unwrap();
    assert_eq!(writer.finish().unwrap().rows, 0);
    assert_eq!(fs::read_dir(&path).unwrap().count(), 2, "the manifest and the lock");
}

fn pointers(value: &Value, at: String, out: &mut Vec<String>) {
    match value {
        Value::Object(object) => object.iter().for_each(|(k, v)| pointers(v, format!("{at}/{k}"), out)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, v)| pointers(v, format!("{at}/{i}"), out))
        }
        _ => {}
    }
    out.push(at);
}
