//! A server on this machine that speaks vLLM's and SGLang's protocols, without a model.
//!
//! What it writes depends on the prompt, the seed and the weights in use: the first token tells the prompt, the rest is
//! a hash of all three.

mod protocol;

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use serde_json::Value;

pub use protocol::{EOS, first_token, logprob};

/// Which protocol the server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Vllm,
    Sglang,
}

/// What goes wrong once.
pub enum Fault {
    /// The request is not looked at.
    Status(u16, &'static str),
    /// The request is carried out, and this is answered instead.
    Body(&'static str),
    /// The request is carried out, and the answer changed on its way.
    Edit(fn(&mut Value)),
    /// The request is carried out after this time.
    Late(Duration),
    /// The request is carried out, and the connection closed without an answer.
    HangUp,
}

/// What the server has and what happened to it.
pub struct State {
    pub speaks: Speaks,
    pub model: String,
    /// The key that every request but that for health must bring.
    pub key: Option<String>,
    /// Whether there are addresses for adapters at all.
    pub takes_adapters: bool,
    /// Paths of loaded adapters by their names.
    pub adapters: BTreeMap<String, String>,
    /// Where the base model's weights came from.
    pub weights: String,
    /// Paths and contents of all requests so far.
    pub requests: Vec<(String, Value)>,
    /// By path.
    faults: BTreeMap<&'static str, VecDeque<Fault>>,
}

/// Serves until the test ends.
pub struct FakeServer {
    pub url: String,
    state: Arc<Mutex<State>>,
}

impl FakeServer {
    pub fn start(speaks: Speaks, model: &str) -> Self {
        let state = Arc::new(Mutex::new(State {
            speaks,
            model: model.into(),
            key: None,
            takes_adapters: true,
            adapters: BTreeMap::new(),
            weights: "base".into(),
            requests: Vec::new(),
            faults: BTreeMap::new(),
        }));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let state = shared.clone();
                // A client that goes away is no reason to stop.
                thread::spawn(move || stream.map(|stream| while answer(&stream, &state).is_some() {}));
            }
        });
        Self { url, state }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// The next requests to this path meet these, one each.
    pub fn fail(&self, path: &'static str, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.entry(path).or_default().extend(faults);
    }

    /// Contents of the requests to this path.
    pub fn requests(&self, path: &str) -> Vec<Value> {
        let state = self.state();
        let here = state.requests.iter().filter(|(requested, _)| requested == path);
        here.map(|(_, content)| content.clone()).collect()
    }

    /// Paths of the requests so far.
    pub fn paths(&self) -> Vec<String> {
        self.state().requests.iter().map(|(path, _)| path.clone()).collect()
    }

    /// Names of the adapters that are loaded.
    pub fn adapters(&self) -> Vec<String> {
        self.state().adapters.keys().cloned().collect()
    }
}

/// Answers one request; `None` when the connection is over.
fn answer(mut stream: &TcpStream, state: &Mutex<State>) -> Option<()> {
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    reader.read_line(&mut request).ok().filter(|n_bytes| *n_bytes > 0)?;
    let path = request.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_lowercase(), value.trim().to_owned());
    }
    let n_bytes = headers.get("content-length").map_or(Some(0), |length| length.parse().ok())?;
    let mut content = vec![0; n_bytes];
    reader.read_exact(&mut content).ok()?;
    let content = serde_json::from_slice(&content).unwrap_or(Value::Null);

    let mut state = state.lock().unwrap();
    state.requests.push((path.clone(), content.clone()));
    let fault = state.faults.get_mut(path.as_str()).and_then(VecDeque::pop_front);
    if let Some(Fault::Late(time)) = fault {
        drop(state);
        thread::sleep(time);
        return reply(&mut stream, 200, "{}");
    }
    let expected = state.key.as_ref().map(|key| format!("Bearer {key}"));
    let is_known =
        path == "/health" || expected.is_none() || headers.get("authorization") == expected.as_ref();
    if !is_known {
        return reply(&mut stream, 401, r#"{"error": "Unauthorized"}"#);
    }
    if let Some(Fault::Status(status, body)) = fault {
        return reply(&mut stream, status, body);
    }
    let (status, mut body) = protocol::answer(&mut state, &path, &content);
    drop(state);
    match fault {
        Some(Fault::HangUp) => {
            stream.shutdown(std::net::Shutdown::Both).ok();
            None
        }
        Some(Fault::Body(text)) => reply(&mut stream, status, text),
        Some(Fault::Edit(edit)) => {
            edit(&mut body);
            reply(&mut stream, status, &body.to_string())
        }
        _ => match body {
            Value::String(text) => reply(&mut stream, status, &text),
            body => reply(&mut stream, status, &body.to_string()),
        },
    }
}

fn reply(stream: &mut &TcpStream, status: u16, body: &str) -> Option<()> {
    let head = format!("HTTP/1.1 {status} Whatever\r\ncontent-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).ok()
}
