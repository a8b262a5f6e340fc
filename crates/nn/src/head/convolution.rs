use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor};
use parallax_random::Key;

use crate::{layer, ops};

/// Added to the variance of an image before the root.
const EPSILON: f64 = 1e-5;

/// Rows and columns of a filter.
const KERNEL: usize = 3;

/// Blocks of filters over images that come as rows of pixels: each filters by 3 × 3 with zeros around the image, normalises,
/// cuts off at 0 and takes the largest of each two by two pixels, so that it halves the image.
///
/// The norm is over all channels and pixels of an image, with a scale and a shift for each channel (a group norm with one
/// group, Wu and He, ECCV 2018): what an image becomes does not depend on its batch, as it would with batch norm, which the
/// few-shot literature has in this place (Vinyals et al., NIPS 2016; Snell et al., NIPS 2017).
#[derive(Module, Debug)]
pub struct Convolution {
    /// The blocks, in order.
    pub blocks: Vec<Block>,
    /// Channels, rows and columns of an image.
    #[module(skip)]
    pub image: [usize; 3],
}

/// One block of a [`Convolution`].
#[derive(Module, Debug)]
pub struct Block {
    /// The filters `[F, C, 3, 3]`.
    pub weight: Param<Tensor<4>>,
    /// The scale of each channel, `[F]`.
    pub scale: Param<Tensor<1>>,
    /// The shift of each channel, `[F]`.
    pub shift: Param<Tensor<1>>,
}

impl Block {
    fn new(weight: Param<Tensor<4>>, device: &Device) -> Self {
        let filters = weight.dims()[0];
        let scale = Param::from_tensor(Tensor::ones([filters], device));
        Block { weight, scale, shift: layer::zeros([filters], device) }
    }

    fn forward(&self, x: Tensor<2>, [channels, h, w]: [usize; 3]) -> Tensor<2> {
        let filters = self.weight.dims()[0];
        let x = ops::convolve(x, [channels, h, w], self.weight.val());
        // One number for each pixel of the channel.
        let spread = |each: &Param<Tensor<1>>| {
            each.val().reshape([filters, 1]).expand([filters, h * w]).reshape([filters * h * w])
        };
        let x = ops::layer_norm(x, None, (spread(&self.scale), spread(&self.shift), EPSILON));
        ops::relu_pool(x, [filters, h, w])
    }
}

impl Convolution {
    /// Filters drawn from N(0, 2 / (9 · C)) (He et al., ICCV 2015).
    pub fn random(image: [usize; 3], filters: usize, blocks: usize, key: Key, device: &Device) -> Self {
        let draw = |block: usize| {
            let channels = if block == 0 { image[0] } else { filters };
            let std = (2.0 / (channels * KERNEL * KERNEL) as f64).sqrt();
            layer::normal([filters, channels, KERNEL, KERNEL], std, key.at(block as u64), device)
        };
        Convolution { blocks: (0..blocks).map(|block| Block::new(draw(block), device)).collect(), image }
    }

    /// Zeros, to be filled from a file.
    pub fn zeros(image: [usize; 3], filters: usize, blocks: usize, device: &Device) -> Self {
        let channels = |block: usize| if block == 0 { image[0] } else { filters };
        let block =
            |block| Block::new(layer::zeros([filters, channels(block), KERNEL, KERNEL], device), device);
        Convolution { blocks: (0..blocks).map(block).collect(), image }
    }

    /// Why images of this size cannot be filtered so, if they cannot.
    pub fn refuses([channels, height, width]: [usize; 3], filters: usize, blocks: usize) -> Option<String> {
        let side = height.min(width);
        if channels == 0 || side == 0 || filters == 0 || blocks == 0 {
            return Some("an image, its filters and its blocks must be at least 1".to_owned());
        }
        if blocks >= usize::BITS as usize || side >> blocks == 0 {
            return Some(format!("{blocks} blocks halve an image of {height} x {width} to nothing"));
        }
        let size = channels.checked_mul(height).and_then(|size| size.checked_mul(width));
        let most = channels.max(filters).checked_mul(filters);
        let fits = size.is_some_and(|size| size <= 1 << 24) && most.is_some_and(|most| most <= 1 << 24);
        (!fits).then(|| "too large: at most 2^24 pixels, and filters times channels".to_owned())
    }

    /// The number of filters of each block.
    pub fn filters(&self) -> usize {
        self.blocks.last().map_or(self.image[0], |block| block.weight.dims()[0])
    }

    /// Numbers of an image.
    pub fn input(&self) -> usize {
        self.image.iter().product()
    }

    /// Numbers that come out.
    pub fn output(&self) -> usize {
        let [_, h, w] = self.image;
        self.filters() * (h >> self.blocks.len()) * (w >> self.blocks.len())
    }

    /// `[B, C · H · W]` to `[B, F · H / 2ⁿ · W / 2ⁿ]` for n blocks.
    pub fn forward(&self, mut x: Tensor<2>) -> Tensor<2> {
        let [mut channels, mut h, mut w] = self.image;
        for block in &self.blocks {
            x = block.forward(x, [channels, h, w]);
            (channels, h, w) = (self.filters(), h / 2, w / 2);
        }
        x
    }
}
