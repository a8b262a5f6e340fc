//! The largest of each two by two pixels, and at least 0, forward and backward.

use rayon::prelude::*;

/// No pixel of the four lies above 0.
const NONE: u8 = 4;

/// Rows of the output that one thread works on at once.
const PIECE: usize = 64;

/// `y[planes, ⌊h / 2⌋, ⌊w / 2⌋] =` the largest of 0 and the four pixels of `x[planes, h, w]` under each pixel, the first of
/// equal ones; NaN where one of them is. A last odd row or column is left out. `places` takes which of the four it was, for the backward pass.
///
/// # Panics
/// If a slice is of another length.
pub fn relu_pool(x: &[f32], [planes, h, w]: [usize; 3], y: &mut [f32], places: &mut [u8]) {
    let [rows, columns] = [h / 2, w / 2];
    let outputs = planes * rows * columns;
    assert!(x.len() == planes * h * w && y.len() == outputs && places.len() == outputs, "pooling");
    if outputs == 0 {
        return;
    }
    let pieces = y.par_chunks_mut(PIECE * columns).zip(places.par_chunks_mut(PIECE * columns));
    pieces.enumerate().for_each(|(piece, (y, places))| {
        let lines = y.chunks_exact_mut(columns).zip(places.chunks_exact_mut(columns));
        for (at, (y, places)) in lines.enumerate() {
            let line = piece * PIECE + at;
            let first = (line / rows * h + line % rows * 2) * w;
            let (upper, lower) = (&x[first..first + 2 * columns], &x[first + w..first + w + 2 * columns]);
            let pairs = upper.as_chunks::<2>().0.iter().zip(lower.as_chunks::<2>().0);
            for ((y, place), (a, b)) in y.iter_mut().zip(places).zip(pairs) {
                (*y, *place) = (0.0, NONE);
                for (at, v) in [a[0], a[1], b[0], b[1]].into_iter().enumerate() {
                    if v > *y || v.is_nan() {
                        (*y, *place) = (v, at as u8);
                    }
                }
            }
        }
    });
}

/// `dx[planes, h, w] =` the gradient by the pixels, given `dy` and the places of [`relu_pool`].
///
/// # Panics
/// If a slice is of another length.
pub fn relu_pool_backward(dy: &[f32], places: &[u8], [planes, h, w]: [usize; 3], dx: &mut [f32]) {
    let [rows, columns] = [h / 2, w / 2];
    let outputs = planes * rows * columns;
    assert!(dx.len() == planes * h * w && dy.len() == outputs && places.len() == outputs, "pooling");
    if dx.is_empty() {
        return;
    }
    dx.par_chunks_mut(h * w).enumerate().for_each(|(plane, dx)| {
        dx.fill(0.0);
        for line in 0..rows {
            let at = (plane * rows + line) * columns;
            for (column, (dy, &place)) in dy[at..at + columns].iter().zip(&places[at..]).enumerate() {
                if place != NONE {
                    let place = usize::from(place);
                    dx[(2 * line + place / 2) * w + 2 * column + place % 2] = *dy;
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_of_four_by_hand() {
        // Two planes of 3 × 5: the last row and column are left out.
        let mut x = vec![9.0f32; 30];
        let first = [[1.0, 4.0, -1.0, -2.0], [3.0, 2.0, -3.0, 0.0]];
        let second = [[0.5, 0.5, 5.0, 1.0], [0.5, 0.5, 2.0, 7.0]];
        for (plane, lines) in [first, second].iter().enumerate() {
            for (row, line) in lines.iter().enumerate() {
                x[plane * 15 + row * 5..][..4].copy_from_slice(line);
            }
        }
        let (mut y, mut places) = (vec![-1.0; 4], vec![9; 4]);
        relu_pool(&x, [2, 3, 5], &mut y, &mut places);
        assert_eq!((y.as_slice(), places.as_slice()), (&[4.0, 0.0, 0.5, 7.0][..], &[1, 4, 0, 3][..]));
        let mut dx = vec![9.0; 30];
        relu_pool_backward(&[1.0, 2.0, 3.0, 4.0], &places, [2, 3, 5], &mut dx);
        let mut want = vec![0.0; 30];
        (want[1], want[15], want[15 + 5 + 3]) = (1.0, 3.0, 4.0);
        assert_eq!(dx, want);
        x[17] = f32::NAN;
        relu_pool(&x, [2, 3, 5], &mut y, &mut places);
        assert!(y[3].is_nan() && !y[2].is_nan());
    }

    #[test]
    fn images_of_one_row_have_no_output_and_no_gradient() {
        relu_pool(&[1.0; 6], [2, 1, 3], &mut [], &mut []);
        let mut dx = [1.0; 6];
        relu_pool_backward(&[], &[], [2, 1, 3], &mut dx);
        assert_eq!(dx, [0.0; 6]);
    }
}
