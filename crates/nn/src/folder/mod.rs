//! The sentence-transformers model folder: reading, checking and writing.
//!
//! Both generations of module names and pooling configurations are read; the older ones are written, because every
//! version of sentence-transformers resolves those. A folder with a module that is not known is refused by its name.

mod calibration;
mod classes;
mod json;
mod mapped;
mod modules;
mod read;
pub mod weights;
mod write;

pub use calibration::{CALIBRATION, Calibration};
pub use classes::{CLASSES, Classes};
pub use modules::{Module, ModuleKind};
pub(crate) use read::fill;
pub use read::{Folder, Similarity};
pub use write::save;
