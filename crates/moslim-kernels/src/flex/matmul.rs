//! Matrix products.

use super::route::{Operation, Tracked, apply, input};
use super::storage::{from_elements, matrix, unflipped};
use crate::kernels::gemm::product;
use crate::kernels::view::Matrix;
use burn::backend::Flex;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::tensor::Tensor;

pub(crate) fn matmul(a: &Tensor<2>, b: &Tensor<2>) -> Option<Tensor<2>> {
    apply(Matmul, [input(a), input(b)])
}

struct Matmul;

impl Operation<2> for Matmul {
    fn forward(self, [a, b]: [FlexTensor; 2]) -> FlexTensor {
        multiplied(matrix(&unflipped(&a)), matrix(&unflipped(&b)))
    }

    fn forward_tracked<C: CheckpointStrategy>(self, [a, b]: [Tracked; 2]) -> Tracked {
        let out = multiplied(matrix(&unflipped(a.primitive())), matrix(&unflipped(b.primitive())));
        match MatmulBackward.prepare::<C>([a.node(), b.node()]).compute_bound().stateful() {
            OpsKind::Tracked(mut step) => {
                // Either is needed for the gradient of the other alone.
                let a_state = b.is_tracked().then(|| step.checkpoint(&a));
                let b_state = a.is_tracked().then(|| step.checkpoint(&b));
                step.finish([a_state, b_state], out)
            }
            OpsKind::UnTracked(step) => step.finish(out),
        }
    }
}

fn multiplied(a: Matrix, b: Matrix) -> FlexTensor {
    from_elements(product(a, b, 1.0), [a.shape()[0], b.shape()[1]])
}

#[derive(Debug)]
struct MatmulBackward;

impl Backward<Flex, 2> for MatmulBackward {
    type State = [Option<NodeId>; 2];

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let [a, b] = ops.state.map(|input| {
            input.map(|input| unflipped(&checkpointer.retrieve_node_output::<FlexTensor>(input)))
        });
        let upstream = unflipped(&grads.consume::<Flex>(&ops.node));
        let upstream = matrix(&upstream);
        let [a_parent, b_parent] = ops.parents;
        if let (Some(parent), Some(b)) = (a_parent, b) {
            grads.register::<Flex>(parent.id, multiplied(upstream, matrix(&b).transposed()));
        }
        if let (Some(parent), Some(a)) = (b_parent, a) {
            grads.register::<Flex>(parent.id, multiplied(matrix(&a).transposed(), upstream));
        }
    }
}
