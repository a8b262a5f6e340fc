//! Which column is the text, the label, the anchor, the positive: by name, never by position.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::table::{Row, Table};

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
    /// The similarity of a pair (found as: score, scores, similarity).
    pub score: Option<String>,
    /// The part a row belongs to: training, validation or test (found as: split).
    pub split: Option<String>,
    /// A name for the row (found as: id, _id, idx, guid).
    pub id: Option<String>,
}

/// What the rows of a table are, with the numbers of the columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A text and its class.
    Labelled {
        /// Column of the text.
        text: usize,
        /// Column of the class.
        label: usize,
    },
    /// Two texts that belong together.
    Pairs {
        /// Column of the first text.
        anchor: usize,
        /// Column of the second text.
        positive: usize,
    },
    /// Two texts that belong together and some that do not.
    Triplets {
        /// Column of the first text.
        anchor: usize,
        /// Column of the text that belongs to it.
        positive: usize,
        /// Columns of the texts that do not, each a text or a list of texts.
        negatives: Vec<usize>,
    },
    /// Two texts and how similar they are.
    ScoredPairs {
        /// Column of one text.
        anchor: usize,
        /// Column of the other.
        positive: usize,
        /// Column of the similarity.
        score: usize,
    },
    /// Rows that describe stored vectors, one each.
    Vectors {
        /// Column of the class, where there is one.
        label: Option<usize>,
    },
}

impl Shape {
    /// The shape's name in messages: "labelled rows", "pairs", ...
    pub fn name(&self) -> &'static str {
        match self {
            Shape::Labelled { .. } => "labelled rows",
            Shape::Pairs { .. } => "pairs",
            Shape::Triplets { .. } => "triplets",
            Shape::ScoredPairs { .. } => "scored pairs",
            Shape::Vectors { .. } => "stored vectors",
        }
    }
}

/// One column and the role it plays.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The role: "text", "label", "anchor", ...
    pub role: &'static str,
    /// The column's name.
    pub column: String,
    /// Why: set by which option, or known by which name.
    pub reason: String,
}

/// The roles of a table's columns. Displayed, it is the mapping, one line a column, with the reason for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roles {
    /// What the rows are.
    pub shape: Shape,
    /// Column of the part a row belongs to.
    pub split: Option<usize>,
    /// Column of the row's name.
    pub id: Option<usize>,
    /// Every column that is used, and why.
    pub bindings: Vec<Binding>,
    /// Columns that are not used.
    pub unused: Vec<String>,
}

impl fmt::Display for Roles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shape.name())?;
        let width = self.bindings.iter().map(|b| b.column.chars().count()).max().unwrap_or(0);
        for Binding { role, column, reason } in &self.bindings {
            write!(f, "\n  {role:<9} <- {column:<width$}  ({reason})")?;
        }
        if !self.unused.is_empty() {
            write!(f, "\n  not used: {}", self.unused.join(", "))?;
        }
        Ok(())
    }
}

const TEXT: &[&str] = &["text", "sentence", "utterance", "content", "body"];
const LABEL: &[&str] = &["label", "labels", "category", "class", "intent", "target", "topic"];
const ANCHOR: &[&str] = &[
    "anchor",
    "query",
    "question",
    "premise",
    "prompt",
    "sentence1",
    "sentence_1",
    "sentence_a",
    "text1",
    "text_1",
    "text_a",
    "s1",
];
const POSITIVE: &[&str] = &[
    "positive",
    "pos",
    "answer",
    "response",
    "hypothesis",
    "document",
    "passage",
    "sentence2",
    "sentence_2",
    "sentence_b",
    "text2",
    "text_2",
    "text_b",
    "s2",
];
const NEGATIVE: &[&str] = &["negative", "negatives", "neg", "hard_negative", "hard_negatives"];
const SCORE: &[&str] = &["score", "scores", "similarity", "similarity_score"];
const SPLIT: &[&str] = &["split"];
const ID: &[&str] = &["id", "_id", "idx", "guid"];

