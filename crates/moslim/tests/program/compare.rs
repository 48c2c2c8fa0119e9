//! Methods on one ground.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::running::{quietly, wait_for};
use crate::{TINY, assert_success, command, failure, moslim, tiny};

/// `moslim compare` on a tiny scale, with more changes.
fn tiny_compare(out: &Path, changes: &[&str]) -> Command {
    let mut command = command(&["compare", "compare", "--quiet", "--out"]);
    command.arg(out);
    let of_comparison =
        ["comparison.seeds=[0]", "comparison.weight_steps=2", "comparison.budgets=[\"samples\"]"];
    for change in TINY.iter().chain(&of_comparison).chain(changes) {
        command.args(["--set", change]);
    }
    command
}

fn results(out: &Path) -> Value {
    let text = std::fs::read_to_string(out.join("report/results.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Results without what is time or memory, at every depth.
fn without_times(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| {
                !key.contains("seconds") && !["peak_bytes", "conclusion"].contains(&key.as_str())
            });
            map.values_mut().for_each(without_times);
        }
        Value::Array(values) => values.iter_mut().for_each(without_times),
        _ => {}
    }
}

/// The names of the methods, as folders and results have them.
const METHODS: [&str; 11] = [
    "moslim",
    "morlhf",
    "rewarded-soups",
    "personalized-soups",
    "p-morl",
    "ric",
    "cpo",
    "modpo",
    "rejection-sampling",
    "dpa",
    "steerlm2",
];

#[test]
fn all_methods_are_compared_and_a_comparison_goes_on_where_it_was_killed() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("comparison");
    let variant = "comparison.variants=[{ name = \"../of/one's own\", method = \"morlhf\", \
                   set = [\"comparison.reward_models=separate\", \"comparison.morlhf.reward_normalization=none\"] }]";
    assert_success(&tiny_compare(&out, &[variant]).output().unwrap());

    let mut before = results(&out);
    assert_eq!(before["reference_point"], serde_json::json!([0.0, 0.0, 0.0]));
    assert_eq!(before["seeds"], serde_json::json!([0]));
    for method in METHODS.into_iter().chain(["../of/one's own"]) {
        let found = &before["methods"][method];
        for end in ["mean", "low", "high"] {
            let volume = found["hypervolume"][end].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&volume), "{method}: {volume}");
        }
        // All weights that are multiples of a half.
        assert_eq!(found["points"].as_array().unwrap().len(), 6, "{method}");
        assert!(found["samples"].as_f64().unwrap() > 0.0, "{method}");
        assert!(found["trainings"].as_f64().unwrap() >= 1.0, "{method}");
        // To so small a reward model all answers have the same levels, and MODPO has no pairs.
        assert_eq!(found["seconds"]["update"].as_f64().is_some(), method != "modpo", "{method}");
        assert!(found["controllability"].is_object(), "{method}");
    }
    let trainings = |method: &str| before["methods"][method]["trainings"].as_f64().unwrap();
    let counts = ["moslim", "morlhf", "rewarded-soups", "personalized-soups", "modpo"].map(trainings);
    // One; one per weighting; one per objective; one per pole; one per objective and per weighting of several.
    assert_eq!(counts, [1.0, 6.0, 3.0, 6.0, 6.0]);
    let page = std::fs::read_to_string(out.join("report/index.html")).unwrap();
    assert!(page.contains("<svg") && page.contains("steerlm2") && page.ends_with("</html>\n"));
    assert!(out.join("report/points.csv").exists());

    // As if it had been killed in the middle of one method and after a training of another.
    let methods = out.join("seeds/0/methods");
    for (method, training) in [("cpo", "policy"), ("morlhf", "weights-0.500-0.500-0.000")] {
        let samples = std::fs::read_dir(methods.join(method)).unwrap().next().unwrap().unwrap().path();
        for gone in ["measured.json".into(), "manifest.json".into(), format!("trainings/{training}.json")] {
            std::fs::remove_file(samples.join(gone)).unwrap();
        }
    }
    assert_success(&moslim(&["compare", "--quiet", "--resume", out.to_str().unwrap()]));
    let mut after = results(&out);
    for results in [&mut before, &mut after] {
        without_times(results);
    }
    assert_eq!(after, before);

    // What was trained with other settings is neither taken for that of these nor mixed with it.
    let folder = out.to_str().unwrap();
    let changed = ["compare", "--quiet", "--resume", folder, "--set", "comparison.cpo.beta=0.2"];
    let message = failure(&moslim(&changed), 1);
    assert!(message.contains("done with `comparison.cpo.beta = 0.1`, expected"), "{message}");
    let samples = std::fs::read_dir(methods.join("cpo")).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(samples.join("manifest.json")).unwrap();
    let message = failure(&moslim(&changed), 1);
    assert!(message.contains("trainings with `comparison.cpo.beta = 0.1`, expected"), "{message}");
    for folder in [out.clone(), out.join("seeds/0")] {
        let message = failure(&moslim(&["train", "--quiet", "--resume", folder.to_str().unwrap()]), 1);
        assert!(message.contains("a comparison, expected a run"), "{message}");
    }
    // And the change that was refused is not kept.
    assert_success(&moslim(&["compare", "--quiet", "--resume", folder]));

    // A recipe that was changed by hand may not be about another start policy, but about other questions.
    let recipe = std::fs::read_to_string(out.join("recipe.toml")).unwrap();
    std::fs::write(out.join("recipe.toml"), recipe.replace("sft_answers = 256", "sft_answers = 200"))
        .unwrap();
    let message = failure(&moslim(&["compare", "--quiet", "--resume", folder]), 1);
    assert!(message.contains("`data.sft_answers = 200`, but the run follows"), "{message}");
    std::fs::write(out.join("recipe.toml"), recipe.replace("prompts = 12", "prompts = 8")).unwrap();
    std::fs::remove_dir_all(&methods).unwrap();
    assert_success(&moslim(&["compare", "--quiet", "--resume", folder, "--only", "moslim"]));
    let ground: Value =
        serde_json::from_str(&std::fs::read_to_string(out.join("seeds/0/ground.json")).unwrap()).unwrap();
    assert_eq!(ground["start"]["gold"].as_array().unwrap().len(), 8);
}

