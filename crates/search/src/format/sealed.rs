//! A body followed by a footer of 32 bytes: length (u64), CRC-32 (u32), version (u32), kind (8 bytes), magic (8 bytes).
//!
//! The checksum covers the body and the rest of the footer. All numbers are little-endian. A footer rather than a
//! header lets a writer stream, lets a body start on a page of its memory map, and makes a file that was cut off
//! lose the very bytes that would make it valid.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use bytemuck::AnyBitPattern;
use crc32fast::Hasher;
use memmap2::Mmap;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The version of the format that is written. Every version from 1 on can be read.
pub(crate) const VERSION: u32 = 1;
const MAGIC: [u8; 8] = *b"PARALLAX";
const FOOTER: usize = 32;

/// What a file holds; its eight bytes stand in the footer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Manifest,
    Vectors,
    Ids,
    Order,
    Texts,
    Column,
    Deleted,
}

impl Kind {
    fn tag(self) -> [u8; 8] {
        *match self {
            Kind::Manifest => b"manifest",
            Kind::Vectors => b"vectors ",
            Kind::Ids => b"ids     ",
            Kind::Order => b"order   ",
            Kind::Texts => b"texts   ",
            Kind::Column => b"column  ",
            Kind::Deleted => b"deleted ",
        }
    }
}

/// What the manifest knows of a file: a file that is whole but belongs elsewhere is found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileRecord {
    /// Bytes of the body.
    pub(crate) bytes: u64,
    /// The checksum in the footer.
    pub(crate) crc32: u32,
}

/// A file being written.
pub(crate) struct Sealed {
    path: PathBuf,
    file: BufWriter<File>,
    kind: Kind,
    hasher: Hasher,
    bytes: u64,
}

impl Sealed {
    pub(crate) fn create(path: PathBuf, kind: Kind) -> Result<Self> {
        let file = File::create(&path).map_err(Error::io(&path, "create"))?;
        Ok(Sealed {
            path,
            file: BufWriter::with_capacity(1 << 18, file),
            kind,
            hasher: Hasher::new(),
            bytes: 0,
        })
    }

    /// Bytes of the body so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(Error::io(&self.path, "write"))
    }

    /// Writes zeros up to a multiple of 8 bytes.
    pub(crate) fn pad(&mut self) -> Result<()> {
        self.write(&[0; 7][..(self.bytes.wrapping_neg() % 8) as usize])
    }

    /// Writes the footer and puts the file on the disk.
    pub(crate) fn finish(mut self) -> Result<FileRecord> {
        let record = FileRecord {
            bytes: self.bytes,
            crc32: checksum(self.hasher.clone(), self.bytes, VERSION, self.kind),
        };
        let failed = Error::io(&self.path, "write");
        let footer = footer(record, self.kind);
        let written = self.file.write_all(&footer).and_then(|()| self.file.flush());
        written.and_then(|()| self.file.get_ref().sync_all()).map_err(failed)?;
        Ok(record)
    }

    /// Gives the file up and removes it.
    pub(crate) fn discard(self) {
        drop(self.file);
        let _ = fs::remove_file(&self.path);
    }
}

fn checksum(mut hasher: Hasher, bytes: u64, version: u32, kind: Kind) -> u32 {
    hasher.update(&bytes.to_le_bytes());
    hasher.update(&version.to_le_bytes());
    hasher.update(&kind.tag());
    hasher.update(&MAGIC);
    hasher.finalize()
}

fn footer(record: FileRecord, kind: Kind) -> [u8; FOOTER] {
    let mut out = [0; FOOTER];
    out[..8].copy_from_slice(&record.bytes.to_le_bytes());
    out[8..12].copy_from_slice(&record.crc32.to_le_bytes());
    out[12..16].copy_from_slice(&VERSION.to_le_bytes());
    out[16..24].copy_from_slice(&kind.tag());
    out[24..].copy_from_slice(&MAGIC);
    out
}

/// `body` with its footer.
pub(crate) fn seal(body: &[u8], kind: Kind) -> Vec<u8> {
    let mut hasher = Hasher::new();
    hasher.update(body);
    let bytes = body.len() as u64;
    let record = FileRecord { bytes, crc32: checksum(hasher, bytes, VERSION, kind) };
    [body, &footer(record, kind)].concat()
}

/// Checks a whole file and returns its body and version.
pub(crate) fn unseal<'a>(path: &Path, file: &'a [u8], kind: Kind) -> Result<(&'a [u8], FileRecord, u32)> {
    let damaged = |problem: String| Err(Error::damaged(path, problem));
    let Some((body, footer)) = file.split_last_chunk::<FOOTER>() else {
        return damaged(format!("{} bytes are too few for a footer; the file was cut off", file.len()));
    };
    if footer[24..] != MAGIC {
        return damaged(
            "no footer stands at its end; the file was cut off or is not part of an index".into(),
        );
    }
    let number = |at: usize| u32::from_le_bytes([footer[at], footer[at + 1], footer[at + 2], footer[at + 3]]);
    let bytes = u64::from(number(4)) << 32 | u64::from(number(0));
    let (crc32, version) = (number(8), number(12));
    if version == 0 || version > VERSION {
        return Err(Error::Version { path: path.to_owned(), found: version, newest: VERSION });
    }
    if footer[16..24] != kind.tag() {
        let (found, wanted) =
            (footer[16..24].escape_ascii().to_string(), kind.tag().escape_ascii().to_string());
        return damaged(format!("holds \"{}\" where \"{}\" belongs", found.trim_end(), wanted.trim_end()));
    }
    if bytes != body.len() as u64 {
        return damaged(format!("{} bytes stand where {bytes} were written", body.len()));
    }
    let mut hasher = Hasher::new();
    hasher.update(body);
    let found = checksum(hasher, bytes, version, kind);
    if found != crc32 {
        return damaged(format!("the checksum is {found:08x} and was {crc32:08x} when it was written"));
    }
    Ok((body, FileRecord { bytes, crc32 }, version))
}

