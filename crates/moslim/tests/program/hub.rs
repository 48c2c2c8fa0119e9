//! Models and data sets by name, from a server on this machine that speaks the hub's protocol.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Output;
use std::sync::{Arc, Mutex};

use crate::{assert_success, command, failure, start_policy};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const TOKEN: &str = "hf_secret";

/// What the server has and what happened to it.
#[derive(Default)]
struct Hub {
    files: BTreeMap<String, Vec<u8>>,
    /// Downloads that end in the middle before one succeeds.
    to_break: usize,
    /// Files with the first byte asked for.
    served: Vec<(String, usize)>,
}

/// Serves until the test ends; the model `owner/private` needs a token.
fn serve(hub: Arc<Mutex<Hub>>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let hub = hub.clone();
            // A client that goes away is no reason to stop.
            std::thread::spawn(move || stream.map(|stream| while answer(&stream, &hub).is_some() {}));
        }
    });
    format!("http://{address}")
}

/// Answers one request; `None` when the connection is over.
fn answer(mut stream: &TcpStream, hub: &Mutex<Hub>) -> Option<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next()?.ok()?;
    let headers: BTreeMap<String, String> = lines
        .map_while(|line| line.ok().filter(|line| !line.is_empty()))
        .filter_map(|line| line.split_once(": ").map(|(name, value)| (name.to_lowercase(), value.into())))
        .collect();
    let path = request.split(' ').nth(1)?;
    let mut hub = hub.lock().unwrap();
    if path.contains("owner/private") && headers.get("authorization") != Some(&format!("Bearer {TOKEN}")) {
        return reply(&mut stream, "401 Unauthorized", "", b"");
    }
    let is_known = ["/api/models/owner/", "/api/datasets/owner/"].iter().any(|known| path.starts_with(known));
    if is_known && path.ends_with("/revision/main") {
        let siblings: Vec<_> =
            hub.files.keys().map(|name| serde_json::json!({ "rfilename": name })).collect();
        let info = serde_json::json!({ "sha": COMMIT, "siblings": siblings });
        return reply(&mut stream, "200 OK", "", info.to_string().as_bytes());
    }
    let file = path.split_once(&format!("/resolve/{COMMIT}/")).map(|(_, file)| file.to_owned());
    let Some((file, bytes)) = file.and_then(|file| Some((file.clone(), hub.files.get(&file)?.clone())))
    else {
        return reply(&mut stream, "404 Not Found", "", b"");
    };
    let range = headers.get("range")?.strip_prefix("bytes=")?.split_once('-')?;
    let (start, end): (usize, Option<usize>) = (range.0.parse().ok()?, range.1.parse().ok());
    let end = end.map_or(bytes.len(), |last| last + 1);
    let more = format!(
        "etag: \"etag-of-{file}\"\r\nx-repo-commit: {COMMIT}\r\ncontent-range: bytes {start}-{}/{}\r\n",
        end - 1,
        bytes.len()
    );
    let asks_for_size = end == 1;
    if !asks_for_size {
        hub.served.push((file.clone(), start));
        if file == "model.safetensors" && hub.to_break > 0 {
            hub.to_break -= 1;
            let head =
                format!("HTTP/1.1 206 Partial Content\r\n{more}content-length: {}\r\n\r\n", end - start);
            stream.write_all(head.as_bytes()).ok()?;
            stream.write_all(&bytes[start..start + (end - start) / 2]).ok()?;
            stream.shutdown(std::net::Shutdown::Both).ok();
            return None;
        }
    }
    reply(&mut stream, "206 Partial Content", &more, &bytes[start..end])
}

fn reply(stream: &mut &TcpStream, status: &str, more: &str, body: &[u8]) -> Option<()> {
    let head = format!("HTTP/1.1 {status}\r\n{more}content-length: {}\r\n\r\n", body.len());
    stream.write_all(&[head.as_bytes(), body].concat()).ok()
}

fn generate(model: &str, endpoint: &str, home: &Path, environment: &[(&str, &str)]) -> Output {
    let question = ["--prompt", "its food ?", "--temperature", "0", "--max-new-tokens", "5"];
    command(&[&["generate", "--model", model], &question[..]].concat())
        .env_remove("HF_TOKEN")
        .env("HF_ENDPOINT", endpoint)
        .env("HF_HOME", home)
        .envs(environment.iter().copied())
        .output()
        .unwrap()
}

