//! Lists the recipes and the results that come with the program: every file in the workspace's `recipes` folder.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let root = Path::new(&env::var("CARGO_MANIFEST_DIR").unwrap_or_default()).join("../../recipes");
    let mut text = String::new();
    for (name, folder, ending) in
        [("RECIPES", root.clone(), "toml"), ("RESULTS", root.join("results"), "json")]
    {
        println!("cargo::rerun-if-changed={}", folder.display());
        let mut files: Vec<PathBuf> = match fs::read_dir(&folder) {
            Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<_>>()?,
            Err(_) => Vec::new(),
        };
        files.retain(|path| path.extension().is_some_and(|found| found == ending));
        files.sort();
        let _ = writeln!(text, "pub(crate) const {name}: &[(&str, &str)] = &[");
        for path in files {
            println!("cargo::rerun-if-changed={}", path.display());
            let path = fs::canonicalize(path)?;
            let slug = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            let _ = writeln!(text, "    ({slug:?}, include_str!({:?})),", path.display().to_string());
        }
        text.push_str("];\n");
    }
    fs::write(Path::new(&env::var("OUT_DIR").unwrap_or_default()).join("recipes.rs"), text)
}
