//! Model folders in Hugging Face's layout.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};
use burn::tensor::Device;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use crate::{CausalLm, LmError, ModelConfig, Tokenizer};

/// A causal language model with everything needed to use it.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    /// The shape of the model.
    pub config: ModelConfig,
    /// Its tokenizer and chat template.
    pub tokenizer: Tokenizer,
    /// Its weights.
    pub model: CausalLm,
}

impl ModelFolder {
    /// Reads a folder with `config.json`, `model.safetensors` (whole or in shards), `tokenizer.json` and `tokenizer_config.json`.
    ///
    /// # Errors
    /// If a file is missing or malformed, or the weights do not fit the configuration.
    pub fn read(folder: &Path, device: &Device) -> Result<Self, LmError> {
        let config = ModelConfig::read(&folder.join("config.json"))?;
        let tokenizer = Tokenizer::read(folder)?;
        let model = read_model(folder, &config, device)?;
        Ok(Self { config, tokenizer, model })
    }

    /// Writes the files of the folder into an existing one.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_into(&self, folder: &Path) -> Result<(), LmError> {
        write_json(&folder.join("config.json"), &self.config)?;
        save_weights(&self.model, &folder.join("model.safetensors"))?;
        self.tokenizer.write(folder)
    }
}

/// Reads the weights of a folder into a fresh model.
pub(crate) fn read_model(folder: &Path, config: &ModelConfig, device: &Device) -> Result<CausalLm, LmError> {
    let mut model = CausalLm::new(config, &mut ChaCha8Rng::seed_from_u64(0), device);
    load_weights(&mut model, folder)?;
    Ok(model)
}

/// Reads a JSON file.
///
/// # Errors
/// If the file cannot be read or does not have the form of `T`.
pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, LmError> {
    let text = std::fs::read_to_string(path).map_err(LmError::io(path))?;
    serde_json::from_str(&text).map_err(|source| LmError::Json { path: path.into(), source })
}

/// Writes a value as an indented JSON file.
///
/// # Errors
/// If the file cannot be written.
pub fn write_json(path: &Path, value: &impl serde::Serialize) -> Result<(), LmError> {
    let text =
        serde_json::to_string_pretty(value).map_err(|source| LmError::Json { path: path.into(), source })?;
    std::fs::write(path, text).map_err(LmError::io(path))
}

/// Fills a temporary folder beside `folder` and puts it in its place when it is complete.
///
/// # Errors
/// Those of `fill`, and if the folder cannot be made or moved; the folder that was there before then stays as it was.
pub fn write_folder(folder: &Path, fill: impl FnOnce(&Path) -> Result<(), LmError>) -> Result<(), LmError> {
    let parent = match folder.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(LmError::io(parent))?;
    let unfinished =
        tempfile::Builder::new().prefix(".unfinished-").tempdir_in(parent).map_err(LmError::io(parent))?;
    fill(unfinished.path())?;
    if folder.exists() {
        std::fs::remove_dir_all(folder).map_err(LmError::io(folder))?;
    }
    std::fs::rename(unfinished.keep(), folder).map_err(LmError::io(folder))
}

/// Writes the weights of a module as safetensors under their Hugging Face names.
///
/// # Errors
/// If the file cannot be written.
pub fn save_weights<M: ModuleSnapshot>(module: &M, path: &Path) -> Result<(), LmError> {
    let mut store =
        SafetensorsStore::from_file(path).with_to_adapter(BurnToPyTorchAdapter).metadata("format", "pt");
    module.save_into(&mut store).map_err(|error| LmError::io(path)(std::io::Error::other(error)))
}

/// Reads the weights of a folder into a module: `model.safetensors`, or the shards that `model.safetensors.index.json` names.
///
/// # Errors
/// If a file is missing or malformed, or a tensor is missing, unexpected or wrongly shaped; the message lists them.
/// The module is then partly overwritten and must not be used.
pub fn load_weights<M: ModuleSnapshot>(module: &mut M, folder: &Path) -> Result<(), LmError> {
    let (files, named_by) = weight_files(folder)?;
    load_files(module, &files, &named_by, |store| store, |_| true)
}

/// Reads the weights of some files into a module; `named_by` stands in errors about all of them.
///
/// `prepare` may rename tensors; of those that no file has, only the `expected` ones count as missing.
pub(crate) fn load_files<M: ModuleSnapshot>(
    module: &mut M,
    files: &[PathBuf],
    named_by: &Path,
    prepare: impl Fn(SafetensorsStore) -> SafetensorsStore,
    expected: impl Fn(&str) -> bool,
) -> Result<(), LmError> {
    let mut problems = Vec::new();
    let mut missing: Option<BTreeSet<String>> = None;
    for file in files {
        std::fs::metadata(file).map_err(LmError::io(file))?;
        let store = SafetensorsStore::from_file(file)
            .with_from_adapter(PyTorchToBurnAdapter)
            .allow_partial(true)
            .validate(false);
        let result = module
            .load_from(&mut prepare(store))
            .map_err(|error| LmError::Weights { path: file.clone(), problems: error.to_string() })?;
        problems.extend(result.errors.iter().map(ToString::to_string));
        problems.extend(result.unused.iter().map(|name| format!("unexpected {name}")));
        let here: BTreeSet<String> = result.missing.into_iter().map(|(name, _)| name).collect();
        missing = Some(missing.map_or(here.clone(), |so_far| so_far.intersection(&here).cloned().collect()));
    }
    let missing = missing.into_iter().flatten().filter(|name| expected(name));
    problems.extend(missing.map(|name| format!("missing {name}")));
    match problems.is_empty() {
        true => Ok(()),
        false => Err(LmError::Weights { path: named_by.into(), problems: problems.join("; ") }),
    }
}

/// The weight files of a folder, and the file that an error about them names.
fn weight_files(folder: &Path) -> Result<(Vec<PathBuf>, PathBuf), LmError> {
    let index = folder.join("model.safetensors.index.json");
    if !index.exists() {
        let whole = folder.join("model.safetensors");
        return Ok((vec![whole.clone()], whole));
    }
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: std::collections::BTreeMap<String, String>,
    }
    let parsed: Index = read_json(&index)?;
    let names: BTreeSet<&String> = parsed.weight_map.values().collect();
    Ok((names.into_iter().map(|name| folder.join(name)).collect(), index))
}
