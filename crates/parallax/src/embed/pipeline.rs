//! Reading, computing and writing at the same time.

use std::sync::atomic::{AtomicBool, Ordering};

use parallax_nn::{Input, Role, SentenceEncoder};

use crate::{Error, Result};

/// Rows that are tokenised together, and among which texts of similar length are computed together.
pub(crate) const WINDOW_ROWS: usize = 2048;

/// Tokens that are computed before the work looks whether it should stop, and tells how far it is.
const STEP_TOKENS: usize = 1 << 15;

/// Never set: for work that nobody stops.
pub(crate) static GO_ON: AtomicBool = AtomicBool::new(false);

/// From rows to vectors of one side of a search, window by window, in the order of the rows.
///
/// While a window is computed, `prepare` reads and tokenises the next and `finish` gets the one before, `[rows, dim]`
/// values with what `prepare` gave beside its inputs. No more than three windows are in memory. Everything runs on the
/// current rayon pool; on one thread the stages take turns. `progress` is told how many rows are computed.
///
/// # Errors
/// The first in the order of the rows, whichever stage it is in; [`Error::Interrupted`] soon after `stop` is set.
pub(crate) fn run<T: Send>(
    encoder: &SentenceEncoder,
    role: Role,
    batch_tokens: usize,
    stop: &AtomicBool,
    mut prepare: impl FnMut() -> Result<Option<(T, Vec<Input>)>> + Send,
    mut finish: impl FnMut(T, &[f32]) -> Result<()> + Send,
    progress: &mut dyn FnMut(usize),
) -> Result<usize> {
    let mut next = prepare()?;
    let mut last: Option<(T, Vec<f32>)> = None;
    let mut rows = 0;
    while let Some((own, inputs)) = next.take() {
        let mut window = Window::new(inputs, encoder.dim());
        let mut first = window.step(0);
        // The other stages run beside the first step; what is left of them is over before the second.
        let (computed, (finished, prepared)) = rayon::join(
            || window.compute(encoder, role, first.clone(), batch_tokens, stop),
            || rayon::join(|| last.take().map_or(Ok(()), |(own, values)| finish(own, &values)), &mut prepare),
        );
        finished?;
        computed?;
        while !first.is_empty() {
            progress(rows + first.end);
            first = window.step(first.end);
            window.compute(encoder, role, first.clone(), batch_tokens, stop)?;
        }
        rows += window.inputs.len();
        last = Some((own, window.values));
        next = prepared?;
    }
    if let Some((own, values)) = last {
        finish(own, &values)?;
    }
    Ok(rows)
}

/// Inputs, longest first, and their vectors in the order in which they came.
struct Window {
    inputs: Vec<Input>,
    /// Where each came.
    places: Vec<usize>,
    values: Vec<f32>,
    dim: usize,
}

impl Window {
    fn new(inputs: Vec<Input>, dim: usize) -> Self {
        let values = vec![0.0; inputs.len() * dim];
        let mut placed: Vec<(usize, Input)> = inputs.into_iter().enumerate().collect();
        placed.sort_by_key(|(at, input)| (std::cmp::Reverse(input.tokens()), *at));
        let (places, inputs) = placed.into_iter().unzip();
        Window { inputs, places, values, dim }
    }

    /// The inputs from `from` on that are computed in one step; none at the end.
    fn step(&self, from: usize) -> std::ops::Range<usize> {
        let mut tokens = 0;
        let fitting = self.inputs[from..].iter().take_while(|input| {
            let fits = tokens < STEP_TOKENS;
            tokens += input.tokens().max(1);
            fits
        });
        from..from + fitting.count()
    }

