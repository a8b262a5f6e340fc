//! Sums over examples that can be added up over disjoint sets of classes.

use crate::examples::Examples;
use crate::matrix::{add_tn, trace};

/// Rows of one product; sums over rows run block by block.
pub(crate) const BLOCK: usize = 512;

/// Counts, sums and scatters of a set of examples about a common origin.
///
/// Everything is a sum over rows or over classes. So the moments of the folds of a cross-validation are made once, and
/// those of a fold's complement are the others added up, provided that no class lies in two folds.
#[derive(Clone, Debug)]
pub(crate) struct Moments {
    pub(crate) dim: usize,
    pub(crate) rows: usize,
    pub(crate) classes: usize,
    /// Σ_c n_c².
    pub(crate) squared_sizes: f64,
    pub(crate) origin: Vec<f64>,
    /// Σ (x − o).
    pub(crate) sum: Vec<f64>,
    /// Σ (x − o)(x − o)ᵀ.
    pub(crate) total: Vec<f64>,
    /// Σ_c n_c (m_c − o)(m_c − o)ᵀ.
    pub(crate) between: Vec<f64>,
    pub(crate) pairs: Option<PairMoments>,
}

/// What is summed over pairs (a, p).
#[derive(Clone, Debug)]
pub(crate) struct PairMoments {
    pub(crate) pairs: usize,
    /// Σ (a − o) and Σ (p − o).
    pub(crate) anchor_sum: Vec<f64>,
    pub(crate) positive_sum: Vec<f64>,
    /// Σ (a − o)(a − o)ᵀ.
    pub(crate) anchors: Vec<f64>,
    /// Σ (a − o)(p − o)ᵀ.
    pub(crate) cross: Vec<f64>,
}

/// Rows that wait for their product.
struct Block {
    dim: usize,
    values: Vec<f64>,
}

impl Block {
    fn new(dim: usize) -> Self {
        Block { dim, values: Vec::with_capacity(BLOCK * dim) }
    }

    fn is_full(&self) -> bool {
        self.values.len() == BLOCK * self.dim
    }

    fn rows(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Adds `rowsᵀ · rows` and forgets the rows.
    fn scatter_into(&mut self, scatter: &mut [f64]) {
        add_tn(self.dim, self.dim, self.rows(), &self.values, &self.values, scatter);
        self.values.clear();
    }
}

fn add(to: &mut [f64], from: &[f64]) {
    to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
}

impl Moments {
    /// The origin that keeps sums small: the mean of the first examples.
    pub(crate) fn origin(examples: &Examples) -> Vec<f64> {
        let mut origin = vec![0.0; examples.dim()];
        let mut vectors = 0usize;
        for row in (0..examples.len().min(BLOCK)).flat_map(|i| examples.vectors_of(i)) {
            origin.iter_mut().zip(row).for_each(|(o, &x)| *o += f64::from(x));
            vectors += 1;
        }
        origin.iter_mut().for_each(|o| *o /= vectors.max(1) as f64);
        origin
    }

