//! AdamW's step; nothing is recorded, so only tensors outside autodiff go this way.

use super::route::{Input, input};
use super::storage::{elements, from_elements, row_major};
use crate::AdamWStep;
use crate::kernels::adamw as kernel;
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Tensor;

/// Whether all of them can go this way.
pub(crate) fn takes<const D: usize>(tensors: [&Tensor<D>; 4]) -> bool {
    tensors.into_iter().all(|tensor| untracked(tensor).is_some())
}

/// The changed parameter and moments of tensors that [can](takes) go this way.
pub(crate) fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: [Tensor<D>; 2],
    step: &AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    // The tensors themselves are gone then: moments that nobody else refers to change where they are.
    let primitive = |tensor: Tensor<D>| untracked(&tensor).expect("it can go this way");
    let (parameter, gradient) = (row_major(&primitive(parameter)), row_major(&primitive(gradient)));
    let [mut moment_1, mut moment_2] = moments.map(|moment| whole(primitive(moment)));
    let changed = kernel::step(
        elements(&parameter),
        elements(&gradient),
        [moment_1.storage_mut(), moment_2.storage_mut()],
        step,
    );
    let changed = from_elements(changed, parameter.shape());
    (Tensor::from_primitive::<Flex>(changed), [moment_1, moment_2].map(Tensor::from_primitive::<Flex>))
}

fn untracked<const D: usize>(tensor: &Tensor<D>) -> Option<FlexTensor> {
    input(tensor).and_then(Input::into_untracked)
}

/// The tensor in row-major order, and nothing else in its memory.
fn whole(tensor: FlexTensor) -> FlexTensor {
    let is_whole =
        tensor.as_slice::<f32>().is_some_and(|elements| elements.len() == tensor.storage::<f32>().len());
    if is_whole { tensor } else { tensor.to_contiguous() }
}
