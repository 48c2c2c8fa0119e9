//! Command lines: how they are written, shown, run one after the other, or handed over to.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::time::Instant;

use anyhow::{Context, Result};

/// One command line: a program, its arguments and what is set in its environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(&'static str, &'static str)>,
}

impl Step {
    /// A call of cargo, with the arguments written as in a shell: separated by spaces, none containing one.
    pub fn cargo(arguments: &str) -> Self {
        Self::program("cargo").arguments(arguments.split_whitespace())
    }

    /// A call of any program, by name or by path.
    pub fn program(program: impl Into<String>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new() }
    }

    /// The same call with more arguments at its end.
    pub fn arguments<A: Into<String>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// The same call with one environment variable set.
    pub fn environment(mut self, name: &'static str, value: &'static str) -> Self {
        self.environment.push((name, value));
        self
    }

    /// The call, not started.
    pub fn command(&self) -> Command {
        let program = match self.program.as_str() {
            // The cargo that started this program, so that a `cargo +toolchain` stays in force.
            "cargo" => env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
            other => OsString::from(other),
        };
        let mut command = Command::new(program);
        command.args(&self.arguments).envs(self.environment.iter().copied());
        command
    }
}

/// The step as one would type it into a shell.
impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.environment {
            write!(f, "{name}={} ", quoted(value))?;
        }
        write!(f, "{}", quoted(&self.program))?;
        self.arguments.iter().try_for_each(|argument| write!(f, " {}", quoted(argument)))
    }
}

fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// Runs the steps in `directory`, in order, up to the first that fails, whose exit code is returned.
///
/// # Errors
/// When a program cannot be started at all.
pub fn run(steps: &[Step], directory: &Path) -> Result<ExitCode> {
    let n_steps = steps.len();
    let start = Instant::now();
    for (position, step) in (1..).zip(steps) {
        eprintln!("[{position}/{n_steps}] {step}");
        let step_start = Instant::now();
        let status = step
            .command()
            .current_dir(directory)
            .status()
            .with_context(|| format!("cannot start `{step}`"))?;
        let seconds = step_start.elapsed().as_secs_f64();
        if !status.success() {
            eprintln!("[{position}/{n_steps}] failed after {seconds:.1} s, {status}: {step}");
            return Ok(exit_code(status));
        }
        eprintln!("[{position}/{n_steps}] done in {seconds:.1} s");
    }
    eprintln!("{n_steps} of {n_steps} steps done in {:.1} s", start.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

/// Becomes the step: it runs in the caller's directory and receives the caller's signals itself.
///
/// # Errors
/// When the program cannot be started.
pub fn hand_over(step: &Step) -> Result<ExitCode> {
    eprintln!("[1/1] {step}");
    replace_process(step.command()).with_context(|| format!("cannot start `{step}`"))
}

#[cfg(unix)]
fn replace_process(mut command: Command) -> std::io::Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec()) // It returns only when it failed.
}

#[cfg(not(unix))]
fn replace_process(mut command: Command) -> std::io::Result<ExitCode> {
    command.status().map(exit_code)
}

/// The exit code of a finished step; 1 when a signal ended it or the code does not fit.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_shown_as_a_shell_would_read_it() {
        let step = Step::cargo("bench --bench *")
            .arguments(["--", "it's", ""])
            .environment("RUSTDOCFLAGS", "-D warnings");
        let shown = step.to_string();
        assert_eq!(shown, r"RUSTDOCFLAGS='-D warnings' cargo bench --bench '*' -- 'it'\''s' ''");
    }

    #[cfg(unix)]
    mod unix {
        use super::*;

        fn shell(script: &str) -> Step {
            Step::program("sh").arguments(["-c", script])
        }

        #[test]
        fn steps_run_in_order_in_the_directory_with_their_environment() {
            let directory = tempfile::tempdir().unwrap();
            let steps = [
                shell("printf $ANSWER > answer").environment("ANSWER", "42"),
                shell("test $(cat answer) = 42"),
            ];
            assert_eq!(run(&steps, directory.path()).unwrap(), ExitCode::SUCCESS);
        }

        #[test]
        fn the_first_failure_ends_the_run_with_its_exit_code() {
            let directory = tempfile::tempdir().unwrap();
            let steps = [shell("exit 7"), shell("touch unreachable")];
            assert_eq!(run(&steps, directory.path()).unwrap(), ExitCode::from(7));
            assert!(!directory.path().join("unreachable").exists());
        }

        #[test]
        fn a_step_ended_by_a_signal_fails() {
            let steps = [shell("kill -9 $$")];
            assert_eq!(run(&steps, Path::new(".")).unwrap(), ExitCode::FAILURE);
        }

        #[test]
        fn a_program_that_does_not_exist_is_named() {
            let error = run(&[Step::program("no-such-program")], Path::new(".")).unwrap_err();
            assert_eq!(error.to_string(), "cannot start `no-such-program`");
        }
    }
}
