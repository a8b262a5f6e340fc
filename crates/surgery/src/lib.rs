//! Checkpoint in, checkpoint out.
//!
//! | module | what it makes |
//! |---|---|
//! | [`distill`] | a static model, a table of token vectors, from any text encoder |

pub mod distill;
mod error;

pub use error::{Error, Result};
