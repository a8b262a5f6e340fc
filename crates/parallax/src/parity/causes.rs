use std::fmt;

use parallax_data::Vectors;
use parallax_nn::pooling::{Mode, Pooling};
use parallax_nn::{Input, SentenceEncoder};
use serde::Serialize;

use super::{Pair, ParityOptions, ParityReport, Row};
use crate::Result;
use crate::model::Model;

/// Something that was found out about vectors that disagree.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cause {
    /// What it is.
    pub what: String,
    /// The lowest cosine over the worst rows when the model is changed so; absent where nothing was changed.
    pub min_cosine: Option<f64>,
    /// What to do about it.
    pub advice: String,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if let Some(cosine) = self.min_cosine {
            write!(f, " (then the lowest cosine of the worst rows is {cosine:.6})")?;
        }
        write!(f, "; {}", self.advice)
    }
}

/// Lengths that other programs cut texts at.
const USUAL_LIMITS: [usize; 6] = [64, 128, 256, 384, 512, 1024];

/// Tries the usual causes one by one on the worst rows.
pub(super) fn of(
    model: &Model,
    theirs: &Vectors,
    report: &ParityReport,
    worst: &[(Row, Input)],
    options: &ParityOptions<'_>,
) -> Result<Vec<Cause>> {
    let mut causes = Vec::new();
    let [ours, other] = report.lengths;
    if (ours - other).abs() > 1e-2 * ours.max(other) {
        let which = |length: f64| (length - 1.0).abs() < 1e-3;
        let what = match (which(ours), which(other)) {
            (true, false) => "the vectors here have length 1, the others have not".to_owned(),
            (false, true) => "the other vectors have length 1, those here have not".to_owned(),
            _ => format!("the vectors have other lengths ({ours:.4} here, {other:.4} there)"),
        };
        let advice = "normalise in both programs or in neither; a cosine does not see it, a dot product does";
        causes.push(Cause { what, min_cosine: None, advice: advice.to_owned() });
    }
    if report.same {
        return Ok(causes);
    }
    let tried = Tried { theirs, rows: worst, batch_tokens: options.embed.batch_tokens };
    let before = report.mean_cosine.min(tried.mean(worst));
    let mut variants = variants(model, worst, options, &tried)?;
    variants.sort_by(|a, b| b.min.total_cmp(&a.min));
    let found: Vec<&Variant> = variants.iter().filter(|variant| variant.min >= report.wanted).collect();
    if found.is_empty() {
        // None alone: the one that closes most of the gap is worth a line.
        let best = variants.iter().max_by(|a, b| a.mean.total_cmp(&b.mean));
        if let Some(best) = best.filter(|best| 1.0 - best.mean < 0.5 * (1.0 - before)) {
            causes.push(best.cause("nearer, though not the same, with"));
        }
    } else {
        causes.extend(found.into_iter().take(3).map(|variant| variant.cause("the same with")));
        return Ok(causes);
    }
    causes.extend(order(model, theirs, worst, options)?);
    let limit = model.encoder().text().map_or(usize::MAX, |tower| tower.max_tokens);
    if worst.iter().filter(|(row, _)| row.cosine < report.wanted).all(|(row, _)| row.tokens >= limit) {
        causes.push(Cause {
            what: format!("only texts of {limit} tokens or more differ: they are cut there, and elsewhere in the other program"),
            min_cosine: None,
            advice: "give both programs the same longest text (--max-tokens)".to_owned(),
        });
    }
    if causes.is_empty() {
        causes.push(Cause {
            what: "no pooling, prompt, lower case or shorter limit explains it".to_owned(),
            min_cosine: None,
            advice: "are the vectors of this model and of these texts, in this order?".to_owned(),
        });
    }
    Ok(causes)
}

/// The model, changed in one way.
struct Variant {
    what: String,
    advice: String,
    min: f64,
    mean: f64,
}

impl Variant {
    fn cause(&self, how: &str) -> Cause {
        Cause {
            what: format!("{how} {}", self.what),
            min_cosine: Some(self.min),
            advice: self.advice.clone(),
        }
    }
}

/// The worst rows, against which variants are tried.
struct Tried<'a> {
    theirs: &'a Vectors,
    rows: &'a [(Row, Input)],
    batch_tokens: usize,
}

impl Tried<'_> {
    fn mean(&self, rows: &[(Row, Input)]) -> f64 {
        rows.iter().map(|(row, _)| row.cosine).sum::<f64>() / rows.len().max(1) as f64
    }

    fn variant(
        &self,
        encoder: &SentenceEncoder,
        inputs: &[Input],
        what: impl Into<String>,
        advice: impl Into<String>,
    ) -> Result<Variant> {
        let dim = encoder.dim();
        let values = encoder.embed(inputs, self.batch_tokens, |_| {})?;
        let cosines: Vec<f64> = self
            .rows
            .iter()
            .zip(values.chunks_exact(dim))
            .map(|((row, _), ours)| Pair::of(ours, &self.theirs.row(row.row - 1)).cosine)
            .collect();
        Ok(Variant {
            what: what.into(),
            advice: advice.into(),
            min: cosines.iter().copied().fold(f64::INFINITY, f64::min),
            mean: cosines.iter().sum::<f64>() / cosines.len().max(1) as f64,
        })
    }
}

