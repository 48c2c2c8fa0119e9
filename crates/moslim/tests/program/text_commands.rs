//! Commands that print text, on a model folder that is no policy of ours.

use std::io::Write;
use std::path::Path;
use std::process::Stdio;

use moslim_lm::{LoraConfig, ModelFolder, TargetModules};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use crate::{assert_success, command, failure, moslim, start_policy};

#[test]
fn any_model_folder_is_continued_and_read() {
    let (folder, model) = start_policy();
    std::fs::remove_file(model.join("request.json")).unwrap();
    let path = model.to_str().unwrap();

    let generate = |more: &[&str]| {
        let fixed = ["generate", "--model", path, "--prompt", "its food ?", "--temperature", "0"];
        moslim(&[&fixed, more].concat())
    };
    let answer = generate(&["--max-new-tokens", "5"]);
    assert_success(&answer);
    assert_eq!(String::from_utf8(answer.stdout.clone()).unwrap().lines().count(), 1);
    let message = failure(&generate(&["--want", "helpfulness=5"]), 1);
    assert!(message.contains("it has no request.json"), "{message}");
    let message = failure(&generate(&["--max-new-tokens", "5000"]), 1);
    assert!(message.contains("expected at most the model's 2048"), "{message}");

    // A new adapter changes nothing; one of another model is refused.
    let lm = ModelFolder::read(&model, &moslim::device("flex").unwrap()).unwrap();
    let config = LoraConfig::new(2, 4.0, TargetModules::Names(vec!["q_proj".into()]));
    let adapted =
        lm.model.with_adapter(&config, &mut ChaCha8Rng::seed_from_u64(0), Path::new("test")).unwrap();
    let adapter = folder.path().join("adapter");
    std::fs::create_dir(&adapter).unwrap();
    config.write_adapter_into(&adapter, &adapted).unwrap();
    let adapter_path = adapter.to_str().unwrap();
    let with_adapter = ["--max-new-tokens", "5", "--adapter", adapter_path];
    assert_eq!(generate(&with_adapter).stdout, answer.stdout);
    let config = std::fs::read_to_string(adapter.join("adapter_config.json")).unwrap();
    std::fs::write(adapter.join("adapter_config.json"), config.replace("q_proj", "v_proj")).unwrap();
    let message = failure(&generate(&with_adapter), 1);
    assert!(message.contains("missing base_model.model.model.layers.0.self_attn.v_proj.lora_"), "{message}");

    let logprobs = |text: &str| moslim(&["logprobs", "--model", path, "--text", text, "--json"]);
    let output = logprobs("its food is plum .");
    assert_success(&output);
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["ids"].as_array().unwrap().len(), 5);
    let values = found["logprobs"].as_array().unwrap();
    assert!(values.len() == 4 && values.iter().all(|value| value.as_f64().unwrap() < 0.0), "{found}");
    assert!(failure(&logprobs(""), 1).contains("--text: 0 tokens, expected 2 to"));
}

#[test]
fn a_conversation_is_answered_line_by_line() {
    let (_folder, model) = start_policy();
    let path = model.to_str().unwrap();
    let common = ["--model", path, "--temperature", "0", "--max-new-tokens", "8"];
    let chat = |more: &[&str], input: &str| {
        let mut child = command(&[&["chat"], &common[..], more].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let generate = |more: &[&str]| {
        let output = moslim(&[&["generate", "--prompt", "its food ?"], &common[..], more].concat());
        assert_success(&output);
        String::from_utf8(output.stdout).unwrap()
    };
    let [plain, asked] = [generate(&[]), generate(&["--want", "helpfulness=5"])];

    let output =
        chat(&["--single-turn"], "its food ?\n/want helpfulness=5\n\nits food ?\n/quit\nits food ?\n");
    assert_success(&output);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{plain}{asked}"));
    // Levels that do not exist end a program that was started with them, and are refused in a conversation.
    let output = chat(&["--single-turn"], "/want helpfulness=9\nits food ?");
    assert_success(&output);
    assert_eq!(String::from_utf8(output.stdout).unwrap(), plain);
    assert!(String::from_utf8(output.stderr).unwrap().contains("helpfulness: level 9, expected 1..=5"));
    assert!(failure(&chat(&["--want", "helpfulness=9"], ""), 1).contains("level 9"));

    // Where all turns do not fit, the oldest go; one that does not fit by itself is an error.
    let config = model.join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    let set = |n: usize| {
        let text =
            text.replace("\"max_position_embeddings\": 2048", &format!("\"max_position_embeddings\": {n}"));
        std::fs::write(&config, text).unwrap();
    };
    set(16);
    let output = chat(&[], "its food ?\nits food ?\nits food ?\n");
    assert_success(&output);
    assert!(String::from_utf8(output.stderr).unwrap().contains("the oldest turn is forgotten"));
    assert!(String::from_utf8(output.stdout).unwrap().starts_with(&plain));
    let output = chat(&["--single-turn"], "its food ?\nits food ?\nits food ?\n");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), plain.repeat(3));
    assert!(!String::from_utf8(output.stderr).unwrap().contains("forgotten"));
    set(10);
    assert!(failure(&chat(&[], "its food ?\n"), 1).contains("expected at most the model's 10"));

    // The text that ends an answer is not part of it.
    set(2048);
    let word = plain.split_whitespace().nth(1).unwrap_or("nothing");
    let cut = generate(&["--stop", word]);
    assert_eq!(cut.trim_end_matches('\n'), plain[..plain.find(word).unwrap()].trim_end_matches('\n'));
    let refused = moslim(&[&["generate", "--prompt", "x", "--min-p", "2"], &common[..]].concat());
    assert!(failure(&refused, 1).contains("--min-p: found 2, expected from 0 to 1"));
}
