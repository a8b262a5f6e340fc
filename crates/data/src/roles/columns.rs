//! Roles by the names of columns: those that the user set, then those that columns have by convention.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ask::{Ask, ask};
use super::names::*;
use super::{Binding, Roles, Shape};
use crate::error::{Error, Result, quoted};

/// Column names set by the user; what is not set is found by convention.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Columns {
    /// The text of a labelled row (found as: text, sentence, utterance, content, body).
    pub text: Option<String>,
    /// The class of a row (found as: label, labels, category, class, intent, target, topic).
    pub label: Option<String>,
    /// The first text of a pair (found as: anchor, query, question, premise, sentence1, sentence_A, ...).
    pub anchor: Option<String>,
    /// The text that belongs to the anchor (found as: positive, answer, response, hypothesis, sentence2, ...).
    pub positive: Option<String>,
    /// Texts that do not belong to the anchor, one column or several (found as: negative, negatives, negative_1, ...).
    pub negatives: Option<Vec<String>>,
    /// The similarity of a pair (found as: score, scores, similarity); beside negatives what a teacher says of the positive and
    /// of each negative, one column with a list or several columns (found also as: score_1, score_2, ..., positive_score,
    /// negative_score, ...).
    pub score: Option<Vec<String>>,
    /// The part a row belongs to: training, validation or test (found as: split).
    pub split: Option<String>,
    /// A name for the row (found as: id, _id, idx, guid).
    pub id: Option<String>,
}

/// One role while it is being settled.
#[derive(Clone, Copy, Debug)]
struct Found {
    column: usize,
    explicit: bool,
}

/// Why names do not settle the roles.
#[derive(Debug)]
pub(super) enum Stop {
    /// The user must change something.
    Fault(Error),
    /// Names leave it open; the content of the columns may settle it.
    Open(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Fault(error)
    }
}

impl From<Stop> for Error {
    fn from(stop: Stop) -> Self {
        match stop {
            Stop::Fault(error) | Stop::Open(error) => error,
        }
    }
}

/// `data.split` and `data.id` have no flag.
fn ask_one(role: &str, column: &str) -> String {
    match role {
        "split" | "id" => format!("set data.{role} = \"{column}\" in a run file"),
        _ => ask(&[(role, column)]),
    }
}

struct Finder<'a> {
    columns: &'a [String],
}

impl Finder<'_> {
    fn explicit(&self, name: &Option<String>) -> Result<Option<Found>> {
        let Some(name) = name else { return Ok(None) };
        match self.columns.iter().position(|column| column == name) {
            Some(column) => Ok(Some(Found { column, explicit: true })),
            None => Err(Error::missing_column(name, self.columns)),
        }
    }

    /// Columns whose name, in lower case, is one of `names`, except those in `taken`.
    fn known(&self, names: &[&str], taken: &[usize]) -> Vec<usize> {
        (0..self.columns.len())
            .filter(|column| !taken.contains(column))
            .filter(|&column| names.contains(&self.columns[column].to_lowercase().as_str()))
            .collect()
    }

    fn unclear(&self, problem: String, hint: impl Into<String>) -> Error {
        Error::Roles { file: None, problem, columns: self.columns.to_vec(), hint: hint.into() }
    }

    /// The column of a role: as set, else the only one with a known name.
    fn find(
        &self,
        role: &str,
        name: &Option<String>,
        names: &[&str],
        taken: &[usize],
    ) -> Result<Option<Found>, Stop> {
        if let Some(found) = self.explicit(name)? {
            return Ok(Some(found));
        }
        match self.known(names, taken)[..] {
            [] => Ok(None),
            [column] => Ok(Some(Found { column, explicit: false })),
            ref several => {
                let candidates: Vec<String> = several.iter().map(|&c| self.columns[c].clone()).collect();
                let problem =
                    format!("{} could each be the {role}", quoted(&candidates).replace(", ", " and "));
                let hint: Vec<String> = candidates.iter().map(|name| ask_one(role, name)).collect();
                Err(Stop::Open(self.unclear(problem, hint.join(", or "))))
            }
        }
    }

    /// The columns that were set.
    fn several(&self, names: &[String]) -> Result<Vec<usize>> {
        let found = names.iter().map(|name| Ok(self.explicit(&Some(name.clone()))?.map(|f| f.column)));
        Ok(found.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect())
    }

    /// The columns whose names give them a place, in the order of their places.
    fn placed(&self, taken: &[usize], place: impl Fn(&str) -> Option<u32>) -> Vec<usize> {
        let free = (0..self.columns.len()).filter(|column| !taken.contains(column));
        let mut found: Vec<(u32, usize)> =
            free.filter_map(|column| Some((place(&self.columns[column].to_lowercase())?, column))).collect();
        found.sort_unstable();
        found.into_iter().map(|(_, column)| column).collect()
    }

    fn negatives(&self, names: &Option<Vec<String>>, taken: &[usize]) -> Result<(Vec<usize>, bool)> {
        if let Some(names) = names {
            return Ok((self.several(names)?, true));
        }
        let place = |name: &str| if NEGATIVE.contains(&name) { Some(0) } else { numbered_negative(name) };
        Ok((self.placed(taken, place), false))
    }

    /// The columns of scores: as set, else the only one with a known name, else beside negatives one for each candidate.
    fn scores(
        &self,
        names: &Option<Vec<String>>,
        taken: &[usize],
        negatives: bool,
    ) -> Result<(Vec<usize>, bool), Stop> {
        if let Some(names) = names {
            return Ok((self.several(names)?, true));
        }
        if let Some(found) = self.find("score", &None, SCORE, taken)? {
            return Ok((vec![found.column], false));
        }
        let found = if negatives { self.placed(taken, candidate_score) } else { Vec::new() };
        // One alone says nothing of the others.
        Ok((if found.len() > 1 { found } else { Vec::new() }, false))
    }
}

