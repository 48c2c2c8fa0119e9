//! Wrong input and interrupted work: a clear message, an exit code, nothing half-written.

use std::path::Path;

use crate::{TINY, assert_success, command, failure, moslim, tiny};

#[test]
fn recipes_that_cannot_be_used() {
    let message = failure(&moslim(&["train", "nowhere.toml", "--quiet"]), 1);
    assert!(message.contains("nowhere.toml: No such file") && message.contains("quickstart"), "{message}");
    let folder = tempfile::tempdir().unwrap();
    let recipe = folder.path().join("recipe.toml");
    let printed = moslim(&["recipe", "quickstart"]);
    assert_success(&printed);
    let text = String::from_utf8(printed.stdout).unwrap().replace("max_steps", "max_step");
    std::fs::write(&recipe, text).unwrap();
    let message = failure(&moslim(&["train", recipe.to_str().unwrap(), "--quiet"]), 1);
    assert!(
        message.contains("unknown field `max_step`") && message.contains("did you mean `max_steps`?"),
        "{message}"
    );
    let message = failure(&moslim(&["recipe", "--set", "policy.training.num_generations=1"]), 1);
    assert!(message.contains("policy.training.num_generations: found 1, expected at least 2"), "{message}");
    for (change, expected) in [
        ("policy.unasked_coef=-0.1", "policy.unasked_coef: found -0.1, expected a number from 0 on"),
        ("policy.unasked_coef=nan", "policy.unasked_coef: found NaN"),
        (
            "policy.training.sampling.min_p=0.1",
            "policy.training.sampling.min_p: found 0.1, expected that of the whole",
        ),
        ("lora.r=0", "missing field `lora_alpha`"),
        (
            r#"lora={ r = 2, lora_alpha = 4, target_modules = "(" }"#,
            "lora: target_modules: found (, expected a pattern",
        ),
        (
            "lora={ r = 99999999, lora_alpha = 4, target_modules = [] }",
            "lora: r: found 99999999, expected 1..=",
        ),
        ("sft.precision=f16", "unknown variant `f16`, expected `f32` or `bf16`"),
    ] {
        let message = failure(&moslim(&["recipe", "--set", change]), 1);
        assert!(message.contains(expected), "{message}");
    }
    // More than a machine has is refused before any of it is taken.
    let out = folder.path().join("huge");
    let layers = ["model.hidden_size=65536", "model.intermediate_size=262144", "model.num_hidden_layers=100"];
    let message = failure(&tiny("train", &out, &layers).output().unwrap(), 1);
    assert!(message.contains("fine-tuning: needs 1") && message.contains("[lora]"), "{message}");
    // So is what the model was not made for, or does not have.
    for (changes, expected) in [
        (
            &["policy.training.sampling.max_new_tokens=2048"][..],
            "tokens, expected at most 2048, the model's max_position_embeddings",
        ),
        (
            &["lora.r=2", "lora.lora_alpha=4", r#"lora.target_modules=["query"]"#],
            r#"lora: target_modules: found ["query"], expected names of linear maps"#,
        ),
    ] {
        let out = folder.path().join("unfit");
        let message = failure(&tiny("train", &out, changes).output().unwrap(), 1);
        assert!(message.contains(expected), "{message}");
        assert!(!out.join("start").exists());
    }
    let message = failure(
        &moslim(&["train", "--device", "abacus", "--out", folder.path().to_str().unwrap(), "--overwrite"]),
        1,
    );
    assert!(message.contains("device `abacus`: expected"), "{message}");
}

#[test]
fn data_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let file = folder.path().join("answers.jsonl");
    let train = || {
        let labeled = format!("data.labeled={:?}", file.to_str().unwrap());
        let arguments = [
            "train",
            "truthfulqa",
            "--quiet",
            "--out",
            out.to_str().unwrap(),
            "--overwrite",
            "--set",
            &labeled,
        ];
        failure(&moslim(&arguments), 1)
    };
    assert!(train().contains("answers.jsonl: cannot open: No such file"), "{}", train());
    let good = r#"{"prompt": "a", "response": "b", "labels": {"truthful": 1}}"#;
    for (line, expected) in [
        ("", "answers.jsonl: "),
        (
            r#"{"prompt": "a", "response": "b", "labels": {"truthful": 7}}"#,
            "answers.jsonl:2: truthful: level 7, expected 0..=1",
        ),
        (r#"{"prompt": "a", "response": "b", "labels": {"wisdom": 1}}"#, "answers.jsonl:2: "),
        (r#"{"prompt": "a"}"#, "answers.jsonl:2: "),
        ("not json", "answers.jsonl:2: "),
    ] {
        let content = if line.is_empty() { String::new() } else { format!("{good}\n{line}\n") };
        std::fs::write(&file, content).unwrap();
        let message = train();
        assert!(message.contains(expected), "{line}: {message}");
    }
    let message = failure(&moslim(&["plan", "truthfulqa", "--set", "data.labeled=[]"]), 1);
    assert!(message.contains("data.labeled: no file, expected a file or several"), "{message}");
    // Nothing may be left of the data.
    let lines: String = (0..40).map(|i| good.replace("\"a\"", &format!("\"a{i}\"")) + "\n").collect();
    std::fs::write(&file, lines).unwrap();
    let arguments = ["train", "truthfulqa", "--quiet", "--out", out.to_str().unwrap(), "--overwrite"];
    let mut command = command(&arguments);
    let labeled = format!("data.labeled={:?}", file.to_str().unwrap());
    let text = format!("pretraining.files=[{:?}]", file.to_str().unwrap());
    for change in [&labeled, &text, "data.max_length=1", "pretraining.window=2", "model.hidden_size=8"] {
        command.args(["--set", change]);
    }
    let message = failure(&command.output().unwrap(), 1);
    assert!(
        message.contains("data.max_length: 1, expected more; every held-out answer is longer"),
        "{message}"
    );
    // One question cannot stand on both sides of a split.
    std::fs::write(&file, good).unwrap();
    assert!(train().contains("no question in the"), "{}", train());
    let message =
        failure(&tiny("train", &out, &["data.held_out_answers=0"]).arg("--overwrite").output().unwrap(), 1);
    assert!(message.contains("data.held_out_answers: 0, expected at least 1"), "{message}");
}

#[test]
fn folders_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    for (stage, expected) in [("rloo", "run `moslim sft`"), ("eval", "run `moslim sft`")] {
        let message = failure(&tiny(stage, &out, &[]).output().unwrap(), 1);
        assert!(message.contains(expected), "{message}");
    }
    assert_success(&tiny("sft", &out, &[]).output().unwrap());
    let message = failure(&tiny("rloo", &out, &[]).output().unwrap(), 1);
    assert!(message.contains("run `moslim reward fit`"), "{message}");
    let message = failure(&tiny("train", &out, &[]).output().unwrap(), 1);
    assert!(message.contains("--overwrite"), "{message}");

    let generate = |want: &str| {
        let model = out.join("start");
        moslim(&["generate", "--model", model.to_str().unwrap(), "--prompt", "its food ?", "--want", want])
    };
    assert_success(&generate("helpfulness=5"));
    assert!(failure(&generate("wisdom=5"), 1).contains("wisdom"));
    assert!(failure(&generate("helpfulness=7"), 1).contains("helpfulness: level 7, expected 1..=5"));
    std::fs::write(out.join("start/model.safetensors"), b"torn").unwrap();
    assert!(failure(&generate("helpfulness=5"), 1).contains("model.safetensors"));
    std::fs::remove_file(out.join("start/config.json")).unwrap();
    let message = failure(&generate("helpfulness=5"), 1);
    assert!(message.contains("config.json: No such file"));
    assert_eq!(message.matches("No such file").count(), 1, "{message}");
    let message = failure(&moslim(&["generate", "--model", "nowhere", "--prompt", "x"]), 1);
    assert!(message.contains("nowhere"), "{message}");
}

/// No file or folder of an unfinished write is left anywhere below.
fn assert_nothing_unfinished(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        // The lock is that of the run, not of a write.
        assert!(!name.starts_with('.') || name == ".lock", "{} was left behind", path.display());
        if path.is_dir() {
            assert_nothing_unfinished(&path);
        }
    }
}

