//! Models by their name on the Hugging Face hub.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

/// Why a model could not be had from the hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Not the name of a model either.
    #[error(
        "{0}: no such folder, and not the name of a model on the hub, such as owner/name or owner/name@revision"
    )]
    Name(String),
    /// The hub, or the way to it, failed.
    #[error("{name}: no such folder; from the hub: {source}")]
    Api {
        /// The model.
        name: String,
        /// What the hub said.
        source: Box<ApiError>,
    },
    /// The cache could not be written, or does not hold the model while the hub may not be asked.
    #[error("{name}: no such folder; cache of the hub: {source}")]
    Cache {
        /// The model.
        name: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The hub has the model in no form that is read.
    #[error("{name}: found {found}, expected {expected}")]
    Files {
        /// The model.
        name: String,
        /// What is there.
        found: String,
        /// What is needed.
        expected: &'static str,
    },
}

/// The name of a model on the hub.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HubName {
    id: String,
    revision: String,
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.id, self.revision)
    }
}

/// Tried again so often, from where the download broke.
const RETRIES: usize = 5;

/// Of a repository's files these are read; the weights besides.
const FILES: [&str; 13] = [
    "README.md",
    "request.json",
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
];

/// The folder of a model: the path itself where there is one, otherwise the model of that name on the hub.
///
/// A name is `owner/name` or `owner/name@revision`, a revision being a branch, a tag or a commit.
/// What the cache holds already is not fetched again, and a broken download goes on where it broke.
/// `HF_HOME` is where the cache stands, `HF_ENDPOINT` which hub is asked, `HF_TOKEN` (or the file `token` in `HF_HOME`)
/// who asks; with `HF_HUB_OFFLINE=1` the cache alone is used.
/// Weights are read from safetensors only: nothing that a repository holds is ever run.
///
/// # Errors
/// If there is neither, or the hub cannot be reached or does not give the model.
pub fn model_folder(path: &Path) -> Result<PathBuf, HubError> {
    if path.exists() {
        return Ok(path.to_path_buf());
    }
    let text = path.to_string_lossy();
    let name = HubName::parse(&text).ok_or_else(|| HubError::Name(text.into_owned()))?;
    let cache = Cache::from_env();
    let offline = std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| !["", "0"].contains(&value.as_str()));
    if offline { name.cached(&cache) } else { name.fetch(cache) }
}

