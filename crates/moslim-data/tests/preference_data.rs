//! Files that become the data of a run.

use std::path::PathBuf;

use moslim_data::{LabeledResponse, Objective, ObjectiveSchema, OnError, Pairs, PreferenceData, ReadOptions};
use tempfile::TempDir;

fn written(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn answer(response: &str, levels: &[Option<usize>], source: Option<&str>) -> LabeledResponse {
    LabeledResponse {
        prompt: "p".into(),
        response: response.into(),
        levels: levels.to_vec(),
        source: source.map(Into::into),
    }
}

fn read(files: &[PathBuf], options: &ReadOptions) -> Result<PreferenceData, String> {
    PreferenceData::read(files, options).map_err(|error| error.to_string())
}

/// Judgements of TruthfulQA's two judges.
fn judgements(question: &str, rows: &[(&str, &str)]) -> String {
    let row = |(answer, label): &(&str, &str)| {
        format!("{{\"prompt\": \"Q: p\\nA: {answer}\\n{question}:\", \"completion\": \" {label}\"}}\n")
    };
    rows.iter().map(row).collect()
}

#[test]
fn judgements_of_several_files_join_and_most_rows_decide() {
    let folder = tempfile::tempdir().unwrap();
    let votes = [("a", "yes"), ("b", "no"), ("b", "yes"), ("b", "yes"), ("c", "no"), ("c", "yes")];
    let truth = written(&folder, "truth.jsonl", &judgements("True", &votes));
    let info = written(&folder, "info.jsonl", &judgements("Helpful", &[("d", "no"), ("a", "yes")]));
    let data = read(&[truth, info], &ReadOptions::default()).unwrap();
    let names: Vec<&str> =
        data.schema.as_ref().unwrap().objectives().iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["truthful", "helpful"]);
    let human = Some("human");
    let expected = [
        answer("a", &[Some(1), Some(1)], human),
        answer("b", &[Some(1), None], human),
        // One says yes and one says no.
        answer("c", &[None, None], human),
        answer("d", &[None, Some(0)], human),
    ];
    assert_eq!(data.answers, expected);
    assert_eq!((data.repeated, data.outvoted, data.undecided), (4, 1, 1));
    assert!(data.summary().starts_with("4 answers to 1 prompts, 0 pairs"), "{}", data.summary());
}

#[test]
fn objectives_of_the_run_decide_what_labels_mean() {
    let folder = tempfile::tempdir().unwrap();
    let row = r#"{"prompt": "p", "response": "r", "helpfulness": 4, "correctness": 0, "coherence": 3, "complexity": 1, "verbosity": 2}"#;
    let helpsteer = written(&folder, "h.jsonl", row);
    let with = |objectives: Vec<Objective>| ReadOptions {
        objectives: Some(ObjectiveSchema::new(objectives).unwrap()),
        ..ReadOptions::default()
    };
    // Others do not count, and the order is that of the run.
    let two =
        with(vec![Objective::with_scale("verbosity", 0, 4), Objective::with_scale("helpfulness", 0, 4)]);
    let data = read(std::slice::from_ref(&helpsteer), &two).unwrap();
    assert_eq!(data.answers, [answer("r", &[Some(2), Some(4)], Some("human"))]);
    // A scale with more levels has those of the file, another one has not.
    let wider = with(vec![Objective::with_scale("helpfulness", -1, 5)]);
    let levels =
        |options| read(std::slice::from_ref(&helpsteer), options).map(|data| data.answers[0].levels.clone());
    assert_eq!(levels(&wider), Ok(vec![Some(5)]));
    let narrow = with(vec![Objective::with_scale("helpfulness", 1, 5)]);
    let message = levels(&narrow).unwrap_err();
    assert!(
        message.ends_with("h.jsonl: helpfulness: levels 0, 1, 2, 3, 4, expected 1, 2, 3, 4, 5"),
        "{message}"
    );

    // MOSLIM's own format says exactly what it says.
    let own = |text: &str| {
        let path = written(&folder, "own.jsonl", text);
        read(&[path], &two)
    };
    let good = r#"{"prompt": "p", "response": "r", "labels": {"verbosity": 2}}"#;
    assert_eq!(own(good).unwrap().answers, [answer("r", &[Some(2), None], None)]);
    let message = own(&format!("{good}\n{}", good.replace("verbosity", "verbose"))).unwrap_err();
    assert!(message.contains("own.jsonl:2: ") && message.contains("verbose"), "{message}");
}

#[test]
fn pairs_stay_pairs_or_become_two_labelled_answers() {
    let folder = tempfile::tempdir().unwrap();
    let rows = r#"[{"prompt": "p", "chosen": "a", "rejected": "b"}, {"prompt": "p", "chosen": "b", "rejected": "c"},
        {"prompt": "p"}]"#;
    let path = written(&folder, "pairs.json", rows);
    let options = |pairs| ReadOptions { pairs, on_error: OnError::Skip, ..ReadOptions::default() };
    let data = read(std::slice::from_ref(&path), &options(Pairs::Compare)).unwrap();
    assert_eq!((data.schema, data.answers.len(), data.comparisons.len()), (None, 0, 2));
    let data = read(std::slice::from_ref(&path), &options(Pairs::Label)).unwrap();
    assert_eq!(data.schema.as_ref().unwrap().objectives(), [Objective::with_scale("preference", 0, 1)]);
    // b is preferred once and not once.
    let expected = [answer("a", &[Some(1)], None), answer("b", &[None], None), answer("c", &[Some(0)], None)];
    assert_eq!(data.answers, expected);
    assert_eq!(data.dropped.dropped.values().sum::<usize>(), 1);
    // As of other rows, the answers stay where the run asks for nothing that they are labelled for.
    let objectives = ObjectiveSchema::new(vec![Objective::with_scale("other", 0, 1)]).unwrap();
    let other = ReadOptions { objectives: Some(objectives), ..options(Pairs::Label) };
    let data = read(&[path], &other).unwrap();
    assert_eq!(data.answers, ["a", "b", "c"].map(|response| answer(response, &[None], None)));
}
