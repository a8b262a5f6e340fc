use super::Found;

/// Rows that may be among the best `k` of one query.
///
/// Each has a lower and an upper bound of its score. The floor is a value that at least `k` of the rows seen so far
/// reach, so a row whose upper bound lies below it is not among the best.
pub(super) struct Candidates {
    k: usize,
    floor: f64,
    rows: Vec<Candidate>,
    /// Candidates at which the list is thinned out.
    limit: usize,
}

#[derive(Clone, Copy)]
struct Candidate {
    lower: f64,
    upper: f64,
    row: usize,
    /// Both bounds are the score itself.
    exact: bool,
}

impl Candidates {
    pub(super) fn new(k: usize) -> Self {
        Candidates { k, floor: f64::NEG_INFINITY, rows: Vec::new(), limit: limit(k, 0) }
    }

    /// Takes in the values of a tile, which are within `error` of the score once `lift` is subtracted. `row` gives the
    /// number of a place in the tile where it is wanted, and `exact` the score of a row.
    pub(super) fn offer(
        &mut self,
        values: &[f32],
        lift: f64,
        error: f64,
        row: impl Fn(usize) -> Option<usize>,
        exact: impl Fn(usize) -> f64,
    ) {
        let mut floor = self.tile_floor(lift, error);
        for (chunk, part) in values.chunks(32).enumerate() {
            // `!(v < floor)` and not `v >= floor`: what overflowed to NaN must be looked at.
            #[expect(clippy::neg_cmp_op_on_partial_ord)]
            if !part.iter().fold(false, |any, &value| any | !(value < floor)) {
                continue;
            }
            for (place, &value) in part.iter().enumerate() {
                if value < floor {
                    continue;
                }
                let Some(row) = row(chunk * 32 + place) else { continue };
                let value = f64::from(value) - lift;
                // Infinite errors and values that overflowed decide nothing.
                let (lower, upper) = if (value.abs() + error).is_finite() {
                    (value - error, value + error)
                } else {
                    (f64::NEG_INFINITY, f64::INFINITY)
                };
                self.rows.push(Candidate { lower, upper, row, exact: false });
                if self.rows.len() >= self.limit {
                    self.thin(&exact);
                    floor = self.tile_floor(lift, error);
                }
            }
        }
    }

    /// The 32-bit value of a tile below which a row cannot reach the floor.
    fn tile_floor(&self, lift: f64, error: f64) -> f32 {
        ((self.floor + lift - error) as f32).next_down()
    }

    /// Raises the floor and lets go of what lies below it.
    fn thin(&mut self, exact: &impl Fn(usize) -> f64) {
        self.raise();
        if self.rows.len() > self.limit * 3 / 4 {
            // Bounds cannot tell these apart.
            self.settle(exact);
            self.raise();
        }
        self.limit = limit(self.k, self.rows.len());
    }

    fn raise(&mut self) {
        if self.rows.len() < self.k {
            return;
        }
        let (_, kth, _) = self.rows.select_nth_unstable_by(self.k - 1, |a, b| b.lower.total_cmp(&a.lower));
        self.floor = self.floor.max(kth.lower);
        let floor = self.floor;
        self.rows.retain(|candidate| candidate.upper >= floor);
    }

    /// Scores every candidate and keeps the best `k`.
    fn settle(&mut self, exact: &impl Fn(usize) -> f64) {
        for candidate in self.rows.iter_mut().filter(|candidate| !candidate.exact) {
            let score = exact(candidate.row);
            (candidate.lower, candidate.upper, candidate.exact) = (score, score, true);
        }
        self.rows.sort_unstable_by(|a, b| b.lower.total_cmp(&a.lower).then(a.row.cmp(&b.row)));
        self.rows.truncate(self.k);
    }

    /// The best `k`, best first.
    pub(super) fn best(mut self, exact: impl Fn(usize) -> f64) -> Vec<Found> {
        self.raise();
        self.settle(&exact);
        self.rows.iter().map(|candidate| Found { score: candidate.lower, row: candidate.row }).collect()
    }
}

/// Room for as many again as there must be, so that thinning costs a constant time a candidate.
fn limit(k: usize, kept: usize) -> usize {
    k.max(kept).saturating_mul(2).max(64)
}

#[cfg(test)]
mod tests {
    use parallax_random::Key;

    use super::*;

    #[test]
    fn the_best_are_found_whatever_the_bounds_hide() {
        let key = Key::new(4);
        for case in 0..300u64 {
            let key = key.at(case);
            let (n, k) = (1 + key.below(0, 700), 1 + key.below(1, 90));
            let levels = [3, 40, 1_000_000][key.below(2, 3)];
            let error = [0.0, 1e-4, 0.3, f64::INFINITY][key.below(3, 4)];
            let scores: Vec<f64> =
                (0..n).map(|i| key.at(9).below(i as u64, levels) as f64 / levels as f64).collect();
            let blur = if error.is_finite() { error * 0.9 } else { 1.0 };
            let values: Vec<f32> = scores
                .iter()
                .enumerate()
                .map(|(i, s)| (s + 2.0 + (key.at(8).uniform(i as u64) * 2.0 - 1.0) * blur) as f32)
                .collect();
            let wanted = |i: usize| key.at(7).uniform(i as u64) < 0.8;
            let mut list = Candidates::new(k);
            for (tile, part) in values.chunks(100).enumerate() {
                let row = |at| Some(tile * 100 + at).filter(|row| wanted(*row));
                list.offer(part, 2.0, error + 1e-6, row, |row| scores[row]);
            }
            let got = list.best(|row| scores[row]);
            let mut want: Vec<Found> =
                (0..n).filter(|i| wanted(*i)).map(|row| Found { score: scores[row], row }).collect();
            want.sort_by(Found::order);
            want.truncate(k);
            assert_eq!(got, want, "case {case}");
        }
    }
}
