//! A linear map with a low-rank adapter.

use super::route::{Operation, Tracked, apply, input};
use super::storage::{from_elements, matrix, unflipped};
use crate::kernels::lora_linear::{LoraLinear, Wanted};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Tensor;
use std::sync::Arc;

pub(crate) fn lora_linear(
    x: &Tensor<2>,
    weight: &Tensor<2>,
    a: &Tensor<2>,
    b: &Tensor<2>,
    scaling: f64,
) -> Option<Tensor<2>> {
    apply(Scaling(scaling as f32), [input(x), input(weight), input(a), input(b)])
}

/// What the low-rank product is multiplied by.
struct Scaling(f32);

impl Scaling {
    /// What the kernel works on; all tensors unflipped.
    fn of<'a>(&self, [x, weight, a, b]: [&'a FlexTensor; 4]) -> LoraLinear<'a> {
        let [x, weight, a, b] = [x, weight, a, b].map(matrix);
        LoraLinear { x, weight, a, b, scaling: self.0 }
    }

    /// The result, and `x·A`.
    fn both(&self, inputs: [&FlexTensor; 4]) -> (FlexTensor, Vec<f32>) {
        let inputs = inputs.map(unflipped);
        let shape = [inputs[0].shape()[0], inputs[1].shape()[1]];
        let (out, narrow) = self.of(inputs.each_ref()).forward();
        (from_elements(out, shape), narrow)
    }
}

impl Operation<4> for Scaling {
    fn forward(self, inputs: [FlexTensor; 4]) -> FlexTensor {
        self.both(inputs.each_ref()).0
    }

    fn forward_tracked<C: CheckpointStrategy>(self, inputs: [Tracked; 4]) -> Tracked {
        let (out, narrow) = self.both(inputs.each_ref().map(Tracked::primitive));
        let nodes = inputs.each_ref().map(Tracked::node);
        match LoraBackward.prepare::<C>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(mut step) => {
                let inputs = inputs.each_ref().map(|input| step.checkpoint(input));
                step.finish(LoraState { inputs, narrow: narrow.into(), scaling: self.0 }, out)
            }
            OpsKind::UnTracked(step) => step.finish(out),
        }
    }
}

#[derive(Clone, Debug)]
struct LoraState {
    inputs: [NodeId; 4],
    /// `x·A`
    narrow: Arc<[f32]>,
    scaling: f32,
}

#[derive(Debug)]
struct LoraBackward;

impl Backward<Flex, 4> for LoraBackward {
    type State = LoraState;

    fn backward(self, ops: Ops<Self::State, 4>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let LoraState { inputs, narrow, scaling } = ops.state;
        let inputs = inputs.map(|input| unflipped(&checkpointer.retrieve_node_output(input)));
        let upstream = unflipped(&grads.consume::<Flex>(&ops.node));
        let [x, weight, a, b] = &ops.parents;
        let wanted = Wanted { x: x.is_some(), weight: weight.is_some(), a: a.is_some(), b: b.is_some() };
        let found = Scaling(scaling).of(inputs.each_ref()).backward(&narrow, matrix(&upstream), wanted);
        let found = [found.x, found.weight, found.a, found.b];
        for ((parent, gradient), input) in ops.parents.into_iter().zip(found).zip(&inputs) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                grads.register::<Flex>(parent.id, from_elements(gradient, input.shape()));
            }
        }
    }
}
