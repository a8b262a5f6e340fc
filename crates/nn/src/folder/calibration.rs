//! How large the inputs of an encoder's linear layers are: what products of 8-bit integers are prepared with.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use safetensors::SafeTensors;

use super::weights::{Tensor, write};
use crate::encoder::Transformer;
use crate::layer::Linear;
use crate::{Error, Result, parameters};

/// The file of a model folder; other readers of the folder leave it alone.
pub const CALIBRATION: &str = "parallax_int8.safetensors";

/// The largest size of every input channel of every linear layer, by the layer's path in the encoder.
///
/// Layers that read the same input (query, key and value) stand there once, under the first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    largest: BTreeMap<String, Vec<f32>>,
}

impl Calibration {
    /// What the layers of an encoder have noted; see [`Pass::observing`](crate::Pass::observing).
    pub(crate) fn of(encoder: &mut Transformer) -> Self {
        let mut largest = BTreeMap::new();
        each_input(encoder, |path, layers| {
            largest.insert(path, layers[0].channels().largest());
        });
        Calibration { largest }
    }

    /// Sets the factors of every linear layer: `sⱼ = √(max |xⱼ| / max |wⱼ|)` for input channel j, so that inputs `x / s` and
    /// weights `w · s` have the same range (Xiao et al. 2023, arXiv 2211.10438, equation 4 with α = ½). A channel that is
    /// always 0 keeps 1.
    ///
    /// # Errors
    /// A layer that is missing, or of another width.
    pub(crate) fn apply(&self, encoder: &mut Transformer) -> Result<()> {
        let mut result = Ok(());
        each_input(encoder, |path, layers| {
            let width = layers[0].dims().0;
            let Some(largest) = self.largest.get(&path).filter(|largest| largest.len() == width) else {
                result = Err(Error::Setting(format!(
                    "the calibration does not fit the encoder: layer \"{path}\" reads {width} numbers"
                )));
                return;
            };
            let mut weights = vec![0f32; width];
            for layer in &layers {
                parameters::read(&**layer, |path, _, values| {
                    if path == "weight" {
                        for row in values.chunks_exact(width) {
                            weights.iter_mut().zip(row).for_each(|(most, w)| *most = most.max(w.abs()));
                        }
                    }
                });
            }
            let factor = |(&x, w): (&f32, f32)| {
                let factor = (x / w).sqrt();
                if factor.is_finite() && factor > 0.0 { factor.clamp(1e-4, 1e4) } else { 1.0 }
            };
            let smooth = Arc::new(largest.iter().zip(weights).map(factor).collect::<Vec<f32>>());
            for layer in layers {
                layer.channels_mut().smooth = Some(Arc::clone(&smooth));
            }
        });
        result
    }

    /// Writes [`CALIBRATION`] into a folder.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let tensors: Vec<Tensor> =
            self.largest.iter().map(|(path, values)| Tensor::f32(path, &[values.len()], values)).collect();
        write(&folder.join(CALIBRATION), &tensors)
    }

    /// Reads [`CALIBRATION`] of a folder; `None` where there is none.
    ///
    /// # Errors
    /// A file that cannot be read or is damaged, or sizes that are not finite.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(CALIBRATION);
        if !path.exists() {
            return Ok(None);
        }
        let bytes = fs::read(&path).map_err(Error::io(&path))?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|e| Error::format(&path, format!("not a complete safetensors file: {e}")))?;
        let mut largest = BTreeMap::new();
        for (name, view) in file.iter() {
            let (dtype, shape, bytes) = (view.dtype(), view.shape().to_vec(), view.data().to_vec());
            let tensor = Tensor { name: name.to_owned(), dtype, shape, bytes };
            let values = tensor.floats().unwrap_or_default();
            if values.is_empty() || values.iter().any(|v| !(v.is_finite() && *v >= 0.0)) {
                return Err(Error::format(&path, format!("tensor \"{name}\" does not hold sizes")));
            }
            largest.insert(tensor.name, values);
        }
        Ok(Some(Calibration { largest }))
    }
}

/// Calls `each` with the path and the layers of every input that linear layers of the encoder read.
fn each_input(encoder: &mut Transformer, mut each: impl FnMut(String, Vec<&mut Linear>)) {
    for (at, block) in encoder.layers.iter_mut().enumerate() {
        let attention = &mut block.attention;
        let projections = vec![&mut attention.query, &mut attention.key, &mut attention.value];
        each(format!("layers.{at}.attention.query"), projections);
        each(format!("layers.{at}.attention.output"), vec![&mut attention.output]);
        each(format!("layers.{at}.intermediate"), vec![&mut block.intermediate]);
        each(format!("layers.{at}.output"), vec![&mut block.output]);
    }
}
