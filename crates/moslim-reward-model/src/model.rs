//! One backbone, one head per objective.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};
use moslim_data::ObjectiveSchema;
use moslim_lm::{CausalLm, Decoder, Exchange, Precision, final_states};
use rand::Rng;

use crate::parts::in_parts;
use crate::{HeadConfig, RewardHead};

/// A reward model that classifies an answer, one head per objective, each with its own number of levels.
///
/// A head reads the hidden state of the last token and has no bias.
#[derive(Module, Debug)]
pub struct MultiHeadRewardModel {
    pub(crate) model: Decoder,
    pub(crate) heads: Vec<RewardHead>,
}

impl MultiHeadRewardModel {
    /// Fresh heads on the decoder of a language model, which is taken over with its weights.
    ///
    /// # Panics
    /// If there is not one configuration per objective.
    pub fn new(
        start: &CausalLm,
        hidden_size: usize,
        schema: &ObjectiveSchema,
        heads: &[HeadConfig],
        rng: &mut impl Rng,
    ) -> Self {
        assert_eq!(heads.len(), schema.len(), "one head per objective");
        let device = start.device();
        let heads = heads.iter().zip(schema.n_levels());
        let heads = heads.map(|(config, n)| RewardHead::new(config, hidden_size, n, rng, &device)).collect();
        Self { model: start.decoder().clone(), heads }
    }

    /// The decoder alone.
    pub fn decoder(&self) -> &Decoder {
        &self.model
    }

    /// The model with the heads of another one in place of its first: how an objective is added to a trained model.
    ///
    /// # Panics
    /// If the other one has more heads.
    pub fn with_heads_of(mut self, other: &Self) -> Self {
        let n = other.heads.len();
        assert!(n <= self.heads.len(), "{n} heads in place of {}", self.heads.len());
        self.heads[..n].clone_from_slice(&other.heads);
        self
    }

    /// The model with another head in the place of one.
    ///
    /// # Panics
    /// If it has no such head.
    pub fn with_head(mut self, index: usize, head: RewardHead) -> Self {
        self.heads[index] = head;
        self
    }

    /// The same backbone with fresh heads of the same kinds.
    pub fn with_fresh_heads(&self, heads: &[HeadConfig], rng: &mut impl Rng) -> Self {
        let device = self.device();
        let fresh = heads.iter().zip(&self.heads).map(|(config, head)| {
            RewardHead::new(config, head.score.weight.dims()[0], head.n_levels, rng, &device)
        });
        Self { model: self.model.clone(), heads: fresh.collect() }
    }

    /// The model with the adapter of its backbone merged into the weights.
    pub fn merged(&self) -> Self {
        Self { model: self.model.merged(), heads: self.heads.clone() }
    }

    /// A copy whose backbone is computed in this precision; see [`Decoder::in_precision`]. The heads keep 32 bits.
    pub fn in_precision(&self, precision: Precision) -> Self {
        Self { model: self.model.in_precision(precision), heads: self.heads.clone() }
    }

    /// The same model with or without gradient checkpointing in its backbone; see [`Decoder::with_gradient_checkpointing`].
    pub fn with_gradient_checkpointing(self, gradient_checkpointing: bool) -> Self {
        Self { model: self.model.with_gradient_checkpointing(gradient_checkpointing), ..self }
    }

    /// The hidden states that the heads read. `[n_answers, hidden_size]`
    ///
    /// # Panics
    /// If there is no answer, or a prompt or an answer is empty.
    pub fn pooled(&self, answers: &[Exchange<'_>]) -> Tensor<2> {
        final_states(&self.model, answers)
    }

    /// The hidden states of any number of answers, in their order. `[n_answers][hidden_size]`
    ///
    /// Answers to one prompt that follow each other share its reading.
    ///
    /// # Panics
    /// If a prompt or an answer is empty.
    pub fn features(&self, answers: &[Exchange<'_>]) -> Vec<Vec<f32>> {
        in_parts(&self.device(), answers, |part| rows(self.pooled(part)))
    }

    /// The outputs of every head from hidden states: `[answer][objective][output]`.
    pub fn outputs_of_features(&self, features: &[Vec<f32>]) -> Vec<Vec<Vec<f64>>> {
        match features.is_empty() {
            true => vec![],
            false => outputs_of(&self.heads, &matrix(features.iter().map(Vec::as_slice), &self.device())),
        }
    }

    /// The outputs of every head: `[answer][objective][output]`.
    ///
    /// Answers to one prompt that follow each other share its reading.
    ///
    /// # Panics
    /// If a prompt or an answer is empty.
    pub fn outputs(&self, answers: &[Exchange<'_>]) -> Vec<Vec<Vec<f64>>> {
        in_parts(&self.device(), answers, |part| outputs_of(&self.heads, &self.pooled(part)))
    }

    /// The heads, one per objective.
    pub fn heads(&self) -> &[RewardHead] {
        &self.heads
    }

    /// Where the weights live.
    pub fn device(&self) -> Device {
        self.model.device()
    }
}

/// The outputs of heads for hidden states. `[answer][head][output]`
pub(crate) fn outputs_of(heads: &[RewardHead], pooled: &Tensor<2>) -> Vec<Vec<Vec<f64>>> {
    let mut outputs = vec![Vec::with_capacity(heads.len()); pooled.dims()[0]];
    for head in heads {
        for (answer, of_head) in outputs.iter_mut().zip(rows(head.outputs(pooled.clone()))) {
            answer.push(of_head.into_iter().map(f64::from).collect());
        }
    }
    outputs
}

/// The rows of a matrix.
pub(crate) fn rows(matrix: Tensor<2>) -> Vec<Vec<f32>> {
    let width = matrix.dims()[1];
    let values: Vec<f32> =
        matrix.into_data().convert::<f32>().try_to_vec().expect("hidden states and outputs are floats");
    values.chunks(width).map(<[f32]>::to_vec).collect()
}

/// A matrix of rows, of which there is at least one.
pub(crate) fn matrix<'a>(rows: impl ExactSizeIterator<Item = &'a [f32]>, device: &Device) -> Tensor<2> {
    let n = rows.len();
    let values: Vec<f32> = rows.flatten().copied().collect();
    let width = values.len() / n;
    Tensor::from_data(TensorData::new(values, [n, width]), device)
}
