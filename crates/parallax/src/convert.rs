//! From one model folder to another.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use parallax_data::{TableOptions, TextStream};
use parallax_surgery::distill::{self, Counts, Distilled};
use serde::Serialize;

pub use parallax_surgery::distill::StaticDistillation;

use crate::model::cosine;
use crate::{BATCH_TOKENS, Error, Model, Precision, Result};

/// Texts read at once while their tokens are counted.
const CHUNK: usize = 8192;

/// What a conversion tells while it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Texts whose tokens are counted.
    Counted(usize),
    /// Tokens that went through the teacher, and tokens in all.
    Embedded(usize, usize),
}

/// A static model that was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Converted {
    /// The model folder.
    pub model: PathBuf,
    /// What it was made of.
    #[serde(flatten)]
    pub distilled: Distilled,
    /// Bytes of its files.
    pub bytes: u64,
}

/// Makes a static model of a text encoder and writes its folder; see [`parallax_surgery::distill`]. `texts`, a table or a
/// file of lines, is where token frequencies are counted; `column` names its text.
///
/// # Errors
/// A model or texts that cannot be read, settings out of range, an output folder that holds something else.
pub fn distill(
    teacher: &Model,
    name: &str,
    texts: Option<(&Path, Option<&str>)>,
    settings: &StaticDistillation,
    output: &Path,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Converted> {
    let mut counts = Counts::default();
    if let (Some((path, column)), Some(tower)) = (texts, teacher.encoder().text()) {
        let mut stream = TextStream::open(path, column, &TableOptions::default())?;
        let mut counted = 0;
        while let Some(chunk) = stream.chunk(CHUNK).transpose()? {
            if stop.load(std::sync::atomic::Ordering::Relaxed) {
                return Err(Error::Interrupted);
            }
            counts.add(&tower.tokenizer, &chunk)?;
            counted += chunk.len();
            progress(Progress::Counted(counted));
        }
    }
    let made = distill::distill(teacher.encoder(), &counts, settings, stop, &mut |done, all| {
        progress(Progress::Embedded(done, all));
    });
    let (model, distilled) = made.map_err(|error| match error {
        parallax_surgery::Error::Interrupted => Error::Interrupted,
        error => error.into(),
    })?;
    parallax_nn::folder::save(&model, output, &card(name, texts.is_some(), settings, &distilled))?;
    Ok(Converted { model: output.to_owned(), distilled, bytes: size(output)? })
}

/// A folder that can be used in 8 bits.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Quantized {
    /// The model folder.
    pub model: PathBuf,
    /// Texts that were looked at.
    pub texts: usize,
    /// The lowest cosine between a text's vectors in 8 bits and in 32.
    pub lowest_cosine: f64,
    /// The mean of these cosines.
    pub mean_cosine: f64,
}

/// Texts that calibrate: more change the largest sizes hardly.
const CALIBRATION_TEXTS: usize = 4096;

/// Writes the folder of a transformer again, with a file beside its weights that says how large the inputs of its linear
/// layers are on some texts: what [`Precision::Int8`] needs. The weights stay as they are, and other readers leave the file
/// alone. The first 4,096 texts of `texts`, a table or a file of lines, are looked at; `column` names its text.
///
/// # Errors
/// A model without a transformer, texts that cannot be read, an output folder that holds something else.
pub fn quantize(
    model: &Model,
    texts: &Path,
    column: Option<&str>,
    output: &Path,
    stop: &AtomicBool,
    progress: &mut dyn FnMut(usize),
) -> Result<Quantized> {
    let mut stream = TextStream::open(texts, column, &TableOptions::default())?;
    let Some(texts_read) = stream.chunk(CALIBRATION_TEXTS).transpose()? else {
        return Err(parallax_data::Error::Empty(texts.to_owned()).into());
    };
    let mut encoder = model.encoder().clone();
    let inputs = encoder.tokenize(&texts_read, None)?;
    encoder.calibrate(&inputs, &mut *progress)?;
    if stop.load(std::sync::atomic::Ordering::Relaxed) {
        return Err(Error::Interrupted);
    }
    let embed =
        |precision| Model::from(encoder.clone()).with_precision(precision)?.embed(&inputs, BATCH_TOKENS);
    let (exact, rounded) = (embed(Precision::F32)?, embed(Precision::Int8)?);
    let cosines: Vec<f64> = (0..exact.len()).map(|row| cosine(exact.row(row), rounded.row(row))).collect();
    let source = encoder.text().map(|tower| tower.source.join("README.md"));
    let card = source.and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let note = format!(
        "\n## 8 bits\n\nHolds a calibration for `--precision int8`, made of {} texts by Parallax {}.\n",
        texts_read.len(),
        env!("CARGO_PKG_VERSION")
    );
    parallax_nn::folder::save(&encoder, output, &(card + &note))?;
    Ok(Quantized {
        model: output.to_owned(),
        texts: texts_read.len(),
        lowest_cosine: cosines.iter().copied().fold(1.0, f64::min),
        mean_cosine: cosines.iter().sum::<f64>() / cosines.len().max(1) as f64,
    })
}

fn card(name: &str, texts: bool, settings: &StaticDistillation, distilled: &Distilled) -> String {
    let title = Path::new(name).file_name().map_or(name.into(), |name| name.to_string_lossy());
    let weights = if texts {
        format!("{} tokens of texts, smoothed by Zipf's law", distilled.counted)
    } else {
        "Zipf's law over the vocabulary".to_owned()
    };
    format!(
        "---\nlibrary_name: sentence-transformers\npipeline_tag: sentence-similarity\ntags:\n- sentence-transformers\n\
         - static-embeddings\n- parallax\nbase_model: {}\n---\n\n# {title}, static\n\nA table of {} token vectors of {} \
         dimensions; a text is the mean of its tokens, divided by its length. Distilled from `{title}` by Parallax {}: every \
         token alone through the teacher, principal components ({:.1} % of the variance), frequency weights a / (a + p) \
         with a = {} and p from {weights}.{}\n",
        serde_json::Value::from(title.as_ref()),
        distilled.tokens,
        distilled.dim,
        env!("CARGO_PKG_VERSION"),
        100.0 * distilled.explained,
        settings.sif,
        if settings.int8 { " Stored in 8 bits with one scale a token." } else { "" },
    )
}

/// Bytes of the files in a folder and in the folders below.
fn size(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).map_err(Error::io(folder, "read"))? {
        let entry = entry.map_err(Error::io(folder, "read"))?;
        let path = entry.path();
        let data = entry.metadata().map_err(Error::io(&path, "read"))?;
        bytes += if data.is_dir() { size(&path)? } else { data.len() };
    }
    Ok(bytes)
}
