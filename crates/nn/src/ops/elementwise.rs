use parallax_kernels::activation;
use parallax_kernels::softmax::{softmax, softmax_backward};

use super::array::{self, Array};
use super::graph::Operation;

/// An activation function, elementwise.
#[derive(Clone, Debug)]
pub(super) struct Activate(pub(super) activation::Activation);

impl Operation for Activate {
    type Kept = Array;

    fn forward(&self, inputs: Vec<Array>, keep: bool) -> (Array, Option<Array>) {
        let x = inputs.into_iter().next().expect("x");
        let (n, d) = x.dims();
        let mut y = array::take(n * d);
        activation::forward(self.0, x.values(), &mut y);
        if keep { (Array::new(y, [n, d]), Some(x)) } else { (Array::new(y, [n, d]), None) }
    }

    fn backward(&self, x: Array, gradient: Array, _: &[bool]) -> Vec<Option<Array>> {
        let (n, d) = x.dims();
        let mut dx = array::take(n * d);
        activation::backward(self.0, x.values(), gradient.values(), &mut dx);
        x.give();
        gradient.give();
        vec![Some(Array::new(dx, [n, d]))]
    }
}

/// Softmax over the last of four dimensions.
#[derive(Clone, Debug)]
pub(super) struct Softmax;

impl Operation for Softmax {
    type Kept = Array;

    fn forward(&self, inputs: Vec<Array>, keep: bool) -> (Array, Option<Array>) {
        let x = inputs.into_iter().next().expect("x");
        let mut y = array::take(x.values().len());
        softmax(x.values(), x.dims().1, &mut y);
        let y = Array::new(y, four(&x));
        (y.clone(), keep.then_some(y))
    }

    fn backward(&self, y: Array, gradient: Array, _: &[bool]) -> Vec<Option<Array>> {
        let mut dx = array::take(y.values().len());
        softmax_backward(y.values(), gradient.values(), y.dims().1, &mut dx);
        vec![Some(Array::new(dx, four(&y)))]
    }
}

fn four(x: &Array) -> [usize; 4] {
    x.shape().try_into().expect("four dimensions")
}
