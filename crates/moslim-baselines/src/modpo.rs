//! MODPO, multi-objective direct preference optimisation ([Zhou et al. 2024](https://arxiv.org/abs/2310.03708)):
//! DPO on the pairs of one objective, with the rewards of the others as a margin; one training per weighting.
//!
//! 1. A margin reward for every other objective: a model trained by DPO on that objective's pairs, read as
//!    `m = β log π/π_ref` ([`implicit_reward`]), or any reward model.
//! 2. [`ModpoLoss::of`] on the pairs of objective 0.

use burn::tensor::activation::{log_sigmoid, relu};
use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::error::{check_finite, check_length, check_positive};
use crate::{BaselineError, Weights};

/// `β (log π(y|x) − log π_ref(y|x))`, the reward for which π is the optimum with a KL term of weight β
/// ([Rafailov et al. 2023](https://arxiv.org/abs/2305.18290), eq. 5, up to a term of the prompt alone).
///
/// ```
/// assert_eq!(moslim_baselines::implicit_reward(-3.0, -5.0, 0.1), 0.2);
/// ```
pub fn implicit_reward(logprob: f64, reference_logprob: f64, beta: f64) -> f64 {
    beta * (logprob - reference_logprob)
}

/// What a pair costs at the margin `z`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MarginLoss {
    /// `−ln σ(z)`, as in the paper.
    #[default]
    Sigmoid,
    /// `max(0, 1 − z)`, an option of the released code.
    Hinge,
}

/// The loss of MODPO at one weighting.
#[derive(Clone, Debug, PartialEq)]
pub struct ModpoLoss {
    weights: Weights,
    beta: f64,
    loss: MarginLoss,
}

impl ModpoLoss {
    /// The loss at weights of which the first belongs to the objective of the pairs, and the others to the margin rewards in their order.
    ///
    /// # Errors
    /// If the first weight or β is not positive.
    pub fn new(weights: Weights, beta: f64, loss: MarginLoss) -> Result<Self, BaselineError> {
        check_positive("weight of the pairs' objective", weights.as_slice()[0])?;
        check_positive("β", beta)?;
        Ok(Self { weights, beta, loss })
    }

    /// `w_{1:} · (m_c − m_r)` of every pair: how much more the other objectives have of the chosen answer.
    ///
    /// # Shapes
    /// - `margins`: m of the chosen and of the rejected answer, `[n_pairs][2][n_objectives − 1]`
    /// - returns: `[n_pairs]`
    ///
    /// # Errors
    /// If there is not one finite reward per answer and other objective.
    pub fn weighted_margins(&self, margins: &[[Vec<f64>; 2]]) -> Result<Vec<f64>, BaselineError> {
        let others = &self.weights.as_slice()[1..];
        let weighted = |[chosen, rejected]: &[Vec<f64>; 2]| {
            for rewards in [chosen, rejected] {
                check_length("margin rewards", rewards.len(), others.len())?;
                check_finite("margin reward", rewards)?;
            }
            Ok(others.iter().zip(chosen.iter().zip(rejected)).map(|(weight, (c, r))| weight * (c - r)).sum())
        };
        margins.iter().map(weighted).collect()
    }

