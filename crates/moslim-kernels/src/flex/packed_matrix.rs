//! Products with a matrix that was packed before; nothing is recorded, so only tensors outside autodiff go this way.

use super::route::{Input, input};
use super::storage::{from_elements, matrix, unflipped};
use crate::kernels::panels::Panels;
use burn::backend::Flex;
use burn::tensor::Tensor;

/// The panels of a matrix that is not tracked.
pub(crate) fn pack(tensor: &Tensor<2>) -> Option<Panels> {
    let tensor = unflipped(&input(tensor).and_then(Input::into_untracked)?);
    Some(Panels::new(matrix(&tensor)))
}

/// `x · matrix` for an `x` that is not tracked.
pub(crate) fn packed_product(x: &Tensor<2>, panels: &Panels) -> Option<Tensor<2>> {
    let x = unflipped(&input(x).and_then(Input::into_untracked)?);
    let x = matrix(&x);
    let shape = [x.shape()[0], panels.shape()[1]];
    Some(Tensor::from_primitive::<Flex>(from_elements(panels.product(x), shape)))
}
