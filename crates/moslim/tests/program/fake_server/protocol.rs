//! What the two servers answer.

use serde_json::{Value, json};

use super::{Speaks, State};

/// The model's own end token, as its files would name it.
pub const EOS: u32 = 1;
const VOCABULARY: u64 = 64;

/// What is written first after a prompt.
pub fn first_token(prompt: &[u32]) -> u32 {
    8 + prompt.iter().sum::<u32>() % 56
}

pub fn logprob(token: u32) -> f32 {
    -(token as f32) / 8.0
}

/// Filters that the model's files may switch on; a rollout has to switch them off.
const UNFILTERED: [(&str, f64); 6] = [
    ("top_p", 1.0),
    ("top_k", -1.0),
    ("min_p", 0.0),
    ("repetition_penalty", 1.0),
    ("presence_penalty", 0.0),
    ("frequency_penalty", 0.0),
];

/// Status and body; a string is a body that is not JSON.
pub fn answer(state: &mut State, path: &str, content: &Value) -> (u16, Value) {
    let found = match (state.speaks, path) {
        (_, "/health") => Some((200, json!(""))),
        (_, "/v1/models") => Some((200, models(state))),
        (Speaks::Vllm, "/v1/completions") => Some(vllm_completions(state, content)),
        (Speaks::Vllm, "/v1/load_lora_adapter") if state.takes_adapters => Some(vllm_load(state, content)),
        (Speaks::Vllm, "/v1/unload_lora_adapter") if state.takes_adapters => {
            let name = content["lora_name"].as_str().unwrap_or_default();
            Some(match state.adapters.remove(name) {
                Some(_) => (200, json!(format!("Success: LoRA adapter '{name}' removed successfully."))),
                None => refused(404, &format!("The lora adapter '{name}' cannot be found.")),
            })
        }
        (Speaks::Sglang, "/generate") => Some(sglang_generate(state, content)),
        (Speaks::Sglang, "/load_lora_adapter") => Some(sglang_load(state, content)),
        (Speaks::Sglang, "/unload_lora_adapter") => {
            let name = content["lora_name"].as_str().unwrap_or_default();
            Some(match state.adapters.remove(name) {
                Some(_) => (200, json!({ "success": true, "error_message": null })),
                None => outcome(&format!("LoRA with name {name} does not exist. Loaded LoRAs: []")),
            })
        }
        (Speaks::Sglang, "/update_weights_from_disk") => {
            state.weights = content["model_path"].as_str().unwrap_or_default().into();
            let message = "Succeeded to update model weights.";
            Some((200, json!({ "success": true, "message": message, "num_paused_requests": 0 })))
        }
        _ => None,
    };
    found.unwrap_or_else(|| (404, json!({ "detail": "Not Found" })))
}

fn refused(status: u16, message: &str) -> (u16, Value) {
    (status, json!({ "error": { "message": message, "type": "BadRequestError", "code": status } }))
}

fn outcome(message: &str) -> (u16, Value) {
    (400, json!({ "success": false, "error_message": message, "loaded_adapters": null }))
}

fn models(state: &State) -> Value {
    let owner = if state.speaks == Speaks::Vllm { "vllm" } else { "sglang" };
    let names = [&state.model].into_iter().chain(state.adapters.keys());
    let data: Vec<_> =
        names.map(|name| json!({ "id": name, "object": "model", "owned_by": owner })).collect();
    json!({ "object": "list", "data": data })
}

fn vllm_load(state: &mut State, content: &Value) -> (u16, Value) {
    let (name, path) = (content["lora_name"].as_str(), content["lora_path"].as_str());
    let (Some(name), Some(path)) = (name, path) else {
        return refused(400, "Both 'lora_name' and 'lora_path' must be provided.");
    };
    if state.adapters.contains_key(name) {
        return refused(400, &format!("The lora adapter '{name}' has already been loaded."));
    }
    state.adapters.insert(name.into(), path.into());
    (200, json!(format!("Success: LoRA adapter '{name}' added successfully.")))
}

fn sglang_load(state: &mut State, content: &Value) -> (u16, Value) {
    let (name, path) = (content["lora_name"].as_str(), content["lora_path"].as_str());
    let (Some(name), Some(path)) = (name, path) else { return outcome("no name or no path") };
    if state.adapters.contains_key(name) {
        return outcome(&format!("LoRA with name {name} already exists."));
    }
    state.adapters.insert(name.into(), path.into());
    (200, json!({ "success": true, "error_message": null, "loaded_adapters": { name: path } }))
}

fn ids(list: &Value) -> Vec<u32> {
    serde_json::from_value(list.clone()).unwrap_or_default()
}

fn filter(params: &Value) -> Option<String> {
    let mut filters = UNFILTERED.iter().filter(|(name, off)| params[name].as_f64() != Some(*off));
    filters.next().map(|(name, _)| format!("`{name}` filters"))
}

