//! The definitions of measures, for a reader of a terminal.

/// A line for each measure and a last one for what all of their definitions share, so that it is said once.
pub(crate) fn definitions<'a>(measures: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<String> {
    let measures: Vec<(&str, &str)> = measures.collect();
    let common = common_end(&measures);
    let own = measures
        .iter()
        .map(|(name, text)| format!("  {name}: {}", text.strip_suffix(common).unwrap_or(text)));
    let shared = (!common.is_empty()).then(|| format!("  all: {}", common.trim_start_matches("; ")));
    own.chain(shared).collect()
}

/// What all definitions end with, from the start of a clause.
fn common_end<'a>(measures: &[(&str, &'a str)]) -> &'a str {
    let Some(((_, first), rest)) = measures.split_first() else { return "" };
    let mut ends = first.match_indices("; ").map(|(at, _)| &first[at..]);
    ends.find(|end| !rest.is_empty() && rest.iter().all(|(_, text)| text.ends_with(end))).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::definitions;

    #[test]
    fn what_all_share_is_said_once() {
        let lines =
            definitions([("a", "x of y; mean. Ties: half."), ("b", "z; mean. Ties: half.")].into_iter());
        assert_eq!(lines, ["  a: x of y", "  b: z", "  all: mean. Ties: half."]);
        assert_eq!(definitions([("a", "x; mean.")].into_iter()), ["  a: x; mean."]);
    }
}
