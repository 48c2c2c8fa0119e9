//! Files that somebody broke: records or an error with its place, never a panic.

mod hostile_file;

use std::cell::Cell;
use std::path::Path;

use hostile_file::{Outcome, read, read_mapped};
use moslim_data::OnError;
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
        match read(name, &bytes, None, on_error) {
            Outcome::Read { records } => read_well.set(read_well.get() + usize::from(records > 1)),
            Outcome::Refused => refused.set(refused.get() + 1),
        }
    });
    // Both happen often enough to mean something.
    assert!(read_well.get() > 30 && refused.get() > 300, "{} and {}", read_well.get(), refused.get());
}

/// What fuzzing found interesting stays so.
#[test]
fn stored_files() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut n = 0;
    for target in std::fs::read_dir(corpus).unwrap() {
        let target = target.unwrap().path();
        let name = target.file_name().unwrap().to_str().unwrap();
        for input in std::fs::read_dir(&target).unwrap() {
            let bytes = std::fs::read(input.unwrap().path()).unwrap();
            n += 1;
            match name {
                "mapping" => read_mapped(&bytes),
                layout => {
                    for on_error in [OnError::Fail, OnError::Skip] {
                        read(&format!("a.{}", layout.replace('_', ".")), &bytes, None, on_error);
                    }
                }
            }
        }
    }
    assert!(n > 50, "{n} stored files");
}
