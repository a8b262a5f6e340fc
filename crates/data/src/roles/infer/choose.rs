//! The choice among columns, by what they hold: a text and its class, a pair, a pair with a similarity, a triplet.

use super::{Chosen, View};
use crate::error::{Error, Result};
use crate::roles::ask::{ask, shell};
use crate::roles::names::{self, Side};
use crate::roles::profile::Nature;

impl View<'_> {
    /// A text and its class, one of which may be set.
    pub(super) fn labelled(&self, texts: &[usize], open: &Error) -> Result<Option<Chosen>> {
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
    pub(super) fn pair(&self) -> Result<Option<Chosen>> {
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

    pub(super) fn two_texts(&self, a: usize, b: usize) -> Result<Option<Chosen>> {
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
        chosen.columns.score = Some(vec![self.names[score].clone()]);
        chosen.reasons.push((score, format!("{} beside two texts", self.profiles[score])));
    }

    /// Three texts and more: only names say which is which.
    pub(super) fn many_texts(&self, texts: &[usize]) -> Result<Option<Chosen>> {
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
}
