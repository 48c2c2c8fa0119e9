//! Rollouts from a server on this machine that speaks both protocols.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::fake_server::{EOS, FakeServer, Fault, Speaks, first_token, logprob};
use moslim::{Completion, RolloutServer, ServerConfig, ServerError, ServerKind};
use serde_json::{Value, json};

const STOP: [u32; 2] = [2, EOS];
const BOTH: [Speaks; 2] = [Speaks::Vllm, Speaks::Sglang];

fn config(server: &FakeServer) -> ServerConfig {
    let kind = match server.state().speaks {
        Speaks::Vllm => ServerKind::Vllm,
        Speaks::Sglang => ServerKind::Sglang,
    };
    ServerConfig {
        kind,
        base_url: server.url.clone(),
        model: "base".into(),
        adapter: "moslim-policy".into(),
        timeout_seconds: 20,
        retries: 1,
        api_key_env: None,
        rows_per_request: 3,
    }
}

fn start(speaks: Speaks) -> (FakeServer, RolloutServer) {
    let server = FakeServer::start(speaks, "base");
    let client = RolloutServer::connect(config(&server)).unwrap();
    (server, client)
}

fn generate(speaks: Speaks) -> &'static str {
    if speaks == Speaks::Vllm { "/v1/completions" } else { "/generate" }
}

/// Two samples of one prompt.
fn two(client: &RolloutServer) -> Result<Vec<Completion>, ServerError> {
    client.complete(&[vec![5, 6]], 2, 1.0, 6, &STOP, 3)
}

fn found(result: Result<impl Sized, ServerError>) -> String {
    result.err().unwrap().to_string()
}

#[test]
fn completions_come_in_order_and_end_as_they_say() {
    for speaks in BOTH {
        let (server, client) = start(speaks);
        // Twice the same prompt, more prompts than threads, and more samples than a request may hold.
        let mut prompts: Vec<Vec<u32>> = (0..70).map(|i| (0..=i % 5).map(|j| 7 * i + j).collect()).collect();
        prompts[69] = prompts[0].clone();
        let completions = client.complete(&prompts, 4, 1.0, 6, &STOP, 3).unwrap();
        assert_eq!(completions.len(), 280);
        for (row, completion) in completions.iter().enumerate() {
            let Completion { tokens, logprobs, finished } = completion;
            assert_eq!(tokens[0], first_token(&prompts[row / 4]), "{speaks:?} {row}");
            assert!(logprobs.iter().zip(tokens).all(|(found, token)| *found == logprob(*token)));
            assert_eq!(*finished, STOP.contains(tokens.last().unwrap()));
            assert!(*finished || tokens.len() == 6);
        }
        let n_finished = completions.iter().filter(|completion| completion.finished).count();
        assert!((50..230).contains(&n_finished), "{n_finished}");
        // No two rows share their random numbers, not even where prompts are equal.
        assert_ne!(completions[..4], completions[276..]);
        let samples: Vec<_> = completions.chunks(4).filter(|of_one| of_one[0] != of_one[1]).collect();
        assert!(samples.len() > 60, "{}", samples.len());

        assert_eq!(client.complete(&prompts, 4, 1.0, 6, &STOP, 3).unwrap(), completions);
        assert_ne!(client.complete(&prompts, 4, 1.0, 6, &STOP, 4).unwrap(), completions);
        let requests = server.requests(generate(speaks));
        let n_rows = |request: &Value| match speaks {
            Speaks::Vllm => {
                request["prompt"].as_array().unwrap().len() * request["n"].as_u64().unwrap() as usize
            }
            Speaks::Sglang => request["input_ids"].as_array().unwrap().len(),
        };
        assert!(requests.iter().all(|request| n_rows(request) <= 3));
        // 280 rows by threes, which with vLLM are three and one of each prompt.
        assert_eq!(requests.len(), 3 * if speaks == Speaks::Vllm { 140 } else { 94 });
    }
}

