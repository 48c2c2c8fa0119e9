//! What estimates how good a state is: PPO's value model.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use moslim_lm::{
    CausalLm, Decoder, Exchange, Precision, final_states, in_parallel, predicting_states, response_grid,
    with_parameters_of_its_own,
};

use crate::rollout::lines;

/// A linear head on hidden states; its trunk is a decoder of its own, or that of the policy.
#[derive(Module, Debug)]
pub(crate) struct Critic {
    trunk: Option<Decoder>,
    head: Linear,
}

/// The values of the states of some answers.
pub(crate) struct Values {
    /// Before every token, one list per answer.
    pub before: Vec<Vec<f64>>,
    /// After the last token of every answer.
    pub after: Vec<f64>,
}

impl Critic {
    /// A critic whose head is zero: before it learns, every state is worth nothing.
    ///
    /// The trunk has the weights given, as parameters of its own; without one the policy's states are read.
    pub(crate) fn new(trunk: Option<Decoder>, hidden_size: usize, device: &Device) -> Self {
        let weight = Param::from_tensor(Tensor::zeros([hidden_size, 1], device));
        let bias = Some(Param::from_tensor(Tensor::zeros([1], device)));
        Self { trunk: trunk.map(with_parameters_of_its_own), head: Linear { weight, bias } }
    }

    /// The values of the states before the response tokens; 0 at padding. `[n_exchanges, longest]`
    ///
    /// `policy_states` are those of the policy, which are read if there is no other trunk.
    pub(crate) fn values(
        &self,
        policy_states: &Tensor<2>,
        exchanges: &[Exchange<'_>],
        precision: Precision,
    ) -> Tensor<2> {
        let states = match &self.trunk {
            Some(trunk) => predicting_states(&trunk.in_precision(precision), exchanges),
            None => policy_states.clone(),
        };
        response_grid(self.head.forward(states).squeeze_dim(1), exchanges)
    }

    /// The values of all states of answers; `self` and `policy` are without gradients.
    pub(crate) fn frozen_values(
        &self,
        policy: &CausalLm,
        exchanges: &[Exchange<'_>],
        batch_size: usize,
        precision: Precision,
    ) -> Values {
        let trunk = self.trunk.as_ref().unwrap_or(policy.decoder()).in_precision(precision);
        let of_batch = |batch: &[Exchange<'_>]| {
            let states = predicting_states(&trunk, batch);
            let before = lines(response_grid(self.head.forward(states).squeeze_dim(1), batch), batch);
            let after: Vec<f32> = self
                .head
                .forward(final_states(&trunk, batch))
                .into_data()
                .convert::<f32>()
                .try_to_vec()
                .expect("values are floats");
            (before, after.into_iter().map(f64::from).collect::<Vec<_>>())
        };
        let parts = in_parallel(&policy.device(), exchanges.chunks(batch_size).collect(), of_batch);
        let (before, after): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        Values { before: before.concat(), after: after.concat() }
    }
}

#[cfg(test)]
mod tests {
    use burn::module::Module;
    use moslim_lm::ModelConfig;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;

    /// The value after an answer is the value before the token that a longer answer goes on with.
    #[test]
    fn values_before_and_after_are_of_the_same_states() {
        let device = Device::default();
        let rng = &mut ChaCha8Rng::seed_from_u64(3);
        let policy = CausalLm::new(&ModelConfig::small(9, 8, 16, 2, 2), rng, &device);
        let mut critic = Critic::new(Some(policy.decoder().clone()), 8, &device);
        critic.head.weight = Param::from_tensor(moslim_lm::normal([8, 1], 1.0, rng, &device));
        let prompt = [1, 2, 3];
        let values = |response: &[u32]| {
            let exchange = [Exchange { prompt: &prompt, response }];
            critic.valid().frozen_values(&policy, &exchange, 4, Precision::F32)
        };
        let (short, long) = (values(&[4, 5]), values(&[4, 5, 6]));
        let close = |a: f64, b: f64| (a - b).abs() < 1e-5;
        assert_eq!((short.before[0].len(), long.before[0].len()), (2, 3));
        assert!(short.before[0].iter().zip(&long.before[0]).all(|(a, b)| close(*a, *b)));
        assert!(close(short.after[0], long.before[0][2]), "{:?} {:?}", short.after, long.before);
        assert!(!close(long.before[0][0], long.before[0][1]), "states differ");
        // Without a trunk of its own the policy's states are read, here the same.
        let shared = Critic { trunk: None, head: critic.head.clone() };
        let exchange = [Exchange { prompt: &prompt, response: &[4, 5] }];
        assert_eq!(shared.frozen_values(&policy, &exchange, 4, Precision::F32).before, short.before);
    }
}
