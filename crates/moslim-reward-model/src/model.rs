//! One backbone, one classification head per objective.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use moslim_data::ObjectiveSchema;
use moslim_lm::{CausalLm, Decoder, normal, right_padded};
use rand::Rng;

/// A reward model that classifies an answer, one softmax head per objective, each with its own number of levels.
///
/// A head reads the hidden state of the last token and has no bias.
#[derive(Module, Debug)]
pub struct MultiHeadRewardModel {
    pub(crate) model: Decoder,
    pub(crate) heads: Vec<Linear>,
}

/// Sequences classified together; more are taken in turns.
const MAX_ROWS: usize = 128;

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

    /// The logits of every head. One `[n_sequences, K_i]` per objective
    ///
    /// # Panics
    /// If there is no sequence or one of them is empty.
    pub fn logits(&self, sequences: &[Vec<u32>]) -> Vec<Tensor<2>> {
        let device = self.device();
        let tokens = right_padded(sequences, &device);
        let [n_sequences, time] = tokens.dims();
        let hidden = self.model.forward(tokens, &vec![0; n_sequences], None);
        let width = hidden.dims()[2];
        let last: Vec<i64> = sequences
            .iter()
            .enumerate()
            .map(|(row, sequence)| {
                assert!(!sequence.is_empty(), "sequence {row} has no token");
                (row * time + sequence.len() - 1) as i64
            })
            .collect();
        let last = Tensor::<1, Int>::from_data(TensorData::new(last, [n_sequences]), &device);
        let pooled = hidden.reshape([n_sequences * time, width]).select(0, last);
        self.heads.iter().map(|head| head.forward(pooled.clone())).collect()
    }

    /// The class probabilities of every sequence: `[sequence][objective][level]`.
    ///
    /// Sequences of similar length are read together, in batches.
    ///
    /// # Panics
    /// If a sequence is empty.
    pub fn class_probabilities(&self, sequences: &[Vec<u32>]) -> Vec<Vec<Vec<f64>>> {
        let mut order: Vec<usize> = (0..sequences.len()).collect();
        order.sort_by_key(|&row| sequences[row].len());
        let mut probabilities = vec![Vec::new(); sequences.len()];
        for rows in order.chunks(MAX_ROWS) {
            let batch: Vec<Vec<u32>> = rows.iter().map(|&row| sequences[row].clone()).collect();
            for logits in self.logits(&batch) {
                let n_levels = logits.dims()[1];
                let classes: Vec<f32> =
                    softmax(logits, 1).into_data().convert::<f32>().try_to_vec().expect("probabilities are floats");
                for (&row, classes) in rows.iter().zip(classes.chunks(n_levels)) {
                    probabilities[row].push(classes.iter().map(|&p| f64::from(p)).collect());
                }
            }
        }
        probabilities
    }

    /// Where the weights live.
    pub fn device(&self) -> Device {
        self.model.device()
    }
}
