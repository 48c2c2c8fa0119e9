//! vLLM's protocol.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{RawCompletion, checked};
use super::http::Http;
use super::{Completion, Sampling, ServerError, UNFILTERED, Unfiltered};

const COMPLETIONS: &str = "/v1/completions";
const LOAD: &str = "/v1/load_lora_adapter";
const UNLOAD: &str = "/v1/unload_lora_adapter";

/// Loads an adapter that has not been loaded, so without `load_inplace`, which keeps cached prefixes.
pub fn load_adapter(http: &Http, name: &str, folder: &str) -> Result<(), ServerError> {
    match http.post(LOAD, &json!({ "lora_name": name, "lora_path": folder })) {
        Err(ServerError::Status { url, status: 404, message }) if message == "Not Found" => {
            Err(ServerError::FixedAdapters(url))
        }
        answer => answer.map(|_| ()),
    }
}

/// Unloads an adapter; one that is not there is no error.
pub fn unload_adapter(http: &Http, name: &str) -> Result<(), ServerError> {
    match http.post(UNLOAD, &json!({ "lora_name": name })) {
        Err(ServerError::Status { status: 404, .. }) => Ok(()),
        answer => answer.map(|_| ()),
    }
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    prompt: &'a [&'a [u32]],
    n: usize,
    max_tokens: usize,
    temperature: f64,
    seed: u64,
    stop_token_ids: &'a [u32],
    /// Only `stop_token_ids` end a completion, not what the model's files name.
    ignore_eos: bool,
    /// Only the sampled token's.
    logprobs: usize,
    /// Since 0.10.2.
    return_token_ids: bool,
    /// For versions before: tokens are written as `token_id:123`.
    return_tokens_as_token_ids: bool,
    #[serde(flatten)]
    unfiltered: Unfiltered,
}

#[derive(Deserialize)]
struct Answer {
    choices: Vec<Choice>,
}

#[derive(Deserialize)]
struct Choice {
    index: usize,
    token_ids: Option<Vec<u32>>,
    logprobs: Option<Logprobs>,
    finish_reason: Option<String>,
    stop_reason: Option<Value>,
}

#[derive(Deserialize)]
struct Logprobs {
    tokens: Vec<String>,
    token_logprobs: Vec<Option<f32>>,
}

/// One completion for each prompt.
///
/// Prompts that are sampled are the same one: a request has one seed, and its samples count up from it, but its
/// prompts all start with it.
pub fn complete(
    http: &Http,
    model: &str,
    prompts: &[&[u32]],
    sampling: &Sampling,
    seed: u64,
) -> Result<Vec<Completion>, ServerError> {
    let (n_prompts, n) = if sampling.is_greedy() { (prompts.len(), 1) } else { (1, prompts.len()) };
    let request = Request {
        model,
        prompt: &prompts[..n_prompts],
        n,
        max_tokens: sampling.max_new_tokens,
        temperature: sampling.temperature,
        seed,
        stop_token_ids: sampling.stop_ids,
        ignore_eos: true,
        logprobs: 0,
        return_token_ids: true,
        return_tokens_as_token_ids: true,
        unfiltered: UNFILTERED,
    };
    let body = http.post(COMPLETIONS, &request)?;
    let mut choices = http.parsed::<Answer>(COMPLETIONS, &body)?.choices;
    let url = http.url(COMPLETIONS);
    if choices.len() != prompts.len() {
        return Err(ServerError::Count { url, found: choices.len(), expected: prompts.len() });
    }
    choices.sort_by_key(|choice| choice.index);
    let rows = choices.into_iter().enumerate().map(|(row, choice)| {
        if choice.index != row {
            let (found, expected) = (format!("index {}", choice.index), format!("index {row}"));
            return Err(ServerError::Answer { url: url.clone(), row, found, expected });
        }
        checked(&url, row, raw(&url, row, choice)?, sampling)
    });
    rows.collect()
}

fn raw(url: &str, row: usize, choice: Choice) -> Result<RawCompletion, ServerError> {
    let Some(logprobs) = choice.logprobs else {
        let (found, expected) = ("no log-probabilities".into(), "one per token".into());
        return Err(ServerError::Answer { url: url.into(), row, found, expected });
    };
    let spelled = || {
        let ids = logprobs.tokens.iter().map(|token| token.strip_prefix("token_id:")?.parse().ok());
        ids.collect::<Option<Vec<u32>>>()
    };
    let expected = "token_ids, from vLLM 0.10.2 or later, or tokens such as `token_id:123`, for which an earlier \
         one needs --return-tokens-as-token-ids";
    let missing = || ServerError::TokenIds { url: url.into(), expected };
    Ok(RawCompletion {
        tokens: choice.token_ids.or_else(spelled).ok_or_else(missing)?,
        logprobs: logprobs.token_logprobs,
        reason: choice.finish_reason.unwrap_or_else(|| "null".into()),
        stop: choice.stop_reason,
    })
}
