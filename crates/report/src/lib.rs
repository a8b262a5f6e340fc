//! One self-contained HTML page from a run's numbers.
//!
//! [`Report`] is plain data. [`Report::render`] makes the page, which fetches nothing and runs from a disk, and
//! [`Report::metrics_json`] makes the file that stands beside it. Both come from the same struct, and every number of
//! the page that is a result names its place in that file ([`Cell`]), so that a test in a browser can compare them.
//!
//! [`Evidence::gather`] looks at the vectors before and after: a map of both ([`map`]), the classes that queries
//! retrieve instead of their own, and the queries that gained and lost most, with their nearest neighbours.
//!
//! ```
//! use parallax_report::{MeasureChange, Report};
//! let report = Report {
//!     title: "support".into(),
//!     measures: vec![MeasureChange {
//!         name: "map@r".into(),
//!         before: Some(0.4821),
//!         after: Some(0.5137),
//!         change: Some(0.0316),
//!         change_interval: Some([0.0291, 0.0341]),
//!         ..Default::default()
//!     }],
//!     ..Default::default()
//! };
//! assert_eq!(report.verdict().sentence(), "map@r rose by +0.0316 (95 % interval +0.0291 to +0.0341): above 0.");
//! assert!(report.render().starts_with("<!doctype html>"));
//! ```

mod error;
mod escape;
mod evidence;
pub mod map;
mod metrics;
mod number;
mod page;
mod report;
mod sheet;
mod verdict;

pub use error::Error;
pub use evidence::{
    Confusion, ConfusionExample, ConfusionPair, Drawn, Embeddings, Evidence, EvidenceConfig, MapPoint, Maps,
    Neighbour, QueryCase, QueryCases, QueryValues, Rows, Subject,
};
pub use number::{Cell, format_number};
pub use report::{Chart, Fact, Figure, MeasureChange, Report, Series};
pub use sheet::{IntervalLine, Part, Points, Section, Sheet, SheetVerdict, Table};
pub use verdict::{Direction, Verdict};
