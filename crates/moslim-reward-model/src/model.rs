//! One backbone, one classification head per objective.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Tensor};
use moslim_data::ObjectiveSchema;
use moslim_lm::{CausalLm, Decoder, Exchange, Precision, final_states, in_parallel, normal};
use rand::Rng;

/// A reward model that classifies an answer, one softmax head per objective, each with its own number of levels.
///
/// A head reads the hidden state of the last token and has no bias.
#[derive(Module, Debug)]
pub struct MultiHeadRewardModel {
    pub(crate) model: Decoder,
    pub(crate) heads: Vec<Linear>,
}

/// Answers classified together; more are taken in parallel or in turns.
const MAX_ROWS: usize = 64;

impl MultiHeadRewardModel {
    /// Fresh heads on the decoder of a language model, which is taken over with its weights.
    ///
    /// Weights of heads are drawn from N(0, 1/(d + 1)) as in [Stiennon et al. 2020](https://arxiv.org/abs/2009.01325).
    pub fn new(start: &CausalLm, hidden_size: usize, schema: &ObjectiveSchema, rng: &mut impl Rng) -> Self {
        let device = start.device();
        let deviation = (1.0 / (hidden_size as f64 + 1.0)).sqrt();
        let head = |n_levels| {
            let weight = normal([hidden_size, n_levels], deviation, rng, &device);
            Linear { weight: Param::from_tensor(weight), bias: None }
        };
        Self { model: start.decoder().clone(), heads: schema.n_levels().into_iter().map(head).collect() }
    }

    /// The model with the adapter of its backbone merged into the weights.
    pub fn merged(&self) -> Self {
        Self { model: self.model.merged(), heads: self.heads.clone() }
    }

    /// A copy whose backbone is computed in this precision; see [`Decoder::in_precision`]. The heads keep 32 bits.
    pub fn in_precision(&self, precision: Precision) -> Self {
        Self { model: self.model.in_precision(precision), heads: self.heads.clone() }
    }

    /// The logits of every head. One `[n_answers, K_i]` per objective
    ///
    /// # Panics
    /// If there is no answer, or a prompt or an answer is empty.
    pub fn logits(&self, answers: &[Exchange<'_>]) -> Vec<Tensor<2>> {
        let pooled = final_states(&self.model, answers);
        self.heads.iter().map(|head| head.forward(pooled.clone())).collect()
    }

    /// The class probabilities of every answer: `[answer][objective][level]`.
    ///
    /// Answers to one prompt that follow each other share its reading.
    ///
    /// # Panics
    /// If a prompt or an answer is empty.
    pub fn class_probabilities(&self, answers: &[Exchange<'_>]) -> Vec<Vec<Vec<f64>>> {
        let parts = answers.chunks(MAX_ROWS).collect();
        in_parallel(&self.device(), parts, |part| self.class_probabilities_of(part)).concat()
    }

    fn class_probabilities_of(&self, answers: &[Exchange<'_>]) -> Vec<Vec<Vec<f64>>> {
        let mut probabilities = vec![Vec::new(); answers.len()];
        for logits in self.logits(answers) {
            let n_levels = logits.dims()[1];
            let classes: Vec<f32> = softmax(logits, 1)
                .into_data()
                .convert::<f32>()
                .try_to_vec()
                .expect("probabilities are floats");
            for (heads, classes) in probabilities.iter_mut().zip(classes.chunks(n_levels)) {
                heads.push(classes.iter().map(|&p| f64::from(p)).collect());
            }
        }
        probabilities
    }

    /// Where the weights live.
    pub fn device(&self) -> Device {
        self.model.device()
    }
}
