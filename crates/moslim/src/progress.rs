//! What a person sees while a run is going on.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Where progress goes: a bar on a terminal, a line every so often elsewhere, or nowhere.
#[derive(Clone, Debug)]
pub enum Progress {
    /// To standard error.
    Shown,
    /// Nowhere.
    Hidden,
}

/// Time between lines where standard error is not a terminal.
const LINE_EVERY: Duration = Duration::from_secs(15);

impl Progress {
    /// Announces a stage of so many steps.
    pub(crate) fn stage(&self, name: &str, steps: usize) -> StageProgress {
        let terminal = std::io::stderr().is_terminal();
        let bar = match (self, terminal) {
            (Self::Shown, true) => {
                ProgressBar::with_draw_target(Some(steps as u64), ProgressDrawTarget::stderr_with_hz(5))
            }
            _ => ProgressBar::hidden(),
        };
        let style = "{prefix:>12} {bar:30} {pos}/{len} {per_sec} left {eta} {wide_msg}";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is well-formed"));
        bar.set_prefix(name.to_owned());
        let lines = matches!(self, Self::Shown) && !terminal;
        StageProgress {
            name: name.into(),
            bar,
            lines,
            steps,
            done: 0,
            done_before: 0,
            started: Instant::now(),
            last_line: None,
        }
    }

    /// Says something that stays on the screen.
    pub(crate) fn say(&self, message: &str) {
        if matches!(self, Self::Shown) {
            line(message);
        }
    }
}

/// The progress of one stage.
pub(crate) struct StageProgress {
    name: String,
    bar: ProgressBar,
    lines: bool,
    steps: usize,
    done: usize,
    /// Steps that an earlier try did.
    done_before: usize,
    started: Instant,
    last_line: Option<Instant>,
}

impl StageProgress {
    /// So many steps were done before by an earlier try.
    pub(crate) fn go_on_from(&mut self, done: usize) {
        (self.done, self.done_before) = (done, done);
        // The bar tells the rate from its start, too.
        self.bar.set_position(done as u64);
        self.bar.reset_eta();
    }

    /// One more step is done; `numbers` are the current ones.
    pub(crate) fn advance(&mut self, numbers: impl FnOnce() -> String) {
        self.done += 1;
        let due = self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) || self.done == self.steps;
        if self.lines && due {
            let elapsed = self.started.elapsed().as_secs_f64();
            let rate = (self.done - self.done_before) as f64 / elapsed;
            let left = (self.steps.saturating_sub(self.done)) as f64 / rate;
            let (name, done, steps) = (&self.name, self.done, self.steps);
            line(&format!("{name}: {done}/{steps}, {rate:.2}/s, {left:.0} s left, {}", numbers()));
            self.last_line = Some(Instant::now());
        } else if !self.bar.is_hidden() {
            self.bar.set_message(numbers());
        }
        self.bar.inc(1);
    }

    /// The stage is over; returns its seconds.
    pub(crate) fn finish(self) -> f64 {
        self.bar.finish();
        self.started.elapsed().as_secs_f64()
    }
}

/// The one place where the library writes to standard error.
#[allow(clippy::print_stderr)]
fn line(message: &str) {
    eprintln!("{message}");
}
