//! Rows of a tensor by their numbers.

use super::gradient_sums::Share;
use super::route::{Operation, Tracked, apply, input};
use super::storage::row_major;
use crate::RowIndices;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Bytes, DType, Shape, Tensor};
use std::sync::Arc;

pub(crate) fn select_rows<const D: usize>(x: &Tensor<D>, rows: &RowIndices) -> Option<Tensor<D>> {
    if rows.rows().is_empty() {
        return None;
    }
    apply(Rows(rows.shared()), [input(x)])
}

/// The rows that are asked for, each below the number of rows.
#[derive(Clone, Debug)]
struct Rows(Arc<[u32]>);

impl Operation<1> for Rows {
    fn forward(self, [x]: [FlexTensor; 1]) -> FlexTensor {
        self.of(&x)
    }

    fn forward_tracked<C: CheckpointStrategy>(self, [x]: [Tracked; 1]) -> Tracked {
        let out = self.of(x.primitive());
        match RowsBackward.prepare::<C>([x.node()]).compute_bound().stateful() {
            OpsKind::Tracked(step) => {
                let state = RowsState { rows: self, shape: x.primitive().shape(), share: Share::of(&x) };
                step.finish(state, out)
            }
            OpsKind::UnTracked(step) => step.finish(out),
        }
    }
}

impl Rows {
    fn of(&self, x: &FlexTensor) -> FlexTensor {
        let x = dense_rows(x);
        let rows = MemoryRows::of(&x);
        let mut selected = Vec::with_capacity(self.0.len() * rows.len);
        for &row in &*self.0 {
            selected.extend_from_slice(rows.row(row as usize));
        }
        from_rows(selected, self.0.len(), &x)
    }

    /// Adds the gradients of the rows to those of the whole, whose rows lie one after the other.
    fn scatter(&self, gradients: &MemoryRows, sum: &mut [f32]) {
        for (from, &to) in self.0.iter().enumerate() {
            let sum = &mut sum[to as usize * gradients.len..][..gradients.len];
            sum.iter_mut().zip(gradients.row(from)).for_each(|(sum, gradient)| *sum += gradient);
        }
    }
}

/// The rows of a tensor in memory, each of which is one piece, in whatever order of the other dimensions.
struct MemoryRows<'a> {
    memory: &'a [f32],
    stride: usize,
    len: usize,
}

impl<'a> MemoryRows<'a> {
    /// Of [`dense_rows`].
    fn of(x: &'a FlexTensor) -> Self {
        let layout = x.layout();
        let stride = usize::try_from(layout.strides()[0]).expect("a tensor of dense rows");
        let len = x.shape().num_elements() / x.shape()[0];
        Self { memory: &x.storage::<f32>()[layout.start_offset()..], stride, len }
    }

    fn row(&self, row: usize) -> &'a [f32] {
        &self.memory[row * self.stride..][..self.len]
    }
}

/// The tensor with rows of one piece each. A swap of the other dimensions is not copied.
fn dense_rows(x: &FlexTensor) -> FlexTensor {
    let shape = x.shape();
    let strides = x.layout().strides();
    let mut inner: Vec<_> = strides[1..].iter().zip(&shape[1..]).filter(|&(_, &size)| size > 1).collect();
    inner.sort();
    let mut len = 1;
    let is_dense = inner.into_iter().all(|(&stride, &size)| {
        let fits = stride == len;
        len *= size as isize;
        fits
    });
    if is_dense && strides[0] >= 0 { x.clone() } else { x.to_contiguous() }
}

/// So many rows that lie one after the other, each in the order of these.
fn from_rows(elements: Vec<f32>, n_rows: usize, like: &FlexTensor) -> FlexTensor {
    let mut dims: Vec<usize> = like.shape().iter().copied().collect();
    let mut strides = like.layout().strides().to_vec();
    strides[0] = dims[1..].iter().product::<usize>() as isize;
    dims[0] = n_rows;
    FlexTensor::new(Bytes::from_elems(elements), Layout::new(Shape::from(dims), strides, 0), DType::F32)
}

#[derive(Clone, Debug)]
struct RowsState {
    rows: Rows,
    /// Of the tensor they were taken from.
    shape: Shape,
    share: Option<Share>,
}

#[derive(Debug)]
struct RowsBackward;

impl Backward<Flex, 1> for RowsBackward {
    type State = RowsState;

    fn backward(self, ops: Ops<Self::State, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
        let RowsState { rows, shape, share } = ops.state;
        let upstream = grads.consume::<Flex>(&ops.node);
        if let Some(share) = share {
            let upstream = row_major(&upstream);
            share.add(|sum| {
                let mut sum = sum.unwrap_or_else(|| vec![0.0; shape.num_elements()]);
                rows.scatter(&MemoryRows::of(&upstream), &mut sum);
                sum
            });
        } else if let [Some(parent)] = ops.parents {
            let upstream = dense_rows(&upstream);
            let mut sum = vec![0.0; shape.num_elements()];
            rows.scatter(&MemoryRows::of(&upstream), &mut sum);
            grads.register::<Flex>(parent.id, from_rows(sum, shape[0], &upstream));
        }
    }
}
