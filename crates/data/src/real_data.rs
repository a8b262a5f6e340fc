//! Where the tests find real data, which is no part of the repository.

use std::path::{Path, PathBuf};

/// A folder of `PARALLAX_DATA` (default `../shared/data` beside the workspace); says so and is `None` where it is absent.
pub(crate) fn folder(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let data = std::env::var_os("PARALLAX_DATA").map_or_else(|| "../shared/data".into(), PathBuf::from);
    let folder = root.join(data).join(name);
    if folder.exists() {
        return Some(folder);
    }
    println!("skipped: {} is not there", folder.display());
    None
}
