//! Files that somebody broke: records or an error with its place, never a panic.

use std::cell::Cell;

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

/// So many of the pieces are rows.
const ROWS: usize = 11;

const NAMES: [&str; 9] =
    ["a.jsonl", "a.jsonl", "a.jsonl", "a.json", "a.csv", "a.tsv", "a.jsonl.gz", "a.json.zst", "a.parquet"];

#[test]
fn whatever_stands_in_a_file() {
    let config = ProptestConfig {
        cases: 3000,
        rng_seed: RngSeed::Fixed(4),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let (read_well, refused) = (Cell::new(0), Cell::new(0));
    proptest!(config, |(
        name in prop::sample::select(NAMES.to_vec()),
        separator in prop::sample::select(vec!["\n", "\n", "\n", "", ","]),
        first in prop::sample::select(PIECES[..ROWS].to_vec()),
        repeated in 0..5_usize,
        pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..6),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2),
        on_error in prop::sample::select(vec![OnError::Fail, OnError::Skip, OnError::Skip]),
    )| {
        let rows = std::iter::repeat_n(first, repeated).chain(pieces);
        let mut bytes = rows.collect::<Vec<_>>().join(separator).into_bytes();
        for (index, flip) in flips {
            if !bytes.is_empty() {
                let at = index.index(bytes.len());
                bytes[at] ^= flip;
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let files = std::slice::from_ref(&path);
        let inspected = Inspection::of(files, InspectOptions { on_error, ..InspectOptions::default() });
        let read = PreferenceData::read(files, &ReadOptions { on_error, ..ReadOptions::default() });
        let place = path.display().to_string();
        match (inspected, read) {
            (Ok(inspected), Ok(read)) => {
                let answers = inspected.records - inspected.comparisons - read.prompts.len();
                prop_assert_eq!(inspected.comparisons, read.comparisons.len());
                prop_assert_eq!(answers, read.answers.len() + read.repeated);
                prop_assert_eq!(inspected.dropped, read.dropped);
                read_well.set(read_well.get() + usize::from(inspected.records > 1));
            }
            // Both know the place, and the same one.
            (Err(one), Err(other)) => {
                prop_assert_eq!(one.to_string(), other.to_string());
                prop_assert!(one.to_string().starts_with(&place), "{}", one);
                refused.set(refused.get() + 1);
            }
            (one, other) => prop_assert!(false, "{one:?} but {other:?}"),
        }
    });
    // Both happen often enough to mean something.
    assert!(read_well.get() > 30 && refused.get() > 300, "{} and {}", read_well.get(), refused.get());
}
