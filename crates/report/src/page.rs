//! The page: one HTML document with its style, drawings and script inside.

mod charts;
mod confusion;
mod document;
mod headline;
mod maps;
mod markers;
mod measures;
mod plane;
mod queries;
mod run;
mod sheet;
mod ticks;

use crate::Report;
use crate::escape::{cut, escape, shorten};
use crate::number::Cell;

/// Characters of a name, of a sentence, and of the settings that the page keeps.
const NAME: usize = 80;
const SENTENCE: usize = 600;
const SETTINGS: usize = 40_000;

/// HTML under construction, and the numbers that it shows.
#[derive(Default)]
pub(crate) struct Page {
    html: String,
    cells: Vec<Cell>,
}

impl Page {
    /// Appends markup.
    fn raw(&mut self, html: &str) -> &mut Self {
        self.html.push_str(html);
        self
    }

    /// Appends text from outside, escaped.
    fn text(&mut self, text: &str) -> &mut Self {
        escape(&mut self.html, text);
        self
    }

    /// Appends a name from outside, isolated from the direction of what stands around it.
    fn name(&mut self, text: &str) -> &mut Self {
        self.raw("<bdi>").text(&shorten(text, NAME)).raw("</bdi>")
    }

    /// Appends a sentence from outside, isolated in the same way.
    fn sentence(&mut self, text: &str) -> &mut Self {
        self.raw("<bdi>").text(&shorten(text, SENTENCE)).raw("</bdi>")
    }

    /// Appends a number of `metrics.json`.
    fn number(&mut self, key: impl Into<String>, value: Option<f64>, digits: usize, sign: bool) -> &mut Self {
        let cell = Cell { key: key.into(), value: value.filter(|v| v.is_finite()), digits, sign };
        self.raw("<data");
        if let Some(value) = cell.value {
            self.raw(" value=\"").raw(&value.to_string()).raw("\"");
        }
        self.raw(" data-key=\"").text(&cell.key).raw("\" data-digits=\"").raw(&digits.to_string()).raw("\"");
        if sign {
            self.raw(" data-sign");
        }
        self.raw(">").raw(&cell.text()).raw("</data>");
        self.cells.push(cell);
        self
    }

    /// Appends a count of `metrics.json`.
    fn count(&mut self, key: impl Into<String>, value: usize) -> &mut Self {
        self.number(key, Some(value as f64), 0, false)
    }

    /// Appends `low to high` of an interval of `metrics.json` that stands under `key`.
    fn interval(&mut self, key: &str, interval: [f64; 2], sign: bool) -> &mut Self {
        self.raw("<span class=\"nowrap\">").number(format!("{key}/0"), Some(interval[0]), 4, sign);
        self.raw("</span> <span class=\"nowrap\">to ");
        self.number(format!("{key}/1"), Some(interval[1]), 4, sign).raw("</span>")
    }
}

impl Report {
    /// The page.
    pub fn render(&self) -> String {
        self.page().html
    }

    /// Every number of `metrics.json` that the page shows, in the order of the page.
    pub fn cells(&self) -> Vec<Cell> {
        self.page().cells
    }

    fn page(&self) -> Page {
        let mut page = Page::default();
        document::open(&mut page, self);
        headline::headline(&mut page, self);
        measures::measures(&mut page, self);
        charts::charts(&mut page, &self.charts);
        if let Some(evidence) = &self.evidence {
            evidence.maps.iter().for_each(|maps| maps::maps(&mut page, maps));
            evidence.confusion.iter().for_each(|confusion| confusion::confusion(&mut page, confusion));
            if let Some(cases) = &evidence.cases {
                queries::queries(&mut page, cases, &evidence.similarity);
            }
        }
        run::run(&mut page, self);
        document::close(&mut page, "metrics.json");
        page
    }
}

/// The settings as they are shown.
fn settings(text: &str) -> std::borrow::Cow<'_, str> {
    cut(text.trim_end(), SETTINGS)
}

#[cfg(test)]
mod tests;