/// One role while it is being settled.
#[derive(Clone, Copy, Debug)]
struct Found {
    column: usize,
    explicit: bool,
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
    ) -> Result<Option<Found>> {
        if let Some(found) = self.explicit(name)? {
            return Ok(Some(found));
        }
        match self.known(names, taken)[..] {
            [] => Ok(None),
            [column] => Ok(Some(Found { column, explicit: false })),
            ref several => {
                let candidates: Vec<_> =
                    several.iter().map(|&c| format!("\"{}\"", self.columns[c])).collect();
                let problem = format!("{} could each be the {role}", candidates.join(" and "));
                Err(self.unclear(problem, format!("data.{role} = \"...\" to the one you mean")))
            }
        }
    }

    fn negatives(&self, names: &Option<Vec<String>>, taken: &[usize]) -> Result<(Vec<usize>, bool)> {
        if let Some(names) = names {
            let found = names.iter().map(|name| Ok(self.explicit(&Some(name.clone()))?.map(|f| f.column)));
            return Ok((found.collect::<Result<Vec<_>>>()?.into_iter().flatten().collect(), true));
        }
        let numbered = |name: &str| {
            let rest = name.strip_prefix("negative").or_else(|| name.strip_prefix("neg"))?;
            let digits = rest.strip_prefix('_').unwrap_or(rest);
            if digits.is_empty() || digits.len() > 9 { None } else { digits.parse::<u32>().ok() }
        };
        let mut found: Vec<(u32, usize)> = (0..self.columns.len())
            .filter(|column| !taken.contains(column))
            .filter_map(|column| {
                let name = self.columns[column].to_lowercase();
                let number = if NEGATIVE.contains(&name.as_str()) { Some(0) } else { numbered(&name) };
                number.map(|number| (number, column))
            })
            .collect();
        found.sort_unstable();
        Ok((found.into_iter().map(|(_, column)| column).collect(), false))
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
            let hint = "either data.text and data.label, or data.anchor and data.positive";
            return Err(finder.unclear(problem, hint));
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
                let hint = "data.text and data.label, or data.anchor and data.positive \
                            (a label that is a similarity: data.score)";
                return Err(finder.unclear(problem, hint));
            }
            (None, None) => return Err(self.nothing(&finder, pair_set, label_set)),
        };
        roles.extend(split.map(|found| ("split", found)));
        roles.extend(id.map(|found| ("id", found)));
        finish(columns, shape, roles, split, id)
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
        finish(columns, shape, roles, split, id)
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
        Err(finder.unclear("no column is known to hold the text".to_owned(), "data.text = \"...\""))
    }

    /// The columns the user named, which no convention may claim for another role.
    fn set_columns(&self, finder: &Finder<'_>) -> Result<Vec<usize>> {
        let one = [&self.text, &self.label, &self.anchor, &self.positive, &self.score, &self.split, &self.id];
        let mut taken = Vec::new();
        let many = self.negatives.iter().flatten().cloned().map(Some);
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

    fn labelled(&self, finder: &Finder<'_>, taken: &[usize]) -> Result<Option<Settled>> {
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

    fn paired(&self, finder: &Finder<'_>, taken: &[usize]) -> Result<Option<Settled>> {
        let Some(anchor) = finder.find("anchor", &self.anchor, ANCHOR, taken)? else { return Ok(None) };
        let Some(positive) = finder.find("positive", &self.positive, POSITIVE, taken)? else {
            return Ok(None);
        };
        let score = finder.find("score", &self.score, SCORE, taken)?;
        let (negatives, negatives_set) = finder.negatives(&self.negatives, taken)?;
        // With the pair set by name, a column that merely looks like a label is the user's to leave out.
        let found_by_name = self.anchor.is_none() && self.positive.is_none();
        if found_by_name
            && score.is_none()
            && negatives.is_empty()
            && let Some(&label) = finder.known(LABEL, taken).first()
        {
            let label = &finder.columns[label];
            let problem = format!("\"{label}\" beside a pair could be a similarity or a class");
            let hint = format!(
                "data.score = \"{label}\" if it is a similarity (0 and 1 will do), data.text and data.label for one \
                     text with its class, or data.anchor and data.positive to use the pairs without it"
            );
            return Err(finder.unclear(problem, hint));
        }
        let (anchor_column, positive_column) = (anchor.column, positive.column);
        let mut roles = vec![("anchor", anchor), ("positive", positive)];
        let shape = match (score, negatives.is_empty()) {
            (Some(_), false) => {
                let problem = "a score and negatives together are not known".to_owned();
                return Err(finder.unclear(problem, "data.negatives = [] or leave the score column out"));
            }
            (Some(score), true) => {
                roles.push(("score", score));
                Shape::ScoredPairs { anchor: anchor_column, positive: positive_column, score: score.column }
            }
            (None, true) => Shape::Pairs { anchor: anchor_column, positive: positive_column },
            (None, false) => {
                let explicit = negatives_set;
                roles.extend(negatives.iter().map(|&column| ("negative", Found { column, explicit })));
                Shape::Triplets { anchor: anchor_column, positive: positive_column, negatives }
            }
        };
        Ok(Some((shape, roles)))
    }

    fn nothing(&self, finder: &Finder<'_>, pair_set: bool, label_set: bool) -> Error {
        let has = |names| !finder.known(names, &[]).is_empty();
        let (problem, hint) = if pair_set || has(ANCHOR) || has(POSITIVE) {
            ("only one text of the pairs was found", "data.anchor = \"...\" and data.positive = \"...\"")
        } else if label_set || has(LABEL) {
            ("only one of text and label was found", "data.text = \"...\" and data.label = \"...\"")
        } else if has(TEXT) {
            (
                "there is a text but no label",
                "data.label = \"...\", or data.anchor and data.positive for pairs",
            )
        } else {
            (
                "no column has a name that says what it holds",
                "data.text = \"...\" and data.label = \"...\", or data.anchor = \"...\" and data.positive = \"...\"",
            )
        };
        finder.unclear(problem.to_owned(), hint)
    }
}

type Settled = (Shape, Vec<(&'static str, Found)>);

fn finish(
    columns: &[String],
    shape: Shape,
    roles: Vec<(&'static str, Found)>,
    split: Option<Found>,
    id: Option<Found>,
) -> Result<Roles> {
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
    Ok(Roles { shape, split: number(split), id: number(id), bindings, unused })
}

/// The negatives of one row of [`Shape::Triplets`], over all their columns; empty cells give none.
///
/// # Errors
/// As [`Row::list`].
pub fn negatives(row: &Row<'_>, columns: &[usize]) -> Result<Vec<String>> {
    let mut texts = Vec::new();
    for &column in columns {
        texts.extend_from_slice(row.list(column)?);
    }
    Ok(texts)
}

impl Roles {
    /// Finds the roles of an opened table; see [`Columns::resolve`].
    ///
    /// # Errors
    /// As [`Columns::resolve`].
    pub fn of(table: &Table, columns: &Columns) -> Result<Roles> {
        columns.resolve(table.columns()).map_err(|e| match table.files().next() {
            Some(path) => e.about(path),
            None => e,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Columns, Roles, Shape};
    use crate::error::Result;

    fn columns(names: &str) -> Vec<String> {
        names.split(',').map(str::to_owned).collect()
    }

    fn resolve(names: &str) -> Result<Roles> {
        Columns::default().resolve(&columns(names))
    }

    fn some(name: &str) -> Option<String> {
        Some(name.to_owned())
    }

    #[test]
    fn conventions_give_the_shape_whatever_the_order() {
        let shape = |names| resolve(names).unwrap().shape;
        assert_eq!(shape("text,category"), Shape::Labelled { text: 0, label: 1 });
        assert_eq!(shape("Label,id,Sentence"), Shape::Labelled { text: 2, label: 0 });
        assert_eq!(shape("intent,query"), Shape::Labelled { text: 1, label: 0 });
        assert_eq!(shape("answer,question"), Shape::Pairs { anchor: 1, positive: 0 });
        assert_eq!(shape("sentence_A,sentence_B"), Shape::Pairs { anchor: 0, positive: 1 });
        assert_eq!(
            shape("score,sentence2,sentence1"),
            Shape::ScoredPairs { anchor: 2, positive: 1, score: 0 }
        );
        assert_eq!(
            shape("negative_10,negative_2,anchor,positive"),
            Shape::Triplets { anchor: 2, positive: 3, negatives: vec![1, 0] }
        );
        assert_eq!(
            shape("query,positive,negative"),
            Shape::Triplets { anchor: 0, positive: 1, negatives: vec![2] }
        );
    }

    #[test]
    fn the_mapping_says_why() {
        let set = Columns { label: some("mood"), ..Columns::default() };
        let roles = set.resolve(&columns("id,text,mood,split,notes")).unwrap();
        assert_eq!((roles.split, roles.id), (Some(3), Some(0)));
        let expected = "labelled rows\n  text      <- text   (by its name)\n  label     <- mood   (set by data.label)\
                        \n  split     <- split  (by its name)\n  id        <- id     (by its name)\n  not used: notes";
        assert_eq!(roles.to_string(), expected);
    }

    #[test]
    fn names_that_are_set_win_over_conventions() {
        let set = Columns { anchor: some("label"), positive: some("text"), ..Columns::default() };
        assert_eq!(
            set.resolve(&columns("text,label")).unwrap().shape,
            Shape::Pairs { anchor: 1, positive: 0 }
        );
        let set = Columns { text: some("answer"), label: some("topic"), ..Columns::default() };
        let roles = set.resolve(&columns("question,answer,topic,category")).unwrap();
        assert_eq!(roles.shape, Shape::Labelled { text: 1, label: 2 });
        assert_eq!(roles.unused, ["question", "category"]);
        let set = Columns { score: some("label"), ..Columns::default() };
        let roles = set.resolve(&columns("premise,hypothesis,label")).unwrap();
        assert_eq!(roles.shape, Shape::ScoredPairs { anchor: 0, positive: 1, score: 2 });
        let set = Columns { negatives: Some(vec![]), ..Columns::default() };
        let roles = set.resolve(&columns("anchor,positive,negative")).unwrap();
        assert_eq!(roles.shape, Shape::Pairs { anchor: 0, positive: 1 });
    }

    #[test]
    fn what_is_unclear_names_the_options() {
        let error = |names| {
            let error = resolve(names).unwrap_err();
            format!("{error}; {}", error.hint().unwrap_or_default())
        };
        for (names, words) in [
            ("text,label,category", "data.label"),
            ("text,label,question,answer", "data.anchor"),
            ("premise,hypothesis,label", "data.score = \"label\""),
            ("a,b", "data.text"),
            ("question,b", "data.positive"),
            ("text,b", "data.label"),
            ("a,label", "data.text"),
            ("query,question,answer", "data.anchor"),
        ] {
            let error = error(names);
            assert!(error.contains(words) && error.contains("columns are \""), "{names}: {error}");
        }
    }

    #[test]
    fn a_name_that_is_not_there_is_matched_to_the_nearest() {
        let set = Columns { label: some("categroy"), ..Columns::default() };
        let error = set.resolve(&columns("text,category")).unwrap_err().to_string();
        assert!(error.contains("did you mean \"category\"?"), "{error}");
        let set = Columns { text: some("text"), label: some("text"), ..Columns::default() };
        assert!(set.resolve(&columns("text,category")).unwrap_err().to_string().contains("two roles"));
    }

    #[test]
    fn beside_vectors_everything_is_optional() {
        let roles = Columns::default().beside_vectors(&columns("name,class,split")).unwrap();
        assert_eq!(roles.shape, Shape::Vectors { label: Some(1) });
        assert_eq!(roles.split, Some(2));
        let roles = Columns::default().beside_vectors(&columns("name")).unwrap();
        assert_eq!(roles.shape, Shape::Vectors { label: None });
    }

    #[test]
    fn the_text_to_embed() {
        let find = |names| Columns::default().text_column(&columns(names)).ok();
        assert_eq!(find("id,sentence"), Some(1));
        assert_eq!(find("whatever"), Some(0));
        assert_eq!(find("a,b"), None);
    }
}
