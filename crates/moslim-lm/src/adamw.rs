//! AdamW in one pass over every parameter, in Burn's optimizer of modules, with the state of Burn's own.

use burn::optim::{AdamWState, AdaptiveMomentumState, Optimizer};
use burn::tensor::{Device, Tensor};
use moslim_kernels::{AdamWStep, adamw};

use crate::OptimizerConfig;

/// The same settings for all parameters.
#[derive(Clone)]
pub(crate) struct AdamW {
    beta_1: f32,
    beta_2: f32,
    epsilon: f32,
    weight_decay: f32,
}

impl AdamW {
    pub(crate) fn of(config: &OptimizerConfig) -> Self {
        Self {
            beta_1: config.adam_beta1 as f32,
            beta_2: config.adam_beta2 as f32,
            epsilon: config.adam_epsilon as f32,
            weight_decay: config.weight_decay as f32,
        }
    }
}

impl Optimizer for AdamW {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: f64,
        parameter: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdamWState<D>>,
    ) -> (Tensor<D>, Option<AdamWState<D>>) {
        let (time, moments) = match state {
            Some(AdamWState { momentum }) => (momentum.time + 1, [momentum.moment_1, momentum.moment_2]),
            None => (1, [gradient.zeros_like(), gradient.zeros_like()]),
        };
        let &Self { beta_1, beta_2, epsilon, weight_decay } = self;
        let step = AdamWStep { learning_rate, beta_1, beta_2, epsilon, weight_decay, time: time as i32 };
        let (parameter, [moment_1, moment_2]) = adamw(parameter, gradient, moments, &step);
        (parameter, Some(AdamWState::new(AdaptiveMomentumState::new(time, moment_1, moment_2))))
    }

    fn to_device<const D: usize>(mut state: AdamWState<D>, device: &Device) -> AdamWState<D> {
        state.momentum = state.momentum.to_device(device);
        state
    }
}

#[cfg(test)]
mod tests {
    use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use crate::{CausalLm, ModelConfig, Padding};

    use super::*;

    /// The logits before and after some steps.
    fn course(mut adamw: ModuleOptimizer) -> Vec<Vec<f32>> {
        let config = ModelConfig::small(20, 8, 16, 1, 2);
        let device = Device::default().autodiff();
        let mut model = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(0), &device);
        let rates = [3e-2, 2e-2, 0.0, 1e-2];
        let step = |rate| {
            let logits = model.logits(&[&[1, 2, 3]], Padding::Right, None);
            let gradients = GradientsParams::from_grads(logits.clone().square().mean().backward(), &model);
            model = adamw.step(rate, model.clone(), gradients);
            logits.into_data().try_to_vec().unwrap()
        };
        rates.into_iter().chain([0.0]).map(step).collect()
    }

    #[test]
    fn steps_are_those_of_burns_own() {
        for weight_decay in [0.0, 0.1] {
            let settings = OptimizerConfig { weight_decay, adam_beta2: 0.95, ..OptimizerConfig::new(1.0) };
            let own = course(AdamW::of(&settings).into());
            let burns = AdamWConfig::new()
                .with_beta_2(0.95)
                .with_epsilon(1e-8)
                .with_weight_decay(weight_decay as f32);
            assert_eq!(own, course(burns.init()));
            assert_ne!(own[0], own[4]);
        }
    }
}
