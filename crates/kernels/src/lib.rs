//! Slices in, slices out: matrix products, similarity tiles and elementwise functions.
//!
//! Nothing here knows about burn or files. Every function runs on the calling thread or on the rayon pool that the
//! caller has installed, and gives the same bytes for any number of threads: work is split over outputs only.

pub mod activation;
pub mod adamw;
pub mod attention;
pub mod convolution;
pub mod embedding;
pub mod exact;
pub mod gemm;
pub mod isa;
mod lanes;
pub mod linear;
pub mod norm;
#[cfg(test)]
mod oracle;
pub mod panel;
pub mod pool;
mod real;
pub mod scan;
mod share;
pub mod softmax;
pub mod tile;
pub mod vector;

pub use real::Real;
