//! Penalties on the vectors themselves: on the embeddings of a batch, or on proxies.
//!
//! A regulariser adds `weight · penalty` to the loss and its derivative to the gradient; it sees no labels. Memory is
//! `O(R·D)`, with a tile of similarities beside it for RegularFace. [`EnergyConfusion`] is the exception: it is on the output
//! of the metric layer ([`Context::layer`](crate::Context)), whose classes it sees.
//!
//! To add one: a file with its parameters and its [`Regularizer`], and one line in the list below.

mod center_invariant;
mod energy_confusion;
mod lp;
mod quantization;
mod regular_face;
mod sparse_centers;
mod zero_mean;

use parallax_kernels::Real;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use center_invariant::CenterInvariant;
pub use energy_confusion::{Confused, ConfusedPairs, Confusion, EnergyConfusion};
pub use lp::LpNorm;
pub use quantization::Quantization;
pub use regular_face::RegularFace;
pub use sparse_centers::SparseCenters;
pub use zero_mean::ZeroMean;

use crate::batch::check_values;
use crate::error::{Error, require};

/// A penalty on the rows of a matrix.
pub trait Regularizer: Sync {
    /// Name in configs and messages.
    const NAME: &'static str;

    /// Factor of the penalty.
    fn weight(&self) -> f64;

    /// Refuses parameters outside their range, and a number of rows that the penalty is not defined on.
    fn check(&self, rows: usize) -> Result<(), Error>;

    /// An upper bound on the bytes that [`penalty`](Self::penalty) allocates.
    fn memory_bytes(&self, rows: usize, dim: usize, value_bytes: usize, _threads: usize) -> usize {
        16 * rows + dim * value_bytes + (16 << 10)
    }

    /// The penalty of `rows × dim` values, without its weight; adds `factor · ∂penalty/∂values` to `gradient`.
    fn penalty<T: Real>(&self, values: &[T], dim: usize, factor: f64, gradient: &mut [T]) -> f64;
}

