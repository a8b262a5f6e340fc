//! A page of sections: tables, curves, points and intervals, for what is not a single run.

use crate::{Chart, Fact};

/// A page of sections. Any part may be left empty, and is then left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sheet {
    /// The heading.
    pub title: String,
    /// What this is, in a sentence or two.
    pub summary: String,
    /// The results that stand on top.
    pub verdicts: Vec<SheetVerdict>,
    /// The sections.
    pub sections: Vec<Section>,
    /// Versions, machine, commands.
    pub facts: Vec<Fact>,
    /// The name of the file beside the page that holds the same numbers.
    pub file: String,
}

/// A result in a box.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SheetVerdict {
    /// Whether it is good (`Some(true)`), bad, or open.
    pub good: Option<bool>,
    /// The result.
    pub sentence: String,
    /// What it comes from.
    pub from: String,
}

/// A section of a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Section {
    /// Its heading.
    pub title: String,
    /// What it says before its parts.
    pub text: String,
    /// Its tables and pictures.
    pub parts: Vec<Part>,
}

/// A table or a picture.
#[derive(Clone, Debug, PartialEq)]
pub enum Part {
    /// A table.
    Table(Table),
    /// Lines against the step.
    Lines(Chart),
    /// Points.
    Points(Points),
    /// Values with intervals, one under another.
    Intervals(Vec<IntervalLine>),
    /// Text as it is, folded up under a title.
    Code(String, String),
}

/// A table of texts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// What it shows.
    pub caption: String,
    /// Heads of the columns; those of the first column are texts, those of the others numbers.
    pub head: Vec<String>,
    /// Rows.
    pub rows: Vec<Vec<String>>,
}

/// A picture of points.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Points {
    /// Heading.
    pub title: String,
    /// A remark under it.
    pub note: String,
    /// What lies along the horizontal axis; its values where they are names.
    pub names: Vec<String>,
    /// Whether the horizontal axis is logarithmic.
    pub log: bool,
    /// (x, y); x counts from 0 where there are names. Values that are not finite are left out.
    pub points: Vec<(f64, f64)>,
    /// The point that is marked.
    pub marked: Option<usize>,
}

/// A value with its interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct IntervalLine {
    /// What it is.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Its interval.
    pub interval: Option<[f64; 2]>,
    /// What it has to lie above; 0 where it is a difference.
    pub margin: f64,
}
