//! How a package presents itself: its manifest, licence, README, examples and golden files.

use std::collections::BTreeMap;
use std::fs;

use cargo_metadata::{Package, TargetKind};
use toml::{Table, Value};

use crate::report;
use crate::repository::{TextFile, crates, folder, packages, root, sources, text_files};

fn manifest(package: &Package) -> Table {
    let text = fs::read_to_string(&package.manifest_path).unwrap();
    text.parse().unwrap_or_else(|error| panic!("{}: {error}", package.manifest_path))
}

fn is_inherited(value: Option<&Value>) -> bool {
    value.and_then(|value| value.get("workspace")).and_then(Value::as_bool) == Some(true)
}

#[test]
fn what_packages_share_comes_from_the_workspace() {
    let packages = packages();
    let mut breaches = Vec::new();
    for package in &packages {
        let manifest = manifest(package);
        for key in ["version", "edition", "rust-version", "license"] {
            if !is_inherited(manifest["package"].get(key)) {
                breaches.push(format!("{}: package.{key} is not inherited", package.name));
            }
        }
        for kind in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let dependencies = manifest.get(kind).and_then(Value::as_table).into_iter().flatten();
            for (name, dependency) in dependencies.filter(|(name, _)| package.name.as_str() != *name) {
                if !is_inherited(Some(dependency)) {
                    breaches.push(format!("{}: {kind}.{name} is not inherited", package.name));
                }
            }
        }
        if manifest.contains_key("target") {
            breaches.push(format!("{}: dependencies of one platform are not checked yet", package.name));
        }
    }
    report(packages.len(), &breaches);
}

#[test]
fn every_package_says_what_it_is_and_under_which_licence() {
    let packages = packages();
    let mut breaches = Vec::new();
    for package in &packages {
        if package.license.as_deref() != Some("MIT OR Apache-2.0") {
            breaches.push(format!("{}: licence {:?}", package.name, package.license));
        }
        if package.description.as_deref().is_none_or(str::is_empty) {
            breaches.push(format!("{}: no description", package.name));
        }
    }
    report(packages.len(), &breaches);
}

#[test]
fn the_licences_are_there() {
    let starts = [
        ("LICENSE", "MOSLIM is licensed under Apache-2.0 OR MIT"),
        ("LICENSE-MIT", "MIT License"),
        ("LICENSE-APACHE", "Apache License"),
    ];
    for (file, start) in starts {
        let text = fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(text.trim_start().starts_with(start), "{file} does not start with `{start}`");
    }
}

#[test]
fn every_crate_has_a_readme_that_is_its_documentation() {
    let crates = crates();
    let mut breaches = Vec::new();
    for package in &crates {
        let library = fs::read_to_string(folder(package).join("src/lib.rs")).unwrap_or_default();
        if package.readme.as_ref().is_none_or(|readme| !folder(package).join(readme).is_file()) {
            breaches.push(format!("{}: no README.md", package.name));
        }
        if !library.contains("#![doc = include_str!(\"../README.md\")]") {
            breaches.push(format!("{}: src/lib.rs does not include README.md", package.name));
        }
        if !is_inherited(manifest(package).get("lints")) {
            breaches.push(format!("{}: the lints of the workspace do not apply", package.name));
        }
    }
    report(crates.len(), &breaches);
}

#[test]
fn every_crate_has_an_example_and_no_two_share_a_name() {
    let crates = crates();
    let mut breaches = Vec::new();
    let mut owners = BTreeMap::new();
    for package in &crates {
        let examples: Vec<_> =
            package.targets.iter().filter(|target| target.kind == [TargetKind::Example]).collect();
        if examples.is_empty() {
            breaches.push(format!("{}: no example", package.name));
        }
        for example in examples {
            // All examples are built into one folder.
            if let Some(owner) = owners.insert(example.name.clone(), package.name.clone()) {
                breaches.push(format!("{} and {owner}: two examples named {}", package.name, example.name));
            }
        }
    }
    report(crates.len(), &breaches);
}

#[test]
fn every_golden_file_has_cases_and_a_test_that_reads_it() {
    let files = text_files();
    let sources = sources();
    let mut n_golden = 0;
    let mut breaches = Vec::new();
    for file in &files {
        // A script stands beside the files that it made.
        let Some((package, inside)) =
            file.path.split_once("/tests/golden/").filter(|_| !file.path.ends_with(".py"))
        else {
            continue;
        };
        n_golden += 1;
        if n_cases(&file.text) == 0 {
            breaches.push(format!("{}: no cases", file.path));
        }
        let entry = inside.split(['/', '.']).next().unwrap_or(inside); // A file without its ending, or a model folder.
        let is_reader = |source: &TextFile| source.path.starts_with(package) && source.text.contains(entry);
        if !sources.iter().any(is_reader) {
            breaches.push(format!("{}: no test reads it", file.path));
        }
    }
    report(n_golden, &breaches);
}

/// The cases of a golden file: the entries of a JSON list or object, the lines of any other text.
fn n_cases(text: &str) -> usize {
    match serde_json::from_str(text) {
        Ok(serde_json::Value::Array(cases)) => cases.len(),
        Ok(serde_json::Value::Object(cases)) => cases.len(),
        _ => text.lines().filter(|line| !line.trim().is_empty()).count(),
    }
}