/// Declares [`RegularizerConfig`] and the calls to its members from one line each.
macro_rules! regularizers {
    ($($(#[$note:meta])* $member:ident,)*) => {
        /// A penalty on embeddings or on proxies.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(tag = "name", rename_all = "snake_case")]
        pub enum RegularizerConfig {
            $($(#[$note])* $member($member),)*
            /// Confusion of classes in the metric layer, so that the encoder has to tell them apart (Chen and Deng, Energy
            /// Confused Adversarial Metric Learning, AAAI 2019).
            EnergyConfusion(EnergyConfusion),
        }

        impl RegularizerConfig {
            /// Refuses parameters outside their range, and a number of rows that the penalty is not defined on.
            pub fn check(&self, rows: usize) -> Result<(), Error> {
                match self {
                    $(Self::$member(member) => check(member, rows),)*
                    Self::EnergyConfusion(member) => member.check(),
                }
            }

            /// An upper bound on the bytes that [`add`](Self::add) allocates for `[rows, dim]` values.
            pub fn memory_bytes(&self, rows: usize, dim: usize, value_bytes: usize, threads: usize) -> usize {
                match self {
                    $(Self::$member(member) => member.memory_bytes(rows, dim, value_bytes, threads),)*
                    Self::EnergyConfusion(member) => member.memory_bytes(rows, dim, value_bytes),
                }
            }

            /// The weighted penalty of `values` `[rows, dim]`; its derivative is added to `gradient`.
            ///
            /// # Errors
            /// Parameters outside their range, slices that do not fit together, values that are not finite; and always for
            /// [`EnergyConfusion`], which is on the output of a layer and needs labels.
            pub fn add<T: Real>(&self, values: &[T], dim: usize, gradient: &mut [T]) -> Result<f64, Error> {
                match self {
                    $(Self::$member(member) => add(member, values, dim, gradient),)*
                    Self::EnergyConfusion(_) => {
                        Err(Error::NeedsLayer { regularizer: EnergyConfusion::NAME })
                    }
                }
            }
        }
    };
}

regularizers! {
    /// Mean p-norm of the vectors, so that they do not grow without need.
    #[serde(rename = "lp")]
    LpNorm,
    /// Mean size of the sum over the dimensions, which keeps vectors centred.
    ZeroMean,
    /// Mean square of how far components are from −1 and +1, which draws soft codes to their signs (Liu et al., Deep Supervised
    /// Hashing, CVPR 2016).
    Quantization,
    /// Spread of the squared lengths, so that no class is favoured by a longer proxy (Wu et al., Deep Face Recognition with
    /// Center Invariant Loss, ACM MM Workshops 2017).
    CenterInvariant,
    /// Mean distance of the proxies of one class, which merges those that are not needed (Qian et al., SoftTriple, ICCV
    /// 2019).
    SparseCenters,
    /// Mean cosine of each vector to its nearest other vector, which spreads classes (Zhao et al., RegularFace, CVPR 2019).
    RegularFace,
}

fn check<R: Regularizer>(member: &R, rows: usize) -> Result<(), Error> {
    let weight = member.weight();
    let valid = weight >= 0.0 && weight.is_finite();
    require(valid, R::NAME, "weight", weight, "a finite number of at least 0")?;
    member.check(rows)
}

fn add<R: Regularizer, T: Real>(
    member: &R,
    values: &[T],
    dim: usize,
    gradient: &mut [T],
) -> Result<f64, Error> {
    if values.is_empty() || dim == 0 {
        return Err(Error::EmptyBatch { rows: values.len() / dim.max(1), dim });
    }
    let rows = values.len() / dim;
    check(member, rows)?;
    check_values("regularised rows", values, rows, dim)?;
    if gradient.len() != values.len() {
        return Err(Error::Shape { what: "gradient", found: gradient.len(), rows, dim });
    }
    let weight = member.weight();
    let value = weight * member.penalty(values, dim, weight, gradient);
    if value.is_finite() && gradient.iter().all(|g| g.is_finite()) {
        Ok(value)
    } else {
        Err(Error::Overflow { what: "regulariser" })
    }
}

#[cfg(test)]
mod tests {
    use parallax_kernels::Real;
    use parallax_random::Key;

    use super::*;

    fn members() -> Vec<RegularizerConfig> {
        vec![
            RegularizerConfig::LpNorm(LpNorm::default()),
            RegularizerConfig::LpNorm(LpNorm { p: 1.0, power: 2.0, weight: 0.3 }),
            RegularizerConfig::LpNorm(LpNorm { p: 3.0, power: 3.0, weight: 0.3 }),
            RegularizerConfig::ZeroMean(ZeroMean { weight: 2.0 }),
            RegularizerConfig::Quantization(Quantization { weight: 0.7 }),
            RegularizerConfig::CenterInvariant(CenterInvariant { weight: 0.5 }),
            RegularizerConfig::SparseCenters(SparseCenters { centers_per_class: 3, weight: 1.0 }),
            RegularizerConfig::RegularFace(RegularFace { weight: 1.5 }),
        ]
    }

    fn values(seed: u64) -> Vec<f64> {
        (0..6 * 4).map(|i| Key::new(seed).normal(i)).collect()
    }

    #[test]
    fn gradients_are_the_central_differences() {
        for (seed, member) in members().iter().enumerate() {
            let x = values(seed as u64);
            let mut gradient = vec![0.25; x.len()];
            member.add(&x, 4, &mut gradient).unwrap();
            for k in 0..x.len() {
                let value = |h: f64| {
                    let mut moved = x.clone();
                    moved[k] += h;
                    member.add(&moved, 4, &mut vec![0.0; x.len()]).unwrap()
                };
                let h = 1e-6;
                let numeric = (value(h) - value(-h)) / (2.0 * h);
                assert!((gradient[k] - 0.25 - numeric).abs() < 1e-7, "{member:?} {k}: {numeric}");
            }
        }
    }

    #[test]
    fn single_precision_agrees_and_threads_do_not_matter() {
        fn run<T: Real>(member: &RegularizerConfig, threads: usize) -> (f64, Vec<T>) {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let x: Vec<T> = values(3).into_iter().map(T::of).collect();
                let mut gradient = vec![T::ZERO; x.len()];
                (member.add(&x, 4, &mut gradient).unwrap(), gradient)
            })
        }
        for member in members() {
            let (one, two) = (run::<f64>(&member, 1), run::<f64>(&member, 2));
            assert_eq!(one, two);
            let single = run::<f32>(&member, 2);
            assert!((single.0 - one.0).abs() < 1e-5 * one.0.max(1.0), "{member:?}");
            assert!(single.1.iter().zip(&one.1).all(|(s, d)| (s.f64() - d).abs() < 1e-4), "{member:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let member = RegularizerConfig::SparseCenters(SparseCenters { centers_per_class: 4, weight: 1.0 });
        assert!(member.check(6).is_err() && member.check(8).is_ok());
        let member = RegularizerConfig::ZeroMean(ZeroMean { weight: f64::NAN });
        assert!(member.add(&[1.0], 1, &mut [0.0]).is_err());
        let member = RegularizerConfig::ZeroMean(ZeroMean::default());
        assert!(member.add(&[1.0, f64::NAN], 2, &mut [0.0, 0.0]).is_err());
        assert!(member.add(&[1.0, 2.0], 2, &mut [0.0]).is_err());
        assert!(member.add::<f64>(&[], 2, &mut []).is_err());
    }
}
