use parallax_random::Key;

use crate::Precision;

/// Which side of a search an input stands on. It matters to models whose two sides differ; see
/// [`StructuralSparse`](crate::head::StructuralSparse).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// What is searched with.
    #[default]
    Query,
    /// What is searched in.
    Document,
}

/// How a forward pass is run: with or without dropout, and how the encoder's products are rounded.
///
/// Dropout masks are functions of (key, site, row, position, unit), where `row` is the text's place in the batch. They
/// depend neither on threads nor on how the batch is grouped, nor on whether it is computed at once or in parts
/// ([`from_row`](Self::from_row)).
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    dropout: Option<Key>,
    precision: Precision,
    observes: bool,
    first_row: usize,
    queries: usize,
}

impl Pass {
    /// Inference: no dropout, 32 bits.
    pub fn inference() -> Self {
        Pass { dropout: None, precision: Precision::F32, observes: false, first_row: 0, queries: usize::MAX }
    }

    /// A training step in 32 bits; `key` names the run's seed and the step.
    pub fn training(key: Key) -> Self {
        Pass { dropout: Some(key), ..Pass::inference() }
    }

    /// The same with the encoder's products in another precision.
    pub fn with_precision(self, precision: Precision) -> Self {
        Pass { precision, ..self }
    }

    /// The same, with every linear layer of the encoder noting how large its inputs are; see
    /// [`Channels`](crate::layer::Channels).
    pub fn observing(self) -> Self {
        Pass { observes: true, ..self }
    }

    /// The same over a part of the batch: its first text is row `first` of the whole.
    pub fn from_row(self, first: usize) -> Self {
        Pass { first_row: first, ..self }
    }

    /// The same with the first `rows` inputs of the whole batch as queries and the rest as documents; all are queries where
    /// nothing is said.
    pub fn with_queries(self, rows: usize) -> Self {
        Pass { queries: rows, ..self }
    }

    /// The same with every input on one side.
    pub fn on_side(self, role: Role) -> Self {
        self.with_queries(match role {
            Role::Query => usize::MAX,
            Role::Document => 0,
        })
    }

    /// How many of the first inputs of this part of the batch are queries.
    pub fn queries(&self) -> usize {
        self.queries.saturating_sub(self.first_row)
    }

    /// The row of the first text.
    pub(crate) fn first_row(&self) -> usize {
        self.first_row
    }

    /// How the encoder's products are rounded.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    pub(crate) fn observes(&self) -> bool {
        self.observes
    }

    /// The key for one dropout site, or `None` where nothing is dropped.
    pub(crate) fn site(&self, name: &str, index: usize) -> Option<Key> {
        self.dropout.map(|key| key.named(name).at(index as u64))
    }
}
