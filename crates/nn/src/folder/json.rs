//! JSON files of a folder, with the file named in every error.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::{Error, Result};

pub(super) fn read_json(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).map_err(Error::io(path))?;
    serde_json::from_str(&text).map_err(|e| Error::format(path, e.to_string()))
}

pub(super) fn write_json(path: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| Error::format(path, e.to_string()))?;
    fs::write(path, text + "\n").map_err(Error::io(path))
}
