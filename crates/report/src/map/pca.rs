use parallax_random::Key;

/// Directions that are iterated: more than two, so that a close third does not slow the first two down.
const WIDE: usize = 6;
const ROUNDS: usize = 60;

/// The coordinates of centred rows `[n, dim]` along their two directions of largest variance, by subspace iteration
/// `V ← orth(Xᵀ X V)` in 64 bits. The entry of largest size of each direction is positive.
pub(super) fn pca(values: &[f32], dim: usize, key: Key) -> Vec<[f64; 2]> {
    let wide = WIDE.min(dim);
    let mut basis: Vec<Vec<f64>> =
        (0..wide).map(|k| (0..dim).map(|i| key.normal((k * dim + i) as u64)).collect()).collect();
    orthonormal(&mut basis);
    for _ in 0..ROUNDS {
        let mut next = vec![vec![0.0; dim]; wide];
        for row in values.chunks_exact(dim) {
            for (direction, next) in basis.iter().zip(&mut next) {
                let along = dot(row, direction);
                next.iter_mut().zip(row).for_each(|(sum, &x)| *sum += along * f64::from(x));
            }
        }
        basis = next;
        orthonormal(&mut basis);
    }
    let mut scored: Vec<(f64, Vec<f64>)> = basis
        .into_iter()
        .map(|mut direction| {
            let largest =
                direction.iter().copied().fold(0.0, |a: f64, b| if b.abs() > a.abs() { b } else { a });
            if largest < 0.0 {
                direction.iter_mut().for_each(|x| *x = -*x);
            }
            let along: Vec<f64> = values.chunks_exact(dim).map(|row| dot(row, &direction)).collect();
            (along.iter().map(|x| x * x).sum(), along)
        })
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let n = values.len() / dim;
    (0..n).map(|i| [scored[0].1[i], scored.get(1).map_or(0.0, |second| second.1[i])]).collect()
}

fn dot(row: &[f32], direction: &[f64]) -> f64 {
    let mut lanes = [0.0f64; 8];
    let ((x8, x_rest), (y8, y_rest)) = (row.as_chunks::<8>(), direction.as_chunks::<8>());
    for (x, y) in x8.iter().zip(y8) {
        for lane in 0..8 {
            lanes[lane] += f64::from(x[lane]) * y[lane];
        }
    }
    let rest: f64 = x_rest.iter().zip(y_rest).map(|(&x, y)| f64::from(x) * y).sum();
    lanes.iter().sum::<f64>() + rest
}

/// Gram–Schmidt, twice over for accuracy. A direction that vanishes stays zero.
fn orthonormal(basis: &mut [Vec<f64>]) {
    for k in 0..basis.len() {
        let (done, rest) = basis.split_at_mut(k);
        let direction = &mut rest[0];
        let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
        let start = length(direction);
        for _ in 0..2 {
            for other in done.iter() {
                let along: f64 = direction.iter().zip(other).map(|(x, y)| x * y).sum();
                direction.iter_mut().zip(other).for_each(|(x, y)| *x -= along * y);
            }
        }
        let left = length(direction);
        let scale = if left > start * 1e-12 { 1.0 / left } else { 0.0 };
        direction.iter_mut().for_each(|x| *x *= scale);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_directions_of_largest_variance() {
        // Independent columns with deviations 5, 3, 1, 1, ... turned by a rotation in the plane of columns 0 and 7.
        let (n, dim) = (400, 12);
        let key = Key::new(2);
        let mut values = vec![0.0f32; n * dim];
        let mut want = Vec::new();
        for i in 0..n {
            let mut row: Vec<f64> = (0..dim).map(|j| key.normal((i * dim + j) as u64)).collect();
            row[0] *= 5.0;
            row[3] *= 3.0;
            want.push([row[0], row[3]]);
            let (a, b) = (row[0], row[7]);
            (row[0], row[7]) = (0.8 * a - 0.6 * b, 0.6 * a + 0.8 * b);
            row.iter().enumerate().for_each(|(j, &x)| values[i * dim + j] = x as f32);
        }
        let found = pca(&values, dim, Key::new(9));
        for axis in 0..2 {
            let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
            for (a, b) in found.iter().zip(&want) {
                xy += a[axis] * b[axis];
                xx += a[axis] * a[axis];
                yy += b[axis] * b[axis];
            }
            assert!((xy / (xx * yy).sqrt()).abs() > 0.98, "axis {axis}: {}", xy / (xx * yy).sqrt());
        }
    }

    #[test]
    fn one_column_and_no_variance() {
        let line = pca(&[1.0, -1.0, 0.0], 1, Key::new(1));
        assert_eq!(line, [[1.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]);
        assert_eq!(pca(&[0.0; 12], 4, Key::new(1)), [[0.0; 2]; 3]);
    }
}
