//! Files as plain UTF-8: UTF-16 with a byte-order mark and gzip are unpacked to a temporary file.

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Seek, Write};
use std::path::Path;

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};

const BUFFER_BYTES: usize = 1 << 18;

/// Byte order of UTF-16 units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Little,
    Big,
}

impl Order {
    fn of(head: &[u8]) -> Option<Order> {
        match head {
            [0xff, 0xfe, ..] => Some(Order::Little),
            [0xfe, 0xff, ..] => Some(Order::Big),
            _ => None,
        }
    }

    fn unit(self, pair: [u8; 2]) -> u16 {
        match self {
            Order::Little => u16::from_le_bytes(pair),
            Order::Big => u16::from_be_bytes(pair),
        }
    }
}

/// A regular file as plain UTF-8 from its first byte (it may start with a byte-order mark), and what was done for that.
pub(crate) fn open(path: &Path) -> Result<(File, Option<&'static str>)> {
    let mut file = File::open(path).map_err(Error::io(path, "open"))?;
    if !file.metadata().map_err(Error::io(path, "open"))?.is_file() {
        let source = std::io::Error::new(ErrorKind::InvalidInput, "not a regular file");
        return Err(Error::Io { path: path.to_owned(), action: "open", source });
    }
    let head = head(&mut file, 4096).map_err(Error::io(path, "read"))?;
    let mut note = None;
    if head.starts_with(&[0x1f, 0x8b]) {
        let mut input = MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, file));
        file = temporary(path, |output| std::io::copy(&mut input, output).map(drop))?;
        note = Some("compressed with gzip");
    }
    let head = self::head(&mut file, 4096).map_err(Error::io(path, "read"))?;
    if let Some(order) = Order::of(&head) {
        let mut input = BufReader::with_capacity(BUFFER_BYTES, file);
        file = temporary(path, |output| decode(&mut input, order, output))?;
        note = Some(if note.is_some() { "compressed with gzip, in UTF-16" } else { "in UTF-16" });
    } else {
        check(path, &head)?;
    }
    Ok((file, note))
}

/// Refuses what is surely no UTF-8 text.
pub(crate) fn check(path: &Path, head: &[u8]) -> Result<()> {
    let refuse = |found: &str, hint: &str| {
        Err(Error::Encoding { path: path.to_owned(), found: found.to_owned(), hint: hint.to_owned() })
    };
    if head.starts_with(b"PK\x03\x04") {
        return refuse(
            "a zip archive or a spreadsheet (.xlsx), not a text file",
            "unpack it, or save the sheet as \"CSV UTF-8\"",
        );
    }
    if head.starts_with(b"PAR1") {
        return refuse(
            "a Parquet file, not a text file",
            "write it as CSV or JSONL (pandas: read_parquet(...).to_csv(...))",
        );
    }
    if head.starts_with(&[0x1f, 0x8b]) {
        return refuse("compressed with gzip", "unpack it first: gunzip -c FILE");
    }
    if Order::of(head).is_some() {
        return refuse("text in UTF-16", "iconv -f UTF-16 -t UTF-8");
    }
    let zeros = head.iter().filter(|&&byte| byte == 0).count();
    if head.len() >= 8 && zeros * 3 >= head.len() {
        return refuse(
            "text in UTF-16 without a byte-order mark, or no text",
            "save the file as UTF-8: iconv -f UTF-16LE -t UTF-8 OLD > NEW",
        );
    }
    Ok(())
}

/// The first bytes of a file, which is rewound.
pub(crate) fn head(file: &mut File, most: u64) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    file.rewind()?;
    (&mut *file).take(most).read_to_end(&mut head)?;
    file.rewind()?;
    Ok(head)
}

/// A text file as it stands in memory: UTF-8, with or without a byte-order mark, or UTF-16 with one. `Err` holds the
/// place of the first byte that is neither.
pub(super) fn text(bytes: Vec<u8>) -> Result<String, u64> {
    if let Some(order) = Order::of(&bytes) {
        let mut decoded = Vec::new();
        return match decode(&mut bytes.as_slice(), order, &mut decoded) {
            Ok(()) => String::from_utf8(decoded).map_err(|_| 0),
            Err(_) => Err(bytes.len() as u64 & !1),
        };
    }
    match String::from_utf8(bytes) {
        Ok(mut text) => {
            if text.starts_with('\u{feff}') {
                text.drain(..'\u{feff}'.len_utf8());
            }
            Ok(text)
        }
        Err(e) => Err(e.utf8_error().valid_up_to() as u64),
    }
}

