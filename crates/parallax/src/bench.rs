//! How fast a model is on this machine: what `parallax bench` measures.

mod limit;
mod shape;
mod spread;
mod start;

use std::fmt;
use std::hint::black_box;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parallax_data::{TableOptions, TextStream};
use parallax_kernels::linear;
use parallax_train::peak_memory;
use serde::Serialize;

use crate::embed::pipeline::{self, GO_ON, WINDOW_ROWS};
use crate::model::BATCH_TOKENS;
use crate::quickstart::SAMPLE;
use crate::{Error, Model, Precision, Result, doctor, embed};
pub use limit::{Limit, operations};
pub use shape::Shape;
pub use spread::Spread;
use spread::{digits, quantile};
pub use start::Program;

/// Texts that are embedded one by one.
const ONE_BY_ONE: usize = 200;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All texts, tokenising included, through the same stages as a file.
    Batch,
    /// One text after another, each alone.
    One,
    /// From the start of a process to the first vector.
    Start,
    /// Batches of equally long texts.
    Shapes,
}

impl Part {
    /// All of them.
    pub const ALL: [Part; 4] = [Part::Batch, Part::One, Part::Start, Part::Shapes];
}

/// How a model is measured.
#[derive(Clone, Debug)]
pub struct BenchOptions<'a> {
    /// A file of texts as [`embed`](crate::embed()) reads it; the messages of the quickstart where it is not given.
    pub texts: Option<&'a Path>,
    /// The column of the text; found by its name where it is not given.
    pub column: Option<&'a str>,
    /// The prompt put before every text; the model's default where it is not given.
    pub prompt: Option<&'a str>,
    /// Tokens embedded at once.
    pub batch_tokens: usize,
    /// How often each thing is measured.
    pub runs: usize,
    /// What is measured.
    pub parts: &'a [Part],
    /// The program whose start is measured; without it [`Part::Start`] is left out.
    pub program: Option<Program>,
    /// Set from outside to stop.
    pub stop: &'a AtomicBool,
}

impl Default for BenchOptions<'_> {
    fn default() -> Self {
        BenchOptions {
            texts: None,
            column: None,
            prompt: None,
            batch_tokens: BATCH_TOKENS,
            runs: 5,
            parts: &Part::ALL,
            program: None,
            stop: &GO_ON,
        }
    }
}

/// How fast a model embeds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EncodeBench {
    /// The model, as it was named.
    pub model: String,
    /// How the encoder's products are rounded.
    pub precision: Precision,
    /// Threads of the current pool.
    pub threads: usize,
    /// The processor's own name, where the system tells.
    pub processor: Option<String>,
    /// The instruction set of the products.
    pub instructions: String,
    /// Texts of the batch job.
    pub texts: usize,
    /// Their tokens, special tokens included.
    pub tokens: usize,
    /// The batch job.
    pub batch: Option<Batch>,
    /// One text at a time.
    pub one: Option<One>,
    /// Seconds from the start of a process to the first vector, files being in memory already.
    pub start_seconds: Option<Spread>,
    /// Batches of equally long texts.
    pub shapes: Vec<Shape>,
    /// What the products alone would allow.
    pub limit: Option<Limit>,
    /// The most memory that this process had in use, in bytes, where the system tells: model, texts and batch job, before
    /// the other parts.
    pub peak_memory: Option<u64>,
}

/// Many texts at once.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Batch {
    /// Texts in a second, tokenising included.
    pub texts_per_second: Spread,
    /// Tokens in a second, special tokens included.
    pub tokens_per_second: Spread,
    /// Texts tokenised in a second, where nothing else is done.
    pub tokenised_per_second: Spread,
}

/// One text at a time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct One {
    /// Milliseconds that half of the texts take at most.
    pub p50_ms: f64,
    /// Milliseconds that 99 of 100 texts take at most.
    pub p99_ms: f64,
    /// Calls that were measured.
    pub calls: usize,
}

