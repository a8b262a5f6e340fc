//! The training loop: optimiser, schedules, checkpoints, resume.