#[test]
fn the_likeliest_tokens_need_no_seed() {
    for speaks in BOTH {
        let (server, client) = start(speaks);
        let prompts = [vec![5], vec![6, 7]];
        let completions = client.complete(&prompts, 2, 0.0, 6, &STOP, 3).unwrap();
        assert_eq!(client.complete(&prompts, 2, 0.0, 6, &STOP, 9).unwrap(), completions);
        assert_eq!(completions[0], completions[1]);
        assert_eq!(completions[2].tokens[0], first_token(&[6, 7]));
        // Several prompts share a request: of three rows and of one.
        assert_eq!(server.requests(generate(speaks)).len(), 4);
    }
}

#[test]
fn nothing_to_write_asks_for_nothing() {
    let (server, client) = start(Speaks::Vllm);
    assert_eq!(client.complete(&[], 2, 1.0, 6, &STOP, 3).unwrap(), []);
    assert_eq!(client.complete(&[vec![1]], 0, 1.0, 6, &STOP, 3).unwrap(), []);
    assert_eq!(server.paths(), ["/health", "/v1/models"]);
    for temperature in [f64::NAN, f64::INFINITY, -1.0] {
        assert!(found(client.complete(&[vec![1]], 1, temperature, 6, &STOP, 3)).starts_with("temperature: "));
    }
}

#[test]
fn only_the_given_tokens_end_a_completion() {
    for speaks in BOTH {
        let (server, client) = start(speaks);
        let prompts = vec![vec![5, 6]; 200];
        let completions = client.complete(&prompts, 1, 1.0, 8, &[], 3).unwrap();
        assert!(completions.iter().all(|completion| completion.tokens.len() == 8 && !completion.finished));
        // The model's own end token is written, and ends nothing.
        assert!(completions.iter().any(|completion| completion.tokens[..7].contains(&EOS)));
        match (client.complete(&prompts, 1, 1.0, 8, &[2], 3), speaks) {
            (Ok(_), Speaks::Vllm) => {}
            // SGLang can't be told to ignore the model's end token and yet heed others.
            (Err(error), Speaks::Sglang) => {
                assert!(error.to_string().contains("found an end by 1, expected one of [2]"), "{error}");
            }
            (result, _) => panic!("{speaks:?}: {result:?}"),
        }
        drop(server);
    }
}

#[test]
fn an_adapter_is_loaded_before_the_old_one_is_unloaded() {
    for speaks in BOTH {
        let (server, mut client) = start(speaks);
        let base = two(&client).unwrap();
        client.push_adapter(Path::new("/shared/one")).unwrap();
        let first = server.adapters();
        let with_first = two(&client).unwrap();
        assert_ne!(with_first, base);
        client.push_adapter(Path::new("/shared/two")).unwrap();
        let second = server.adapters();
        assert_ne!(two(&client).unwrap(), with_first);

        let (load, unload) = match speaks {
            Speaks::Vllm => ("/v1/load_lora_adapter", "/v1/unload_lora_adapter"),
            Speaks::Sglang => ("/load_lora_adapter", "/unload_lora_adapter"),
        };
        let orders: Vec<_> = server.paths().into_iter().filter(|path| path.contains("lora")).collect();
        assert_eq!(orders, [load, load, unload]);
        let loaded = server.requests(load);
        let paths: Vec<_> = loaded.iter().map(|order| order["lora_path"].as_str().unwrap()).collect();
        assert_eq!(paths, ["/shared/one", "/shared/two"]);
        assert_eq!(server.requests(unload), [json!({ "lora_name": first[0] })]);
        assert_eq!((first.len(), second.len()), (1, 1));
        assert!(first[0].starts_with("moslim-policy-") && first[0].ends_with("-000001"), "{first:?}");
        assert!(second[0].ends_with("-000002"), "{second:?}");

        // Another process never takes a name again: the server may still cache what it wrote under it.
        let mut other = RolloutServer::connect(config(&server)).unwrap();
        other.push_adapter(Path::new("relative")).unwrap();
        let both = server.adapters();
        assert!(both.len() == 2 && both.contains(&second[0]) && !both.contains(&first[0]), "{both:?}");
        let told = server.requests(load)[2]["lora_path"].as_str().unwrap().to_owned();
        assert_eq!(Path::new(&told), std::env::current_dir().unwrap().join("relative"));
    }
}

