//! Which rows are shown, where all would be too many.

use parallax_random::Key;

/// (label, rows with it), sorted by label.
pub(super) fn counts(labels: &[u32]) -> Vec<(u32, usize)> {
    let mut sorted = labels.to_vec();
    sorted.sort_unstable();
    sorted.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect()
}

/// How many different labels there are.
pub(super) fn distinct(labels: &[u32]) -> usize {
    counts(labels).len()
}

/// At most `most` rows, ascending, from at most `most_classes` classes.
///
/// Every class gets the same number of places as far as it has rows, and what small classes leave over goes to the
/// others. Classes, and rows within a class, are drawn at random.
pub(super) fn by_class(
    labels: Option<&[u32]>,
    n: usize,
    most_classes: usize,
    most: usize,
    key: Key,
) -> Vec<usize> {
    let Some(labels) = labels else {
        return draw((0..n).collect(), most, key);
    };
    let mut kept: Vec<u32> = counts(labels).into_iter().map(|(label, _)| label).collect();
    if kept.len() > most_classes {
        key.named("classes").shuffle(&mut kept);
        kept.truncate(most_classes);
        kept.sort_unstable();
    }
    let rows: Vec<usize> = (0..n).filter(|&row| kept.binary_search(&labels[row]).is_ok()).collect();
    within(rows, labels, most, key)
}

/// At most `most` of the given rows, ascending, spread over classes as in [`by_class`].
pub(super) fn queries(rows: &[usize], labels: &[u32], most: usize, key: Key) -> Vec<usize> {
    within(rows.to_vec(), labels, most, key)
}

fn within(mut rows: Vec<usize>, labels: &[u32], most: usize, key: Key) -> Vec<usize> {
    if rows.len() <= most {
        return rows;
    }
    rows.sort_by_key(|&row| (labels[row], row));
    let classes: Vec<&[usize]> = rows.chunk_by(|&a, &b| labels[a] == labels[b]).collect();
    let mut smallest_first: Vec<usize> = (0..classes.len()).collect();
    smallest_first.sort_by_key(|&class| classes[class].len());
    let mut places = most;
    let mut taken = Vec::with_capacity(most);
    for (done, &class) in smallest_first.iter().enumerate() {
        let share = places.div_ceil(classes.len() - done).min(places).min(classes[class].len());
        let label = labels[classes[class][0]];
        taken.extend(draw(classes[class].to_vec(), share, key.at(u64::from(label))));
        places -= share;
    }
    taken.sort_unstable();
    taken
}

fn draw(mut rows: Vec<usize>, most: usize, key: Key) -> Vec<usize> {
    if rows.len() > most {
        key.shuffle(&mut rows);
        rows.truncate(most);
        rows.sort_unstable();
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_classes_stay_whole() {
        let labels: Vec<u32> = [vec![0; 100], vec![1; 3], vec![2; 50]].concat();
        let rows = by_class(Some(&labels), labels.len(), 10, 43, Key::new(1));
        let taken: Vec<u32> = rows.iter().map(|&row| labels[row]).collect();
        assert_eq!(counts(&taken), [(0, 20), (1, 3), (2, 20)]);
        assert!(rows.is_sorted());
        assert_eq!(by_class(Some(&labels), labels.len(), 10, 1000, Key::new(1)).len(), 153);
        assert_eq!(by_class(None, 30, 10, 12, Key::new(1)).len(), 12);
    }

    #[test]
    fn more_classes_than_places() {
        let labels: Vec<u32> = (0..500).map(|i| i / 2).collect();
        let rows = by_class(Some(&labels), 500, 20, 1000, Key::new(1));
        let taken: Vec<u32> = rows.iter().map(|&row| labels[row]).collect();
        assert_eq!((rows.len(), distinct(&taken)), (40, 20));
        assert_eq!(by_class(Some(&labels), 500, 500, 7, Key::new(1)).len(), 7);
    }
}
