//! A filter over a whole segment at once, in bitmaps.
//!
//! Three-valued logic needs two bits a row: true, and false. A row with neither is unknown. NOT exchanges the two, AND
//! is (∧, ∨) of them and OR is (∨, ∧).

use std::cmp::Ordering;
use std::collections::HashSet;

use super::{Bound, Comparison, Condition, Constant, Literal, Node, Test};
use crate::attribute::View;
use crate::bitmap::{Bitmap, bit};
use crate::segment::Segment;

/// The rows for which a condition is true, and those for which it is false.
struct Truth {
    yes: Bitmap,
    no: Bitmap,
}

impl Bound<'_> {
    /// The rows of a segment that the filter keeps, deleted ones not excluded.
    pub(crate) fn rows(&self, segment: &Segment) -> Bitmap {
        self.node(&self.filter.root, segment).yes
    }

    fn node(&self, node: &Node, segment: &Segment) -> Truth {
        match node {
            Node::Not(node) => {
                let Truth { yes, no } = self.node(node, segment);
                Truth { yes: no, no: yes }
            }
            Node::And(nodes) => self.fold(nodes, segment, |all, next| {
                all.yes.and(&next.yes);
                all.no.or(&next.no);
            }),
            Node::Or(nodes) => self.fold(nodes, segment, |any, next| {
                any.yes.or(&next.yes);
                any.no.and(&next.no);
            }),
            Node::Test(test) => self.test(test, segment),
        }
    }

    fn fold(&self, nodes: &[Node], segment: &Segment, join: impl Fn(&mut Truth, &Truth)) -> Truth {
        let mut truths = nodes.iter().map(|node| self.node(node, segment));
        let Some(mut first) = truths.next() else { return unknown(segment.rows) };
        truths.for_each(|next| join(&mut first, &next));
        first
    }

    fn test(&self, test: &Test, segment: &Segment) -> Truth {
        let rows = segment.rows;
        let column = self.place(&test.name).and_then(|place| segment.columns.get(place)?.as_ref());
        let view = column.map(|column| column.view());
        if test.condition == Condition::IsNull {
            let yes = match view {
                None => Bitmap::full(rows),
                Some(View::Bool { nulls, .. } | View::I64 { nulls, .. } | View::F64 { nulls, .. }) => {
                    Bitmap::of(rows, |row| bit(nulls, row))
                }
                Some(View::String { codes, dictionary }) => {
                    Bitmap::of(rows, |row| codes[row] as usize >= dictionary.len())
                }
            };
            let mut no = Bitmap::full(rows);
            no.and_not(&yes);
            return Truth { yes, no };
        }
        match view {
            None => unknown(rows),
            Some(View::Bool { values, nulls }) => {
                let holds = [false, true].map(|value| holds(&test.condition, &|c| compare_bool(value, c)));
                truth(rows, |row| bit(nulls, row), |row| holds[usize::from(values[row] == 1)])
            }
            Some(View::I64 { values, nulls }) => {
                let sorted = SortedNumbers::of(&test.condition);
                truth(
                    rows,
                    |row| bit(nulls, row),
                    |row| match &sorted {
                        Some(list) => list.has(&|c| compare_i64(values[row], c)),
                        None => holds(&test.condition, &|c| compare_i64(values[row], c)),
                    },
                )
            }
            Some(View::F64 { values, nulls }) => {
                let sorted = SortedNumbers::of(&test.condition);
                truth(
                    rows,
                    |row| bit(nulls, row),
                    |row| match &sorted {
                        Some(list) => list.has(&|c| compare_f64(values[row], c)),
                        None => holds(&test.condition, &|c| compare_f64(values[row], c)),
                    },
                )
            }
            Some(View::String { codes, dictionary }) => {
                let keep = texts(&test.condition, dictionary.iter());
                truth(rows, |row| codes[row] as usize >= keep.len(), |row| keep[codes[row] as usize])
            }
        }
    }
}

