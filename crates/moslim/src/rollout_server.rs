//! A server that writes rollouts for policy optimisation: vLLM or SGLang.
//!
//! The server samples with the policy's own distribution: every filter and penalty that its model card may have
//! switched on is named and switched off in each request.
//! Each row has random numbers of its own, also where two prompts are equal.
//! SGLang honours seeds only with `--enable-deterministic-inference`; without, its samples are independent but not
//! repeatable.

mod answer;
mod error;
mod http;
mod sglang;
mod vllm;

use std::fmt;
use std::ops::Range;
use std::panic::resume_unwind;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

pub use error::ServerError;
use http::Http;

/// Requests under way at once; the server batches what they hold.
const IN_FLIGHT: usize = 64;

/// Which server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerKind {
    /// vLLM's `/v1/completions`.
    ///
    /// Adapters need `--enable-lora`, `VLLM_ALLOW_RUNTIME_LORA_UPDATING=True` and one API server process.
    Vllm,
    /// SGLang's `/generate`.
    Sglang,
}

/// Where the server is and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Which server speaks.
    pub kind: ServerKind,
    /// Such as `http://localhost:8000`; a `/v1` at the end is left out.
    pub base_url: String,
    /// Name of the base model there.
    pub model: String,
    /// Start of the names under which adapters are loaded.
    #[serde(default = "default_adapter")]
    pub adapter: String,
    /// The longest that one request may take, answer included.
    pub timeout_seconds: u64,
    /// Tried again so often when the server can't be reached, is too slow or says 5xx.
    pub retries: usize,
    /// Name of the environment variable that holds the API key.
    #[serde(default)]
    pub api_key_env: Option<String>,
    /// At most so many completions are asked for by one request.
    ///
    /// vLLM has one seed per request, so there a sampling request never holds more than one prompt.
    pub rows_per_request: usize,
}

fn default_adapter() -> String {
    "moslim-policy".into()
}

impl ServerConfig {
    /// Whether the values make sense; the server is not asked.
    pub fn check(&self) -> Result<(), ServerError> {
        let is_url = ["http://", "https://"].iter().any(|scheme| self.base_url.starts_with(scheme));
        let wrong = |field, found: String, expected| Err(ServerError::Config { field, found, expected });
        match self {
            _ if !is_url => wrong("base_url", self.base_url.clone(), "http:// or https:// and a host"),
            _ if self.model.is_empty() => wrong("model", String::new(), "the name of the base model"),
            _ if self.adapter.is_empty() => wrong("adapter", String::new(), "a name"),
            _ if self.timeout_seconds == 0 => wrong("timeout_seconds", "0".into(), "at least 1"),
            _ if self.rows_per_request == 0 => wrong("rows_per_request", "0".into(), "at least 1"),
            _ => Ok(()),
        }
    }
}

/// What the server wrote after a prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// Never empty; the stop token included if it ended by one.
    pub tokens: Vec<u32>,
    /// One per token, as the server counts them: vLLM before the temperature by default, SGLang after it.
    ///
    /// The last is NaN where the server left out the stop token, so it has to be computed again.
    pub logprobs: Vec<f32>,
    /// Ended by a stop token rather than by length.
    pub finished: bool,
}

/// What all rows of a rollout have in common.
struct Sampling<'a> {
    temperature: f64,
    max_new_tokens: usize,
    stop_ids: &'a [u32],
}

impl Sampling<'_> {
    /// Below this temperature vLLM takes the likeliest tokens, and then several samples of a prompt are an error.
    fn is_greedy(&self) -> bool {
        self.temperature < 1e-5
    }
}

/// Filters and penalties, all off: named, because the model's own `generation_config.json` (vLLM) or a server's
/// `--preferred-sampling-params` (SGLang) may switch them on.
#[derive(Serialize)]
struct Unfiltered {
    top_p: f64,
    top_k: i64,
    min_p: f64,
    repetition_penalty: f64,
    presence_penalty: f64,
    frequency_penalty: f64,
}

const UNFILTERED: Unfiltered = Unfiltered {
    top_p: 1.0,
    top_k: -1,
    min_p: 0.0,
    repetition_penalty: 1.0,
    presence_penalty: 0.0,
    frequency_penalty: 0.0,
};

/// A connection to a server that writes rollouts.
///
/// ```no_run
/// use std::path::Path;
///
/// use moslim::{RolloutServer, ServerConfig, ServerKind};
///
/// let mut server = RolloutServer::connect(ServerConfig {
///     kind: ServerKind::Vllm,
///     base_url: "http://localhost:8000".into(),
///     model: "HuggingFaceTB/SmolLM2-135M".into(),
///     adapter: "moslim-policy".into(),
///     timeout_seconds: 600,
///     retries: 3,
///     api_key_env: None,
///     rows_per_request: 64,
/// })?;
/// server.push_adapter(Path::new("/shared/run/adapter-12"))?;
/// let completions = server.complete(&[vec![1, 2, 3]], 4, 1.0, 256, &[2], 7)?;
/// assert_eq!(completions.len(), 4);
/// # Ok::<(), moslim::ServerError>(())
/// ```
pub struct RolloutServer {
    config: ServerConfig,
    http: Http,
    /// Sets this process's adapters apart from those of earlier ones, whose prefixes the server may still cache.
    process: u32,
    /// Adapters that were loaded, or tried to be.
    n_adapters: usize,
    adapter: Option<String>,
    /// Perhaps loaded, and no longer wanted.
    stale_adapters: Vec<String>,
}