fn variants(
    model: &Model,
    worst: &[(Row, Input)],
    options: &ParityOptions<'_>,
    tried: &Tried<'_>,
) -> Result<Vec<Variant>> {
    let encoder = model.encoder();
    let Some(tower) = encoder.text() else { return Ok(Vec::new()) };
    let mut variants = Vec::new();
    let inputs: Vec<Input> = worst.iter().map(|(_, input)| input.clone()).collect();
    let texts: Vec<&str> = worst.iter().filter_map(|(row, _)| row.text.as_deref()).collect();

    if let [own] = tower.pooling.modes[..] {
        for mode in Mode::ALL.into_iter().filter(|&mode| mode != own) {
            let pooled =
                encoder.clone().with_pooling(Pooling { modes: vec![mode], ..tower.pooling.clone() })?;
            let advice = format!("the model's folder says {}; which of the two is meant?", own.name());
            variants.push(tried.variant(&pooled, &inputs, format!("{} pooling", mode.name()), advice)?);
        }
    }
    let prompt = encoder.prompt(options.embed.prompt)?;
    let none = (!prompt.is_empty()).then_some(("no prompt".to_owned(), ""));
    let others = encoder.prompts().iter().filter(|(_, text)| *text != prompt && !text.is_empty());
    let others = others.map(|(name, text)| (format!("the prompt \"{name}\""), text.as_str()));
    for (what, text) in none.into_iter().chain(others) {
        let advice = "give both programs the same prompt (--prompt)";
        variants.push(tried.variant(encoder, &tower.tokenize(&texts, text)?, what, advice)?);
    }
    let mut cased = tower.clone();
    cased.lower_case = !tower.lower_case;
    let what = if cased.lower_case { "texts in lower case" } else { "texts not put in lower case" };
    let advice = "do_lower_case of the model's folder says which is meant";
    let lower = cased.tokenize(&texts, prompt)?;
    if lower != inputs {
        variants.push(tried.variant(encoder, &lower, what, advice)?);
    }
    // A text of no tokens is its special tokens.
    let closed = matches!(&tower.tokenize(&[""], "")?[..], [Input::Tokens { ids, .. }] if ids.len() >= 2);
    for limit in USUAL_LIMITS.into_iter().filter(|&limit| limit < tower.max_tokens) {
        let cut: Vec<Input> = inputs.iter().map(|input| shorter(input, limit, closed)).collect();
        if cut != inputs {
            let what = format!("texts cut at {limit} tokens");
            let advice = format!("give both programs the same longest text (--max-tokens {limit} here)");
            variants.push(tried.variant(encoder, &cut, what, advice)?);
        }
    }
    let trimmed: Vec<&str> = texts.iter().map(|text| text.trim()).collect();
    if trimmed != texts {
        let what = "texts without the spaces at their ends";
        let advice = "hand both programs the same texts";
        variants.push(tried.variant(encoder, &tower.tokenize(&trimmed, prompt)?, what, advice)?);
    }
    Ok(variants)
}

/// A text cut to `limit` tokens; where it is `closed` by a special token, that one stays.
fn shorter(input: &Input, limit: usize, closed: bool) -> Input {
    match input {
        Input::Tokens { ids, prompt_tokens } if ids.len() > limit && limit >= 2 => {
            let last = ids.len() - 1;
            let ids = if closed { [&ids[..limit - 1], &ids[last..]].concat() } else { ids[..limit].to_vec() };
            Input::Tokens { ids, prompt_tokens: *prompt_tokens.min(&limit) }
        }
        input => input.clone(),
    }
}

/// Rows of the other program that are searched for a vector that stands in another place.
const SEARCHED: usize = 4096;

/// Whether the vectors of the worst rows stand in other rows of the other program.
fn order(
    model: &Model,
    theirs: &Vectors,
    worst: &[(Row, Input)],
    options: &ParityOptions<'_>,
) -> Result<Option<Cause>> {
    let looked: Vec<&(Row, Input)> =
        worst.iter().filter(|(row, _)| row.cosine < options.min_cosine).take(8).collect();
    let inputs: Vec<Input> = looked.iter().map(|(_, input)| input.clone()).collect();
    let ours = model.embed(&inputs, options.embed.batch_tokens)?;
    let mut other_row = vec![0.0; theirs.dim()];
    let mut best = vec![(f64::NEG_INFINITY, 0); looked.len()];
    for row in 0..theirs.rows().min(SEARCHED) {
        theirs.read_row(row, &mut other_row);
        for (at, best) in best.iter_mut().enumerate() {
            let cosine = Pair::of(ours.row(at), &other_row).cosine;
            if cosine > best.0 {
                *best = (cosine, row + 1);
            }
        }
    }
    let moved: Vec<(usize, usize)> = best
        .iter()
        .zip(&looked)
        .filter(|(best, _)| best.0 >= options.min_cosine)
        .map(|(best, (row, _))| (row.row, best.1))
        .collect();
    // One row that equals another may be a text that stands twice.
    if 2 * moved.len() <= looked.len() {
        return Ok(None);
    }
    let shown: Vec<String> = moved.iter().take(3).map(|(a, b)| format!("text {a} is row {b}")).collect();
    Ok(Some(Cause {
        what: format!("the rows stand in another order: {}", shown.join(", ")),
        min_cosine: None,
        advice: "row i of the vectors must belong to text i".to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_keeps_the_last_token() {
        let input = Input::Tokens { ids: vec![1, 5, 6, 7, 2], prompt_tokens: 4 };
        assert_eq!(shorter(&input, 3, true), Input::Tokens { ids: vec![1, 5, 2], prompt_tokens: 3 });
        assert_eq!(shorter(&input, 3, false), Input::Tokens { ids: vec![1, 5, 6], prompt_tokens: 3 });
        assert_eq!(shorter(&input, 5, true), input);
        assert_eq!(shorter(&input, 9, true), input);
    }
}