fn unknown(rows: usize) -> Truth {
    Truth { yes: Bitmap::new(rows), no: Bitmap::new(rows) }
}

/// `holds` is asked only for rows that are not null.
#[inline]
fn truth(rows: usize, null: impl Fn(usize) -> bool, holds: impl Fn(usize) -> bool) -> Truth {
    let yes = Bitmap::of(rows, |row| !null(row) && holds(row));
    let mut no = Bitmap::of(rows, |row| !null(row));
    no.and_not(&yes);
    Truth { yes, no }
}

/// Whether a value that `compare` orders against constants meets a condition.
#[inline]
fn holds(condition: &Condition, compare: &dyn Fn(&Constant) -> Option<Ordering>) -> bool {
    match condition {
        Condition::Holds => compare(&Constant::Bool(true)) == Some(Ordering::Equal),
        Condition::Compare(comparison, literal) => {
            compare(&literal.value).is_some_and(|order| comparison.accepts(order))
        }
        Condition::In(list) => list.iter().any(|literal| compare(&literal.value) == Some(Ordering::Equal)),
        Condition::Between(low, high) => {
            compare(&low.value).is_some_and(Ordering::is_ge)
                && compare(&high.value).is_some_and(Ordering::is_le)
        }
        // Bound to texts, which have a dictionary.
        Condition::Like(_) | Condition::IsNull => false,
    }
}

