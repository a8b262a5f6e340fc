use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use safetensors::tensor::Dtype;

use crate::folder::weights::{Tensor as Stored, Weights};
use crate::layer::Embedding;
use crate::pooling::{Mode, Pooling};
use crate::{Error, Result, ops};

/// A token table and nothing else: a text's vector is the mean of the rows of its tokens, `x = 1/L Σ E[tₗ]`; a text
/// without tokens is the zero vector.
///
/// sentence-transformers' `StaticEmbedding`. Special tokens are not added and texts are not cut. model2vec's layout
/// (`embeddings`, with an optional row `mapping` and row `weights`) is read too, folded into one row a token.
#[derive(Module, Debug)]
pub struct StaticEmbedding {
    /// `[V, D]`.
    pub embedding: Embedding,
}

impl StaticEmbedding {
    /// A table from its values, row-major `[V, D]`.
    ///
    /// # Errors
    /// Values that are not whole rows, or no rows.
    pub fn new(values: Vec<f32>, dim: usize, device: &Device) -> Result<Self> {
        if dim == 0 || values.is_empty() || !values.len().is_multiple_of(dim) {
            return Err(Error::Setting(format!("{} values are not a table of width {dim}", values.len())));
        }
        let rows = values.len() / dim;
        let embedding = Embedding::zeros(rows, dim, device);
        let mut values = Some(values);
        let table = crate::parameters::write(StaticEmbedding { embedding }, |_, _| values.take());
        Ok(table)
    }

    /// `V` and `D`.
    pub fn dims(&self) -> [usize; 2] {
        self.embedding.weight.dims()
    }

    /// Token ids of each text to their means `[B, D]`.
    pub fn forward(&self, texts: &[&[u32]]) -> Tensor<2> {
        let device = self.embedding.weight.lazy_device();
        let layout = ops::layout(&texts.iter().map(|ids| ids.len().max(1)).collect::<Vec<_>>(), &device);
        let mut ids = Vec::with_capacity(layout.tokens());
        for (row, at) in layout.places() {
            ids.push(texts[row].get(at).copied().unwrap_or(0));
        }
        let mean =
            Pooling::new(Mode::Mean).forward(self.embedding.forward(ids), &layout, &vec![0; texts.len()]);
        if texts.iter().all(|ids| !ids.is_empty()) {
            return mean;
        }
        let present: Vec<f32> = texts.iter().map(|ids| if ids.is_empty() { 0.0 } else { 1.0 }).collect();
        mean * Tensor::<2>::from_data(TensorData::new(present, [texts.len(), 1]), &device)
    }

    /// Reads the table of a module folder.
    pub(crate) fn read(folder: &Path, device: &Device) -> Result<Self> {
        let weights = Weights::open(folder)?;
        let path = weights.path();
        let mut tensors = weights.read_raw(|_| true);
        let mut take = |name: &str| {
            let at = tensors.iter().position(|tensor| tensor.name == name)?;
            Some(tensors.swap_remove(at))
        };
        let table = take("embedding.weight").or_else(|| take("embeddings")).ok_or_else(|| {
            Error::MissingTensor { path: path.to_owned(), tensor: "embedding.weight".into() }
        })?;
        let [rows, dim] = table.shape[..] else {
            return Err(Error::format(path, format!("tensor \"{}\" is not a table", table.name)));
        };
        if rows == 0 || dim == 0 {
            return Err(Error::format(path, format!("tensor \"{}\" is empty", table.name)));
        }
        let mut values = numbers(path, &table)?;
        if let Some(mapping) = take("mapping") {
            let mut mapped = Vec::with_capacity(mapping.shape.iter().product::<usize>().saturating_mul(dim));
            for (token, row) in numbers(path, &mapping)?.into_iter().enumerate() {
                let row = row as usize;
                if row >= rows {
                    return Err(Error::format(
                        path,
                        format!("tensor \"mapping\": token {token} has row {row} of {rows}"),
                    ));
                }
                mapped.extend_from_slice(&values[row * dim..(row + 1) * dim]);
            }
            values = mapped;
        }
        if let Some(scale) = take("weights") {
            let scale = numbers(path, &scale)?;
            if scale.len() * dim != values.len() {
                return Err(Error::Shape {
                    path: path.to_owned(),
                    tensor: "weights".into(),
                    found: vec![scale.len()],
                    expected: vec![values.len() / dim],
                });
            }
            values.chunks_exact_mut(dim).zip(scale).for_each(|(row, s)| row.iter_mut().for_each(|v| *v *= s));
        }
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(Error::format(path, format!("the row of token {} holds {}", at / dim, values[at])));
        }
        Self::new(values, dim, device)
    }

    /// The tensors to be stored: `embedding.weight`, or, of a table that [`round_to_int8`] made, int8 `embeddings` with
    /// their row `weights`, which lose nothing.
    pub(crate) fn tensors(&self) -> Vec<Stored> {
        let [rows, dim] = self.dims();
        let mut tensors = Vec::new();
        crate::parameters::read(self, |_, shape, values| {
            let Some(packed) = exact_int8(values, dim) else {
                tensors.push(Stored::f32("embedding.weight", shape, values));
                return;
            };
            let (bytes, scales) = packed;
            tensors.push(Stored {
                name: "embeddings".into(),
                dtype: Dtype::I8,
                shape: shape.to_vec(),
                bytes,
            });
            tensors.push(Stored::f32("weights", &[rows], &scales));
        });
        tensors
    }
}

