use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};

use crate::{layer, ops};

/// A learned similarity `M(x, y) = xᵀ W y` whose matrix W is block-diagonal, `Σₖ xₖᵀ Wₖ yₖ` over runs of b components: queries
/// become `Wᵀ x`, documents stay as they are, and the similarity is the inner product of the two.
///
/// `W = I + A + diag(v)`, or `I + (A + Aᵀ) / 2 + diag(v)` where it is to be symmetric. Only the blocks of A and the diagonal
/// v are stored, and both are 0 at the start, so that the similarity begins as that of the vectors themselves; weight decay
/// draws W towards the identity. With b = 1 it weighs components, with b the whole dimension it is a full bilinear form.
#[derive(Module, Debug)]
pub struct StructuralSparse {
    /// A `[D / b, b, b]`.
    pub blocks: Param<Tensor<3>>,
    /// v `[D]`; none where there is no separate diagonal.
    pub diagonal: Option<Param<Tensor<1>>>,
    /// Whether the blocks are made symmetric.
    #[module(skip)]
    pub symmetric: bool,
}

impl StructuralSparse {
    /// The identity on dimension `dim` in blocks of `block`, which divides it.
    pub fn identity(dim: usize, block: usize, sum: bool, symmetric: bool, device: &Device) -> Self {
        StructuralSparse {
            blocks: layer::zeros([dim / block, block, block], device),
            diagonal: sum.then(|| layer::zeros([dim], device)),
            symmetric,
        }
    }

    /// D.
    pub fn dim(&self) -> usize {
        self.blocks.dims()[0] * self.block()
    }

    /// b.
    pub fn block(&self) -> usize {
        self.blocks.dims()[1]
    }

    /// The blocks of W, `[D / b, b, b]`.
    pub fn weight(&self) -> Tensor<3> {
        let blocks = self.blocks.val();
        let (device, [g, b, _]) = (blocks.device(), blocks.dims());
        let blocks = match self.symmetric {
            true => (blocks.clone() + blocks.swap_dims(1, 2)).mul_scalar(0.5),
            false => blocks,
        };
        let eye = (0..b * b).map(|at| if at % (b + 1) == 0 { 1f32 } else { 0.0 }).collect();
        let eye = Tensor::<3>::from_data(TensorData::new::<f32, _>(eye, [1, b, b]), &device);
        match &self.diagonal {
            Some(diagonal) => blocks + (diagonal.val().reshape([g, b, 1]) + 1.0) * eye,
            None => blocks + eye,
        }
    }

    /// `[N, D]` to `[N, D]`: the first `queries` rows become `Wᵀ x`, the rest are documents and stay as they are.
    pub fn forward(&self, x: Tensor<2>, queries: usize) -> Tensor<2> {
        // Where it is trained, a part of a batch without queries still stands in the graph, with a gradient of 0.
        let trained = self.blocks.is_require_grad()
            || self.diagonal.as_ref().is_some_and(|diagonal| diagonal.is_require_grad());
        if queries == 0 && !trained { x } else { ops::blocks(x, self.weight(), queries) }
    }
}
