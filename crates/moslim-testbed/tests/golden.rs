//! A seed means the same texts for ever.

use std::fmt::Write as _;
use std::path::Path;

use moslim_testbed::{LabelOptions, Split, World, WorldKind};

/// A few prompts, answers and labels, one JSON array per line.
fn sample(kind: WorldKind) -> String {
    let world = World::new(kind, 1);
    let mut lines = String::new();
    for split in [Split::Train, Split::HeldOut] {
        for labeled in world.labeled(split, 6, 3, &LabelOptions { noise: 0.1, ..Default::default() }).unwrap()
        {
            let gold = world.gold().levels(&labeled.prompt.question, &labeled.response).unwrap();
            let line = serde_json::json!([labeled.prompt, labeled.response, gold, labeled.levels]);
            writeln!(lines, "{line}").unwrap();
        }
    }
    lines
}

fn check(kind: WorldKind, file_name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(file_name);
    let found = sample(kind);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "the texts of seed 1 differ from {}, so every earlier result would change; \
         if that is meant, run `UPDATE_GOLDEN=1 cargo test -p moslim-testbed --test golden` and commit the file. \
         Found:\n{found}",
        path.display()
    );
}

#[test]
fn local_texts_never_change() {
    check(WorldKind::Local, "local.jsonl");
}

#[test]
fn lookup_texts_never_change() {
    check(WorldKind::Lookup, "lookup.jsonl");
}
