//! The header of an `.npy` file (numpy enhancement proposal 1 and `numpy.lib.format`).
//!
//! `\x93NUMPY`, two bytes of version, the length of the header (2 bytes in version 1, else 4, little-endian), and a Python
//! dictionary literal such as `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.

use std::fmt;

const MAGIC: &[u8] = b"\x93NUMPY";
/// A header of numbers is under 200 bytes; only structured types need more.
const MAX_HEADER_BYTES: usize = 1 << 16;
/// Bytes before the values in files written here: room for every row count.
pub(crate) const WRITTEN_BYTES: usize = 128;

/// The type of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dtype {
    Bool,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
    F16,
    F32,
    F64,
}

impl Dtype {
    pub(crate) fn bytes(self) -> usize {
        match self {
            Dtype::Bool | Dtype::I8 | Dtype::U8 => 1,
            Dtype::I16 | Dtype::U16 | Dtype::F16 => 2,
            Dtype::I32 | Dtype::U32 | Dtype::F32 => 4,
            Dtype::I64 | Dtype::U64 | Dtype::F64 => 8,
        }
    }

    fn parse(descr: &str) -> Result<Dtype, String> {
        Ok(match descr {
            "|b1" => Dtype::Bool,
            "|i1" | "<i1" => Dtype::I8,
            "|u1" | "<u1" => Dtype::U8,
            "<i2" => Dtype::I16,
            "<u2" => Dtype::U16,
            "<i4" => Dtype::I32,
            "<u4" => Dtype::U32,
            "<i8" => Dtype::I64,
            "<u8" => Dtype::U64,
            "<f2" => Dtype::F16,
            "<f4" => Dtype::F32,
            "<f8" => Dtype::F64,
            big if big.starts_with('>') => {
                return Err(format!(
                    "holds big-endian values ({big}); save it with .astype('<{}')",
                    &big[1..]
                ));
            }
            other => return Err(format!("holds values of type {other:?}, which is not read here")),
        })
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Dtype::Bool => "truth values",
            Dtype::I8 => "int8",
            Dtype::U8 => "uint8",
            Dtype::I16 => "int16",
            Dtype::U16 => "uint16",
            Dtype::I32 => "int32",
            Dtype::U32 => "uint32",
            Dtype::I64 => "int64",
            Dtype::U64 => "uint64",
            Dtype::F16 => "float16",
            Dtype::F32 => "float32",
            Dtype::F64 => "float64",
        })
    }
}

/// What a header says, checked against the length of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) dtype: Dtype,
    pub(crate) shape: Vec<usize>,
    /// The byte at which the values start.
    pub(crate) start: usize,
}

impl Header {
    /// Reads the header of a whole file; the error says what is wrong.
    pub(crate) fn parse(file: &[u8]) -> Result<Header, String> {
        let cut = || "the file ends inside its header".to_owned();
        if !file.starts_with(MAGIC) {
            return Err("not an .npy file".to_owned());
        }
        let version = *file.get(6).ok_or_else(cut)?;
        let (length, text_start) = match version {
            1 => (file.get(8..10).map(|b| usize::from(u16::from_le_bytes([b[0], b[1]]))), 10),
            2 | 3 => (file.get(8..12).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize), 12),
            _ => return Err(format!(".npy version {version} is not known; versions 1 to 3 are read")),
        };
        let length = length.ok_or_else(cut)?;
        if length > MAX_HEADER_BYTES {
            return Err(format!("the header is {length} bytes long; a matrix of numbers needs under 200"));
        }
        let start = text_start + length;
        let text = file.get(text_start..start).ok_or_else(cut)?;
        let text = std::str::from_utf8(text).map_err(|_| "the header is not text".to_owned())?;
        let Some(Literal { descr, fortran_order, shape }) = Literal::parse(text) else {
            return Err(format!("the header cannot be read: {:?}", text.trim_end()));
        };
        let Some(descr) = descr else {
            return Err("holds structured records; only plain numbers are read".to_owned());
        };
        let dtype = Dtype::parse(&descr)?;
        if fortran_order && shape.len() > 1 {
            return Err("is in Fortran (column) order; save numpy.ascontiguousarray(x)".to_owned());
        }
        let bytes = shape.iter().try_fold(dtype.bytes(), |bytes, &size| bytes.checked_mul(size));
        let Some(bytes) = bytes.filter(|bytes| *bytes <= isize::MAX as usize) else {
            return Err(format!("the shape {shape:?} is too large"));
        };
        let present = file.len() - start;
        if present != bytes {
            let how = if present < bytes { "truncated" } else { "longer than its header says" };
            return Err(format!(
                "{how}: shape {shape:?} of {dtype} needs {bytes} bytes, {present} are there"
            ));
        }
        Ok(Header { dtype, shape, start })
    }

    /// A version 1 header of [`WRITTEN_BYTES`] bytes for a matrix of f32.
    pub(crate) fn written(rows: usize, dim: usize) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        bytes.extend([1, 0]);
        bytes.extend(((WRITTEN_BYTES - 10) as u16).to_le_bytes());
        let literal = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {dim}), }}");
        bytes.extend(literal.bytes());
        bytes.resize(WRITTEN_BYTES - 1, b' ');
        bytes.push(b'\n');
        bytes
    }
}

/// The dictionary of a header. `descr` is `None` where it is not a string.
struct Literal {
    descr: Option<String>,
    fortran_order: bool,
    shape: Vec<usize>,
}

