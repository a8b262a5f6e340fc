use std::hint::black_box;
use std::time::{Duration, Instant};

use parallax_kernels::linear::{Epilogue, Packed, Precision};
use parallax_nn::encoder::{Config, Encoder};
use serde::Serialize;

use crate::Model;

/// How fast the linear products of this program would let the encoder be, if everything else took no time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limit {
    /// Multiplications and additions for a token, at the mean length of the texts: see [`operations`].
    pub operations_per_token: f64,
    /// Operations a second of the fastest product `[1024, 1024] x [1024, 1024]` on the current pool.
    pub operations_per_second: f64,
    /// The second divided by the first.
    pub tokens_per_second: f64,
    /// The part of it that the batch job reaches.
    pub reached: Option<f64>,
}

/// Side of the matrices whose product is measured.
const SIDE: usize = 1024;
/// How long it is measured.
const MEASURED: Duration = Duration::from_millis(400);

impl Limit {
    /// For texts whose tokens have `length` tokens around them on average; `None` for a model without a transformer.
    pub(super) fn of(model: &Model, precision: Precision, length: f64) -> Option<Limit> {
        let Some(Encoder::Transformer(encoder)) = &model.encoder().network().encoder else { return None };
        let operations_per_token = operations(encoder.config(), length);
        let operations_per_second = product_rate(precision);
        let tokens_per_second = operations_per_second / operations_per_token;
        Some(Limit { operations_per_token, operations_per_second, tokens_per_second, reached: None })
    }
}

/// Operations for a token: `layers · (8 D² + 4 D I + 4 D L)`, for the four projections of attention, the two layers of the
/// feed-forward part, and scores and mixing of attention over a text of `L` tokens, each multiplication and each addition
/// counted. Norms, activations, softmax, pooling and a head are left out.
pub fn operations(config: &Config, length: f64) -> f64 {
    let (d, i) = (config.width as f64, config.intermediate as f64);
    config.layers as f64 * (8.0 * d * d + 4.0 * d * i + 4.0 * d * length)
}

fn product_rate(precision: Precision) -> f64 {
    // Small numbers of both signs, so that nothing overflows or becomes slow.
    let values: Vec<f32> = (0..SIDE * SIDE).map(|i| ((i * 37) % 101) as f32 / 50.0 - 1.0).collect();
    let weights = Packed::transposed(&values, SIDE, SIDE, precision);
    let mut out = vec![0.0; SIDE * SIDE];
    let (begun, mut fastest) = (Instant::now(), f64::INFINITY);
    let mut runs = 0;
    while runs < 3 || begun.elapsed() < MEASURED {
        let once = Instant::now();
        weights.product(black_box(&values), SIDE, Epilogue::default(), &mut out);
        black_box(&out);
        fastest = fastest.min(once.elapsed().as_secs_f64());
        runs += 1;
    }
    2.0 * (SIDE * SIDE * SIDE) as f64 / fastest
}
