//! Matrix products.

use super::gradient_sums::Share;
use super::route::{Operation, Tracked, apply, input};
use super::storage::{from_elements, matrix, unflipped};
use crate::kernels::gemm::{product, product_onto};
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
                step.finish(MatmulState { a: a_state, b: b_state, b_share: Share::of(&b) }, out)
            }
            OpsKind::UnTracked(step) => step.finish(out),
        }
    }
}

fn multiplied(a: Matrix, b: Matrix) -> FlexTensor {
    from_elements(product(a, b, 1.0), [a.shape()[0], b.shape()[1]])
}

#[derive(Clone, Debug)]
struct MatmulState {
    a: Option<NodeId>,
    b: Option<NodeId>,
    /// If the second matrix is a weight whose gradient is summed over parts.
    b_share: Option<Share>,
}

#[derive(Debug)]
struct MatmulBackward;

impl Backward<Flex, 2> for MatmulBackward {
    type State = MatmulState;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let MatmulState { a, b, b_share } = ops.state;
        let [a, b] = [a, b].map(|input| {
            input.map(|input| unflipped(&checkpointer.retrieve_node_output::<FlexTensor>(input)))
        });
        let upstream = unflipped(&grads.consume::<Flex>(&ops.node));
        let upstream = matrix(&upstream);
        let [a_parent, b_parent] = ops.parents;
        if let (Some(parent), Some(b)) = (a_parent, b) {
            grads.register::<Flex>(parent.id, multiplied(upstream, matrix(&b).transposed()));
        }
        if let (Some(parent), Some(a)) = (b_parent, a) {
            let a = matrix(&a).transposed();
            match b_share {
                Some(share) => share.add(|sum| product_onto(sum, a, upstream, 1.0)),
                None => grads.register::<Flex>(parent.id, multiplied(a, upstream)),
            }
        }
    }
}
