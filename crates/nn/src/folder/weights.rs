//! Tensors by name in safetensors files.

use std::collections::BTreeMap;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{DType, TensorData};
use memmap2::{Mmap, MmapOptions};
use rayon::prelude::*;
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::json::read_json;
use super::mapped;
use crate::{Error, Result};

/// One or more mapped safetensors files.
pub struct Weights {
    files: Vec<(PathBuf, Arc<Mmap>)>,
}

impl Weights {
    /// Opens `model.safetensors` of a folder, or the shards that `model.safetensors.index.json` lists.
    ///
    /// # Errors
    /// No such file, a truncated or damaged file, each by path.
    pub fn open(folder: &Path) -> Result<Self> {
        let single = folder.join("model.safetensors");
        if single.exists() {
            return Self::open_files(vec![single]);
        }
        let index = folder.join("model.safetensors.index.json");
        if index.exists() {
            let json = read_json(&index)?;
            let map = json["weight_map"]
                .as_object()
                .ok_or_else(|| Error::format(&index, "field \"weight_map\" is missing"))?;
            let mut names: Vec<&str> = map.values().filter_map(|name| name.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            if names.iter().any(|name| Path::new(name).components().count() != 1 || name.starts_with("..")) {
                return Err(Error::format(&index, "a shard's path leaves the folder"));
            }
            return Self::open_files(names.into_iter().map(|name| folder.join(name)).collect());
        }
        let torch = folder.join("pytorch_model.bin");
        Err(if torch.exists() {
            Error::format(&torch, "only safetensors weights are read; save the model again with safetensors")
        } else {
            Error::format(&single, "no such file")
        })
    }

    /// Opens the given files.
    pub fn open_files(paths: Vec<PathBuf>) -> Result<Self> {
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            let file = File::open(&path).map_err(Error::io(&path))?;
            // All pages at once, because each that is missing when it is first read would cost more.
            // SAFETY: the map is only read. A file that another process truncates while it is mapped would fault; model
            // files are replaced by renaming, never rewritten in place.
            let map = unsafe { MmapOptions::new().populate().map(&file) }.map_err(Error::io(&path))?;
            SafeTensors::deserialize(&map)
                .map_err(|e| Error::format(&path, format!("not a complete safetensors file: {e}")))?;
            files.push((path, Arc::new(map)));
        }
        Ok(Weights { files })
    }

    /// Every tensor's name, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        self.each(|_, name, _| names.push(name.to_owned()));
        names.sort_unstable();
        names
    }

    fn each(&self, mut f: impl FnMut(&Path, &str, TensorView<'_>)) {
        for (path, map) in &self.files {
            if let Ok(file) = SafeTensors::deserialize(map) {
                for (name, view) in file.iter() {
                    f(path, name, view);
                }
            }
        }
    }

    /// The floating-point tensors with their shapes, as f32: numbers that are f32 in the file stay there, others are
    /// converted.
    pub(crate) fn floats(&self) -> BTreeMap<String, Floats> {
        let mut all = BTreeMap::new();
        for (_, map) in &self.files {
            let Ok(file) = SafeTensors::deserialize(map) else { continue };
            for (name, view) in file.iter() {
                if !matches!(view.dtype(), Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64) {
                    continue;
                }
                let start = view.data().as_ptr().addr() - map.as_ptr().addr();
                let place = start..start + view.data().len();
                let (shape, dtype) = (view.shape().to_vec(), view.dtype());
                all.insert(name.to_owned(), Floats { map: map.clone(), place, dtype, shape });
            }
        }
        all
    }

    /// The floating-point tensors as f32 with their shapes, in memory.
    pub fn read_floats(&self) -> BTreeMap<String, Stored> {
        let read = |(name, floats): (String, Floats)| {
            let values = to_f32(floats.dtype, floats.bytes()).unwrap_or_default();
            (name, Stored { shape: floats.shape, values })
        };
        self.floats().into_iter().map(read).collect()
    }

    /// The tensors whose names `wanted` accepts, as they stand in the files.
    pub fn read_raw(&self, wanted: impl Fn(&str) -> bool) -> Vec<Tensor> {
        let mut all = Vec::new();
        self.each(|_, name, view| {
            if wanted(name) {
                all.push(Tensor {
                    name: name.to_owned(),
                    dtype: view.dtype(),
                    shape: view.shape().to_vec(),
                    bytes: view.data().to_vec(),
                });
            }
        });
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// The first file, for messages.
    pub fn path(&self) -> &Path {
        self.files.first().map_or(Path::new(""), |(path, _)| path)
    }
}

/// A tensor's shape and values.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Shape.
    pub shape: Vec<usize>,
    /// Values, row-major.
    pub values: Vec<f32>,
}

