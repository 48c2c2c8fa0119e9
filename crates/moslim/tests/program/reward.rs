//! Reward models alone.

use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::{assert_success, command, failure, moslim, tiny};

#[test]
fn a_reward_model_is_trained_measured_and_asked() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let fitted = tiny("reward fit", &out, &[]).arg("--json").output().unwrap();
    assert_success(&fitted);
    let fitted: Value = serde_json::from_slice(&fitted.stdout).unwrap();
    for (objective, n_levels) in [("helpfulness", 5), ("honesty", 5), ("harmlessness", 2)] {
        let head = &fitted[objective];
        assert_eq!(head["n"], 60);
        for measure in ["intensity_accuracy", "balanced_accuracy", "majority", "mae", "kappa", "ece"] {
            assert!(head[measure].is_number(), "{objective}: {measure}");
        }
        assert_eq!(head["recall_by_level"].as_array().unwrap().len(), n_levels);
    }

    // Three answers of which two have labels, for one of the heads.
    let data = folder.path().join("some.jsonl");
    let rows = [
        json!({"prompt": "its food ?", "response": "plum .", "labels": {"helpfulness": 1}}),
        json!({"prompt": "its food ?", "response": "the food is plum .", "labels": {"helpfulness": 5}}),
        json!({"prompt": "its food ?", "response": "", "labels": {}}),
    ];
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    std::fs::write(&data, text).unwrap();
    let model = out.join("reward-model");
    let [model, data] = [&model, &data].map(|path| path.to_str().unwrap());
    let eval =
        |more: &[&str]| moslim(&[&["reward", "eval", "--model", model, "--data", data], more].concat());
    let measured = eval(&["--json", "--resamples", "10"]);
    assert_success(&measured);
    let measured: Value = serde_json::from_slice(&measured.stdout).unwrap();
    assert_eq!((&measured["helpfulness"]["n"], &measured["honesty"]["n"]), (&json!(2), &json!(0)));
    assert_eq!(measured["honesty"]["kappa"], Value::Null);
    let table = String::from_utf8(eval(&[]).stdout).unwrap();
    assert!(table.contains("helpfulness") && table.contains("balanced"), "{table}");

    let score = |input: &str, more: &[&str]| {
        let mut child = command(&[&["reward", "score", "--model", model], more].concat())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    // What else a line says stays; the batches do not matter.
    let turns = json!([{"role": "user", "content": "its food ?"}]);
    let input = format!(
        "{}\n\n{}\n{}\n",
        json!({"id": 7, "prompt": "its food ?", "response": "plum .", "levels": "old"}),
        json!({"prompt": turns, "response": "plum ."}),
        json!({"prompt": "its food ?", "response": ""}),
    );
    let scored = score(&input, &[]);
    assert_success(&scored);
    assert_eq!(score(&input, &["--batch-size", "1"]).stdout, scored.stdout);
    let scored = String::from_utf8(scored.stdout).unwrap();
    let lines: Vec<Value> = scored.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0]["id"], 7);
    let probabilities = |line: &Value, objective: &str| -> Vec<f64> {
        serde_json::from_value(line["levels"][objective].clone()).unwrap()
    };
    for (objective, n_levels) in [("helpfulness", 5), ("harmlessness", 2)] {
        let head = probabilities(&lines[0], objective);
        assert_eq!(head.len(), n_levels);
        assert!((head.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{head:?}");
        assert_eq!(probabilities(&lines[1], objective), head, "one turn is the question itself");
        assert_ne!(probabilities(&lines[2], objective), head);
    }

    for (line, expected) in [
        ("{}", "standard input:1: missing field `prompt`"),
        ("[1]", "standard input:1: [1], expected an object"),
        (r#"{"prompt": "p", "response": 3}"#, "standard input:1: response: 3, expected a text"),
        (r#"{"prompt": 3, "response": "r"}"#, "standard input:1: prompt: 3, expected a text or a list"),
        ("\n{", "standard input:2: EOF while parsing"),
    ] {
        let message = failure(&score(line, &[]), 1);
        assert!(message.contains(expected), "{message}");
    }
    // What is too long is named by its line, and what stands before it is scored.
    let short = json!({"prompt": "its food ?", "response": "plum ."}).to_string();
    let long = json!({"prompt": "its food ?", "response": "plum ".repeat(3000)}).to_string();
    let refused = score(&format!("{short}\n\n{short}\n{long}\n{short}\n"), &[]);
    let message = failure(&refused, 1);
    assert!(
        message.contains("standard input:4: answer 1: ") && message.contains("expected at most"),
        "{message}"
    );
    assert_eq!(String::from_utf8(refused.stdout).unwrap().lines().count(), 2);
    // The folder of the run instead of the model's.
    let message = failure(&moslim(&["reward", "eval", "--model", out.to_str().unwrap(), "--data", data]), 1);
    assert!(message.contains("the folder of a run, expected that of a model, such as"), "{message}");

    let unlabelled = data.replace("some", "none");
    std::fs::write(&unlabelled, r#"{"prompt": "p", "response": "r", "labels": {}}"#).unwrap();
    let message = failure(&moslim(&["reward", "eval", "--model", model, "--data", &unlabelled]), 1);
    assert!(
        message.contains("no label and no pair for helpfulness, honesty, harmlessness, expected some"),
        "{message}"
    );
}
