//! From the name of a model to its folder.
//!
//! A folder that exists is taken as it is. Else the name is looked for in [`Locations::folders`], and last it is fetched
//! from the model hub: known names with the files and digests of their entry, `organisation/name` with the list that the
//! hub gives.

mod download;

use std::path::{Component, Path, PathBuf};
use std::sync::LazyLock;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

mod starter;

pub use starter::{STARTER, STARTER_BYTES};

/// A model that can be fetched by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// The name.
    pub name: String,
    /// What it is, in a line.
    pub description: String,
    /// `organisation/name` on the hub.
    pub repository: String,
    /// The branch, tag or commit.
    pub revision: String,
    /// Its licence (SPDX).
    pub licence: String,
    /// Its files.
    pub files: Vec<ModelFile>,
}

impl Known {
    /// What there is to fetch, as far as its entry says: `10 files, 90.9 MB`.
    pub fn size(&self) -> String {
        let bytes: u64 = self.files.iter().filter_map(|file| file.size).sum();
        match bytes {
            0 => format!("{} files", self.files.len()),
            bytes => format!("{} files, {:.1} MB", self.files.len(), bytes as f64 / 1e6),
        }
    }
}

/// A file of a model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelFile {
    /// Its path in the folder, with `/`.
    pub path: String,
    /// Its length in bytes, where it is known.
    #[serde(default)]
    pub size: Option<u64>,
    /// The SHA-256 of its bytes in lower-case hexadecimal digits, where it is known.
    #[serde(default)]
    pub sha256: Option<String>,
}

/// The models that are known by name.
pub fn known() -> &'static [Known] {
    static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
        let entries = [include_str!("models/all-MiniLM-L6-v2.toml")];
        entries.iter().filter_map(|entry| toml::from_str(entry).ok()).collect()
    });
    &KNOWN
}

/// Where models are looked for and put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Locations {
    /// Folders that may hold a model's folder under its name, in order.
    pub folders: Vec<PathBuf>,
    /// Where fetched models are kept, each under its name; the last place to look.
    pub cache: PathBuf,
    /// The address of the hub.
    pub endpoint: String,
}

impl Locations {
    /// By the environment: `$PARALLAX_MODELS`, then `$PARALLAX_DATA/models`; the cache is `models` in `$PARALLAX_CACHE`, in
    /// `$XDG_CACHE_HOME/parallax` or in `~/.cache/parallax`; the hub is `$HF_ENDPOINT` or the public one.
    pub fn from_env() -> Self {
        Self::from(|name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from))
    }

    fn from(variable: impl Fn(&str) -> Option<PathBuf>) -> Self {
        let data = variable("PARALLAX_DATA").map(|folder| folder.join("models"));
        let cache = variable("PARALLAX_CACHE")
            .or_else(|| variable("XDG_CACHE_HOME").map(|folder| folder.join("parallax")))
            .or_else(|| variable("HOME").map(|folder| folder.join(".cache/parallax")))
            .unwrap_or_else(|| ".parallax-cache".into());
        let endpoint =
            variable("HF_ENDPOINT").and_then(|endpoint| endpoint.into_os_string().into_string().ok());
        Locations {
            folders: variable("PARALLAX_MODELS").into_iter().chain(data).collect(),
            cache: cache.join("models"),
            endpoint: endpoint.unwrap_or_else(|| "https://huggingface.co".into()),
        }
    }
}

/// How far a download is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The file.
    pub file: &'a str,
    /// Its place in the list, from 1.
    pub index: usize,
    /// The number of files.
    pub files: usize,
    /// Bytes of it that have arrived.
    pub bytes: u64,
    /// Its length, where it is known.
    pub total: Option<u64>,
}

impl std::fmt::Display for Progress<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Progress { file, index, files, bytes, total } = self;
        write!(f, "fetching {file} ({index} of {files}): {:.1}", *bytes as f64 / 1e6)?;
        match total {
            Some(total) => write!(f, " of {:.1} MB", *total as f64 / 1e6),
            None => write!(f, " MB"),
        }
    }
}

