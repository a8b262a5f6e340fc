//! Forward and backward of one batch.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;

use parallax_metric::scored::Targets;
use parallax_metric::{Batch, Context, Evaluated, ObjectiveStats, Own, Refs, Teacher, grad_cache_by};
use parallax_nn::{Input, Pass, SentenceEncoder, parameters};
use parallax_random::Key;

use crate::beside::{Beside, Given};
use crate::kept::Kept;
use crate::learned::{self, Learned};
use crate::{Criterion, Error, Example, Result, RowScores, Taught};

/// Gradients of the parameters of a model, by path.
pub(crate) type Gradients = BTreeMap<String, Vec<f32>>;

/// What a batch gave.
pub(crate) struct Computed {
    /// The loss.
    pub value: f64,
    /// What the batch held.
    pub stats: ObjectiveStats,
    /// Gradients of every parameter that the batch reached.
    pub gradients: Gradients,
    /// Gradients of what the objective learns.
    pub learned: learned::Gradients,
    /// What else the objective says of the batch, by name.
    pub terms: Vec<(&'static str, f64)>,
    /// Whether any embedding has a gradient other than 0.
    pub moved: bool,
    /// Tokens, without padding.
    pub tokens: usize,
}

/// The rows of a batch.
pub(crate) struct BatchRows<'a> {
    /// The rows.
    pub examples: &'a [Example],
    /// Their labels.
    pub labels: &'a [u32],
    /// Their scores, for rows that have some.
    pub scores: Option<RowScores<'a>>,
    /// What a teacher makes of them.
    pub taught: Option<&'a Taught>,
}

/// How a batch is computed.
pub(crate) struct Way<'a> {
    /// What is minimised.
    pub criterion: &'a dyn Criterion,
    /// With dropout or without.
    pub pass: Pass,
    /// What the objective draws from in this step.
    pub key: Key,
    /// The step, from 1.
    pub step: u64,
    /// Rows that the encoder takes at once; all of them where it is not given.
    pub chunk: Option<usize>,
}