/// A floating-point tensor where it stands in a file.
pub(crate) struct Floats {
    map: Arc<Mmap>,
    place: Range<usize>,
    dtype: Dtype,
    /// Shape.
    pub(crate) shape: Vec<usize>,
}

/// Numbers that are looked at as one piece of work.
const BLOCK: usize = 1 << 16;

impl Floats {
    fn bytes(&self) -> &[u8] {
        &self.map[self.place.clone()]
    }

    /// Its values as f32, row-major.
    pub(crate) fn data(&self) -> TensorData {
        if self.dtype == Dtype::F32
            && let Some(bytes) = mapped::floats(&self.map, self.place.clone())
        {
            return TensorData::from_bytes(bytes, self.shape.clone(), DType::F32);
        }
        let values = to_f32(self.dtype, self.bytes()).unwrap_or_default();
        TensorData::new(values, self.shape.clone())
    }

    /// The first value that is no finite f32, and its place. Runs on the current rayon pool.
    pub(crate) fn not_finite(&self) -> Option<(usize, f32)> {
        let bytes = self.bytes();
        let size = self.dtype.bitsize() / 8;
        let found = |(block, bytes): (usize, &[u8])| {
            if self.dtype == Dtype::F32 && finite(bytes) {
                return None;
            }
            let values = to_f32(self.dtype, bytes)?;
            let at = values.iter().position(|value| !value.is_finite())?;
            Some((block * BLOCK + at, values[at]))
        };
        bytes.par_chunks(BLOCK * size).enumerate().filter_map(found).find_first(|_| true)
    }
}

/// Whether all little-endian f32 numbers are finite: whether no exponent is all ones.
fn finite(bytes: &[u8]) -> bool {
    const EXPONENT: u32 = 0x7f80_0000;
    let bits = bytes.chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    !bits.fold(false, |found, bits| found | (bits & EXPONENT == EXPONENT))
}

fn to_f32(dtype: Dtype, data: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        Dtype::F16 => data.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        Dtype::BF16 => {
            data.chunks_exact(2).map(|b| half::bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect()
        }
        Dtype::F64 => data
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32)
            .collect(),
        _ => return None,
    })
}

/// A tensor as it stands in a file.
pub struct Tensor {
    /// Name in the file.
    pub name: String,
    /// Element type.
    pub dtype: Dtype,
    /// Shape.
    pub shape: Vec<usize>,
    /// Little-endian bytes.
    pub bytes: Vec<u8>,
}

impl Tensor {
    /// The values of a floating-point tensor.
    pub fn floats(&self) -> Option<Vec<f32>> {
        to_f32(self.dtype, &self.bytes)
    }

    /// An f32 tensor.
    pub fn f32(name: impl Into<String>, shape: &[usize], values: &[f32]) -> Self {
        Tensor {
            name: name.into(),
            dtype: Dtype::F32,
            shape: shape.to_vec(),
            bytes: values.iter().flat_map(|v| v.to_le_bytes()).collect(),
        }
    }
}

/// Writes a safetensors file with `format: pt` as its only metadata. The bytes depend on the tensors alone.
pub fn write(path: &Path, tensors: &[Tensor]) -> Result<()> {
    let views = tensors
        .iter()
        .map(|t| {
            TensorView::new(t.dtype, t.shape.clone(), &t.bytes)
                .map(|view| (t.name.as_str(), view))
                .map_err(|e| Error::format(path, format!("tensor \"{}\": {e}", t.name)))
        })
        .collect::<Result<Vec<_>>>()?;
    let metadata = Some([("format".to_owned(), "pt".to_owned())].into());
    safetensors::serialize_to_file(views, metadata, path).map_err(|e| match e {
        safetensors::SafeTensorError::IoError(source) => Error::io(path)(source),
        other => Error::format(path, other.to_string()),
    })
}
