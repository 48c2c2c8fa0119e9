//! The gradient of every algorithm's loss against finite differences of the loss.

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{Device, Tensor, TensorData};
use moslim_lm::{CausalLm, ModelConfig};
use moslim_rl::{Algorithm, KlPlacement, Pairing};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::losses::{Case, VOCABULARY, variants};

/// Adds to one weight.
struct Nudge {
    weight: usize,
    by: f32,
    seen: usize,
}

impl ModuleMapper for Nudge {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let shape = param.dims();
        let n: usize = shape.iter().product();
        let here = self.weight.checked_sub(self.seen).filter(|&index| index < n);
        self.seen += n;
        match here {
            None => param,
            Some(index) => param.map(|values| {
                let device = values.device();
                let mut cells: Vec<f32> = values.into_data().try_to_vec().unwrap();
                cells[index] += self.by;
                Tensor::from_data(TensorData::new(cells, shape), &device).require_grad()
            }),
        }
    }
}

struct Count(usize);

impl ModuleVisitor for Count {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0 += param.dims().iter().product::<usize>();
    }
}

/// The norm of all partial derivatives of the loss, each from two losses with the same reference.
#[test]
fn gradients_are_finite_differences() {
    const STEP: f32 = 2e-3;
    let config = ModelConfig::small(VOCABULARY, 4, 4, 1, 1);
    let policy = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(11), &Device::default().autodiff());
    // Larger weights than those of a fresh model, whose gradients are hardly more than rounding.
    let policy = policy.map(&mut Scale);
    let mut count = Count(0);
    policy.visit(&mut count);
    let case = Case::random(2, policy.clone());
    // Away from the reference, where the terms that hold to it have gradients.
    let moved = policy.map(&mut Nudge { weight: 3, by: 0.5, seen: 0 });
    let mut n = 0;
    // One of every kind, with its KL term in the loss where it may be there.
    for algorithm in variants().into_iter().filter(is_chosen) {
        let norm = case.of_trainer(&algorithm, Some(moved.clone())).1;
        let loss = |weight: usize, by: f32| {
            case.of_trainer(&algorithm, Some(moved.clone().map(&mut Nudge { weight, by, seen: 0 }))).0
        };
        let derivative = |weight: usize| (loss(weight, STEP) - loss(weight, -STEP)) / f64::from(2.0 * STEP);
        let expected = (0..count.0).map(|weight| derivative(weight).powi(2)).sum::<f64>().sqrt();
        assert!((norm - expected).abs() < 0.01 * expected, "{algorithm:?}: {norm} instead of {expected}");
        n += 1;
    }
    assert_eq!(n, 10);
}

fn is_chosen(algorithm: &Algorithm) -> bool {
    let in_loss = algorithm.kl().is_none_or(|kl| kl.placement == KlPlacement::Loss);
    match algorithm {
        Algorithm::Rloo(config) => in_loss && config.normalize_advantages,
        Algorithm::Grpo(config) => in_loss && config.scale_rewards,
        Algorithm::Ppo(config) => in_loss && config.whiten_advantages,
        Algorithm::OnlineDpo(config) => config.pairs == Pairing::Ranked,
        Algorithm::BestOfN(_) => true,
    }
}

struct Scale;

impl ModuleMapper for Scale {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match D {
            2 => param.map(|values| (values * 20.0).detach().require_grad()),
            _ => param,
        }
    }
}
