//! Two-dimensional convolution of images, forward and backward.
//!
//! With images `x[batch, channels, height, width]`, filters `w[filters, channels / groups, kernel₀, kernel₁]`, and zeros
//! outside of the image,
//! `y[b, f, i, j] = bias[f] + Σ_{c, u, v} w[f, c, u, v] · x[b, g(f) + c, i·stride₀ − padding₀ + u·dilation₀, …]`, where
//! g(f) is the first channel of the group of filter f: what PyTorch's `conv2d` computes.
//!
//! Pixels of the output are taken in tiles, small images several to a tile. The patches under a tile are written out as
//! columns and multiplied with the filters by [`crate::linear`], in any of its precisions; where every channel has a few
//! filters of its own, rows of pixels are multiplied and added in place, in 32 bits. Work runs on the current rayon pool. Sums over pixels and images run
//! in blocks of fixed size, in order, so the bytes are the same for any number of threads.

mod channelwise;
mod patches;
mod pooling;
#[cfg(test)]
mod tests;

use crate::isa::{self, Isa};
use crate::linear::{Epilogue, Packed, Precision};
use crate::share::{self, Parts};
use patches::Patches;
pub use pooling::{relu_pool, relu_pool_backward};
use std::ops::Range;

/// Pixels of the output of a tile.
const TILE: usize = 512;

/// The sizes of a convolution; pairs are (rows, columns).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Convolution {
    /// Images.
    pub batch: usize,
    /// Channels of an image.
    pub channels: usize,
    /// Rows and columns of an image.
    pub size: [usize; 2],
    /// Channels of the output.
    pub filters: usize,
    /// Rows and columns of a filter.
    pub kernel: [usize; 2],
    /// Pixels from one place of the filter to the next.
    pub stride: [usize; 2],
    /// Zeros around the image.
    pub padding: [usize; 2],
    /// Pixels from one number of the filter to the next.
    pub dilation: [usize; 2],
    /// Channels and filters fall into so many groups, which do not see each other.
    pub groups: usize,
}

impl Convolution {
    /// Rows and columns of the output; `None` where the filter does not fit into the image with its padding, a stride, a
    /// dilation or a size of the filter is 0, or the groups do not divide channels and filters.
    pub fn output(&self) -> Option<[usize; 2]> {
        let divides = |count: usize| self.groups > 0 && count.is_multiple_of(self.groups);
        if !divides(self.channels) || !divides(self.filters) {
            return None;
        }
        let side = |axis: usize| {
            let reach = self.dilation[axis].checked_mul(self.kernel[axis].checked_sub(1)?)?.checked_add(1)?;
            let room = self.size[axis].checked_add(self.padding[axis].checked_mul(2)?)?.checked_sub(reach)?;
            let fits = self.dilation[axis] > 0 && self.stride[axis] > 0;
            fits.then(|| room / self.stride[axis].max(1) + 1)
        };
        Some([side(0)?, side(1)?])
    }

    fn sizes(&self) -> Sizes {
        let Some(output) = self.output() else {
            panic!("no output: {self:?}");
        };
        Sizes {
            all: *self,
            output,
            inputs: self.channels / self.groups,
            outputs: self.filters / self.groups,
            image: self.size[0] * self.size[1],
            pixels: output[0] * output[1],
            taps: self.kernel[0] * self.kernel[1],
        }
    }

    /// `y[batch, filters, …] =` the convolution of `x[batch, channels, …]` with `w`, plus `bias[filters]`.
    ///
    /// # Panics
    /// If there is no [`Self::output`] or a slice does not have the length that its shape says.
    pub fn forward(&self, x: &[f32], w: &[f32], bias: Option<&[f32]>, precision: Precision, y: &mut [f32]) {
        self.forward_on(isa::current(), x, w, bias, precision, y);
    }

    /// `dx[batch, channels, …] =` the gradient by `x`, given `dy` by `y`. [`Precision::Int8`] counts as
    /// [`Precision::F32`].
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn input_gradient(&self, dy: &[f32], w: &[f32], precision: Precision, dx: &mut [f32]) {
        self.input_gradient_on(isa::current(), dy, w, precision, dx);
    }

