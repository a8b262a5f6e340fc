//! The number types that objectives are evaluated in.

use parallax_kernels::Real;

use crate::batch::Batch;
use crate::context::Context;
use crate::error::Error;
use crate::objective::{Evaluated, Objective, OnMixtures};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A number type that objectives are evaluated in: `f32` or `f64`.
///
/// Every loss is compiled for both in this crate, once, and not again in each crate that evaluates one.
pub trait Number: Real + sealed::Sealed {
    /// The loss of an objective on whole embeddings; with `turned`, a teacher's matrix is read the other way round.
    #[doc(hidden)]
    fn evaluate_loss(
        objective: &Objective,
        batch: &Batch<'_, Self>,
        context: &Context<'_, Self>,
        turned: bool,
    ) -> Result<Evaluated<Self>, Error>;

    /// The loss of an objective on mixtures, without its weight; none where it has no mixup.
    #[doc(hidden)]
    fn evaluate_mixed(
        objective: &Objective,
        batch: &Batch<'_, Self>,
        context: &Context<'_, Self>,
    ) -> Result<Option<OnMixtures<Self>>, Error>;
}

macro_rules! number {
    ($t:ident) => {
        impl Number for $t {
            fn evaluate_loss(
                objective: &Objective,
                batch: &Batch<'_, Self>,
                context: &Context<'_, Self>,
                turned: bool,
            ) -> Result<Evaluated<Self>, Error> {
                objective.evaluate_one_way(batch, context, turned)
            }

            fn evaluate_mixed(
                objective: &Objective,
                batch: &Batch<'_, Self>,
                context: &Context<'_, Self>,
            ) -> Result<Option<OnMixtures<Self>>, Error> {
                objective.evaluate_on_mixtures(batch, context)
            }
        }
    };
}
number!(f32);
number!(f64);