/// Measures how fast `model`, called `name`, embeds on the current pool; `tell` is told what is being measured.
///
/// Nothing but this should be at work on the machine. A first run of everything warms up and does not count.
///
/// # Errors
/// Texts that cannot be read, a model that reads no texts, a program that fails.
pub fn encode(
    model: &Model,
    name: &str,
    options: &BenchOptions<'_>,
    tell: &mut dyn FnMut(&str),
) -> Result<EncodeBench> {
    if !model.reads_text() {
        return Err(Error::setting_with(
            "the model reads stored vectors, and texts are what is measured",
            "give a model that reads texts",
        ));
    }
    let texts = texts(options)?;
    let place = |at: usize| format!("text {}", at + 1);
    let inputs = embed::tokenize(model.encoder(), &texts, options.prompt, place)?;
    let tokens: usize = inputs.iter().map(|input| input.tokens()).sum();
    let mut bench = EncodeBench {
        model: name.to_owned(),
        precision: model.precision(),
        threads: rayon::current_num_threads(),
        processor: doctor::processor(),
        instructions: parallax_kernels::isa::current().to_string(),
        texts: texts.len(),
        tokens,
        batch: None,
        one: None,
        start_seconds: None,
        shapes: Vec::new(),
        limit: None,
        peak_memory: None,
    };
    let runs = options.runs.max(1);
    if options.parts.contains(&Part::Batch) {
        tell("a batch job");
        bench.batch = Some(batch(model, &texts, tokens, runs, options)?);
    }
    bench.peak_memory = peak_memory();
    if options.parts.contains(&Part::One) {
        tell("one text at a time");
        bench.one = Some(one(model, &texts, options)?);
    }
    if let Some(program) = options.program.as_ref().filter(|_| options.parts.contains(&Part::Start)) {
        tell("the start of a process");
        bench.start_seconds = Some(start::start(program, &texts[0], runs)?);
    }
    if options.parts.contains(&Part::Shapes) {
        let (batch_tokens, stop) = (options.batch_tokens, options.stop);
        bench.shapes = shape::shapes(model, &inputs, batch_tokens, runs, stop, tell)?;
    }
    if let Some(batch) = &bench.batch {
        tell("the products alone");
        // A token of a long text meets more others than one of a short text.
        let squares: f64 = inputs.iter().map(|input| (input.tokens() as f64).powi(2)).sum();
        bench.limit = Limit::of(model, kernel_precision(model.precision()), squares / tokens.max(1) as f64);
        if let Some(limit) = &mut bench.limit {
            limit.reached = Some(batch.tokens_per_second.median / limit.tokens_per_second);
        }
    }
    Ok(bench)
}

/// The products that the encoder is computed with.
fn kernel_precision(precision: Precision) -> linear::Precision {
    match precision.resolved() {
        Precision::Bf16 => linear::Precision::Bf16,
        Precision::Int8 => linear::Precision::Int8,
        Precision::F32 | Precision::Auto => linear::Precision::Split,
    }
}

/// The texts of the options, all of them in memory.
fn texts(options: &BenchOptions<'_>) -> Result<Vec<String>> {
    let table = TableOptions::default();
    let stream = match options.texts {
        Some(path) => TextStream::open(path, options.column, &table)?,
        None => TextStream::read(SAMPLE.as_bytes(), Path::new("energy.csv"), options.column, &table)?,
    };
    let texts = stream.collect::<Result<Vec<String>, _>>()?;
    match options.texts {
        Some(path) if texts.is_empty() => Err(parallax_data::Error::Empty(path.to_owned()).into()),
        _ => Ok(texts),
    }
}

fn batch(
    model: &Model,
    texts: &[String],
    tokens: usize,
    runs: usize,
    options: &BenchOptions<'_>,
) -> Result<Batch> {
    let encoder = model.encoder();
    let (mut all, mut tokenising) = (Vec::new(), Vec::new());
    for run in 0..=runs {
        let mut windows = texts.chunks(WINDOW_ROWS);
        let prepare = || match windows.next() {
            Some(window) => Ok(Some(((), encoder.tokenize(window, options.prompt)?))),
            None => Ok(None),
        };
        let finish = |(), values: &[f32]| {
            black_box(values);
            Ok(())
        };
        let begun = Instant::now();
        pipeline::run(
            encoder,
            parallax_nn::Role::Query,
            options.batch_tokens,
            options.stop,
            prepare,
            finish,
            &mut |_| (),
        )?;
        let taken = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        black_box(encoder.tokenize(texts, options.prompt)?);
        if run > 0 {
            all.push(texts.len() as f64 / taken);
            tokenising.push(texts.len() as f64 / begun.elapsed().as_secs_f64());
        }
    }
    let texts_per_second = Spread::of(all);
    Ok(Batch {
        texts_per_second,
        tokens_per_second: texts_per_second.times(tokens as f64 / texts.len() as f64),
        tokenised_per_second: Spread::of(tokenising),
    })
}

