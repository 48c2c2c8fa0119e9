//! RoPE: cheap, so gradient checkpointing may compute it again; its gradient is the rotation back.

use super::route::{Operation, Tracked, apply, input};
use super::storage::{contiguous_rows, elements, from_heads, heads, row_major};
use crate::kernels::rope::{Direction, rotate};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::retro_forward::RetroForward;
use burn::backend::autodiff::checkpoint::state::BackwardStates;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Tensor;

pub(crate) fn rope(x: &Tensor<4>, cos: &Tensor<3>, sin: &Tensor<3>) -> Option<Tensor<4>> {
    apply(Rope, [input(x), input(cos), input(sin)])
}

struct Rope;

impl Operation<3> for Rope {
    fn forward(self, [x, cos, sin]: [FlexTensor; 3]) -> FlexTensor {
        Angles::new(&cos, &sin).rotate(&x, Direction::Forward)
    }

    fn forward_tracked<C: CheckpointStrategy>(self, [x, cos, sin]: [Tracked; 3]) -> Tracked {
        let angles = Angles::new(cos.primitive(), sin.primitive());
        let out = angles.rotate(x.primitive(), Direction::Forward);
        let step = RopeBackward
            .prepare::<C>([x.node()])
            .memory_bound()
            .retro_forward(RopeAgain { x: x.id(), angles: angles.clone() })
            .parents([&x])
            .stateful();
        match step {
            OpsKind::Tracked(step) => step.finish(angles, out),
            OpsKind::UnTracked(step) => step.finish(out),
        }
    }
}

/// The angles of every row's positions, `[batch, time, head_dim / 2]` each.
#[derive(Clone, Debug)]
struct Angles {
    cos: FlexTensor,
    sin: FlexTensor,
}

impl Angles {
    fn new(cos: &FlexTensor, sin: &FlexTensor) -> Self {
        Self { cos: row_major(cos), sin: row_major(sin) }
    }

    fn rotate(&self, x: &FlexTensor, direction: Direction) -> FlexTensor {
        let x = contiguous_rows(x);
        from_heads(rotate(heads(&x), elements(&self.cos), elements(&self.sin), direction), x.shape().dims())
    }
}

#[derive(Debug)]
struct RopeBackward;

impl Backward<Flex, 1> for RopeBackward {
    type State = Angles;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _checkpointer: &mut Checkpointer) {
        let upstream = grads.consume::<Flex>(&ops.node);
        let [parent] = ops.parents;
        if let Some(parent) = parent {
            grads.register::<Flex>(parent.id, ops.state.rotate(&upstream, Direction::Backward));
        }
    }
}

/// Computes the output again under gradient checkpointing.
#[derive(Debug)]
struct RopeAgain {
    x: NodeId,
    angles: Angles,
}

impl RetroForward for RopeAgain {
    fn forward(&self, states: &mut BackwardStates, out_node: NodeId) {
        let x: FlexTensor = states.get_state(&self.x);
        states.save(out_node, self.angles.rotate(&x, Direction::Forward));
    }
}
