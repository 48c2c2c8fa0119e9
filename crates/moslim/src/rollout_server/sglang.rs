//! SGLang's own protocol: its OpenAI one has no token ids.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{RawCompletion, checked};
use super::http::{Http, message};
use super::{Completion, Sampling, ServerError, UNFILTERED, Unfiltered};

const GENERATE: &str = "/generate";

pub fn load_adapter(http: &Http, name: &str, folder: &str) -> Result<(), ServerError> {
    order(http, "/load_lora_adapter", &json!({ "lora_name": name, "lora_path": folder }))
}

/// Unloads an adapter; one that is not there is no error.
pub fn unload_adapter(http: &Http, name: &str) -> Result<(), ServerError> {
    match order(http, "/unload_lora_adapter", &json!({ "lora_name": name })) {
        Err(ServerError::Status { status: 400, message, .. }) if message.contains("does not exist") => Ok(()),
        result => result,
    }
}

/// Replaces the weights; the cache of prefixes is emptied, which is the default but relied on.
pub fn load_weights(http: &Http, folder: &str) -> Result<(), ServerError> {
    order(http, "/update_weights_from_disk", &json!({ "model_path": folder, "flush_cache": true }))
}

#[derive(Deserialize)]
struct Outcome {
    success: bool,
}

fn order(http: &Http, path: &str, content: &Value) -> Result<(), ServerError> {
    let body = http.post(path, content)?;
    match http.parsed::<Outcome>(path, &body)?.success {
        true => Ok(()),
        false => Err(ServerError::Refused { url: http.url(path), message: message(&body) }),
    }
}

#[derive(Serialize)]
struct Request<'a> {
    input_ids: &'a [&'a [u32]],
    sampling_params: Vec<Params<'a>>,
    return_logprob: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    lora_path: Option<&'a str>,
}

#[derive(Serialize)]
struct Params<'a> {
    n: usize,
    max_new_tokens: usize,
    min_new_tokens: usize,
    temperature: f64,
    sampling_seed: u64,
    stop_token_ids: &'a [u32],
    /// Would silence `stop_token_ids` too.
    ignore_eos: bool,
    #[serde(flatten)]
    unfiltered: Unfiltered,
}

#[derive(Deserialize)]
struct Answer {
    output_ids: Option<Vec<u32>>,
    meta_info: MetaInfo,
}

#[derive(Deserialize)]
struct MetaInfo {
    finish_reason: Option<FinishReason>,
    output_token_logprobs: Option<Vec<(Option<f32>, u32, IgnoredAny)>>,
}

#[derive(Deserialize)]
struct FinishReason {
    #[serde(rename = "type")]
    kind: String,
    matched: Option<Value>,
    message: Option<String>,
}

/// One completion for each prompt, from seeds of their own: several samples of one prompt would share one.
pub fn complete(
    http: &Http,
    adapter: Option<&str>,
    prompts: &[&[u32]],
    sampling: &Sampling,
    seeds: &[u64],
) -> Result<Vec<Completion>, ServerError> {
    let params = |seed: &u64| Params {
        n: 1,
        max_new_tokens: sampling.max_new_tokens,
        min_new_tokens: 0,
        temperature: sampling.temperature,
        sampling_seed: *seed,
        stop_token_ids: sampling.stop_ids,
        ignore_eos: sampling.stop_ids.is_empty(),
        unfiltered: UNFILTERED,
    };
    let request = Request {
        input_ids: prompts,
        sampling_params: seeds.iter().map(params).collect(),
        return_logprob: true,
        lora_path: adapter,
    };
    let body = http.post(GENERATE, &request)?;
    let answers: Vec<Answer> = http.parsed(GENERATE, &body)?;
    let url = http.url(GENERATE);
    if answers.len() != prompts.len() {
        return Err(ServerError::Count { url, found: answers.len(), expected: prompts.len() });
    }
    let rows = answers.into_iter().enumerate();
    rows.map(|(row, answer)| checked(&url, row, raw(&url, row, answer)?, sampling)).collect()
}

fn raw(url: &str, row: usize, answer: Answer) -> Result<RawCompletion, ServerError> {
    let Some(pairs) = answer.meta_info.output_token_logprobs else {
        let expected = "output_token_logprobs in meta_info, as return_logprob asks for";
        return Err(ServerError::TokenIds { url: url.into(), expected });
    };
    let (logprobs, tokens): (Vec<_>, Vec<u32>) =
        pairs.into_iter().map(|(logprob, token, _)| (logprob, token)).unzip();
    // Versions that list the ids too may leave out the stop token there.
    if answer.output_ids.is_some_and(|ids| !tokens.starts_with(&ids) || ids.len() + 1 < tokens.len()) {
        let (found, expected) = ("other output_ids than log-probabilities".into(), "the same tokens".into());
        return Err(ServerError::Answer { url: url.into(), row, found, expected });
    }
    let (reason, stop) = match answer.meta_info.finish_reason {
        Some(FinishReason { kind, message: Some(message), .. }) => (format!("{kind}, {message}"), None),
        Some(FinishReason { kind, matched, .. }) => (kind, matched),
        None => ("null".into(), None),
    };
    Ok(RawCompletion { tokens, logprobs, reason, stop })
}