impl Comparison {
    fn accepts(self, order: Ordering) -> bool {
        match self {
            Comparison::Equal => order.is_eq(),
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// The numbers of an IN list in ascending order, so that a row costs a binary search.
struct SortedNumbers<'a>(Vec<&'a Constant>);

impl<'a> SortedNumbers<'a> {
    fn of(condition: &'a Condition) -> Option<Self> {
        let Condition::In(list) = condition else { return None };
        let mut constants: Vec<&Constant> = list.iter().map(|literal| &literal.value).collect();
        constants.sort_by(|a, b| {
            let order = match a {
                Constant::I64(value) => compare_i64(*value, b),
                Constant::F64(value) => compare_f64(*value, b),
                _ => None,
            };
            order.unwrap_or(Ordering::Equal)
        });
        Some(SortedNumbers(constants))
    }

    fn has(&self, compare: &dyn Fn(&Constant) -> Option<Ordering>) -> bool {
        self.0.binary_search_by(|c| compare(c).map_or(Ordering::Less, Ordering::reverse)).is_ok()
    }
}

fn compare_bool(value: bool, constant: &Constant) -> Option<Ordering> {
    match constant {
        Constant::Bool(other) => Some(value.cmp(other)),
        _ => None,
    }
}

fn compare_i64(value: i64, constant: &Constant) -> Option<Ordering> {
    match constant {
        Constant::I64(other) => Some(value.cmp(other)),
        Constant::F64(other) => Some(compare_mixed(value, *other)),
        _ => None,
    }
}

fn compare_f64(value: f64, constant: &Constant) -> Option<Ordering> {
    match constant {
        Constant::I64(other) => Some(compare_mixed(*other, value).reverse()),
        Constant::F64(other) => value.partial_cmp(other),
        _ => None,
    }
}

/// A whole number against a finite fraction, exactly.
fn compare_mixed(whole: i64, fraction: f64) -> Ordering {
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    if fraction >= LIMIT {
        return Ordering::Less;
    }
    if fraction < -LIMIT {
        return Ordering::Greater;
    }
    let floor = fraction.floor();
    whole.cmp(&(floor as i64)).then(if fraction > floor { Ordering::Less } else { Ordering::Equal })
}

/// Which texts of a dictionary meet a condition.
fn texts<'a>(condition: &Condition, dictionary: impl Iterator<Item = &'a str>) -> Vec<bool> {
    fn text(literal: &Literal) -> &str {
        match &literal.value {
            Constant::String(text) => text,
            _ => "",
        }
    }
    match condition {
        Condition::Compare(comparison, literal) => {
            let other = text(literal);
            dictionary.map(|own| comparison.accepts(own.cmp(other))).collect()
        }
        Condition::In(list) => {
            let list: HashSet<&str> = list.iter().map(text).collect();
            dictionary.map(|own| list.contains(own)).collect()
        }
        Condition::Between(low, high) => {
            let (low, high) = (text(low), text(high));
            dictionary.map(|own| low <= own && own <= high).collect()
        }
        Condition::Like(pattern) => {
            let pattern = pattern_of(text(pattern));
            dictionary.map(|own| matches(&pattern, own)).collect()
        }
        Condition::Holds | Condition::IsNull => dictionary.map(|_| false).collect(),
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Part {
    Run,
    Any,
    Plain(char),
}

fn pattern_of(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '%' if parts.last() == Some(&Part::Run) => {}
            '%' => parts.push(Part::Run),
            '_' => parts.push(Part::Any),
            '\\' => parts.push(Part::Plain(characters.next().unwrap_or('\\'))),
            c => parts.push(Part::Plain(c)),
        }
    }
    parts
}

/// Matches a whole text. On a mismatch only the last `%` takes one more character, so the work is at most the product
/// of the lengths.
fn matches(pattern: &[Part], text: &str) -> bool {
    let mut rest = text.chars();
    let mut at = 0;
    let mut retry: Option<(usize, std::str::Chars)> = None;
    loop {
        if let Some(Part::Run) = pattern.get(at) {
            at += 1;
            retry = Some((at, rest.clone()));
            continue;
        }
        let mut ahead = rest.clone();
        match (ahead.next(), pattern.get(at)) {
            (None, None) => return true,
            (Some(_), Some(Part::Any)) => (at, rest) = (at + 1, ahead),
            (Some(c), Some(Part::Plain(p))) if c == *p => (at, rest) = (at + 1, ahead),
            _ => {
                let Some((start, from)) = &mut retry else { return false };
                if from.next().is_none() {
                    return false;
                }
                (at, rest) = (*start, from.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn like_matches_whole_texts() {
        for (pattern, text, want) in [
            ("", "", true),
            ("", "a", false),
            ("%", "", true),
            ("%", "anything", true),
            ("a%", "abc", true),
            ("a%", "ba", false),
            ("%c", "abc", true),
            ("%b%", "abc", true),
            ("a_c", "abc", true),
            ("a_c", "ac", false),
            ("_", "ü", true),
            ("%ab%ab", "abxabab", true),
            ("%ab%abc", "abxabab", false),
            ("50\\%", "50%", true),
            ("50\\%", "50x", false),
            ("a\\", "a\\", true),
            ("A", "a", false),
        ] {
            assert_eq!(matches(&pattern_of(pattern), text), want, "{text} LIKE {pattern}");
        }
        // Exponential for a matcher that goes back to every run.
        let (pattern, text) = ("%a".repeat(30) + "%b", "a".repeat(5000));
        assert!(!matches(&pattern_of(&pattern), &text));
    }

    #[test]
    fn whole_numbers_and_fractions_compare_exactly() {
        let big = (1i64 << 53) + 1;
        assert_eq!(compare_mixed(big, (1i64 << 53) as f64), Ordering::Greater);
        assert_eq!(compare_mixed(i64::MAX, i64::MAX as f64), Ordering::Less);
        assert_eq!(compare_mixed(i64::MIN, i64::MIN as f64), Ordering::Equal);
        assert_eq!(compare_mixed(i64::MIN, -1e300), Ordering::Greater);
        assert_eq!(compare_mixed(3, 3.5), Ordering::Less);
        assert_eq!(compare_mixed(-3, -3.5), Ordering::Greater);
        assert_eq!(compare_mixed(-4, -3.5), Ordering::Less);
        assert_eq!(compare_mixed(3, 3.0), Ordering::Equal);
    }
}
