//! What the rows of a table are.

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
        /// Columns of what a teacher says of them, each a number or a list of numbers; see [`scores`](super::scores). Often none.
        scores: Vec<usize>,
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
            Shape::Triplets { scores, .. } if !scores.is_empty() => "triplets with scores",
            Shape::Triplets { .. } => "triplets",
            Shape::ScoredPairs { .. } => "scored pairs",
            Shape::Vectors { .. } => "stored vectors",
        }
    }
}