#[test]
fn adapters_are_mixed_and_pairs_of_objectives_compared_on_other_budgets() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("comparison");
    let changes = [
        "data.objectives=[\"helpfulness\", \"harmlessness\"]",
        "comparison.methods=[\"moslim\", \"rewarded-soups\", \"personalized-soups\", \"modpo\"]",
        "comparison.budgets=[\"samples\", \"seconds\", \"quality\"]",
        "comparison.personalized.preferences=levels",
        "comparison.morlhf.reward_normalization=running",
        "lora={ r = 2, lora_alpha = 4.0, target_modules = \"all-linear\" }",
    ];
    assert_success(&tiny_compare(&out, &changes).output().unwrap());
    let results = results(&out);
    assert_eq!(results["reference_point"], serde_json::json!([0.0, 0.0]));
    for budget in ["samples", "seconds", "quality"] {
        let methods = results["budgets"][budget]["methods"].as_object().unwrap();
        // With the variants of the recipe.
        assert_eq!(methods.len(), 6, "{budget}");
    }
    // A policy per level: five and two.
    assert_eq!(results["methods"]["personalized-soups"]["trainings"], 7.0);
}

#[test]
fn a_training_that_was_killed_goes_on_from_its_last_step() {
    let folder = tempfile::tempdir().unwrap();
    let [straight, killed] = ["straight", "killed"].map(|name| folder.path().join(name));
    let changes = [
        "comparison.methods=[\"moslim\", \"morlhf\"]",
        "comparison.variants=[]",
        "comparison.morlhf.reward_normalization=running",
        "mapping.kind={ z_running = { momentum = 0.5 } }",
        "policy.max_steps=60",
        "policy.save_steps=1",
    ];
    assert_success(&tiny_compare(&straight, &changes).output().unwrap());

    let mut child = quietly(tiny_compare(&killed, &changes));
    for (method, training) in [("moslim", "policy"), ("morlhf", "weights-0.500-0.500-0.000")] {
        let folder = killed.join("seeds/0/methods").join(method).join("720");
        wait_for(&folder.join("checkpoints").join(training).join("step-00000004"), &mut child);
        drop(child);
        assert!(!folder.join(format!("trainings/{training}.json")).exists(), "{method} was done already");
        let log = folder.join(format!("metrics/{training}.jsonl"));
        let first = || std::fs::read_to_string(&log).unwrap().lines().next().unwrap().to_owned();
        let before = first();
        let mut resume = command(&["compare", "--quiet", "--resume"]);
        resume.arg(&killed);
        child = quietly(resume);
        wait_for(&folder.join(format!("trainings/{training}.json")), &mut child);
        // It holds times, which no step takes twice.
        assert_eq!(first(), before, "{method} began anew");
    }
    assert_success(&child.output());
    let [mut straight, mut killed] = [straight, killed].map(|out| results(&out));
    for results in [&mut straight, &mut killed] {
        without_times(results);
    }
    assert!(straight == killed, "other results after being killed");
}

