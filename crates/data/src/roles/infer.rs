//! Roles by what columns hold, where their names leave it open.
//!
//! What is found is handed back as if the user had named the columns, so that every rule about roles stands in one place;
//! only the reasons differ. Where two readings of a table are possible nothing is chosen: the error says what to type.

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
        let pair_set = [&set.anchor, &set.positive, &set.score].iter().any(|name| name.is_some());
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

    /// A text and its class, one of which may be set.
    fn labelled(&self, texts: &[usize], open: &Error) -> Result<Option<Chosen>> {
        let mut chosen = Chosen { columns: self.set.clone(), reasons: Vec::new() };
        let taken = |column: usize| self.is_set(column);
        let text = match (&self.set.text, texts) {
            (Some(name), _) => self.position(name),
            (None, &[column]) => {
                chosen.reasons.push((column, self.text_reason(column)));
                Some(column)
            }
            (None, []) => None,
            (None, several) => {
                let label = self.set.label.as_deref().unwrap_or("COLUMN");
                let hint: Vec<String> = several
                    .iter()
                    .map(|&c| ask(&[("text", self.names[c].as_str()), ("label", label)]))
                    .collect();
                return Err(self
                    .question(format!("{} could each be the text", self.list(several)), hint.join(", or ")));
            }
        };
        let Some(text) = text else { return Ok(None) };
        chosen.columns.text = Some(self.names[text].clone());
        if self.set.label.is_some() {
            return Ok(Some(chosen));
        }
        let mut labels: Vec<usize> =
            self.known(names::LABEL).into_iter().filter(|&c| c != text && !taken(c)).collect();
        let by_name = !labels.is_empty();
        if labels.len() != 1 {
            let among = |c: &usize| labels.is_empty() || labels.contains(c);
            let found: Vec<usize> =
                self.free_columns(text).filter(|c| self.profiles[*c].is_class() && among(c)).collect();
            labels = self.one_of_twins(found, &mut chosen);
        }
        match labels[..] {
            [label] => {
                if !by_name && !chosen.reasons.iter().any(|(column, _)| *column == label) {
                    let reason = format!("the only column with values that recur: {}", self.profiles[label]);
                    chosen.reasons.push((label, reason));
                } else if by_name && !chosen.reasons.iter().any(|(column, _)| *column == label) {
                    chosen.reasons.push((label, format!("by its name: {}", self.profiles[label])));
                }
                chosen.columns.label = Some(self.names[label].clone());
                Ok(Some(chosen))
            }
            [] => {
                let real =
                    self.free_columns(text).find(|&c| matches!(self.profiles[c].nature, Nature::Real { .. }));
                match real {
                    Some(real) if !by_name => Err(self.no_regression(text, real)),
                    _ if matches!(open, Error::Roles { .. }) && by_name => Ok(None),
                    _ => Err(self.no_label(text)),
                }
            }
            ref several => {
                let hint: Vec<String> = several
                    .iter()
                    .map(|&c| ask(&[("text", self.names[text].as_str()), ("label", self.names[c].as_str())]))
                    .collect();
                let held: Vec<String> = several
                    .iter()
                    .map(|&c| format!("\"{}\" ({})", self.names[c], self.profiles[c]))
                    .collect();
                let problem = format!("several columns could be the class: {}", held.join(" and "));
                Err(self.question(problem, hint.join(", or ")))
            }
        }
    }

    /// Of columns that divide the rows alike (a number and a name of the same classes) the first that is no number.
    fn one_of_twins(&self, found: Vec<usize>, chosen: &mut Chosen) -> Vec<usize> {
        let Some((&first, others)) = found.split_first() else { return found };
        if others.is_empty() || !others.iter().all(|&c| self.profiles[first].same_classes(&self.profiles[c]))
        {
            return found;
        }
        let is_name = |&&c: &&usize| matches!(self.profiles[c].nature, Nature::Class { text: true });
        let label = *found.iter().find(is_name).unwrap_or(&first);
        let twins: Vec<usize> = found.iter().copied().filter(|&c| c != label).collect();
        let reason =
            format!("{}; {} divides the rows in the same way", self.profiles[label], self.list(&twins));
        chosen.reasons.push((label, reason));
        vec![label]
    }

    /// A pair of which something is set.
    fn pair(&self) -> Result<Option<Chosen>> {
        let mut chosen = Chosen { columns: self.set.clone(), reasons: Vec::new() };
        let mut texts: Vec<usize> = self.texts().into_iter().filter(|&c| !self.is_set(c)).collect();
        let negatives = |c: &usize| matches!(names::side(&self.names[*c]), Some((Side::Negative, _)));
        texts.retain(|c| !negatives(c));
        let known = |names: &[&str]| -> Option<usize> {
            let known: Vec<usize> = self.known(names).into_iter().filter(|&c| !self.is_set(c)).collect();
            if let [column] = known[..] { Some(column) } else { None }
        };
        for (missing, names) in
            [(&mut chosen.columns.anchor, names::ANCHOR), (&mut chosen.columns.positive, names::POSITIVE)]
        {
            if missing.is_none()
                && let Some(column) = known(names)
            {
                *missing = Some(self.names[column].clone());
                chosen.reasons.push((column, "by its name".to_owned()));
                texts.retain(|&c| c != column);
            }
        }
        let (anchor, positive) = (&mut chosen.columns.anchor, &mut chosen.columns.positive);
        match (anchor.is_some(), positive.is_some(), &texts[..]) {
            (true, true, _) => {}
            (true, false, &[column]) => {
                *positive = Some(self.names[column].clone());
                chosen
                    .reasons
                    .push((column, format!("the only other column of texts: {}", self.profiles[column])));
            }
            (false, true, &[column]) => {
                *anchor = Some(self.names[column].clone());
                chosen
                    .reasons
                    .push((column, format!("the only other column of texts: {}", self.profiles[column])));
            }
            (false, false, &[a, b]) => {
                (*anchor, *positive) = (Some(self.names[a].clone()), Some(self.names[b].clone()));
                chosen.reasons.extend([(a, self.order_reason(a, true)), (b, self.order_reason(b, false))]);
            }
            _ => return Ok(None),
        }
        Ok(Some(chosen))
    }

    fn two_texts(&self, a: usize, b: usize) -> Result<Option<Chosen>> {
        let mut chosen = Chosen { columns: self.set.clone(), reasons: Vec::new() };
        let side = |c: usize| self.side(c);
        let (anchor, positive) = match (side(a), side(b)) {
            (Some((Side::Negative, _)), _) | (_, Some((Side::Negative, _))) => return Ok(None),
            (Some((Side::Positive, _)), other) if !matches!(other, Some((Side::Positive, _))) => (b, a),
            (other, Some((Side::Anchor, _))) if !matches!(other, Some((Side::Anchor, _))) => (b, a),
            _ => (a, b),
        };
        let pair = [("anchor", self.names[anchor].as_str()), ("positive", self.names[positive].as_str())];
        let rest = || self.free_columns(a).filter(move |&c| c != b);
        let named = |names: &[&str]| -> Vec<usize> { rest().filter(|&c| self.has_name(c, names)).collect() };
        let mut scores: Vec<usize> = rest().filter(|&c| self.profiles[c].is_score()).collect();
        let by_name: Vec<usize> = scores
            .iter()
            .copied()
            .filter(|&c| self.has_name(c, names::SCORE) || names::speaks_of_a_score(&self.names[c]))
            .collect();
        if !by_name.is_empty() {
            scores = by_name;
        } else if let [label] = named(names::LABEL)[..]
            && self.profiles[label].is_score()
        {
            scores = vec![label];
        }
        // Columns of classes or whole numbers beside two texts: a text with a class, or a pair with a similarity?
        let class = rest().find(|&c| self.profiles[c].is_class());
        match (&scores[..], class.or(named(names::LABEL).first().copied())) {
            (&[score], None) => self.score(&mut chosen, score),
            (&[score], Some(class)) if class == score => self.score(&mut chosen, score),
            ([], None) => {}
            (&[], Some(class)) => {
                let (label, texts) = (self.names[class].as_str(), [a, b].map(|c| self.names[c].as_str()));
                let problem = format!(
                    "\"{}\" and \"{}\" are texts, and \"{label}\" beside them could be a class or a similarity",
                    texts[0], texts[1]
                );
                let mut hint = format!(
                    "for texts with a class: {}, or {}; for pairs without it: {}",
                    ask(&[("text", texts[0]), ("label", label)]),
                    ask(&[("text", texts[1]), ("label", label)]),
                    ask(&pair)
                );
                if !matches!(self.profiles[class].nature, Nature::Class { text: true } | Nature::Labels) {
                    hint.push_str(&format!(
                        "; for pairs with a similarity: {}",
                        ask(&[pair[0], pair[1], ("score", label)])
                    ));
                }
                return Err(self.question(problem, hint));
            }
            (several, class) => {
                let columns: Vec<usize> = several.iter().copied().chain(class).collect();
                let problem = format!(
                    "beside two texts, {} could each be the similarity or a class",
                    self.list(&columns)
                );
                let hint: Vec<String> = several
                    .iter()
                    .map(|&c| ask(&[pair[0], pair[1], ("score", self.names[c].as_str())]))
                    .chain([format!("for pairs without it: {}", ask(&pair))])
                    .collect();
                return Err(self.question(problem, hint.join(", or ")));
            }
        }
        chosen.columns.anchor = Some(self.names[anchor].clone());
        chosen.columns.positive = Some(self.names[positive].clone());
        chosen.reasons.extend([
            (anchor, self.order_reason(anchor, true)),
            (positive, self.order_reason(positive, false)),
        ]);
        Ok(Some(chosen))
    }

    fn score(&self, chosen: &mut Chosen, score: usize) {
        chosen.columns.score = Some(self.names[score].clone());
        chosen.reasons.push((score, format!("{} beside two texts", self.profiles[score])));
    }

    /// Three texts and more: only names say which is which.
    fn many_texts(&self, texts: &[usize]) -> Result<Option<Chosen>> {
        let of = |side: Side| -> Vec<usize> {
            texts.iter().copied().filter(|&c| self.side(c).is_some_and(|(found, _)| found == side)).collect()
        };
        let (anchors, positives, negatives) = (of(Side::Anchor), of(Side::Positive), of(Side::Negative));
        let mut chosen = Chosen { columns: self.set.clone(), reasons: Vec::new() };
        let all = anchors.len() + positives.len() + negatives.len() == texts.len();
        if let (true, &[anchor], &[positive], false) =
            (all, &anchors[..], &positives[..], negatives.is_empty())
        {
            chosen.columns.anchor = Some(self.names[anchor].clone());
            chosen.columns.positive = Some(self.names[positive].clone());
            chosen.columns.negatives = Some(negatives.iter().map(|&c| self.names[c].clone()).collect());
            for &column in [anchor, positive].iter().chain(&negatives) {
                let word = self.side(column).map(|(_, word)| word).unwrap_or_default();
                chosen.reasons.push((column, format!("\"{word}\" in its name; {}", self.profiles[column])));
            }
            return Ok(Some(chosen));
        }
        let names: Vec<&str> = texts.iter().map(|&c| self.names[c].as_str()).collect();
        let problem =
            format!("{} all hold texts, and their names do not say which belong together", self.list(texts));
        let triplet = format!(
            "for triplets: --anchor {} --positive {} with data.negatives = [\"{}\"] in a run file",
            shell(names[0]),
            shell(names[1]),
            names[2]
        );
        let hint = format!(
            "for a text with its class: {}; for pairs: {}; {triplet}",
            ask(&[("text", names[0]), ("label", "COLUMN")]),
            ask(&[("anchor", names[0]), ("positive", names[1])])
        );
        Err(self.question(problem, hint))
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
        let one = [&set.text, &set.label, &set.anchor, &set.positive, &set.score, &set.split, &set.id];
        let mut all = one.into_iter().flatten().chain(set.negatives.iter().flatten());
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

    fn question(&self, problem: String, hint: String) -> Error {
        Error::Roles { file: None, problem, columns: self.names.to_vec(), hint }
    }

    fn no_regression(&self, text: usize, real: usize) -> Error {
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

    fn no_label(&self, text: usize) -> Error {
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
