//! The program as a person uses it: whole runs on a tiny scale, single stages, and everything that can go wrong.

mod compare;
mod data;
mod errors;
mod fake_server;
mod hub;
mod policy_training;
mod reward;
mod reward_more;
mod reward_training;
mod rollout_server;
mod running;
mod runs;
mod text_commands;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

/// The program, without anything shown.
fn moslim(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program starts")
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_moslim"));
    command.args(arguments);
    command
}

/// Changes that make the default recipe a matter of seconds.
const TINY: &[&str] = &[
    "data.sft_answers=256",
    "data.labeled_answers=256",
    "data.held_out_answers=60",
    "model.hidden_size=16",
    "model.intermediate_size=32",
    "model.num_hidden_layers=1",
    "model.num_attention_heads=2",
    "model.num_key_value_heads=2",
    "policy.max_steps=3",
    "policy.prompts_per_step=6",
    "policy.eval_steps=2",
    "policy.eval_answers=12",
    "policy.training.num_generations=2",
    "policy.training.sampling.max_new_tokens=24",
    "evaluation.prompts=12",
    "evaluation.resamples=20",
];

/// `moslim STAGE quickstart`, such as `reward fit`, on a tiny scale, with more changes.
fn tiny(stage: &str, out: &Path, changes: &[&str]) -> Command {
    let mut command = command(&stage.split(' ').collect::<Vec<_>>());
    command.args(["quickstart", "--quiet", "--out"]).arg(out);
    for change in TINY.iter().chain(changes) {
        command.args(["--set", change]);
    }
    command
}

/// A folder with a tiny start policy in it, and the policy's own folder.
fn start_policy() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    assert_success(&tiny("sft", &out, &[]).output().unwrap());
    (folder, out.join("start"))
}

/// Standard error of a run that must fail with this code.
#[track_caller]
fn failure(output: &Output, code: i32) -> String {
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{message}");
    assert!(!message.contains("panicked"), "{message}");
    message
}

#[track_caller]
fn assert_success(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
