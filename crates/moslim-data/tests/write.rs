//! Files that are written, and read back.

use std::io::Read;
use std::path::Path;

use moslim_data::{
    Comparison, LabeledResponse, Objective, ObjectiveSchema, PreferenceData, Prompt, ReadOptions, SpokenTurn,
    read_records, write_comparisons, write_records,
};
use proptest::prelude::*;

const NAMES: [&str; 3] = ["prefs.jsonl", "prefs.jsonl.gz", "prefs.parquet"];

fn schema() -> ObjectiveSchema {
    ObjectiveSchema::new(vec![
        Objective::with_scale("helpfulness", 0, 4),
        Objective { name: "tone.of_voice".into(), levels: vec!["cold".into(), "warm".into()] },
    ])
    .unwrap()
}

fn record(prompt: &str) -> LabeledResponse {
    LabeledResponse::new(prompt, "r", vec![Some(4), None])
}

fn records() -> [LabeledResponse; 3] {
    let labelled = |prompt, levels: [Option<usize>; 2]| LabeledResponse::new(prompt, "r", levels.to_vec());
    let both = labelled("three", [Some(0), Some(0)]);
    [
        record("one"),
        labelled("two", [None, Some(1)]).from_source("human"),
        LabeledResponse { sources: vec![None, Some("rule".into())], weight: 0.25, ..both },
    ]
}

#[test]
fn lines_are_the_documented_form() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let expected = "{\"prompt\":\"one\",\"response\":\"r\",\"labels\":{\"helpfulness\":4}}\n\
        {\"prompt\":\"two\",\"response\":\"r\",\"labels\":{\"tone.of_voice\":\"warm\"},\"source\":\"human\"}\n\
        {\"prompt\":\"three\",\"response\":\"r\",\"labels\":{\"helpfulness\":0,\"tone.of_voice\":\"cold\"},\
        \"source\":{\"tone.of_voice\":\"rule\"},\"weight\":0.25}\n";
    write_records(path("prefs.jsonl"), &schema(), &records()).unwrap();
    assert_eq!(std::fs::read_to_string(path("prefs.jsonl")).unwrap(), expected);
    write_records(path("prefs.jsonl.gz"), &schema(), &records()).unwrap();
    let mut text = String::new();
    let packed = std::fs::File::open(path("prefs.jsonl.gz")).unwrap();
    flate2::read::GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    assert_eq!(text, expected);
}

#[test]
fn pairs_keep_their_objectives() {
    let folder = tempfile::tempdir().unwrap();
    let pair = |objective: &str| Comparison {
        prompt: Prompt {
            before: vec![SpokenTurn::new("user", "hi"), SpokenTurn::new("assistant", "hi!")],
            question: "🦀?".into(),
        },
        objective: objective.into(),
        chosen: "yes\n".into(),
        rejected: String::new(),
    };
    let pairs = [pair("helpfulness"), pair("harmlessness")];
    for name in NAMES {
        let path = folder.path().join(name);
        write_comparisons(&path, &pairs).unwrap();
        assert_eq!(PreferenceData::read(&[path], &ReadOptions::default()).unwrap().comparisons, pairs);
    }
}

#[test]
fn writing_replaces_the_file_and_leaves_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    for (n, name) in NAMES.into_iter().enumerate() {
        let path = folder.path().join(name);
        for prompt in ["old", "new"] {
            write_records(&path, &schema(), &[record(prompt)]).unwrap();
        }
        assert_eq!(read_records(&path, &schema()).unwrap(), [record("new")]);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), n + 1);
    }
}

#[cfg(unix)]
#[test]
fn a_written_file_is_as_readable_as_any_new_file() {
    let folder = tempfile::tempdir().unwrap();
    let [ours, usual] = ["ours.jsonl", "usual.jsonl"].map(|name| folder.path().join(name));
    write_records(&ours, &schema(), &[record("p")]).unwrap();
    std::fs::write(&usual, "").unwrap();
    let [ours, usual] = [ours, usual].map(|path| std::fs::metadata(path).unwrap().permissions());
    assert_eq!(ours, usual);
}

#[test]
fn names_and_places_that_cannot_be_written() {
    let message = |path: &Path| write_records(path, &schema(), &[record("p")]).unwrap_err().to_string();
    let expected = "prefs.csv: expected a name that ends in .jsonl, .jsonl.gz or .parquet";
    assert_eq!(message(Path::new("prefs.csv")), expected);
    let folder = tempfile::tempdir().unwrap();
    let nowhere = folder.path().join("no").join("prefs.jsonl");
    assert!(message(&nowhere).starts_with(&format!("{}: cannot write: No such file", nowhere.display())));
}

/// A question, perhaps after some turns.
fn prompt() -> impl Strategy<Value = Prompt> {
    let turn = (".*", prop::sample::select(vec!["system", "user", "assistant", "tool"]))
        .prop_map(|(content, role)| SpokenTurn::new(role, content));
    let question = ".+".prop_filter("a question says something", |question| !question.trim().is_empty());
    (prop::collection::vec(turn, 0..3), question).prop_map(|(before, question)| Prompt { before, question })
}

/// A label, and who gave it.
fn label(n_levels: usize) -> impl Strategy<Value = (Option<usize>, Option<String>)> {
    let source = prop::option::of(".*");
    // What has no label has no source.
    prop::option::of((0..n_levels, source)).prop_map(|label| match label {
        Some((level, source)) => (Some(level), source),
        None => (None, None),
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn what_is_written_is_read_back(
        records in prop::collection::vec((prompt(), ".*", [label(5), label(2)], 1e-6..1e6), 1..10)
    ) {
        let records: Vec<_> = records
            .into_iter()
            .map(|(prompt, response, labels, weight)| LabeledResponse {
                prompt,
                response,
                levels: labels.iter().map(|(level, _)| *level).collect(),
                sources: labels.into_iter().map(|(_, source)| source.map(Into::into)).collect(),
                weight,
            })
            .collect();
        let folder = tempfile::tempdir().unwrap();
        for name in NAMES {
            let path = folder.path().join(name);
            write_records(&path, &schema(), &records).unwrap();
            prop_assert_eq!(&read_records(&path, &schema()).unwrap(), &records);
        }
    }
}