    fn compute(
        &mut self,
        encoder: &SentenceEncoder,
        role: Role,
        step: std::ops::Range<usize>,
        batch_tokens: usize,
        stop: &AtomicBool,
    ) -> Result<()> {
        if stop.load(Ordering::Relaxed) {
            return Err(Error::Interrupted);
        }
        let values = encoder.embed_as(role, &self.inputs[step.clone()], batch_tokens, |_| {})?;
        for (vector, &place) in values.chunks_exact(self.dim).zip(&self.places[step]) {
            self.values[place * self.dim..(place + 1) * self.dim].copy_from_slice(vector);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use parallax_nn::head::{Normalize, Stage};

    use super::*;

    /// A model that halves nothing and doubles nothing: a stored vector divided by its length.
    fn encoder() -> SentenceEncoder {
        SentenceEncoder::over_vectors(2, vec![Stage::Normalize(Normalize {})]).unwrap()
    }

    fn windows(sizes: &[usize]) -> impl FnMut() -> Result<Option<(usize, Vec<Input>)>> + Send {
        let mut sizes = sizes.iter().copied();
        let mut row = 0;
        move || {
            let Some(size) = sizes.next() else { return Ok(None) };
            let inputs =
                (row..row + size).map(|row| Input::Vector(vec![3.0 * (row + 1) as f32, 4.0])).collect();
            row += size;
            Ok(Some((row - size, inputs)))
        }
    }

    #[test]
    fn windows_come_out_in_order_on_any_number_of_threads() {
        let sizes = [3, 1, 40_000, 2];
        let mut outputs: Vec<Vec<f32>> = Vec::new();
        for threads in [1, 2] {
            let mut all = Vec::new();
            let (mut firsts, mut told) = (Vec::new(), Vec::new());
            let rows = crate::with_threads(threads, || {
                let finish = |first, values: &[f32]| {
                    firsts.push(first);
                    all.extend_from_slice(values);
                    Ok(())
                };
                let tell = &mut |rows| told.push(rows);
                run(&encoder(), Role::Query, 64, &GO_ON, windows(&sizes), finish, tell).unwrap()
            });
            assert_eq!(rows.unwrap(), 40_006);
            assert_eq!(firsts, [0, 3, 4, 40_004]);
            assert!(told.is_sorted() && told.last() == Some(&40_006), "{told:?}");
            assert!(told.len() > sizes.len(), "a large window is told of more than once: {told:?}");
            outputs.push(all);
        }
        assert_eq!(outputs[0], outputs[1]);
        for (row, vector) in outputs[0].chunks(2).enumerate() {
            let x = 3.0 * (row + 1) as f32;
            let norm = (x * x + 16.0).sqrt();
            assert!(
                (vector[0] - x / norm).abs() < 1e-6 && (vector[1] - 4.0 / norm).abs() < 1e-6,
                "row {row}"
            );
        }
    }

    #[test]
    fn the_first_error_in_the_order_of_the_rows_is_told() {
        let mut calls = 0;
        let prepare = || {
            calls += 1;
            match calls {
                1 | 2 => Ok(Some((calls, vec![Input::Vector(vec![1.0, 2.0])]))),
                _ => Err(Error::setting("row 3")),
            }
        };
        let finish = |window: usize, _: &[f32]| match window {
            1 => Err(Error::setting("row 1")),
            _ => Ok(()),
        };
        let error = run(&encoder(), Role::Query, 64, &GO_ON, prepare, finish, &mut |_| ()).unwrap_err();
        assert_eq!(error.to_string(), "row 1");
        let wrong = || Ok(Some(((), vec![Input::Vector(vec![1.0])])));
        let error = run(&encoder(), Role::Query, 64, &GO_ON, wrong, |(), _| Ok(()), &mut |_| ()).unwrap_err();
        assert!(error.to_string().contains("stored vector"), "{error}");
    }

    #[test]
    fn it_stops_between_steps() {
        let stop = AtomicBool::new(false);
        let mut windows = windows(&[2; 100]);
        let mut finished = 0;
        let mut tell = |rows: usize| stop.store(rows >= 10, Ordering::Relaxed);
        let finish = |_, _: &[f32]| {
            finished += 1;
            Ok(())
        };
        let error = run(&encoder(), Role::Query, 64, &stop, &mut windows, finish, &mut tell).unwrap_err();
        assert!(matches!(error, Error::Interrupted));
        assert!(finished <= 5, "{finished}");
    }
}
