//! Models by their name on the hub.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use hf_hub::{Cache, RepoType};

use super::{HubError, HubName, is_offline};

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
    let name = HubName::parse(RepoType::Model, &text).ok_or_else(|| HubError::Name(text.into_owned()))?;
    let cache = Cache::from_env();
    if is_offline() {
        let config = name.cached(&cache, "config.json")?;
        return Ok(config.parent().map_or(config.clone(), Path::to_path_buf));
    }
    Ok(name.fetch(cache, |there| wanted(&name, there))?.0)
}

/// The files to fetch among those that are there.
fn wanted(name: &HubName, there: &BTreeSet<String>) -> Result<Vec<String>, HubError> {
    let whole = "model.safetensors";
    let is_shard = |file: &str| {
        let numbers = file.strip_prefix("model-").and_then(|rest| rest.strip_suffix(".safetensors"));
        numbers.is_some_and(|numbers| numbers.chars().all(|c| c.is_ascii_digit() || "-of".contains(c)))
    };
    let weights: Vec<&String> = match there.contains(whole) {
        true => there.get(whole).into_iter().collect(),
        false => {
            there.iter().filter(|file| is_shard(file) || *file == "model.safetensors.index.json").collect()
        }
    };
    if weights.is_empty() || !there.contains("config.json") {
        let found: Vec<&str> = there.iter().map(String::as_str).collect();
        return Err(HubError::Files {
            name: name.to_string(),
            found: if found.is_empty() { "no files".into() } else { found.join(", ") },
            expected: "config.json and model.safetensors, whole or in shards",
        });
    }
    let others = there.iter().filter(|file| FILES.contains(&file.as_str()));
    Ok(others.chain(weights).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_that_are_read_are_fetched() {
        let name = HubName::parse(RepoType::Model, "a/b").unwrap();
        let wanted = |files: &[&str]| super::wanted(&name, &files.iter().map(|&file| file.into()).collect());
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
