//! An order of rows in which each class is spread evenly.

use std::collections::BTreeMap;

use parallax_random::Key;

/// The rows of each class that occurs.
#[derive(Clone, Debug)]
pub(super) struct Strata {
    classes: Vec<Vec<u32>>,
}

impl Strata {
    pub(super) fn new(labels: &[u32]) -> Strata {
        let mut classes: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for (&label, row) in labels.iter().zip(0..) {
            classes.entry(label).or_default().push(row);
        }
        Strata { classes: classes.into_values().collect() }
    }

    /// Row `i` of `n` of a class, in a random order of its own, stands at `(i + u) / n`, `u` drawn for the class.
    pub(super) fn order(&self, key: Key) -> Vec<u32> {
        let mut places: Vec<(f64, u32)> = Vec::new();
        for (class, rows) in self.classes.iter().enumerate() {
            let key = key.named("class").at(class as u64);
            let mut rows = rows.clone();
            key.shuffle(&mut rows);
            let (first, n) = (key.named("place").uniform(0), rows.len() as f64);
            places.extend(rows.iter().enumerate().map(|(at, &row)| ((at as f64 + first) / n, row)));
        }
        places.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        places.into_iter().map(|(_, row)| row).collect()
    }
}

#[cfg(test)]
mod tests {
    use parallax_random::Key;

    use super::super::{Rows, Sampler, StratifiedSampler};

    #[test]
    fn every_batch_has_its_share_of_every_class() {
        // 40 rows of class 0, 160 of class 1, 800 of class 2.
        let labels: Vec<u32> =
            (0..1000).map(|row| [0, 1, 1, 1, 1].get(row % 25).copied().unwrap_or(2)).collect();
        let rows = Rows { n: 1000, labels: Some(&labels), texts: &[] };
        let sampler = Sampler::Stratified(StratifiedSampler::default());
        let batches = sampler.build(50, rows, Key::new(3)).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for epoch in 0..20 {
            let epoch = batches.batches(epoch);
            assert_eq!(epoch.len(), 20);
            for batch in &epoch {
                let count = |class| batch.iter().filter(|&&row| labels[row as usize] == class).count();
                assert!(
                    (1..=4).contains(&count(0)) && (6..=10).contains(&count(1)),
                    "{} {}",
                    count(0),
                    count(1)
                );
            }
            let mut all: Vec<u32> = epoch.concat();
            assert!(seen.insert(all.clone()), "an order came twice");
            all.sort_unstable();
            assert!(all.into_iter().eq(0..1000));
        }
        assert_eq!(batches.batches(4), sampler.build(50, rows, Key::new(3)).unwrap().batches(4));
        assert!(sampler.build(50, Rows { labels: None, ..rows }, Key::new(3)).is_err());
    }
}
