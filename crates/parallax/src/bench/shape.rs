use std::hint::black_box;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parallax_nn::encoder::Encoder;
use parallax_nn::{Input, TextTower};
use serde::Serialize;

use super::Spread;
use crate::{Error, Model, Result};

/// Lengths of texts in tokens, special tokens included.
const LENGTHS: [usize; 6] = [16, 32, 64, 128, 256, 512];
/// Texts in a batch.
const BATCHES: [usize; 4] = [1, 4, 16, 64];
/// No more tokens than this in a batch.
const MOST: usize = 1 << 15;

/// The speed of batches of texts that are all equally long.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Shape {
    /// Tokens of each text, special tokens included.
    pub length: usize,
    /// Texts in the batch.
    pub batch: usize,
    /// Tokens computed in a second; tokenising is left out.
    pub tokens_per_second: Spread,
}

/// The longest text that the model's weights can take: as many tokens as it has positions, which may be more than the
/// length after which its folder has texts cut.
fn longest(model: &Model, tower: &TextTower) -> usize {
    match &model.encoder().network().encoder {
        Some(Encoder::Transformer(encoder)) => encoder.config().max_tokens().max(tower.max_tokens),
        _ => tower.max_tokens,
    }
}

/// Every length that the model's weights take with every batch size. The tokens are those of `inputs`, one text after
/// another.
pub(super) fn shapes(
    model: &Model,
    inputs: &[Input],
    batch_tokens: usize,
    runs: usize,
    stop: &AtomicBool,
    tell: &mut dyn FnMut(&str),
) -> Result<Vec<Shape>> {
    let Some(tower) = model.encoder().text() else { return Ok(Vec::new()) };
    let mut framed: Vec<u32> = Vec::new();
    for input in inputs {
        let Input::Tokens { ids, .. } = input else { continue };
        framed.extend(ids);
    }
    if framed.is_empty() {
        return Ok(Vec::new());
    }
    let mut ids = framed.iter().copied().cycle();
    let mut shapes = Vec::new();
    let longest = longest(model, tower);
    for length in LENGTHS.into_iter().filter(|&length| length <= longest) {
        for batch in BATCHES.into_iter().filter(|batch| batch * length <= MOST) {
            let texts: Vec<Input> = (0..batch)
                .map(|_| Input::Tokens { ids: ids.by_ref().take(length).collect(), prompt_tokens: 0 })
                .collect();
            let tokens = (batch * length) as f64;
            let mut rates = Vec::with_capacity(runs);
            // The first computation warms up.
            for run in 0..=runs {
                if stop.load(Ordering::Relaxed) {
                    return Err(Error::Interrupted);
                }
                let begun = Instant::now();
                black_box(model.embed(&texts, batch_tokens)?);
                if run > 0 {
                    rates.push(tokens / begun.elapsed().as_secs_f64());
                }
            }
            shapes.push(Shape { length, batch, tokens_per_second: Spread::of(rates) });
        }
        tell(&format!("texts of {length} tokens"));
    }
    Ok(shapes)
}
