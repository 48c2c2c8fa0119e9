//! What both servers' answers must hold.

use serde::Deserialize;
use serde_json::Value;

use super::http::Http;
use super::{Completion, Sampling, ServerConfig, ServerError, ServerKind};

const MODELS: &str = "/v1/models";

/// A completion as the server says it.
pub struct RawCompletion {
    pub tokens: Vec<u32>,
    pub logprobs: Vec<Option<f32>>,
    /// Why it ended: `stop`, `length` or something that must not be.
    pub reason: String,
    /// The token or the word by which it ended, where the server says it.
    pub stop: Option<Value>,
}

/// A completion that is what was asked for.
pub fn checked(
    url: &str,
    row: usize,
    raw: RawCompletion,
    sampling: &Sampling,
) -> Result<Completion, ServerError> {
    let wrong = |found, expected| ServerError::Answer { url: url.into(), row, found, expected };
    let RawCompletion { mut tokens, logprobs, reason, stop } = raw;
    if logprobs.len() != tokens.len() {
        let found = format!("{} log-probabilities", logprobs.len());
        return Err(wrong(found, format!("{}, one per token", tokens.len())));
    }
    if let Some(logprob) = logprobs.iter().find(|logprob| !logprob.is_some_and(f32::is_finite)) {
        return Err(wrong(format!("log-probability {logprob:?}"), "a finite number".into()));
    }
    let mut logprobs: Vec<f32> = logprobs.into_iter().flatten().collect();

    let is_stop = |token: &u32| sampling.stop_ids.contains(token);
    match reason.as_str() {
        "length" => {}
        "stop" => {
            let left_out = left_out(&tokens, stop.as_ref(), sampling.stop_ids)
                .map_err(|found| wrong(found, format!("one of {:?}", sampling.stop_ids)))?;
            if let Some(token) = left_out {
                tokens.push(token);
                logprobs.push(f32::NAN);
            }
        }
        other => return Err(wrong(format!("the end `{other}`"), "`stop` or `length`".into())),
    }
    let Some((last, before)) = tokens.split_last() else {
        return Err(wrong("no token".into(), "at least one".into()));
    };
    if let Some(place) = before.iter().position(is_stop) {
        let found = format!("stop token {} at {place} of {}", before[place], tokens.len());
        return Err(wrong(found, "a stop token at the end only".into()));
    }
    if tokens.len() > sampling.max_new_tokens {
        return Err(wrong(
            format!("{} tokens", tokens.len()),
            format!("at most {}", sampling.max_new_tokens),
        ));
    }
    Ok(Completion { finished: is_stop(last), tokens, logprobs })
}

/// The stop token that ended the completion, if it is not among its tokens; an error says by what it ended instead.
fn left_out(tokens: &[u32], stop: Option<&Value>, stop_ids: &[u32]) -> Result<Option<u32>, String> {
    let last = tokens.last().filter(|last| stop_ids.contains(last));
    let named = match stop {
        None => None,
        Some(stop) => {
            let token = stop.as_u64().and_then(|token| u32::try_from(token).ok());
            let token = token.filter(|token| stop_ids.contains(token));
            Some(token.ok_or_else(|| format!("an end by {stop}"))?)
        }
    };
    match (last, named, stop_ids) {
        (Some(last), Some(named), _) if *last == named => Ok(None),
        (_, Some(named), _) => Ok(Some(named)),
        (Some(_), None, _) => Ok(None),
        (None, None, [only]) => Ok(Some(*only)),
        (None, None, _) => Err(format!("an unnamed end after token {:?}", tokens.last())),
    }
}

#[derive(Deserialize)]
struct Models {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
    owned_by: Option<String>,
}

