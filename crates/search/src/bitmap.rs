/// One bit for each row of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bitmap {
    words: Vec<u64>,
    len: usize,
}

/// The words that `len` bits need.
pub(crate) fn words(len: usize) -> usize {
    len.div_ceil(64)
}

/// Bit `at` of a slice of words.
#[inline]
pub(crate) fn bit(words: &[u64], at: usize) -> bool {
    words[at / 64] >> (at % 64) & 1 == 1
}

impl Bitmap {
    pub(crate) fn new(len: usize) -> Self {
        Bitmap { words: vec![0; words(len)], len }
    }

    pub(crate) fn full(len: usize) -> Self {
        let mut map = Bitmap { words: vec![!0; words(len)], len };
        map.trim();
        map
    }

    /// Bit `i` is `f(i)`.
    #[inline]
    pub(crate) fn of(len: usize, mut f: impl FnMut(usize) -> bool) -> Self {
        let words = (0..words(len))
            .map(|word| {
                (word * 64..(word * 64 + 64).min(len))
                    .fold(0u64, |bits, i| bits | u64::from(f(i)) << (i % 64))
            })
            .collect();
        Bitmap { words, len }
    }

    /// The bitmap of these words; `None` if they are not those of `len` bits.
    pub(crate) fn from_words(words: Vec<u64>, len: usize) -> Option<Self> {
        let mut map = Bitmap { words, len };
        if map.words.len() != self::words(len) {
            return None;
        }
        let last = map.words.last().copied();
        map.trim();
        (map.words.last().copied() == last).then_some(map)
    }

    /// Clears the bits beyond the end.
    fn trim(&mut self) {
        if let Some(last) = self.words.last_mut().filter(|_| !self.len.is_multiple_of(64)) {
            *last &= (1 << (self.len % 64)) - 1;
        }
    }

    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    pub(crate) fn get(&self, at: usize) -> bool {
        bit(&self.words, at)
    }

    pub(crate) fn set(&mut self, at: usize) {
        self.words[at / 64] |= 1 << (at % 64);
    }

    pub(crate) fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    pub(crate) fn and(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= b);
    }

    pub(crate) fn or(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
    }

    pub(crate) fn and_not(&mut self, other: &Bitmap) {
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a &= !b);
    }

    /// The bits that are set from `start` (a multiple of 64) up to `end`, in ascending order.
    pub(crate) fn ones(&self, start: usize, end: usize) -> impl Iterator<Item = usize> {
        debug_assert!(start.is_multiple_of(64));
        let end = end.min(self.len);
        self.words[start / 64..words(end).max(start / 64)]
            .iter()
            .enumerate()
            .flat_map(move |(i, &word)| {
                let mut left = word;
                std::iter::from_fn(move || {
                    (left != 0).then(|| {
                        let at = left.trailing_zeros() as usize;
                        left &= left - 1;
                        start + i * 64 + at
                    })
                })
            })
            .take_while(move |&at| at < end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_equal_those_on_lists() {
        for len in [0, 1, 63, 64, 65, 200] {
            let (a, b) = (Bitmap::of(len, |i| i % 3 == 0), Bitmap::of(len, |i| i % 5 != 1));
            let list = |map: &Bitmap| map.ones(0, len).collect::<Vec<_>>();
            let of = |f: &dyn Fn(usize) -> bool| (0..len).filter(|i| f(*i)).collect::<Vec<_>>();
            assert_eq!(list(&a), of(&|i| i % 3 == 0));
            assert_eq!(list(&Bitmap::full(len)), of(&|_| true));
            let mut both = a.clone();
            both.and(&b);
            assert_eq!(list(&both), of(&|i| i % 3 == 0 && i % 5 != 1));
            let mut either = a.clone();
            either.or(&b);
            assert_eq!(
                (either.count(), list(&either)),
                (list(&either).len(), of(&|i| i % 3 == 0 || i % 5 != 1))
            );
            let mut only = a.clone();
            only.and_not(&b);
            assert_eq!(list(&only), of(&|i| i % 3 == 0 && i % 5 == 1));
            assert_eq!(Bitmap::from_words(a.words().to_vec(), len), Some(a));
        }
        assert_eq!(Bitmap::full(200).ones(64, 70).collect::<Vec<_>>(), (64..70).collect::<Vec<_>>());
        assert_eq!(Bitmap::from_words(vec![1 << 5], 5), None);
        assert_eq!(Bitmap::from_words(vec![0, 0], 64), None);
    }
}
