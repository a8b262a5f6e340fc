use parallax_random::Key;

/// How a forward pass is run: with or without dropout.
///
/// Dropout masks are functions of (key, site, row, position, unit), where `row` is the text's place in the batch. They
/// depend neither on threads nor on how the batch is grouped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pass {
    dropout: Option<Key>,
}

impl Pass {
    /// Inference: no dropout.
    pub fn inference() -> Self {
        Pass { dropout: None }
    }

    /// A training step; `key` names the run's seed and the step.
    pub fn training(key: Key) -> Self {
        Pass { dropout: Some(key) }
    }

    /// The key for one dropout site, or `None` where nothing is dropped.
    pub(crate) fn site(&self, name: &str, index: usize) -> Option<Key> {
        self.dropout.map(|key| key.named(name).at(index as u64))
    }
}
