//! Files that somebody broke: records or an error with its place, never a panic.

use moslim_data::{InspectOptions, Inspection, OnError, PreferenceData, ReadOptions};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Rows of several formats, to be torn apart and put together.
const PIECES: [&str; 30] = [
    r#"{"prompt": "p", "response": "r", "labels": {"a": 1, "b": "x"}}"#,
    r#"{"prompt": "p", "response": "r", "labels": {"a": 99999999999999999999}}"#,
    r#"{"prompt": "p", "response": "r", "labels": []}"#,
    r#"{"prompt": "p", "chosen": "c", "rejected": "r"}"#,
    r#"{"chosen": [{"role": "user", "content": "p"}], "rejected": [[]]}"#,
    r#"{"context": [], "completions": [{"rank": null, "completion": "a"}, {"rank": 1e999, "completion": 3}]}"#,
    r#"{"prompt": "p", "completion": "c", "label": true}"#,
    r#"{"instruction": "p", "completions": [{"response": "r", "annotations": {"harmlessness": [{}]}}]}"#,
    r#"{"user_query": "p", "chatgpt_response": "r", "human_judge": ["true", null, 3]}"#,
    r#"{"source": "x", "chosen_instruction": "", "rejected_instruction": null}"#,
    "{\"prompt\": \"Q: q\\nA: a\\nTrue:\", \"completion\": \" yes\"}",
    "prompt,completion,label\n",
    "prompt\tcompletion\n",
    "a,\"b\n,c\",true\n",
    "\u{feff}",
    "\"",
    "\\u00",
    "[",
    "]",
    "{",
    "}",
    ",",
    ":",
    "\n",
    "\r\n",
    "\0",
    "é😀",
    "null",
    "-1e-999",
    " ",
];

const NAMES: [&str; 7] = ["a.jsonl", "a.json", "a.csv", "a.tsv", "a.jsonl.gz", "a.json.zst", "a.parquet"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, rng_seed: RngSeed::Fixed(4), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_in_a_file(
        name in prop::sample::select(NAMES.to_vec()),
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..12),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        on_error in prop::sample::select(vec![OnError::Fail, OnError::Skip]),
    ) {
        let mut bytes = pieces.concat().into_bytes();
        for (index, flip) in flips {
            if !bytes.is_empty() {
                let at = index.index(bytes.len());
                bytes[at] ^= flip;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let inspected = Inspection::of(std::slice::from_ref(&path), InspectOptions { on_error, ..InspectOptions::default() });
        let read = PreferenceData::read(std::slice::from_ref(&path), &ReadOptions { on_error, ..ReadOptions::default() });
        let place = path.display().to_string();
        match (inspected, read) {
            (Ok(inspected), Ok(read)) => {
                prop_assert_eq!(inspected.comparisons, read.comparisons.len());
                prop_assert_eq!(inspected.dropped, read.dropped);
            }
            // Both know the place, and the same one.
            (Err(one), Err(other)) => {
                prop_assert_eq!(one.to_string(), other.to_string());
                prop_assert!(one.to_string().starts_with(&place), "{}", one);
            }
            (one, other) => prop_assert!(false, "{one:?} but {other:?}"),
        }
    }
}