/// A file of a segment in memory, its footer and checksum in order.
#[derive(Debug)]
pub(crate) struct Mapped {
    path: PathBuf,
    map: Mmap,
    bytes: usize,
}

impl Mapped {
    /// Maps a file and checks it against its footer and the manifest.
    pub(crate) fn open(path: PathBuf, kind: Kind, record: FileRecord) -> Result<Self> {
        let file = File::open(&path).map_err(Error::io(&path, "open"))?;
        let metadata = file.metadata().map_err(Error::io(&path, "open"))?;
        if !metadata.is_file() || metadata.len() == 0 {
            return Err(Error::damaged(&path, "it is not a file with anything in it"));
        }
        // SAFETY: the map is read-only, and its bytes are read as plain numbers or checked text. As with every memory
        // map, another process that shortens the file meanwhile ends this one; writers of an index never change a file
        // that a manifest names.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(&path, "map"))?;
        let (body, found, _) = unseal(&path, &map, kind)?;
        if found != record {
            return Err(Error::damaged(&path, "it is whole, but not the file that the manifest names"));
        }
        let bytes = body.len();
        Ok(Mapped { path, map, bytes })
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.map[..self.bytes]
    }

    /// `count` numbers from byte `at` on; an error if they are not all there. `at` must be a multiple of their size.
    pub(crate) fn numbers<T: AnyBitPattern>(&self, at: usize, count: usize) -> Result<&[T]> {
        count
            .checked_mul(size_of::<T>())
            .and_then(|bytes| at.checked_add(bytes))
            .and_then(|end| self.body().get(at..end))
            .and_then(|bytes| bytemuck::try_cast_slice(bytes).ok())
            .ok_or_else(|| self.damaged("it is shorter than its rows need"))
    }

    /// As [`numbers`](Self::numbers), where opening has checked that they are there.
    #[inline]
    pub(crate) fn checked<T: AnyBitPattern>(&self, at: usize, count: usize) -> &[T] {
        self.numbers(at, count).unwrap_or_default()
    }

    pub(crate) fn damaged(&self, problem: impl Into<String>) -> Error {
        Error::damaged(&self.path, problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_flipped_bit_and_every_cut_is_found() {
        let path = Path::new("f");
        let whole = seal(b"some body of a file", Kind::Ids);
        let (body, record, version) = unseal(path, &whole, Kind::Ids).unwrap();
        assert_eq!((body, record.bytes, version), (&b"some body of a file"[..], 19, 1));
        for at in 0..whole.len() {
            for bit in 0..8 {
                let mut bad = whole.clone();
                bad[at] ^= 1 << bit;
                assert!(unseal(path, &bad, Kind::Ids).is_err(), "byte {at}, bit {bit}");
            }
            assert!(unseal(path, &whole[..at], Kind::Ids).is_err(), "cut to {at}");
            assert!(unseal(path, &whole[at + 1..], Kind::Ids).is_err(), "cut from {at}");
        }
        let error = unseal(path, &whole, Kind::Texts).unwrap_err().to_string();
        assert_eq!(error, "f: damaged: holds \"ids\" where \"texts\" belongs");
    }

    #[test]
    fn a_streamed_file_equals_a_sealed_one_and_newer_versions_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("f");
        let mut file = Sealed::create(path.clone(), Kind::Texts).unwrap();
        file.write(b"abc").unwrap();
        file.pad().unwrap();
        file.pad().unwrap();
        assert_eq!(file.bytes(), 8);
        let record = file.finish().unwrap();
        let mut bytes = fs::read(&path).unwrap();
        assert_eq!(bytes, seal(b"abc\0\0\0\0\0", Kind::Texts));
        assert_eq!(Mapped::open(path.clone(), Kind::Texts, record).unwrap().body(), b"abc\0\0\0\0\0");
        let other = FileRecord { crc32: 1, ..record };
        let error = Mapped::open(path.clone(), Kind::Texts, other).unwrap_err().to_string();
        assert!(error.contains("not the file that the manifest names"), "{error}");
        let at = bytes.len() - 20;
        bytes[at] = 9;
        let error = unseal(&path, &bytes, Kind::Texts).unwrap_err().to_string();
        assert!(
            error.ends_with("written in version 9 of the format; versions 1 to 1 can be read"),
            "{error}"
        );
    }
}