impl Columns {
    /// Finds the roles of a table of texts.
    ///
    /// Names that the user set come first; a column is used for one role only. The other roles go to columns with the
    /// conventional names (case does not matter). The shape follows from the roles: anchor and positive with negatives are
    /// triplets, with a score scored pairs, alone pairs; a text with a label is a labelled row, and a label makes the only
    /// other text column the text. A label beside a pair is never guessed to be a class or a similarity.
    ///
    /// # Errors
    /// [`Error::MissingColumn`] for a name that is not there; [`Error::Roles`] where two columns fit one role, where two
    /// shapes fit, or none; it says which options settle it.
    pub fn resolve(&self, columns: &[String]) -> Result<Roles> {
        Ok(self.by_name(columns)?)
    }

    pub(super) fn by_name(&self, columns: &[String]) -> Result<Roles, Stop> {
        let finder = Finder { columns };
        let mut taken = self.set_columns(&finder)?;
        let split = finder.find("split", &self.split, SPLIT, &taken)?;
        let id = match self.id {
            Some(_) => finder.explicit(&self.id)?,
            // Several conventional names for a row's name hurt nobody: none of them is read.
            None => finder.known(ID, &taken).first().map(|&column| Found { column, explicit: false }),
        };
        taken.extend(split.iter().chain(&id).map(|found| found.column));

        // Roles set by the user decide the kind; conventions of the other kind are then not looked at.
        let pair_set = self.anchor.is_some() || self.positive.is_some() || self.score.is_some();
        let pair_set = pair_set || self.negatives.is_some();
        let label_set = self.text.is_some() || self.label.is_some();
        if pair_set && label_set {
            let problem = "a text with a label and a pair were both asked for".to_owned();
            let hint = format!("either {}, or {}", ask(LABELLED), ask(PAIR));
            return Err(finder.unclear(problem, hint).into());
        }
        let labelled = if pair_set { None } else { self.labelled(&finder, &taken)? };
        let paired = if label_set { None } else { self.paired(&finder, &taken)? };
        let (shape, mut roles) = match (labelled, paired) {
            (Some(labelled), None) => labelled,
            (None, Some(paired)) => paired,
            (Some((_, labelled)), Some((_, paired))) => {
                let names = |roles: &[(&str, Found)]| {
                    roles
                        .iter()
                        .map(|(_, found)| columns[found.column].as_str())
                        .collect::<Vec<_>>()
                        .join(" + ")
                };
                let problem = format!(
                    "rows could be texts with labels ({}) or pairs ({})",
                    names(&labelled),
                    names(&paired)
                );
                let column = |roles: &[(&str, Found)], at: usize| columns[roles[at].1.column].clone();
                let hint = format!(
                    "{}, or {}",
                    ask(&[("text", &column(&labelled, 0)), ("label", &column(&labelled, 1))]),
                    ask(&[("anchor", &column(&paired, 0)), ("positive", &column(&paired, 1))])
                );
                return Err(Stop::Open(finder.unclear(problem, hint)));
            }
            (None, None) => return Err(Stop::Open(self.nothing(&finder, pair_set, label_set))),
        };
        roles.extend(split.map(|found| ("split", found)));
        roles.extend(id.map(|found| ("id", found)));
        Ok(finish(columns, shape, roles, split, id))
    }

