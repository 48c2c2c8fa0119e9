//! How Rust sources are written.

use crate::report;
use crate::repository::sources;

/// Beyond this a file has more than one reason to exist.
const MAX_LINES: usize = 400;

// Written in pieces, so that this file does not find itself.
const UNFINISHED: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("to", "do!"),
    concat!("unimpl", "emented!"),
    concat!("#[ig", "nore"),
];

/// The judge of the small world; whoever else called it would train on the answers.
const GOLD: &str = concat!("Go", "ld");
const GOLD_OF_A_WORLD: &str = concat!(".go", "ld()");

#[test]
fn no_file_is_long() {
    let sources = sources();
    let long = sources.iter().filter(|file| file.lines().count() > MAX_LINES);
    let breaches: Vec<_> =
        long.map(|file| format!("{}: {} lines", file.path, file.lines().count())).collect();
    report(sources.len(), &breaches);
}

#[test]
fn nothing_is_unfinished_or_skipped() {
    let sources = sources();
    let mut breaches = Vec::new();
    for file in &sources {
        for (number, line) in file.lines() {
            if let Some(mark) = UNFINISHED.iter().find(|mark| line.contains(**mark)) {
                breaches.push(format!("{}:{number}: {mark}", file.path));
            }
        }
    }
    report(sources.len(), &breaches);
}

#[test]
fn only_the_evaluation_calls_the_gold_judge() {
    let sources = sources();
    let may_call = |path: &str| {
        path.starts_with("crates/moslim-testbed/") || path.starts_with("crates/moslim/src/evaluation")
    };
    let n_callers = sources.iter().filter(|file| may_call(&file.path) && names_gold(&file.text)).count();
    let mut breaches = Vec::new();
    for file in sources.iter().filter(|file| !may_call(&file.path)) {
        let naming = file.lines().filter(|(_, line)| names_gold(line));
        breaches.extend(naming.map(|(number, _)| format!("{}:{number}", file.path)));
    }
    report(n_callers, &breaches);
}

/// Whether code, neither comment nor string, names the judge or asks a world for its own.
fn names_gold(text: &str) -> bool {
    let is_of_a_word = |c: char| c.is_alphanumeric() || c == '_';
    let lines = text.lines().filter_map(|line| line.split("//").next());
    let mut code = lines.flat_map(|line| line.split('"').step_by(2)); // Every second piece lies between quotes.
    code.any(|code| {
        code.contains(GOLD_OF_A_WORLD) || code.split(|c| !is_of_a_word(c)).any(|word| word == GOLD)
    })
}

#[test]
fn the_gold_judge_is_found_as_a_word_of_code() {
    assert!(names_gold(&format!("let {GOLD} = 1;")));
    assert!(names_gold(&format!("use moslim_testbed::{{{GOLD}, World}};")));
    assert!(names_gold(&format!("let judge = world{GOLD_OF_A_WORLD};")));
    assert!(!names_gold(&format!("let x = {GOLD}en; // {GOLD}")));
    assert!(!names_gold(&format!("let title = \"{GOLD} and proxy\";")));
}
