use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sha2::{Digest, Sha256};

use super::{Known, Locations, ModelFile, download, is_inside, is_name, known, resolve_in};
use crate::Error;

/// What the server does with one path.
#[derive(Clone)]
enum Answer {
    Bytes(Vec<u8>),
    /// Says a longer length than it sends, and hangs up.
    Truncated(Vec<u8>, usize),
}

/// A server on this machine; any other path is 404.
struct Hub {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn new(answers: Vec<(&str, Answer)>) -> Hub {
        let answers: Vec<(String, Answer)> =
            answers.into_iter().map(|(path, answer)| (path.to_owned(), answer)).collect();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                if reader.read_line(&mut line).is_err() {
                    continue;
                }
                let mut header = String::new();
                while reader.read_line(&mut header).is_ok_and(|n| n > 2) {
                    header.clear();
                }
                let path = line.split(' ').nth(1).unwrap_or("").to_owned();
                log.lock().unwrap().push(path.clone());
                let answer =
                    answers.iter().find(|(known, _)| *known == path).map(|(_, answer)| answer.clone());
                let (status, bytes, length) = match answer {
                    Some(Answer::Bytes(bytes)) => ("200 OK", bytes.clone(), bytes.len()),
                    Some(Answer::Truncated(bytes, length)) => ("200 OK", bytes, length),
                    None => ("404 Not Found", Vec::new(), 0),
                };
                let head =
                    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&bytes));
                let _ = stream.shutdown(std::net::Shutdown::Write);
                let _ = reader.read_to_end(&mut Vec::new());
            }
        });
        Hub { endpoint, asked }
    }

    fn locations(&self, cache: &Path) -> Locations {
        Locations { folders: Vec::new(), cache: cache.to_owned(), endpoint: self.endpoint.clone() }
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn model(files: &[(&str, Option<&[u8]>)]) -> Known {
    Known {
        name: "tiny".into(),
        description: String::new(),
        repository: "org/tiny".into(),
        revision: "main".into(),
        licence: String::new(),
        files: files
            .iter()
            .map(|(path, bytes)| ModelFile { path: path.to_string(), size: None, sha256: bytes.map(sha256) })
            .collect(),
    }
}

/// Everything below a folder but the folder itself.
fn contents(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.path().is_dir() {
            names.extend(contents(&entry.path()).into_iter().map(|inner| format!("{name}/{inner}")));
        }
        names.push(name);
    }
    names.sort();
    names
}

#[test]
fn a_model_arrives_whole() {
    let weights: Vec<u8> = (0..100_000u32).flat_map(u32::to_le_bytes).collect();
    let hub = Hub::new(vec![
        ("/org/tiny/resolve/main/config.json", Answer::Bytes(b"{}".to_vec())),
        ("/org/tiny/resolve/main/1_Pooling/config.json", Answer::Bytes(b"[]".to_vec())),
        ("/org/tiny/resolve/main/model.safetensors", Answer::Bytes(weights.clone())),
    ]);
    let cache = tempfile::tempdir().unwrap();
    let entry = model(&[
        ("config.json", None),
        ("1_Pooling/config.json", None),
        ("model.safetensors", Some(&weights)),
    ]);
    let mut told = Vec::new();
    let locations = hub.locations(cache.path());
    let folder =
        download::fetch(&entry, &locations, &mut |p| told.push((p.index, p.files, p.bytes, p.total)))
            .unwrap();
    assert_eq!(folder, cache.path().join("tiny"));
    assert_eq!(
        contents(cache.path()),
        [
            "tiny",
            "tiny/1_Pooling",
            "tiny/1_Pooling/config.json",
            "tiny/config.json",
            "tiny/model.safetensors"
        ]
    );
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), weights);
    assert_eq!(told.last(), Some(&(3, 3, 400_000, Some(400_000))));
    // Once there, it is not asked for again.
    hub.asked();
    assert_eq!(resolve_in("tiny", &locations, &mut |_| {}).unwrap(), folder);
    assert!(hub.asked().is_empty());
}

#[test]
fn a_missing_file_leaves_nothing() {
    let hub = Hub::new(vec![("/org/tiny/resolve/main/config.json", Answer::Bytes(b"{}".to_vec()))]);
    let cache = tempfile::tempdir().unwrap();
    let entry = model(&[("config.json", None), ("model.safetensors", None)]);
    let error = download::fetch(&entry, &hub.locations(cache.path()), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("model.safetensors: not found (404)"), "{error}");
    assert!(error.hint().is_some());
    assert_eq!(contents(cache.path()), [""; 0]);
}

