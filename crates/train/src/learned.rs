//! What an objective learns beside the model: proxies and scalars.

use parallax_metric::proxy;
use parallax_random::Key;

use crate::optimizer::{AdamW, State};
use crate::{Criterion, Error, Result};

/// The path of the proxies, as a parameter's.
pub(crate) const PROXIES: &str = "objective.proxies";
/// The path of the scalars.
pub(crate) const SCALARS: &str = "objective.scalars";

/// Parameters of an objective, in training beside those of the model and left out of the saved model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Learned {
    /// Proxies of the classes, `[classes · per_class, dim]`, class by class; empty where there are none.
    pub(crate) proxies: Vec<f32>,
    /// Learnable scalars; empty where there are none.
    pub(crate) scalars: Vec<f32>,
}

impl Learned {
    /// First values: proxies drawn from `key`, scalars as the objective says.
    pub(crate) fn new(criterion: &dyn Criterion, classes: usize, dim: usize, key: Key) -> Self {
        let proxies = criterion.wants().proxies;
        Learned {
            proxies: proxies.map_or_else(Vec::new, |per_class| {
                proxy::initial(classes, per_class, dim, key.named("proxies"))
            }),
            scalars: criterion.scalars().into_iter().map(|value| value as f32).collect(),
        }
    }

    /// (path, values) of what there is.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&'static str, &Vec<f32>)> {
        [(PROXIES, &self.proxies), (SCALARS, &self.scalars)].into_iter().filter(|(_, v)| !v.is_empty())
    }

    pub(crate) fn parts_mut(&mut self) -> impl Iterator<Item = (&'static str, &mut Vec<f32>)> {
        let parts = [(PROXIES, &mut self.proxies), (SCALARS, &mut self.scalars)];
        parts.into_iter().filter(|(_, values)| !values.is_empty())
    }

    /// One optimiser step, without weight decay: the losses divide by the length of a proxy, and a boundary has no reason
    /// to be near 0.
    ///
    /// # Errors
    /// A gradient that is missing or not finite.
    pub(crate) fn update(
        &mut self,
        adamw: &AdamW,
        rate: impl Fn(&str) -> f64,
        state: &mut State,
        step: u64,
        gradients: &Gradients,
    ) -> Result<()> {
        for (path, values) in self.parts_mut() {
            let gradient = if path == PROXIES { &gradients.proxies } else { &gradients.scalars };
            let fits = gradient.len() == values.len() && gradient.iter().all(|g| g.is_finite());
            if !fits {
                return Err(Error::NotFinite { step: step + 1, what: format!("the gradient of \"{path}\"") });
            }
            let moments = state.moments.entry(path.to_owned()).or_default();
            adamw.update(rate(path), 0.0, step + 1, 1.0, values, gradient, moments);
        }
        Ok(())
    }
}

/// Gradients of what is [`Learned`].
#[derive(Clone, Debug, Default)]
pub(crate) struct Gradients {
    pub(crate) proxies: Vec<f32>,
    pub(crate) scalars: Vec<f32>,
}
