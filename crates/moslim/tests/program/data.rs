//! Looking at data.

use serde_json::{Value, json};

use crate::{assert_success, failure, moslim};

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
    let output = moslim(&["data", "inspect", &unknown, "--mapping", &mapping]);
    assert_success(&output);
    assert!(String::from_utf8(output.stdout).unwrap().contains("0 with labels, 1 pairs"));
}
