use super::{Sizes, TILE};
use std::ops::Range;

/// A tile of the output: a part of the pixels of one image, or all pixels of as many images as it holds.
pub(super) struct Patches<'a> {
    sizes: &'a Sizes,
    images: Range<usize>,
    pixels: Range<usize>,
}

/// A run of pixels in one row of the output, of which some lie over the image.
struct Run {
    /// The first pixel, counted from the first of the tile's.
    at: usize,
    /// The pixel of the channel under it.
    from: usize,
    /// How many.
    count: usize,
}

impl<'a> Patches<'a> {
    /// The tiles of some images, in order.
    pub(super) fn of(sizes: &'a Sizes, images: Range<usize>) -> impl Iterator<Item = Patches<'a>> {
        let (together, parts) = (Self::together(sizes), sizes.pixels.div_ceil(TILE));
        images.clone().step_by(together).flat_map(move |first| {
            let images = first..images.end.min(first + together);
            (0..parts).map(move |part| {
                let pixels = part * TILE..sizes.pixels.min((part + 1) * TILE);
                Patches { sizes, images: images.clone(), pixels }
            })
        })
    }

    /// Images that share a tile.
    pub(super) fn together(sizes: &Sizes) -> usize {
        (TILE / sizes.pixels.max(1)).max(1)
    }

    pub(super) fn images(&self) -> Range<usize> {
        self.images.clone()
    }

    /// The first pixel of each image.
    pub(super) fn first(&self) -> usize {
        self.pixels.start
    }

    /// Pixels of each image.
    pub(super) fn each(&self) -> usize {
        self.pixels.len()
    }

    /// Pixels of all images.
    pub(super) fn count(&self) -> usize {
        self.images.len() * self.pixels.len()
    }

    /// One row for each channel of a group and number of the filter, one column for each pixel: what is multiplied there.
    pub(super) fn columns(&self, x: &[f32], group: usize) -> Vec<f32> {
        let count = self.count();
        let mut columns = vec![0.0; self.sizes.inputs * self.sizes.taps * count];
        let step = self.sizes.all.stride[1];
        for (image, first) in self.images().zip((0..).step_by(self.each())) {
            let x = &x[self.sizes.inputs_of(image, group)];
            for tap in 0..self.sizes.taps {
                for Run { at, from, count: run } in self.runs(tap) {
                    for (c, x) in x.chunks_exact(self.sizes.image).enumerate() {
                        let to = &mut columns[(c * self.sizes.taps + tap) * count + first + at..][..run];
                        if step == 1 {
                            to.copy_from_slice(&x[from..from + run]);
                        } else {
                            to.iter_mut().zip(x[from..].iter().step_by(step)).for_each(|(to, x)| *to = *x);
                        }
                    }
                }
            }
        }
        columns
    }

    /// Adds each number of `columns` to the pixel of `dx` that it was multiplied with; `dx` is of the image with this place
    /// among the tile's, and holds the channels of the group.
    pub(super) fn add_to(&self, columns: &[f32], place: usize, dx: &mut [f32]) {
        let (count, step, first) = (self.count(), self.sizes.all.stride[1], place * self.each());
        for tap in 0..self.sizes.taps {
            for Run { at, from, count: run } in self.runs(tap) {
                for (c, dx) in dx.chunks_exact_mut(self.sizes.image).enumerate() {
                    let row = &columns[(c * self.sizes.taps + tap) * count + first + at..][..run];
                    if step == 1 {
                        dx[from..from + run].iter_mut().zip(row).for_each(|(dx, v)| *dx += v);
                    } else {
                        dx[from..].iter_mut().step_by(step).zip(row).for_each(|(dx, v)| *dx += v);
                    }
                }
            }
        }
    }

    /// The tile's pixels in the channels of a group of the output, `[outputs, count]`.
    pub(super) fn slopes(&self, dy: &[f32], group: usize) -> Vec<f32> {
        let s = self.sizes;
        let mut tile = Vec::with_capacity(s.outputs * self.count());
        for f in 0..s.outputs {
            for image in self.images() {
                let at = (image * s.all.filters + group * s.outputs + f) * s.pixels + self.first();
                tile.extend_from_slice(&dy[at..at + self.each()]);
            }
        }
        tile
    }

    /// The runs of pixels under which number `tap` of a filter lies over the image.
    fn runs(&self, tap: usize) -> impl Iterator<Item = Run> {
        let Sizes { output: [_, width], all, .. } = *self.sizes;
        let Range { start, end } = self.pixels;
        (start / width..end.div_ceil(width)).filter_map(move |row| {
            let [u, v] = [tap / all.kernel[1], tap % all.kernel[1]];
            let source = over(row, u, all.stride[0], all.dilation[0], all.padding[0], all.size[0])?;
            let columns = start.max(row * width) - row * width..end.min((row + 1) * width) - row * width;
            let columns = covered(columns, v, [all.stride[1], all.dilation[1], all.padding[1], all.size[1]]);
            (!columns.is_empty()).then(|| Run {
                at: row * width + columns.start - start,
                from: source * all.size[1] + columns.start * all.stride[1] + v * all.dilation[1]
                    - all.padding[1],
                count: columns.len(),
            })
        })
    }
}

/// The line of the image under number `tap` of a filter at `place`.
pub(super) fn over(
    place: usize,
    tap: usize,
    stride: usize,
    dilation: usize,
    padding: usize,
    size: usize,
) -> Option<usize> {
    (place * stride + tap * dilation).checked_sub(padding).filter(|&line| line < size)
}

/// Those of the places at which number `tap` of a filter lies over the image.
pub(super) fn covered(
    places: Range<usize>,
    tap: usize,
    [stride, dilation, padding, size]: [usize; 4],
) -> Range<usize> {
    let start = padding.saturating_sub(tap * dilation).div_ceil(stride);
    // Place p lies over the image while p·stride + tap·dilation < size + padding.
    let end = (size + padding).saturating_sub(tap * dilation).div_ceil(stride);
    let start = places.start.max(start);
    start..places.end.min(end).max(start)
}
