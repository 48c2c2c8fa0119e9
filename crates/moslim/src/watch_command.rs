//! `moslim watch`

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use moslim::Recipe;
use serde_json::{Map, Value};

/// `moslim watch`
#[derive(Args)]
pub struct Watch {
    /// The run folder
    run: PathBuf,
    /// Shows the run again and again, every so many seconds, until Ctrl-C
    #[arg(long, value_name = "SECONDS")]
    every: Option<f64>,
    /// The width in characters instead of that of the terminal
    #[arg(long)]
    width: Option<usize>,
}

/// Where standard output is no terminal.
const WIDTH: usize = 120;

impl Watch {
    /// Shows how policy optimisation is going.
    pub fn run(&self) -> anyhow::Result<()> {
        loop {
            let view = self.view()?;
            let mut out = std::io::stdout();
            if self.every.is_some() && out.is_terminal() {
                // From the top of a cleared screen.
                out.write_all(b"\x1b[2J\x1b[H")?;
            }
            out.write_all(view.as_bytes())?;
            out.flush()?;
            let Some(seconds) = self.every else { return Ok(()) };
            let pause = Duration::try_from_secs_f64(seconds).context("--every")?;
            std::thread::sleep(pause.max(Duration::from_millis(100)));
        }
    }

    fn view(&self) -> anyhow::Result<String> {
        let lines = self.lines("policy")?;
        let recipe = self.run.join("recipe.toml");
        let recipe = Recipe::read(&recipe.display().to_string(), &[])?;
        let width = self.width.or_else(terminal_width).unwrap_or(WIDTH);
        let mut view = moslim::view(&lines, "policy", width, Some(recipe.policy.max_steps));
        for warning in self.lines("warnings")? {
            let part = |key: &str| warning.get(key).and_then(Value::as_str).unwrap_or_default();
            let step = warning.get("step").and_then(Value::as_u64).unwrap_or_default();
            view += &format!("warning: step {step}: {}: {}\n", part("sign"), part("message"));
        }
        Ok(view)
    }

    /// The lines of a log, without one that is just being written.
    fn lines(&self, log: &str) -> anyhow::Result<Vec<Map<String, Value>>> {
        let path = self.run.join("metrics").join(format!("{log}.jsonl"));
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.run.exists() => String::new(),
            text => text.with_context(|| format!("{}: expected the folder of a run", self.run.display()))?,
        };
        Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
    }
}

fn terminal_width() -> Option<usize> {
    std::io::stdout().is_terminal().then(|| std::env::var("COLUMNS").ok()?.parse().ok()).flatten()
}
