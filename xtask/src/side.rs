//! Programs that execute a piece of work whenever they are told to.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::steps::Step;

/// Our own pieces of work, built.
pub struct Works {
    program: PathBuf,
}

impl Works {
    /// Builds them.
    ///
    /// # Errors
    /// If cargo cannot be started, or fails.
    pub fn build(root: &Path) -> Result<Self> {
        // The program is started by itself: cargo would wait for every other build, once for every piece of work.
        let step = Step::cargo("bench --workspace --bench works --no-run")
            .arguments(["--message-format=json-render-diagnostics"]);
        eprintln!("{step}");
        let built = step.command().current_dir(root).stderr(Stdio::inherit()).output();
        let built = built.with_context(|| format!("cannot start `{step}`"))?;
        ensure!(built.status.success(), "`{step}`: {}", built.status);
        let program = executable(&String::from_utf8_lossy(&built.stdout));
        Ok(Self { program: program.with_context(|| format!("`{step}` named no program"))? })
    }

    /// The call that prepares a work of a model, with some of its dimensions set, each as `rows=16`.
    pub fn command(&self, work: &str, model: &str, settings: &[String]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["--work", work, "--model", model]);
        settings.iter().for_each(|setting| {
            command.args(["--set", setting]);
        });
        command
    }
}

/// The program that cargo's messages, one to a line, say was built from the target `works`.
fn executable(messages: &str) -> Option<PathBuf> {
    let messages = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut works = messages.filter(|message| message["target"]["name"] == "works");
    works.find_map(|message| Some(message["executable"].as_str()?.into()))
}

/// A running program, prepared.
pub struct Side {
    child: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    name: String,
    /// What it said when it was ready.
    pub ready: Ready,
}

/// What a side says when it is ready.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct Ready {
    /// Additions and multiplications that the work takes at least, if it knows.
    #[serde(default)]
    pub floating_point_operations: f64,
    /// Bytes of weights, gradients and moments, where the work has a training in it.
    #[serde(default)]
    pub least_bytes: Option<f64>,
    /// Bytes that the work takes beyond model and inputs, about, if it knows.
    #[serde(default)]
    pub expected_bytes: f64,
}

/// One execution.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
pub struct Execution {
    /// How long it took.
    pub seconds: f64,
    /// What the process held before, where the system says so.
    pub base_bytes: Option<f64>,
    /// The most it held meanwhile.
    pub peak_bytes: Option<f64>,
}

impl Side {
    /// Starts a program and waits until it is ready.
    ///
    /// # Errors
    /// If it cannot be started, or ends or says something else.
    pub fn start(mut command: Command) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let orders = child.stdin.take().expect("it is piped");
        let answers = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut side = Self { child, orders, answers, name, ready: Ready::default() };
        side.ready = side.answer()?;
        Ok(side)
    }

    /// Executes the work once.
    ///
    /// # Errors
    /// If the program has ended, or says something else.
    pub fn run(&mut self) -> Result<Execution> {
        writeln!(self.orders, "run").with_context(|| format!("{} has ended", self.name))?;
        self.answer()
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        serde_json::from_str(&line).map_err(|error| {
            anyhow!("{}: said {:?}, expected a line of JSON: {error}", self.name, line.trim_end())
        })
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // A driver that stops in the middle leaves nobody running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_the_messages() {
        let messages = concat!(
            r#"{"reason":"compiler-artifact","target":{"name":"moslim"},"executable":"target/moslim"}"#,
            "\nwords\n",
            r#"{"reason":"compiler-artifact","target":{"name":"works"},"executable":"target/works-1"}"#,
            "\n",
            r#"{"reason":"build-finished","success":true}"#,
        );
        assert_eq!(executable(messages), Some("target/works-1".into()));
        assert_eq!(executable(r#"{"target":{"name":"works"},"executable":null}"#), None);
    }

    #[test]
    fn what_is_no_answer_is_shown() {
        let Some(error) = Side::start(Command::new("false")).err() else { panic!("it ended early") };
        assert!(error.to_string().starts_with("false: said \"\", expected a line of JSON"), "{error}");
    }
}
