//! What is asked where the content of a table settles nothing.

use super::View;
use crate::error::Error;
use crate::roles::ask::ask;
use crate::roles::profile::Nature;

impl View<'_> {
    pub(super) fn question(&self, problem: String, hint: String) -> Error {
        Error::Roles { file: None, problem, columns: self.names.to_vec(), hint }
    }

    pub(super) fn no_regression(&self, text: usize, real: usize) -> Error {
        let (name, text) = (&self.names[real], &self.names[text]);
        let problem = format!(
            "\"{name}\" holds {}: a measure of \"{text}\", where a class is needed (a number is not learned from a text)",
            self.profiles[real]
        );
        let hint = format!(
            "put the numbers into bins in a column of their own and name that, or name another column: {}; to take each \
             number as a class: {}; if it is the similarity of two texts: {}",
            ask(&[("text", text), ("label", "COLUMN")]),
            ask(&[("text", text), ("label", name)]),
            ask(&[("anchor", text), ("positive", "COLUMN"), ("score", name)])
        );
        self.question(problem, hint)
    }

    pub(super) fn no_label(&self, text: usize) -> Error {
        let name = self.names[text].as_str();
        let problem = format!("\"{name}\" is the text, and no column holds values that recur, as classes do");
        let other = self.free_columns(text).find(|&c| self.profiles[c].nature == Nature::Short);
        let other = other.map_or("COLUMN", |c| self.names[c].as_str());
        let hint = format!(
            "for texts with a class: {}; for pairs: {}",
            ask(&[("text", name), ("label", "COLUMN")]),
            ask(&[("anchor", name), ("positive", other)])
        );
        self.question(problem, hint)
    }
}
