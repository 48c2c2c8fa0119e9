//! Files of data sets by their name on the hub.

use std::collections::BTreeSet;
use std::path::PathBuf;

use hf_hub::{Cache, RepoType};
use moslim_data::can_read;

use super::{HubError, HubName, is_offline};

/// How the name of a data set begins.
pub(super) const PREFIX: &str = "hf://datasets/";

/// The files themselves, and in place of each name on the hub the files of that name, fetched.
///
/// A name is `hf://datasets/owner/name/file`, with `owner/name@revision` for a branch, a tag or a commit.
/// Without a file it is the only one of the data set that can be read, or those of its `train` split where there are several.
/// The cache and the variables that say how the hub is asked are those of [`model_folder`](super::model_folder).
///
/// # Errors
/// If the hub cannot be reached or has no such file.
pub fn data_files(paths: &[PathBuf]) -> Result<Vec<PathBuf>, HubError> {
    let mut files = Vec::new();
    for path in paths {
        match path.to_str().and_then(|text| text.strip_prefix(PREFIX)) {
            Some(name) => files.extend(of_dataset(name)?),
            None => files.push(path.clone()),
        }
    }
    Ok(files)
}

fn of_dataset(text: &str) -> Result<Vec<PathBuf>, HubError> {
    let unusable = || HubError::DataName(format!("{PREFIX}{text}"));
    // A branch may have slashes in its name, but then it is not told from the file.
    let mut parts = text.splitn(3, '/');
    let (owner, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let name = HubName::parse(RepoType::Dataset, &format!("{owner}/{name}")).ok_or_else(unusable)?;
    let file = parts.next().filter(|file| !file.is_empty());
    let cache = Cache::from_env();
    match (is_offline(), file) {
        (true, Some(file)) => Ok(vec![name.cached(&cache, file)?]),
        (true, None) => Err(HubError::Files {
            name: name.to_string(),
            found: "no file".into(),
            expected: "the name of a file behind it while HF_HUB_OFFLINE is set",
        }),
        (false, file) => {
            let (folder, files) = name.fetch(cache, |there| wanted(&name, file, there))?;
            Ok(files.into_iter().map(|file| folder.join(file)).collect())
        }
    }
}

/// The files to fetch among those that are there.
fn wanted(name: &HubName, file: Option<&str>, there: &BTreeSet<String>) -> Result<Vec<String>, HubError> {
    let readable: Vec<&String> = there.iter().filter(|file| can_read(file.as_ref())).collect();
    let of_training: Vec<&String> = readable
        .iter()
        .copied()
        .filter(|file| file.rsplit('/').next().is_some_and(|name| name.starts_with("train")))
        .collect();
    let wanted = match (file, readable.as_slice(), of_training.as_slice()) {
        (Some(file), ..) => there.get(file).into_iter().collect(),
        (None, [only], _) => vec![*only],
        (None, ..) => of_training,
    };
    match wanted.is_empty() {
        false => Ok(wanted.into_iter().cloned().collect()),
        true => Err(HubError::Files {
            name: name.to_string(),
            found: match readable.is_empty() {
                true => "no file that can be read".into(),
                false => readable.into_iter().map(String::as_str).collect::<Vec<_>>().join(", "),
            },
            expected: "the name of one of its files behind it",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_file_the_only_one_or_those_of_the_training_split() {
        let name = HubName::parse(RepoType::Dataset, "a/b").unwrap();
        let wanted = |file: Option<&str>, there: &[&str]| {
            let there = there.iter().map(|&file| file.to_owned()).collect();
            super::wanted(&name, file, &there).map_err(|error| error.to_string())
        };
        let whole = |files: &[&str]| Ok(files.iter().map(|&file| file.to_owned()).collect::<Vec<_>>());
        let two = ["README.md", "data/train-00000.parquet", "data/train-00001.parquet", "data/test.parquet"];
        assert_eq!(wanted(None, &two), whole(&two[1..3]));
        assert_eq!(wanted(Some("data/test.parquet"), &two), whole(&two[3..]));
        assert_eq!(wanted(None, &["README.md", "all.jsonl.gz"]), whole(&["all.jsonl.gz"]));
        assert_eq!(
            wanted(None, &["a.csv", "b.csv"]),
            Err(
                "hf://datasets/a/b@main: found a.csv, b.csv, expected the name of one of its files behind it"
                    .into()
            )
        );
        assert!(wanted(Some("c.csv"), &["a.csv"]).unwrap_err().contains("found a.csv"));
        assert!(wanted(None, &["README.md"]).unwrap_err().contains("found no file that can be read"));
    }

    #[test]
    fn names_of_data_sets() {
        for wrong in ["owner", "owner/", "../x/y.jsonl", "owner/na me/x.jsonl"] {
            let message = of_dataset(wrong).unwrap_err().to_string();
            assert!(message.starts_with(&format!("{PREFIX}{wrong}: expected hf://datasets/")), "{message}");
        }
    }
}