/// The folder of the model called `name`, at the [`Locations`] of the environment; see [`resolve_in`].
///
/// # Errors
/// As [`resolve_in`].
pub fn resolve(name: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<PathBuf> {
    resolve_in(name, &Locations::from_env(), progress)
}

/// The folder of the model called `name`, fetched where need be.
///
/// A fetched model appears in the cache whole or not at all. What arrived before an interruption is kept aside, file by
/// file, so that the next call goes on from there.
///
/// # Errors
/// [`Error::NoModel`] for a name that is no folder and not known, [`Error::Download`] for a file that the hub does not
/// have, that did not arrive, or that has another length or SHA-256 than it should, and [`Error::Io`].
pub fn resolve_in(
    name: &str,
    locations: &Locations,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf> {
    match look(name, locations)? {
        Place::Folder(folder) => Ok(folder),
        Place::BuiltIn => starter::unpack(locations),
        Place::Known(entry) => download::fetch(entry, locations, progress),
        Place::Hub => {
            let entry = download::list(name, locations)?;
            download::fetch(&entry, locations, progress)
        }
    }
}

/// Where a model is, or where it would come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On this machine.
    Folder(PathBuf),
    /// The encoder that comes with the program; it is unpacked into the cache when it is first used.
    BuiltIn,
    /// A known model that would be fetched.
    Known(&'static Known),
    /// A name on the hub; what it holds is not known before it is asked.
    Hub,
}

/// Where the model called `name` is, or would come from; nothing is fetched.
///
/// # Errors
/// [`Error::NoModel`] for a name that is no folder and not known.
pub fn look(name: &str, locations: &Locations) -> Result<Place> {
    let direct = Path::new(name);
    if direct.is_dir() {
        return Ok(Place::Folder(direct.to_owned()));
    }
    if name == STARTER {
        return Ok(Place::BuiltIn);
    }
    let no_model =
        |what: &str, hint: String| Err(Error::NoModel { name: name.to_owned(), what: what.to_owned(), hint });
    let names: Vec<&str> = known().iter().map(|model| model.name.as_str()).collect();
    let usual =
        format!("give the path of a model folder, a known name ({}) or organisation/name", names.join(", "));
    if direct.exists() {
        return no_model("it is a file and not a model folder", usual);
    }
    if !is_name(name) {
        return no_model("there is no such folder", usual);
    }
    let entry = known().iter().find(|model| model.name == name || model.repository == name);
    let kept = entry.map_or(name, |model| model.name.as_str());
    for folder in locations.folders.iter().chain([&locations.cache]) {
        for candidate in [name, kept] {
            let folder = folder.join(candidate);
            if folder.is_dir() {
                return Ok(Place::Folder(folder));
            }
        }
    }
    match entry {
        Some(entry) => Ok(Place::Known(entry)),
        None if name.contains('/') => Ok(Place::Hub),
        None => {
            let near = crate::config::nearest(name, &names);
            let near = near.map_or_else(String::new, |near| format!("did you mean \"{near}\"? else "));
            no_model("it is neither a folder nor a known name", format!("{near}{usual}"))
        }
    }
}

/// Whether the model called `name` is on this machine and is a token table.
pub(crate) fn is_static(name: &str) -> bool {
    if name == STARTER {
        return true;
    }
    let locations = Locations::from_env();
    let places = locations.folders.iter().chain([&locations.cache]).map(|folder| folder.join(name));
    let found = std::iter::once(PathBuf::from(name))
        .chain(places)
        .find(|folder| folder.join("modules.json").is_file());
    found.is_some_and(|folder| {
        let folder = parallax_nn::folder::Folder::open(&folder, None);
        folder.is_ok_and(|folder| folder.table.is_some())
    })
}

/// `name` or `organisation/name`, with nothing that could lead out of a folder.
fn is_name(name: &str) -> bool {
    let parts: Vec<&str> = name.split('/').collect();
    let plain = |part: &&str| {
        part.starts_with(|c: char| c.is_ascii_alphanumeric())
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
            && !part.contains("..")
    };
    parts.len() <= 2 && parts.iter().all(plain)
}

/// Whether a file of a model stays inside the model's folder.
fn is_inside(path: &str) -> bool {
    !path.is_empty()
        && !path.contains(['\\', '\0', ':'])
        && Path::new(path).components().all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests;