#[test]
fn a_wrong_digest_leaves_nothing() {
    let hub = Hub::new(vec![("/org/tiny/resolve/main/model.safetensors", Answer::Bytes(b"other".to_vec()))]);
    let cache = tempfile::tempdir().unwrap();
    let entry = model(&[("model.safetensors", Some(b"expected"))]);
    let error = download::fetch(&entry, &hub.locations(cache.path()), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains(&sha256(b"other")), "{error}");
    assert!(error.to_string().contains(&sha256(b"expected")), "{error}");
    assert_eq!(contents(cache.path()), [""; 0]);

    let mut entry = model(&[("model.safetensors", None)]);
    entry.files[0].size = Some(6);
    let error = download::fetch(&entry, &hub.locations(cache.path()), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("5 bytes instead of 6"), "{error}");
    assert_eq!(contents(cache.path()), [""; 0]);
}

#[test]
fn a_connection_that_breaks_goes_on_file_by_file() {
    let path = "/org/tiny/resolve/main/model.safetensors";
    let config = ("/org/tiny/resolve/main/config.json", Answer::Bytes(b"{}".to_vec()));
    let cut = Hub::new(vec![config.clone(), (path, Answer::Truncated(vec![7; 10], 100))]);
    let cache = tempfile::tempdir().unwrap();
    let entry = model(&[("config.json", None), ("model.safetensors", Some(&[7; 100]))]);
    let error = download::fetch(&entry, &cut.locations(cache.path()), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("cut off after 10"), "{error}");
    assert!(error.hint().unwrap().contains("PARALLAX_MODELS"));
    // Only the file that was complete is kept, and not under the model's name.
    assert_eq!(contents(cache.path()), [".partial-tiny-main", ".partial-tiny-main/config.json"]);

    let whole = Hub::new(vec![config, (path, Answer::Bytes(vec![7; 100]))]);
    download::fetch(&entry, &whole.locations(cache.path()), &mut |_| {}).unwrap();
    assert_eq!(whole.asked(), [path]);
    assert_eq!(contents(cache.path()), ["tiny", "tiny/config.json", "tiny/model.safetensors"]);

    let first = model(&[("model.safetensors", None)]);
    let other = tempfile::tempdir().unwrap();
    assert!(download::fetch(&first, &cut.locations(other.path()), &mut |_| {}).is_err());
    assert_eq!(contents(other.path()), [""; 0]);
}

#[test]
fn a_repository_is_fetched_by_the_hubs_list() {
    let list = format!(
        r#"{{"sha": "abc", "siblings": [{{"rfilename": "config.json"}}, {{"rfilename": "README.md"}},
            {{"rfilename": "onnx/model.onnx"}}, {{"rfilename": "onnx/config.json"}}, {{"rfilename": "1_Pooling/config.json"}},
            {{"rfilename": "model.safetensors", "size": 3, "lfs": {{"sha256": "{}"}}}}]}}"#,
        sha256(b"abc")
    );
    let hub = Hub::new(vec![
        ("/api/models/org/new?blobs=true", Answer::Bytes(list.into_bytes())),
        ("/org/new/resolve/abc/config.json", Answer::Bytes(b"{}".to_vec())),
        ("/org/new/resolve/abc/1_Pooling/config.json", Answer::Bytes(b"{}".to_vec())),
        ("/org/new/resolve/abc/model.safetensors", Answer::Bytes(b"abc".to_vec())),
    ]);
    let cache = tempfile::tempdir().unwrap();
    let folder = resolve_in("org/new", &hub.locations(cache.path()), &mut |_| {}).unwrap();
    assert_eq!(folder, cache.path().join("org/new"));
    assert_eq!(contents(&folder), ["1_Pooling", "1_Pooling/config.json", "config.json", "model.safetensors"]);
    let error = resolve_in("org/other", &hub.locations(cache.path()), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("404"), "{error}");
}

