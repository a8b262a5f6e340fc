//! Whether a model gives the vectors that another program made of the same texts.
//!
//! Two implementations of one model agree to a few units in the last place of f32, which a cosine shows as 1.000000. What
//! makes them disagree is nearly always a setting: the pooling, a prompt, lower case, the longest text, the order of the
//! rows. So where they disagree those settings are tried one by one, and the one that makes them agree is named.

mod causes;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use parallax_nn::Input;
use serde::Serialize;

use crate::embed::{EmbedOptions, Source};
use crate::model::Model;
use crate::{Error, Result};
pub use causes::Cause;

/// Texts to compare two programs on where there are no better ones: short and long, with capitals, numbers, accents,
/// other scripts, signs that tokenizers treat in their own ways. One a line, none empty.
pub const TEXTS: [&str; 12] = [
    "How do I get a refund for a ticket I never used?",
    "REFUND, please - and QUICKLY!",
    "refund",
    "The café on Straße 12 charges 3.50 € for a naïve crêpe; isn't that a bit much?",
    "Order #48-1157 (2 of 3) shipped on 2024-02-29 at 07:45, weight 1,250.5 g.",
    "Le train de nuit pour Lyon part-il encore le dimanche ?",
    "Поезд опоздал на сорок минут, и я пропустил пересадку.",
    "充電できる駐輪場はどこですか？",
    "    spaces   before,\tbetween  and after   ",
    "http://example.org/a?b=c&d=%20#e user_name@example.org C++ and/or 50% ~/.config",
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "A longer message follows, because a limit on the length only shows where a text is longer than it. The bicycle \
     was taken from the station beside the library on Monday morning, and the lock opened without trouble. Half way \
     along the river the chain came off for the first time. I put it back, rode on, and after the bridge it came \
     off again, this time with a noise that made people turn around. At the next station the screen asked for a \
     code that nobody had given me. The number on the sticker was answered by a recording, which said that the \
     office opens at nine and that the waiting time is about a quarter of an hour. I waited for twice as long in \
     the rain. When somebody answered at last, the line broke before I could say the number of the bicycle. I then \
     pushed it for three kilometres to the workshop, where I was told that bicycles of this kind are not repaired \
     there but collected by a van, that the van comes on Thursdays, and that until it has come the ride goes on and \
     is charged by the minute. I would like the ride to be ended at the minute at which the chain came off, the \
     charge for the days since then to be taken back, and somebody to tell me whether there is a way to report such \
     a thing without a telephone. Until that is settled I have stopped the payment of the month, which I do not \
     like to do, because in three years there was never a reason for it. For your files: the sticker on the frame \
     says 30718, the station is the one between the library and the old bath, and the lock was closed at ten \
     minutes past eight, with two witnesses who also waited there. I have a picture of the chain, one of the screen \
     with its question, and one of the sign that says that every bicycle is looked after twice a week. My sister, \
     who took another bicycle on the same morning, had no trouble at all, so it is not the account, nor the card, \
     nor the weather. What I ask for is little: end the ride, take back the charge, repair the chain before the \
     next one falls, and put a person behind the number on the sticker, or take the number away. If the matter \
     needs a form, send me the form; if it needs a signature, tell me where to sign; if it needs patience, I have \
     shown some already, and the rest of it is kept for the van. In the meantime the bicycle stands in front of the \
     workshop, locked with a lock of mine, since yours no longer closes, and I should like to have that lock back \
     as well. A short answer is enough, as long as it is written by somebody who has read this far, and does not \
     thank me for my patience in its first line. I know from friends that others have written to you about the same \
     station, and that their letters were answered with a voucher for ten minutes of riding. Please do not send me \
     one: with a chain like that, ten minutes are more than anybody can use.",
];