fn temporary(path: &Path, write: impl FnOnce(&mut BufWriter<&File>) -> std::io::Result<()>) -> Result<File> {
    let mut file = tempfile::tempfile().map_err(Error::io(path, "make a temporary copy of"))?;
    let mut output = BufWriter::with_capacity(BUFFER_BYTES, &file);
    write(&mut output).and_then(|()| output.flush()).map_err(|source| match source.kind() {
        ErrorKind::InvalidData | ErrorKind::InvalidInput | ErrorKind::UnexpectedEof => Error::Encoding {
            path: path.to_owned(),
            found: format!("cannot be unpacked: {source}"),
            hint: "copy or write the file again; it is damaged or not complete".to_owned(),
        },
        _ => Error::Io { path: path.to_owned(), action: "unpack", source },
    })?;
    drop(output);
    file.rewind().map_err(Error::io(path, "read"))?;
    Ok(file)
}

/// UTF-16 to UTF-8. Half of a pair, or an odd byte at the end, is an error.
fn decode(input: &mut impl Read, order: Order, output: &mut impl Write) -> std::io::Result<()> {
    let broken =
        |at: u64| std::io::Error::new(ErrorKind::InvalidData, format!("not UTF-16 at byte {at} of the file"));
    let mut bytes = vec![0; 1 << 16];
    let (mut kept, mut before) = (0, 0u64);
    loop {
        // A pair of surrogates may lie across two reads: what is not complete waits for the next.
        let read = match input.read(&mut bytes[kept..]) {
            Ok(read) => read,
            Err(e) if e.kind() == ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        let end = kept + read;
        let last = read == 0;
        let mut units = end / 2;
        let unit = |i: usize| order.unit([bytes[2 * i], bytes[2 * i + 1]]);
        if !last && units > 0 && (0xd800..0xdc00).contains(&unit(units - 1)) {
            units -= 1;
        }
        let mut text = String::with_capacity(units);
        let mut at = 0;
        for decoded in char::decode_utf16((0..units).map(unit)) {
            let decoded = decoded.map_err(|_| broken(before + 2 * at))?;
            text.push(decoded);
            at += decoded.len_utf16() as u64;
        }
        // The byte-order mark stands in the text as the one of UTF-8, which every reader here skips.
        let text = if before == 0 { text.strip_prefix('\u{feff}').unwrap_or(&text) } else { &text };
        output.write_all(text.as_bytes())?;
        if last {
            return if end % 2 == 0 { Ok(()) } else { Err(broken(before + end as u64 - 1)) };
        }
        bytes.copy_within(2 * units..end, 0);
        kept = end - 2 * units;
        before += 2 * units as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::{Order, decode, open, text};

    /// Gives one to three bytes at a time.
    struct Slow<'a>(&'a [u8], usize);

    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            self.1 = self.1 % 3 + 1;
            let n = self.1.min(self.0.len()).min(buffer.len());
            buffer[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn utf16(text: &str, order: Order) -> Vec<u8> {
        let units = std::iter::once(0xfeff).chain(text.encode_utf16());
        units
            .flat_map(|unit| if order == Order::Little { unit.to_le_bytes() } else { unit.to_be_bytes() })
            .collect()
    }

    #[test]
    fn broken_text_is_an_error() {
        assert_eq!(text(b"\xef\xbb\xbfok".to_vec()).unwrap(), "ok");
        assert_eq!(text(b"caf\xe9".to_vec()), Err(3));
        assert!(text(b"\xff\xfea\x00\x00".to_vec()).is_err());
        assert!(text(b"\xff\xfe\x00\xd8a\x00".to_vec()).is_err());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.csv");
        for (bytes, words) in [
            (&b"\xff\xfea\x00\x00"[..], "not UTF-16 at byte 4"),
            (b"a\x00,\x00b\x00\n\x00", "without a byte-order mark"),
            (b"PK\x03\x04....", "spreadsheet"),
            (b"PAR1....", "Parquet"),
            (b"\x1f\x8b\x08\x00nothing", "cannot be unpacked"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = open(&path).unwrap_err();
            assert!(error.to_string().contains(words) && error.hint().is_some(), "{error}");
        }
    }

    proptest! {
        #[test]
        fn utf16_becomes_utf8(string in any::<String>(), big in any::<bool>()) {
            let order = if big { Order::Big } else { Order::Little };
            let bytes = utf16(&string, order);
            let mut decoded = Vec::new();
            decode(&mut Slow(&bytes, 0), order, &mut decoded).unwrap();
            prop_assert_eq!(String::from_utf8(decoded).unwrap(), string.clone());
            prop_assert_eq!(text(bytes).unwrap(), string);
        }
    }
}
