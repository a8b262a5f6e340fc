//! Published systems: what each claims, and whether it holds here.
//!
//! A [`Recipe`] states, before any result, two arms (a baseline and the system), the data, the measure, the seeds, the margin and the
//! space of settings in which both arms are tuned with the same number of trials. [`reproduce`] runs it, pairs the seeds and gives a
//! [`Verdict`] by the hierarchical bootstrap over seeds and queries. Results are kept as small JSON files beside the recipes; a
//! recipe that was changed since makes its result stale.
//!
//! Recipes and results are files in the workspace's `recipes` folder, which the binary carries: a new system needs no line here.

mod error;
mod experiment;
mod pages;
mod recipe;
mod reproduce;
mod result;
mod source;
mod status;

pub use error::{Error, Result};
pub use experiment::{Measured, Values};
pub use pages::{markdown, sheet};
pub use recipe::{Arm, Claim, Experiment, Fidelity, Recipe, Trials};
pub use reproduce::{Options, Progress, reproduce};
pub use result::{ClaimResult, Reproduction, Tuned, Verdict};
pub use source::{Embedded, FashionMnist, Omniglot, Pairs, Source, Sources};
pub use status::{Status, System, find, systems};

mod carried {
    include!(concat!(env!("OUT_DIR"), "/recipes.rs"));
}