    /// `dw[filters, channels / groups, …] =` the gradient by the filters, given `dy` by `y`. [`Precision::Int8`] counts
    /// as [`Precision::F32`].
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn weight_gradient(&self, dy: &[f32], x: &[f32], precision: Precision, dw: &mut [f32]) {
        self.weight_gradient_on(isa::current(), dy, x, precision, dw);
    }

    /// `db[filters] =` the sums of `dy` over images and pixels, each image's sum added in order.
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn bias_gradient(&self, dy: &[f32], db: &mut [f32]) {
        let sizes = self.sizes();
        assert!(dy.len() == sizes.y() && db.len() == self.filters, "bias gradient of {self:?}");
        for (filter, db) in db.iter_mut().enumerate() {
            *db = (0..self.batch)
                .map(|image| {
                    let at = (image * self.filters + filter) * sizes.pixels;
                    let sums = dy[at..at + sizes.pixels].chunks(64).map(|some| some.iter().sum::<f32>());
                    sums.sum::<f32>()
                })
                .sum();
        }
    }

    pub(crate) fn forward_on(
        &self,
        isa: Isa,
        x: &[f32],
        w: &[f32],
        bias: Option<&[f32]>,
        precision: Precision,
        y: &mut [f32],
    ) {
        let s = self.sizes();
        let slices = x.len() == s.x() && w.len() == s.w() && y.len() == s.y();
        assert!(slices && bias.is_none_or(|bias| bias.len() == self.filters), "forward of {self:?}");
        if s.channelwise() {
            return channelwise::forward(&s, isa, x, w, bias, y);
        }
        let y = Parts::new(y);
        let tiles: Vec<Patches<'_>> = Patches::of(&s, 0..self.batch).collect();
        let k = s.inputs * s.taps;
        share::jobs(tiles.len() * self.groups, usize::MAX, |job| {
            let (patches, group) = (&tiles[job / self.groups], job % self.groups);
            let (count, each) = (patches.count(), patches.each());
            let packed = Packed::plain_on(isa, &patches.columns(x, group), k, count, precision);
            let mut out = vec![0.0; s.outputs * count];
            packed.product(&w[s.filters_of(group)], s.outputs, Epilogue::default(), &mut out);
            for (f, out) in out.chunks_exact(count).enumerate() {
                let filter = group * s.outputs + f;
                let bias = bias.map_or(0.0, |bias| bias[filter]);
                for (image, out) in patches.images().zip(out.chunks_exact(each)) {
                    let at = (image * self.filters + filter) * s.pixels + patches.first();
                    // SAFETY: every job has pixels of its own.
                    let to = unsafe { y.part(at..at + each) };
                    to.iter_mut().zip(out).for_each(|(to, v)| *to = v + bias);
                }
            }
        });
    }

    pub(crate) fn input_gradient_on(
        &self,
        isa: Isa,
        dy: &[f32],
        w: &[f32],
        precision: Precision,
        dx: &mut [f32],
    ) {
        let s = self.sizes();
        let slices = dy.len() == s.y() && w.len() == s.w() && dx.len() == s.x();
        assert!(slices, "input gradient of {self:?}");
        if s.channelwise() {
            return channelwise::input_gradient(&s, isa, dy, w, dx);
        }
        let precision = for_gradients(precision);
        let k = s.inputs * s.taps;
        // The filters of each group by number of the filter: [k, outputs].
        let turn = |group: usize| -> Vec<f32> {
            let filters = &w[s.filters_of(group)];
            (0..k).flat_map(|at| filters[at..].iter().step_by(k).take(s.outputs).copied()).collect()
        };
        let turned: Vec<Vec<f32>> = (0..self.groups).map(turn).collect();
        let (dx, together) = (Parts::new(dx), Patches::together(&s));
        // Tiles of one image overlap in its gradient: they are added in order by one thread.
        share::jobs(self.batch.div_ceil(together) * self.groups, usize::MAX, |job| {
            let (first, group) = (job / self.groups * together, job % self.groups);
            let images = first..self.batch.min(first + together);
            for patches in Patches::of(&s, images.clone()) {
                let count = patches.count();
                let packed = Packed::plain_on(isa, &patches.slopes(dy, group), s.outputs, count, precision);
                let mut columns = vec![0.0; k * count];
                packed.product(&turned[group], k, Epilogue::default(), &mut columns);
                for (place, image) in images.clone().enumerate() {
                    // SAFETY: every job has channels of its own.
                    let dx = unsafe { dx.part(s.inputs_of(image, group)) };
                    if patches.first() == 0 {
                        dx.fill(0.0);
                    }
                    patches.add_to(&columns, place, dx);
                }
            }
        });
    }

