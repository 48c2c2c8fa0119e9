//! Prompts with responses: hidden states and log-probabilities of the responses.

use std::borrow::Cow;

use burn::tensor::activation::log_softmax;
use burn::tensor::{IndexingUpdateOp, Tensor};
use moslim_kernels::token_logprobs;

use crate::frame::{firsts, n_tokens};
use crate::rows::ints;
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

/// Exchanges as they are read, and where their tokens are among all.
struct Reading<'a> {
    rows: Rows<'a>,
    /// The last token of every exchange's prompt.
    prompt_ends: Vec<usize>,
    /// The first token of every exchange's response; its further ones follow.
    response_firsts: Vec<usize>,
}

enum Rows<'a> {
    /// Each read by itself.
    Whole(Vec<Cow<'a, [u32]>>),
    /// Prompts that are read once, and responses to them with the prompt of each.
    Shared { prompts: Vec<&'a [u32]>, responses: Vec<&'a [u32]>, prompt_of: Vec<usize> },
}

impl<'a> Reading<'a> {
    /// Exchanges without the last `unread` tokens of each response.
    ///
    /// Exchanges with the same prompt that follow each other read it once.
    fn new(exchanges: &[Exchange<'a>], unread: usize) -> Self {
        assert!(
            exchanges.iter().all(|exchange| !exchange.prompt.is_empty()),
            "a prompt needs at least one token"
        );
        let read =
            |exchange: &Exchange<'a>| &exchange.response[..exchange.response.len().saturating_sub(unread)];
        let responses: Vec<&[u32]> = exchanges.iter().map(read).collect();
        let mut prompts: Vec<&[u32]> = exchanges.iter().map(|exchange| exchange.prompt).collect();
        prompts.dedup();
        if prompts.len() == exchanges.len() {
            let rows = prompts.iter().zip(&responses).map(|(prompt, response)| [*prompt, *response].concat());
            let rows: Vec<Cow<'_, [u32]>> = rows.map(Cow::Owned).collect();
            let row_firsts = firsts(0, rows.iter().map(|row| row.len()));
            let behind = row_firsts.iter().zip(&prompts).map(|(first, prompt)| first + prompt.len());
            let response_firsts: Vec<usize> = behind.collect();
            let prompt_ends = response_firsts.iter().map(|first| first - 1).collect();
            return Self { rows: Rows::Whole(rows), prompt_ends, response_firsts };
        }
        let mut number = 0;
        let prompt_of: Vec<usize> = (0..exchanges.len())
            .map(|row| {
                number += usize::from(row > 0 && exchanges[row].prompt != exchanges[row - 1].prompt);
                number
            })
            .collect();
        let prompt_firsts = firsts(0, prompts.iter().map(|prompt| prompt.len()));
        let end = |&prompt: &usize| prompt_firsts[prompt] + prompts[prompt].len() - 1;
        let prompt_ends = prompt_of.iter().map(end).collect();
        let response_firsts = firsts(n_tokens(&prompts), responses.iter().map(|response| response.len()));
        let rows = match responses.iter().all(|response| response.is_empty()) {
            true => Rows::Whole(prompts.into_iter().map(Cow::Borrowed).collect()),
            false => Rows::Shared { prompts, responses, prompt_of },
        };
        Self { rows, prompt_ends, response_firsts }
    }

    /// The hidden states of these tokens. `[tokens.len(), hidden_size]`
    fn states(&self, decoder: &Decoder, tokens: &[usize]) -> Tensor<2> {
        match &self.rows {
            // Rows end in the same column, so that where only their ends are wanted, attention has one column of queries.
            Rows::Whole(rows) => {
                let rows: Vec<&[u32]> = rows.iter().map(AsRef::as_ref).collect();
                decoder.forward_at(&rows, Padding::Left, None, tokens)
            }
            Rows::Shared { prompts, responses, prompt_of } => {
                decoder.forward_responses(prompts, responses, prompt_of, tokens)
            }
        }
    }
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
    let reading = Reading::new(exchanges, 0);
    let firsts = reading.response_firsts.iter();
    let lasts: Vec<usize> =
        firsts.zip(exchanges).map(|(first, exchange)| first + exchange.response.len() - 1).collect();
    reading.states(decoder, &lasts)
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
    let reading = Reading::new(exchanges, 1);
    let of_response = |row: usize| {
        let first = reading.response_firsts[row];
        let further = first..first + exchanges[row].response.len().saturating_sub(1);
        std::iter::once(reading.prompt_ends[row]).chain(further).take(exchanges[row].response.len())
    };
    let predicting: Vec<usize> = (0..exchanges.len()).flat_map(of_response).collect();
    reading.states(decoder, &predicting)
}
