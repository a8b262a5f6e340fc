//! What a run tells while it goes on.

use crate::Plan;

/// What a run tells while it goes on.
#[derive(Clone, Debug)]
pub enum Event {
    /// What is about to happen, before the first step.
    Plan(Plan),
    /// A step was taken.
    Step {
        /// Steps taken.
        step: u64,
        /// Steps of the whole run.
        steps: u64,
        /// Epoch, from 1.
        epoch: u64,
        /// The loss of the batch.
        loss: f64,
        /// The learning rate.
        lr: f64,
        /// Rows trained on per second since the run (or its resumption) began.
        rate: f64,
        /// Seconds left, by that rate.
        left: f64,
    },
    /// Some other work of the run is on its way.
    Progress {
        /// What is counted, and what comes next.
        what: String,
        /// How much is done.
        done: u64,
        /// How much there is in all.
        total: u64,
        /// Seconds left.
        left: f64,
    },
    /// A validation was made.
    Validation {
        /// Steps taken.
        step: u64,
        /// The measure that decides.
        measure: String,
        /// Its value.
        value: f64,
        /// Whether it is the best so far.
        best: bool,
    },
    /// Something worth knowing.
    Message(String),
}
