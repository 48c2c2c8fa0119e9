//! Files that become the data of a run.

use std::path::PathBuf;

use moslim_data::{
    InspectOptions, Inspection, LabeledResponse, Objective, ObjectiveSchema, OnError, Pairs, PreferenceData,
    ReadOptions,
};
use tempfile::TempDir;

fn written(folder: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn answer(response: &str, levels: &[Option<usize>], source: Option<&str>) -> LabeledResponse {
    let answer = LabeledResponse::new("p", response, levels.to_vec());
    match source {
        Some(source) => answer.from_source(source),
        None => answer,
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

#[test]
fn a_label_keeps_its_source_and_rows_vote_by_their_weight() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = r#"
        objectives = [{ name = "tone", scale = [0, 1] }, { name = "truth", scale = [0, 1] }]
        [[answers]]
        prompt = "q"
        response = "a"
        labels = { tone = "tone", truth = { at = "truth", source = "rule" } }
        source = { at = "by" }
        weight = "sure"
    "#;
    let rows = r#"{"q": "p", "a": "r", "tone": 0, "truth": 1, "by": "Ann", "sure": 1}
        {"q": "p", "a": "r", "tone": 0, "by": "Bob", "sure": "1.5"}
        {"q": "p", "a": "r", "tone": 1, "by": "Eve", "sure": 3}
        {"q": "p", "a": "s", "tone": 1}"#;
    let path = written(&folder, "votes.jsonl", rows);
    let options = ReadOptions { mapping: Some(toml::from_str(mapping).unwrap()), ..ReadOptions::default() };
    let data = read(std::slice::from_ref(&path), &options).unwrap();
    // Eve alone weighs more than Ann and Bob; (1 + 1.5 + 3) / 3 rows.
    let eve_and_a_rule = LabeledResponse {
        sources: vec![Some("Eve".into()), Some("rule".into())],
        weight: 5.5 / 3.0,
        ..answer("r", &[Some(1), Some(1)], None)
    };
    assert_eq!(data.answers, [eve_and_a_rule, answer("s", &[Some(1), None], None)]);
    let wrong = written(&folder, "wrong.jsonl", r#"{"q": "p", "a": "r", "sure": -1}"#);
    let message = read(&[wrong], &options).unwrap_err();
    assert!(
        message.ends_with("wrong.jsonl:1: weight: found -1, expected a number from 1e-6 to 1e6"),
        "{message}"
    );
}

#[test]
fn slips_in_a_mapping_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let path = written(&folder, "rows.jsonl", r#"{"q": "p", "a": "r", "s": 1}"#);
    let objectives = "objectives = [{ name = \"tone\", levels = [\"cold\", \"mild\", \"warm\"] }]\n";
    let answers = "[[answers]]\nprompt = \"q\"\nresponse = \"a\"\n";
    for (labels, expected) in [
        ("labels = { tonne = \"s\" }", "labels for `tonne`, expected one of the objectives tone"),
        ("labels = { tone = { bins = [1, 2] } }", "tone: expected at, where the label stands, or level"),
        (
            "labels = { tone = { at = \"s\", bins = [2, 1] } }",
            "tone: bins [2.0, 1.0], expected 2 numbers, ascending",
        ),
        ("labels = { tone = { at = \"s\", bins = [2] } }", "tone: bins [2.0], expected 2 numbers, ascending"),
        (
            "labels = { tone = { at = \"s\", values = { 1 = \"hot\" } } }",
            "tone: level hot, expected cold, mild, warm",
        ),
        (
            "labels = { tone = { at = \"s\", bins = [1, 2], level = \"warm\" } }",
            "tone: expected only one of values, bins and level",
        ),
    ] {
        let mapping = toml::from_str(&format!("{objectives}{answers}{labels}")).unwrap();
        let options = ReadOptions { mapping: Some(mapping), ..ReadOptions::default() };
        let message = read(std::slice::from_ref(&path), &options).unwrap_err();
        assert_eq!(message, format!("mapping: {expected}"));
    }
    let speakers = "[[answers]]\nprompt = { at = \"q\", speakers = { user = \"\", assistant = \"A\" } }\nresponse = \"a\"";
    for (text, expected) in [
        (speakers, "mapping: q: found an empty divider or speaker"),
        ("missing = [\"-\"]", "mapping: found no answers, comparisons, rankings or prompts, expected some"),
    ] {
        let options = ReadOptions { mapping: Some(toml::from_str(text).unwrap()), ..ReadOptions::default() };
        assert_eq!(read(std::slice::from_ref(&path), &options).unwrap_err(), expected);
    }
}

#[test]
fn a_first_row_without_labels_hides_none() {
    let folder = tempfile::tempdir().unwrap();
    let rows = "{\"prompt\": \"p\", \"response\": \"r\"}\n\
                {\"prompt\": \"p\", \"response\": \"s\", \"labels\": {\"h\": 1}}";
    let data = read(&[written(&folder, "own.jsonl", rows)], &ReadOptions::default()).unwrap();
    assert_eq!(data.answers, [answer("r", &[None], None), answer("s", &[Some(1)], None)]);
    let table = "prompt,response,helpfulness\np,r,3";
    let message = read(&[written(&folder, "some.csv", table)], &ReadOptions::default()).unwrap_err();
    assert!(message.contains("rows with prompt, response, helpfulness, expected a mapping"), "{message}");
}

#[test]
fn what_is_never_labelled_is_no_objective() {
    let folder = tempfile::tempdir().unwrap();
    let row =
        r#"{"prompt": "p", "response": "r", "labels": {"tone": null, "h": 3}, "source": {"tone": null}}"#;
    let data = read(&[written(&folder, "own.jsonl", row)], &ReadOptions::default()).unwrap();
    assert_eq!(data.schema.unwrap().objectives(), [Objective::with_scale("h", 0, 3)]);
    assert_eq!(data.answers[0].levels, [Some(3)]);
}

#[test]
fn quantiles_are_those_of_all_files() {
    let folder = tempfile::tempdir().unwrap();
    let mapping = r#"
        missing = ["-"]
        objectives = [{ name = "score", levels = ["low", "medium", "high"] }]
        [[answers]]
        prompt = "q"
        response = "a"
        labels = { score = { at = "score", bins = "quantiles" } }
    "#;
    let row = |score: &str| format!("{{\"q\": \"p\", \"a\": \"{score}\", \"score\": \"{score}\"}}\n");
    let rows = |scores: &[&str]| scores.iter().map(|score| row(score)).collect::<String>();
    let one = written(&folder, "one.jsonl", &rows(&["9", "-", "1e3", "2"]));
    let other = written(&folder, "other.jsonl", &rows(&["3", "40", "-5"]));
    let options = ReadOptions { mapping: Some(toml::from_str(mapping).unwrap()), ..ReadOptions::default() };
    let data = read(&[one.clone(), other.clone()], &options).unwrap();
    // -5 2 | 3 9 | 40 1000
    assert_eq!(data.bounds["score"], [3.0, 40.0]);
    let levels: Vec<Option<usize>> = data.answers.iter().map(|answer| answer.levels[0]).collect();
    assert_eq!(levels, [Some(1), None, Some(2), Some(0), Some(1), Some(2), Some(0)]);
    let inspect = InspectOptions { mapping: options.mapping.as_ref(), ..InspectOptions::default() };
    assert_eq!(Inspection::of(&[one, other], inspect).unwrap().objectives["score"].counts, [2, 2, 2]);
    let few = written(&folder, "few.jsonl", &rows(&["1", "2", "-"]));
    let message = read(&[few], &options).unwrap_err();
    assert_eq!(
        message,
        "score: bins = \"quantiles\": 2 different values, expected at least 3, one for each level"
    );
}

#[test]
fn the_own_format_keeps_sources_and_weights_with_any_objectives() {
    let folder = tempfile::tempdir().unwrap();
    let row = r#"{"prompt": "p", "response": "r", "labels": {"a": 3, "b": 0}, "source": {"a": "model"}, "weight": 2}
        {"prompt": "p", "response": "s", "labels": {"a": 1, "b": 1}}"#;
    let path = written(&folder, "own.jsonl", row);
    let data = read(&[path], &ReadOptions::default()).unwrap();
    let first = LabeledResponse {
        sources: vec![Some("model".into()), None],
        weight: 2.0,
        ..answer("r", &[Some(2), Some(0)], None)
    };
    assert_eq!(data.answers, [first, answer("s", &[Some(0), Some(1)], None)]);
    assert_eq!(data.schema.unwrap().objectives()[0], Objective::with_scale("a", 1, 3));
}