#[test]
fn several_programs_work_on_one_comparison() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("comparison");
    assert_success(&tiny_compare(&out, &[]).args(["--only", "moslim"]).output().unwrap());
    let methods = ["morlhf", "ric", "dpa"];
    let started = methods.map(|method| {
        let mut command = command(&["compare", "--quiet", "--only", method, "--resume"]);
        command.arg(&out).stderr(std::process::Stdio::piped()).spawn().unwrap()
    });
    for program in started {
        assert_success(&program.wait_with_output().unwrap());
    }
    // A report is of what was there when it was written; nothing is trained for this one.
    assert_success(&moslim(&["compare", "--quiet", "--only", "moslim", "--resume", out.to_str().unwrap()]));
    let found: Vec<String> = results(&out)["methods"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(found, ["moslim", "morlhf", "ric", "dpa"]);
}

#[test]
fn what_cannot_be_compared_is_told_before_anything_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("comparison");
    let told = |changes: &[&str], code| failure(&tiny_compare(&out, changes).output().unwrap(), code);
    for (change, expected) in [
        ("comparison.seeds=[]", "comparison.seeds: found 0, expected at least 1"),
        ("comparison.seeds=[1, 1]", "comparison.seeds: found a seed twice, expected different ones"),
        ("comparison.methods=[\"morlfh\"]", "unknown variant `morlfh`"),
        ("comparison.methods=[\"ric\", \"ric\"]", "comparison.methods: found `ric` twice"),
        (
            "comparison.ric.quantile=1.5",
            "comparison.ric.quantile: found 1.5, expected at least 0 and below 1",
        ),
        ("comparison.weight_steps=101", "comparison.weight_steps: found 101, expected 1 to 100"),
        ("comparison.weight_step=3", "did you mean `weight_steps`?"),
        ("data.objectives=[\"wit\"]", "data.objectives: `wit`, expected some of helpfulness"),
        ("data.objectives=[\"honesty\"]", "objectives: 1, expected at least 2"),
    ] {
        let message = told(&[change], 1);
        assert!(message.contains(expected), "{change}: {message}");
    }
    let variant = "comparison.variants=[{ name = \"\", method = \"ric\", set = [] }]";
    assert!(told(&[variant], 1).contains("variants.name: found none, expected a name for every variant"));
    let variant = variant.replace("\"\"", &format!("\"{}\"", "x".repeat(61)));
    assert!(told(&[&variant], 1).contains("variants.name: found 61 bytes, expected at most 60 bytes"));
    for change in [
        "data.labels.noise=0.4",
        "comparison.weight_steps=3",
        "policy.max_steps=2",
        "policy={ max_steps = 2 }",
        "seed=5",
    ] {
        let variant =
            format!("comparison.variants=[{{ name = \"x\", method = \"ric\", set = [\"{change}\"] }}]");
        assert!(told(&[&variant], 1).contains("the rest is the same for all"), "{change}");
    }
    // What cannot be compared replaces nothing, and what is no comparison is not replaced.
    std::fs::create_dir_all(&out).unwrap();
    let file = out.join("thesis.txt");
    std::fs::write(&file, "mine").unwrap();
    for more in [&["--overwrite"][..], &[]] {
        let message = failure(&tiny_compare(&out, &[]).args(more).output().unwrap(), 1);
        assert!(message.contains("files, but no recipe.toml"), "{message}");
    }
    std::fs::write(out.join("recipe.toml"), "").unwrap();
    failure(&tiny_compare(&out, &[]).args(["--overwrite", "--only", "morl"]).output().unwrap(), 1);
    failure(&tiny("train", &out, &["policy.max_step=3"]).arg("--overwrite").output().unwrap(), 1);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine");
    std::fs::remove_dir_all(&out).unwrap();

    let folder_name = out.to_str().unwrap();
    let without = failure(&moslim(&["compare", "quickstart", "--quiet", "--out", folder_name]), 1);
    assert!(without.contains("recipe: no table comparison"), "{without}");
    let nothing = failure(&moslim(&["compare", "--quiet", "--resume", folder_name]), 1);
    assert!(nothing.contains("no recipe.toml, expected the folder of a comparison"), "{nothing}");
    let mut only = tiny_compare(&out, &[]);
    let message = failure(&only.args(["--only", "morl"]).output().unwrap(), 1);
    assert!(
        message.contains("--only: morl, expected methods and variants of the recipe: moslim, "),
        "{message}"
    );
}