#[test]
fn a_load_that_broke_off_leaves_nothing_behind() {
    for (speaks, load) in BOTH.into_iter().zip(["/v1/load_lora_adapter", "/load_lora_adapter"]) {
        let (server, mut client) = start(speaks);
        server.fail(load, [Fault::HangUp]);
        client.push_adapter(Path::new("/shared/one")).unwrap();
        let adapters = server.adapters();
        assert!(adapters.len() == 1 && adapters[0].ends_with("-000002"), "{adapters:?}");
        // The old one is gone already, as when the server made room: that is no error.
        server.state().adapters.clear();
        client.push_adapter(Path::new("/shared/two")).unwrap();
        two(&client).unwrap();
        // What is refused changes nothing.
        server.fail(load, [Fault::Status(400, r#"{"error": {"message": "rank 64 is too high"}}"#)]);
        let message = found(client.push_adapter(Path::new("/shared/three")));
        assert!(message.ends_with(&format!("{load}: status 400, rank 64 is too high")), "{message}");
        two(&client).unwrap();
    }
}

#[test]
fn an_old_adapter_that_stays_is_unloaded_with_the_next() {
    let (server, mut client) = start(Speaks::Sglang);
    client.push_adapter(Path::new("/shared/one")).unwrap();
    server.fail("/unload_lora_adapter", [Fault::Body(r#"{"success": false, "error_message": "busy"}"#)]);
    // The fault is only in what is said, so the adapter is put back.
    let kept = server.adapters();
    assert!(
        found(client.push_adapter(Path::new("/shared/two"))).contains("/unload_lora_adapter: refused, busy")
    );
    server.state().adapters.insert(kept[0].clone(), "/shared/one".into());
    two(&client).unwrap();
    client.push_adapter(Path::new("/shared/three")).unwrap();
    assert!(server.adapters().len() == 1 && server.adapters()[0].ends_with("-000003"));
}

#[test]
fn full_weights_are_for_sglang() {
    let (server, mut client) = start(Speaks::Sglang);
    let before = two(&client).unwrap();
    client.push_adapter(Path::new("/shared/one")).unwrap();
    client.push_weights(Path::new("/shared/whole")).unwrap();
    assert_eq!(server.state().weights, "/shared/whole");
    assert!(server.adapters().is_empty());
    assert_ne!(two(&client).unwrap(), before);
    server.fail(
        "/update_weights_from_disk",
        [Fault::Status(400, r#"{"success": false, "message": "no such"}"#)],
    );
    assert!(found(client.push_weights(Path::new("/shared/none"))).ends_with("status 400, no such"));

    let (_server, mut client) = start(Speaks::Vllm);
    let result = client.push_weights(Path::new("/shared/whole"));
    assert!(matches!(result, Err(ServerError::FullWeights)));
}

#[test]
fn a_vllm_without_runtime_adapters_is_named() {
    let (server, mut client) = start(Speaks::Vllm);
    server.state().takes_adapters = false;
    assert!(found(client.push_adapter(Path::new("/a"))).contains("VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"));
}

#[test]
fn the_server_is_looked_at_first() {
    let server = FakeServer::start(Speaks::Vllm, "base");
    let connect = |config| found(RolloutServer::connect(config));
    let right = config(&server);
    let url = format!("{}/v1/models", server.url);
    let message = connect(ServerConfig { model: "other".into(), ..right.clone() });
    assert_eq!(message, format!("{url}: found the models base, expected the model other"));
    let message = connect(ServerConfig { kind: ServerKind::Sglang, ..right.clone() });
    assert_eq!(message, format!("{url}: found a server of the kind vllm, expected sglang"));
    let message = connect(ServerConfig { timeout_seconds: 0, ..right.clone() });
    assert_eq!(message, "timeout_seconds: found `0`, expected at least 1");
    server.fail("/health", [Fault::Status(503, ""), Fault::Status(503, "")]);
    assert_eq!(connect(right.clone()), format!("{}/health: status 503, nothing", server.url));
    server.fail("/v1/models", [Fault::Body("{\"data\": []}")]);
    assert_eq!(connect(right.clone()), format!("{url}: found no model, expected the model base"));
    server.fail("/v1/models", [Fault::Body("<html>")]);
    assert!(connect(right.clone()).contains("in the answer <html>"));
    // As other clients are given the address.
    RolloutServer::connect(ServerConfig { base_url: format!("{}/v1/", server.url), ..right }).unwrap();
}

#[test]
fn a_key_is_read_from_the_environment() {
    let server = FakeServer::start(Speaks::Vllm, "base");
    // Cargo sets this for every test, so that no test has to change the environment.
    server.state().key = Some(std::env::var("CARGO_PKG_NAME").unwrap());
    let with_key = |variable: &str| ServerConfig { api_key_env: Some(variable.into()), ..config(&server) };
    let client = RolloutServer::connect(with_key("CARGO_PKG_NAME")).unwrap();
    two(&client).unwrap();
    assert!(!format!("{client:?}").contains("Bearer"));
    assert!(found(RolloutServer::connect(config(&server))).contains("/v1/models: status 401, Unauthorized"));
    let message = found(RolloutServer::connect(with_key("ROLLOUTKIT_NO_SUCH_KEY")));
    assert!(message.contains("`ROLLOUTKIT_NO_SUCH_KEY` is not set"), "{message}");
}

#[test]
fn what_may_pass_is_tried_again() {
    for speaks in BOTH {
        let (server, client) = start(speaks);
        let path = generate(speaks);
        let expected = two(&client).unwrap();
        for fault in [Fault::Status(500, r#"{"error": {"message": "out of memory"}}"#), Fault::HangUp] {
            server.fail(path, [fault]);
            assert_eq!(two(&client).unwrap(), expected);
        }
        let failing = || Fault::Status(503, r#"{"error": {"message": "out of memory"}}"#);
        server.fail(path, [failing(), failing()]);
        assert!(found(two(&client)).ends_with(&format!("{path}: status 503, out of memory")));
        // Four calls, of which the last three tried twice.
        assert_eq!(server.requests(path).len(), 7);
        server.fail(path, [Fault::Status(404, "not here"), failing()]);
        assert!(found(two(&client)).ends_with(&format!("{path}: status 404, not here")));
        assert_eq!(server.requests(path).len(), 8);
    }
}

#[test]
fn a_server_that_is_away_or_too_slow_is_said() {
    let server = FakeServer::start(Speaks::Vllm, "base");
    // A port that was free a moment ago.
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let away = ServerConfig { base_url: format!("http://{free}"), ..config(&server) };
    let started = Instant::now();
    let message = found(RolloutServer::connect(away));
    assert!(message.contains(&format!("http://{free}/health: ")) && message.contains("refused"), "{message}");
    assert!(started.elapsed() >= Duration::from_millis(200), "tried once only");

    let client = RolloutServer::connect(ServerConfig { timeout_seconds: 1, ..config(&server) }).unwrap();
    let expected = two(&client).unwrap();
    server.fail("/v1/completions", [Fault::Late(Duration::from_secs(3))]);
    assert_eq!(two(&client).unwrap(), expected, "the second try was in time");
    let late = || Fault::Late(Duration::from_secs(3));
    server.fail("/v1/completions", [late(), late()]);
    let message = found(two(&client));
    assert!(message.contains("/v1/completions: timeout"), "{message}");
}

/// What is wrong with an answer to `two` and how that is said.
type Wrong = (fn(&mut Value), &'static str);

#[test]
fn wrong_answers_of_vllm_are_said() {
    let (server, client) = start(Speaks::Vllm);
    let wrong: [Wrong; 9] = [
        (|answer| drop(answer["choices"].as_array_mut().unwrap().pop()), "found 1 completions, expected 2"),
        (|answer| answer["choices"][1]["index"] = json!(0), "completion 1: found index 0, expected index 1"),
        (
            |answer| {
                answer["choices"][0]["token_ids"] = json!(null);
                answer["choices"][0]["logprobs"]["tokens"] = json!(["a", "b"]);
            },
            "found no token ids in the answer, expected token_ids, from vLLM 0.10.2 or later, or tokens such as",
        ),
        (
            |answer| answer["choices"][0]["logprobs"] = json!(null),
            "found no log-probabilities, expected one per",
        ),
        (
            |answer| answer["choices"][0]["logprobs"]["token_logprobs"][0] = json!(null),
            "found log-probability None, expected a finite number",
        ),
        (
            |answer| answer["choices"][1]["token_ids"] = json!([9]),
            "log-probabilities, expected 1, one per token",
        ),
        (|answer| answer["choices"][1]["token_ids"] = json!([-9]), "expected u32"),
        (
            |answer| answer["choices"][1]["finish_reason"] = json!("abort"),
            "the end `abort`, expected `stop` or",
        ),
        (|answer| *answer = json!({ "error": "sorry" }), "missing field `choices`"),
    ];
    for (edit, expected) in wrong {
        server.fail("/v1/completions", [Fault::Edit(edit)]);
        let message = found(two(&client));
        assert!(message.contains("/v1/completions: ") && message.contains(expected), "{message}");
    }
    server.fail("/v1/completions", [Fault::Body("{\"choices\": [")]);
    let message = found(two(&client));
    assert!(
        message.contains("EOF while parsing") && message.contains("in the answer {\"choices\": ["),
        "{message}"
    );

    // Older versions have the ids in words only; some put the choices in another order.
    let expected = two(&client).unwrap();
    let edit: fn(&mut Value) = |answer| {
        let choices = answer["choices"].as_array_mut().unwrap();
        choices.reverse();
        choices.iter_mut().for_each(|choice| drop(choice.as_object_mut().unwrap().remove("token_ids")));
    };
    server.fail("/v1/completions", [Fault::Edit(edit)]);
    assert_eq!(two(&client).unwrap(), expected);
}

#[test]
fn wrong_answers_of_sglang_are_said() {
    let (server, client) = start(Speaks::Sglang);
    let wrong: [Wrong; 6] = [
        (|answer| drop(answer.as_array_mut().unwrap().pop()), "found 1 completions, expected 2"),
        (
            |answer| answer[1]["meta_info"]["output_token_logprobs"] = json!(null),
            "found no token ids in the answer, expected output_token_logprobs in meta_info",
        ),
        (|answer| answer[0]["meta_info"]["output_token_logprobs"][0][0] = json!(1e39), "number out of range"),
        (
            |answer| answer[1]["output_ids"] = json!([63]),
            "completion 1: found other output_ids than log-prob",
        ),
        (
            |answer| {
                answer[0]["meta_info"]["finish_reason"] = json!({ "type": "abort", "message": "no room" })
            },
            "found the end `abort, no room`",
        ),
        (|answer| *answer = json!({ "text": "one" }), "expected a sequence"),
    ];
    for (edit, expected) in wrong {
        server.fail("/generate", [Fault::Edit(edit)]);
        let message = found(two(&client));
        assert!(message.contains("/generate: ") && message.contains(expected), "{message}");
    }
}