#[test]
fn names_that_lead_out_of_the_folder_are_refused() {
    for path in ["../x", "/etc/passwd", "a/../../x", "", ".", "a\\..\\b", "c:x", "./x"] {
        assert!(!is_inside(path) || path == "./x", "{path}");
    }
    assert!(is_inside("1_Pooling/config.json"));
    for name in ["../x", "a/b/c", "/x", "a\\b", "..", "a/..", "", "a/", ".hidden", "a b", "a/b..c"] {
        assert!(!is_name(name), "{name}");
    }
    assert!(is_name("all-MiniLM-L6-v2") && is_name("org/name.v1_x"));

    let list = r#"{"siblings": [{"rfilename": "../../evil.json"}, {"rfilename": "model.safetensors"}]}"#;
    let hub = Hub::new(vec![("/api/models/org/evil?blobs=true", Answer::Bytes(list.into()))]);
    let cache = tempfile::tempdir().unwrap();
    let error = resolve_in("org/evil", &hub.locations(cache.path()), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("../../evil.json"), "{error}");
    assert_eq!(contents(cache.path()), [""; 0]);
    let error =
        download::fetch(&model(&[("../evil", None)]), &hub.locations(cache.path()), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("leads out of the folder"), "{error}");
    assert_eq!(contents(cache.path()), [""; 0]);
}

#[test]
fn unknown_names_say_what_would_do() {
    let cache = tempfile::tempdir().unwrap();
    let locations = Locations {
        folders: Vec::new(),
        cache: cache.path().to_owned(),
        endpoint: "http://127.0.0.1:9".into(),
    };
    let refused = |name: &str| resolve_in(name, &locations, &mut |_| {}).unwrap_err();
    let error = refused("all-MiniLM-L6-v3");
    assert!(error.hint().unwrap().contains("did you mean \"all-MiniLM-L6-v2\"?"), "{error}");
    assert!(matches!(refused("./nowhere"), Error::NoModel { .. }));
    assert!(matches!(refused("../up/and/away"), Error::NoModel { .. }));
    // No hub there: the hint says how to do without.
    let error = refused("all-MiniLM-L6-v2");
    assert!(matches!(error, Error::Download { .. }), "{error}");
    assert!(error.hint().unwrap().contains("PARALLAX_MODELS"));
    assert_eq!(contents(cache.path()), [""; 0]);
}

#[test]
fn folders_are_looked_through_in_order() {
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name);
    for folder in ["second/tiny", "cache/tiny", "cache/other", "second/all-MiniLM-L6-v2"] {
        fs::create_dir_all(at(folder)).unwrap();
    }
    let locations = Locations {
        folders: vec![at("first"), at("second")],
        cache: at("cache"),
        endpoint: "http://127.0.0.1:9".into(),
    };
    let found = |name: &str| resolve_in(name, &locations, &mut |_| {}).unwrap();
    assert_eq!(found("tiny"), at("second/tiny"));
    assert_eq!(found("other"), at("cache/other"));
    assert_eq!(found(at("cache/other").to_str().unwrap()), at("cache/other"));
    assert_eq!(found("sentence-transformers/all-MiniLM-L6-v2"), at("second/all-MiniLM-L6-v2"));
}

#[test]
fn the_environment_says_where() {
    let locations = |set: &[(&str, &str)]| {
        Locations::from(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into()))
    };
    let plain = locations(&[("HOME", "/h")]);
    assert!(plain.folders.is_empty());
    assert_eq!(plain.cache, Path::new("/h/.cache/parallax/models"));
    assert!(plain.endpoint.starts_with("https://"));
    let set = locations(&[
        ("HOME", "/h"),
        ("XDG_CACHE_HOME", "/c"),
        ("PARALLAX_MODELS", "/m"),
        ("PARALLAX_DATA", "/d"),
        ("HF_ENDPOINT", "http://x"),
    ]);
    assert_eq!(set.folders, [Path::new("/m"), Path::new("/d/models")]);
    assert_eq!((set.cache.as_path(), set.endpoint.as_str()), (Path::new("/c/parallax/models"), "http://x"));
    assert_eq!(
        locations(&[("PARALLAX_CACHE", "/p"), ("XDG_CACHE_HOME", "/c")]).cache,
        Path::new("/p/models")
    );
}

#[test]
fn every_entry_is_complete() {
    assert_eq!(known().len(), 1, "an entry cannot be read");
    for model in known() {
        assert!(is_name(&model.name) && is_name(&model.repository) && !model.licence.is_empty());
        assert!(model.files.iter().all(|file| is_inside(&file.path)));
        let weights = model.files.iter().find(|file| file.path.ends_with(".safetensors")).unwrap();
        assert_eq!(weights.sha256.as_ref().unwrap().len(), 64);
    }
}
