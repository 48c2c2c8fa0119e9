//! What each task runs.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;

use crate::steps::Step;

/// The arguments of `cargo xtask train`.
#[derive(Debug, Args)]
pub struct TrainArguments {
    /// The name of a recipe that MOSLIM brings along, or the path of a recipe file.
    #[arg(default_value = "quickstart")]
    recipe: String,
    /// Replace one value of the recipe; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The folder of the run.
    #[arg(long, value_name = "DIR")]
    out: Option<String>,
    /// Replace an earlier run in that folder.
    #[arg(long)]
    overwrite: bool,
    /// Further arguments of `moslim train`.
    #[arg(last = true)]
    further: Vec<String>,
}

/// `moslim train`, built for release.
pub fn train(arguments: &TrainArguments) -> Step {
    let settings = arguments.set.iter().flat_map(|setting| ["--set", setting]);
    let out = arguments.out.iter().flat_map(|directory| ["--out", directory]);
    Step::cargo("run --release --package moslim -- train")
        .arguments([&arguments.recipe])
        .arguments(settings)
        .arguments(out)
        .arguments(arguments.overwrite.then_some("--overwrite"))
        .arguments(&arguments.further)
}

/// Every test of the workspace; cargo shows them as they pass.
pub fn test(filter: Option<String>) -> Step {
    Step::cargo("test --workspace").arguments(filter)
}

/// Every benchmark, measured.
pub fn bench(filter: Option<String>) -> Step {
    // Naming the bench targets leaves out the unit tests of the libraries, which `--benches` includes.
    let step = Step::cargo("bench --workspace --bench *");
    match filter {
        Some(filter) => step.arguments(["--", &filter]),
        None => step,
    }
}

/// The documentation of every crate, where a warning is an error.
pub fn docs() -> Step {
    Step::cargo("doc --workspace --no-deps").environment("RUSTDOCFLAGS", "-D warnings")
}

/// Everything that continuous integration runs, the quickest answer first.
///
/// # Errors
/// When the folders of the examples cannot be read.
pub fn ci(root: &Path) -> Result<Vec<Step>> {
    let mut steps = vec![
        Step::cargo("fmt --all --check"),
        Step::cargo("clippy --workspace --all-targets -- -D warnings"),
        test(None),
        docs(),
    ];
    steps.extend(run_examples(root)?);
    // The dev profile, because Burn is already built with it; `--test` runs every benchmark once.
    steps.push(Step::cargo("bench --workspace --profile dev --bench * -- --test"));
    // DOCS_RS keeps a build script from downloading LLVM; a type check needs none.
    steps.push(
        Step::cargo("check --package moslim --no-default-features --features cuda --target-dir target/cuda")
            .environment("DOCS_RS", "1"),
    );
    Ok(steps)
}

/// Builds all examples at once and runs each: `cargo run` would build Burn anew for every crate's own set of features.
fn run_examples(root: &Path) -> Result<Vec<Step>> {
    let executables = target_directory(root).join("debug/examples");
    let mut steps = vec![Step::cargo("build --workspace --examples")];
    for name in example_names(root)? {
        steps.push(Step::program(executables.join(name).display().to_string()));
    }
    Ok(steps)
}

/// The names of all `crates/*/examples/*.rs` and `crates/*/examples/*/main.rs`, sorted.
fn example_names(root: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for package in folder_entries(&root.join("crates"))? {
        let examples = package.join("examples");
        if !examples.is_dir() {
            continue;
        }
        let files = folder_entries(&examples)?.into_iter();
        let is_source = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "rs");
        let sources = files.filter(|file| is_source(file) || file.join("main.rs").is_file());
        names.extend(sources.filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())));
    }
    names.sort();
    Ok(names)
}

fn folder_entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    entries.with_context(|| format!("cannot list {}", folder.display()))
}

/// Where cargo builds the workspace.
pub fn target_directory(root: &Path) -> PathBuf {
    root.join(env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "target".into()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Train {
        #[command(flatten)]
        arguments: TrainArguments,
    }

    fn train_line(line: &str) -> String {
        train(&Train::parse_from(line.split(' ')).arguments).to_string()
    }

    #[test]
    fn train_starts_the_quickstart_by_default() {
        assert_eq!(train_line("train"), "cargo run --release --package moslim -- train quickstart");
    }

    #[test]
    fn train_passes_everything_on() {
        assert_eq!(
            train_line(
                "train my.toml --set seed=2 --set rloo.kl_coef=0.1 --out runs/a --overwrite -- --device cuda:0"
            ),
            "cargo run --release --package moslim -- train my.toml \
             --set seed=2 --set rloo.kl_coef=0.1 --out runs/a --overwrite --device cuda:0"
        );
    }

    #[test]
    fn a_filter_reaches_the_tests_and_the_benchmarks() {
        assert_eq!(test(None).to_string(), "cargo test --workspace");
        assert_eq!(test(Some("kl".into())).to_string(), "cargo test --workspace kl");
        assert_eq!(bench(None).to_string(), "cargo bench --workspace --bench '*'");
        assert_eq!(bench(Some("kl".into())).to_string(), "cargo bench --workspace --bench '*' -- kl");
    }

    #[test]
    fn ci_runs_every_example_after_building_them_together() {
        let root = tempfile::tempdir().unwrap();
        for file in [
            "b/examples/two/main.rs",
            "b/examples/two/more.rs",
            "a/examples/one.rs",
            "a/examples/notes.md",
            "c/src/lib.rs",
        ] {
            let path = root.path().join("crates").join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert_eq!(example_names(root.path()).unwrap(), ["one", "two"]);
        let steps: Vec<_> = ci(root.path()).unwrap().iter().map(Step::to_string).collect();
        let build = steps.iter().position(|step| step == "cargo build --workspace --examples").unwrap();
        assert!(steps[build + 1].ends_with("examples/one"), "{}", steps[build + 1]);
        assert!(steps[build + 2].ends_with("examples/two"), "{}", steps[build + 2]);
    }

    #[test]
    fn a_missing_folder_is_named() {
        let error = ci(Path::new("nowhere")).unwrap_err();
        assert!(error.to_string().starts_with("cannot list nowhere"), "{error}");
    }
}