/// How a comparison is made.
#[derive(Clone, Copy, Debug)]
pub struct ParityOptions<'a> {
    /// The texts, in the order of the vectors: a table or plain lines; for a head alone, its stored vectors. [`TEXTS`] where
    /// it is not given.
    pub texts: Option<&'a Path>,
    /// The lowest cosine that still counts as the same.
    pub min_cosine: f64,
    /// How many of the worst rows are shown.
    pub worst: usize,
    /// How the texts are read and embedded.
    pub embed: EmbedOptions<'a>,
}

impl Default for ParityOptions<'_> {
    fn default() -> Self {
        ParityOptions { texts: None, min_cosine: 0.9999, worst: 5, embed: EmbedOptions::default() }
    }
}

/// How far two programs agree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ParityReport {
    /// The vectors that were compared with.
    pub against: PathBuf,
    /// Rows.
    pub rows: usize,
    /// Numbers in each.
    pub dim: usize,
    /// The largest absolute difference of two numbers.
    pub largest_difference: f64,
    /// The mean cosine of two rows.
    pub mean_cosine: f64,
    /// The lowest.
    pub min_cosine: f64,
    /// The lowest that would have been the same.
    pub wanted: f64,
    /// Rows below it.
    pub failed: usize,
    /// Whether there are none.
    pub same: bool,
    /// Mean length of the vectors of the model, and of the other program.
    pub lengths: [f64; 2],
    /// The worst rows, the worst first.
    pub worst: Vec<Row>,
    /// What was found out about the disagreement.
    pub causes: Vec<Cause>,
}

/// A row of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// Its number, from 1.
    pub row: usize,
    /// The cosine of both vectors.
    pub cosine: f64,
    /// The largest absolute difference of two numbers.
    pub largest_difference: f64,
    /// Its length in tokens.
    pub tokens: usize,
    /// Its text; absent for stored vectors.
    pub text: Option<String>,
}

/// Embeds texts with `model` and compares with the vectors of another program, row by row.
///
/// `progress` is told how many rows are done.
///
/// # Errors
/// Files that cannot be read, another number of rows or another dimension, numbers that are not finite.
pub fn parity(
    model: &Model,
    against: &Path,
    options: &ParityOptions<'_>,
    progress: &mut dyn FnMut(usize),
) -> Result<ParityReport> {
    let theirs = parallax_data::Vectors::open(against)?;
    theirs.check_finite()?;
    if !(0.0..=1.0).contains(&options.min_cosine) {
        let what = format!("the lowest cosine {} is not between 0 and 1", options.min_cosine);
        return Err(Error::setting_with(what, "0.9999 is usual for f32, 0.999 for f16"));
    }
    let dim = model.dim();
    if theirs.dim() != dim {
        let what =
            format!("{}: the vectors have {} numbers, the model's {dim}", against.display(), theirs.dim());
        return Err(Error::setting_with(what, wrong_dimension(model, theirs.dim())));
    }
    let rows = count(model, options)?;
    if rows != theirs.rows() {
        let texts = options.texts.map_or("the built-in texts".to_owned(), |path| path.display().to_string());
        let what =
            format!("{} has {} rows, and there are {rows} in {texts}", against.display(), theirs.rows());
        let hint = match options.texts {
            Some(_) => "row i of the vectors must belong to text i: are there blank lines, or a header line?",
            None => "make the vectors of the lines that \"parallax doctor texts\" prints, or give --texts",
        };
        return Err(Error::setting_with(what, hint));
    }

    let mut seen = Seen::default();
    let (mut done, mut their_row) = (0, vec![0.0; dim]);
    let mut source = Texts::open(model, options)?;
    while let Some((texts, inputs)) = source.next(model, options)? {
        if options.embed.stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let ours = model.embed(&inputs, options.embed.batch_tokens)?;
        for (at, input) in inputs.iter().enumerate() {
            let row = done + at;
            theirs.read_row(row, &mut their_row);
            let pair = Pair::of(ours.row(at), &their_row);
            if !pair.cosine.is_finite() {
                let what = format!("the embedding of row {} is not finite", row + 1);
                return Err(Error::setting_with(
                    what,
                    "the weights of the model hold NaN or are far too large",
                ));
            }
            seen.add(row, &pair, input, texts.get(at), options);
        }
        done += inputs.len();
        progress(done);
    }
    let n = done as f64;
    let mut report = ParityReport {
        against: against.to_owned(),
        rows,
        dim,
        largest_difference: seen.largest,
        mean_cosine: seen.cosines / n,
        min_cosine: seen.lowest,
        wanted: options.min_cosine,
        failed: seen.failed,
        same: seen.failed == 0,
        lengths: seen.lengths.map(|sum| sum / n),
        worst: seen.worst.iter().take(options.worst).map(|(row, _)| row.clone()).collect(),
        causes: Vec::new(),
    };
    report.causes = causes::of(model, &theirs, &report, &seen.worst, options)?;
    Ok(report)
}

