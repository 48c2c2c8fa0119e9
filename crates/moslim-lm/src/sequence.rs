//! Prompts and responses as batches, and the log-probabilities of the responses.

use burn::tensor::{Device, Int, Tensor, TensorData};
use moslim_kernels::token_logprobs;

use crate::CausalLm;

/// A prompt and the response to it, as token ids.
///
/// The response includes its end token if it has one.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// What was read.
    pub prompt: &'a [u32],
    /// What was answered.
    pub response: &'a [u32],
}

/// Any legal id does as padding: masks come from lengths.
const PADDING: i64 = 0;

/// Ids as a left-padded batch and the number of padding columns of each row. `[batch, longest]`
pub(crate) fn left_padded(rows: &[&[u32]], device: &Device) -> (Tensor<2, Int>, Vec<usize>) {
    let longest = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let starts: Vec<usize> = rows.iter().map(|row| longest - row.len()).collect();
    let mut ids = vec![PADDING; rows.len() * longest];
    for ((row, start), line) in rows.iter().zip(&starts).zip(ids.chunks_mut(longest.max(1))) {
        line[*start..].iter_mut().zip(*row).for_each(|(id, &token)| *id = token.into());
    }
    (Tensor::from_data(TensorData::new(ids, [rows.len(), longest]), device), starts)
}

/// Ids as a right-padded batch. `[batch, longest]`
pub fn right_padded(rows: &[Vec<u32>], device: &Device) -> Tensor<2, Int> {
    let longest = rows.iter().map(|row| row.len()).max().unwrap_or(0);
    let mut ids = vec![PADDING; rows.len() * longest];
    for (row, line) in rows.iter().zip(ids.chunks_mut(longest.max(1))) {
        line.iter_mut().zip(row).for_each(|(id, &token)| *id = token.into());
    }
    Tensor::from_data(TensorData::new(ids, [rows.len(), longest]), device)
}

/// What a model says about the tokens of a batch of responses.
pub struct ResponseLogprobs {
    /// Log-probability of every response token; 0 at padding. `[n_responses, longest_response]`
    pub logprobs: Tensor<2>,
    /// Entropy of the distribution every response token was chosen from, in nats; 0 at padding. `[n_responses, longest_response]`
    pub entropies: Tensor<2>,
}

/// Log-probabilities of the responses, given their prompts, at a temperature.
///
/// Only response tokens are projected onto the vocabulary.
///
/// # Panics
/// If a prompt or every response is empty.
pub fn response_logprobs(model: &CausalLm, exchanges: &[Exchange<'_>], temperature: f64) -> ResponseLogprobs {
    let device = model.device();
    let longest_prompt = exchanges.iter().map(|exchange| exchange.prompt.len()).max().expect("at least one exchange");
    let longest = exchanges.iter().map(|exchange| exchange.response.len()).max().expect("at least one exchange");
    assert!(longest > 0, "at least one response token");
    assert!(exchanges.iter().all(|exchange| !exchange.prompt.is_empty()), "a prompt needs at least one token");
    // The last response token predicts nothing, so it is not read.
    let (n_responses, time) = (exchanges.len(), longest_prompt + longest - 1);
    let starts: Vec<usize> = exchanges.iter().map(|exchange| longest_prompt - exchange.prompt.len()).collect();
    let mut ids = vec![PADDING; n_responses * time];
    // Positions of the response tokens in the flat [n_responses, longest] grid, and of the hidden states that predict them.
    let (mut cells, mut states, mut targets) = (Vec::new(), Vec::new(), Vec::new());
    for (row, (exchange, line)) in exchanges.iter().zip(ids.chunks_mut(time)).enumerate() {
        let read = exchange.prompt.iter().chain(exchange.response);
        line[starts[row]..].iter_mut().zip(read).for_each(|(id, &token)| *id = token.into());
        for (column, &token) in exchange.response.iter().enumerate() {
            cells.push((row * longest + column) as i64);
            states.push((row * time + longest_prompt - 1 + column) as i64);
            targets.push(i64::from(token));
        }
    }
    let n_tokens = cells.len();
    let int = |values: Vec<i64>| Tensor::<1, Int>::from_data(TensorData::new(values, [n_tokens]), &device);
    let tokens = Tensor::from_data(TensorData::new(ids, [n_responses, time]), &device);
    let hidden = model.decoder().forward(tokens, &starts, None);
    let width = hidden.dims()[2];
    let predicting = hidden.reshape([n_responses * time, width]).select(0, int(states));
    let (logprobs, entropies) = token_logprobs(predicting, model.vocabulary(), int(targets), temperature);
    let cells = int(cells);
    let grid = |values: Tensor<1>| {
        let empty = Tensor::<1>::zeros([n_responses * longest], &device);
        empty.scatter(0, cells.clone(), values, burn::tensor::IndexingUpdateOp::Add).reshape([n_responses, longest])
    };
    ResponseLogprobs { logprobs: grid(logprobs), entropies: grid(entropies) }
}
