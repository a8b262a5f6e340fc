//! Layers, encoders, heads and checkpoint folders.
//!
//! Models are built only from the layers of [`layer`], and those call only the functions of [`ops`]: that module is the
//! one seam where a fused kernel can replace plain tensor code without any model noticing.
//!
//! A batch of texts is one flat sequence of tokens `[N, D]` with a [`Layout`] beside it. Linear layers, norms
//! and activations see the flat sequence; only attention looks at the groups of similar length inside it, so short
//! texts do not pay for the padding of long ones.

pub mod encoder;
mod error;
pub mod folder;
pub mod head;
pub mod layer;
mod layout;
pub mod ops;
pub mod parameters;
mod pass;
pub mod pooling;
mod precision;
mod sentence;

pub use error::{Error, Result};
pub use layout::{Group, Layout};
pub use pass::{Pass, Role};
pub use precision::{Precision, instruction_set};
pub use sentence::{Input, LoadOptions, Network, SentenceEncoder, TextTower};

pub use burn::tensor::{Device, Tensor};

/// The CPU device without gradient tracking.
pub fn cpu() -> Device {
    Device::flex()
}