fn wrong_dimension(model: &Model, found: usize) -> String {
    let encoder = model.encoder();
    match encoder.text() {
        Some(tower) if tower.width() == found && encoder.dim() != found => {
            "they are as wide as the token states: the other program left out the model's last layers"
                .to_owned()
        }
        Some(tower) if found.is_multiple_of(tower.width()) => {
            "they are several poolings joined: give both programs the same pooling".to_owned()
        }
        _ if found < encoder.dim() => {
            "they are shorter: did the other program cut them to a dimension?".to_owned()
        }
        _ => "they are of another model".to_owned(),
    }
}

/// How two vectors differ.
struct Pair {
    cosine: f64,
    largest: f64,
    lengths: [f64; 2],
}

impl Pair {
    /// Sums in 64 bits. Two zero vectors are the same, a zero vector and another are not alike at all.
    fn of(x: &[f32], y: &[f32]) -> Pair {
        let (mut dot, mut xx, mut yy, mut largest) = (0.0, 0.0, 0.0, 0f64);
        for (&x, &y) in x.iter().zip(y) {
            let (x, y) = (f64::from(x), f64::from(y));
            dot += x * y;
            xx += x * x;
            yy += y * y;
            largest = largest.max((x - y).abs());
        }
        let cosine = match (xx == 0.0, yy == 0.0) {
            (true, true) => 1.0,
            (true, false) | (false, true) => 0.0,
            (false, false) => (dot / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0),
        };
        Pair { cosine, largest, lengths: [xx.sqrt(), yy.sqrt()] }
    }
}

/// Rows kept with their inputs, to look for causes on.
const KEPT: usize = 24;

#[derive(Default)]
struct Seen {
    rows: usize,
    cosines: f64,
    lowest: f64,
    largest: f64,
    lengths: [f64; 2],
    failed: usize,
    /// The worst, the worst first.
    worst: Vec<(Row, Input)>,
}

impl Seen {
    fn add(
        &mut self,
        row: usize,
        pair: &Pair,
        input: &Input,
        text: Option<&String>,
        options: &ParityOptions<'_>,
    ) {
        self.lowest = if self.rows == 0 { pair.cosine } else { self.lowest.min(pair.cosine) };
        self.rows += 1;
        self.cosines += pair.cosine;
        self.largest = self.largest.max(pair.largest);
        self.lengths[0] += pair.lengths[0];
        self.lengths[1] += pair.lengths[1];
        self.failed += usize::from(pair.cosine < options.min_cosine);
        let at = self.worst.partition_point(|(other, _)| other.cosine <= pair.cosine);
        if at < KEPT.max(options.worst) {
            let row = Row {
                row: row + 1,
                cosine: pair.cosine,
                largest_difference: pair.largest,
                tokens: input.tokens(),
                text: text.cloned(),
            };
            self.worst.insert(at, (row, input.clone()));
            self.worst.truncate(KEPT.max(options.worst));
        }
    }
}

/// The texts, from a file or built in.
enum Texts {
    File(Source),
    BuiltIn(bool),
}