    pub(crate) fn weight_gradient_on(
        &self,
        isa: Isa,
        dy: &[f32],
        x: &[f32],
        precision: Precision,
        dw: &mut [f32],
    ) {
        let s = self.sizes();
        let slices = dy.len() == s.y() && x.len() == s.x() && dw.len() == s.w();
        assert!(slices, "weight gradient of {self:?}");
        if s.channelwise() {
            return channelwise::weight_gradient(&s, isa, dy, x, dw);
        }
        let precision = for_gradients(precision);
        let k = s.inputs * s.taps;
        // At most sixteen sums of some images each, whatever the number of threads.
        let images = self.batch.div_ceil(16).max(1);
        let parts = self.batch.div_ceil(images);
        let mut sums = vec![0.0; parts * dw.len()];
        let (out, each) = (Parts::new(&mut sums), s.outputs * k);
        share::jobs(parts * self.groups, usize::MAX, |job| {
            let (part, group) = (job / self.groups, job % self.groups);
            let at = job * each;
            // SAFETY: every job has sums of its own.
            let sum = unsafe { out.part(at..at + each) };
            let mut before = vec![0.0; each];
            for patches in Patches::of(&s, part * images..self.batch.min((part + 1) * images)) {
                let (slopes, columns) = (patches.slopes(dy, group), patches.columns(x, group));
                let packed = Packed::transposed_on(isa, &columns, k, patches.count(), precision);
                before.copy_from_slice(sum);
                let epilogue = Epilogue { residual: Some(&before), ..Epilogue::default() };
                packed.product(&slopes, s.outputs, epilogue, sum);
            }
        });
        dw.fill(0.0);
        for sum in sums.chunks_exact(dw.len().max(1)) {
            dw.iter_mut().zip(sum).for_each(|(dw, sum)| *dw += sum);
        }
    }
}

fn for_gradients(precision: Precision) -> Precision {
    if precision == Precision::Int8 { Precision::F32 } else { precision }
}

/// What follows from the sizes.
#[derive(Clone, Copy)]
struct Sizes {
    all: Convolution,
    output: [usize; 2],
    /// Channels of a group.
    inputs: usize,
    /// Filters of a group.
    outputs: usize,
    /// Pixels of a channel of an image.
    image: usize,
    /// Pixels of a channel of the output.
    pixels: usize,
    /// Numbers of a filter in a channel.
    taps: usize,
}

impl Sizes {
    fn x(&self) -> usize {
        self.all.batch * self.all.channels * self.image
    }

    fn y(&self) -> usize {
        self.all.batch * self.all.filters * self.pixels
    }

    fn w(&self) -> usize {
        self.all.filters * self.inputs * self.taps
    }

    /// Every channel has filters of its own, and too few of them for a product.
    fn channelwise(&self) -> bool {
        self.inputs == 1 && self.outputs < 8
    }

    /// Where the channels of a group of an image stand.
    fn inputs_of(&self, image: usize, group: usize) -> Range<usize> {
        let first = (image * self.all.channels + group * self.inputs) * self.image;
        first..first + self.inputs * self.image
    }

    /// Where the filters of a group stand, `[outputs, inputs·taps]`.
    fn filters_of(&self, group: usize) -> Range<usize> {
        let size = self.outputs * self.inputs * self.taps;
        group * size..(group + 1) * size
    }
}
