//! `metrics.jsonl`: one JSON object a line, appended as training goes.

use std::fs::{File, OpenOptions};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::{Error, Result};

/// The log of a run.
pub(crate) struct Log {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl Log {
    /// Opens the log and drops whatever stands after `bytes`: lines of steps that will be taken again.
    pub(crate) fn open(path: &Path, bytes: u64) -> Result<Self> {
        let io = |source| Error::Io { path: path.to_owned(), source };
        let mut file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(io)?;
        let length = file.metadata().map_err(io)?.len();
        if length < bytes {
            return Err(Error::Checkpoint {
                path: path.to_owned(),
                what: format!("holds {length} bytes where the checkpoint was written after {bytes}"),
            });
        }
        file.set_len(bytes).map_err(io)?;
        file.seek(SeekFrom::Start(bytes)).map_err(io)?;
        Ok(Log { path: path.to_owned(), file, bytes })
    }

    /// Appends a line.
    pub(crate) fn line(&mut self, value: &impl Serialize) -> Result<()> {
        let io = |source| Error::Io { path: self.path.clone(), source };
        let mut text = serde_json::to_vec(value).map_err(|e| io(e.into()))?;
        text.push(b'\n');
        self.file.write_all(&text).map_err(io)?;
        self.bytes += text.len() as u64;
        Ok(())
    }

    /// Length so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}
