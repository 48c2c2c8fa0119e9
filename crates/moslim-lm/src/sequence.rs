//! Prompts with responses: hidden states and log-probabilities of the responses.

use burn::tensor::activation::log_softmax;
use burn::tensor::{IndexingUpdateOp, Tensor};
use moslim_kernels::token_logprobs;

use crate::frame::n_tokens;
use crate::rows::{ints, select_rows};
use crate::{CausalLm, Decoder, Padding};

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

/// The hidden states of exchanges, and where to find them.
struct Reading {
    /// `[n_tokens, hidden_size]`
    states: Tensor<2>,
    /// The state after every exchange's prompt.
    prompt_ends: Vec<usize>,
    /// The state after every exchange's first response token; those of its further tokens follow.
    response_firsts: Vec<usize>,
}

/// Reads exchanges, without the last `unread` tokens of each response.
///
/// Exchanges with the same prompt that follow each other read it once.
fn read(decoder: &Decoder, exchanges: &[Exchange<'_>], unread: usize) -> Reading {
    assert!(
        exchanges.iter().all(|exchange| !exchange.prompt.is_empty()),
        "a prompt needs at least one token"
    );
    let responses: Vec<&[u32]> = exchanges
        .iter()
        .map(|exchange| &exchange.response[..exchange.response.len().saturating_sub(unread)])
        .collect();
    let mut prompts: Vec<&[u32]> = exchanges.iter().map(|exchange| exchange.prompt).collect();
    prompts.dedup();
    if prompts.len() == exchanges.len() {
        let rows: Vec<Vec<u32>> =
            prompts.iter().zip(&responses).map(|(prompt, response)| [*prompt, *response].concat()).collect();
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        let hidden = decoder.forward(&rows, Padding::Right, None);
        let after_prompt = hidden.firsts.iter().zip(&prompts).map(|(first, prompt)| first + prompt.len());
        let response_firsts: Vec<usize> = after_prompt.collect();
        let prompt_ends = response_firsts.iter().map(|first| first - 1).collect();
        return Reading { states: hidden.states, prompt_ends, response_firsts };
    }

    let mut number = 0;
    let prompt_of: Vec<usize> = (0..exchanges.len())
        .map(|row| {
            number += usize::from(row > 0 && exchanges[row].prompt != exchanges[row - 1].prompt);
            number
        })
        .collect();
    let hidden = match responses.iter().all(|response| response.is_empty()) {
        true => decoder.forward(&prompts, Padding::Left, None),
        false => decoder.forward_responses(&prompts, &responses, &prompt_of),
    };
    let prompt_end = |&prompt: &usize| hidden.firsts[prompt] + prompts[prompt].len() - 1;
    let prompt_ends = prompt_of.iter().map(prompt_end).collect();
    let response_firsts = responses.iter().scan(n_tokens(&prompts), |next, response| {
        let first = *next;
        *next += response.len();
        Some(first)
    });
    let response_firsts = response_firsts.collect();
    Reading { states: hidden.states, prompt_ends, response_firsts }
}

/// The hidden state after the last token of every exchange. `[n_exchanges, hidden_size]`
///
/// # Panics
/// If a prompt or a response is empty.
pub fn final_states(decoder: &Decoder, exchanges: &[Exchange<'_>]) -> Tensor<2> {
    assert!(
        exchanges.iter().all(|exchange| !exchange.response.is_empty()),
        "a response needs at least one token"
    );
    let Reading { states, response_firsts, .. } = read(decoder, exchanges, 0);
    let lasts =
        response_firsts.iter().zip(exchanges).map(|(first, exchange)| first + exchange.response.len() - 1);
    select_rows(states, lasts)
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
/// Only response tokens are projected onto the vocabulary, and a prompt shared by consecutive exchanges is read once.
///
/// # Panics
/// If a prompt is empty or all responses are.
pub fn response_logprobs(model: &CausalLm, exchanges: &[Exchange<'_>], temperature: f64) -> ResponseLogprobs {
    logprobs_of_states(model, predicting_states(model.decoder(), exchanges), exchanges, temperature)
}

/// [`response_logprobs`] from the [`predicting_states`] of the exchanges, for who needs these for something else as well.
///
/// # Panics
/// If all responses are empty, or there is not one state per response token.
pub fn logprobs_of_states(
    model: &CausalLm,
    predicting: Tensor<2>,
    exchanges: &[Exchange<'_>],
    temperature: f64,
) -> ResponseLogprobs {
    let device = model.device();
    let targets = exchanges.iter().flat_map(|exchange| exchange.response).map(|&token| i64::from(token));
    let (logprobs, entropies) =
        token_logprobs(predicting, model.vocabulary(), ints(targets.collect(), &device), temperature);
    ResponseLogprobs {
        logprobs: response_grid(logprobs, exchanges),
        entropies: response_grid(entropies, exchanges),
    }
}

/// Numbers of response tokens, one response after the other, as a grid; 0 at padding. `[n_responses, longest_response]`
///
/// # Panics
/// If all responses are empty, or there is not one number per response token.
pub fn response_grid(values: Tensor<1>, exchanges: &[Exchange<'_>]) -> Tensor<2> {
    let device = values.device();
    let longest = exchanges.iter().map(|exchange| exchange.response.len()).max().unwrap_or(0);
    assert!(longest > 0, "at least one response token");
    let cells = exchanges.iter().enumerate().flat_map(|(row, exchange)| {
        (0..exchange.response.len()).map(move |column| (row * longest + column) as i64)
    });
    let empty = Tensor::<1>::zeros([exchanges.len() * longest], &device);
    empty
        .scatter(0, ints(cells.collect(), &device), values, IndexingUpdateOp::Add)
        .reshape([exchanges.len(), longest])
}

/// Log-probabilities of the whole vocabulary at every response token, one response after the other. `[n_response_tokens, vocab_size]`
///
/// Unlike [`response_logprobs`] this keeps a row of the vocabulary's size for every token.
///
/// # Panics
/// If a prompt is empty or all responses are.
pub fn response_distributions(model: &CausalLm, exchanges: &[Exchange<'_>], temperature: f64) -> Tensor<2> {
    log_softmax(
        predicting_states(model.decoder(), exchanges).matmul(model.vocabulary().matrix()) / temperature,
        1,
    )
}

/// The states that predict the response tokens: each stands after the token before. `[n_response_tokens, hidden_size]`
///
/// # Panics
/// If a prompt is empty.
pub fn predicting_states(decoder: &Decoder, exchanges: &[Exchange<'_>]) -> Tensor<2> {
    let Reading { states, prompt_ends, response_firsts } = read(decoder, exchanges, 1);
    let of_response = |row: usize| {
        let further = response_firsts[row]..response_firsts[row] + exchanges[row].response.len().max(1) - 1;
        std::iter::once(prompt_ends[row]).chain(further).take(exchanges[row].response.len())
    };
    select_rows(states, (0..exchanges.len()).flat_map(of_response))
}
