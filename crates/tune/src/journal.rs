//! What was done, line by line, so that a search goes on where it stopped.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{Error, Point};

/// A file of finished measurements, JSON lines after a line that says which search they belong to.
#[derive(Debug)]
pub struct Journal {
    path: PathBuf,
    file: File,
    known: BTreeMap<(usize, usize, u64), Line>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Head {
    fingerprint: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    pub(crate) trial: usize,
    pub(crate) point: Point,
    pub(crate) fold: usize,
    pub(crate) share: f64,
    pub(crate) score: Option<f64>,
    pub(crate) seconds: f64,
}

impl Journal {
    /// Opens the journal of the search with this fingerprint, or begins it. A last line that was cut off is dropped.
    ///
    /// # Errors
    /// A journal of another search, lines that are none, a file that cannot be read or written.
    pub fn open(path: &Path, fingerprint: &str) -> Result<Self, Error> {
        let io = |action: &'static str| {
            let path = path.to_owned();
            move |source| Error::Io { path, action, source }
        };
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(io("opened"))?;
        let mut known = BTreeMap::new();
        let mut good = 0u64;
        let mut reader = BufReader::new(&file);
        let mut text = String::new();
        for line in 1.. {
            text.clear();
            let read = reader.read_line(&mut text).map_err(io("read"))?;
            if read == 0 || !text.ends_with('\n') {
                break;
            }
            let bad =
                |e: serde_json::Error| Error::Journal { path: path.to_owned(), line, what: e.to_string() };
            if line == 1 {
                let head: Head = serde_json::from_str(&text).map_err(bad)?;
                if head.fingerprint != fingerprint {
                    return Err(Error::OtherSearch { path: path.to_owned() });
                }
            } else {
                let entry: Line = serde_json::from_str(&text).map_err(bad)?;
                known.insert((entry.trial, entry.fold, entry.share.to_bits()), entry);
            }
            good += read as u64;
        }
        file.set_len(good).map_err(io("written"))?;
        file.seek(std::io::SeekFrom::End(0)).map_err(io("written"))?;
        let mut journal = Journal { path: path.to_owned(), file, known };
        if good == 0 {
            journal.write(&Head { fingerprint: fingerprint.to_owned() })?;
        }
        Ok(journal)
    }

    /// How many measurements it holds.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub(crate) fn find(
        &self,
        trial: usize,
        point: &Point,
        fold: usize,
        share: f64,
    ) -> Result<Option<&Line>, Error> {
        match self.known.get(&(trial, fold, share.to_bits())) {
            // The same settings draw the same points: anything else is a journal of a changed program.
            Some(line) if line.point != *point => Err(Error::OtherSearch { path: self.path.clone() }),
            found => Ok(found),
        }
    }

    pub(crate) fn add(&mut self, line: Line) -> Result<(), Error> {
        self.write(&line)?;
        self.known.insert((line.trial, line.fold, line.share.to_bits()), line);
        Ok(())
    }

    fn write<T: Serialize>(&mut self, line: &T) -> Result<(), Error> {
        let mut text = serde_json::to_string(line).expect("numbers and texts are JSON");
        text.push('\n');
        let io = |source| Error::Io { path: self.path.clone(), action: "written", source };
        self.file.write_all(text.as_bytes()).and_then(|()| self.file.flush()).map_err(io)
    }
}