impl fmt::Debug for RolloutServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RolloutServer");
        shown.field("config", &self.config).field("adapter", &self.adapter).finish_non_exhaustive()
    }
}

impl RolloutServer {
    /// Looks whether the server is healthy, of the right kind, and serves the model.
    pub fn connect(config: ServerConfig) -> Result<Self, ServerError> {
        config.check()?;
        let http = Http::new(&config)?;
        http.retried(|| http.get("/health"))?;
        answer::check_models(&http, &config)?;
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let process = mixed(since_1970.as_nanos() as u64, std::process::id() as usize) as u32;
        Ok(Self { config, http, process, n_adapters: 0, adapter: None, stale_adapters: Vec::new() })
    }

    /// Lets an adapter write from now on, in place of the one before.
    ///
    /// `folder` holds it in PEFT's format, under the same path on the server's machine.
    /// It is loaded under a name that was never used, because prefixes are cached by the adapter's name, and only
    /// then is the one before unloaded.
    /// An error of the unloading leaves the new adapter in use; the old one is unloaded with the next.
    /// The last one stays loaded when the connection ends.
    pub fn push_adapter(&mut self, folder: &Path) -> Result<(), ServerError> {
        let folder = server_path(folder)?;
        let (http, kind) = (&self.http, self.config.kind);
        let name = http.retried(|| {
            // A load that was cut off may still have happened, so its name is not tried again.
            self.n_adapters += 1;
            let name = format!("{}-{:08x}-{:06}", self.config.adapter, self.process, self.n_adapters);
            self.stale_adapters.push(name.clone());
            match kind {
                ServerKind::Vllm => vllm::load_adapter(http, &name, &folder)?,
                ServerKind::Sglang => sglang::load_adapter(http, &name, &folder)?,
            }
            Ok(name)
        })?;
        self.stale_adapters.retain(|stale| *stale != name);
        self.stale_adapters.extend(self.adapter.replace(name));
        self.unload_stale_adapters()
    }

    /// Replaces all weights of the base model by those in `folder`, a path on the server's machine; SGLang only.
    ///
    /// An adapter that was pushed before is no longer used.
    pub fn push_weights(&mut self, folder: &Path) -> Result<(), ServerError> {
        let folder = server_path(folder)?;
        match self.config.kind {
            ServerKind::Vllm => return Err(ServerError::FullWeights),
            ServerKind::Sglang => self.http.retried(|| sglang::load_weights(&self.http, &folder))?,
        }
        self.stale_adapters.extend(self.adapter.take());
        self.unload_stale_adapters()
    }

    fn unload_stale_adapters(&mut self) -> Result<(), ServerError> {
        while let Some(name) = self.stale_adapters.first() {
            self.http.retried(|| match self.config.kind {
                ServerKind::Vllm => vllm::unload_adapter(&self.http, name),
                ServerKind::Sglang => sglang::unload_adapter(&self.http, name),
            })?;
            self.stale_adapters.remove(0);
        }
        Ok(())
    }

    /// Samples of one prompt together, in the order of the prompts; a temperature of 0 takes the likeliest tokens.
    ///
    /// A completion ends after one of `stop_ids` or after `max_new_tokens`.
    /// SGLang also ends after the model's own end tokens, so `stop_ids` must hold these there; a completion that ends
    /// by any other token is an error.
    pub fn complete(
        &self,
        prompts: &[Vec<u32>],
        n_samples: usize,
        temperature: f64,
        max_new_tokens: usize,
        stop_ids: &[u32],
        seed: u64,
    ) -> Result<Vec<Completion>, ServerError> {
        if !(temperature.is_finite() && temperature >= 0.0) {
            return Err(ServerError::Temperature(temperature));
        }
        let sampling = Sampling { temperature, max_new_tokens, stop_ids };
        let adapter = self.adapter.as_deref();
        let n_rows = prompts.len() * n_samples;
        let is_sampled_by_vllm = self.config.kind == ServerKind::Vllm && !sampling.is_greedy();
        let group = if is_sampled_by_vllm { n_samples } else { n_rows };
        in_parallel(&requests(n_rows, group, self.config.rows_per_request), |rows| {
            let row_prompts: Vec<&[u32]> =
                rows.clone().map(|row| prompts[row / n_samples].as_slice()).collect();
            self.http.retried(|| match self.config.kind {
                ServerKind::Vllm => {
                    let model = adapter.unwrap_or(&self.config.model);
                    let seed = mixed(seed, rows.start);
                    vllm::complete(&self.http, model, &row_prompts, &sampling, seed)
                }
                ServerKind::Sglang => {
                    let seeds: Vec<u64> = rows.clone().map(|row| mixed(seed, row)).collect();
                    sglang::complete(&self.http, adapter, &row_prompts, &sampling, &seeds)
                }
            })
        })
    }
}