impl Texts {
    fn open(model: &Model, options: &ParityOptions<'_>) -> Result<Self> {
        match options.texts {
            Some(path) if path.as_os_str() == "-" => {
                Err(Error::setting_with("standard input can be read only once", "give the texts as a file"))
            }
            Some(path) => Ok(Texts::File(Source::open(model, path, &options.embed)?)),
            None if model.reads_text() => Ok(Texts::BuiltIn(false)),
            None => {
                let what = "the model reads stored vectors, and none are given";
                Err(Error::setting_with(what, "give them with --texts vectors.npy"))
            }
        }
    }

    fn next(
        &mut self,
        model: &Model,
        options: &ParityOptions<'_>,
    ) -> Result<Option<(Vec<String>, Vec<Input>)>> {
        match self {
            Texts::File(source) => source.next(model, &options.embed),
            Texts::BuiltIn(done) if *done => Ok(None),
            Texts::BuiltIn(done) => {
                *done = true;
                let inputs = model.encoder().tokenize(&TEXTS, options.embed.prompt)?;
                Ok(Some((TEXTS.map(str::to_owned).to_vec(), inputs)))
            }
        }
    }
}

/// Rows of the texts, found out before the work begins.
fn count(model: &Model, options: &ParityOptions<'_>) -> Result<usize> {
    match Texts::open(model, options)? {
        Texts::File(Source::Texts(stream, ..)) => {
            let mut rows = 0;
            for text in *stream {
                text?;
                rows += 1;
            }
            Ok(rows)
        }
        Texts::File(Source::Vectors(vectors, _)) => Ok(vectors.rows()),
        Texts::BuiltIn(_) => Ok(TEXTS.len()),
    }
}

impl fmt::Display for ParityReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} rows of {} numbers", self.against.display(), self.rows, self.dim)?;
        writeln!(f, "cosine: mean {:.6}, lowest {:.6}", self.mean_cosine, self.min_cosine)?;
        writeln!(f, "largest difference of a number: {:.2e}", self.largest_difference)?;
        writeln!(f, "mean length: {:.4} here, {:.4} there", self.lengths[0], self.lengths[1])?;
        if !self.same {
            writeln!(f, "\nworst rows")?;
            for row in self.worst.iter().filter(|row| row.cosine < self.wanted) {
                write!(f, "  row {}: cosine {:.6}", row.row, row.cosine)?;
                if let Some(text) = &row.text {
                    write!(f, ", {} tokens: {}", row.tokens, shortened(text))?;
                }
                writeln!(f)?;
            }
            writeln!(f)?;
        }
        for cause in &self.causes {
            writeln!(f, "cause: {cause}")?;
        }
        match self.same {
            true => write!(f, "the same: every cosine is at least {}", self.wanted),
            false => write!(
                f,
                "not the same: {} of {} rows have a cosine below {}",
                self.failed, self.rows, self.wanted
            ),
        }
    }
}

/// A text on one line, cut where it is long.
fn shortened(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match line.char_indices().nth(80) {
        Some((end, _)) => format!("\"{}...\"", &line[..end]),
        None => format!("\"{line}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_by_hand() {
        let pair = Pair::of(&[3.0, 4.0], &[4.0, 3.0]);
        assert!((pair.cosine - 0.96).abs() < 1e-12 && pair.largest == 1.0 && pair.lengths == [5.0, 5.0]);
        assert_eq!(Pair::of(&[0.0], &[0.0]).cosine, 1.0);
        assert_eq!(Pair::of(&[0.0], &[2.0]).cosine, 0.0);
        assert_eq!(Pair::of(&[1e-30, 0.0], &[1e-30, 0.0]).cosine, 1.0);
    }

    #[test]
    fn built_in_texts_are_lines() {
        for text in TEXTS {
            assert!(!text.trim().is_empty() && !text.contains(['\n', '\r']), "{text}");
        }
        assert!(TEXTS[11].split(' ').count() > 512 - 2, "longer than the limits that are usual");
        assert_eq!(shortened(&"é".repeat(90)).chars().count(), 85);
    }
}
