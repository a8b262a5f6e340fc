//! Checkpoint in, checkpoint out: static distillation.
