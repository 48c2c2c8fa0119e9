//! Looking at data.

use serde_json::{Value, json};

use crate::{assert_success, failure, moslim, start_policy};

#[test]
fn files_are_inspected_before_anything_is_trained_on_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    // Two answers of MOSLIM's own, one of them twice with another label; a pair of TRL's; a judgement of TruthfulQA's.
    let own = path(
        "own.jsonl",
        r#"{"prompt": "p", "response": "r", "labels": {"helpful": 3, "kind": null}}
{"prompt": "p", "response": "s", "labels": {"helpful": 1, "kind": "warm"}}
{"prompt": "p", "response": "s", "labels": {"helpful": 2, "kind": "cold"}}
"#,
    );
    let pairs = path("pairs.json", r#"[{"prompt": "q", "chosen": "c", "rejected": "r"}]"#);
    let output = moslim(&["data", "inspect", &own, &pairs, "--json"]);
    assert_success(&output);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["records"], 4);
    assert_eq!((&found["labeled"], &found["comparisons"]), (&3.into(), &1.into()));
    assert_eq!(
        (&found["prompts"], &found["duplicates"], &found["contradictions"]),
        (&2.into(), &1.into(), &1.into())
    );
    let helpful = &found["objectives"]["helpful"];
    assert_eq!((&helpful["counts"], &helpful["missing"]), (&json!([1, 1, 1]), &0.into()));
    let kind = &found["objectives"]["kind"];
    assert_eq!((&kind["counts"], &kind["missing"]), (&json!([1, 1]), &1.into()));
    assert_eq!(found["files"][1]["format"], "preference");
    // One answer has both labels with each of two pairs of levels; they never vary together with a rank between.
    let together = &found["together"][0];
    assert_eq!(together["objectives"], json!(["helpful", "kind"]));
    assert_eq!(together["counts"], json!([[0, 1], [1, 0], [0, 0]]));
    assert_eq!(together["spearman"], -1.0);
    assert_eq!(found["prompt_lengths"], json!({"n": 4, "p50": 1, "p90": 1, "p99": 1, "max": 1}));
    assert_eq!((&found["response_lengths"]["n"], &found["length_unit"]), (&json!(5), &json!("characters")));
    assert_eq!(found["examples"].as_array().unwrap().len(), 3);

    let page = folder.path().join("page.html");
    let (_run, model) = start_policy();
    let output = moslim(&[
        "data",
        "inspect",
        &own,
        &pairs,
        "--tokenizer",
        model.to_str().unwrap(),
        "--html",
        page.to_str().unwrap(),
    ]);
    assert_success(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("lengths in tokens") && text.contains("<answer>"), "{text}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("How often helpful has each level") && page.contains("&lt;answer&gt;"), "{page}");

    let broken = path("broken.csv", "prompt,completion,label\na,b,true\na,b,maybe\n,b,true\nonly\n");
    let message = failure(&moslim(&["data", "inspect", &broken]), 2);
    assert!(
        message.contains("broken.csv:3: preference: found maybe, expected one of 0, 1, false, true"),
        "{message}"
    );
    let output = moslim(&["data", "inspect", &broken, "--json", "--on-error", "skip"]);
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&found["records"], found["dropped"].as_object().unwrap().len()), (&1.into(), 3));
    let unknown = path("unknown.jsonl", r#"{"question": "?", "good": "a", "bad": "b"}"#);
    assert!(
        failure(&moslim(&["data", "inspect", &unknown]), 2)
            .contains("rows with question, good, bad, expected")
    );
    let mapping = path(
        "mapping.toml",
        "[[comparisons]]\nobjective = \"x\"\nprompt = \"question\"\nchosen = \"good\"\nrejected = \"bad\"\n",
    );
    let as_mapped = |mapping: &str| moslim(&["data", "inspect", &unknown, "--mapping", mapping]);
    let output = as_mapped(&mapping);
    assert_success(&output);
    assert!(String::from_utf8(output.stdout.clone()).unwrap().contains("0 with labels, 1 pairs"));
    // A recipe has one too.
    let in_recipe = std::fs::read_to_string(&mapping).unwrap().replace("[[", "[[data.mapping.");
    assert_eq!(as_mapped(&path("recipe.toml", &in_recipe)).stdout, output.stdout);
    for (text, expected) in [
        ("answers = 3", "wrong.toml: TOML parse error at line 1"),
        ("[data]\nsource = \"files\"", "wrong.toml: no data.mapping, expected one in a recipe"),
        ("[data.mapping]\nanswer = []", "wrong.toml: data.mapping: unknown field `answer`"),
    ] {
        let message = failure(&as_mapped(&path("wrong.toml", text)), 2);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn files_are_converted_split_and_validated() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let rows = |n: usize| {
        let row = |i: usize| format!("q{}\ta{i}\t{}\n", i / 2, i % 2);
        ["prompt\tcompletion\tlabel\n".to_owned()].into_iter().chain((0..n).map(row)).collect::<String>()
    };
    std::fs::write(at("some.tsv"), rows(200)).unwrap();
    let converted = at("own.jsonl");
    let output = moslim(&["data", "convert", &at("some.tsv"), "--out", &converted]);
    assert_success(&output);
    // What is printed is what a recipe needs.
    let table: toml::Table = toml::from_str(&String::from_utf8(output.stdout).unwrap()).unwrap();
    assert_eq!(table["data"]["labeled"].as_str(), Some(converted.as_str()));
    assert_eq!(table["data"]["objectives"][0]["name"].as_str(), Some("preference"));
    let lines = std::fs::read_to_string(&converted).unwrap();
    assert_eq!(lines.lines().next(), Some(r#"{"prompt":"q0","response":"a0","labels":{"preference":0}}"#));
    assert_eq!(lines.lines().count(), 200);

    let split = |file: &str, out: &str| {
        let output = moslim(&["data", "split", file, "--out", out, "--held-out", "0.3"]);
        assert_success(&output);
        ["train.jsonl", "held-out.jsonl"].map(|name| {
            let text = std::fs::read_to_string(std::path::Path::new(out).join(name)).unwrap();
            text.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
        })
    };
    let [train, held_out] = split(&converted, &at("split"));
    assert_eq!(train.len() + held_out.len(), 200);
    assert!((30..=90).contains(&held_out.len()) && held_out.len() % 2 == 0, "{}", held_out.len());
    // New data moves nothing.
    std::fs::write(at("more.tsv"), rows(300)).unwrap();
    let [more_train, more_held_out] = split(&at("more.tsv"), &at("more"));
    assert!(more_train.starts_with(&train) && more_held_out.starts_with(&held_out));
    let message = failure(&moslim(&["data", "split", &converted, "--out", "x", "--held-out", "1.5"]), 2);
    assert!(message.contains("expected a number from 0 to 1"), "{message}");

    let output = moslim(&["data", "validate", &converted]);
    assert_success(&output);
    assert!(String::from_utf8(output.stdout).unwrap().starts_with("200 answers to 100 prompts"));
    std::fs::write(at("pairs.jsonl"), r#"{"prompt": "p", "chosen": "a", "rejected": "b"}"#).unwrap();
    assert_success(&moslim(&["data", "validate", &at("pairs.jsonl")]));
    let convert = |more: &[&str]| moslim(&[&["data", "convert", &at("pairs.jsonl")], more].concat());
    let as_answers = ["--out", &at("pairs-as.jsonl")];
    let message = failure(&convert(&as_answers), 1);
    assert!(message.contains("left out: 1 pairs") && message.contains("no labels, expected some to write"));
    assert!(!folder.path().join("pairs-as.jsonl").exists());
    assert_success(&convert(&[&as_answers[..], &["--label-pairs"]].concat()));
    assert_eq!(std::fs::read_to_string(at("pairs-as.jsonl")).unwrap().lines().count(), 2);
    // Through Parquet and back.
    assert_success(&convert(&["--pairs-out", &at("pairs.parquet")]));
    assert_success(&moslim(&["data", "convert", &at("pairs.parquet"), "--pairs-out", &at("again.jsonl")]));
    let expected = "{\"prompt\":\"p\",\"chosen\":\"a\",\"rejected\":\"b\",\"objective\":\"preference\"}\n";
    assert_eq!(std::fs::read_to_string(at("again.jsonl")).unwrap(), expected);
    assert_success(&moslim(&["data", "convert", &converted, "--out", &at("own.parquet")]));
    assert_success(&moslim(&["data", "convert", &at("own.parquet"), "--out", &at("own-again.jsonl")]));
    let [one, other] = [converted, at("own-again.jsonl")].map(|path| std::fs::read_to_string(path).unwrap());
    assert_eq!(one, other);
    assert_success(&moslim(&[
        "data",
        "split",
        &at("pairs.parquet"),
        "--out",
        &at("pairs"),
        "--held-out",
        "1",
    ]));
    assert_eq!(std::fs::read_to_string(at("pairs/held-out-pairs.jsonl")).unwrap(), expected);
    assert!(
        failure(&convert(&["--pairs-out", &at("pairs.txt")]), 1)
            .contains("expected a name that ends in .jsonl")
    );
    std::fs::write(at("broken.tsv"), rows(2) + "q9\ta9\tmaybe\n").unwrap();
    let message = failure(&moslim(&["data", "validate", &at("broken.tsv")]), 2);
    assert!(message.contains("broken.tsv:4: preference: found maybe"), "{message}");
}
