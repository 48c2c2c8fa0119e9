//! Runs that succeed.

use std::path::Path;

use safetensors::SafeTensors;
use serde_json::Value;

use crate::{TINY, assert_success, command, failure, moslim, start_policy, tiny};

fn results(out: &Path) -> Value {
    let text = std::fs::read_to_string(out.join("report/results.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Results without what is time.
fn without_times(mut results: Value) -> String {
    for key in ["seconds", "phase_seconds"] {
        results.as_object_mut().unwrap().remove(key).unwrap();
    }
    results.to_string()
}

#[test]
fn a_run_writes_models_results_and_a_page_and_its_policy_answers() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let ablation = r#"ablations=[{ name = "requests shuffled", set = ["policy.shuffle_requests=true"] }]"#;
    assert_success(&tiny("train", &out, &[ablation]).output().unwrap());

    let results = results(&out);
    for objective in ["helpfulness", "honesty", "harmlessness"] {
        for (part, measures) in [
            ("reward_model", &["intensity_accuracy", "majority", "mae", "ece"][..]),
            ("start", &["spearman", "exact", "mean_level"]),
            ("policy", &["spearman", "exact", "mae", "mean_level_unasked"]),
            ("policy_all_asked", &["spearman", "exact", "mae"]),
            ("policy_greedy", &["spearman", "exact", "mae"]),
        ] {
            for measure in measures {
                let value = &results[part][objective][measure];
                assert!(
                    value.is_number() || *measure == "spearman" && value.is_null(),
                    "{part} {objective} {measure}"
                );
            }
        }
    }
    for stage in ["sft", "reward_model", "policy", "evaluation"] {
        assert!(results["seconds"][stage].as_f64().unwrap() > 0.0, "{stage}");
    }
    assert!(results["checks"]["first_minibatch_ratio_error"].as_f64().unwrap() < 1e-4);
    assert_eq!(results["seed"], 0);
    assert_eq!(results["cross_talk"].as_array().unwrap().len(), 3);
    assert_eq!(results["curve"]["points"].as_array().unwrap().len(), 3);
    assert!(results["ablations"]["requests shuffled"]["one_asked"]["honesty"]["exact"].is_number());

    let page = std::fs::read_to_string(out.join("report/index.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("requests shuffled") && page.ends_with("</html>\n"));
    assert!(!page.contains("src=\"http") && !page.contains("href=\"http"), "the page needs the network");

    let policy = out.join("policy");
    let policy = policy.to_str().unwrap();
    let want = ["generate", "--model", policy, "--prompt", "its food ?", "--want", "helpfulness=5,honesty=2"];
    let answer = moslim(&want);
    assert_success(&answer);
    assert!(!answer.stdout.is_empty());
    assert_eq!(answer.stdout, moslim(&want).stdout, "the seed decides the answer");

    let before = without_times(results);
    assert_success(&tiny("eval", &out, &[ablation]).output().unwrap());
    assert_eq!(without_times(self::results(&out)), before, "the ablations are part of an evaluation alone");
}

#[test]
fn the_same_seed_gives_the_same_results_and_stages_alone_do_too() {
    let folder = tempfile::tempdir().unwrap();
    let [whole, parts, other] = ["whole", "parts", "other"].map(|name| folder.path().join(name));
    assert_success(&tiny("train", &whole, &[]).output().unwrap());
    for stage in ["sft", "reward fit", "rloo", "eval"] {
        assert_success(&tiny(stage, &parts, &[]).output().unwrap());
    }
    assert_success(&tiny("train", &other, &["seed=1"]).output().unwrap());
    assert_eq!(without_times(results(&whole)), without_times(results(&parts)));
    assert_ne!(without_times(results(&whole)), without_times(results(&other)));
}

#[test]
fn files_of_answers_are_judged_by_a_second_reward_model() {
    let folder = tempfile::tempdir().unwrap();
    // Two judges' files in TruthfulQA's format, of which every answer is joined.
    let judges = ["True", "Helpful"].map(|judge| (judge, folder.path().join(format!("{judge}.jsonl"))));
    let mut lines = [String::new(), String::new()];
    for question in 0..30 {
        // The last answer is longer than the run allows.
        let long = "it is so and ".repeat(100);
        for (answer, truthful, helpful) in [
            ("it is so", "no", "yes"),
            ("nobody knows", "yes", "no"),
            ("it is not so", "yes", "yes"),
            (long.as_str(), "no", "no"),
        ] {
            for (lines, ((judge, _), label)) in lines.iter_mut().zip(judges.iter().zip([truthful, helpful])) {
                *lines += &format!(
                    "{{\"prompt\": \"Q: is it {question}?\\nA: {answer}\\n{judge}:\", \"completion\": \" {label}\"}}\n"
                );
            }
        }
    }
    for ((_, path), lines) in judges.iter().zip(lines) {
        std::fs::write(path, lines).unwrap();
    }
    let text = folder.path().join("text.txt");
    std::fs::write(&text, "Once upon a time nobody knew whether it was so. ".repeat(40)).unwrap();

    let out = folder.path().join("run");
    // The tiny changes but for the sizes of the testbed, which have no place among files.
    let changes = TINY.iter().filter(|change| !change.starts_with("data.")).map(ToString::to_string);
    let files = [
        format!("data.labeled=[{:?}, {:?}]", judges[0].1, judges[1].1),
        format!("pretraining.files=[{text:?}]"),
        "pretraining.window=16".to_string(),
        "data.max_length=100".to_string(),
        "model.tokenizer={ bpe = { vocab_size = 300 } }".to_string(),
    ];
    let changes: Vec<String> = changes.chain(files).flat_map(|change| ["--set".into(), change]).collect();
    let run = |stage: &str| {
        command(&stage.split(' ').chain(["truthfulqa", "--out"]).collect::<Vec<_>>())
            .arg(&out)
            .args(&changes)
            .output()
            .unwrap()
    };
    let output = run("train");
    assert_success(&output);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("120 answers to 30 prompts"), "{said}");
    let results = results(&out);
    // Nothing is trained or measured on the long ones, a quarter of every part.
    let measured = results["reward_model"]["truthful"]["n"].as_u64().unwrap();
    let n_questions = measured / 3;
    assert!(measured.is_multiple_of(3) && n_questions > 0, "{measured}");
    let left_out =
        format!("held-out answer: {n_questions} of {} left out, longer than 100 tokens", 4 * n_questions);
    assert!(said.contains(&left_out) && said.contains("labelled answer: "), "{said}");
    assert_eq!(results["judge"], "held-out reward model");
    assert!(results["reward_model"]["truthful"]["balanced_accuracy"].is_number());
    assert!(results["policy"]["helpful"]["exact"].is_number());
    // The judge is measured as well, on questions that it has not seen.
    let of_judge = results["judge_model"]["truthful"]["intensity_accuracy"].as_f64().unwrap();
    let card = std::fs::read_to_string(out.join("judge/README.md")).unwrap();
    assert!(card.contains(&format!("| truthful | {of_judge:.3} |")), "{card}");

    // Later stages take the data that the run began with, and no other.
    assert_success(&run("eval"));
    let truth = std::fs::read_to_string(&judges[0].1).unwrap();
    std::fs::write(&judges[0].1, truth.replacen("yes", "no", 1)).unwrap();
    for stage in ["reward fit", "rloo", "eval"] {
        let message = failure(&run(stage), 1);
        assert!(
            message.contains("manifest.json: the data changed since `moslim sft`: found ")
                && message.contains("True.jsonl, ")
                && message.contains(" bytes, SHA-256 "),
            "{message}"
        );
    }
    // A stage that has other data than the one before does not go together with what comes after it.
    assert_success(&run("sft"));
    let message = failure(&run("rloo"), 1);
    assert!(message.contains("the data changed since `moslim reward fit`"), "{message}");
    assert_success(&run("reward fit"));
    let other_split = command(&["rloo", "truthfulqa", "--set", "data.held_out_share=0.9", "--out"])
        .arg(&out)
        .args(&changes)
        .output()
        .unwrap();
    assert!(failure(&other_split, 1).contains("held_out_share = 0.9"));
}

#[test]
fn a_running_mapping_and_an_anchor_change_the_scores_of_training() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    for stage in ["sft", "reward fit"] {
        assert_success(&tiny(stage, &out, &[]).output().unwrap());
    }
    let scores = |change: &str| -> Vec<f64> {
        assert_success(&tiny("rloo", &out, &[change]).output().unwrap());
        let log = std::fs::read_to_string(out.join("metrics/policy.jsonl")).unwrap();
        let score =
            |line: &str| serde_json::from_str::<Value>(line).unwrap()["objective/scores"].as_f64().unwrap();
        log.lines().map(score).collect()
    };
    let kinds = ["mapping.kind={ z_running = { momentum = 0.5 } }", "mapping.kind=z_dataset"].map(scores);
    assert_ne!(kinds[0], kinds[1]);
    let anchors = ["policy.unasked_coef=0", "policy.unasked_coef=2.0", "policy.unasked_coef=2.0"].map(scores);
    assert_ne!(anchors[0], anchors[1]);
    assert_eq!(anchors[1], anchors[2]);
}

#[test]
fn a_run_asks_between_levels_and_for_levels_that_training_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let changes = [
        "codec.item=<{objective}> {level}",
        "policy.requests.fractional=0.5",
        "policy.requests.levels={ helpfulness = [\"1\", \"2\", \"4\"] }",
    ];
    assert_success(&tiny("train", &out, &changes).output().unwrap());
    let dial = &results(&out)["dial"];
    let points = dial["helpfulness"].as_array().unwrap();
    // Five levels with three positions between each two; 12 questions ask for 12 positions.
    assert_eq!(points.len(), 5 + 4 * 3);
    let n_answers = |whole: bool| -> u64 {
        let is_whole = |point: &&Value| (point["position"].as_f64().unwrap().fract() == 0.0) == whole;
        points.iter().filter(is_whole).map(|point| point["n_answers"].as_u64().unwrap()).sum()
    };
    assert_eq!((n_answers(true), n_answers(false)), (12, 12));
    let trained: Vec<f64> = points
        .iter()
        .filter(|point| point["trained"] == true)
        .map(|point| point["position"].as_f64().unwrap())
        .collect();
    // The third level is left out, and what lies above the fourth.
    assert_eq!(trained, [0.0, 0.2, 0.5, 0.8, 1.0, 1.2, 1.5, 1.8, 2.2, 2.5, 2.8, 3.0]);
    assert_eq!(dial["harmlessness"].as_array().unwrap().len(), 2 + 3);
    let page = std::fs::read_to_string(out.join("report/index.html")).unwrap();
    assert!(page.contains("Between levels and beyond those of training"), "the page tells of it");

    // Where every level is a token of its own, nothing between them can be asked for; and words nobody taught are all the same.
    let elsewhere = folder.path().join("no");
    let message = failure(&tiny("sft", &elsewhere, &["model.request_tokens=false"]).output().unwrap(), 1);
    assert!(message.contains("codec: helpfulness: levels 1 and 2 as the same tokens"), "{message}");
    assert_success(&tiny("reward fit", &elsewhere, &[]).output().unwrap());
    let fractional = ["policy.requests.fractional=0.5"];
    let message = failure(&tiny("rloo", &elsewhere, &fractional).output().unwrap(), 1);
    assert!(message.contains("codec: helpfulness: levels 1.1 and 1.2 as the same tokens"), "{message}");
}

#[test]
fn sixteen_bits_go_through_every_stage() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("rounded");
    let rounded = ["sft.precision=bf16", "reward_model.precision=bf16", "policy.training.precision=bf16"];
    assert_success(&tiny("train", &out, &rounded).output().unwrap());
    assert!(results(&out)["policy"]["honesty"]["exact"].is_number());
    // What is written has 32 bits, and is not what 32 bits would have become.
    let (_folder, exact) = start_policy();
    let weights = |model: &Path| std::fs::read(model.join("model.safetensors")).unwrap();
    let [rounded, exact] = [weights(&out.join("start")), weights(&exact)];
    assert!(rounded.len() == exact.len() && rounded != exact);
}

