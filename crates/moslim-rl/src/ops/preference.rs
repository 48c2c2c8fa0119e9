//! Losses of preferring one answer to another.

use burn::tensor::Tensor;
use burn::tensor::activation::log_sigmoid;
use serde::{Deserialize, Serialize};

/// What a pair of answers costs, from `h`: how much further the policy moved towards the chosen than towards the rejected,
/// `h = (log π/π_ref)(chosen) − (log π/π_ref)(rejected)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreferenceLoss {
    /// DPO ([Rafailov et al. 2023](https://arxiv.org/abs/2305.18290), eq. 7): `−ln σ(βh)`.
    #[default]
    Sigmoid,
    /// IPO ([Azar et al. 2023](https://arxiv.org/abs/2310.12036), eq. 17): `(h − 1/(2β))²`.
    Ipo,
}

impl PreferenceLoss {
    /// What a nat of h counts where the policy is the reference: the steepest slope for DPO, β, and the slope there for IPO, 1/β.
    ///
    /// ```
    /// use moslim_rl::ops::PreferenceLoss;
    /// assert_eq!((PreferenceLoss::Sigmoid.slope(0.1), PreferenceLoss::Ipo.slope(0.1)), (0.1, 10.0));
    /// ```
    pub fn slope(self, beta: f64) -> f64 {
        match self {
            Self::Sigmoid => beta,
            Self::Ipo => 1.0 / beta,
        }
    }

    /// The loss of every pair.
    ///
    /// # Shapes
    /// - `margins`: h, `[n_pairs]`
    /// - returns: `[n_pairs]`
    ///
    /// ```
    /// # use burn::tensor::{Device, Tensor};
    /// use moslim_rl::ops::PreferenceLoss;
    /// let h = Tensor::<1>::from_floats([3.0], &Device::default());
    /// assert!((PreferenceLoss::Ipo.of(h, 0.1).into_scalar::<f32>() - 4.0).abs() < 1e-5);
    /// ```
    pub fn of(self, margins: Tensor<1>, beta: f64) -> Tensor<1> {
        match self {
            Self::Sigmoid => log_sigmoid(margins * beta).neg(),
            Self::Ipo => (margins - 0.5 / beta).square(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn losses_of_known_margins() {
        let h = Tensor::<1>::from_floats([4.0, 3.0], &Device::default());
        for (loss, expected) in
            [(PreferenceLoss::Sigmoid, [0.513015, 0.554355]), (PreferenceLoss::Ipo, [1.0, 4.0])]
        {
            let found: Vec<f32> = loss.of(h.clone(), 0.1).into_data().try_to_vec().unwrap();
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        }
    }

    #[test]
    fn large_margins_stay_finite() {
        let device = Device::default().autodiff();
        let h = Tensor::<1>::from_floats([2000.0, -2000.0], &device).require_grad();
        let loss = PreferenceLoss::Sigmoid.of(h.clone(), 0.1);
        assert_eq!(loss.clone().into_data().try_to_vec::<f32>().unwrap(), [0.0, 200.0]);
        let gradient = h.grad(&loss.sum().backward()).unwrap().into_data().try_to_vec::<f32>().unwrap();
        assert!((gradient[0]).abs() < 1e-6 && (gradient[1] + 0.1).abs() < 1e-6, "{gradient:?}");
    }
}
