//! Optimisers over parameters keyed by path.

use std::collections::BTreeMap;

use parallax_kernels::adamw;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which optimiser, and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Optimizer {
    /// Adam with decoupled weight decay (Loshchilov and Hutter 2019, arXiv 1711.05101).
    Adamw(AdamW),
}

/// `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`, `θ ← θ − lr · decay · θ − lr · m̂ / (√v̂ + ε)` with
/// `m̂ = m / (1 − β₁ᵗ)`, `v̂ = v / (1 − β₂ᵗ)`: PyTorch's form, decay on every parameter.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdamW {
    /// Peak learning rate.
    pub lr: f64,
    /// β₁ and β₂.
    pub betas: [f64; 2],
    /// ε, added to √v̂.
    pub eps: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
}

impl Default for AdamW {
    fn default() -> Self {
        AdamW { lr: 2e-5, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.01 }
    }
}

impl Default for Optimizer {
    fn default() -> Self {
        Optimizer::Adamw(AdamW::default())
    }
}

impl Optimizer {
    /// The AdamW settings.
    pub fn adamw(&self) -> &AdamW {
        let Optimizer::Adamw(settings) = self;
        settings
    }

    /// # Errors
    /// A rate, β, ε or decay out of range, by name.
    pub fn check(&self) -> Result<(), crate::Error> {
        let AdamW { lr, betas, eps, weight_decay } = self.adamw();
        let bad = |name: &str, value: f64, range: &str| {
            Err(crate::Error::Setting(format!("train.optimizer.{name} = {value} must be {range}")))
        };
        if !(lr.is_finite() && *lr >= 0.0) {
            return bad("lr", *lr, "0 or more");
        }
        if let Some(beta) = betas.iter().find(|b| !(0.0..1.0).contains(*b)) {
            return bad("betas", *beta, "in [0, 1)");
        }
        if !(eps.is_finite() && *eps > 0.0) {
            return bad("eps", *eps, "above 0");
        }
        if !(weight_decay.is_finite() && *weight_decay >= 0.0) {
            return bad("weight_decay", *weight_decay, "0 or more");
        }
        Ok(())
    }
}

/// First and second moments of one parameter.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moments {
    /// m.
    pub first: Vec<f32>,
    /// v.
    pub second: Vec<f32>,
}

/// The moments of every trained parameter, by path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct State {
    /// Steps taken, t.
    pub steps: u64,
    /// By parameter path.
    pub moments: BTreeMap<String, Moments>,
}

impl AdamW {
    /// One update of one parameter; `t` counts steps from 1. `scale` multiplies the gradient (clipping).
    pub fn update(
        &self,
        lr: f64,
        weight_decay: f64,
        t: u64,
        scale: f32,
        values: &mut [f32],
        gradient: &[f32],
        moments: &mut Moments,
    ) {
        if moments.first.is_empty() {
            moments.first = vec![0.0; values.len()];
            moments.second = vec![0.0; values.len()];
        }
        let parameter = adamw::Parameter {
            values,
            gradient,
            first: &mut moments.first,
            second: &mut moments.second,
            lr,
            weight_decay,
        };
        adamw::update(adamw::Step { betas: self.betas, eps: self.eps, t, scale }, &mut [parameter]);
    }
}

/// Σ x² in f64, block by block in order: the same for any number of threads.
pub fn squared_norm(values: &[f32]) -> f64 {
    adamw::squared_norm(&[values])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_steps_by_hand() {
        let adamw = AdamW { lr: 0.1, betas: [0.9, 0.99], eps: 1e-8, weight_decay: 0.5 };
        let (mut value, mut moments) = ([2.0f32], Moments::default());
        adamw.update(0.1, 0.5, 1, 1.0, &mut value, &[3.0], &mut moments);
        // m̂ = g and v̂ = g² after one step: the value decays by 5 % and moves by lr against the sign.
        assert!((value[0] - (2.0 * 0.95 - 0.1)).abs() < 1e-6, "{}", value[0]);
        adamw.update(0.1, 0.5, 2, 1.0, &mut value, &[-1.0], &mut moments);
        let (m, v) = (0.9 * 0.3 - 0.1, 0.99 * 0.09 + 0.01);
        let want = 1.8 * 0.95 - 0.1 * (m / (1.0 - 0.81)) / (v / (1.0f64 - 0.9801)).sqrt();
        assert!((f64::from(value[0]) - want).abs() < 1e-6, "{} {want}", value[0]);
    }

    #[test]
    fn the_norm_does_not_depend_on_threads() {
        let values: Vec<f32> = (0..100_000).map(|i| (i as f32 * 0.37).sin()).collect();
        let with = |n| {
            rayon::ThreadPoolBuilder::new().num_threads(n).build().unwrap().install(|| squared_norm(&values))
        };
        assert_eq!(with(1).to_bits(), with(2).to_bits());
    }
}
