//! SwiGLU: so cheap that the backward pass computes it again, whatever the strategy, rather than have it kept.

use super::route::{Operation, Tracked, apply, input};
use super::storage::{elements, from_elements, row_major};
use crate::kernels::swiglu as kernel;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::strategy::{BalancedCheckpointing, CheckpointStrategy};
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Tensor;

pub(crate) fn swiglu<const D: usize>(gate: &Tensor<D>, up: &Tensor<D>) -> Option<Tensor<D>> {
    apply(Swiglu, [input(gate), input(up)])
}

struct Swiglu;

impl Operation<2> for Swiglu {
    fn forward(self, [gate, up]: [FlexTensor; 2]) -> FlexTensor {
        forward(&gate, &up)
    }

    fn forward_tracked<C: CheckpointStrategy>(self, [gate, up]: [Tracked; 2]) -> Tracked {
        let out = forward(gate.primitive(), up.primitive());
        let step = SwigluBackward
            .prepare::<BalancedCheckpointing>([gate.node(), up.node()])
            .memory_bound()
            .retro_forward(SwigluAgain { gate: gate.id(), up: up.id() })
            .parents([&gate, &up])
            .stateful();
        match step {
            OpsKind::Tracked(mut step) => {
                let inputs = [step.checkpoint(&gate), step.checkpoint(&up)];
                step.finish(inputs, out)
            }
            OpsKind::UnTracked(step) => step.finish(out),
        }
    }
}

fn forward(gate: &FlexTensor, up: &FlexTensor) -> FlexTensor {
    let (gate, up) = (row_major(gate), row_major(up));
    from_elements(kernel::forward(elements(&gate), elements(&up)), gate.shape())
}

#[derive(Debug)]
struct SwigluBackward;

impl Backward<Flex, 2> for SwigluBackward {
    type State = [NodeId; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [gate, up] = ops.state.map(|input| row_major(&checkpointer.retrieve_node_output(input)));
        let upstream = row_major(&grads.consume::<Flex>(&ops.node));
        let (gate_gradient, up_gradient) =
            kernel::backward(elements(&gate), elements(&up), elements(&upstream));
        for (parent, gradient) in ops.parents.into_iter().zip([gate_gradient, up_gradient]) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, from_elements(gradient, gate.shape()));
            }
        }
    }
}

/// Computes the output again when the map behind it asks for its input.
#[derive(Debug)]
struct SwigluAgain {
    gate: NodeId,
    up: NodeId,
}

impl RetroForward for SwigluAgain {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let (gate, up) = (states.get_state(&self.gate), states.get_state(&self.up));
        states.save(out_node, forward(&gate, &up));
    }
}
