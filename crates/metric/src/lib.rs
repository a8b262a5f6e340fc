//! Distances, pair losses, miners and reducers: one row engine.
//!
//! A pair loss is the weight it puts on each pair. Here a loss is stated as one anchor's row ([`RowLoss`]): it sees the
//! anchor's similarities to its positives and negatives and answers with its value and its derivative. Tiles, threads,
//! relations, mining, distances, reducers, reference sets and the gradients of raw embeddings are written once, in the
//! engine behind [`Objective::evaluate`].
//!
//! Beside row losses there are losses with learnable [`proxy`] vectors of classes (row losses whose references are the
//! proxies), losses on a batch as a whole ([`dense`]), losses on pairs with scores ([`scored`]), and losses on the
//! logits of a classifier ([`logit`]). [`LossConfig`] names them
//! all; [`Objective::wants`] says what has to be handed in for each, in a [`Context`]. A [`regularizer`] and [`Matryoshka`]
//! prefixes go with any of them, and [`mixup`] with those on pairs and proxies.
//!
//! Beside the engine stand a memory of earlier batches ([`Memory`]), gradients in chunks ([`grad_cache`]), the weight of a
//! pair ([`pair_weights`]) and late interaction ([`maxsim`]).
//!
//! Slices in, slices out, for `f32` and `f64`. Memory is `O(tile + B·D + R·D)`, never `O(B²)`; see [`memory_bytes`].
//! Results are the same bytes for any number of threads.

mod batch;
mod context;
pub mod dense;
mod distance;
mod engine;
mod error;
mod frame;
mod grad_cache;
pub mod logit;
pub mod loss;
mod matryoshka;
mod maxsim;
mod memory;
pub mod miner;
pub mod mixup;
mod number;
mod objective;
mod parts;
pub mod proxy;
mod reducer;
pub mod regularizer;
mod relation;
mod row;
pub mod scored;
mod tiling;
mod triplets;
mod weights;

pub use batch::{Batch, Layout, Refs};
pub use context::{Context, Layer, Mixed, Teacher};
pub use distance::{Cosine, DistanceConfig, Dot, Hamming, Lp, Snr, SquaredEuclidean};
pub use error::Error;
pub use grad_cache::{ChunkedBatch, grad_cache, grad_cache_by};
pub use loss::{LossConfig, Opinion, Wants};
pub use matryoshka::Matryoshka;
pub use maxsim::{TokenSets, maxsim, maxsim_backward};
pub use memory::{CrossBatchMemory, Memory};
pub use miner::MinerConfig;
pub use mixup::MixupConfig;
pub use number::Number;
pub use objective::{
    ChannelStats, Evaluated, MinedPairs, MinedTriplets, Objective, ObjectiveStats, OnMixtures, evaluate_loss,
    evaluate_loss_with, loss_memory_bytes,
};
pub use parallax_kernels::Real;
pub use parts::Parts;
pub use reducer::{
    AvgNonZero, ClassWeighted, Divisor, Mean, PerAnchor, Range, ReducerConfig, Sum, Threshold,
};
pub use regularizer::RegularizerConfig;
pub use relation::{Own, Screen};
pub use row::{Directions, Elements, MAX_CHANNELS, Mate, Pairs, Row, RowLoss, SPREAD, Slopes, Stat};
pub use tiling::{Shape, TILE_BYTES, Tiling, memory_bytes};
pub use triplets::Triplets;
pub use weights::{PairWeight, pair_weights};
