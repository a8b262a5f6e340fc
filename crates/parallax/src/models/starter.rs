//! The encoder that comes with the binary.

use std::fs;
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::Locations;
use crate::{Error, Result};

/// Its name.
pub const STARTER: &str = "starter";

/// Its files.
const FILES: [(&str, &[u8]); 6] = [
    ("modules.json", include_bytes!("../../assets/starter/modules.json")),
    (
        "config_sentence_transformers.json",
        include_bytes!("../../assets/starter/config_sentence_transformers.json"),
    ),
    ("README.md", include_bytes!("../../assets/starter/README.md")),
    ("NOTICE", include_bytes!("../../assets/starter/NOTICE")),
    (
        "0_StaticEmbedding/model.safetensors",
        include_bytes!("../../assets/starter/0_StaticEmbedding/model.safetensors"),
    ),
    (
        "0_StaticEmbedding/tokenizer.json",
        include_bytes!("../../assets/starter/0_StaticEmbedding/tokenizer.json"),
    ),
];

/// Bytes of its files.
pub const STARTER_BYTES: usize = {
    let (mut bytes, mut at) = (0, 0);
    while at < FILES.len() {
        bytes += FILES[at].1.len();
        at += 1;
    }
    bytes
};

/// Its folder in the cache, written there the first time. The folder's name holds a digest of the files, so that another
/// version of the program does not read this one's.
pub(super) fn unpack(locations: &Locations) -> Result<PathBuf> {
    let mut hash = Sha256::new();
    for (name, bytes) in FILES {
        hash.update(name);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    }
    let digest: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let folder = locations.cache.join(format!("{STARTER}-{digest}"));
    if folder.is_dir() {
        return Ok(folder);
    }
    let make = |path: &PathBuf| fs::create_dir_all(path).map_err(Error::io(path, "create"));
    make(&locations.cache)?;
    // Written aside and renamed: a folder under its own name is complete.
    let aside = locations.cache.join(format!(".{STARTER}-{digest}.{}", std::process::id()));
    make(&aside)?;
    for (name, bytes) in FILES {
        let path = aside.join(name);
        if let Some(parent) = path.parent() {
            make(&parent.to_owned())?;
        }
        fs::write(&path, bytes).map_err(Error::io(&path, "write"))?;
    }
    if let Err(source) = fs::rename(&aside, &folder) {
        let _ = fs::remove_dir_all(&aside);
        // Another process may have been first.
        if !folder.is_dir() {
            return Err(Error::Io { path: folder, action: "write", source });
        }
    }
    Ok(folder)
}
