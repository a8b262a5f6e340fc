//! The training loop: optimiser, schedules, checkpoints, resume.
//!
//! A [`Trainer`] joins a model, what it minimises (a [`Criterion`]), rows and a sampler. Every random decision is a function of the run's key and
//! the step, so a checkpoint holds parameters, moments and a position, and a run that is killed goes on to the same
//! bytes.

mod beside;
pub mod checkpoint;
mod config;
mod criterion;
mod error;
mod event;
mod examples;
mod kept;
mod learned;
mod log;
pub mod optimizer;
mod plan;
pub mod schedule;
mod step;
pub mod tensorboard;
mod trainer;

pub use config::{GradCache, Group, Training};
pub use criterion::{Criterion, OwnLoss};
pub use error::{Error, Result};
pub use event::Event;
pub use examples::{Example, Examples, RowScores, Taught};
pub use plan::{Plan, Remembered, duration, peak_memory};
pub use trainer::{Measures, Trained, Trainer, Validate};