fn hash(seed: u64, words: impl Iterator<Item = u64>) -> u64 {
    words.fold(seed ^ 0xcbf2_9ce4_8422_2325, |hash, word| {
        (hash ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(23).wrapping_mul(0x9e37_79b9_7f4a_7c15)
    })
}

/// Tokens and whether a stop token ended them. Adapters differ by what is after the last `-` of their names.
fn write(prompt: &[u32], seed: u64, weights: &str, most: u64, stop_ids: &[u32]) -> (Vec<u32>, bool) {
    let weights = weights.rsplit('-').next().unwrap_or_default().bytes().map(u64::from);
    let mut state = hash(seed, prompt.iter().map(|token| u64::from(*token)).chain(weights));
    let mut tokens = vec![first_token(prompt)];
    while (tokens.len() as u64) < most && !tokens.last().is_some_and(|last| stop_ids.contains(last)) {
        state = hash(state, [tokens.len() as u64].into_iter());
        let is_end = state >> 32 & 7 == 0;
        let token = if is_end { stop_ids.first().copied() } else { None };
        tokens.push(token.unwrap_or((state % VOCABULARY) as u32));
    }
    let is_finished = tokens.last().is_some_and(|last| stop_ids.contains(last));
    (tokens, is_finished)
}

fn vllm_completions(state: &State, content: &Value) -> (u16, Value) {
    let name = content["model"].as_str().unwrap_or_default();
    let weights = match state.adapters.contains_key(name) {
        true => name,
        false if name == state.model => &state.weights,
        false => return refused(404, &format!("The model `{name}` does not exist.")),
    };
    if let Some(filter) = filter(content) {
        return refused(400, &filter);
    }
    let is_greedy = content["temperature"].as_f64() == Some(0.0);
    let n = content["n"].as_u64().unwrap_or(1);
    if is_greedy && n > 1 {
        return refused(400, &format!("n must be 1 when using greedy sampling, got {n}."));
    }
    let mut stop_ids = ids(&content["stop_token_ids"]);
    if content["ignore_eos"] != true {
        stop_ids.push(EOS);
    }
    let most = content["max_tokens"].as_u64().unwrap_or(16);
    let seed = if is_greedy { 0 } else { content["seed"].as_u64().unwrap_or(0) };
    let mut choices = Vec::new();
    for prompt in content["prompt"].as_array().into_iter().flatten() {
        for sample in 0..n {
            let (tokens, is_finished) = write(&ids(prompt), seed + sample, weights, most, &stop_ids);
            let spelled: Vec<_> = tokens.iter().map(|token| format!("token_id:{token}")).collect();
            let logprobs: Vec<_> = tokens.iter().map(|token| logprob(*token)).collect();
            let stop_reason = tokens.last().filter(|_| is_finished);
            choices.push(json!({
                "index": choices.len(),
                "text": "",
                "logprobs": { "tokens": spelled, "token_logprobs": logprobs, "top_logprobs": [] },
                "finish_reason": if is_finished { "stop" } else { "length" },
                "stop_reason": stop_reason,
                "token_ids": tokens,
            }));
        }
    }
    (200, json!({ "id": "cmpl-1", "object": "text_completion", "model": name, "choices": choices }))
}

fn sglang_generate(state: &State, content: &Value) -> (u16, Value) {
    let weights = match content["lora_path"].as_str() {
        None => &state.weights,
        Some(name) if state.adapters.contains_key(name) => name,
        Some(name) => {
            return refused(400, &format!("The following requested LoRA adapters are not loaded: {name}"));
        }
    };
    let prompts = content["input_ids"].as_array().into_iter().flatten();
    let all_params = content["sampling_params"].as_array().into_iter().flatten();
    let mut answers = Vec::new();
    for (prompt, params) in prompts.zip(all_params) {
        if let Some(filter) = filter(params) {
            return refused(400, &filter);
        }
        let stop_ids = match params["ignore_eos"] == true {
            true => Vec::new(),
            false => [ids(&params["stop_token_ids"]), vec![EOS]].concat(),
        };
        let is_greedy = params["temperature"].as_f64() == Some(0.0);
        let seed = if is_greedy { 0 } else { params["sampling_seed"].as_u64().unwrap_or(0) };
        let most = params["max_new_tokens"].as_u64().unwrap_or(128);
        let (tokens, is_finished) = write(&ids(prompt), seed, weights, most, &stop_ids);
        let pairs: Vec<_> = tokens.iter().map(|token| json!([logprob(*token), token, null])).collect();
        let finish_reason = match is_finished {
            true => json!({ "type": "stop", "matched": tokens.last() }),
            false => json!({ "type": "length", "length": tokens.len() }),
        };
        let meta_info = json!({ "finish_reason": finish_reason, "output_token_logprobs": pairs });
        answers.push(json!({ "text": "", "output_ids": tokens, "meta_info": meta_info }));
    }
    (200, json!(answers))
}
