//! The repository as facts: where it is, which files and packages it has.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use cargo_metadata::{MetadataCommand, Package};

/// The folder of the workspace.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace")
}

/// The packages of the workspace, without what they depend on.
pub fn packages() -> Vec<Package> {
    let metadata = MetadataCommand::new().manifest_path(root().join("Cargo.toml")).no_deps().exec();
    metadata.expect("cargo describes the workspace").packages
}

/// The packages under `crates/`: what users get.
pub fn crates() -> Vec<Package> {
    let folder = root().join("crates");
    packages().into_iter().filter(|package| package.manifest_path.starts_with(&folder)).collect()
}

/// The folder of a package.
pub fn folder(package: &Package) -> &Path {
    package.manifest_path.parent().expect("a manifest lies in a folder").as_std_path()
}

/// A text file of the repository: its path from the root, with `/`, and what it says.
pub struct TextFile {
    /// From the root of the workspace, with `/` between the parts.
    pub path: String,
    /// The whole text.
    pub text: String,
}

impl TextFile {
    /// The lines with their numbers from 1.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }
}

/// All text files that git tracks or would add; without git, all outside build and run folders.
pub fn text_files() -> Vec<TextFile> {
    let paths = git_files().unwrap_or_else(|| {
        let mut paths = Vec::new();
        walk(root(), &mut paths);
        paths
    });
    let read = |path: PathBuf| {
        let text = fs::read_to_string(root().join(&path)).ok()?; // Not text, or deleted and not yet committed.
        Some(TextFile { path: path.to_str()?.replace('\\', "/"), text })
    };
    paths.into_iter().filter_map(read).collect()
}

/// The Rust sources among the text files.
pub fn sources() -> Vec<TextFile> {
    text_files().into_iter().filter(|file| file.path.ends_with(".rs")).collect()
}

fn git_files() -> Option<Vec<PathBuf>> {
    let mut git = Command::new("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let output = git.output().ok().filter(|output| output.status.success())?;
    let listed = String::from_utf8(output.stdout).ok()?;
    Some(listed.split_terminator('\0').map(PathBuf::from).collect())
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of the repository can be listed") {
        let path = entry.expect("an entry can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if !path.is_dir() {
            paths.push(path.strip_prefix(root()).expect("the walk starts at the root").to_owned());
        } else if !["target", "runs", ".git"].contains(&&*name) {
            walk(&path, paths);
        }
    }
}
