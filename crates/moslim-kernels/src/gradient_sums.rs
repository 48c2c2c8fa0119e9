//! Gradients of weights, summed over the parts of a batch while they are found.

use burn::tensor::Tensor;

/// The sum over the parts of a batch of the gradients of weight matrices, which grows in the backward passes themselves.
///
/// A part that keeps its gradients until its backward pass is over holds as much memory as all weights, on every core.
/// Here the fused steps that find the gradient of a whole matrix ([`matmul`](crate::matmul), [`select_rows`](crate::select_rows), [`token_logprobs`](crate::token_logprobs) where it keeps its logits) add it to a sum for all parts, one for every use of the matrix in a part, and leave nothing to the backward pass's own gradients.
/// They add in the order of the parts, so that the sum does not depend on which part is faster.
/// All other gradients stay where Burn leaves them, and so do all of them on other back ends.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use moslim_kernels::{GradientSums, matmul};
///
/// let device = Device::flex().autodiff();
/// let sums = GradientSums::new(1);
/// for (part, x) in [[[1.0, 2.0]], [[10.0, 20.0]]].into_iter().enumerate() {
///     // Every part has leaves of its own.
///     let weight = Tensor::<2>::from_floats([[5.0], [7.0]], &device).require_grad();
///     let gradients = sums.in_turn(part, &[weight.clone()], || {
///         matmul(Tensor::from_floats(x, &device), weight.clone()).sum().backward()
///     });
///     assert!(weight.grad(&gradients).is_none());
/// }
/// let sum = sums.into_tensors().remove(0).unwrap();
/// assert_eq!(sum.into_data().to_vec::<f32>().unwrap(), [11.0, 22.0]);
/// ```
#[derive(Debug)]
pub struct GradientSums {
    n_weights: usize,
    #[cfg(feature = "flex")]
    sums: crate::flex::GradientSums,
}

impl GradientSums {
    /// Nothing yet, for so many matrices.
    pub fn new(n_weights: usize) -> Self {
        Self {
            n_weights,
            #[cfg(feature = "flex")]
            sums: Default::default(),
        }
    }

    /// Does the forward and backward pass of the part with this index, counted from 0.
    ///
    /// `weights` are the matrices as leaves of the part's own graph, always in the same order.
    /// Parts may run at once on several threads, but a part waits for those before it, so every index has to come, each begun after the one before, and parts must not share tracked tensors, whose graph would be locked while one waits.
    /// Every backward pass in `work` adds to the sums.
    pub fn in_turn<R>(&self, part: usize, weights: &[Tensor<2>], work: impl FnOnce() -> R) -> R {
        assert_eq!(weights.len(), self.n_weights, "in_turn: matrices of part {part}");
        #[cfg(feature = "flex")]
        return self.sums.in_turn(part, weights, work);
        #[cfg(not(feature = "flex"))]
        work()
    }

    /// The sums, each in its matrix's shape and without a gradient of its own; `None` where nothing was added.
    pub fn into_tensors(self) -> Vec<Option<Tensor<2>>> {
        #[cfg(feature = "flex")]
        return self.sums.into_tensors(self.n_weights);
        #[cfg(not(feature = "flex"))]
        vec![None; self.n_weights]
    }
}
