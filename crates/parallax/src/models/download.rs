//! Fetching the files of a model, so that they appear in the cache all together or not at all.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Known, Locations, ModelFile, Progress, is_inside};
use crate::{Error, Result};

/// Bytes between two reports of progress.
const REPORT_BYTES: u64 = 8 << 20;

/// The longest answer that is read as a list of files.
const LIST_BYTES: u64 = 16 << 20;

const OFFLINE: &str = "without a connection, copy the model folder here and give its path, or put it under \
                       $PARALLAX_MODELS; HF_ENDPOINT names another hub";

fn agent() -> ureq::Agent {
    let minute = Some(Duration::from_secs(60));
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_connect(Some(Duration::from_secs(20)))
        .timeout_recv_response(minute)
        .timeout_per_read(minute)
        .user_agent(concat!("parallax/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

fn failed(url: &str, what: impl Into<String>, hint: impl Into<String>) -> Error {
    Error::Download { url: url.to_owned(), what: what.into(), hint: hint.into() }
}

fn get(url: &str) -> Result<ureq::http::Response<ureq::Body>> {
    // Lengths and digests are of the bytes as they are, so nothing may compress them on the way.
    let answer = agent().get(url).header("Accept-Encoding", "identity").call();
    let answer = answer.map_err(|e| failed(url, e.to_string(), OFFLINE))?;
    match answer.status().as_u16() {
        200 => Ok(answer),
        401 | 403 => {
            Err(failed(url, "the hub refuses access", "fetch the folder yourself and give its path"))
        }
        404 => Err(failed(url, "not found (404)", "check the name of the model")),
        status => Err(failed(url, format!("the hub answers with status {status}"), OFFLINE)),
    }
}

/// The hub's own list of a repository's files, for a model that has no entry here.
pub(super) fn list(repository: &str, locations: &Locations) -> Result<Known> {
    #[derive(Deserialize)]
    struct Answer {
        sha: Option<String>,
        siblings: Vec<Sibling>,
    }
    #[derive(Deserialize)]
    struct Sibling {
        rfilename: String,
        size: Option<u64>,
        lfs: Option<Lfs>,
    }
    #[derive(Deserialize)]
    struct Lfs {
        sha256: Option<String>,
    }
    let url = format!("{}/api/models/{repository}?blobs=true", locations.endpoint.trim_end_matches('/'));
    let mut text = String::new();
    get(&url)?
        .body_mut()
        .as_reader()
        .take(LIST_BYTES)
        .read_to_string(&mut text)
        .map_err(|e| failed(&url, e.to_string(), OFFLINE))?;
    let answer: Answer = serde_json::from_str(&text)
        .map_err(|e| failed(&url, format!("not a list of files: {e}"), "is HF_ENDPOINT a model hub?"))?;
    if let Some(bad) = answer.siblings.iter().find(|file| !is_inside(&file.rfilename)) {
        let what = format!("the file name \"{}\" leads out of the folder", bad.rfilename);
        return Err(failed(&url, what, "do not use this repository"));
    }
    let files: Vec<ModelFile> = answer
        .siblings
        .into_iter()
        .filter(|file| is_part(&file.rfilename))
        .map(|file| ModelFile {
            path: file.rfilename,
            size: file.size,
            sha256: file.lfs.and_then(|lfs| lfs.sha256),
        })
        .collect();
    if !files.iter().any(|file| file.path.ends_with(".safetensors")) {
        let what = "the repository has no .safetensors file";
        return Err(failed(
            &url,
            what,
            "convert the weights with sentence-transformers (save_pretrained) first",
        ));
    }
    Ok(Known {
        name: repository.to_owned(),
        description: String::new(),
        repository: repository.to_owned(),
        revision: answer.sha.unwrap_or_else(|| "main".to_owned()),
        licence: String::new(),
        files,
    })
}

/// Whether a file of a repository belongs to a sentence-transformers folder: configuration, vocabulary and weights at the
/// top or in a module's folder (`1_Pooling`), and not other formats of the same weights.
fn is_part(path: &str) -> bool {
    let (folder, file) = path.rsplit_once('/').unwrap_or(("", path));
    let module = folder.split_once('_').is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    let known = [".json", ".txt", ".safetensors", ".model"].iter().any(|end| file.ends_with(end));
    (folder.is_empty() || (module && !folder.contains('/'))) && known
}

/// Fetches a model into the cache and returns its folder.
pub(super) fn fetch(
    model: &Known,
    locations: &Locations,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<std::path::PathBuf> {
    let target = locations.cache.join(&model.name);
    // The revision is part of the name: files of two revisions are never put together.
    let partial = format!(".partial-{}-{}", model.name.replace('/', "--"), model.revision.replace('/', "--"));
    let partial = locations.cache.join(partial);
    fs::create_dir_all(&partial).map_err(Error::io(&partial, "create the folder"))?;
    let fetched = fetch_all(model, locations, &partial, progress);
    if let Err(error) = fetched {
        // What is wrong at the source will be wrong again; what was merely cut off goes on from here next time.
        if let Error::Download { hint, .. } = &error
            && hint != OFFLINE
        {
            let _ = fs::remove_dir_all(&partial);
        }
        let _ = fs::remove_dir(&partial);
        return Err(error);
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent).map_err(Error::io(parent, "create the folder"))?;
    }
    match fs::rename(&partial, &target) {
        Ok(()) => Ok(target),
        // Another process was faster.
        Err(_) if target.is_dir() => {
            let _ = fs::remove_dir_all(&partial);
            Ok(target)
        }
        Err(source) => Err(Error::Io { path: target, action: "rename the fetched folder to", source }),
    }
}

fn fetch_all(
    model: &Known,
    locations: &Locations,
    folder: &Path,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<()> {
    let endpoint = locations.endpoint.trim_end_matches('/');
    for (place, file) in model.files.iter().enumerate() {
        let url = format!("{endpoint}/{}/resolve/{}/{}", model.repository, model.revision, file.path);
        if !is_inside(&file.path) {
            return Err(failed(&url, "the file name leads out of the folder", "do not use this repository"));
        }
        let to = folder.join(&file.path);
        if to.is_file() {
            continue;
        }
        let into = to.parent().unwrap_or(folder);
        fs::create_dir_all(into).map_err(Error::io(into, "create the folder"))?;
        let arriving = folder.join(format!(".arriving-{}", std::process::id()));
        let told = |bytes, total| Progress {
            file: &file.path,
            index: place + 1,
            files: model.files.len(),
            bytes,
            total,
        };
        let fetched = fetch_file(&url, file, &arriving, &mut |bytes, total| progress(told(bytes, total)));
        let fetched = fetched.and_then(|()| fs::rename(&arriving, &to).map_err(Error::io(&to, "write")));
        if fetched.is_err() {
            let _ = fs::remove_file(&arriving);
        }
        fetched?;
    }
    Ok(())
}

fn fetch_file(
    url: &str,
    file: &ModelFile,
    to: &Path,
    progress: &mut dyn FnMut(u64, Option<u64>),
) -> Result<()> {
    let mut answer = get(url)?;
    let length = answer.body().content_length();
    let total = file.size.or(length);
    let mut out = File::create(to).map_err(Error::io(to, "create"))?;
    let mut body = answer.body_mut().as_reader();
    let (mut hash, mut bytes, mut told) = (Sha256::new(), 0u64, 0u64);
    let mut buffer = vec![0; 1 << 16];
    progress(0, total);
    loop {
        let read = match body.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(failed(url, format!("cut off after {bytes} bytes: {e}"), OFFLINE)),
        };
        out.write_all(&buffer[..read]).map_err(Error::io(to, "write"))?;
        hash.update(&buffer[..read]);
        bytes += read as u64;
        if bytes - told >= REPORT_BYTES {
            told = bytes;
            progress(bytes, total);
        }
    }
    if let Some(length) = length.filter(|&length| length != bytes) {
        return Err(failed(url, format!("cut off after {bytes} of {length} bytes"), OFFLINE));
    }
    let other = "the file on the hub is not the one expected; try again, or fetch the folder yourself and give its path";
    if let Some(size) = file.size.filter(|&size| size != bytes) {
        return Err(failed(url, format!("{bytes} bytes instead of {size}"), other));
    }
    if let Some(expected) = &file.sha256 {
        let found: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        if !found.eq_ignore_ascii_case(expected) {
            return Err(failed(url, format!("its SHA-256 is {found} instead of {expected}"), other));
        }
    }
    out.sync_all().map_err(Error::io(to, "write"))?;
    progress(bytes, total);
    Ok(())
}
