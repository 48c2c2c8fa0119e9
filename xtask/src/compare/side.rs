//! A program that executes a piece of work whenever it is told to.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use serde::de::DeserializeOwned;

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
