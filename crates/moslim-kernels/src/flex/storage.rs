//! The memory of flex tensors as slices and views, and results as flex tensors.

use crate::kernels::view::{Heads, Matrix};
use burn::backend::TensorMetadata;
use burn::backend::flex::{FlexTensor, Layout};
use burn::tensor::{Bytes, DType, Shape};

/// The tensor in row-major order; copies only what is permuted, broadcast or stepped.
pub(super) fn row_major(tensor: &FlexTensor) -> FlexTensor {
    if tensor.as_slice::<f32>().is_some() { tensor.clone() } else { tensor.to_contiguous() }
}

/// The elements of a tensor in row-major order.
pub(super) fn elements(tensor: &FlexTensor) -> &[f32] {
    tensor.as_slice().expect("a tensor in row-major order")
}

/// A tensor of new elements in row-major order.
pub(super) fn from_elements(elements: Vec<f32>, shape: impl Into<Shape>) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(elements), Layout::contiguous(shape.into()), DType::F32)
}

/// A matrix that is row-major in memory when transposed.
pub(super) fn from_transposed_elements(elements: Vec<f32>, [rows, columns]: [usize; 2]) -> FlexTensor {
    let layout = Layout::new(Shape::from([rows, columns]), vec![1, rows as isize], 0);
    FlexTensor::new(Bytes::from_elems(elements), layout, DType::F32)
}

/// The tensor with contiguous rows of its last dimension. A part of a cache or a swap of other dimensions is not copied.
pub(super) fn contiguous_rows(tensor: &FlexTensor) -> FlexTensor {
    let strides = tensor.layout().strides();
    if strides.last() == Some(&1) && !has_flipped(strides) { tensor.clone() } else { tensor.to_contiguous() }
}

/// The tensor without flipped dimensions, which views of a kernel do not know.
pub(super) fn unflipped(tensor: &FlexTensor) -> FlexTensor {
    if has_flipped(tensor.layout().strides()) { tensor.to_contiguous() } else { tensor.clone() }
}

fn has_flipped(strides: &[isize]) -> bool {
    strides.iter().any(|&stride| stride < 0)
}

/// A view of a tensor with contiguous rows.
pub(super) fn heads(tensor: &FlexTensor) -> Heads<'_> {
    let (data, [batch, heads, time, _]) = data_and_strides(tensor);
    Heads::new(data, tensor.shape().dims(), [batch, heads, time])
}

/// A view of an unflipped matrix.
pub(super) fn matrix(tensor: &FlexTensor) -> Matrix<'_> {
    let (data, strides) = data_and_strides(tensor);
    Matrix::new(data, tensor.shape().dims(), strides)
}

/// `[batch, heads, time, head_dim]` from memory in the order `[batch, time, heads, head_dim]`.
pub(super) fn from_heads(elements: Vec<f32>, shape: [usize; 4]) -> FlexTensor {
    let [_, heads, time, head_dim] = shape;
    let strides = [time * heads * head_dim, head_dim, heads * head_dim, 1].map(|stride| stride as isize);
    let layout = Layout::new(Shape::from(shape), strides.to_vec(), 0);
    FlexTensor::new(Bytes::from_elems(elements), layout, DType::F32)
}

/// The memory from the tensor's first element on.
fn data_and_strides<const D: usize>(tensor: &FlexTensor) -> (&[f32], [usize; D]) {
    let layout = tensor.layout();
    let strides =
        std::array::from_fn(|dim| usize::try_from(layout.strides()[dim]).expect("an unflipped tensor"));
    (&tensor.storage::<f32>()[layout.start_offset()..], strides)
}
