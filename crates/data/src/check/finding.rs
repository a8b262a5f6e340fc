//! One thing that is wrong, where, and what to do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// What is learned or measured will be wrong, or the run will stop.
    Error,
    /// What is learned or measured may be worse than it could be.
    Warning,
    /// Good to know.
    Note,
}

impl Severity {
    /// "error", "warning" or "note".
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A text is absent, empty or blank.
    EmptyTexts,
    /// A cell of a text column holds a list or an object.
    NotText,
    /// A row lacks its label or its score.
    MissingLabels,
    /// The same text has different labels, or the same pair different scores.
    ConflictingLabels,
    /// A row repeats another one, label and all.
    ExactDuplicates,
    /// A row repeats another one but for case and spaces.
    NormalisedDuplicates,
    /// Both texts of a pair are the same.
    SameSides,
    /// A text is longer than the model reads.
    LongTexts,
    /// All rows have one label.
    OneClass,
    /// A class has one row.
    SingletonClasses,
    /// One class is much larger than most.
    UnevenClasses,
    /// Names of classes that differ by case and spaces only.
    LabelSpelling,
    /// A text of the test or validation part stands in another part.
    LeakedTexts,
    /// A text of the test or validation part stands in another part but for case and spaces.
    LeakedNormalisedTexts,
    /// An anchor of the test or validation part stands in another part, in another pair.
    LeakedAnchors,
    /// A class is in two parts that should have none in common.
    SharedClasses,
    /// A class of the test part has no training row.
    UnseenClasses,
    /// A column holds the same value in nearly every row.
    ConstantColumn,
}

/// Rows that show a finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Example {
    /// The rows, as `file:row`; several where they belong together, such as a row and the one it repeats.
    pub rows: Vec<String>,
    /// The start of the text, the class or the value, and what else tells the rows apart.
    pub shown: String,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// How bad it is.
    pub severity: Severity,
    /// How many rows it is about; for findings about classes and columns how many of those.
    pub count: usize,
    /// One sentence.
    pub message: String,
    /// Some of the rows.
    pub examples: Vec<Example>,
    /// What to do.
    pub hint: String,
}
