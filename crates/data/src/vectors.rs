//! Stored vectors: `.npy` matrices, read from a memory map and written as a stream.

mod header;
mod writer;

use std::fs::File;
use std::path::{Path, PathBuf};

use half::f16;
use memmap2::Mmap;

use crate::error::{Error, Result};
pub(crate) use header::{Dtype, Header};
pub use writer::NpyWriter;

/// Rows of f32, all of one dimension: `[rows, dim]`.
///
/// Opened from an `.npy` file (versions 1 to 3; little-endian f16, f32 or f64; C order) the values stay on the disk
/// behind a memory map and are converted to f32 as they are read.
#[derive(Debug)]
pub struct Vectors {
    path: PathBuf,
    rows: usize,
    dim: usize,
    storage: Storage,
}

#[derive(Debug)]
enum Storage {
    Mapped { map: Mmap, start: usize, dtype: Dtype },
    Memory(Vec<f32>),
}

fn map(path: &Path) -> Result<Mmap> {
    let file = File::open(path).map_err(Error::io(path, "open"))?;
    let metadata = file.metadata().map_err(Error::io(path, "open"))?;
    if !metadata.is_file() {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidInput, "not a regular file");
        return Err(Error::Io { path: path.to_owned(), action: "open", source });
    }
    if metadata.len() == 0 {
        return Err(Error::Empty(path.to_owned()));
    }
    // SAFETY: the map is read-only and its bytes are only ever read as plain numbers, any of which is valid. As with
    // every memory map, a file that another process shortens meanwhile ends this one; outputs written here are renamed
    // into place and never shortened.
    unsafe { Mmap::map(&file) }.map_err(Error::io(path, "map"))
}

impl Vectors {
    /// Opens a two-dimensional `.npy` file.
    ///
    /// # Errors
    /// For a file that is not `.npy`, is truncated or longer than its header says, is not two-dimensional, has no rows
    /// or no columns, is in Fortran order, or has another type than little-endian f16, f32 or f64.
    pub fn open(path: impl AsRef<Path>) -> Result<Vectors> {
        let path = path.as_ref();
        let map = map(path)?;
        let problem = |problem: String| Error::Npy { path: path.to_owned(), problem };
        let header = Header::parse(&map).map_err(problem)?;
        let (rows, dim) = match header.shape[..] {
            [rows, dim] => (rows, dim),
            ref shape => {
                return Err(problem(format!("expected two dimensions [rows, dim], found shape {shape:?}")));
            }
        };
        if rows == 0 || dim == 0 {
            return Err(problem(format!(
                "the matrix has {rows} rows and {dim} columns; there is nothing in it"
            )));
        }
        if !matches!(header.dtype, Dtype::F16 | Dtype::F32 | Dtype::F64) {
            let found = header.dtype;
            return Err(problem(format!("holds {found}; vectors must be f16, f32 or f64 (little-endian)")));
        }
        let storage = Storage::Mapped { start: header.start, dtype: header.dtype, map };
        Ok(Vectors { path: path.to_owned(), rows, dim, storage })
    }

    /// Wraps vectors that are in memory already; `name` stands for the file in messages.
    ///
    /// # Errors
    /// If `values` does not hold `rows · dim` numbers, or either is 0.
    pub fn from_memory(
        name: impl Into<PathBuf>,
        rows: usize,
        dim: usize,
        values: Vec<f32>,
    ) -> Result<Vectors> {
        let path = name.into();
        if rows == 0 || dim == 0 || rows.checked_mul(dim) != Some(values.len()) {
            let problem = format!("{} numbers do not make {rows} rows of {dim}", values.len());
            return Err(Error::Npy { path, problem });
        }
        Ok(Vectors { path, rows, dim, storage: Storage::Memory(values) })
    }

    /// The file, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The number of vectors.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The numbers in each vector.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// All values without a copy, where they are f32 and aligned: `[rows · dim]`, row after row.
    pub fn as_slice(&self) -> Option<&[f32]> {
        match &self.storage {
            Storage::Memory(values) => Some(values),
            Storage::Mapped { map, start, dtype: Dtype::F32 } if cfg!(target_endian = "little") => {
                bytemuck::try_cast_slice(&map[*start..]).ok()
            }
            Storage::Mapped { .. } => None,
        }
    }

    /// Reads row `row` into `out`.
    ///
    /// # Panics
    /// If `row` is not below [`rows`](Self::rows) or `out` is not [`dim`](Self::dim) long.
    pub fn read_row(&self, row: usize, out: &mut [f32]) {
        assert!(row < self.rows, "row {row} of {}", self.rows);
        self.read_range(row, out, self.dim);
    }

    /// Row `row`.
    ///
    /// # Panics
    /// If `row` is not below [`rows`](Self::rows).
    pub fn row(&self, row: usize) -> Vec<f32> {
        let mut out = vec![0.0; self.dim];
        self.read_row(row, &mut out);
        out
    }

