//! Embedding a stream: lines of standard input become lines of JSON, a block at a time, so that memory does not grow.
//!
//! ```sh
//! printf 'one text\nanother\n' | cargo run --release -p parallax --example embed_stream
//! ```

use std::io::{self, BufRead, Write};

use parallax::Model;

/// Lines embedded at once: more are faster, fewer come sooner.
const BLOCK: usize = 256;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "starter".to_owned());
    let model = Model::load(name)?;
    let mut lines = io::stdin().lock().lines();
    let mut out = io::BufWriter::new(io::stdout().lock());
    loop {
        let block: Vec<String> = lines.by_ref().take(BLOCK).collect::<Result<_, _>>()?;
        if block.is_empty() {
            return Ok(out.flush()?);
        }
        let vectors = model.encode(&block)?;
        for (row, text) in block.iter().enumerate() {
            let line = serde_json::json!({ "text": text, "embedding": vectors.row(row) });
            writeln!(out, "{line}")?;
        }
        out.flush()?;
    }
}
