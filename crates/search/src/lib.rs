//! Vector indexes on disk with ids, texts and attributes, and exact filtered search.
//!
//! The crate knows vectors, not encoders: whoever builds an index brings the vectors, and whoever searches it brings
//! queries of the same model. [`IndexConfig::model`] remembers which one that is.
//!
//! ```
//! use parallax_search::{Batch, Filter, Index, IndexConfig, IndexWriter};
//! # let folder = tempfile::tempdir()?;
//! # let path = folder.path().join("tickets");
//! let config = IndexConfig { dim: 2, model: Some("all-MiniLM-L6-v2".into()), ..Default::default() };
//! let mut writer = IndexWriter::create(&path, config)?;
//! writer.add(Batch {
//!     vectors: &[1.0, 0.0, 0.8, 0.6, 0.0, 1.0],
//!     ids: &["a".into(), "b".into(), "c".into()],
//!     texts: &["refund, please".into(), "charged twice".into(), "cannot log in".into()],
//!     attributes: &serde_json::from_str::<Vec<_>>(
//!         r#"[{"topic": "billing", "price": 3}, {"topic": "billing", "price": 4.5}, {"topic": "access"}]"#,
//!     )?,
//! })?;
//! writer.finish()?;
//!
//! let index = Index::open(&path)?;
//! let filter = Filter::parse("topic = 'billing' AND price > 3")?;
//! let hits = &index.search(&[1.0, 0.0], 10, Some(&filter))?[0];
//! assert_eq!(hits.len(), 1);
//! assert_eq!((hits[0].id, hits[0].text), ("b", Some("charged twice")));
//! assert_eq!(hits[0].attributes()["price"], 4.5);
//! assert!((hits[0].score - 0.8).abs() < 1e-6);
//!
//! parallax_search::delete(&path, &["b"])?;
//! assert!(Index::open(&path)?.search(&[1.0, 0.0], 10, Some(&filter))?[0].is_empty());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # On disk
//!
//! An index is a folder: segments that never change, and a manifest that says which of them make up the index. Adding
//! rows writes new segments, deleting rows writes a bitmap beside a segment, compacting writes everything anew, and each
//! ends with a new manifest renamed over the old one. So a reader sees the index before a change or after it, and a
//! writer that is interrupted leaves what was there. Files that no manifest names are removed by the next writer.
//!
//! | file | body |
//! |---|---|
//! | `manifest` | JSON: the configuration, the attributes with their types, the segments, and length and checksum of every file below |
//! | `NNNNNNNN.vectors` | f32 `[rows, dim]`; unit length for cosine. Of an index by Hamming distance: u64 `[rows, ⌈dim / 64⌉]`, bit `i mod 64` of word `i / 64` set where number `i` is at least 0, the rest 0 |
//! | `NNNNNNNN.ids` | the ids as *strings*: their bytes one after another, zeros up to a multiple of 8, then `rows + 1` offsets (u64) |
//! | `NNNNNNNN.order` | u32 `[rows]`: the rows in the order of their ids, for finding and comparing ids |
//! | `NNNNNNNN.texts` | the texts as *strings*; absent where no row of the segment has one |
//! | `NNNNNNNN.column-C` | attribute `C` of the manifest; absent where every value is null. Whole numbers (i64) and numbers (f64): the values, then a bit a row that is set for null. Truth values: a byte each, zeros up to a multiple of 8, then the bits. Texts: u32 codes (2³² − 1 for null), zeros up to a multiple of 8, then the dictionary as *strings*, ascending |
//! | `NNNNNNNN.deleted-G` | a bit a row that is set for a deleted one, in 64-bit words, as of generation `G` |
//! | `lock` | nothing, and no footer: writers lock it, one at a time |
//!
//! All numbers are little-endian. Every file but `lock` ends in a footer of 32 bytes: the length of the body (u64), a
//! CRC-32 of the body and the rest of the footer (u32), the version of the format (u32), the kind of file (8 bytes) and
//! `PARALLAX`. Versions from 1 to [`FORMAT_VERSION`] can be read. [`Index::open`] checks all of this, and that offsets,
//! codes and texts are valid, so that a damaged file is an error there and not a wrong answer later.

#![deny(unsafe_op_in_unsafe_fn)]

mod attribute;
mod bitmap;
mod config;
mod edit;
mod error;
mod filter;
mod format;
mod index;
mod scan;
mod segment;
mod unique;
mod writer;

pub use attribute::{AttributeKind, Attributes, SpelledColumn};
pub use config::{IndexConfig, MAX_DIM, MAX_SEGMENT_ROWS, Similarity};
pub use edit::{Deleted, compact, delete};
pub use error::{Error, FilterError, Result};
pub use filter::Filter;
pub use index::{AttributeInfo, FORMAT_VERSION, Hit, Index, IndexInfo};
pub use writer::{Batch, IndexWriter};