/// The values of a float or integer tensor as f32.
fn numbers(path: &Path, tensor: &Stored) -> Result<Vec<f32>> {
    let bytes = &tensor.bytes;
    Ok(match tensor.dtype {
        Dtype::I8 => bytes.iter().map(|&b| f32::from(b as i8)).collect(),
        Dtype::I32 => {
            bytes.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]) as f32).collect()
        }
        Dtype::I64 => bytes
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]) as f32)
            .collect(),
        _ => tensor.floats().ok_or_else(|| {
            Error::format(path, format!("tensor \"{}\" has the type {:?}", tensor.name, tensor.dtype))
        })?,
    })
}

/// The scale of a row in int8: its largest size / 127, rounded up to 16 significant bits. With so few bits every multiple
/// up to 127 of it is exact in f32, so that a rounded row gives the same scale again.
fn scale(row: &[f32]) -> f32 {
    let largest = row.iter().fold(0f32, |m, v| m.max(v.abs()));
    let bits = (largest / 127.0).to_bits();
    f32::from_bits((bits + 0xff) & !0xff)
}

/// Rounds every row of a table `[V, dim]` to the nearest of 255 multiples of its own scale, such that it is stored as int8
/// without any further loss.
pub fn round_to_int8(values: &mut [f32], dim: usize) {
    for row in values.chunks_exact_mut(dim) {
        let s = scale(row);
        if s > 0.0 {
            row.iter_mut().for_each(|v| *v = (*v / s).round().clamp(-127.0, 127.0) * s);
        }
    }
}

/// The bytes and row scales of a table that [`round_to_int8`] made; `None` for any other table.
fn exact_int8(values: &[f32], dim: usize) -> Option<(Vec<u8>, Vec<f32>)> {
    let mut bytes = Vec::with_capacity(values.len());
    let mut scales = Vec::with_capacity(values.len() / dim);
    for row in values.chunks_exact(dim) {
        let s = scale(row);
        scales.push(s);
        for &value in row {
            let q = if s > 0.0 { (value / s).round() } else { 0.0 };
            if q.abs() > 127.0 || q * s != value {
                return None;
            }
            bytes.push(q as i8 as u8);
        }
    }
    Some((bytes, scales))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_the_mean_of_its_rows() {
        let table = StaticEmbedding::new(vec![1.0, 0.0, 0.0, 4.0, 2.0, 2.0], 2, &crate::cpu()).unwrap();
        let x = table.forward(&[&[0, 1], &[], &[2, 2, 2]]).into_data();
        assert_eq!(x.as_slice::<f32>().unwrap(), [0.5, 2.0, 0.0, 0.0, 2.0, 2.0]);
    }

    #[test]
    fn rounding_to_int8_is_stored_without_loss() {
        let values: Vec<f32> =
            (0..40 * 16).map(|i| ((i * i) as f32 * 0.37).sin() * (1.0 + i as f32)).collect();
        assert!(exact_int8(&values, 16).is_none());
        let mut rounded = values.clone();
        round_to_int8(&mut rounded, 16);
        let (bytes, scales) = exact_int8(&rounded, 16).unwrap();
        for (row, (&byte, &want)) in bytes.iter().zip(&rounded).enumerate() {
            assert_eq!(f32::from(byte as i8) * scales[row / 16], want);
        }
        for (row, (rounded, values)) in rounded.chunks(16).zip(values.chunks(16)).enumerate() {
            for (a, b) in rounded.iter().zip(values) {
                assert!((a - b).abs() <= 0.5001 * scales[row], "{a} {b}");
            }
        }
        let mut again = rounded.clone();
        round_to_int8(&mut again, 16);
        assert_eq!(again, rounded);
    }
}
