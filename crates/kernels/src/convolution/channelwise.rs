//! Channels with filters of their own: rows of pixels are multiplied and added in place.

use super::Sizes;
use super::patches::{covered, over};
use crate::isa::Isa;
use crate::lanes::{self, Body, Lanes};
use crate::share::{self, Parts};
use std::ops::Range;

/// The rows of one channel that meet under one number of a filter.
struct Meeting {
    /// Pixels of the output.
    output: Range<usize>,
    /// The first pixel of the image.
    input: usize,
}

fn meetings(s: &Sizes, tap: usize) -> impl Iterator<Item = Meeting> {
    let Sizes { output: [height, width], all, .. } = *s;
    (0..height).filter_map(move |row| {
        let [u, v] = [tap / all.kernel[1], tap % all.kernel[1]];
        let source = over(row, u, all.stride[0], all.dilation[0], all.padding[0], all.size[0])?;
        let columns = covered(0..width, v, [all.stride[1], all.dilation[1], all.padding[1], all.size[1]]);
        (!columns.is_empty()).then(|| Meeting {
            output: row * width + columns.start..row * width + columns.end,
            input: source * all.size[1] + columns.start * all.stride[1] + v * all.dilation[1]
                - all.padding[1],
        })
    })
}

/// `to += factor·from`; `steps` are the distances between numbers, of which one is 1.
struct Add<'a> {
    to: &'a mut [f32],
    from: &'a [f32],
    factor: f32,
    steps: [usize; 2],
}

impl Body for Add<'_> {
    type Out = ();

    #[inline(always)]
    fn call<L: Lanes>(self, l: L) {
        let Self { to, from, factor, steps } = self;
        if steps == [1, 1] {
            let factor = l.splat(factor);
            lanes::update1(
                l,
                from,
                to,
                #[inline(always)]
                |from, to| l.fma(factor, from, to),
            );
        } else {
            let from = from.iter().step_by(steps[1]);
            to.iter_mut().step_by(steps[0]).zip(from).for_each(|(to, from)| *to += factor * from);
        }
    }
}

/// `Σ a·b`, where the numbers of `b` are `step` from each other.
struct Dot<'a> {
    a: &'a [f32],
    b: &'a [f32],
    step: usize,
}

impl Body for Dot<'_> {
    type Out = f32;

    #[inline(always)]
    fn call<L: Lanes>(self, l: L) -> f32 {
        let Self { a, b, step } = self;
        if step == 1 {
            lanes::dot(
                l,
                a,
                b,
                #[inline(always)]
                |a, b| l.mul(a, b),
            )
        } else {
            a.iter().zip(b.iter().step_by(step)).map(|(a, b)| a * b).sum()
        }
    }
}

/// The part of a channel of the image under a meeting, from its first pixel to its last.
fn reach(meeting: &Meeting, step: usize) -> Range<usize> {
    meeting.input..meeting.input + (meeting.output.len() - 1) * step + 1
}

pub(super) fn forward(s: &Sizes, isa: Isa, x: &[f32], w: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
    let (filters, step) = (s.all.filters, s.all.stride[1]);
    let y = Parts::new(y);
    share::jobs(s.all.batch * filters, usize::MAX, |job| {
        let (image, filter) = (job / filters, job % filters);
        let x = &x[s.inputs_of(image, filter / s.outputs)];
        // SAFETY: every job has a channel of its own.
        let y = unsafe { y.part(job * s.pixels..(job + 1) * s.pixels) };
        y.fill(bias.map_or(0.0, |bias| bias[filter]));
        for tap in 0..s.taps {
            for meeting in meetings(s, tap) {
                let (from, factor) = (&x[reach(&meeting, step)], w[filter * s.taps + tap]);
                lanes::run(isa, Add { to: &mut y[meeting.output], from, factor, steps: [1, step] });
            }
        }
    });
}

pub(super) fn input_gradient(s: &Sizes, isa: Isa, dy: &[f32], w: &[f32], dx: &mut [f32]) {
    let (channels, step) = (s.all.channels, s.all.stride[1]);
    let dx = Parts::new(dx);
    share::jobs(s.all.batch * channels, usize::MAX, |job| {
        let (image, channel) = (job / channels, job % channels);
        // SAFETY: every job has a channel of its own.
        let dx = unsafe { dx.part(job * s.image..(job + 1) * s.image) };
        dx.fill(0.0);
        for filter in channel * s.outputs..(channel + 1) * s.outputs {
            let dy = &dy[(image * s.all.filters + filter) * s.pixels..][..s.pixels];
            for tap in 0..s.taps {
                for meeting in meetings(s, tap) {
                    let to = &mut dx[reach(&meeting, step)];
                    let (from, factor) = (&dy[meeting.output], w[filter * s.taps + tap]);
                    lanes::run(isa, Add { to, from, factor, steps: [step, 1] });
                }
            }
        }
    });
}

pub(super) fn weight_gradient(s: &Sizes, isa: Isa, dy: &[f32], x: &[f32], dw: &mut [f32]) {
    let step = s.all.stride[1];
    let dw = Parts::new(dw);
    share::jobs(s.all.filters, usize::MAX, |filter| {
        // SAFETY: every job has a filter of its own.
        let dw = unsafe { dw.part(filter * s.taps..(filter + 1) * s.taps) };
        dw.fill(0.0);
        for image in 0..s.all.batch {
            let x = &x[s.inputs_of(image, filter / s.outputs)];
            let dy = &dy[(image * s.all.filters + filter) * s.pixels..][..s.pixels];
            for (tap, dw) in dw.iter_mut().enumerate() {
                let mut sum = 0.0;
                for meeting in meetings(s, tap) {
                    let b = &x[reach(&meeting, step)];
                    sum += lanes::run(isa, Dot { a: &dy[meeting.output], b, step });
                }
                *dw += sum;
            }
        }
    });
}
