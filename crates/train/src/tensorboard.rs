//! Event files that TensorBoard reads: the curves of a run, written as it goes.
//!
//! A file is a sequence of records in the framing of TensorFlow's `RecordWriter` (all integers little-endian):
//!
//! ```text
//! u64  length of the data
//! u32  masked CRC-32C of those eight bytes
//!      the data
//! u32  masked CRC-32C of the data
//! ```
//!
//! where `mask(c) = rotate_right(c, 15) + 0xa282ead8` (modulo 2³²) and CRC-32C is that of Castagnoli. The data is a protocol buffer, of
//! which four messages are needed here (`tensorflow/core/util/event.proto` and `framework/summary.proto`):
//!
//! ```text
//! Event      { double wall_time = 1; int64 step = 2; string file_version = 3 | Summary summary = 5 | SessionLog session_log = 7; }
//! Summary    { repeated Value value = 1; }
//! Value      { string tag = 1; float simple_value = 2; }
//! SessionLog { SessionStatus status = 1; }   START = 1
//! ```
//!
//! **Going on.** Steps after the checkpoint are taken again. Their records are cut off the files that are there, and the
//! new ones go to a new file that begins with a session start at the first step to come: a reader that starts afresh
//! meets every step once, and one that has been watching throws away what it had read too far.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::{Error, Result};

/// What TensorBoard looks for in a file's name.
const PREFIX: &str = "events.out.tfevents.";
/// Marks the files that are written here among those of other programs.
const MARK: &str = ".parallax.";

/// The event file of a run, open for appending.
pub(crate) struct Events {
    path: PathBuf,
    file: File,
}

impl Events {
    /// Starts a file in `folder` for the steps after `step`, and takes later steps out of the files that are there.
    pub(crate) fn open(folder: &Path, step: u64) -> Result<Self> {
        if step == 0 {
            remove(folder)?;
        }
        let older = files(folder)?;
        for path in &older {
            cut(path, step)?;
        }
        let now = seconds();
        // A reader takes the files in the order of their names, whatever the clock has done meanwhile.
        let last = older.last().and_then(|path| stamp(path)).unwrap_or(0);
        let name = format!("{PREFIX}{:010}{MARK}{:03}", (now as u64).max(last), older.len());
        let path = folder.join(name);
        let file = OpenOptions::new().create_new(true).write(true).open(&path);
        let file = file.map_err(|source| Error::Io { path: path.clone(), source })?;
        let mut events = Events { path, file };
        let mut start = record(&event(now, 0, &text(3, "brain.Event:2")));
        if step > 0 {
            start.extend(record(&event(now, step + 1, &message(7, &number(1, 1)))));
        }
        events.append(&start)?;
        Ok(events)
    }

    /// Adds values of `step`, by tag.
    pub(crate) fn scalars(&mut self, step: u64, values: &[(&str, f64)]) -> Result<()> {
        self.append(&record(&event(seconds(), step, &message(5, &summary(values)))))
    }

    fn append(&mut self, bytes: &[u8]) -> Result<()> {
        // One write for a record: what a kill leaves is at most one torn record at the end.
        self.file.write_all(bytes).map_err(|source| Error::Io { path: self.path.clone(), source })
    }
}