    /// `−ln σ(z)` or the hinge at `z = (1/w_0) [(β l_c − w_{1:}·m_c) − (β l_r − w_{1:}·m_r)]`, with `l = log π/π_ref`.
    ///
    /// With all weight on the first objective this is DPO, to the bit.
    ///
    /// # Shapes
    /// - `chosen`, `rejected`: l of the answers, `[n_pairs]`
    /// - `weighted_margins`: [`Self::weighted_margins`] of the same pairs, `[n_pairs]`
    /// - returns: `[n_pairs]`
    ///
    /// # Panics
    /// If there is not one margin per pair.
    pub fn of(&self, chosen: Tensor<1>, rejected: Tensor<1>, weighted_margins: &[f64]) -> Tensor<1> {
        let [n_pairs] = chosen.dims();
        assert_eq!(weighted_margins.len(), n_pairs, "one margin per pair");
        let margins: Vec<f32> = weighted_margins.iter().map(|&margin| margin as f32).collect();
        let margins = Tensor::<1>::from_data(TensorData::new(margins, [n_pairs]), &chosen.device());
        let z = ((chosen - rejected) * self.beta - margins) / self.weights.as_slice()[0];
        match self.loss {
            MarginLoss::Sigmoid => log_sigmoid(z).neg(),
            MarginLoss::Hinge => relu(z.neg() + 1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use moslim_rl::ops::PreferenceLoss;

    use super::*;

    fn modpo(weights: [f64; 2], loss: MarginLoss) -> ModpoLoss {
        ModpoLoss::new(Weights::new(weights.to_vec()).unwrap(), 0.1, loss).unwrap()
    }

    fn losses(modpo: &ModpoLoss, pairs: &[[f64; 4]]) -> Vec<f32> {
        let tensor = |column: usize| {
            let values: Vec<f32> = pairs.iter().map(|pair| pair[column] as f32).collect();
            Tensor::<1>::from_floats(values.as_slice(), &Device::default())
        };
        let margins: Vec<[Vec<f64>; 2]> = pairs.iter().map(|pair| [vec![pair[2]], vec![pair[3]]]).collect();
        let margins = modpo.weighted_margins(&margins).unwrap();
        modpo.of(tensor(0), tensor(1), &margins).into_data().try_to_vec().unwrap()
    }

    /// Log-ratios of the chosen and the rejected answer, then their margin rewards.
    const PAIRS: [[f64; 4]; 3] = [[2.0, -1.0, 1.2, 0.2], [1.0, 0.0, 0.6, 0.5], [3.0, -2.0, -0.5, 0.9]];

    #[test]
    fn known_losses() {
        let found = losses(&modpo([0.5, 0.5], MarginLoss::Sigmoid), &PAIRS);
        for (found, expected) in found.iter().zip([0.913015, 0.644397, 0.086836]) {
            assert!((found - expected).abs() < 1e-6, "{found} instead of {expected}");
        }
        // z = −0.4, 0.1, 2.4.
        let found = losses(&modpo([0.5, 0.5], MarginLoss::Hinge), &PAIRS);
        assert!(found.iter().zip([1.4, 0.9, 0.0]).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
    }

    #[test]
    fn with_all_weight_on_one_objective_it_is_dpo_to_the_bit() {
        let pairs: Vec<[f64; 4]> =
            (0..50).map(|i| [f64::from(i).sin() * 7.3, f64::from(i).cos() * 3.1, 1e6, -0.3]).collect();
        let ratios = |side: usize| {
            let values: Vec<f32> = pairs.iter().map(|pair| pair[side] as f32).collect();
            Tensor::<1>::from_floats(values.as_slice(), &Device::default())
        };
        let dpo = PreferenceLoss::Sigmoid.of(ratios(0) - ratios(1), 0.1);
        assert_eq!(
            losses(&modpo([1.0, 0.0], MarginLoss::Sigmoid), &pairs),
            dpo.into_data().try_to_vec::<f32>().unwrap()
        );
    }

    #[test]
    fn the_gradient_is_that_of_dpo_with_a_margin() {
        let device = Device::default().autodiff();
        let chosen = Tensor::<1>::from_floats([2.0], &device).require_grad();
        let rejected = Tensor::<1>::from_floats([-1.0], &device).require_grad();
        let loss = modpo([0.5, 0.5], MarginLoss::Sigmoid).of(chosen.clone(), rejected.clone(), &[0.5]);
        let gradients = loss.sum().backward();
        // z = −0.4, dL/dl = ∓(β/w_0) σ(−z).
        let expected = 0.2 / (1.0 + (-0.4f32).exp());
        let [chosen, rejected] = [chosen, rejected].map(|l| l.grad(&gradients).unwrap().into_scalar::<f32>());
        assert!(
            (chosen + expected).abs() < 1e-6 && (rejected - expected).abs() < 1e-6,
            "{chosen} {rejected}"
        );
    }

    #[test]
    fn what_cannot_be_weighed_is_refused() {
        let new = |weights: [f64; 2], beta| {
            ModpoLoss::new(Weights::new(weights.to_vec()).unwrap(), beta, MarginLoss::Sigmoid)
        };
        let message = new([0.0, 1.0], 0.1).unwrap_err().to_string();
        assert_eq!(message, "weight of the pairs' objective: 0, expected a positive number");
        assert!(new([0.5, 0.5], 0.0).is_err() && new([0.5, 0.5], f64::NAN).is_err());
        let modpo = new([0.5, 0.5], 0.1).unwrap();
        assert!(modpo.weighted_margins(&[[vec![1.0], vec![]]]).is_err());
        assert!(modpo.weighted_margins(&[[vec![1.0], vec![f64::NAN]]]).is_err());
        assert_eq!(modpo.weighted_margins(&[]), Ok(vec![]));
    }

    #[test]
    fn the_implicit_reward_is_scaled_by_beta() {
        assert!((implicit_reward(-1.0, -4.0, 0.5) - 1.5).abs() < 1e-12);
        assert!(implicit_reward(-4.0, -1.0, 0.5) < 0.0);
    }
}