    /// Finds the roles of a table that stands beside stored vectors: a label, a split and an id, all optional.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve), for those roles.
    pub fn beside_vectors(&self, columns: &[String]) -> Result<Roles> {
        let finder = Finder { columns };
        let mut taken = self.set_columns(&finder)?;
        let split = finder.find("split", &self.split, SPLIT, &taken)?;
        taken.extend(split.map(|found| found.column));
        let label = finder.find("label", &self.label, LABEL, &taken)?;
        let id = match self.id {
            Some(_) => finder.explicit(&self.id)?,
            None => finder.known(ID, &taken).first().map(|&column| Found { column, explicit: false }),
        };
        let shape = Shape::Vectors { label: label.map(|found| found.column) };
        let roles = [("label", label), ("split", split), ("id", id)];
        let roles = roles.into_iter().filter_map(|(role, found)| Some((role, found?))).collect();
        Ok(finish(columns, shape, roles, split, id))
    }

    /// Finds the one text column of a table that is only to be embedded: as set, by a conventional name, or the only
    /// column there is.
    ///
    /// # Errors
    /// [`Error::MissingColumn`] and [`Error::Roles`], as [`resolve`](Self::resolve).
    pub fn text_column(&self, columns: &[String]) -> Result<usize> {
        let finder = Finder { columns };
        if let Some(found) = finder.find("text", &self.text, TEXT, &self.set_columns(&finder)?)? {
            return Ok(found.column);
        }
        if columns.len() == 1 {
            return Ok(0);
        }
        Err(finder.unclear("no column is known to hold the text".to_owned(), ask(&[("text", "COLUMN")])))
    }

    /// The columns the user named, which no convention may claim for another role.
    fn set_columns(&self, finder: &Finder<'_>) -> Result<Vec<usize>> {
        let one = [&self.text, &self.label, &self.anchor, &self.positive, &self.split, &self.id];
        let mut taken = Vec::new();
        let many = self.negatives.iter().chain(&self.score).flatten().cloned().map(Some);
        for name in one.into_iter().cloned().chain(many) {
            if let Some(found) = finder.explicit(&name)? {
                if taken.contains(&found.column) {
                    let problem = format!("\"{}\" is set for two roles", finder.columns[found.column]);
                    return Err(finder.unclear(problem, "each column for one role only"));
                }
                taken.push(found.column);
            }
        }
        Ok(taken)
    }

    fn labelled(&self, finder: &Finder<'_>, taken: &[usize]) -> Result<Option<Settled>, Stop> {
        let Some(label) = finder.find("label", &self.label, LABEL, taken)? else { return Ok(None) };
        let taken = [taken, &[label.column]].concat();
        let mut text = finder.find("text", &self.text, TEXT, &taken)?;
        if text.is_none() {
            // `question,category`: the only column with the name of a text is the text.
            if let [column] = finder.known(&[ANCHOR, POSITIVE].concat(), &taken)[..] {
                text = Some(Found { column, explicit: false });
            }
        }
        Ok(text.map(|text| {
            let shape = Shape::Labelled { text: text.column, label: label.column };
            (shape, vec![("text", text), ("label", label)])
        }))
    }