/// Looks for the model, and for the other kind of server, which signs its models.
pub fn check_models(http: &Http, config: &ServerConfig) -> Result<(), ServerError> {
    let body = http.retried(|| http.get(MODELS))?;
    let models: Models = http.parsed(MODELS, &body)?;
    let url = http.url(MODELS);
    let (name, other) = match config.kind {
        ServerKind::Vllm => ("vllm", "sglang"),
        ServerKind::Sglang => ("sglang", "vllm"),
    };
    let wrong = |found, expected| Err(ServerError::Model { url: url.clone(), found, expected });
    if models.data.iter().any(|model| model.owned_by.as_deref() == Some(other)) {
        return wrong(format!("a server of the kind {other}"), name.into());
    }
    if models.data.iter().all(|model| model.id != config.model) {
        let ids: Vec<_> = models.data.into_iter().map(|model| model.id).collect();
        let found = if ids.is_empty() { "no model".into() } else { format!("the models {}", ids.join(", ")) };
        return wrong(found, format!("the model {}", config.model));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(tokens: &[u32], reason: &str, stop: Value, stop_ids: &[u32]) -> Result<Completion, String> {
        let logprobs = tokens.iter().map(|token| Some(-(*token as f32))).collect();
        let stop = Some(stop).filter(|stop| !stop.is_null());
        let raw = RawCompletion { tokens: tokens.into(), logprobs, reason: reason.into(), stop };
        let sampling = Sampling { temperature: 1.0, max_new_tokens: 3, stop_ids };
        checked("u", 5, raw, &sampling).map_err(|error| error.to_string())
    }

    #[test]
    fn the_end_is_found_or_appended() {
        let whole = Completion { tokens: vec![7, 2], logprobs: vec![-7.0, -2.0], finished: true };
        for (reason, stop) in [("stop", json!(2)), ("stop", json!(null)), ("length", json!(null))] {
            assert_eq!(check(&[7, 2], reason, stop, &[2, 3]).unwrap(), whole);
        }
        assert!(!check(&[7, 8, 9], "length", json!(null), &[2]).unwrap().finished);
        for (stop, stop_ids) in [(json!(2), &[2, 3][..]), (json!(null), &[2])] {
            let appended = check(&[7], "stop", stop, stop_ids).unwrap();
            assert_eq!((appended.tokens, appended.finished), (vec![7, 2], true));
            assert!(appended.logprobs[0] == -7.0 && appended.logprobs[1].is_nan());
        }
        assert_eq!(check(&[], "stop", json!(2), &[2]).unwrap().tokens, [2]);
    }

    #[test]
    fn a_wrong_end_is_said() {
        let cases = [
            (
                &[7][..],
                "stop",
                json!(null),
                &[2, 3][..],
                "an unnamed end after token Some(7), expected one of [2, 3]",
            ),
            (&[7], "stop", json!(null), &[], "an unnamed end after token Some(7), expected one of []"),
            (&[7], "stop", json!("END"), &[2], "an end by \"END\", expected one of [2]"),
            (&[7, 4], "stop", json!(4), &[2], "an end by 4, expected one of [2]"),
            (&[7, 4], "stop", json!(-1), &[2], "an end by -1, expected one of [2]"),
            (
                &[2, 4],
                "length",
                json!(null),
                &[2],
                "stop token 2 at 0 of 2, expected a stop token at the end only",
            ),
            (&[7, 8, 9, 7], "length", json!(null), &[2], "4 tokens, expected at most 3"),
            (&[7, 8, 9], "stop", json!(2), &[2], "4 tokens, expected at most 3"),
            (&[], "length", json!(null), &[2], "no token, expected at least one"),
            (&[7], "abort", json!(null), &[2], "the end `abort`, expected `stop` or `length`"),
        ];
        for (tokens, reason, stop, stop_ids, found) in cases {
            let error = check(tokens, reason, stop, stop_ids).unwrap_err();
            assert_eq!(error, format!("u: completion 5: found {found}"));
        }
    }

    #[test]
    fn logprobs_are_finite_and_as_many_as_tokens() {
        let check = |logprobs: &[Option<f32>]| {
            let (tokens, logprobs) = (vec![7, 8], logprobs.to_vec());
            let raw = RawCompletion { tokens, logprobs, reason: "length".into(), stop: None };
            let sampling = Sampling { temperature: 1.0, max_new_tokens: 2, stop_ids: &[] };
            checked("u", 0, raw, &sampling).map(|_| ()).map_err(|error| error.to_string())
        };
        assert_eq!(check(&[Some(-1.0), Some(0.0)]), Ok(()));
        assert!(check(&[Some(-1.0)]).unwrap_err().contains("found 1 log-probabilities, expected 2"));
        assert!(check(&[Some(-1.0), None]).unwrap_err().contains("found log-probability None"));
        assert!(check(&[Some(-1.0), Some(f32::NEG_INFINITY)]).unwrap_err().contains("finite"));
    }
}
