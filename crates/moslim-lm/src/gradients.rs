//! Gradients of losses that are sums over the parts of a batch.

use std::any::Any;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Device, Tensor};
use moslim_kernels::{GradientSums, in_parallel_each};

use crate::checkpointing::Recording;

/// The gradient of the sum of `loss` over `parts`, and what else `loss` found about each part.
///
/// Several parts are worked on at once where the device allows it, on replicas of the module whose gradients are added in the order of the parts:
/// the result does not depend on the number of cores.
/// On the CPU those of matrices are added while they are found ([`GradientSums`]), so that no part holds a whole set of its own; with
/// 16-bit maps, and of a vocabulary whose logits are too many to be kept, it does.
/// A part without loss (`None`) has no gradient.
/// A loss reads its replica and untracked tensors, and leaves the backward pass to this function.
/// Models [with gradient checkpointing](crate::CausalLm::with_gradient_checkpointing) keep no activations but the inputs of their layers.
///
/// ```
/// use burn::nn::LinearConfig;
/// use burn::tensor::{Device, Tensor};
/// use moslim_lm::sum_gradients;
///
/// let device = Device::default().autodiff();
/// let line = LinearConfig::new(1, 1).init(&device);
/// let (gradients, found) = sum_gradients(&line, &device, vec![1.0, 2.0], |line, x: f32| {
///     let y = line.forward(Tensor::<2>::from_data([[x]], &device));
///     (Some(y.sum()), x)
/// });
/// let slope: f32 = gradients.get::<2>(line.weight.id).unwrap().into_scalar();
/// assert_eq!((slope, found), (3.0, vec![1.0, 2.0]));
/// ```
pub fn sum_gradients<M: Module, P: Send, R: Send>(
    module: &M,
    device: &Device,
    parts: Vec<P>,
    loss: impl Fn(&M, P) -> (Option<Tensor<1>>, R) + Sync,
) -> (GradientsParams, Vec<R>) {
    let parts: Vec<_> =
        parts.into_iter().enumerate().map(|(index, part)| (index, module.valid(), part)).collect();
    // Of a replica: a weight that was cast when it was read is no leaf, and trained all the same.
    let matrices = Matrices::of(&module.valid().train());
    let sums = GradientSums::new(matrices.ids.len());
    let mut sum = GradientsAccumulator::new();
    let mut all_found = Vec::with_capacity(parts.len());
    let work = |(index, weights, part): (usize, M, P)| {
        // Leaves of its own give every part a graph of its own: threads that share a graph would wait for each other.
        let replica = weights.train();
        sums.in_turn(index, &Matrices::of(&replica).leaves, || {
            let recording = Recording::begin();
            let (loss, found) = loss(&replica, part);
            let gradients = loss.map(|loss| {
                let mut sum = GradientsAccumulator::new();
                recording.backward(loss.backward(), |gradients| {
                    sum.accumulate(&replica, GradientsParams::from_grads(gradients, &replica));
                });
                sum.grads()
            });
            (gradients, found)
        })
    };
    // A copy, which shares the weights: a reference cannot go to the lanes.
    let copy = module.clone();
    let (sum_now, found_now) = (&mut sum, &mut all_found);
    in_parallel_each(device, parts, work, move |(gradients, found)| {
        if let Some(gradients) = gradients {
            sum_now.accumulate(&copy, gradients);
        }
        found_now.push(found);
    });
    let mut of_matrices = GradientsParams::new();
    for (id, sum) in matrices.ids.into_iter().zip(sums.into_tensors()) {
        if let Some(sum) = sum {
            of_matrices.register(id, sum);
        }
    }
    sum.accumulate(module, of_matrices);
    (sum.grads(), all_found)
}

/// The trained matrices of a module, in the order of a visit.
#[derive(Default)]
struct Matrices {
    ids: Vec<ParamId>,
    leaves: Vec<Tensor<2>>,
}

impl Matrices {
    fn of(module: &impl Module) -> Self {
        let mut matrices = Self::default();
        module.visit(&mut matrices);
        matrices
    }
}

impl ModuleVisitor for Matrices {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let weights: &dyn Any = &parameter.val();
        if let Some(matrix) = weights.downcast_ref::<Tensor<2>>().filter(|_| parameter.is_require_grad()) {
            self.ids.push(parameter.id);
            self.leaves.push(matrix.clone());
        }
    }
}

/// Takes the gradients of a part of a module out of those of the whole, for an optimizer of its own.
pub fn take_gradients<M: Module>(part: &M, gradients: &mut GradientsParams) -> GradientsParams {
    struct Take<'a> {
        from: &'a mut GradientsParams,
        taken: GradientsParams,
    }
    impl ModuleVisitor for Take<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            if let Some(gradient) = self.from.remove::<D>(parameter.id) {
                self.taken.register::<D>(parameter.id, gradient);
            }
        }
    }
    let mut take = Take { from: gradients, taken: GradientsParams::new() };
    part.visit(&mut take);
    take.taken
}

/// A module with the same weights whose parameters are other ones: both can be parts of one module, each with its own gradients.
pub fn with_parameters_of_its_own<M: Module>(module: M) -> M {
    struct Renew;
    impl ModuleMapper for Renew {
        fn map_float<const D: usize>(&mut self, parameter: Param<Tensor<D>>) -> Param<Tensor<D>> {
            let trained = parameter.is_require_grad();
            let weights = parameter.val().detach();
            Param::initialized(ParamId::new(), weights).set_require_grad(trained)
        }
    }
    module.map(&mut Renew)
}

/// The gradient of every trained weight, one after the other.
#[cfg(test)]
pub(crate) fn values(module: &impl Module, gradients: &GradientsParams) -> Vec<f32> {
    struct Collect<'a>(&'a GradientsParams, Vec<f32>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            if parameter.is_require_grad() {
                let gradient = self.0.get::<D>(parameter.id).expect("every weight has a gradient");
                self.1.extend(gradient.into_data().try_to_vec::<f32>().expect("gradients are floats"));
            }
        }
    }
    let mut collect = Collect(gradients, vec![]);
    module.visit(&mut collect);
    collect.1
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use moslim_kernels::matmul;

    use super::*;

    /// As after reading a folder of 16-bit weights, whose cast to 32 bits is what the module holds.
    #[test]
    fn weights_that_were_computed_are_trained() {
        let device = Device::default().autodiff();
        let mut line = LinearConfig::new(1, 1).with_bias(false).init(&device);
        line.weight = line.weight.map(|weight| weight * 2.0);
        let (gradients, _) = sum_gradients(&line, &device, vec![1.0, 2.0], |line: &Linear, x: f32| {
            let product = matmul(Tensor::from_data([[x]], &device), line.weight.val());
            (Some(product.sum()), ())
        });
        assert_eq!(gradients.get::<2>(line.weight.id).unwrap().into_scalar::<f32>(), 3.0);
    }
}
