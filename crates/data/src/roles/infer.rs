//! Roles by what columns hold, where their names leave it open.
//!
//! What is found is handed back as if the user had named the columns, so that every rule about roles stands in one place;
//! only the reasons differ. Where two readings of a table are possible nothing is chosen: the error says what to type.

mod choose;
mod question;

use super::ask::{Ask, ask, shell};
use super::columns::Stop;
use super::names::{self, Side};
use super::profile::{Nature, Profile};
use super::{Columns, PassedOver, Roles, Shape};
use crate::error::{Error, Result, quoted};
use crate::table::Table;

/// The roles of a table, with reasons, what was passed over, and notes.
pub(super) fn roles(table: &Table, columns: &Columns) -> Result<Roles> {
    let named = match columns.by_name(table.columns()) {
        Err(Stop::Fault(error)) => return Err(error),
        named => named,
    };
    let view = View { names: table.columns(), profiles: Profile::of(table)?, set: columns };
    let mut roles = match named {
        Ok(roles) => roles,
        Err(Stop::Open(error) | Stop::Fault(error)) => view.infer(error)?,
    };
    view.check(&roles)?;
    view.explain(&mut roles);
    roles.notes.splice(0..0, table.notes().iter().cloned());
    Ok(roles)
}

/// The text column of a table that is only to be embedded, and why.
pub(super) fn text(table: &Table, columns: &Columns) -> Result<(usize, String)> {
    match columns.text_column(table.columns()) {
        Ok(column) => {
            let reason = match (&columns.text, table.columns().len()) {
                (Some(_), _) => "set by data.text",
                (None, 1) => "the only column",
                (None, _) => "by its name",
            };
            Ok((column, reason.to_owned()))
        }
        Err(error @ Error::Roles { .. }) => {
            let view = View { names: table.columns(), profiles: Profile::of(table)?, set: columns };
            match view.texts()[..] {
                [column] => Ok((column, view.text_reason(column))),
                _ => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}

/// Columns, and why each has its role.
struct Chosen {
    columns: Columns,
    reasons: Vec<(usize, String)>,
}

struct View<'a> {
    names: &'a [String],
    profiles: Vec<Profile>,
    set: &'a Columns,
}

impl View<'_> {
    fn infer(&self, open: Error) -> Result<Roles> {
        let set = self.set;
        let pair_set = set.anchor.is_some() || set.positive.is_some() || set.score.is_some();
        let chosen = if pair_set || set.negatives.is_some() {
            self.pair()?
        } else if set.text.is_some() || set.label.is_some() {
            self.labelled(&self.texts(), &open)?
        } else {
            self.free(&open)?
        };
        let Some(Chosen { columns, reasons }) = chosen else { return Err(open) };
        let mut roles = columns.by_name(self.names)?;
        for (column, reason) in reasons {
            let name = &self.names[column];
            if let Some(binding) = roles.bindings.iter_mut().find(|b| b.column == *name) {
                binding.reason = reason;
            }
        }
        Ok(roles)
    }

    /// Nothing was set.
    fn free(&self, open: &Error) -> Result<Option<Chosen>> {
        let texts = self.texts();
        match texts[..] {
            [] | [_] => self.labelled(&texts, open),
            [a, b] => self.two_texts(a, b),
            _ => self.many_texts(&texts),
        }
    }

    /// Columns of texts that are not set for a role: the long ones, or the short ones where there is none; and those with the
    /// name of a text.
    fn texts(&self) -> Vec<usize> {
        let free =
            |c: &usize| !self.is_set(*c) && !self.has_name(*c, names::SPLIT) && !self.has_name(*c, names::ID);
        let texts: Vec<usize> = (0..self.names.len()).filter(free).collect();
        let named = [names::TEXT, names::ANCHOR, names::POSITIVE].concat();
        let holds = |c: usize, nature: &Nature| self.profiles[c].nature == *nature;
        let of = |nature: Nature| -> Vec<usize> {
            let is_text = |c: usize| {
                holds(c, &nature)
                    || self.has_name(c, &named)
                        && matches!(self.profiles[c].nature, Nature::Short | Nature::Class { text: true })
            };
            texts.iter().copied().filter(|&c| is_text(c)).collect()
        };
        let long = of(Nature::Text);
        if long.is_empty() { of(Nature::Short) } else { long }
    }

    fn side(&self, column: usize) -> Option<(Side, String)> {
        names::side(&self.names[column])
    }

    fn text_reason(&self, column: usize) -> String {
        let named = [names::TEXT, names::ANCHOR, names::POSITIVE].concat();
        if self.has_name(column, &named) {
            return format!("by its name: {}", self.profiles[column]);
        }
        format!("the only column of {}", self.profiles[column])
    }

    fn order_reason(&self, column: usize, first: bool) -> String {
        let what = &self.profiles[column];
        match self.side(column) {
            Some((Side::Anchor, word)) if first => format!("\"{word}\" in its name; {what}"),
            Some((Side::Positive, word)) if !first => format!("\"{word}\" in its name; {what}"),
            _ if first => format!("one of two columns of texts: {what}"),
            _ => format!("the other column of texts: {what}"),
        }
    }

    fn has_name(&self, column: usize, names: &[&str]) -> bool {
        names.contains(&self.names[column].to_lowercase().as_str())
    }

    fn known(&self, names: &[&str]) -> Vec<usize> {
        (0..self.names.len()).filter(|&c| self.has_name(c, names)).collect()
    }

    fn position(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|column| column == name)
    }

    /// Whether the user named the column for some role.
    fn is_set(&self, column: usize) -> bool {
        let set = self.set;
        let one = [&set.text, &set.label, &set.anchor, &set.positive, &set.split, &set.id];
        let several = set.negatives.iter().chain(&set.score).flatten();
        let mut all = one.into_iter().flatten().chain(several);
        all.any(|name| *name == self.names[column])
    }

    /// Columns that could have a role beside the text `text`.
    fn free_columns(&self, text: usize) -> impl Iterator<Item = usize> + '_ {
        (0..self.names.len()).filter(move |&c| {
            c != text && !self.is_set(c) && !self.has_name(c, names::SPLIT) && !self.has_name(c, names::ID)
        })
    }

    fn list(&self, columns: &[usize]) -> String {
        quoted(&columns.iter().map(|&c| self.names[c].clone()).collect::<Vec<_>>())
    }

    /// What names chose, the content must not contradict.
    fn check(&self, roles: &Roles) -> Result<()> {
        let used: &[(&str, usize)] = match roles.shape {
            Shape::Labelled { text, label } => {
                let asked = self.set.label.is_some();
                if !asked && matches!(self.profiles[label].nature, Nature::Real { .. }) {
                    return Err(self.no_regression(text, label));
                }
                &[("text", text), ("label", label)]
            }
            Shape::Pairs { anchor, positive } | Shape::Triplets { anchor, positive, .. } => {
                &[("anchor", anchor), ("positive", positive)]
            }
            Shape::ScoredPairs { anchor, positive, score } => {
                &[("anchor", anchor), ("positive", positive), ("score", score)]
            }
            Shape::Vectors { .. } => &[],
        };
        for &(role, column) in used {
            if self.profiles[column].nature == Nature::Empty {
                let problem = format!("\"{}\", the {role}, is empty in every row", self.names[column]);
                let asked: [Ask<'_>; 1] = [(role, "COLUMN")];
                return Err(self.question(problem, ask(&asked)));
            }
        }
        Ok(())
    }

    /// Says why the other columns are not used, and how labels are read.
    fn explain(&self, roles: &mut Roles) {
        let (mut classes, mut label) = (false, None);
        if let Shape::Labelled { label: column, .. } = roles.shape {
            (classes, label) = (true, Some(column));
        }
        for name in &roles.unused {
            let Some(column) = self.position(name) else { continue };
            let profile = &self.profiles[column];
            let mut reason = profile.to_string();
            if classes && profile.is_class() {
                let twin = label.filter(|&label| profile.same_classes(&self.profiles[label]));
                match twin {
                    Some(label) => {
                        reason.push_str(&format!("; the same classes as \"{}\"", self.names[label]))
                    }
                    None => reason.push_str(&format!("; could be a class too: --label {}", shell(name))),
                }
            } else if classes && profile.nature == Nature::Text {
                reason.push_str(&format!("; could be the text: --text {}", shell(name)));
            } else if classes && matches!(profile.nature, Nature::Real { .. }) {
                reason.push_str("; no class");
            } else if matches!(roles.shape, Shape::Pairs { .. }) && profile.is_score() {
                reason.push_str(&format!("; could be a similarity: --score {}", shell(name)));
            }
            roles.passed_over.push(PassedOver { column: name.clone(), reason });
        }
        if let Some(label) = label
            && self.profiles[label].whole_floats
        {
            let name = &self.names[label];
            roles
                .notes
                .push(format!("\"{name}\" holds whole numbers: 1.0 and 1 are read as the same class, 1"));
        }
    }
}

#[cfg(test)]
mod tests;
