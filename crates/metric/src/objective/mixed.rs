//! The loss of an objective on mixtures.

use parallax_kernels::Real;

use super::row_loss::evaluate_row;
use super::{Evaluated, Objective};
use crate::batch::{Batch, Refs, check_values};
use crate::context::{Context, Mixed};
use crate::dense::DenseLoss;
use crate::distance::DistanceConfig;
use crate::error::Error;
use crate::frame::Frame;
use crate::loss::Visitor;
use crate::mixup::{
    Anchor, Branches, DECOMPOSED, Form, Labels, Level, Metrix, Mixtures, TwoBranch, evaluate_two_branch,
};
use crate::number::Number;
use crate::parts::Parts;
use crate::proxy::{ProxyLoss, evaluate_proxy_loss};
use crate::relation::Own;
use crate::row::RowLoss;
use crate::scored::ScoredLoss;
use crate::tiling::{Extra, Shape};

/// What the loss on mixtures gave, before its weight.
#[derive(Clone, Debug, Default)]
pub struct OnMixtures<T> {
    value: f64,
    /// By the raw embeddings of the batch; empty where anchors are proxies and mixtures were given.
    grad: Vec<T>,
    proxy_grad: Vec<T>,
    scalar_grad: Vec<f64>,
    /// By the raw embeddings of mixtures that were given.
    mixed_grad: Vec<T>,
}

impl Objective {
    /// The settings of mixup, where it adds anything.
    pub fn active_mixup(&self) -> Option<&Metrix> {
        self.mixup.as_ref().map(crate::MixupConfig::metrix).filter(|metrix| metrix.active())
    }

    /// Refuses mixup out of range, and for a loss that it has no meaning for.
    pub(super) fn check_mixup(&self) -> Result<(), Error> {
        let Some(mixup) = &self.mixup else { return Ok(()) };
        let metrix = mixup.metrix();
        metrix.check()?;
        let (loss, wants) = (self.loss.name(), self.loss.wants());
        if wants.pairs {
            return Err(not_mixable(loss, "its positives are given pair by pair, and mixtures have classes"));
        }
        self.loss.visit(Decomposes { form: metrix.form })
    }

    /// The loss and, beside it, the loss on mixtures.
    pub(super) fn evaluate_both<T: Number>(
        &self,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Evaluated<T>, Error> {
        let mut found = self.evaluate_loss(batch, context)?;
        let Some(metrix) = self.active_mixup() else { return Ok(found) };
        if let Some(mixed) = T::evaluate_mixed(self, batch, context)? {
            let factor = T::of(metrix.weight);
            let add = |to: &mut [T], from: &[T]| {
                to.iter_mut().zip(from).for_each(|(to, &from)| *to += factor * from);
            };
            found.value += metrix.weight * mixed.value;
            found.term("mixed", metrix.weight * mixed.value);
            add(&mut found.grad, &mixed.grad);
            add(&mut found.proxy_grad, &mixed.proxy_grad);
            let scalars = found.scalar_grad.iter_mut().zip(&mixed.scalar_grad);
            scalars.for_each(|(to, from)| *to += metrix.weight * from);
            found.mixed_grad = mixed.mixed_grad;
            found.mixed_grad.iter_mut().for_each(|g| *g *= factor);
        }
        Ok(found)
    }

    /// The loss on the mixtures that the context holds, or that are drawn here.
    pub(crate) fn evaluate_on_mixtures<T: Real>(
        &self,
        batch: &Batch<'_, T>,
        context: &Context<'_, T>,
    ) -> Result<Option<OnMixtures<T>>, Error> {
        let Some(metrix) = self.active_mixup() else { return Ok(None) };
        if batch.refs.is_some_and(|refs| refs.own.paired()) {
            let why = "the batch is of pairs, and mixtures have classes";
            return Err(not_mixable(self.loss.name(), why));
        }
        let (rows, dim) = (batch.labels.len(), batch.dim);
        let drawn;
        let Mixed { mixtures, embeddings } = match context.mixed {
            Some(mixed) => mixed,
            None if metrix.level == Level::Embedding => {
                drawn = Mixtures::draw(metrix, rows, context.key.named("mixup"));
                Mixed { mixtures: &drawn, embeddings: None }
            }
            None => return Err(Error::NeedsMixtures),
        };
        mixtures.check(rows)?;
        if mixtures.is_empty() {
            return Ok(None);
        }
        let distance = self.distance();
        let on = |examples: &[T]| {
            self.loss.visit(Comparing {
                objective: self,
                form: metrix.form,
                batch,
                mixtures,
                examples,
                context,
            })
        };
        if let Some(given) = embeddings {
            check_values("embeddings of mixtures", given, mixtures.len(), dim)?;
            let on = on(given)?;
            return Ok(Some(OnMixtures { mixed_grad: on.ref_grad.unwrap_or_default(), ..on.rest }));
        }
        // Sources of the length that the distance gives them, and mixtures brought back to length 1 where it does not.
        let unit = DistanceConfig::cosine();
        let sources = distance.norm().map(|_| Frame::new(batch.x, dim, &unit));
        let lerped = mixtures.mix(sources.as_ref().map_or(batch.x, |frame| &frame.values), dim);
        let mixed = (metrix.renormalize && sources.is_none()).then(|| Frame::new(&lerped, dim, &unit));
        let on = on(mixed.as_ref().map_or(&lerped, |frame| &frame.values))?;
        let mut by_mixtures = on.ref_grad.unwrap_or_default();
        if let Some(frame) = &mixed {
            frame.backward(&mut by_mixtures);
        }
        let mut by_sources = vec![T::ZERO; batch.x.len()];
        mixtures.mix_backward(&by_mixtures, dim, &mut by_sources);
        if let Some(frame) = &sources {
            frame.backward(&mut by_sources);
        }
        let mut rest = on.rest;
        if rest.grad.is_empty() {
            rest.grad = by_sources;
        } else {
            rest.grad.iter_mut().zip(&by_sources).for_each(|(to, &from)| *to += from);
        }
        Ok(Some(rest))
    }

    /// An upper bound on the bytes of the loss on mixtures.
    pub(super) fn mixed_bytes(&self, shape: &Shape) -> usize {
        let Some(metrix) = self.active_mixup() else { return 0 };
        let Shape { anchors, proxies, dim, value_bytes, threads, .. } = *shape;
        let mixtures = metrix.rounds * anchors;
        let rows = if self.loss.wants().proxies.is_some() { proxies.max(anchors) } else { anchors };
        let engine =
            Extra::default().bytes(&Shape { anchors: rows, references: mixtures.max(proxies), ..*shape });
        engine + metrix.memory_bytes(anchors, dim, value_bytes, threads)
    }
}

fn not_mixable(loss: &'static str, why: &str) -> Error {
    Error::NotMixable { loss, why: why.to_owned() }
}

fn check_form(loss: &'static str, form: Form, decomposes: bool) -> Result<(), Error> {
    if form == Form::Labelings || decomposes {
        return Ok(());
    }
    let why = format!(
        "it does not decompose into two branches; those that do are {}; form = \"labelings\" takes any other loss on \
         pairs or proxies",
        DECOMPOSED.join(", ")
    );
    Err(Error::NotMixable { loss, why })
}

/// Refuses a loss that cannot be compared with mixtures.
struct Decomposes {
    form: Form,
}

impl Visitor for Decomposes {
    type Out = Result<(), Error>;

