//! What is computed of the two ends of a pair.

use parallax_kernels::Real;

/// A similarity that is linear in each of its prepared rows, up to a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Similarity {
    /// `a·b`: the cosine of normalised rows.
    Product,
    /// `|a·b + a″·b′ − a′·b″|` with the first and second halves `′`, `″` of the dimensions: cosine plus sine of the angle between
    /// the rows read as complex vectors. An odd dimension is followed by a 0.
    Angle,
}

impl Similarity {
    pub(crate) fn of<T: Real>(self, a: &[T], b: &[T]) -> f64 {
        match self {
            Similarity::Product => dot(a, b),
            Similarity::Angle => signed(a, b).abs(),
        }
    }

    /// Adds `slope · ∂similarity/∂a` to `to`.
    pub(crate) fn add_first<T: Real>(self, slope: T, a: &[T], b: &[T], to: &mut [T]) {
        match self {
            Similarity::Product => to.iter_mut().zip(b).for_each(|(to, &b)| *to += slope * b),
            Similarity::Angle => {
                let slope = turn(slope, signed(a, b));
                each(b, |k, b, other, first| {
                    to[k] += slope * if first { b - other } else { b + other };
                });
            }
        }
    }

    /// Adds `slope · ∂similarity/∂b` to `to`.
    pub(crate) fn add_second<T: Real>(self, slope: T, a: &[T], b: &[T], to: &mut [T]) {
        match self {
            Similarity::Product => to.iter_mut().zip(a).for_each(|(to, &a)| *to += slope * a),
            Similarity::Angle => {
                let slope = turn(slope, signed(a, b));
                each(a, |k, a, other, first| {
                    to[k] += slope * if first { a + other } else { a - other };
                });
            }
        }
    }
}

fn dot<T: Real>(a: &[T], b: &[T]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a.f64() * b.f64()).sum()
}

/// The angle similarity before its sign is dropped.
fn signed<T: Real>(a: &[T], b: &[T]) -> f64 {
    let mut sum = 0.0;
    each(b, |k, b, other, first| {
        sum += a[k].f64() * if first { b.f64() - other.f64() } else { b.f64() + other.f64() };
    });
    sum
}

/// The slope with the sign of the value; 0 where the value is 0.
fn turn<T: Real>(slope: T, value: f64) -> T {
    if value > 0.0 {
        slope
    } else if value < 0.0 {
        -slope
    } else {
        T::ZERO
    }
}

/// Calls `visit` with each index, its component, that of the other half, and whether it lies in the first half.
fn each<T: Real>(row: &[T], mut visit: impl FnMut(usize, T, T, bool)) {
    let half = row.len().div_ceil(2);
    for (k, &value) in row.iter().enumerate() {
        let first = k < half;
        let other = if first { row.get(k + half).copied().unwrap_or(T::ZERO) } else { row[k - half] };
        visit(k, value, other, first);
    }
}

#[cfg(test)]
mod tests {
    use super::Similarity;

    #[test]
    fn an_angle_by_hand() {
        // a·b = 11, a″·b′ − a′·b″ = 2·3 − 1·4 = 2.
        assert_eq!(Similarity::Angle.of(&[1.0, 2.0], &[3.0, 4.0]), 13.0);
        assert_eq!(Similarity::Angle.of(&[1.0, 2.0], &[-3.0, -4.0]), 13.0);
        // Three dimensions: halves (1, 2) and (3, 0).
        assert_eq!(Similarity::Angle.of(&[1.0, 2.0, 3.0], &[1.0, 1.0, 1.0]), 6.0 + (3.0 - 1.0));
        let (mut by_a, mut by_b) = ([0.0; 3], [0.0; 3]);
        let (a, b) = ([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]);
        Similarity::Angle.add_first(1.0, &a, &b, &mut by_a);
        Similarity::Angle.add_second(1.0, &a, &b, &mut by_b);
        assert_eq!((by_a, by_b), ([0.0, 1.0, 2.0], [4.0, 2.0, 2.0]));
    }
}
