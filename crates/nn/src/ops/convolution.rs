use parallax_kernels::convolution::{Convolution as Sizes, relu_pool, relu_pool_backward};
use parallax_kernels::linear::Precision;

use super::array::{self, Array};
use super::graph::Operation;

/// Images filtered in 32 bits.
///
/// Inputs: x `[B, C · H · W]`, the filters `[F, C, k₀, k₁]`.
#[derive(Clone, Debug)]
pub(super) struct Convolve {
    /// All but the number of images, which is that of the rows.
    pub(super) sizes: Sizes,
}

impl Convolve {
    fn of(&self, x: &Array) -> Sizes {
        Sizes { batch: x.dims().0, ..self.sizes }
    }
}

impl Operation for Convolve {
    type Kept = (Array, Array);

    fn forward(&self, inputs: Vec<Array>, keep: bool) -> (Array, Option<Self::Kept>) {
        let mut inputs = inputs.into_iter();
        let (x, w) = (inputs.next().expect("x"), inputs.next().expect("filters"));
        let sizes = self.of(&x);
        let width = sizes.filters * sizes.output().expect("checked").iter().product::<usize>();
        let mut y = array::take(sizes.batch * width);
        sizes.forward(x.values(), w.values(), None, Precision::F32, &mut y);
        (Array::new(y, [sizes.batch, width]), keep.then_some((x, w)))
    }

    fn backward(&self, (x, w): Self::Kept, gradient: Array, wanted: &[bool]) -> Vec<Option<Array>> {
        let sizes = self.of(&x);
        let (n, width) = x.dims();
        // Pixels that came in as they are need no gradient, which is a third of the work.
        let dx = wanted[0].then(|| {
            let mut dx = array::take(n * width);
            sizes.input_gradient(gradient.values(), w.values(), Precision::F32, &mut dx);
            Array::new(dx, [n, width])
        });
        let dw = wanted[1].then(|| {
            let shape: [usize; 4] = w.shape().try_into().expect("four dimensions");
            let mut dw = vec![0.0; w.values().len()];
            sizes.weight_gradient(gradient.values(), x.values(), Precision::F32, &mut dw);
            Array::new(dw, shape)
        });
        gradient.give();
        x.give();
        vec![dx, dw]
    }
}

/// The largest of each two by two pixels, and at least 0.
///
/// Input: x `[B, C · H · W]`.
#[derive(Clone, Debug)]
pub(super) struct ReluPool {
    /// C, H and W.
    pub(super) image: [usize; 3],
}

impl Operation for ReluPool {
    /// Which pixel it was, and the number of images.
    type Kept = (Vec<u8>, usize);

    fn forward(&self, inputs: Vec<Array>, keep: bool) -> (Array, Option<Self::Kept>) {
        let x = inputs.into_iter().next().expect("x");
        let ([channels, h, w], n) = (self.image, x.dims().0);
        let width = channels * (h / 2) * (w / 2);
        let (mut y, mut places) = (array::take(n * width), vec![0; n * width]);
        relu_pool(x.values(), [n * channels, h, w], &mut y, &mut places);
        x.give();
        (Array::new(y, [n, width]), keep.then_some((places, n)))
    }

    fn backward(&self, (places, n): Self::Kept, gradient: Array, _: &[bool]) -> Vec<Option<Array>> {
        let [channels, h, w] = self.image;
        let mut dx = array::take(n * channels * h * w);
        relu_pool_backward(gradient.values(), &places, [n * channels, h, w], &mut dx);
        gradient.give();
        vec![Some(Array::new(dx, [n, channels * h * w]))]
    }
}