    fn row<L: RowLoss>(self, loss: &L) -> Self::Out {
        if loss.mates() && self.form == Form::Labelings {
            return Err(not_mixable(L::NAME, "it compares the batch with itself alone"));
        }
        check_form(L::NAME, self.form, loss.branches(true).is_some())
    }

    fn proxy<L: ProxyLoss>(self, loss: &L) -> Self::Out {
        check_form(L::NAME, self.form, loss.branches(true).is_some())
    }

    fn dense<L: DenseLoss>(self, _loss: &L) -> Self::Out {
        Err(not_mixable(L::NAME, "it is a loss on the batch as a whole"))
    }

    fn scored<L: ScoredLoss>(self, _loss: &L) -> Self::Out {
        Err(not_mixable(L::NAME, "it is a loss on pairs with scores"))
    }
}

/// What the loss gave on mixtures: their gradient, and the rest.
struct Found<T> {
    ref_grad: Option<Vec<T>>,
    rest: OnMixtures<T>,
}

/// Compares anchors with mixtures, according to the kind of the loss.
struct Comparing<'o, 'b, T> {
    objective: &'o Objective,
    form: Form,
    batch: &'o Batch<'b, T>,
    mixtures: &'o Mixtures,
    /// The embeddings of the mixtures.
    examples: &'o [T],
    context: &'o Context<'b, T>,
}

/// Labels of mixtures for rows of the batch, or for proxies.
struct OfMixtures<'a> {
    mixtures: &'a Mixtures,
    labels: &'a [u32],
    /// Classes of the anchors.
    classes: &'a [u32],
    rows: bool,
}

impl Labels for OfMixtures<'_> {
    #[inline]
    fn label(&self, anchor: usize, example: usize) -> Option<f64> {
        let row = self.rows.then_some(anchor as u32);
        self.mixtures.label(example, Anchor { row, label: self.classes[anchor] }, self.labels)
    }
}

impl<T: Real> Comparing<'_, '_, T> {
    /// Two branches with these anchors.
    fn branches(
        &self,
        branches: &Branches,
        anchors: &[T],
        classes: &[u32],
        rows: bool,
    ) -> Result<Found<T>, Error> {
        let (distance, reducer) = (self.objective.distance(), self.objective.reducer());
        let on = TwoBranch { anchors, classes, examples: self.examples, dim: self.batch.dim };
        let labels = OfMixtures { mixtures: self.mixtures, labels: self.batch.labels, classes, rows };
        let found = evaluate_two_branch(branches, &distance, &reducer, &on, &labels, self.context)?;
        let mut rest = OnMixtures { value: found.value, ..OnMixtures::default() };
        if rows {
            rest.grad = found.grad;
        } else {
            rest.proxy_grad = found.grad;
        }
        Ok(Found { ref_grad: found.ref_grad, rest })
    }

