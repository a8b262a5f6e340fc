//! Counter-based random numbers: every draw is a function of a key and an index.
//!
//! There is no generator state to save, share or race on. A [`Key`] names a stream (a seed and the path of names
//! and numbers that leads to the place of use), and draw `i` of that stream is `mix(key + i · φ)`. Two threads that
//! draw different indices of one key get the same values as one thread that draws both, and a run that resumes at
//! step `n` asks for step `n`'s key and continues exactly.
//!
//! The mixing function is the 64-bit finaliser of SplitMix64 (Steele, Lea, Flood, *Fast splittable pseudorandom number
//! generators*, OOPSLA 2014) over a Weyl sequence. It is not for cryptography.

const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Names one stream of random numbers.
///
/// ```
/// use parallax_random::Key;
/// let dropout = Key::new(7).named("dropout").at(120); // seed 7, site "dropout", step 120
/// assert_eq!(dropout.uniform(3), Key::new(7).named("dropout").at(120).uniform(3));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(u64);

impl Key {
    /// The root stream of a seed.
    pub fn new(seed: u64) -> Self {
        Key(mix(seed.wrapping_add(GOLDEN)))
    }

    /// The child stream of a name, such as the site of use.
    pub fn named(self, name: &str) -> Self {
        // FNV-1a: stable over versions and platforms, which `std`'s hasher is not.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        self.at(hash)
    }

    /// The child stream of a number, such as a step or a row.
    pub fn at(self, index: u64) -> Self {
        Key(mix(self.0.rotate_left(23) ^ mix(index.wrapping_add(GOLDEN))))
    }

    /// Draw `index`: 64 uniform bits.
    #[inline]
    pub fn bits(self, index: u64) -> u64 {
        mix(self.0.wrapping_add(index.wrapping_mul(GOLDEN)))
    }

    /// Draw `index`, uniform in `[0, 1)` with 53 random bits.
    #[inline]
    pub fn uniform(self, index: u64) -> f64 {
        (self.bits(index) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    /// Draw `index`, uniform in `0..n`. The bias is below `n / 2^64`.
    ///
    /// # Panics
    /// If `n` is 0.
    #[inline]
    pub fn below(self, index: u64, n: usize) -> usize {
        assert!(n > 0, "cannot draw from an empty range");
        ((u128::from(self.bits(index)) * n as u128) >> 64) as usize
    }

    /// Draw `index`, standard normal (Box–Muller; the two uniforms are the two halves of a child stream).
    #[inline]
    pub fn normal(self, index: u64) -> f64 {
        let pair = self.at(index);
        let radius = (-2.0 * (1.0 - pair.uniform(0)).ln()).sqrt();
        radius * (std::f64::consts::TAU * pair.uniform(1)).cos()
    }

    /// Puts `items` in a uniformly random order (Fisher–Yates).
    pub fn shuffle<T>(self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64, i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Key;

    #[test]
    fn draws_depend_on_every_part_of_the_key() {
        let base = Key::new(1).named("a").at(2);
        for other in
            [Key::new(2).named("a").at(2), Key::new(1).named("b").at(2), Key::new(1).named("a").at(3)]
        {
            assert_ne!(base.bits(0), other.bits(0));
        }
        assert_eq!(base.bits(5), Key::new(1).named("a").at(2).bits(5));
    }

    #[test]
    fn values_are_frozen() {
        // A changed generator would silently change every seeded run.
        assert_eq!(Key::new(0).bits(0), 5_197_578_548_964_807_871);
        assert_eq!(Key::new(7).named("dropout").at(120).below(3, 1000), 662);
    }

    #[test]
    fn moments() {
        let key = Key::new(3);
        let n = 200_000;
        let (mut u, mut m, mut v) = (0.0, 0.0, 0.0);
        for i in 0..n {
            u += key.uniform(i);
            let z = key.normal(i);
            m += z;
            v += z * z;
        }
        let n = n as f64;
        assert!((u / n - 0.5).abs() < 0.003, "uniform mean {}", u / n);
        assert!((m / n).abs() < 0.01 && (v / n - 1.0).abs() < 0.015, "normal {} {}", m / n, v / n);
    }

    #[test]
    fn shuffle_is_a_uniform_permutation() {
        let mut counts = [[0usize; 4]; 4];
        for s in 0..8000 {
            let mut items = [0, 1, 2, 3];
            Key::new(s).shuffle(&mut items);
            items.iter().enumerate().for_each(|(place, &item)| counts[place][item] += 1);
        }
        for row in counts {
            for count in row {
                assert!((1800..2200).contains(&count), "{counts:?}");
            }
        }
    }
}
