//! One way for an operation of ours to enter the tensor engine on the CPU, forward and backward.

use std::fmt::Debug;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::{
    Autodiff, BackendTensor, DispatchAutodiffContext, DispatchKindConversion, DispatchTensor,
    DispatchTensorKind, Flex, GradientCheckpointingStrategy,
};
use burn::tensor::Tensor;

use super::array::Array;

/// An operation on arrays, with its gradient.
///
/// What is neither input nor kept is part of the operation itself: a layout, a probability, a precision.
pub(super) trait Operation: Clone + Debug + Send + 'static {
    /// What the forward pass leaves for the backward pass.
    type Kept: Clone + Debug + Send + 'static;

    /// The result and, if `keep`, what the backward pass needs.
    fn forward(&self, inputs: Vec<Array>, keep: bool) -> (Array, Option<Self::Kept>);

    /// The gradient by every input that is wanted, from that by the result.
    fn backward(&self, kept: Self::Kept, gradient: Array, wanted: &[bool]) -> Vec<Option<Array>>;
}

/// Whether a tensor lives where the fused operations run.
pub(super) fn on_cpu<const D: usize>(x: &Tensor<D>) -> bool {
    let x = x.clone().into_dispatch();
    let here = |kind: &DispatchTensorKind| matches!(kind, DispatchTensorKind::Flex(_));
    match (&x.kind, x.autodiff) {
        (DispatchTensorKind::Autodiff(inner), DispatchAutodiffContext::Enabled(strategy)) => {
            here(inner) && strategy == GradientCheckpointingStrategy::Disabled
        }
        (kind, _) => here(kind),
    }
}

/// Runs an operation, recorded for the backward pass where an input is tracked.
pub(super) fn apply<O: Operation, const D: usize>(operation: O, inputs: Vec<DispatchTensor>) -> Tensor<D> {
    if inputs.iter().all(|x| x.autodiff == DispatchAutodiffContext::Disabled) {
        let inputs = inputs.into_iter().map(|x| plain(x).into()).collect();
        let output = operation.forward(inputs, false).0;
        let output = BackendTensor::Float(output.into());
        return Tensor::from_dispatch(<DispatchTensor as DispatchKindConversion<Flex>>::from_backend(output));
    }
    let output = match inputs.len() {
        1 => tracked::<O, 1>(operation, inputs),
        2 => tracked::<O, 2>(operation, inputs),
        3 => tracked::<O, 3>(operation, inputs),
        4 => tracked::<O, 4>(operation, inputs),
        5 => tracked::<O, 5>(operation, inputs),
        6 => tracked::<O, 6>(operation, inputs),
        7 => tracked::<O, 7>(operation, inputs),
        8 => tracked::<O, 8>(operation, inputs),
        n => unreachable!("an operation of {n} inputs"),
    };
    let output = BackendTensor::Float(output);
    Tensor::from_dispatch(<DispatchTensor as DispatchKindConversion<Autodiff<Flex>>>::from_backend(output))
}

type Float = <Flex as burn::backend::BackendTypes>::FloatTensorPrimitive;
type Tracked = <Autodiff<Flex> as burn::backend::BackendTypes>::FloatTensorPrimitive;

fn plain(x: DispatchTensor) -> Float {
    let x = <DispatchTensor as DispatchKindConversion<Flex>>::try_into_backend(x);
    x.expect("the caller has asked on_cpu").float()
}

fn tracked<O: Operation, const N: usize>(operation: O, inputs: Vec<DispatchTensor>) -> Tracked {
    let (mut arrays, mut guards): (Vec<Array>, Vec<NodeGuard>) = (Vec::new(), Vec::new());
    for x in inputs {
        let x: Tracked = if x.autodiff == DispatchAutodiffContext::Disabled {
            // A constant among tracked tensors.
            Tracked::new(plain(x))
        } else {
            let x = <DispatchTensor as DispatchKindConversion<Autodiff<Flex>>>::try_into_backend(x);
            x.expect("the caller has asked on_cpu").float()
        };
        let (array, guard) = x.into_parts();
        arrays.push(array.into());
        guards.push(guard);
    }
    let guards: [NodeGuard; N] = guards.try_into().expect("as many as inputs");
    match Recorded::<O>::new().prepare::<NoCheckpointing>(guards).compute_bound().stateful() {
        OpsKind::Tracked(prepared) => {
            let (output, kept) = operation.forward(arrays, true);
            let kept = kept.expect("kept because it was asked for");
            prepared.finish((operation, kept), output.into())
        }
        OpsKind::UnTracked(prepared) => prepared.finish(operation.forward(arrays, false).0.into()),
    }
}

/// An operation in the graph.
struct Recorded<O>(std::marker::PhantomData<fn() -> O>);

impl<O> Recorded<O> {
    fn new() -> Self {
        Recorded(std::marker::PhantomData)
    }
}

impl<O> Debug for Recorded<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::any::type_name::<O>())
    }
}

impl<O: Operation, const N: usize> Backward<Flex, N> for Recorded<O> {
    type State = (O, O::Kept);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let Ops { parents, node, state: (operation, kept) } = ops;
        let gradient = gradients.consume::<Flex>(&node).into();
        let wanted = parents.each_ref().map(Option::is_some);
        let results = operation.backward(kept, gradient, &wanted);
        assert_eq!(results.len(), N, "a gradient for every input");
        for (parent, result) in parents.into_iter().zip(results) {
            if let (Some(parent), Some(result)) = (parent, result) {
                gradients.register::<Flex>(parent.id, result.into());
            }
        }
    }
}
