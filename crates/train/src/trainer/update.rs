//! Rates, and one optimiser step.

use parallax_kernels::adamw;
use parallax_nn::{SentenceEncoder, ops, parameters};

use super::Trainer;
use crate::learned::PROXIES;
use crate::optimizer::State;
use crate::step::Gradients;
use crate::{Error, Result};

/// How many times the model's rate that of proxies and scalars is.
const LEARNED_RATE: f64 = 100.0;

impl Trainer<'_> {
    /// The learning rate of a parameter (or of those without a group) at a step from 0.
    pub(crate) fn rate(&self, path: Option<&str>, step: u64) -> f64 {
        let group = path.and_then(|path| self.group(path));
        let peak = group.and_then(|g| g.lr).unwrap_or(self.config.optimizer.adamw().lr);
        peak * self.config.schedule.factor(step, self.steps())
    }

    /// The learning rate of what the objective learns, by its path.
    pub(super) fn learned_rate(&self, path: &str, step: u64) -> f64 {
        let own = if path == PROXIES { self.config.proxy_lr } else { self.config.scalar_lr };
        let peak = own.unwrap_or(LEARNED_RATE * self.config.optimizer.adamw().lr);
        peak * self.config.schedule.factor(step, self.steps())
    }

    fn group(&self, path: &str) -> Option<&crate::Group> {
        self.config.groups.iter().find(|group| parameters::matches(&group.parameters, path))
    }

    /// One optimiser step.
    ///
    /// # Errors
    /// A gradient that is not finite, or a parameter that is to be trained and has none.
    pub(crate) fn apply(
        &self,
        model: &mut SentenceEncoder,
        state: &mut State,
        mut gradients: Gradients,
        step: u64,
        check: bool,
    ) -> Result<Applied> {
        let mut failed = None;
        let slices: Vec<&[f32]> = gradients.values().map(Vec::as_slice).collect();
        let squares = adamw::squared_norms(&slices);
        if let Some((path, _)) = gradients.keys().zip(&squares).find(|(_, square)| !square.is_finite()) {
            return Err(Error::NotFinite { step: step + 1, what: format!("the gradient of \"{path}\"") });
        }
        let norm = squares.iter().sum::<f64>().sqrt();
        let scale = self.config.clip_norm.map_or(1.0, |most| (most / (norm + 1e-6)).min(1.0) as f32);
        let adamw = self.config.optimizer.adamw();
        let mut still = Vec::new();
        model.update_network(|network| {
            parameters::update(network, |path, values| {
                let Some(gradient) = gradients.remove(path) else {
                    failed.get_or_insert(Error::Setting(format!(
                        "parameter \"{path}\" is to be trained but does not reach the loss"
                    )));
                    return;
                };
                let decay = self.group(path).and_then(|g| g.weight_decay).unwrap_or(adamw.weight_decay);
                let moments = state.moments.entry(path.into()).or_default();
                let before = check.then(|| values.to_vec());
                adamw.update(self.rate(Some(path), step), decay, step + 1, scale, values, &gradient, moments);
                ops::recycle(gradient);
                if before.is_some_and(|before| before == values) {
                    still.push(path.to_owned());
                }
            })
        });
        failed.map_or(Ok(Applied { norm, still }), Err)
    }
}

/// What an optimiser step did.
pub(crate) struct Applied {
    /// Norm of the gradient before clipping.
    pub norm: f64,
    /// Parameters that did not move, where that was checked.
    pub still: Vec<String>,
}