impl Way<'_> {
    /// Loss and gradients of one batch.
    ///
    /// The embeddings leave the graph, the objective answers with its gradient G by them, and G enters the graph once:
    /// the derivative of Σ x·G is G exactly. In chunks every row is embedded twice: first for the objective and without a
    /// graph, since the engine holds a graph until a backward pass goes over it; then again for the backward pass of its chunk
    /// alone. Both passes drop the same units, because dropout depends on a row's place in the batch, and differ by rounding
    /// alone.
    pub(crate) fn compute(
        &self,
        model: &SentenceEncoder,
        learned: &Learned,
        kept: &mut Kept,
        batch: &BatchRows<'_>,
    ) -> Result<Computed> {
        let examples = batch.examples;
        let mut inputs: Vec<&Input> = examples.iter().map(|e| &e.anchor).collect();
        inputs.extend(examples.iter().filter_map(|e| e.positive.as_ref()));
        inputs.extend(examples.iter().flat_map(|e| e.negatives.iter().map(|(input, _)| input)));
        let (rows, dim) = (inputs.len(), model.dim());
        let chunk = self.chunk.map_or(rows, |chunk| chunk.min(rows));
        let beside = Beside::new(self.criterion, model, batch.labels.len(), self.key);
        // What follows the anchors are their positives and negatives: documents.
        let pass = self.pass.with_queries(examples.len());
        let forward = |model: &SentenceEncoder, range: Range<usize>| {
            beside.forward(model, &inputs[range.clone()], &pass.from_row(range.start))
        };
        let frozen = (chunk < rows).then(|| model.frozen());
        // The graph of a batch that is not cut is kept from one pass to the other.
        let whole = Cell::new(None);
        let gradients = RefCell::new(Gradients::new());
        let given = RefCell::new(Given::default());
        let mut moved = false;
        let mut evaluated = grad_cache_by(
            rows,
            dim,
            chunk,
            |range| {
                let out = forward(frozen.as_ref().unwrap_or(model), range)?;
                let values = out.values(&mut given.borrow_mut())?;
                whole.set(frozen.is_none().then_some(out));
                Ok::<_, Error>(values)
            },
            |values| {
                let mut given = given.borrow_mut();
                let mixed = beside.mix(model, frozen.as_ref(), &mut given, chunk)?;
                let mut evaluated = self.evaluate(learned, kept, batch, values, dim, &given)?;
                let mut add = |more| add(&mut gradients.borrow_mut(), more);
                given.take_gradients(&mut evaluated);
                beside.mix_backward(model, mixed, &mut given, chunk, &mut add)?;
                Ok(evaluated)
            },
            |range, gradient| {
                moved |= gradient.iter().any(|&g| g != 0.0);
                let out = match whole.take() {
                    Some(out) => out,
                    None => forward(model, range.clone())?,
                };
                let mut found = out.seeded(gradient, range, &given.borrow()).backward();
                add(&mut gradients.borrow_mut(), parameters::gradients(model.network(), &mut found));
                Ok(())
            },
        )?;
        let gradients = gradients.into_inner();
        let learned = learned::Gradients {
            proxies: std::mem::take(&mut evaluated.proxy_grad),
            scalars: evaluated.scalar_grad.iter().map(|&gradient| gradient as f32).collect(),
        };
        let tokens = inputs.iter().map(|input| input.tokens()).sum();
        let Evaluated { value, stats, terms, .. } = evaluated;
        Ok(Computed { value, stats, terms, gradients, learned, moved, tokens })
    }

    /// The objective on the embeddings of a batch: anchors, then positives, then negatives, `[rows, dim]`.
    fn evaluate(
        &self,
        learned: &Learned,
        kept: &mut Kept,
        batch: &BatchRows<'_>,
        values: &[f32],
        dim: usize,
        given: &Given,
    ) -> Result<Evaluated<f32>> {
        let step = self.step;
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(Error::NotFinite {
                step,
                what: format!("the embedding of row {} of the batch", at / dim + 1),
            });
        }
        let wants = self.criterion.wants();
        let (x, r) = values.split_at(batch.examples.len() * dim);
        let ref_labels: Vec<u32> = if r.is_empty() {
            Vec::new()
        } else {
            let hard = batch.examples.iter().flat_map(|e| e.negatives.iter().map(|(_, label)| *label));
            batch.labels.iter().copied().chain(hard).collect()
        };
        let own = if wants.pairs { Own::Positive } else { Own::None };
        let refs = (!r.is_empty()).then_some(Refs { r, labels: &ref_labels, own });
        let rows = Batch { x, dim, labels: batch.labels, refs };

        let scalars: Vec<f64> = learned.scalars.iter().map(|&value| f64::from(value)).collect();
        let targets = wants.targets.and_then(|targets| batch.targets(targets));
        let candidates: Vec<f32> = match (wants.teacher.is_some(), batch.taught, batch.scores) {
            (true, None, Some(scores)) => scores.values.iter().map(|&score| score as f32).collect(),
            _ => Vec::new(),
        };
        let teacher = match (wants.teacher.is_some(), batch.taught) {
            (false, _) => None,
            (true, Some(Taught { x, r, dim })) => Some(Teacher::Embeddings { x, r, dim: *dim }),
            (true, None) => batch.scores.map(|_| Teacher::Candidates(&candidates)),
        };
        let all_labels: Vec<u32> = batch.labels.iter().chain(&ref_labels).copied().collect();
        let context = Context {
            want_ref_grad: true,
            layer: given.layer(&all_labels),
            mixed: given.mixed(),
            scalars: (!scalars.is_empty()).then_some(&scalars),
            proxies: (!learned.proxies.is_empty()).then_some(&learned.proxies),
            targets: targets.as_deref(),
            teacher,
            key: self.key,
            ..Context::default()
        };
        let evaluated = kept.evaluate(self.criterion, &rows, &context)?;
        if !evaluated.value.is_finite() {
            return Err(Error::NotFinite { step, what: "the loss".into() });
        }
        Ok(evaluated)
    }
}

impl BatchRows<'_> {
    /// What the similarities of the batch should be: the scores of its rows, or else what the teacher computes.
    fn targets(&self, targets: Targets) -> Option<Cow<'_, [f64]>> {
        if let Some(scores) = self.scores {
            return Some(Cow::Borrowed(scores.values));
        }
        let rows = self.examples.len();
        let negatives: usize = self.examples.iter().map(|example| example.negatives.len()).sum();
        let each = if targets == Targets::Lists { negatives / rows.max(1) } else { 0 };
        Some(Cow::Owned(self.taught?.scores(rows, each)))
    }
}

/// Adds gradients of one chunk to the sums of those before.
fn add(sums: &mut Gradients, more: Gradients) {
    for (path, values) in more {
        match sums.entry(path) {
            Entry::Vacant(entry) => {
                entry.insert(values);
            }
            Entry::Occupied(mut entry) => {
                entry.get_mut().iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
        }
    }
}