    /// Reads some rows, in the order given: `out` is `[rows.len(), dim]`.
    ///
    /// # Panics
    /// If a row is out of range or `out` has another length.
    pub fn read_rows(&self, rows: &[u32], out: &mut [f32]) {
        assert_eq!(out.len(), rows.len() * self.dim, "room for {} rows of {}", rows.len(), self.dim);
        for (&row, out) in rows.iter().zip(out.chunks_exact_mut(self.dim)) {
            self.read_row(row as usize, out);
        }
    }

    /// All values, row after row.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.rows * self.dim];
        self.read_range(0, &mut out, self.rows * self.dim);
        out
    }

    /// Checks that every number is finite.
    ///
    /// # Errors
    /// [`Error::NotFinite`] with the first row and column, counted from 0, that is not. An f64 too large for f32
    /// counts as infinite.
    pub fn check_finite(&self) -> Result<()> {
        let mut row = vec![0.0; self.dim];
        for number in 0..self.rows {
            self.read_row(number, &mut row);
            if let Some(column) = row.iter().position(|value| !value.is_finite()) {
                let path = self.path.clone();
                return Err(Error::NotFinite { path, row: number, column, value: row[column] });
            }
        }
        Ok(())
    }

    /// Copies `count` numbers from the start of `row` on.
    fn read_range(&self, row: usize, out: &mut [f32], count: usize) {
        assert_eq!(out.len(), count, "room for {count} numbers");
        let first = row * self.dim;
        match &self.storage {
            Storage::Memory(values) => out.copy_from_slice(&values[first..first + count]),
            Storage::Mapped { map, start, dtype } => {
                let size = dtype.bytes();
                let bytes = &map[start + first * size..start + (first + count) * size];
                // One conversion for each type; the header was checked against the length of the file.
                match dtype {
                    Dtype::F16 => convert(bytes, out, |b: [u8; 2]| f16::from_le_bytes(b).to_f32()),
                    Dtype::F64 => convert(bytes, out, |b: [u8; 8]| f64::from_le_bytes(b) as f32),
                    _ => convert(bytes, out, f32::from_le_bytes),
                }
            }
        }
    }
}

fn convert<T, const N: usize>(bytes: &[u8], out: &mut [T], of: impl Fn([u8; N]) -> T) {
    for (bytes, out) in bytes.as_chunks::<N>().0.iter().zip(out) {
        *out = of(*bytes);
    }
}

/// The integers of a one-dimensional `.npy` file, such as labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NpyIntegers {
    /// The values, in file order.
    pub values: Vec<i64>,
}

impl NpyIntegers {
    /// Reads a one-dimensional file of little-endian integers of 8 to 64 bits, signed or not, or of truth values.
    ///
    /// # Errors
    /// For a file that is not `.npy`, is truncated, is empty, has more than one dimension (a second dimension of 1 is
    /// allowed), or holds something else than integers; or for an unsigned value above 2⁶³ − 1.
    pub fn open(path: impl AsRef<Path>) -> Result<NpyIntegers> {
        let path = path.as_ref();
        let map = map(path)?;
        let problem = |problem: String| Error::Npy { path: path.to_owned(), problem };
        let header = Header::parse(&map).map_err(problem)?;
        let count = match header.shape[..] {
            [count] | [count, 1] => count,
            ref shape => return Err(problem(format!("expected one dimension, found shape {shape:?}"))),
        };
        if count == 0 {
            return Err(Error::Empty(path.to_owned()));
        }
        let bytes = &map[header.start..];
        let mut values = vec![0i64; count];
        match header.dtype {
            Dtype::I8 => convert(bytes, &mut values, |b: [u8; 1]| i64::from(b[0] as i8)),
            Dtype::U8 | Dtype::Bool => convert(bytes, &mut values, |b: [u8; 1]| i64::from(b[0])),
            Dtype::I16 => convert(bytes, &mut values, |b| i64::from(i16::from_le_bytes(b))),
            Dtype::U16 => convert(bytes, &mut values, |b| i64::from(u16::from_le_bytes(b))),
            Dtype::I32 => convert(bytes, &mut values, |b| i64::from(i32::from_le_bytes(b))),
            Dtype::U32 => convert(bytes, &mut values, |b| i64::from(u32::from_le_bytes(b))),
            Dtype::I64 => convert(bytes, &mut values, i64::from_le_bytes),
            Dtype::U64 => {
                convert(bytes, &mut values, i64::from_le_bytes);
                if let Some(row) = values.iter().position(|value| *value < 0) {
                    return Err(problem(format!("row {row} (counted from 0) is above 2^63 - 1")));
                }
            }
            found => return Err(problem(format!("holds {found}; labels must be integers"))),
        }
        Ok(NpyIntegers { values })
    }
}

#[cfg(test)]
mod tests;