#[test]
fn a_model_is_fetched_once_resumed_where_it_broke_and_cached() {
    let (folder, model) = start_policy();
    let mut files = BTreeMap::new();
    for entry in std::fs::read_dir(&model).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        files.insert(name, std::fs::read(&path).unwrap());
    }
    files.insert("pytorch_model.bin".into(), b"never".to_vec());
    let size = files["model.safetensors"].len();
    let hub = Arc::new(Mutex::new(Hub { files, to_break: 2, ..Hub::default() }));
    let endpoint = serve(hub.clone());
    let local = generate(model.to_str().unwrap(), &endpoint, folder.path(), &[]);
    assert_success(&local);
    assert!(hub.lock().unwrap().served.is_empty(), "a folder needs no hub");

    let home = folder.path().join("home");
    let fetched = generate("owner/name", &endpoint, &home, &[]);
    assert_success(&fetched);
    assert_eq!(fetched.stdout, local.stdout);
    let served = std::mem::take(&mut hub.lock().unwrap().served);
    let of_weights: Vec<usize> =
        served.iter().filter(|(file, _)| file == "model.safetensors").map(|(_, start)| *start).collect();
    let half = size / 2;
    assert_eq!(of_weights, [0, half, half + (size - half) / 2]);
    assert!(served.iter().all(|(file, _)| file != "pytorch_model.bin"), "{served:?}");

    // What the cache holds is not fetched again, and offline the hub is not even asked.
    assert_eq!(generate("owner/name@main", &endpoint, &home, &[]).stdout, local.stdout);
    assert!(hub.lock().unwrap().served.is_empty());
    let offline = [("HF_HUB_OFFLINE", "1")];
    assert_eq!(generate("owner/name", "http://127.0.0.1:9", &home, &offline).stdout, local.stdout);
    let message = failure(&generate("owner/other", "http://127.0.0.1:9", &home, &offline), 1);
    assert!(message.contains("owner/other@main: no such folder; cache of the hub: not there"), "{message}");
}

#[test]
fn what_the_hub_refuses_is_said() {
    let home = tempfile::tempdir().unwrap();
    let files = BTreeMap::from([
        ("config.json".into(), b"{}".to_vec()),
        ("pytorch_model.bin".into(), b"never".to_vec()),
    ]);
    let endpoint = serve(Arc::new(Mutex::new(Hub { files, ..Hub::default() })));
    let message = |model: &str, environment: &[(&str, &str)]| {
        failure(&generate(model, &endpoint, home.path(), environment), 1)
    };
    let found = message("owner/name", &[]);
    assert!(
        found.contains("found config.json, pytorch_model.bin, expected config.json and model.safe"),
        "{found}"
    );
    assert!(message("owner/private", &[]).contains("401"));
    // The token opens what there is, and no more.
    assert!(message("owner/private", &[("HF_TOKEN", TOKEN)]).contains("pytorch_model.bin"));
    assert!(message("someone/else", &[]).contains("404"));
    let found = message("no/such/folder", &[]);
    assert!(
        found.contains("no/such/folder: no such folder, and not the name of a model on the hub"),
        "{found}"
    );
}

#[test]
fn a_data_set_is_fetched_by_its_name() {
    let home = tempfile::tempdir().unwrap();
    let row =
        |answer: &str| format!("{{\"prompt\": \"p\", \"completion\": \"{answer}\", \"label\": true}}\n");
    let files = BTreeMap::from([
        ("README.md".into(), b"a data set".to_vec()),
        ("data/train-0.jsonl".into(), row("a").into_bytes()),
        ("data/train-1.jsonl".into(), row("b").into_bytes()),
        ("data/test.jsonl".into(), (row("c") + "{\"prompt\": 3}\n").into_bytes()),
    ]);
    let hub = Arc::new(Mutex::new(Hub { files, ..Hub::default() }));
    let endpoint = serve(hub.clone());
    let validate = |name: &str, environment: &[(&str, &str)]| {
        command(&["data", "validate", name])
            .env("HF_ENDPOINT", &endpoint)
            .env("HF_HOME", home.path())
            .envs(environment.iter().copied())
            .output()
            .unwrap()
    };
    let whole = validate("hf://datasets/owner/name", &[]);
    assert_success(&whole);
    assert!(String::from_utf8_lossy(&whole.stdout).starts_with("2 answers to 1 prompts"));
    let served: Vec<String> = hub.lock().unwrap().served.iter().map(|(file, _)| file.clone()).collect();
    assert_eq!(served, ["data/train-0.jsonl", "data/train-1.jsonl"]);
    // What is wrong with a file is said of the file; what the cache has needs no hub.
    let message = failure(&validate("hf://datasets/owner/name/data/test.jsonl", &[]), 2);
    assert!(message.contains("data/test.jsonl:2: "), "{message}");
    let offline = [("HF_HUB_OFFLINE", "1"), ("HF_ENDPOINT", "http://127.0.0.1:9")];
    assert_success(&validate("hf://datasets/owner/name@main/data/train-1.jsonl", &offline));
    let message = failure(&validate("hf://datasets/owner/name/data/train-2.jsonl", &offline), 1);
    assert!(message.contains("hf://datasets/owner/name@main; cache of the hub: not there"), "{message}");
    assert!(failure(&validate("hf://datasets/owner/private", &[]), 1).contains("401"));
    assert!(failure(&validate("hf://datasets/owner", &[]), 1).contains("expected hf://datasets/owner/name"));
}
