//! Writing an `.npy` matrix row by row.

use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use super::Header;
use crate::atomic::AtomicFile;
use crate::error::{Error, Result};

/// Writes a float32 `.npy` matrix `[rows, dim]` whose number of rows need not be known beforehand.
///
/// The file takes its name when [`finish`](Self::finish) has written the number of rows into the header. If the writer is
/// dropped before, nothing is left behind and an older file of that name stays as it was.
#[derive(Debug)]
pub struct NpyWriter {
    file: AtomicFile,
    dim: usize,
    rows: usize,
    bytes: Vec<u8>,
}

impl NpyWriter {
    /// Starts the file. The folder must exist.
    ///
    /// # Errors
    /// As [`AtomicFile::create`], and if `dim` is 0.
    pub fn create(path: impl AsRef<Path>, dim: usize) -> Result<NpyWriter> {
        let path = path.as_ref();
        if dim == 0 {
            let problem = "cannot write vectors of dimension 0".to_owned();
            return Err(Error::Npy { path: path.to_owned(), problem });
        }
        let mut file = AtomicFile::create(path)?;
        file.write_all(&Header::written(0, dim)).map_err(Error::io(path, "write"))?;
        Ok(NpyWriter { file, dim, rows: 0, bytes: Vec::new() })
    }

    /// Rows written so far.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Adds rows: `values` is `[n, dim]`, row after row.
    ///
    /// # Errors
    /// If the length is not a multiple of the dimension, or the disk refuses.
    pub fn push_rows(&mut self, values: &[f32]) -> Result<()> {
        if !values.len().is_multiple_of(self.dim) {
            let problem = format!("{} numbers are not whole rows of {}", values.len(), self.dim);
            return Err(Error::Npy { path: self.file.path().to_owned(), problem });
        }
        for block in values.chunks(1 << 16) {
            self.bytes.clear();
            self.bytes.extend(block.iter().flat_map(|value| value.to_le_bytes()));
            let written = self.file.write_all(&self.bytes);
            written.map_err(Error::io(self.file.path(), "write"))?;
        }
        self.rows += values.len() / self.dim;
        Ok(())
    }

    /// Completes the header and gives the file its name.
    ///
    /// # Errors
    /// If the disk refuses; nothing is left behind then.
    pub fn finish(mut self) -> Result<()> {
        let header = Header::written(self.rows, self.dim);
        let written = self.file.seek(SeekFrom::Start(0)).and_then(|_| self.file.write_all(&header));
        written.map_err(Error::io(self.file.path(), "write"))?;
        self.file.commit()
    }
}
