//! Batches of a fixed number of rows from each of some classes.

use parallax_random::Key;

use crate::error::{Error, Result};

/// The rows of each class that occurs.
#[derive(Clone, Debug)]
pub(super) struct Classes {
    rows: Vec<Vec<u32>>,
    per_class: usize,
    per_batch: usize,
}

impl Classes {
    pub(super) fn new(labels: &[u32], per_class: usize, batch_size: usize) -> Result<Classes> {
        if per_class == 0 {
            return Err(Error::option("sampler.per_class", "is 0; it must be at least 1"));
        }
        if !batch_size.is_multiple_of(per_class) {
            let below = batch_size / per_class * per_class;
            let near =
                if below == 0 { format!("{per_class}") } else { format!("{below} or {}", below + per_class) };
            let problem = format!(
                "is {batch_size}, not a multiple of sampler.per_class = {per_class}; {near} would do"
            );
            return Err(Error::option("batch_size", problem));
        }
        let mut rows: Vec<Vec<u32>> = Vec::new();
        // Classes in the order of their numbers, gaps left out.
        let mut sorted: Vec<(u32, u32)> = labels.iter().copied().zip(0..).collect();
        sorted.sort_unstable();
        for group in sorted.chunk_by(|a, b| a.0 == b.0) {
            rows.push(group.iter().map(|&(_, row)| row).collect());
        }
        let (classes, per_batch) = (rows.len(), batch_size / per_class);
        if classes < per_batch {
            let more = (per_class..=batch_size)
                .find(|&m| batch_size.is_multiple_of(m) && batch_size / m <= classes)
                .unwrap_or(batch_size);
            let problem = format!(
                "is {batch_size}: with sampler.per_class = {per_class} a batch needs {per_batch} classes and the training \
                 part has {classes}; batch_size = {} or sampler.per_class = {more} would do",
                classes * per_class
            );
            return Err(Error::option("batch_size", problem));
        }
        Ok(Classes { rows, per_class, per_batch })
    }

    /// Classes with fewer rows than are taken.
    pub(super) fn short(&self) -> usize {
        self.rows.iter().filter(|rows| rows.len() < self.per_class).count()
    }

    /// One batch: the rows of a class stand together.
    pub(super) fn batch(&self, key: Key) -> Vec<u32> {
        let classes = draw(self.rows.len(), self.per_batch, key.named("classes"));
        let mut batch = Vec::with_capacity(self.per_batch * self.per_class);
        for (place, class) in classes.into_iter().enumerate() {
            let rows = &self.rows[class];
            let drawn = draw(rows.len(), self.per_class.min(rows.len()), key.named("rows").at(place as u64));
            batch.extend(drawn.iter().cycle().take(self.per_class).map(|&row| rows[row]));
        }
        batch
    }
}

/// `k` distinct numbers below `n`, uniformly, in random order: the first `k` steps of a Fisher–Yates shuffle. Only the
/// places that were swapped are kept, so the cost depends on `k` and not on `n`.
fn draw(n: usize, k: usize, key: Key) -> Vec<usize> {
    let mut moved = std::collections::HashMap::new();
    (0..k)
        .map(|i| {
            let j = i + key.below(i as u64, n - i);
            let at_i = moved.get(&i).copied().unwrap_or(i);
            moved.insert(j, at_i).unwrap_or(j)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use parallax_random::Key;

    use super::draw;

    #[test]
    fn draws_are_distinct_and_uniform() {
        let mut counts = [[0usize; 5]; 3];
        for seed in 0..10_000 {
            let drawn = draw(5, 3, Key::new(seed));
            assert!(drawn[0] != drawn[1] && drawn[0] != drawn[2] && drawn[1] != drawn[2]);
            drawn.iter().enumerate().for_each(|(place, &number)| counts[place][number] += 1);
        }
        // Each count is binomial with mean 2,000 and standard deviation 40.
        for count in counts.as_flattened() {
            assert!((1800..2200).contains(count), "{counts:?}");
        }
        assert_eq!(draw(4, 0, Key::new(0)), [0usize; 0]);
    }

    #[test]
    fn drawing_all_is_a_permutation() {
        for seed in 0..50 {
            let mut drawn = draw(20, 20, Key::new(seed));
            drawn.sort_unstable();
            assert!(drawn.into_iter().eq(0..20));
        }
    }
}