impl HubName {
    fn parse(text: &str) -> Option<Self> {
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (owner, name) = id.split_once('/')?;
        let is_word = |word: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !word.is_empty() && word.chars().all(allowed) && !word.starts_with('.')
        };
        (is_word(owner) && is_word(name) && revision.split('/').all(is_word))
            .then(|| Self { id: id.into(), revision: revision.into() })
    }

    fn repo(&self, revision: &str) -> Repo {
        Repo::with_revision(self.id.clone(), RepoType::Model, revision.into())
    }

    /// The files of the last commit that was fetched.
    fn cached(&self, cache: &Cache) -> Result<PathBuf, HubError> {
        let config = cache.repo(self.repo(&self.revision)).get("config.json");
        let folder = config.and_then(|config| config.parent().map(Path::to_path_buf));
        let missing =
            || std::io::Error::new(std::io::ErrorKind::NotFound, "not there, and HF_HUB_OFFLINE is set");
        folder.ok_or_else(|| HubError::Cache { name: self.to_string(), source: missing() })
    }

    /// Asks for the present commit and fetches what the cache lacks of it.
    fn fetch(&self, cache: Cache) -> Result<PathBuf, HubError> {
        let failed = |source: ApiError| HubError::Api { name: self.to_string(), source: Box::new(source) };
        let mut builder = ApiBuilder::from_cache(cache.clone()).with_retries(RETRIES);
        if let Ok(endpoint) = std::env::var("HF_ENDPOINT") {
            builder = builder.with_endpoint(endpoint.trim_end_matches('/').into());
        }
        if let Ok(token) = std::env::var("HF_TOKEN") {
            builder = builder.with_token(Some(token));
        }
        let api = builder.build().map_err(failed)?;
        let info = api.repo(self.repo(&self.revision)).info().map_err(failed)?;
        if info.sha.is_empty() || !info.sha.chars().all(|c| c.is_ascii_hexdigit()) {
            let found = format!("commit `{}`", info.sha);
            return Err(HubError::Files { name: self.to_string(), found, expected: "a hash" });
        }
        let there = info.siblings.into_iter().map(|file| file.rfilename).collect();
        let wanted = self.wanted(&there)?;

        // All files are those of one commit, whatever is pushed meanwhile.
        let commit = self.repo(&info.sha);
        let folder = cache.repo(commit.clone()).pointer_path(&info.sha);
        let repo = api.repo(commit);
        for file in wanted.iter().filter(|file| !folder.join(file).exists()) {
            repo.download(file).map_err(failed)?;
        }
        let written = cache.repo(self.repo(&self.revision)).create_ref(&info.sha);
        written.map_err(|source| HubError::Cache { name: self.to_string(), source })?;
        Ok(folder)
    }

    /// The files to fetch among those that are there.
    fn wanted(&self, there: &BTreeSet<String>) -> Result<Vec<String>, HubError> {
        let whole = "model.safetensors";
        let is_shard = |file: &str| {
            let numbers = file.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
            numbers.is_some_and(|numbers| numbers.chars().all(|c| c.is_ascii_digit() || "-of".contains(c)))
        };
        let weights: Vec<&String> = match there.contains(whole) {
            true => there.get(whole).into_iter().collect(),
            false => there
                .iter()
                .filter(|file| is_shard(file) || *file == "model.safetensors.index.json")
                .collect(),
        };
        if weights.is_empty() || !there.contains("config.json") {
            let found: Vec<&str> = there.iter().map(String::as_str).collect();
            return Err(HubError::Files {
                name: self.to_string(),
                found: if found.is_empty() { "no files".into() } else { found.join(", ") },
                expected: "config.json and model.safetensors, whole or in shards",
            });
        }
        let others = there.iter().filter(|file| FILES.contains(&file.as_str()));
        Ok(others.chain(weights).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        let name = HubName::parse("HuggingFaceTB/SmolLM2-135M").unwrap();
        assert_eq!(name.to_string(), "HuggingFaceTB/SmolLM2-135M@main");
        assert_eq!(HubName::parse("a/b@refs/pr/1").unwrap().revision, "refs/pr/1");
        for path in ["model", "/a/b", "a/b/c", "../b", "a/..", "a/b@", "a/b@../x", "a b/c", "a/b@x/.."] {
            assert_eq!(HubName::parse(path), None, "{path}");
        }
    }

    #[test]
    fn only_files_that_are_read_are_fetched() {
        let name = HubName::parse("a/b").unwrap();
        let wanted = |files: &[&str]| name.wanted(&files.iter().map(|&file| file.into()).collect());
        let all = ["README.md", "config.json", "modeling.py", "pytorch_model.bin", "tokenizer.json"];
        let message = wanted(&all).unwrap_err().to_string();
        assert!(
            message.contains("pytorch_model.bin") && message.contains("expected config.json and"),
            "{message}"
        );
        let shards = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];
        let index = "model.safetensors.index.json";
        let found = wanted(
            &[&all[..], &shards, &[index, "sub/model.safetensors", "model-../x.safetensors"]].concat(),
        );
        assert_eq!(
            found.unwrap(),
            ["README.md", "config.json", "tokenizer.json", shards[0], shards[1], index]
        );
        let found = wanted(&["config.json", "model.safetensors", shards[0], index]);
        assert_eq!(found.unwrap(), ["config.json", "model.safetensors"]);
    }
}
