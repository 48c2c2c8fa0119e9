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

impl Critic {
    /// A critic whose head is zero: before it learns, every state is worth nothing.
    ///
    /// The trunk has the weights given, as parameters of its own; without one the policy's states are read.
    pub(crate) fn new(trunk: Option<Decoder>, hidden_size: usize, device: &Device) -> Self {
        let weight = Param::from_tensor(Tensor::zeros([hidden_size, 1], device));
        let bias = Some(Param::from_tensor(Tensor::zeros([1], device)));
        Self { trunk: trunk.map(with_parameters_of_its_own), head: Linear { weight, bias } }
    }

    /// The same critic with or without gradient checkpointing in its trunk.
    pub(crate) fn with_gradient_checkpointing(self, gradient_checkpointing: bool) -> Self {
        let trunk = self.trunk.map(|trunk| trunk.with_gradient_checkpointing(gradient_checkpointing));
        Self { trunk, ..self }
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

    /// The values before every token of answers, one list each; `self` and `policy` are without gradients.
    pub(crate) fn values_before(
        &self,
        policy: &CausalLm,
        exchanges: &[Exchange<'_>],
        batch_size: usize,
        precision: Precision,
    ) -> Vec<Vec<f64>> {
        self.frozen(policy, exchanges, batch_size, precision, |trunk, batch| {
            let values = self.head.forward(predicting_states(trunk, batch)).squeeze_dim(1);
            lines(response_grid(values, batch), batch)
        })
    }

    /// The value after the last token of every answer; `self` and `policy` are without gradients.
    pub(crate) fn values_after(
        &self,
        policy: &CausalLm,
        exchanges: &[Exchange<'_>],
        batch_size: usize,
        precision: Precision,
    ) -> Vec<f64> {
        self.frozen(policy, exchanges, batch_size, precision, |trunk, batch| {
            let values = self.head.forward(final_states(trunk, batch)).into_data().convert::<f32>();
            let values: Vec<f32> = values.try_to_vec().expect("values are floats");
            values.into_iter().map(f64::from).collect()
        })
    }

    /// What `read` finds with the trunk, batch by batch.
    fn frozen<T: Send + Clone>(
        &self,
        policy: &CausalLm,
        exchanges: &[Exchange<'_>],
        batch_size: usize,
        precision: Precision,
        read: impl Fn(&Decoder, &[Exchange<'_>]) -> Vec<T> + Sync,
    ) -> Vec<T> {
        let trunk = self.trunk.as_ref().unwrap_or(policy.decoder()).in_precision(precision);
        let batches = exchanges.chunks(batch_size).collect();
        in_parallel(&policy.device(), batches, |batch| read(&trunk, batch)).concat()
    }
}

#[cfg(test)]
mod tests {
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
            let before = critic.values_before(&policy, &exchange, 4, Precision::F32).remove(0);
            (before, critic.values_after(&policy, &exchange, 4, Precision::F32)[0])
        };
        let ((short, after), (long, _)) = (values(&[4, 5]), values(&[4, 5, 6]));
        let close = |a: f64, b: f64| (a - b).abs() < 1e-5;
        assert_eq!((short.len(), long.len()), (2, 3));
        assert!(short.iter().zip(&long).all(|(a, b)| close(*a, *b)));
        assert!(close(after, long[2]), "{after} {long:?}");
        assert!(!close(long[0], long[1]), "states differ");
        // Without a trunk of its own the policy's states are read, here the same.
        let shared = Critic { trunk: None, head: critic.head.clone() };
        let exchange = [Exchange { prompt: &prompt, response: &[4, 5] }];
        assert_eq!(shared.values_before(&policy, &exchange, 4, Precision::F32)[0], short);
    }
}
