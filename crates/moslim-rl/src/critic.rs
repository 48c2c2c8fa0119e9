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