    /// The moments of the examples `members`, which hold whole classes, in the order of (class, place).
    pub(crate) fn of(examples: &Examples, classes: &[u32], members: &[u32], origin: &[f64]) -> Moments {
        let dim = examples.dim();
        let mut order = members.to_vec();
        order.sort_by_key(|&i| (classes[i as usize], i));
        let mut moments = Moments {
            dim,
            rows: 0,
            classes: 0,
            squared_sizes: 0.0,
            origin: origin.to_vec(),
            sum: vec![0.0; dim],
            total: vec![0.0; dim * dim],
            between: vec![0.0; dim * dim],
            pairs: None,
        };
        let (mut rows, mut centroids) = (Block::new(dim), Block::new(dim));
        for class in order.chunk_by(|&i, &j| classes[i as usize] == classes[j as usize]) {
            let (mut size, mut class_sum) = (0usize, vec![0.0; dim]);
            for row in class.iter().flat_map(|&i| examples.vectors_of(i as usize)) {
                let start = rows.values.len();
                rows.values.extend(row.iter().zip(origin).map(|(&x, o)| f64::from(x) - o));
                add(&mut class_sum, &rows.values[start..]);
                size += 1;
                if rows.is_full() {
                    rows.scatter_into(&mut moments.total);
                }
            }
            moments.rows += size;
            moments.classes += 1;
            moments.squared_sizes += (size * size) as f64;
            add(&mut moments.sum, &class_sum);
            let weight = 1.0 / (size as f64).sqrt();
            centroids.values.extend(class_sum.iter().map(|x| x * weight));
            if centroids.is_full() {
                centroids.scatter_into(&mut moments.between);
            }
        }
        rows.scatter_into(&mut moments.total);
        centroids.scatter_into(&mut moments.between);
        if let Examples::Pairs { anchors, positives, .. } = *examples {
            moments.pairs = Some(PairMoments::of(anchors, positives, &order, origin));
        }
        moments
    }

    /// Adds the moments of other classes about the same origin.
    pub(crate) fn merge(&mut self, other: &Moments) {
        self.rows += other.rows;
        self.classes += other.classes;
        self.squared_sizes += other.squared_sizes;
        add(&mut self.sum, &other.sum);
        add(&mut self.total, &other.total);
        add(&mut self.between, &other.between);
        if let (Some(mine), Some(theirs)) = (&mut self.pairs, &other.pairs) {
            mine.pairs += theirs.pairs;
            add(&mut mine.anchor_sum, &theirs.anchor_sum);
            add(&mut mine.positive_sum, &theirs.positive_sum);
            add(&mut mine.anchors, &theirs.anchors);
            add(&mut mine.cross, &theirs.cross);
        }
    }

    /// `scatter − n · δ δ'ᵀ`: a scatter about the means instead of the origin.
    pub(crate) fn about_means(scatter: &[f64], n: usize, left_sum: &[f64], right_sum: &[f64]) -> Vec<f64> {
        let dim = left_sum.len();
        let mut centred = scatter.to_vec();
        for (row, left) in centred.chunks_exact_mut(dim).zip(left_sum) {
            let left = left / n as f64;
            row.iter_mut().zip(right_sum).for_each(|(s, right)| *s -= left * right);
        }
        centred
    }

    /// Whether all rows are the same, up to rounding.
    pub(crate) fn is_constant(&self, centred_total: &[f64]) -> bool {
        trace(centred_total, self.dim) <= crate::matrix::NULL * trace(&self.total, self.dim)
    }
}

impl PairMoments {
    fn of(anchors: &[f32], positives: &[f32], order: &[u32], origin: &[f64]) -> PairMoments {
        let dim = origin.len();
        let mut moments = PairMoments {
            pairs: order.len(),
            anchor_sum: vec![0.0; dim],
            positive_sum: vec![0.0; dim],
            anchors: vec![0.0; dim * dim],
            cross: vec![0.0; dim * dim],
        };
        let (mut a, mut p) = (Vec::with_capacity(BLOCK * dim), Vec::with_capacity(BLOCK * dim));
        for block in order.chunks(BLOCK) {
            for (set, into, sum) in
                [(anchors, &mut a, &mut moments.anchor_sum), (positives, &mut p, &mut moments.positive_sum)]
            {
                into.clear();
                for &i in block {
                    let row = &set[i as usize * dim..][..dim];
                    let start = into.len();
                    into.extend(row.iter().zip(origin).map(|(&x, o)| f64::from(x) - o));
                    add(sum, &into[start..]);
                }
            }
            add_tn(dim, dim, block.len(), &a, &a, &mut moments.anchors);
            add_tn(dim, dim, block.len(), &a, &p, &mut moments.cross);
        }
        moments
    }
}