    /// λ times the loss with mixtures in the classes of their first sources, plus 1 − λ times with those of their second.
    fn labelings(
        &self,
        mut evaluate: impl FnMut(&[u32]) -> Result<Found<T>, Error>,
    ) -> Result<Found<T>, Error> {
        let of = |second: bool| -> Vec<u32> {
            let sources = self.mixtures.sources().iter();
            sources.map(|&(i, j)| self.batch.labels[if second { j } else { i } as usize]).collect()
        };
        let share = self.mixtures.shares().first().copied().unwrap_or(0.5);
        if self.mixtures.shares().iter().any(|&other| other != share) {
            return Err(Error::Combination {
                component: Metrix::NAME,
                must: "form = \"labelings\" needs one share for all mixtures of a step",
            });
        }
        let (mut first, second) = (evaluate(&of(false))?, evaluate(&of(true))?);
        let (near, far) = (T::of(share), T::of(1.0 - share));
        let mean = |to: &mut [T], from: &[T]| {
            to.iter_mut().zip(from).for_each(|(to, &from)| *to = near * *to + far * from);
        };
        first.rest.value = share * first.rest.value + (1.0 - share) * second.rest.value;
        mean(&mut first.rest.grad, &second.rest.grad);
        mean(&mut first.rest.proxy_grad, &second.rest.proxy_grad);
        if let (Some(to), Some(from)) = (&mut first.ref_grad, &second.ref_grad) {
            mean(to, from);
        }
        let scalars = first.rest.scalar_grad.iter_mut().zip(&second.rest.scalar_grad);
        scalars.for_each(|(to, from)| *to = share * *to + (1.0 - share) * from);
        Ok(first)
    }
}

impl<T: Real> Visitor for Comparing<'_, '_, T> {
    type Out = Result<Found<T>, Error>;

    fn row<L: RowLoss>(self, loss: &L) -> Self::Out {
        let Batch { x, dim, labels, .. } = *self.batch;
        let (distance, reducer) = (self.objective.distance(), self.objective.reducer());
        if self.form == Form::Branches {
            let branches = loss.branches(distance.larger_is_nearer());
            let branches = branches.ok_or_else(|| not_mixable(L::NAME, "it does not decompose"))?;
            return self.branches(&branches, x, labels, true);
        }
        let miner = self.objective.miner.as_ref();
        let context = Context { want_ref_grad: true, teacher: None, ..*self.context };
        self.labelings(|classes| {
            let refs = Some(Refs { r: self.examples, labels: classes, own: Own::None });
            let batch = Batch { x, dim, labels, refs };
            let found = evaluate_row(loss, miner, &distance, &reducer, &batch, &context, false)?;
            let Evaluated { value, grad, scalar_grad, ref_grad, .. } = found;
            Ok(Found { ref_grad, rest: OnMixtures { value, grad, scalar_grad, ..OnMixtures::default() } })
        })
    }

    fn proxy<L: ProxyLoss>(self, loss: &L) -> Self::Out {
        let (distance, reducer) = (self.objective.distance(), self.objective.reducer());
        let proxies = self.context.proxies.ok_or(Error::NeedsProxies { loss: L::NAME })?;
        if self.form == Form::Branches {
            let branches = loss.branches(distance.larger_is_nearer());
            let branches = branches.ok_or_else(|| not_mixable(L::NAME, "it does not decompose"))?;
            let (dim, each) = (self.batch.dim, loss.per_class());
            let classes: Vec<u32> = (0..proxies.len() / dim).map(|p| (p / each) as u32).collect();
            return self.branches(&branches, proxies, &classes, false);
        }
        let miner = self.objective.miner.as_ref();
        let parts = Parts { miner, distance: &distance, reducer: &reducer };
        self.labelings(|classes| {
            let batch = Batch { x: self.examples, dim: self.batch.dim, labels: classes, refs: None };
            let found = evaluate_proxy_loss(loss, &parts, &batch, self.context)?;
            let Evaluated { value, grad, proxy_grad, .. } = found;
            Ok(Found {
                ref_grad: Some(grad),
                rest: OnMixtures { value, proxy_grad, ..OnMixtures::default() },
            })
        })
    }

    fn dense<L: DenseLoss>(self, _loss: &L) -> Self::Out {
        Err(not_mixable(L::NAME, "it is a loss on the batch as a whole"))
    }

    fn scored<L: ScoredLoss>(self, _loss: &L) -> Self::Out {
        Err(not_mixable(L::NAME, "it is a loss on pairs with scores"))
    }
}