    fn paired(&self, finder: &Finder<'_>, taken: &[usize]) -> Result<Option<Settled>, Stop> {
        let Some(anchor) = finder.find("anchor", &self.anchor, ANCHOR, taken)? else { return Ok(None) };
        let Some(positive) = finder.find("positive", &self.positive, POSITIVE, taken)? else {
            return Ok(None);
        };
        let (negatives, negatives_set) = finder.negatives(&self.negatives, taken)?;
        let (scores, scores_set) = finder.scores(&self.score, taken, !negatives.is_empty())?;
        // With the pair set by name, a column that merely looks like a label is the user's to leave out.
        let found_by_name = self.anchor.is_none() && self.positive.is_none();
        if found_by_name
            && scores.is_empty()
            && negatives.is_empty()
            && let Some(&label) = finder.known(LABEL, taken).first()
        {
            let (name, texts) =
                (&finder.columns[label], [anchor, positive].map(|f| &finder.columns[f.column]));
            let problem = format!("\"{name}\" beside a pair could be a similarity or a class");
            let pair = [("anchor", texts[0].as_str()), ("positive", texts[1].as_str())];
            let hint = format!(
                "if it is a similarity (0 and 1 will do): {}; for one text with its class: {}; for the pairs without it: {}",
                ask(&[("score", name)]),
                ask(&[("text", texts[0]), ("label", name)]),
                ask(&pair)
            );
            return Err(Stop::Open(finder.unclear(problem, hint)));
        }
        let (anchor_column, positive_column) = (anchor.column, positive.column);
        let mut roles = vec![("anchor", anchor), ("positive", positive)];
        let shape = match (&scores[..], negatives.is_empty()) {
            (&[score], true) => {
                Shape::ScoredPairs { anchor: anchor_column, positive: positive_column, score }
            }
            ([], true) => Shape::Pairs { anchor: anchor_column, positive: positive_column },
            (several, true) => {
                let names: Vec<String> = several.iter().map(|&c| finder.columns[c].clone()).collect();
                let problem =
                    format!("{} are set as scores, and a pair without negatives has one", quoted(&names));
                let hint = "set data.negatives too, or one column for data.score";
                return Err(finder.unclear(problem, hint).into());
            }
            (_, false) => Shape::Triplets {
                anchor: anchor_column,
                positive: positive_column,
                negatives: negatives.clone(),
                scores: scores.clone(),
            },
        };
        let found = |column: usize, explicit: bool| Found { column, explicit };
        roles.extend(negatives.into_iter().map(|column| ("negative", found(column, negatives_set))));
        roles.extend(scores.into_iter().map(|column| ("score", found(column, scores_set))));
        Ok(Some((shape, roles)))
    }

    fn nothing(&self, finder: &Finder<'_>, pair_set: bool, label_set: bool) -> Error {
        let has = |names| !finder.known(names, &[]).is_empty();
        let both = || format!("{}, or {}", ask(LABELLED), ask(PAIR));
        let (problem, hint) = if pair_set || has(ANCHOR) || has(POSITIVE) {
            ("only one text of the pairs was found", both())
        } else if label_set || has(LABEL) {
            ("only one of text and label was found", ask(LABELLED))
        } else if has(TEXT) {
            ("there is a text but no label", both())
        } else {
            ("no column has a name that says what it holds", both())
        };
        finder.unclear(problem.to_owned(), hint)
    }
}

const LABELLED: &[Ask<'_>] = &[("text", "COLUMN"), ("label", "COLUMN")];
const PAIR: &[Ask<'_>] = &[("anchor", "COLUMN"), ("positive", "COLUMN")];

type Settled = (Shape, Vec<(&'static str, Found)>);

fn finish(
    columns: &[String],
    shape: Shape,
    roles: Vec<(&'static str, Found)>,
    split: Option<Found>,
    id: Option<Found>,
) -> Roles {
    let used: Vec<usize> = roles.iter().map(|(_, found)| found.column).collect();
    let bindings = roles
        .into_iter()
        .map(|(role, found)| {
            let column = columns[found.column].clone();
            let option = if role == "negative" { "negatives" } else { role };
            let reason =
                if found.explicit { format!("set by data.{option}") } else { "by its name".to_owned() };
            Binding { role, column, reason }
        })
        .collect();
    let unused = (0..columns.len()).filter(|c| !used.contains(c)).map(|c| columns[c].clone()).collect();
    let number = |found: Option<Found>| found.map(|found| found.column);
    let (split, id) = (number(split), number(id));
    Roles { shape, split, id, bindings, unused, passed_over: Vec::new(), notes: Vec::new() }
}
