//! How reward models are trained: kinds of heads, validation, pairs, and trainings that are killed.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::{assert_success, failure, start_policy, tiny};

fn read(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn heads_of_several_kinds_are_chosen_and_calibrated_on_answers_kept_from_training() {
    let (_folder, start) = start_policy();
    let out = start.parent().unwrap();
    let heads = r#"reward_model.heads={honesty={kind="ordinal"},harmlessness={kind={smoothed_softmax={smoothing=0.1}},hidden_size=4}}"#;
    let validation = r#"reward_model.validation={share=0.4,eval_steps=1,early_stopping_patience=2,metric_for_best_model="mae",calibration="isotonic"}"#;
    let changes = [
        heads,
        validation,
        "reward_model.loss_aggregation=entropy_normalised",
        "reward_model.num_train_epochs=40.0",
        // So that there is nothing to gain and the second look is the last but one.
        "reward_model.optimizer.learning_rate=0.0",
    ];
    let fitted = tiny("reward fit", out, &changes).arg("--json").output().unwrap();
    assert_success(&fitted);
    let folder = out.join("reward-model");
    let objectives = read(&folder.join("objectives.json"));
    let kinds: Vec<&Value> =
        objectives["heads"].as_array().unwrap().iter().map(|head| &head["kind"]).collect();
    assert_eq!(
        kinds,
        [&json!("softmax"), &json!("ordinal"), &json!({"smoothed_softmax": {"smoothing": 0.1}})]
    );
    assert_eq!(objectives["heads"][1]["readout"]["cumulative"]["thresholds"].as_array().unwrap().len(), 4);
    for head in objectives["heads"].as_array().unwrap() {
        assert!(head["isotonic"]["knots"].is_array(), "{head}");
    }
    // Three looks: the first is the best, and two more did not improve on it.
    let log = std::fs::read_to_string(out.join("metrics/reward_model.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let looks: Vec<&Value> = lines.iter().filter(|line| line.get("validation").is_some()).collect();
    assert_eq!(looks.iter().map(|look| look["step"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(looks[0]["validation"]["mae"].as_f64().unwrap() > 0.0);
    assert!(
        lines.last().unwrap().get("validation").is_some()
            && !out.join("checkpoints").join("reward_model").exists()
    );

    // The last model is kept beside the best.
    let last = out.join("reward-model-last");
    assert_ne!(read(&last.join("objectives.json"))["golden"], Value::Null);
    assert_success(&tiny("reward fit", out, &[]).output().unwrap());
    assert!(!last.exists(), "one of an earlier try is none of this one");

    let wrong = |change: &str| failure(&tiny("reward fit", out, &[change]).output().unwrap(), 1);
    for (change, expected) in [
        ("reward_model.num_train_epochs=0.001", "num_train_epochs: 0.001, no step, expected a step at least"),
        (
            "reward_model.num_train_epochs=-1.0",
            "reward_model: num_train_epochs: -1, expected a finite number above 0",
        ),
        ("reward_model.save_steps=0", "reward_model: save_steps: 0, expected at least 1"),
        (
            "reward_model.validation={share=0.5,early_stopping_patience=2}",
            "validation.early_stopping_patience: 2, expected validation.eval_steps beside it",
        ),
        (
            r#"reward_model={head={kind={bradley_terry={}}},validation={share=0.5,eval_steps=1,metric_for_best_model="mae"}}"#,
            "reward_model",
        ),
    ] {
        let message = wrong(change);
        assert!(message.contains(expected), "{message}");
    }
    let message = wrong(r#"reward_model.heads={helpfullness={kind="ordinal"}}"#);
    assert!(
        message.contains("reward_model: heads: helpfullness, expected helpfulness, honesty"),
        "{message}"
    );
    let message = wrong("reward_model.head={kind={hl_gauss={sigma=0.0}}}");
    assert!(message.contains("reward_model: sigma: 0, expected a finite number above 0"), "{message}");
    let message = wrong("reward_model.validation={share=1.5}");
    assert!(message.contains("validation.share: 1.5, expected"), "{message}");
}

#[test]
fn a_training_that_is_killed_goes_on_and_ends_in_the_same_bytes() {
    let (_folder, start) = start_policy();
    let base = start.parent().unwrap();
    let changes = [
        "reward_model.num_train_epochs=30.0",
        "reward_model.save_steps=1",
        "reward_model.validation={share=0.2,eval_steps=3}",
    ];
    let copied = |name: &str| {
        let out = base.join(name);
        std::fs::create_dir(&out).unwrap();
        std::fs::create_dir(out.join("start")).unwrap();
        for file in std::fs::read_dir(&start).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), out.join("start").join(file.file_name())).unwrap();
        }
        out
    };
    let (straight, killed) = (copied("straight"), copied("killed"));
    assert_success(&tiny("reward fit", &straight, &changes).output().unwrap());
    let checkpoints = killed.join("checkpoints/reward_model");
    for round in 0..3 {
        let mut child = tiny("reward fit", &killed, &changes)
            .arg("--resume")
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while !checkpoints.join(format!("step-{:08}", 2 + 5 * round)).exists() {
            assert!(began.elapsed() < Duration::from_secs(60));
            assert!(child.try_wait().unwrap().is_none(), "it ended before it could be killed");
            std::thread::sleep(Duration::from_micros(200));
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let other = [&changes[..], &["reward_model.optimizer.learning_rate=0.5"]].concat();
    let message = failure(&tiny("reward fit", &killed, &other).arg("--resume").output().unwrap(), 1);
    assert!(
        message.contains("a checkpoint made with `reward_model.optimizer.learning_rate = ")
            && message.contains("--resume"),
        "{message}"
    );
    assert_success(&tiny("reward fit", &killed, &changes).arg("--resume").output().unwrap());
    for file in
        ["reward-model/model.safetensors", "reward-model/objectives.json", "metrics/reward_model.jsonl"]
    {
        let [a, b] = [&straight, &killed].map(|out| std::fs::read(out.join(file)).unwrap());
        assert!(a == b, "{file}");
    }
}

#[test]
fn a_bradley_terry_head_learns_from_pairs() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("pairs.jsonl");
    // Whether an answer says "plum" decides.
    let row = |n: usize| {
        let words = ["the food is", "it eats", "some say"][n % 3];
        let (chosen, rejected) = (format!("{words} plum {n} ."), format!("{words} stone {n} ."));
        json!({"prompt": format!("question {n} ?"), "chosen": chosen, "rejected": rejected, "objective": "good"})
    };
    let rows: String = (0..120).map(|n| format!("{}\n", row(n))).collect();
    std::fs::write(&data, rows).unwrap();
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "the food is plum and stone . it eats some say . ".repeat(20)).unwrap();
    let texts = format!("pretraining.files=[{:?}]", text.to_str().unwrap());
    let run = |head: &str, out: &str, texts: &str| {
        let head = format!("reward_model.head={{kind={head}}}");
        let data = format!("data.labeled={:?}", data.to_str().unwrap());
        let changes = [
            data.as_str(),
            r#"data.objectives=[{name="good",scale=[0,1]}]"#,
            &head,
            &head.replace("reward_model", "data.judge"),
        ];
        let mut command = crate::command(&["reward", "fit", "truthfulqa", "--quiet", "--json", "--out"]);
        command.arg(folder.path().join(out));
        for change in changes.iter().chain(&[
            "data.judge.num_train_epochs=1.0",
            "model.hidden_size=16",
            "model.intermediate_size=16",
            "model.num_hidden_layers=1",
            "model.num_attention_heads=2",
            "model.num_key_value_heads=2",
            r#"model.tokenizer="word""#,
            "reward_model.num_train_epochs=12.0",
            "reward_model.batch_size=8",
            "reward_model.optimizer.learning_rate=1e-2",
            "pretraining.window=8",
            texts,
        ]) {
            command.args(["--set", change]);
        }
        command.output().unwrap()
    };
    let fitted = run("{bradley_terry={}}", "pairs", &texts);
    assert_success(&fitted);
    let fitted: Value = serde_json::from_slice(&fitted.stdout).unwrap();
    let pairs = &fitted["good"]["pairs"];
    assert!(pairs["n"].as_u64().unwrap() > 5 && pairs["accuracy"].as_f64().unwrap() > 0.9, "{fitted}");
    assert_eq!(fitted["good"]["n"], 0);
    let message = failure(&run("\"softmax\"", "labels", &texts), 1);
    assert!(message.contains("data.pairs") && message.contains("bradley_terry"), "{message}");
    let message = failure(&run("{bradley_terry={}}", "texts", "pretraining.files=[]"), 1);
    assert!(message.contains("pretraining.files: no file"), "{message}");
}
