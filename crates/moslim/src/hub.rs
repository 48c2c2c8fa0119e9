//! Models and data sets by their name on the Hugging Face hub.

mod datasets;
mod models;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Cache, Repo, RepoType};

pub use datasets::data_files;
pub use models::model_folder;

/// Why a model or a data set could not be had from the hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Not the name of a model either.
    #[error(
        "{0}: no such folder, and not the name of a model on the hub, such as owner/name or owner/name@revision"
    )]
    Name(String),
    /// Not the name of a data set.
    #[error(
        "{0}: expected hf://datasets/owner/name, perhaps with @revision, and then the file, such as /train.jsonl"
    )]
    DataName(String),
    /// The hub, or the way to it, failed.
    #[error("{name}; from the hub: {source}")]
    Api {
        /// What was asked for.
        name: String,
        /// What the hub said.
        source: Box<ApiError>,
    },
    /// The cache could not be written, or does not hold what is wanted while the hub may not be asked.
    #[error("{name}; cache of the hub: {source}")]
    Cache {
        /// What was asked for.
        name: String,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The hub has it in no form that is read.
    #[error("{name}: found {found}, expected {expected}")]
    Files {
        /// What was asked for.
        name: String,
        /// What is there.
        found: String,
        /// What is needed.
        expected: &'static str,
    },
}

/// The name of a model or a data set on the hub.
#[derive(Clone, Debug)]
struct HubName {
    kind: RepoType,
    id: String,
    revision: String,
}

impl fmt::Display for HubName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if matches!(self.kind, RepoType::Dataset) { datasets::PREFIX } else { "" };
        write!(f, "{prefix}{}@{}", self.id, self.revision)
    }
}

/// Tried again so often, from where the download broke.
const RETRIES: usize = 5;

/// Whether the cache alone is used.
fn is_offline() -> bool {
    std::env::var("HF_HUB_OFFLINE").is_ok_and(|value| !["", "0"].contains(&value.as_str()))
}

impl HubName {
    fn parse(kind: RepoType, text: &str) -> Option<Self> {
        let (id, revision) = text.split_once('@').unwrap_or((text, "main"));
        let (owner, name) = id.split_once('/')?;
        let is_word = |word: &str| {
            let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
            !word.is_empty() && word.chars().all(allowed) && !word.starts_with('.')
        };
        (is_word(owner) && is_word(name) && revision.split('/').all(is_word)).then(|| Self {
            kind,
            id: id.into(),
            revision: revision.into(),
        })
    }

    fn repo(&self, revision: &str) -> Repo {
        Repo::with_revision(self.id.clone(), self.kind, revision.into())
    }

    /// What could not be had, for errors: a model is looked for as a folder first.
    fn described(&self) -> String {
        match self.kind {
            RepoType::Model => format!("{self}: no such folder"),
            _ => self.to_string(),
        }
    }

    /// A file of the last commit that was fetched.
    fn cached(&self, cache: &Cache, file: &str) -> Result<PathBuf, HubError> {
        let missing =
            || std::io::Error::new(std::io::ErrorKind::NotFound, "not there, and HF_HUB_OFFLINE is set");
        let path = cache.repo(self.repo(&self.revision)).get(file);
        path.ok_or_else(|| HubError::Cache { name: self.described(), source: missing() })
    }

    /// Asks for the present commit and fetches what the cache lacks of it: the folder and the files that were wanted.
    ///
    /// `wanted` chooses among the files that are there.
    fn fetch(
        &self,
        cache: Cache,
        wanted: impl FnOnce(&BTreeSet<String>) -> Result<Vec<String>, HubError>,
    ) -> Result<(PathBuf, Vec<String>), HubError> {
        let failed = |source: ApiError| HubError::Api { name: self.described(), source: Box::new(source) };
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
        let wanted = wanted(&there)?;

        // All files are those of one commit, whatever is pushed meanwhile.
        let commit = self.repo(&info.sha);
        let folder = cache.repo(commit.clone()).pointer_path(&info.sha);
        let repo = api.repo(commit);
        for file in wanted.iter().filter(|file| !folder.join(file).exists()) {
            repo.download(file).map_err(failed)?;
        }
        let written = cache.repo(self.repo(&self.revision)).create_ref(&info.sha);
        written.map_err(|source| HubError::Cache { name: self.described(), source })?;
        Ok((folder, wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_from_paths() {
        let parse = |text| HubName::parse(RepoType::Model, text);
        let name = parse("HuggingFaceTB/SmolLM2-135M").unwrap();
        assert_eq!(name.to_string(), "HuggingFaceTB/SmolLM2-135M@main");
        assert_eq!(parse("a/b@refs/pr/1").unwrap().revision, "refs/pr/1");
        for path in ["model", "/a/b", "a/b/c", "../b", "a/..", "a/b@", "a/b@../x", "a b/c", "a/b@x/.."] {
            assert!(parse(path).is_none(), "{path}");
        }
    }
}
