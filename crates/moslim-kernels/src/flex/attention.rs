//! Causal attention.

use super::route::{Operation, Tracked, apply, input};
use super::storage::{contiguous_rows, from_heads, heads};
use crate::kernels::attention::{Attention, Upstream, backward, forward};
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Tensor;
use std::sync::Arc;

pub(crate) fn causal_attention(
    query: &Tensor<4>,
    key: &Tensor<4>,
    value: &Tensor<4>,
    starts: &[usize],
) -> Option<Tensor<4>> {
    apply(CausalAttention { starts }, [input(query), input(key), input(value)])
}

struct CausalAttention<'a> {
    starts: &'a [usize],
}

impl Operation<3> for CausalAttention<'_> {
    fn forward(self, [query, key, value]: [FlexTensor; 3]) -> FlexTensor {
        self.attend([&query, &key, &value]).0
    }

    fn forward_tracked<C: CheckpointStrategy>(self, [query, key, value]: [Tracked; 3]) -> Tracked {
        let (out, logsumexp) = self.attend([query.primitive(), key.primitive(), value.primitive()]);
        match AttentionBackward
            .prepare::<C>([query.node(), key.node(), value.node()])
            .compute_bound()
            .stateful()
        {
            OpsKind::Tracked(mut step) => {
                let state = AttentionState {
                    inputs: [step.checkpoint(&query), step.checkpoint(&key), step.checkpoint(&value)],
                    starts: self.starts.into(),
                    out: out.clone(),
                    logsumexp: logsumexp.into(),
                };
                step.finish(state, out)
            }
            OpsKind::UnTracked(step) => step.finish(out),
        }
    }
}

impl CausalAttention<'_> {
    /// The output and the log-sum-exp of every query's scores.
    fn attend(&self, inputs: [&FlexTensor; 3]) -> (FlexTensor, Vec<f32>) {
        let [query, key, value] = inputs.map(contiguous_rows);
        let attention =
            Attention { query: heads(&query), key: heads(&key), value: heads(&value), starts: self.starts };
        let (out, logsumexp) = forward(&attention);
        (from_heads(out, query.shape().dims()), logsumexp)
    }
}

#[derive(Clone, Debug)]
struct AttentionState {
    inputs: [NodeId; 3],
    starts: Arc<[usize]>,
    out: FlexTensor,
    logsumexp: Arc<[f32]>,
}

#[derive(Debug)]
struct AttentionBackward;

impl Backward<Flex, 3> for AttentionBackward {
    type State = AttentionState;

    fn backward(self, ops: Ops<Self::State, 3>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let AttentionState { inputs, starts, out, logsumexp } = ops.state;
        let [query, key, value] =
            inputs.map(|input| contiguous_rows(&checkpointer.retrieve_node_output(input)));
        let upstream = contiguous_rows(&grads.consume::<Flex>(&ops.node));
        let attention =
            Attention { query: heads(&query), key: heads(&key), value: heads(&value), starts: &starts };
        let gradients = backward(
            &attention,
            &Upstream { out: heads(&out), logsumexp: &logsumexp, gradient: heads(&upstream) },
        );
        let gradients = [
            (gradients.query, query.shape()),
            (gradients.key, key.shape()),
            (gradients.value, value.shape()),
        ];
        for (parent, (gradient, shape)) in ops.parents.into_iter().zip(gradients) {
            if let Some(parent) = parent {
                grads.register::<Flex>(parent.id, from_heads(gradient, shape.dims()));
            }
        }
    }
}
