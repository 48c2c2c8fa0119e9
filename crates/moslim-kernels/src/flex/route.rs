//! From tensors down to flex primitives and back up, with or without autodiff.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::strategy::{
    BalancedCheckpointing, CheckpointStrategy, NoCheckpointing,
};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::FloatTensor;
use burn::backend::{
    Autodiff, BackendTensor, DispatchAutodiffContext, DispatchTensorKind, Flex, GradientCheckpointingStrategy,
};
use burn::tensor::{DType, Tensor};

/// A tracked float tensor on flex: the same type for both checkpointing strategies.
pub(super) type Tracked = FloatTensor<Autodiff<Flex>>;

/// A fused operation of `N` inputs and one output.
pub(super) trait Operation<const N: usize>: Sized {
    /// The result, with nothing recorded.
    fn forward(self, inputs: [FlexTensor; N]) -> FlexTensor;

    /// The result, with the step of the backward pass recorded.
    fn forward_tracked<C: CheckpointStrategy>(self, inputs: [Tracked; N]) -> Tracked;
}

/// An input on its way to a kernel.
pub(super) struct Input {
    primitive: Primitive,
    context: DispatchAutodiffContext,
}

impl Input {
    /// `None` for a tensor under autodiff.
    pub(super) fn into_untracked(self) -> Option<FlexTensor> {
        match self.primitive {
            Primitive::Plain(tensor) => Some(tensor),
            Primitive::Tracked(_) => None,
        }
    }
}

enum Primitive {
    Plain(FlexTensor),
    Tracked(Tracked),
}

impl Primitive {
    /// A plain tensor among tracked ones is a constant.
    fn into_tracked(self) -> Tracked {
        match self {
            Self::Plain(tensor) => Tracked::new(tensor),
            Self::Tracked(tensor) => tensor,
        }
    }

    fn into_plain(self) -> FlexTensor {
        match self {
            Self::Plain(tensor) => tensor,
            Self::Tracked(tensor) => tensor.into_primitive(),
        }
    }
}

/// `None` unless the tensor is f32 on flex and has elements.
pub(super) fn input<const D: usize>(tensor: &Tensor<D>) -> Option<Input> {
    if tensor.dtype() != DType::F32 || tensor.shape().num_elements() == 0 {
        return None;
    }
    // Counts a reference and copies nothing.
    let tensor = tensor.clone().into_dispatch();
    let primitive = match tensor.kind {
        DispatchTensorKind::Flex(BackendTensor::Float(tensor)) => Primitive::Plain(tensor),
        DispatchTensorKind::Autodiff(kind) => match *kind {
            DispatchTensorKind::Flex(BackendTensor::Autodiff(tensor)) => Primitive::Tracked(tensor),
            _ => return None,
        },
        #[allow(unreachable_patterns, reason = "with flex alone there is no other back end")]
        _ => return None,
    };
    Some(Input { primitive, context: tensor.autodiff })
}

/// The node of a leaf whose gradient is asked for.
pub(super) fn leaf<const D: usize>(tensor: &Tensor<D>) -> Option<NodeId> {
    match input(tensor)?.primitive {
        Primitive::Tracked(leaf) if tensor.is_require_grad() => Some(leaf.id()),
        _ => None,
    }
}

/// Runs an operation, tracked if one of its inputs is; `None` if one of them cannot go this way.
pub(super) fn apply<const N: usize, const D: usize>(
    operation: impl Operation<N>,
    inputs: [Option<Input>; N],
) -> Option<Tensor<D>> {
    if inputs.iter().any(Option::is_none) {
        return None;
    }
    let inputs = inputs.map(|input| input.expect("checked above"));
    let context =
        inputs.iter().fold(DispatchAutodiffContext::Disabled, |context, input| context.merge(input.context));
    Some(match context {
        DispatchAutodiffContext::Disabled => Tensor::from_primitive::<Flex>(
            operation.forward(inputs.map(|input| input.primitive.into_plain())),
        ),
        DispatchAutodiffContext::Enabled(strategy) => {
            let inputs = inputs.map(|input| input.primitive.into_tracked());
            match strategy {
                GradientCheckpointingStrategy::Disabled => {
                    let out = operation.forward_tracked::<NoCheckpointing>(inputs);
                    Tensor::from_primitive::<Autodiff<Flex, NoCheckpointing>>(out)
                }
                GradientCheckpointingStrategy::Balanced => {
                    let out = operation.forward_tracked::<BalancedCheckpointing>(inputs);
                    Tensor::from_primitive::<Autodiff<Flex, BalancedCheckpointing>>(out)
                }
            }
        }
    })
}
