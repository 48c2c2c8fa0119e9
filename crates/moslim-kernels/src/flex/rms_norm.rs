//! RMSNorm: so cheap that the backward pass computes it again, whatever the strategy, rather than have it kept.

use super::route::{Operation, Tracked, apply, input};
use super::storage::{elements, from_elements, row_major};
use crate::kernels::rms_norm as kernel;
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
use std::sync::Arc;

pub(crate) fn rms_norm<const D: usize>(x: &Tensor<D>, weight: &Tensor<1>, epsilon: f64) -> Option<Tensor<D>> {
    apply(RmsNorm { epsilon: epsilon as f32 }, [input(x), input(weight)])
}

struct RmsNorm {
    epsilon: f32,
}

impl Operation<2> for RmsNorm {
    fn forward(self, [x, weight]: [FlexTensor; 2]) -> FlexTensor {
        forward(&x, &weight, self.epsilon).0
    }

    fn forward_tracked<C: CheckpointStrategy>(self, [x, weight]: [Tracked; 2]) -> Tracked {
        let (out, inverse_rms) = forward(x.primitive(), weight.primitive(), self.epsilon);
        let again = RmsNormAgain { x: x.id(), weight: weight.primitive().clone(), epsilon: self.epsilon };
        let step = RmsNormBackward
            .prepare::<BalancedCheckpointing>([x.node(), weight.node()])
            .memory_bound()
            .retro_forward(again)
            .parents([&x])
            .stateful();
        match step {
            OpsKind::Tracked(mut step) => {
                let state = RmsNormState {
                    x: step.checkpoint(&x),
                    weight: step.checkpoint(&weight),
                    inverse_rms: Arc::new(inverse_rms),
                };
                step.finish(state, out)
            }
            OpsKind::UnTracked(step) => step.finish(out),
        }
    }
}

fn forward(x: &FlexTensor, weight: &FlexTensor, epsilon: f32) -> (FlexTensor, Vec<f32>) {
    let (x, weight) = (row_major(x), row_major(weight));
    let (out, inverse_rms) = kernel::forward(elements(&x), elements(&weight), epsilon);
    (from_elements(out, x.shape()), inverse_rms)
}

#[derive(Clone, Debug)]
struct RmsNormState {
    x: NodeId,
    weight: NodeId,
    inverse_rms: Arc<Vec<f32>>,
}

#[derive(Debug)]
struct RmsNormBackward;

impl Backward<Flex, 2> for RmsNormBackward {
    type State = RmsNormState;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let x = row_major(&checkpointer.retrieve_node_output(ops.state.x));
        let weight = row_major(&checkpointer.retrieve_node_output(ops.state.weight));
        let upstream = row_major(&grads.consume::<Flex>(&ops.node));
        let (x_gradient, weight_gradient) =
            kernel::backward(elements(&x), elements(&weight), &ops.state.inverse_rms, elements(&upstream));
        let [x_parent, weight_parent] = ops.parents;
        if let Some(parent) = x_parent {
            grads.register::<Flex>(parent.id, from_elements(x_gradient, x.shape()));
        }
        if let Some(parent) = weight_parent {
            grads.register::<Flex>(parent.id, from_elements(weight_gradient, weight.shape()));
        }
    }
}

/// Computes the output again when the maps behind it ask for their input.
///
/// The weight is held here because a frozen one is no node of the graph.
#[derive(Debug)]
struct RmsNormAgain {
    x: NodeId,
    weight: FlexTensor,
    epsilon: f32,
}

impl RetroForward for RmsNormAgain {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let x = states.get_state(&self.x);
        states.save(out_node, forward(&x, &self.weight, self.epsilon).0);
    }
}
