//! How texts are written, so that they are true on every machine.

use std::fs;
use std::path::Path;

use crate::report;
use crate::repository::{root, sources, text_files};

// Written in pieces, so that this file does not find itself.
const MACHINE_FOLDERS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/tm", "p/")];

#[test]
fn no_text_names_a_folder_of_one_machine() {
    let files = text_files();
    let mut breaches = Vec::new();
    for file in &files {
        for (number, line) in file.lines().filter(|(_, line)| names_machine_folder(line)) {
            breaches.push(format!("{}:{number}: {}", file.path, line.trim()));
        }
    }
    report(files.len(), &breaches);
}

/// Whether an absolute path into such a folder starts anywhere in the line.
fn names_machine_folder(line: &str) -> bool {
    let starts_path = |at: usize| !line[..at].ends_with(|c: char| c.is_alphanumeric() || "._-~}".contains(c));
    MACHINE_FOLDERS.iter().any(|folder| line.match_indices(folder).any(|(at, _)| starts_path(at)))
}

#[test]
fn a_machine_folder_is_told_from_a_part_of_a_path() {
    let [folder, ..] = MACHINE_FOLDERS;
    assert!(names_machine_folder(&format!("see `{folder}main`")));
    assert!(names_machine_folder(&format!("{folder}main")));
    assert!(!names_machine_folder(&format!("see docs{folder}main")));
}

#[test]
fn every_relative_link_leads_somewhere() {
    let files = text_files();
    let documents = files.iter().filter(|file| file.path.ends_with(".md"));
    let mut n_links = 0;
    let mut breaches = Vec::new();
    for document in documents {
        let folder = root().join(&document.path).parent().map(Path::to_owned).unwrap_or_default();
        for target in relative_links(&document.text) {
            n_links += 1;
            if !folder.join(target).exists() {
                breaches.push(format!("{}: {target}", document.path));
            }
        }
    }
    report(n_links, &breaches);
}

/// The targets of `[text](target)` and of `[name]: target`, outside code, that are files: no address, no Rust path.
fn relative_links(markdown: &str) -> Vec<&str> {
    let mut is_code = false;
    let mut targets = Vec::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
        } else if !is_code {
            let definition = line.starts_with('[').then(|| line.split_once("]: ")).flatten();
            targets.extend(definition.map(|(_, target)| target.trim()));
            let prose = line.split('`').step_by(2); // Every second piece lies between backticks.
            let inline = prose.flat_map(|piece| piece.split("](").skip(1));
            targets.extend(inline.filter_map(|rest| rest.split(')').next()));
        }
    }
    let is_file = |target: &str| !target.is_empty() && !target.contains("://") && !target.contains("::");
    targets
        .into_iter()
        .filter_map(|target| target.split('#').next())
        .filter(|target| is_file(target))
        .collect()
}

#[test]
fn every_function_that_the_papers_lead_to_exists() {
    let papers = fs::read_to_string(root().join("docs/papers.md")).unwrap();
    let sources = sources();
    let paths: Vec<_> =
        papers.split('`').skip(1).step_by(2).filter(|code| code.starts_with("moslim_")).collect();
    let mut breaches = Vec::new();
    for path in &paths {
        let mut names = words(path);
        let folder = format!("crates/{}/src/", names.next().unwrap_or_default().replace('_', "-"));
        let of_crate: Vec<_> = sources.iter().filter(|source| source.path.starts_with(&folder)).collect();
        let is_gone =
            |name: &str| !of_crate.iter().any(|source| words(&source.text).any(|word| word == name));
        breaches
            .extend(names.filter(|name| is_gone(name)).map(|name| format!("{path}: no {name} in {folder}")));
    }
    report(paths.len(), &breaches);
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

#[test]
fn links_are_read_outside_code() {
    let markdown = "\
See [a](one.md#part), [b](https://b.org) and [c](#here).\n`[d](no.md)` but [`e`](two.md)\n\
[f]: three.md\n[g]: crate::G\n```text\n[h](no.md)\n```\n[i](four)\n";
    assert_eq!(relative_links(markdown), ["one.md", "two.md", "three.md", "four"]);
}