/// The event files of `folder` that were written here, in order.
///
/// # Errors
/// A folder that cannot be read.
pub fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let io = |source| Error::Io { path: folder.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(PREFIX) && name.contains(MARK)) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Removes the event files of `folder` that were written here.
///
/// # Errors
/// A file that cannot be removed.
pub fn remove(folder: &Path) -> Result<()> {
    for path in files(folder)? {
        fs::remove_file(&path).map_err(|source| Error::Io { path, source })?;
    }
    Ok(())
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// The seconds in the name of a file.
fn stamp(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_prefix(PREFIX)?.split('.').next()?.parse().ok()
}

/// Ends a file before its first record of a later step than `step`, or before the first that is torn.
fn cut(path: &Path, step: u64) -> Result<()> {
    let io = |source| Error::Io { path: path.to_owned(), source };
    let bytes = fs::read(path).map_err(io)?;
    let mut kept = 0;
    for (end, data) in (Records { bytes: &bytes, at: 0 }) {
        if step_of(data).is_none_or(|found| found > step) {
            break;
        }
        kept = end;
    }
    if kept < bytes.len() {
        let file = OpenOptions::new().write(true).open(path).map_err(io)?;
        file.set_len(kept as u64).map_err(io)?;
    }
    Ok(())
}

/// The records of a file with the place where each ends, up to the first that is torn or damaged.
struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Records<'a> {
    type Item = (usize, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.bytes.get(self.at..)?;
        let length = rest.get(..8)?;
        let checked = |bytes: &[u8], at: usize| {
            let found: Option<[u8; 4]> = rest.get(at..at.checked_add(4)?)?.try_into().ok();
            (u32::from_le_bytes(found?) == masked(crc32c(bytes))).then_some(())
        };
        checked(length, 8)?;
        let n = usize::try_from(u64::from_le_bytes(length.try_into().ok()?)).ok()?;
        let data = rest.get(12..n.checked_add(12)?)?;
        checked(data, 12 + n)?;
        self.at += 16 + n;
        Some((self.at, data))
    }
}

/// The step of an event; 0 where it has none. `None` for what is no event.
fn step_of(mut data: &[u8]) -> Option<u64> {
    let mut step = 0;
    while !data.is_empty() {
        let key = take_varint(&mut data)?;
        let skip = match key & 7 {
            0 => {
                let value = take_varint(&mut data)?;
                if key >> 3 == 2 {
                    step = value;
                }
                0
            }
            1 => 8,
            2 => usize::try_from(take_varint(&mut data)?).ok()?,
            5 => 4,
            _ => return None,
        };
        data = data.get(skip..)?;
    }
    Some(step)
}

fn take_varint(data: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = data.split_first()?;
        *data = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut out = length.to_vec();
    out.extend(masked(crc32c(&length)).to_le_bytes());
    out.extend(data);
    out.extend(masked(crc32c(data)).to_le_bytes());
    out
}

/// An `Event`; a step of 0 is the default and is left out, as protocol buffers do.
fn event(wall_time: f64, step: u64, what: &[u8]) -> Vec<u8> {
    let mut out = vec![1 << 3 | 1];
    out.extend(wall_time.to_le_bytes());
    if step > 0 {
        out.extend(number(2, step));
    }
    out.extend(what);
    out
}

fn summary(values: &[(&str, f64)]) -> Vec<u8> {
    let value = |&(tag, value): &(&str, f64)| {
        let mut out = text(1, tag);
        out.push(2 << 3 | 5);
        out.extend((value as f32).to_le_bytes());
        message(1, &out)
    };
    values.iter().flat_map(value).collect()
}

/// A field of wire type 0.
fn number(field: u8, value: u64) -> Vec<u8> {
    let mut out = vec![field << 3];
    put_varint(&mut out, value);
    out
}

/// A field of wire type 2.
fn message(field: u8, content: &[u8]) -> Vec<u8> {
    let mut out = vec![field << 3 | 2];
    put_varint(&mut out, content.len() as u64);
    out.extend(content);
    out
}

fn text(field: u8, content: &str) -> Vec<u8> {
    message(field, content.as_bytes())
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The cyclic redundancy check of RFC 3720 (iSCSI), by a table of the 256 single bytes.
fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| crc >> 8 ^ TABLE[usize::from(crc as u8 ^ byte)])
}

static TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_those_of_the_rfc() {
        // RFC 3720, B.4, and the usual check value.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
        // By hand: 0x8a9136aa turned right by 15 bits is 0x6d551522; the sum wraps.
        assert_eq!(masked(0x8a91_36aa), 0x6d55_1522u32.wrapping_add(0xa282_ead8));
        assert_eq!(masked(0), 0xa282_ead8);
    }

    /// The first record of every file, for a wall time of 1.5.
    #[test]
    fn a_version_record_byte_for_byte() {
        let data = event(1.5, 0, &text(3, "brain.Event:2"));
        let mut expected = vec![0x09, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x1a, 0x0d];
        expected.extend(b"brain.Event:2");
        assert_eq!(data, expected);
        let framed = record(&data);
        assert_eq!(framed[..8], [24, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(framed[8..12], VERSION_CRCS.0.to_le_bytes());
        assert_eq!(framed[12..36], data);
        assert_eq!(framed[36..], VERSION_CRCS.1.to_le_bytes());
    }

    /// The masked checksums of the length 24 and of the data above, as TensorBoard's own reader computes them.
    const VERSION_CRCS: (u32, u32) = (0x224b_7fa3, 0x6c64_282a);

    #[test]
    fn scalars_byte_for_byte() {
        let data = event(2.0, 300, &message(5, &summary(&[("a", 0.5), ("b/c", -1.0)])));
        #[rustfmt::skip]
        let expected = [
            0x09, 0, 0, 0, 0, 0, 0, 0, 0x40,                     // wall_time 2.0
            0x10, 0xac, 0x02,                                    // step 300 = 0b10_0101100
            0x2a, 22,                                            // summary of 22 bytes
            0x0a, 8, 0x0a, 1, b'a', 0x15, 0, 0, 0, 0x3f,         // "a" 0.5
            0x0a, 10, 0x0a, 3, b'b', b'/', b'c', 0x15, 0, 0, 0x80, 0xbf, // "b/c" -1.0
        ];
        assert_eq!(data, expected);
        assert_eq!(step_of(&data), Some(300));
        let start = event(2.0, 7, &message(7, &number(1, 1)));
        assert_eq!(start[9..], [0x10, 7, 0x3a, 2, 0x08, 1]);
    }

    /// The step of every record of a file.
    fn steps(path: &Path) -> Vec<u64> {
        let bytes = fs::read(path).unwrap();
        let records: Vec<_> = Records { bytes: &bytes, at: 0 }.collect();
        assert_eq!(records.last().map_or(0, |last| last.0), bytes.len(), "a torn end");
        records.into_iter().map(|(_, data)| step_of(data).unwrap()).collect()
    }

    #[test]
    fn going_on_cuts_what_is_taken_again_and_starts_a_new_file() {
        let folder = std::env::temp_dir().join(format!("parallax-events-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("events.out.tfevents.1.other"), "of another program").unwrap();
        let mut events = Events::open(&folder, 0).unwrap();
        for step in 1..=5 {
            events.scalars(step, &[("train/loss", step as f64)]).unwrap();
        }
        // A kill in the middle of a write.
        let first = files(&folder).unwrap()[0].clone();
        let mut bytes = fs::read(&first).unwrap();
        bytes.truncate(bytes.len() - 3);
        fs::write(&first, &bytes).unwrap();
        drop(events);
        let mut events = Events::open(&folder, 3).unwrap();
        events.scalars(4, &[("train/loss", 4.0)]).unwrap();
        let both = files(&folder).unwrap();
        assert_eq!(both.len(), 2);
        assert_eq!(steps(&both[0]), [0, 1, 2, 3]);
        // The version, the start of the session at step 4, and step 4.
        assert_eq!(steps(&both[1]), [0, 4, 4]);
        drop(events);
        // From the beginning again: nothing of before is left.
        drop(Events::open(&folder, 0).unwrap());
        let one = files(&folder).unwrap();
        assert_eq!(one.iter().map(|path| steps(path)).collect::<Vec<_>>(), [[0]]);
        remove(&folder).unwrap();
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1, "files of other programs stay");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn damage_is_never_read_past() {
        let mut bytes = record(&event(1.0, 1, &[]));
        let whole = bytes.len();
        bytes.extend(record(&event(1.0, 2, &[])));
        let count = |bytes: &[u8]| Records { bytes, at: 0 }.count();
        assert_eq!(count(&bytes), 2);
        for at in whole..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x40;
            assert_eq!(count(&damaged), 1, "byte {at}");
            assert_eq!(count(&bytes[..at]), 1, "cut at {at}");
        }
        // A length that leads out of the file, and out of the address space.
        for length in [1 << 40, u64::MAX, u64::MAX - 11] {
            let mut bytes = length.to_le_bytes().to_vec();
            bytes.extend(masked(crc32c(&length.to_le_bytes())).to_le_bytes());
            bytes.extend([0; 64]);
            assert_eq!(count(&bytes), 0);
        }
    }
}
