use super::Factors;
use crate::linear::buffer::Scratch;
use crate::linear::micro::{Micro, Stored};
use crate::linear::panels::{self, Given};
use crate::linear::rectangles;
use crate::share::Parts;

/// Rows that are summed in registers before the sums go to memory.
const ROUND: usize = 256;

/// # Safety
/// The instruction set of the kernel runs here.
pub(super) unsafe fn sum<const W: usize, S: Stored, M: Micro<W, A = f32, B = S, C = f32>>(
    factors: Factors<'_>,
    dw: &mut [f32],
) {
    let Factors { m, n, k, .. } = factors;
    let small = m.saturating_mul(n * k) < 1 << 19;
    let dw = Parts::new(dw);
    for first in (0..m).step_by(ROUND) {
        let Factors { dy, x, m: rows, .. } = factors.rows(first..m.min(first + ROUND));
        let right = panels::stored::<S>(Given::ByInput(x), k, rows, W, small);
        let right = right.slice::<S>();
        rectangles::for_each(n, k.div_ceil(W), M::ROWS, 8 * M::ROWS, small, |heights, columns| {
            // Columns of dy as the kernel may read them: for bf16 they are rounded first.
            let mut scratch = Scratch::take();
            let (left, row, step) = if S::EXACT {
                (&dy[heights.start..], 1, n)
            } else {
                let left = &mut scratch.at_least::<f32>(rows * heights.len())[..rows * heights.len()];
                for (to, from) in left.chunks_exact_mut(heights.len()).zip(dy.chunks_exact(n)) {
                    to.iter_mut().zip(&from[heights.clone()]).for_each(|(to, &v)| *to = S::of(v).wide());
                }
                (&*left, 1, heights.len())
            };
            let mut sums = vec![0.0; M::ROWS * W];
            for column in columns {
                let b = &right[column * W * rows..][..W * rows];
                for from in (0..heights.len()).step_by(M::ROWS) {
                    let height = M::ROWS.min(heights.len() - from);
                    assert!(left.len() > from + height - 1 + (rows - 1) * step);
                    // SAFETY: the assertion covers the last number of the last row; `b` is a panel, `sums` has
                    // room for the most rows; the caller has the instruction set.
                    unsafe {
                        M::run(
                            height,
                            left.as_ptr().add(from),
                            (row, step),
                            b.as_ptr(),
                            rows,
                            sums.as_mut_ptr(),
                        );
                    }
                    let at = column * W;
                    let width = W.min(k - at);
                    for (r, sums) in sums.chunks_exact(W).take(height).enumerate() {
                        let at = (heights.start + from + r) * k + at;
                        // SAFETY: rectangles do not overlap.
                        let to = unsafe { dw.part(at..at + width) };
                        if first == 0 {
                            to.copy_from_slice(&sums[..width]);
                        } else {
                            to.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
                        }
                    }
                }
            }
        });
    }
}