fn one(model: &Model, texts: &[String], options: &BenchOptions<'_>) -> Result<One> {
    let encoder = model.encoder();
    let mut milliseconds = Vec::with_capacity(ONE_BY_ONE);
    for (at, text) in texts.iter().cycle().take(ONE_BY_ONE + ONE_BY_ONE / 10).enumerate() {
        if options.stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let begun = Instant::now();
        let inputs = encoder.tokenize(std::slice::from_ref(text), options.prompt)?;
        black_box(model.embed(&inputs, options.batch_tokens)?);
        if at >= ONE_BY_ONE / 10 {
            milliseconds.push(begun.elapsed().as_secs_f64() * 1e3);
        }
    }
    let (p50_ms, p99_ms) = (quantile(&milliseconds, 0.5), quantile(&milliseconds, 0.99));
    Ok(One { p50_ms, p99_ms, calls: milliseconds.len() })
}

impl fmt::Display for EncodeBench {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let processor = self.processor.as_deref().unwrap_or("unknown processor");
        writeln!(
            f,
            "{} in {} on {} threads, {}",
            self.model, self.precision, self.threads, self.instructions
        )?;
        writeln!(f, "{processor}")?;
        let mean = self.tokens as f64 / self.texts.max(1) as f64;
        writeln!(f, "{} texts of {mean:.1} tokens; medians, and the lowest and highest", self.texts)?;
        if let Some(batch) = &self.batch {
            writeln!(f, "\nbatch job      {} texts/s", batch.texts_per_second)?;
            writeln!(f, "               {} tokens/s", batch.tokens_per_second)?;
            writeln!(f, "tokenised      {} texts/s, alone", batch.tokenised_per_second)?;
        }
        if let Some(memory) = self.peak_memory {
            writeln!(f, "peak memory    {:.0} MB", memory as f64 / 1e6)?;
        }
        if let Some(One { p50_ms, p99_ms, calls }) = self.one {
            writeln!(f, "one text       p50 {} ms, p99 {} ms of {calls}", digits(p50_ms), digits(p99_ms))?;
        }
        if let Some(seconds) = self.start_seconds {
            writeln!(f, "first vector   {} s after the start of a process", seconds)?;
        }
        if let Some(limit) = &self.limit {
            let (operations, rate) = (limit.operations_per_token / 1e6, limit.operations_per_second / 1e9);
            write!(f, "limit          {} tokens/s: ", digits(limit.tokens_per_second))?;
            write!(f, "{operations:.1} million operations a token, {rate:.0} billion a second in products")?;
            match limit.reached {
                Some(part) => writeln!(f, "; {:.0} % of it reached", part * 100.0)?,
                None => writeln!(f)?,
            }
        }
        if !self.shapes.is_empty() {
            write!(f, "\n{:<16}", "tokens/s, batch")?;
            let mut batches: Vec<usize> = self.shapes.iter().map(|shape| shape.batch).collect();
            batches.sort_unstable();
            batches.dedup();
            batches.iter().try_for_each(|batch| write!(f, "{batch:>9}"))?;
            for row in self.shapes.chunk_by(|a, b| a.length == b.length) {
                write!(f, "\n{:>6} tokens   ", row[0].length)?;
                for batch in &batches {
                    match row.iter().find(|shape| shape.batch == *batch) {
                        Some(shape) => write!(f, "{:>9.0}", shape.tokens_per_second.median)?,
                        None => write!(f, "{:>9}", "-")?,
                    }
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
