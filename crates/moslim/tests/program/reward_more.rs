//! What a reward model knows of itself, and what it can still learn: uncertainty, explanations, adapters, further objectives.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use moslim_testbed::{LabelOptions, MissingPattern, Split, World, WorldKind};
use serde_json::{Value, json};

use crate::{assert_success, command, failure, start_policy, tiny};

const ANSWER: [&str; 4] =
    ["--prompt", "we ask for the age of koro .", "--response", "surely its age is nine ."];

/// A reward model in the folder of a start policy, trained with these changes.
fn fitted(start: &Path, changes: &[&str]) -> PathBuf {
    let out = start.parent().unwrap();
    assert_success(&tiny("reward fit", out, changes).output().unwrap());
    out.join("reward-model")
}

fn reward(arguments: &[&str], model: &Path) -> Command {
    let mut command = command(&["reward"]);
    command.args(arguments).arg("--model").arg(model);
    command
}

fn json_of(output: &Output) -> Value {
    assert_success(output);
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What `score` writes for one answer.
fn scored(mut score: Command, answer: &str) -> Output {
    let mut child =
        score.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let line = json!({"prompt": "we ask for the age of koro .", "response": answer}).to_string();
    child.stdin.take().unwrap().write_all(line.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn an_explanation_adds_up_to_the_score() {
    let (_folder, start) = start_policy();
    let model = fitted(&start, &["reward_model.uncertainty={laplace={draws=8}}"]);
    let want = ["--want", "helpfulness=4,harmlessness=1"];
    let explain = |more: &[&str]| reward(&[&["explain"], &ANSWER[..], &want, more].concat(), &model);
    let found = json_of(&explain(&["--json"]).output().unwrap());
    let number = |value: &Value| value.as_f64().unwrap();
    let heads = found["heads"].as_array().unwrap();
    // By hand from the probabilities: p[t] − |E − t| / (K − 1), the mean over the two that are asked for.
    let term = |head: usize, target: usize| {
        let p: Vec<f64> = heads[head]["probabilities"].as_array().unwrap().iter().map(number).collect();
        let expected: f64 = p.iter().enumerate().map(|(level, p)| level as f64 * p).sum();
        p[target] - (expected - target as f64).abs() / (p.len() - 1) as f64
    };
    let expected = [term(0, 3), term(2, 1)];
    assert!((number(&heads[0]["term"]) - expected[0]).abs() < 1e-9, "{found}");
    assert!(heads[1]["term"].is_null() && heads[1]["asked"].is_null());
    assert!((number(&found["score"]) - (expected[0] + expected[1]) / 2.0).abs() < 1e-9, "{found}");
    // And the probabilities are the softmax of the outputs.
    let outputs: Vec<f64> = heads[2]["outputs"].as_array().unwrap().iter().map(number).collect();
    let p = 1.0 / (1.0 + (outputs[0] - outputs[1]).exp());
    assert!((number(&heads[2]["probabilities"][1]) - p).abs() < 1e-9, "{found}");
    assert_eq!(found["opinions"]["scores"].as_array().unwrap().len(), 8);
    assert!(number(&found["opinions"]["deviation"]) > 0.0 && number(&heads[2]["output_deviations"][0]) > 0.0);

    // Another mapping, and pessimism.
    let pessimistic =
        ["--mapping", "quickstart", "--set", "mapping.pessimism={mean_minus_deviation={k=2.0}}"];
    let enabled = ["--set", "reward_model.uncertainty={laplace={}}"];
    let other = json_of(&explain(&[&["--json"], &pessimistic[..], &enabled].concat()).output().unwrap());
    let opinions = &other["opinions"];
    let expected = number(&opinions["mean"]) - 2.0 * number(&opinions["deviation"]);
    assert!((number(&other["score"]) - expected).abs() < 1e-9, "{other}");
    let text =
        String::from_utf8(explain(&[&pessimistic[..], &enabled].concat()).output().unwrap().stdout).unwrap();
    for part in
        ["helpfulness (softmax", "not asked for", "p[t] - |E - t|", "8 opinions", "reward ", "mask_sum"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }

    let wrong =
        reward(&[&["explain"], &ANSWER[..], &["--want", "kindness=3"]].concat(), &model).output().unwrap();
    let message = failure(&wrong, 1);
    assert!(message.contains("--want") && message.contains("kindness"), "{message}");
}

#[test]
fn ensembles_give_opinions_and_pessimistic_policies_use_them() {
    let (_folder, start) = start_policy();
    let out = start.parent().unwrap();
    for uncertainty in ["head_ensemble={members=3}", "model_ensemble={members=2}"] {
        let changes = [
            &format!("reward_model.uncertainty={{{uncertainty}}}"),
            "mapping.pessimism=\"worst_case\"",
            "reward_model.num_train_epochs=3.0",
        ];
        let model = fitted(&start, &changes);
        let read = scored(reward(&["score", "--uncertainty"], &model), "surely its age is nine .");
        let line = json_of(&read);
        for objective in ["helpfulness", "honesty", "harmlessness"] {
            assert!(line["deviations"][objective].as_f64().unwrap() > 0.0, "{line}");
        }
        assert_success(&tiny("rloo", out, &changes).output().unwrap());
    }

    let page = out.join("page.html");
    let data = labelled(out, |levels| json!({"harmlessness": levels[2].to_string()}));
    let mut eval = reward(&["eval", "--resamples", "10"], &out.join("reward-model"));
    assert_success(&eval.arg("--html").arg(&page).arg("--data").arg(data).output().unwrap());
    let page = std::fs::read_to_string(page).unwrap();
    for part in
        ["harmlessness: risk by coverage", "by opinions", "Accuracy by confidence", "label and level named"]
    {
        assert!(page.contains(part), "{part}");
    }

    // Who asks for opinions where there are none is told so, before anything is trained.
    let message = failure(&tiny("rloo", out, &["mapping.pessimism=\"worst_case\""]).output().unwrap(), 1);
    assert!(
        message.contains("mapping.pessimism") && message.contains("reward_model.uncertainty"),
        "{message}"
    );
    let message = failure(
        &tiny("reward fit", out, &["reward_model.uncertainty={laplace={draws=3}}"]).output().unwrap(),
        1,
    );
    assert!(message.contains("uncertainty.draws: 3, expected an even number"), "{message}");
    let plain = fitted(&start, &[]);
    let message = failure(&scored(reward(&["score", "--uncertainty"], &plain), "its age is nine ."), 1);
    assert!(message.contains("no uncertainty"), "{message}");
    let pessimistic = ["mapping.pessimism=\"worst_case\"", "reward_model.uncertainty={laplace={}}"];
    let message = failure(&tiny("rloo", out, &pessimistic).output().unwrap(), 1);
    assert!(message.contains("no opinions but the model's own"), "{message}");
}

/// Answers of the testbed with other labels, as a file.
fn labelled(folder: &Path, labels: impl Fn(&[usize]) -> Value) -> PathBuf {
    let world = World::new(WorldKind::Local, 0);
    let options = LabelOptions { noise: 0.0, missing: MissingPattern::NOTHING };
    let records = world.labeled(Split::Train, 120, 9, &options).unwrap();
    let lines = records.iter().map(|record| {
        let levels: Vec<usize> = record.levels.iter().map(|level| level.unwrap()).collect();
        let line =
            json!({"prompt": record.prompt.question, "response": record.response, "labels": labels(&levels)});
        format!("{line}\n")
    });
    let path = folder.join("labelled.jsonl");
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    path
}

#[test]
fn a_trained_model_learns_another_objective_and_keeps_its_own() {
    let (_folder, start) = start_policy();
    let out = start.parent().unwrap();
    let old = fitted(
        &start,
        &["reward_model.num_train_epochs=4.0", "reward_model.heads={honesty={kind=\"ordinal\"}}"],
    );
    let data = labelled(out, |levels| json!({"kindness": u8::from(levels[0] + levels[1] > 4).to_string()}));
    let labelled = format!("data.labeled={:?}", data.to_str().unwrap());
    let add = |name: &str, objectives: &str, more: &[&str], flags: &[&str]| {
        let mut command = command(&["reward", "add-objective", "truthfulqa", "--quiet", "--json", "--out"]);
        command.arg(out.join(name)).arg("--model").arg(&old).args(flags);
        let objectives = format!("data.objectives={objectives}");
        let epochs = "reward_model.num_train_epochs=8.0";
        for change in [&[&labelled, objectives.as_str(), "pretraining.files=[]", epochs], more].concat() {
            command.args(["--set", change]);
        }
        command.output().unwrap()
    };
    let kindness = r#"[{name="kindness",scale=[0,1]}]"#;
    let frozen =
        json_of(&add("frozen", kindness, &["reward_model.backbone=\"frozen\""], &["--without-rehearsal"]));
    assert_eq!(frozen["kindness"]["n"].as_u64().map(|n| n > 5), Some(true), "{frozen}");
    for objective in ["helpfulness", "honesty", "harmlessness"] {
        assert_eq!(frozen[objective]["agreement"], 1.0, "{frozen}");
    }
    let [rehearsed, free] =
        [("rehearsed", &[][..]), ("free", &["--without-rehearsal"][..])].map(|(name, flags)| {
            json_of(&add(name, kindness, &["reward_model.optimizer.learning_rate=1e-2"], flags))
        });
    let agreement = |found: &Value| {
        let of = |name: &&str| found[*name]["agreement"].as_f64().unwrap();
        ["helpfulness", "honesty", "harmlessness"].iter().map(of).sum::<f64>() / 3.0
    };
    assert!(agreement(&rehearsed) > agreement(&free), "{rehearsed} {free}");
    let file = std::fs::read_to_string(out.join("rehearsed/reward-model/objectives.json")).unwrap();
    let file: Value = serde_json::from_str(&file).unwrap();
    assert_eq!(file["objectives"].as_array().unwrap().len(), 4);
    assert_eq!(
        (&file["heads"][1]["kind"], &file["heads"][3]["kind"]),
        (&json!("ordinal"), &json!("softmax"))
    );

    let into_itself = command(&["reward", "add-objective", "truthfulqa", "--quiet", "--out"])
        .arg(out)
        .arg("--model")
        .arg(&old)
        .args([
            "--set",
            &labelled,
            "--set",
            &format!("data.objectives={kindness}"),
            "--set",
            "pretraining.files=[]",
        ])
        .output()
        .unwrap();
    let message = failure(&into_itself, 1);
    assert!(message.contains("which the run would replace, expected another --out"), "{message}");

    let message = failure(&add("none", r#"[{name="harmlessness",scale=[0,1]}]"#, &[], &[]), 1);
    assert!(message.contains("labelled.jsonl:1") && message.contains("kindness"), "{message}");
    let renamed = std::fs::read_to_string(&data).unwrap().replace("kindness", "helpfulness");
    std::fs::write(&data, renamed).unwrap();
    let message = failure(&add("levels", r#"[{name="helpfulness",scale=[0,1]}]"#, &[], &[]), 1);
    assert!(
        message.contains("data.objectives: helpfulness: levels 0, 1, expected 1, 2, 3, 4, 5"),
        "{message}"
    );
}

#[test]
fn an_adapter_keeps_its_heads() {
    let (_folder, start) = start_policy();
    let lora = [
        "lora={r=4,lora_alpha=8.0,target_modules=\"all-linear\"}",
        "reward_model.optimizer.learning_rate=1e-2",
        "reward_model.heads={honesty={kind=\"ordinal\"},harmlessness={kind=\"softmax\",hidden_size=4}}",
        "reward_model.uncertainty={laplace={}}",
    ];
    let merged = fitted(&start, &lora);
    let adapter = merged.with_file_name("reward-model-adapter");
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(adapter.join("adapter_config.json")).unwrap()).unwrap();
    assert_eq!(
        (&config["task_type"], &config["modules_to_save"]),
        (&json!("SEQ_CLS"), &json!(["score", "heads.2.up", "heads.2.down"]))
    );
    let file = std::fs::read(adapter.join("adapter_model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    assert_eq!(tensors.tensor("base_model.model.score.weight").unwrap().shape(), [5 + 1 + 2, 16]);
    let of = |command: Command| json_of(&scored(command, "surely its age is nine ."));
    let mut on_base = reward(&["score", "--uncertainty"], &start);
    on_base.arg("--adapter").arg(&adapter);
    let [one, other] = [of(reward(&["score", "--uncertainty"], &merged)), of(on_base)];
    for (objective, n) in [("helpfulness", 5), ("honesty", 5), ("harmlessness", 2)] {
        for level in 0..n {
            let [one, other] = [&one, &other].map(|line| line["levels"][objective][level].as_f64().unwrap());
            assert!((one - other).abs() < 1e-4, "{objective} {level}: {one} {other}");
        }
    }
    // A frozen backbone has no adapter, and one of an earlier try is none of this one.
    fitted(&start, &[&lora[..], &["reward_model.backbone=\"frozen\""]].concat());
    assert!(merged.exists() && !adapter.exists());
    fitted(&start, &lora);
    let mut alone = command(&["reward", "eval", "--data", "x.jsonl", "--model"]);
    failure(&alone.arg(&adapter).output().unwrap(), 1);
}