#[test]
fn a_run_with_adapters_starts_from_a_folder_and_keeps_its_base() {
    let (folder, start) = start_policy();
    let out = folder.path().join("adapted");
    std::fs::write(start.join("README.md"), "---\ntags:\n- x\nlicense: \"mit\"\n---\n").unwrap();
    // The recipe's table of a new model is replaced by a folder.
    let recipe = folder.path().join("adapters.toml");
    let text = String::from_utf8(moslim(&["recipe", "quickstart"]).stdout).unwrap();
    let mut text: toml::Table = toml::from_str(&text).unwrap();
    let model = toml::toml! { start = "folder" };
    text.insert("model".into(), model.into());
    text["model"].as_table_mut().unwrap().insert("path".into(), start.to_str().unwrap().into());
    std::fs::write(&recipe, toml::to_string(&text).unwrap()).unwrap();

    let mut train = command(&["train", recipe.to_str().unwrap(), "--quiet", "--out", out.to_str().unwrap()]);
    let lora = ["lora.r=2", "lora.lora_alpha=4.0", r#"lora.target_modules=["q_proj", "v_proj"]"#];
    for change in TINY.iter().filter(|change| !change.starts_with("model.")).chain(&lora) {
        train.args(["--set", change]);
    }
    assert_success(&train.output().unwrap());
    assert!(results(&out)["checks"]["first_minibatch_ratio_error"].as_f64().unwrap() < 1e-4);

    // The cards know the base's licence, and those of what was measured the numbers.
    let measured = results(&out)["reward_model"]["honesty"]["intensity_accuracy"].as_f64().unwrap();
    for (name, kind, number) in [
        ("start", "library_name: transformers", "| mean level of plain answers |".into()),
        ("reward-model", "text-classification", format!("| honesty | {measured:.3} |")),
        ("policy", "library_name: transformers", "by the judgement of gold".into()),
        ("policy-adapter", "library_name: peft", "by the judgement of gold".into()),
    ] {
        let card = std::fs::read_to_string(out.join(name).join("README.md")).unwrap();
        for expected in
            ["---\nlicense: mit\n", kind, &number, "r = 2\n", "moslim-testbed, seed 0: 256 answers"]
        {
            assert!(card.contains(expected), "{name}: {expected} in {card}");
        }
    }

    let config = std::fs::read_to_string(out.join("policy-adapter/adapter_config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    assert_eq!(config["base_model_name_or_path"], "../start");

    // What no adapter stands beside is as in the base, and the policy is its start with the adapter.
    let tensors = |folder: &Path| std::fs::read(folder.join("model.safetensors")).unwrap();
    let [bytes, other] = [tensors(&start), tensors(&out.join("policy"))];
    let [of_base, of_policy] = [&bytes, &other].map(|bytes| SafeTensors::deserialize(bytes).unwrap());
    for (name, same) in [("q_proj", false), ("v_proj", false), ("k_proj", true), ("o_proj", true)] {
        let name = format!("model.layers.0.self_attn.{name}.weight");
        let [one, another] = [&of_base, &of_policy].map(|tensors| tensors.tensor(&name).unwrap().data());
        assert_eq!(one == another, same, "{name}");
    }
    let logprobs = |model: &Path, more: &[&str]| {
        let fixed =
            ["logprobs", "--text", "its food is plum .", "--json", "--model", model.to_str().unwrap()];
        let output = moslim(&[&fixed, more].concat());
        assert_success(&output);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        found["logprobs"].as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect::<Vec<_>>()
    };
    let adapter = out.join("policy-adapter");
    let adapted = logprobs(&out.join("start"), &["--adapter", adapter.to_str().unwrap()]);
    let merged = logprobs(&out.join("policy"), &[]);
    assert!(adapted.iter().zip(&merged).all(|(a, b)| (a - b).abs() < 1e-4), "{adapted:?} {merged:?}");
    assert_ne!(merged, logprobs(&out.join("start"), &[]));
    // The tokenizer's files and the configuration are those that were read.
    for name in ["tokenizer.json", "tokenizer_config.json", "config.json", "generation_config.json"] {
        let read = |folder: &Path| std::fs::read(folder.join(name)).unwrap();
        assert!(read(&start) == read(&out.join("policy")), "{name}");
    }
}