impl Literal {
    fn parse(text: &str) -> Option<Literal> {
        let (mut descr, mut fortran_order, mut shape) = (None, None, None);
        let mut scan = Scan(text.trim_end());
        scan.token("{")?;
        while scan.token("}").is_none() {
            let key = scan.string()?;
            scan.token(":")?;
            match key {
                "descr" => {
                    descr = Some(match scan.string() {
                        Some(text) => Some(text.to_owned()),
                        None => {
                            scan.bracketed()?;
                            None
                        }
                    });
                }
                "fortran_order" => {
                    let truth = scan.token("True").map(|()| true);
                    fortran_order = Some(truth.or_else(|| scan.token("False").map(|()| false))?);
                }
                "shape" => shape = Some(scan.tuple()?),
                _ => return None,
            }
            if scan.token(",").is_none() {
                scan.token("}")?;
                break;
            }
        }
        if !scan.0.trim().is_empty() {
            return None;
        }
        Some(Literal { descr: descr?, fortran_order: fortran_order?, shape: shape? })
    }
}

/// The rest of a literal.
struct Scan<'a>(&'a str);

impl<'a> Scan<'a> {
    fn token(&mut self, token: &str) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(token)?;
        Some(())
    }

    fn string(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"'))?;
        let (inside, rest) = text[1..].split_once(quote)?;
        self.0 = rest;
        Some(inside)
    }

    fn number(&mut self) -> Option<usize> {
        let text = self.0.trim_start();
        let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number = text[..end].parse().ok()?;
        // Python 2 wrote long integers as `3L`.
        self.0 = text[end..].strip_prefix('L').unwrap_or(&text[end..]);
        Some(number)
    }

    fn tuple(&mut self) -> Option<Vec<usize>> {
        let mut sizes = Vec::new();
        self.token("(")?;
        while self.token(")").is_none() {
            sizes.push(self.number()?);
            if self.token(",").is_none() {
                self.token(")")?;
                break;
            }
        }
        Some(sizes)
    }

    /// Skips a list such as that of a structured type; its brackets must match.
    fn bracketed(&mut self) -> Option<()> {
        let text = self.0.trim_start();
        let mut depth = 0usize;
        for (place, byte) in text.bytes().enumerate() {
            match byte {
                b'[' | b'(' => depth += 1,
                b']' | b')' => depth = depth.checked_sub(1)?,
                _ if depth == 0 => return None,
                _ => {}
            }
            if depth == 0 {
                self.0 = &text[place + 1..];
                return Some(());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::{Dtype, Header, WRITTEN_BYTES};

    fn file(version: u8, literal: &str, values: usize) -> Vec<u8> {
        let mut file = b"\x93NUMPY".to_vec();
        file.extend([version, 0]);
        match version {
            1 => file.extend((literal.len() as u16).to_le_bytes()),
            _ => file.extend((literal.len() as u32).to_le_bytes()),
        }
        file.extend(literal.bytes());
        file.resize(file.len() + values, 0);
        file
    }

    #[test]
    fn all_versions_and_spellings() {
        let literal = "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }   \n";
        for version in [1, 2, 3] {
            let header = Header::parse(&file(version, literal, 24)).unwrap();
            let start = literal.len() + if version == 1 { 10 } else { 12 };
            assert_eq!(header, Header { dtype: Dtype::F32, shape: vec![3, 2], start });
        }
        let other = "{\"shape\":(3L,),\"fortran_order\":True,\"descr\":\"|u1\"}";
        assert_eq!(Header::parse(&file(1, other, 3)).unwrap().shape, [3]);
        let scalar = "{'descr': '<f8', 'fortran_order': False, 'shape': ()}";
        assert_eq!(Header::parse(&file(1, scalar, 8)).unwrap().shape, [0usize; 0]);
    }

    #[test]
    fn what_is_written_is_read() {
        for (rows, dim) in [(0, 1), (7, 384), (usize::MAX, usize::MAX)] {
            let written = Header::written(rows, dim);
            assert_eq!(written.len(), WRITTEN_BYTES);
            assert_eq!(written.last(), Some(&b'\n'));
            let parsed = Header::parse(&written);
            if rows == 0 {
                assert_eq!(parsed.unwrap().shape, [rows, dim]);
            } else {
                assert!(parsed.is_err());
            }
        }
    }

    #[test]
    fn faults_are_named() {
        let faults = [
            (file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", 23), "truncated"),
            (file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), }", 25), "longer than"),
            (file(1, "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }", 24), "Fortran"),
            (file(1, "{'descr': '>f4', 'fortran_order': False, 'shape': (3, 2), }", 24), "big-endian"),
            (file(1, "{'descr': '<c8', 'fortran_order': False, 'shape': (3, 2), }", 48), "<c8"),
            (file(1, "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (3,), }", 12), "structured"),
            (file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (-3, 2), }", 24), "cannot be read"),
            (file(1, "{'descr': '<f4', 'fortran_order': False}", 24), "cannot be read"),
            (file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2), } x", 24), "cannot be read"),
            (
                file(1, "{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296)}", 0),
                "too large",
            ),
            (file(9, "{}", 0), "version 9"),
            (b"\x93NUMPY\x01".to_vec(), "inside its header"),
            (b"\x93NUMPY\x02\x00\xff\xff\xff\xff".to_vec(), "4294967295 bytes long"),
            (b"PK\x03\x04".to_vec(), "not an .npy file"),
        ];
        for (file, words) in faults {
            let problem = Header::parse(&file).unwrap_err();
            assert!(problem.contains(words), "{problem} lacks {words}");
        }
    }
}