/// A folder as the server is told it: it may run in another folder.
fn server_path(folder: &Path) -> Result<String, ServerError> {
    let path = std::path::absolute(folder)
        .map_err(|source| ServerError::Folder { folder: folder.to_owned(), source: Some(source) })?;
    let utf8 = path.into_os_string().into_string();
    utf8.map_err(|_| ServerError::Folder { folder: folder.to_owned(), source: None })
}

/// Cuts rows into requests of at most `most` rows that never reach from one group into the next.
fn requests(n_rows: usize, group: usize, most: usize) -> Vec<Range<usize>> {
    let starts = (0..n_rows).step_by(group.max(1));
    let cut = |start: usize| {
        let end = (start + group).min(n_rows);
        (start..end).step_by(most).map(move |start| start..(start + most).min(end))
    };
    starts.flat_map(cut).collect()
}

/// A seed for one row: of 52 bits, so that JSON numbers hold it and vLLM can count up from it.
///
/// This is SplitMix64 ([Steele et al. 2014]).
///
/// [Steele et al. 2014]: https://doi.org/10.1145/2660193.2660195
fn mixed(seed: u64, row: usize) -> u64 {
    let state = seed.wrapping_add((row as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (state ^ (state >> 31)) >> 12
}

/// Does the work for all ranges from a few threads; the first error ends it.
fn in_parallel<T: Send>(
    ranges: &[Range<usize>],
    work: impl Fn(&Range<usize>) -> Result<Vec<T>, ServerError> + Sync,
) -> Result<Vec<T>, ServerError> {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut done = Vec::new();
        while let Some((index, range)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|index| Some((index, ranges.get(index)?)))
        {
            let result = work(range);
            if result.is_err() {
                next.store(ranges.len(), Ordering::Relaxed);
            }
            done.push((index, result));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let workers: Vec<_> = (0..ranges.len().min(IN_FLIGHT)).map(|_| scope.spawn(worker)).collect();
        let results =
            workers.into_iter().flat_map(|worker| worker.join().unwrap_or_else(|e| resume_unwind(e)));
        results.collect::<Vec<_>>()
    });
    done.sort_by_key(|(index, _)| *index);
    let mut all = Vec::new();
    for (_, result) in done {
        all.extend(result?);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_stay_within_a_group() {
        assert_eq!(requests(6, 3, 2), [0..2, 2..3, 3..5, 5..6]);
        assert_eq!(requests(6, 3, 8), [0..3, 3..6]);
        assert_eq!(requests(6, 6, 4), [0..4, 4..6]);
        assert!(requests(0, 0, 4).is_empty());
    }

    #[test]
    fn seeds_are_those_of_splitmix64() {
        // The first two outputs of the generator with state 0, as published with it.
        assert_eq!(mixed(0, 0), 0xe220_a839_7b1d_cdaf >> 12);
        assert_eq!(mixed(0, 1), 0x6e78_9e6a_a1b9_65f4 >> 12);
    }

    #[test]
    fn work_comes_back_in_order_and_stops_at_an_error() {
        let ranges = requests(1000, 1000, 3);
        let all = in_parallel(&ranges, |range| Ok(range.clone().collect())).unwrap();
        assert_eq!(all, (0..1000).collect::<Vec<_>>());
        let failing = |range: &Range<usize>| match range.start {
            300 => Err(ServerError::FullWeights),
            _ => Ok(vec![0]),
        };
        assert!(matches!(in_parallel(&ranges, failing), Err(ServerError::FullWeights)));
    }

    #[test]
    fn a_run_file_may_leave_out_the_adapter() {
        let text = r#"{"kind": "sglang", "base_url": "http://host:1", "model": "m", "timeout_seconds": 9,
            "retries": 2, "rows_per_request": 16}"#;
        let config: ServerConfig = serde_json::from_str(text).unwrap();
        assert_eq!((config.kind, config.adapter.as_str()), (ServerKind::Sglang, "moslim-policy"));
        config.check().unwrap();
        let found = ServerConfig { base_url: "host:1".into(), ..config.clone() }.check().unwrap_err();
        assert_eq!(found.to_string(), "base_url: found `host:1`, expected http:// or https:// and a host");
        assert!(ServerConfig { rows_per_request: 0, ..config }.check().is_err());
        assert!(serde_json::from_str::<ServerConfig>(&text.replace("retries", "retires")).is_err());
    }
}
