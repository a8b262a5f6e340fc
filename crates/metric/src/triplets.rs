//! Which triplets of a row a miner chose, without listing them where that can be avoided.

use parallax_kernels::Real;

/// The triplets among an anchor's positives × negatives.
///
/// The *margin* of a triplet is `c_an − c_ap`, where `c` is the distance, or the similarity with its sign turned: how
/// much farther the negative is than the positive.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Triplets<'a, T> {
    /// Every positive with every negative.
    All,
    /// Those with a margin greater than `above` and at most `upto`.
    Margin {
        /// Lower bound, excluded.
        above: T,
        /// Upper bound, included.
        upto: T,
    },
    /// These (positive, negative) positions within the row's lists, sorted, each once.
    Listed(&'a [(u32, u32)]),
}

/// [`Triplets`] that own their list.
#[derive(Clone, Debug, Default)]
pub(crate) enum Chosen<T> {
    #[default]
    All,
    Margin {
        above: T,
        upto: T,
    },
    Listed(Vec<(u32, u32)>),
}

impl<T: Real> Chosen<T> {
    pub(crate) fn view(&self) -> Triplets<'_, T> {
        match self {
            Chosen::All => Triplets::All,
            Chosen::Margin { above, upto } => Triplets::Margin { above: *above, upto: *upto },
            Chosen::Listed(list) => Triplets::Listed(list),
        }
    }
}

impl<T: Real> Triplets<'_, T> {
    /// Whether the triplet of positive `p` and negative `n` (positions in the row's lists) with this margin is one.
    #[inline]
    pub fn holds(&self, p: usize, n: usize, margin: T) -> bool {
        match self {
            Triplets::All => true,
            Triplets::Margin { above, upto } => margin > *above && margin <= *upto,
            Triplets::Listed(list) => list.binary_search(&(p as u32, n as u32)).is_ok(),
        }
    }

    /// Calls `each(p, n, margin)` for every triplet, ordered by positive and then negative.
    pub fn each(&self, sign: T, positives: &[T], negatives: &[T], mut each: impl FnMut(usize, usize, T)) {
        if let Triplets::Listed(list) = self {
            for &(p, n) in *list {
                let (p, n) = (p as usize, n as usize);
                each(p, n, sign * (positives[p] - negatives[n]));
            }
            return;
        }
        for (p, &near) in positives.iter().enumerate() {
            for (n, &far) in negatives.iter().enumerate() {
                let margin = sign * (near - far);
                if self.holds(p, n, margin) {
                    each(p, n, margin);
                }
            }
        }
    }
}
