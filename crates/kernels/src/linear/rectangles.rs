//! The split of a product over the threads of the current pool.

use crate::share;
use std::ops::Range;

/// Tasks for each thread: more than one, so that a thread that was held up does not hold up all.
const TASKS_PER_THREAD: usize = 3;

/// Calls `f` with rectangles of rows and panels that cover `0..m` and `0..panels` once.
///
/// Rows are split in multiples of `unit` and in tasks of at most `most` rows; panels are split where there are too few
/// rows to go round. What is `small` stays on the calling thread.
pub(super) fn for_each(
    m: usize,
    panels: usize,
    unit: usize,
    most: usize,
    small: bool,
    f: impl Fn(Range<usize>, Range<usize>) + Sync,
) {
    let threads = rayon::current_num_threads();
    if threads == 1 || small {
        for start in (0..m).step_by(most) {
            f(start..m.min(start + most), 0..panels);
        }
        return;
    }
    let wanted = threads * TASKS_PER_THREAD;
    let rows = m.div_ceil(wanted).next_multiple_of(unit).min(most);
    let row_tasks = m.div_ceil(rows);
    let (rows, row_tasks) = if row_tasks >= threads { (rows, row_tasks) } else { (most, m.div_ceil(most)) };
    let columns = if row_tasks >= threads { panels } else { panels.div_ceil(threads.div_ceil(row_tasks)) };
    let column_tasks = panels.div_ceil(columns);
    share::jobs(row_tasks * column_tasks, usize::MAX, |task| {
        let (r, c) = (task / column_tasks * rows, task % column_tasks * columns);
        f(r..m.min(r + rows), c..panels.min(c + columns));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    #[test]
    fn rectangles_cover_every_row_and_panel_once() {
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            for (m, panels) in [(1, 1), (1, 7), (31, 3), (64, 2), (65, 12), (1000, 5)] {
                for small in [false, true] {
                    let seen = Mutex::new(vec![0; m * panels]);
                    pool.install(|| {
                        for_each(m, panels, 32, 256, small, |rows, columns| {
                            assert!(rows.len() <= 256 && rows.start % 32 == 0);
                            let mut seen = seen.lock().unwrap();
                            for r in rows {
                                columns.clone().for_each(|c| seen[r * panels + c] += 1);
                            }
                        });
                    });
                    assert!(seen.into_inner().unwrap().iter().all(|&n| n == 1), "{threads} {m} {panels}");
                }
            }
        }
    }
}
