//! Pieces of work to be measured from outside, one execution at a time, each in a process of its own.
//!
//! `cargo bench --workspace --bench works -- --work train --model llama-7m` prepares the work, executes it once, and prints a line
//! of JSON; then it executes it for every line `run` that it reads, and prints its seconds and the memory that the process took.
//! `--set rows=32` asks for another size, and may be given several times.
//! `cargo xtask bench compare` drives it and its twin, `tools/reference/works.py`, in turns; `cargo xtask bench growth` drives it
//! at one size after the other.
//! With `--test` it executes every work once on a tiny model; without a work it does nothing.

#![allow(clippy::print_stdout, reason = "a driver reads it")]

mod arithmetic;
mod memory;
mod models;
mod shape;
mod work;

use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::{Context, Result, anyhow};
use serde_json::json;

use self::shape::{Shape, Size};
use self::work::{Work, prepare};

fn main() -> Result<()> {
    moslim::keep_freed_memory();
    let arguments: Vec<String> = std::env::args().collect();
    let values = |name: &'static str| {
        let pairs = arguments.windows(2).filter(move |pair| pair[0] == name);
        pairs.map(|pair| pair[1].as_str())
    };
    if arguments.iter().any(|argument| argument == "--test") {
        for name in shape::NAMES {
            let shape = Shape::of(name, Size::Tiny, &[])?;
            prepare(name, &models::config("tiny").expect("it is known"), &shape).execute();
        }
        return Ok(());
    }
    let (Some(work), Some(model)) = (values("--work").next(), values("--model").next()) else {
        return Ok(());
    };
    let config = models::config(model)
        .ok_or_else(|| anyhow!("no model {model}, expected one of {}", models::NAMES.join(", ")))?;
    let shape = Shape::of(work, Size::Full, &values("--set").collect::<Vec<_>>())?;
    serve(prepare(work, &config, &shape))
}

/// Executes the work for every line that is read.
fn serve(mut work: Work) -> Result<()> {
    let mut out = std::io::stdout();
    let mut say = |value: serde_json::Value| -> Result<()> {
        writeln!(out, "{value}")?;
        Ok(out.flush()?)
    };
    // Freed memory is kept, so that what was held before the first execution is what the work began with.
    let base = memory::restart_peak();
    work.execute();
    let Work { parameters, floating_point_operations, least_bytes, expected_bytes, .. } = work;
    say(json!({
        "ready": true,
        "parameters": parameters,
        "floating_point_operations": floating_point_operations,
        "least_bytes": least_bytes,
        "expected_bytes": expected_bytes,
    }))?;
    for line in std::io::stdin().lock().lines() {
        if line.context("cannot read from the driver")?.trim() != "run" {
            break;
        }
        memory::restart_peak();
        let began = Instant::now();
        work.execute();
        let seconds = began.elapsed().as_secs_f64();
        say(json!({ "seconds": seconds, "base_bytes": base, "peak_bytes": memory::peak() }))?;
    }
    Ok(())
}
