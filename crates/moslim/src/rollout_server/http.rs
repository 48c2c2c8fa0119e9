//! Requests, and trying them again.

use std::thread;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderValue, Response};

use super::{IN_FLIGHT, ServerConfig, ServerError};

/// Waited before the first retry; doubled for each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// No answer is longer: a million tokens with log-probabilities take a tenth of it.
const MOST_BYTES: u64 = 1 << 30;

/// So many characters of what a server says are quoted.
const MOST_QUOTED: usize = 300;

/// A server behind an address.
pub struct Http {
    agent: Agent,
    base_url: String,
    authorization: Option<HeaderValue>,
    retries: usize,
}

impl Http {
    pub fn new(config: &ServerConfig) -> Result<Self, ServerError> {
        let authorization = config.api_key_env.as_ref().map(|variable| {
            let key = std::env::var(variable).ok();
            let header = key.and_then(|key| HeaderValue::from_str(&format!("Bearer {key}")).ok());
            header.ok_or_else(|| ServerError::ApiKey(variable.clone()))
        });
        let settings = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(config.timeout_seconds)))
            .http_status_as_error(false)
            // Both servers close a connection after five idle seconds, as their web server does by default.
            .max_idle_age(Duration::from_secs(2))
            .max_idle_connections(IN_FLIGHT)
            .max_idle_connections_per_host(IN_FLIGHT)
            .build();
        let base_url = config.base_url.trim_end_matches('/');
        Ok(Self {
            agent: settings.into(),
            base_url: base_url.strip_suffix("/v1").unwrap_or(base_url).into(),
            authorization: authorization.transpose()?,
            retries: config.retries,
        })
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    /// The body of an answer with a status of success.
    pub fn get(&self, path: &str) -> Result<String, ServerError> {
        let mut request = self.agent.get(self.url(path));
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        self.body(path, request.call())
    }

    /// The body of an answer with a status of success.
    pub fn post(&self, path: &str, content: &impl Serialize) -> Result<String, ServerError> {
        let mut request = self.agent.post(self.url(path)).content_type("application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("authorization", authorization);
        }
        let content = serde_json::to_vec(content).expect("numbers, words and lists are JSON");
        self.body(path, request.send(&content))
    }

    fn body(
        &self,
        path: &str,
        response: Result<Response<ureq::Body>, ureq::Error>,
    ) -> Result<String, ServerError> {
        let url = self.url(path);
        let read = response.and_then(|mut response| {
            let bytes = response.body_mut().with_config().limit(MOST_BYTES).read_to_vec()?;
            Ok((response.status(), String::from_utf8_lossy(&bytes).into_owned()))
        });
        match read {
            Ok((status, body)) if status.is_success() => Ok(body),
            Ok((status, body)) => {
                Err(ServerError::Status { url, status: status.as_u16(), message: message(&body) })
            }
            Err(source) => Err(ServerError::Unreachable { url, source: Box::new(source) }),
        }
    }

    /// Tries again, after longer and longer pauses, while the failure may pass.
    pub fn retried<T>(&self, mut attempt: impl FnMut() -> Result<T, ServerError>) -> Result<T, ServerError> {
        let mut pause = FIRST_PAUSE;
        for _ in 0..self.retries {
            match attempt() {
                Err(error) if error.is_passing() => thread::sleep(pause),
                result => return result,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        attempt()
    }

    /// The answer as what it should be.
    pub fn parsed<T: DeserializeOwned>(&self, path: &str, body: &str) -> Result<T, ServerError> {
        serde_json::from_str(body).map_err(|source| ServerError::Malformed {
            url: self.url(path),
            source,
            body: shortened(body),
        })
    }
}

/// What a server says in an answer that is not a success: the words if they can be found, else all of it.
pub fn message(body: &str) -> String {
    let words = serde_json::from_str::<Value>(body).ok().and_then(|answer| {
        let places = ["/error/message", "/error_message", "/message", "/detail", "/error"];
        let mut words = places.iter().filter_map(|place| answer.pointer(place)?.as_str());
        words.next().map(shortened)
    });
    words.unwrap_or_else(|| shortened(body))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_QUOTED) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None if text.is_empty() => "nothing".into(),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_found_in_every_form() {
        for body in [
            r#"{"error": {"message": "too long", "code": 400}}"#,
            r#"{"object": "error", "message": "too long"}"#,
            r#"{"success": false, "error_message": "too long"}"#,
            r#"{"detail": "too long"}"#,
            r#"{"error": "too long"}"#,
            "too long",
        ] {
            assert_eq!(message(body), "too long", "{body}");
        }
        assert_eq!(message(""), "nothing");
        assert_eq!(message(r#"{"detail": [1]}"#), r#"{"detail": [1]}"#);
        assert_eq!(message(&"é".repeat(400)), "é".repeat(300) + "…");
    }
}