/// A limit on file sizes stands in for a full disk: a write fails half-way in the same manner.
#[cfg(unix)]
#[test]
fn a_full_disk_leaves_no_half_written_model() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut changes = TINY.to_vec();
    changes.extend(["model.hidden_size=64", "sft.num_train_epochs=0.1"]);
    let sets = changes.iter().map(|change| format!("--set '{change}'")).collect::<Vec<_>>().join(" ");
    // Ignoring the signal turns the limit into an error of the write.
    let script = format!(
        "trap '' XFSZ; ulimit -f 64; exec {:?} sft quickstart --quiet --out {out:?} {sets}",
        env!("CARGO_BIN_EXE_moslim")
    );
    let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    let message = failure(&output, 1);
    // The last checkpoint is what is too large first.
    assert!(message.contains("checkpoints/sft/") && message.contains("File too large"), "{message}");
    assert!(!out.join("start").exists());
    assert_nothing_unfinished(&out);
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_the_run_cleanly() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // Long enough to be interrupted in the middle of the policy.
    let mut child =
        tiny("train", &out, &["policy.max_steps=4000"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let log = out.join("metrics/policy.jsonl");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(120);
    while std::fs::metadata(&log).map_or(0, |log| log.len()) == 0 {
        assert!(
            std::time::Instant::now() < deadline && child.try_wait().unwrap().is_none(),
            "the policy never started"
        );
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    let interrupt =
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let message = failure(&child.wait_with_output().unwrap(), 130);
    assert!(message.contains("interrupted during policy"), "{message}");
    assert!(out.join("reward-model/model.safetensors").exists());
    assert!(!out.join("policy").exists() && !out.join("report").exists());
    assert_nothing_unfinished(&out);
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(
        text.ends_with('\n')
            && text.lines().all(|line| serde_json::from_str::<serde_json::Value>(line).is_ok())
    );
}
