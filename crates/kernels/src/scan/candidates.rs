/// A row and its exact score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// The score; higher is nearer.
    pub score: f64,
    /// The number of the row.
    pub row: usize,
}

impl Found {
    /// Higher scores first, then lower rows.
    pub fn order(&self, other: &Found) -> std::cmp::Ordering {
        other.score.total_cmp(&self.score).then(self.row.cmp(&other.row))
    }
}

/// Rows that may be among the best `k` of one query.
///
/// Each has a lower and an upper bound of its score. The floor is a value that at least `k` of the rows seen so far
/// reach, so a row whose upper bound lies below it is not among the best. The list holds at most a few times `k` rows,
/// and a row costs a constant time on average.
#[derive(Clone, Debug)]
pub struct Candidates {
    k: usize,
    floor: f64,
    rows: Vec<Candidate>,
    /// Candidates at which the list is thinned out.
    limit: usize,
}

/// Bounds that are equal are the score itself.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    lower: f64,
    upper: f64,
    row: usize,
}

impl Candidates {
    /// An empty list for the best `k ≥ 1`.
    pub fn new(k: usize) -> Self {
        Candidates { k, floor: f64::NEG_INFINITY, rows: Vec::new(), limit: limit(k, 0) }
    }

    /// A score that at least `k` of the rows reach; −∞ before `k` are there.
    pub fn floor(&self) -> f64 {
        self.floor
    }

    /// Takes a row whose score is within `error` of `score`; nothing is known of it where `error` is infinite. `exact`
    /// adds the scores of rows to a list.
    pub fn offer(&mut self, score: f64, error: f64, row: usize, exact: impl Fn(&[usize], &mut Vec<f64>)) {
        self.take(Candidate { lower: score - error, upper: score + error, row }, &exact);
    }

    /// Takes the rows of another list, of the same query and the same `k`.
    pub fn merge(&mut self, other: Candidates, exact: impl Fn(&[usize], &mut Vec<f64>)) {
        self.floor = self.floor.max(other.floor);
        for candidate in other.rows {
            self.take(candidate, &exact);
        }
    }

    fn take(&mut self, candidate: Candidate, exact: &impl Fn(&[usize], &mut Vec<f64>)) {
        if candidate.upper < self.floor {
            return;
        }
        self.rows.push(candidate);
        if self.rows.len() >= self.limit {
            self.thin(exact);
        }
    }

    /// Raises the floor and lets go of what lies below it.
    fn thin(&mut self, exact: &impl Fn(&[usize], &mut Vec<f64>)) {
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
    fn settle(&mut self, exact: &impl Fn(&[usize], &mut Vec<f64>)) {
        let open = |candidate: &Candidate| candidate.lower != candidate.upper;
        let rows: Vec<usize> = self.rows.iter().filter(|c| open(c)).map(|c| c.row).collect();
        let mut scores = Vec::with_capacity(rows.len());
        exact(&rows, &mut scores);
        for (candidate, score) in self.rows.iter_mut().filter(|c| open(c)).zip(scores) {
            (candidate.lower, candidate.upper) = (score, score);
        }
        self.rows.sort_unstable_by(|a, b| b.lower.total_cmp(&a.lower).then(a.row.cmp(&b.row)));
        self.rows.truncate(self.k);
    }

    /// The best `k`, best first: by their exact scores, and equal scores by their rows.
    pub fn best(mut self, exact: impl Fn(&[usize], &mut Vec<f64>)) -> Vec<Found> {
        self.raise();
        self.settle(&exact);
        self.rows.iter().map(|candidate| Found { score: candidate.lower, row: candidate.row }).collect()
    }
}

/// Room for as many again as there must be, so that thinning costs a constant time a candidate.
fn limit(k: usize, kept: usize) -> usize {
    k.max(kept).saturating_mul(2).max(64)
}
