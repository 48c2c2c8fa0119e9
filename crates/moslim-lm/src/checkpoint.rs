//! Weights and other files of model folders.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use burn::module::{ModuleMapper, Param};
use burn::store::{ApplyError, BurnToPyTorchAdapter, ModuleSnapshot, PyTorchToBurnAdapter, SafetensorsStore};
use burn::tensor::{DType, FloatDType, Tensor};
use serde::{Deserialize, Serialize};

use crate::LmError;
use crate::folder::{read_json, write_json};

/// The size above which weights are written in several files, in bytes; as transformers.
const SHARD_BYTES: usize = 5_000_000_000;

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";

/// `model.safetensors.index.json`.
#[derive(Serialize, Deserialize)]
struct Index {
    #[serde(default)]
    metadata: IndexMetadata,
    /// The file of every tensor.
    weight_map: BTreeMap<String, String>,
}

#[derive(Default, Serialize, Deserialize)]
struct IndexMetadata {
    /// The size of all tensors, in bytes.
    #[serde(default)]
    total_size: usize,
}

/// Writes the weights of a module into a folder under their Hugging Face names: `model.safetensors`, or several files
/// and `model.safetensors.index.json` if they are large.
///
/// # Errors
/// If a file cannot be written.
pub fn save_weights<M: ModuleSnapshot>(module: &M, folder: &Path) -> Result<(), LmError> {
    save_shards(module, folder, SHARD_BYTES)
}

/// As [`save_weights`], with another limit for the size of a file.
pub(crate) fn save_shards<M: ModuleSnapshot>(module: &M, folder: &Path, limit: usize) -> Result<(), LmError> {
    let mut shards: Vec<Vec<String>> = vec![vec![]];
    let (mut size, mut total_size) = (0, 0);
    for tensor in module.collect(None, Some(Box::new(BurnToPyTorchAdapter)), false) {
        let bytes = tensor.byte_len();
        total_size += bytes;
        if size > 0 && size + bytes > limit {
            shards.push(vec![]);
            size = 0;
        }
        size += bytes;
        shards.last_mut().expect("there is one from the start").push(tensor.name);
    }
    if shards.len() == 1 {
        return save_tensors(module, &folder.join(WEIGHTS), shards.swap_remove(0), |store| store);
    }
    let n_shards = shards.len();
    let mut weight_map = BTreeMap::new();
    for (index, names) in shards.into_iter().enumerate() {
        let file = format!("model-{:05}-of-{n_shards:05}.safetensors", index + 1);
        weight_map.extend(names.iter().map(|name| (name.clone(), file.clone())));
        save_tensors(module, &folder.join(file), names, |store| store)?;
    }
    write_json(&folder.join(INDEX), &Index { metadata: IndexMetadata { total_size }, weight_map })
}

/// Writes the named tensors of a module into a file; `prepare` may rename them.
pub(crate) fn save_tensors<M: ModuleSnapshot>(
    module: &M,
    path: &Path,
    names: Vec<String>,
    prepare: impl Fn(SafetensorsStore) -> SafetensorsStore,
) -> Result<(), LmError> {
    let store = SafetensorsStore::from_file(path)
        .with_to_adapter(BurnToPyTorchAdapter)
        .with_full_paths(names)
        // Several entries would stand in another order each time, and the same weights in other bytes.
        .clear_metadata()
        .metadata("format", "pt");
    let failed = |error| LmError::io(path)(std::io::Error::other(error));
    module.save_into(&mut prepare(store)).map_err(failed)
}

/// Reads the weights of a folder into a module: `model.safetensors`, or the shards that `model.safetensors.index.json` names.
///
/// # Errors
/// If a file is missing or malformed, or a tensor is missing, unexpected or wrongly shaped; the message lists them.
/// The module is then partly overwritten and must not be used.
pub fn load_weights<M: ModuleSnapshot>(module: &mut M, folder: &Path) -> Result<(), LmError> {
    let (files, named_by) = weight_files(folder)?;
    let names = FileNames { read: &|store| store, spell: &str::to_owned, expected: &|_| true };
    load_files(module, &files, &named_by, &names)
}

/// Writes the weights of a module into a file of its own.
///
/// # Errors
/// If the file cannot be written.
pub fn save_weights_as<M: ModuleSnapshot>(module: &M, path: &Path) -> Result<(), LmError> {
    let names = module.collect(None, Some(Box::new(BurnToPyTorchAdapter)), false);
    save_tensors(module, path, names.into_iter().map(|tensor| tensor.name).collect(), |store| store)
}

/// Reads what [`save_weights_as`] wrote into a module of the same shape.
///
/// # Errors
/// As [`load_weights`].
pub fn load_weights_from<M: ModuleSnapshot>(module: &mut M, path: &Path) -> Result<(), LmError> {
    let names = FileNames { read: &|store| store, spell: &str::to_owned, expected: &|_| true };
    load_files(module, &[path.to_owned()], path, &names)
}

/// How weight files name what a module holds, beyond what differs between PyTorch and Burn.
pub(crate) struct FileNames<'a> {
    /// Turns the names of the files into those of the module.
    pub(crate) read: &'a dyn Fn(SafetensorsStore) -> SafetensorsStore,
    /// And one name back.
    pub(crate) spell: &'a dyn Fn(&str) -> String,
    /// Whether a weight of the module is to be read: others are not missing, and an error if they are there.
    pub(crate) expected: &'a dyn Fn(&str) -> bool,
}

/// Reads the weights of some files into a module; `named_by` stands in errors about all of them.
pub(crate) fn load_files<M: ModuleSnapshot>(
    module: &mut M,
    files: &[PathBuf],
    named_by: &Path,
    names: &FileNames<'_>,
) -> Result<(), LmError> {
    let &FileNames { read, spell, expected } = names;
    let stored = stored_as(module);
    let spelled = |name: &str| spell(stored.get(name).map_or(name, |stored| &stored.name));
    let mut problems = Vec::new();
    let mut missing: Option<BTreeSet<String>> = None;
    for file in files {
        std::fs::metadata(file).map_err(LmError::io(file))?;
        let store = SafetensorsStore::from_file(file)
            .with_from_adapter(PyTorchToBurnAdapter)
            .allow_partial(true)
            .validate(false);
        let result = module
            .load_from(&mut read(store))
            .map_err(|error| LmError::Weights { path: file.clone(), problems: error.to_string() })?;
        problems.extend(result.errors.iter().map(|error| match error {
            ApplyError::ShapeMismatch { path, found, .. } if stored.contains_key(path) => {
                let Stored { shape, transposed, .. } = &stored[path];
                let mut found = found.to_vec();
                if *transposed {
                    found.reverse();
                }
                format!("{}: shape {found:?}, expected {shape:?}", spelled(path))
            }
            other => other.to_string(),
        }));
        // Tables that old checkpoints carry along and every implementation computes.
        let unused = result.unused.iter().filter(|name| !name.ends_with("rotary_emb.inv_freq"));
        // What is in the module, but not what is to be read.
        let others = result.applied.iter().filter(|name| !expected(name));
        problems.extend(unused.chain(others).map(|name| format!("unexpected {}", spelled(name))));
        let here: BTreeSet<String> = result.missing.into_iter().map(|(name, _)| name).collect();
        missing = Some(missing.map_or(here.clone(), |so_far| so_far.intersection(&here).cloned().collect()));
    }
    let missing = missing.into_iter().flatten().filter(|name| expected(name));
    problems.extend(missing.map(|name| format!("missing {}", spelled(&name))));
    *module = module.clone().map(&mut ToF32);
    match problems.is_empty() {
        true => Ok(()),
        false => Err(LmError::Weights { path: named_by.into(), problems: problems.join("; ") }),
    }
}

/// A weight of a module as PyTorch stores it.
struct Stored {
    name: String,
    shape: Vec<usize>,
    transposed: bool,
}

/// The weights of a module by their names in it.
fn stored_as<M: ModuleSnapshot>(module: &M) -> BTreeMap<String, Stored> {
    let here = module.collect(None, None, false);
    let there = module.collect(None, Some(Box::new(BurnToPyTorchAdapter)), false);
    let pairs = here.into_iter().zip(there).map(|(here, there)| {
        let (shape, mut reversed) = (there.shape.to_vec(), here.shape.to_vec());
        reversed.reverse();
        let transposed = shape.len() == 2 && shape == reversed;
        (here.name, Stored { name: there.name, shape, transposed })
    });
    pairs.collect()
}

/// The weight files of a folder, and the file that an error about them names.
pub(crate) fn weight_files(folder: &Path) -> Result<(Vec<PathBuf>, PathBuf), LmError> {
    let (path, whole) = (folder.join(INDEX), folder.join(WEIGHTS));
    if whole.exists() || !path.exists() {
        return Ok((vec![whole.clone()], whole));
    }
    let index: Index = read_json(&path)?;
    let names: BTreeSet<&String> = index.weight_map.values().collect();
    if let Some(outside) = names.iter().find(|name| Path::new(name).file_name() != Some(OsStr::new(name))) {
        return Err(LmError::Config {
            path,
            field: "weight_map",
            found: outside.to_string(),
            expected: "names of files in the same folder".into(),
        });
    }
    Ok((names.into_iter().map(|name| folder.join(name)).collect(), path))
}

/// Refuses weights of which there are more than the weight files of a folder have bytes, before memory is taken for them.
///
/// # Errors
/// If that is so, or the files cannot be found.
pub fn check_size(folder: &Path, n_weights: f64) -> Result<(), LmError> {
    let (files, named_by) = weight_files(folder)?;
    check_bytes(&files, named_by, n_weights)
}

/// As [`check_size`], for one file.
///
/// # Errors
/// If that is so, or the file cannot be found.
pub fn check_file_size(path: &Path, n_weights: f64) -> Result<(), LmError> {
    check_bytes(&[path.to_owned()], path.to_owned(), n_weights)
}

/// Refuses weights of which there are more than the files have bytes.
pub(crate) fn check_bytes(files: &[PathBuf], named_by: PathBuf, n_weights: f64) -> Result<(), LmError> {
    let mut found = 0.0;
    for file in files {
        found += std::fs::metadata(file).map_err(LmError::io(file))?.len() as f64;
    }
    match n_weights <= found {
        true => Ok(()),
        false => Err(LmError::Weights {
            path: named_by,
            problems: format!("{found} bytes, expected the {n_weights} weights of the configuration"),
        }),
    }
}

/// Converts floating-point weights to 32 bits, in which everything is computed.
struct ToF32;

impl ModuleMapper for ToF32 {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match param.val().dtype() {
            DType::F32 => param,
            _ => param.map(|tensor| tensor.cast(FloatDType::F32)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{CausalLm, ModelConfig, Padding};
    use burn::tensor::Device;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;
    use safetensors::SafeTensors;
    use safetensors::tensor::{Dtype, TensorView, serialize_to_file};

    fn model(seed: u64) -> CausalLm {
        let config = ModelConfig::small(20, 8, 16, 2, 2);
        CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(seed), &Device::default())
    }

    fn read(folder: &Path) -> Result<CausalLm, LmError> {
        let mut other = model(1);
        load_weights(&mut other, folder).map(|()| other)
    }

    fn logits(model: &CausalLm) -> Vec<f32> {
        model.logits(&[&[3, 5, 7, 1]], Padding::Right, None).into_data().try_to_vec().unwrap()
    }

    #[test]
    fn large_weights_are_written_in_several_files_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        save_shards(&model(0), folder.path(), 2000).unwrap();
        let index: Index = read_json(&folder.path().join(INDEX)).unwrap();
        // The embedding, two layers of four square maps, three wide ones and two norms, and the last norm.
        assert_eq!(index.metadata.total_size, 4 * (20 * 8 + 2 * (4 * 8 * 8 + 3 * 8 * 16 + 2 * 8) + 8));
        let files: BTreeSet<&String> = index.weight_map.values().collect();
        assert!(files.len() > 1 && !folder.path().join(WEIGHTS).exists());
        for file in files {
            let bytes = std::fs::read(folder.path().join(file)).unwrap();
            let stored = SafeTensors::deserialize(&bytes).unwrap();
            let size: usize = stored.tensors().iter().map(|(_, tensor)| tensor.data().len()).sum();
            assert!(size <= 2000, "{file}: {size}");
            assert!(stored.names().iter().all(|name| &index.weight_map[*name] == file));
        }
        assert_eq!(logits(&read(folder.path()).unwrap()), logits(&model(0)));

        let outside = r#"{"weight_map": {"model.norm.weight": "../model.safetensors"}}"#;
        std::fs::write(folder.path().join(INDEX), outside).unwrap();
        let message = read(folder.path()).unwrap_err().to_string();
        assert!(message.contains("weight_map: found ../model.safetensors"), "{message}");
    }

    #[test]
    fn the_same_weights_are_the_same_bytes() {
        let bytes = || {
            let folder = tempfile::tempdir().unwrap();
            save_weights(&model(0), folder.path()).unwrap();
            std::fs::read(folder.path().join(WEIGHTS)).unwrap()
        };
        let first = bytes();
        (0..8).for_each(|_| assert!(bytes() == first));
    }

    #[test]
    fn weights_of_16_bits_are_computed_in_32() {
        let [whole, half] = [(), ()].map(|()| tempfile::tempdir().unwrap());
        save_weights(&model(0), whole.path()).unwrap();
        let bytes = std::fs::read(whole.path().join(WEIGHTS)).unwrap();
        // The upper half of a 32-bit float is a 16-bit one; with zeros for the rest it is the same number in 32 bits.
        let rewrite = |folder: &Path, dtype: Dtype, convert: fn(&[u8]) -> Vec<u8>| {
            let stored = SafeTensors::deserialize(&bytes).unwrap();
            let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = stored
                .tensors()
                .into_iter()
                .map(|(name, view)| {
                    (name, view.shape().to_vec(), view.data().chunks(4).flat_map(convert).collect())
                })
                .collect();
            let views = tensors
                .iter()
                .map(|(name, shape, data)| (name, TensorView::new(dtype, shape.clone(), data).unwrap()));
            serialize_to_file(views, None, &folder.join(WEIGHTS)).unwrap();
        };
        rewrite(half.path(), Dtype::BF16, |float| float[2..].to_vec());
        rewrite(whole.path(), Dtype::F32, |float| [&[0, 0], &float[2..]].concat());
        assert_eq!(logits(&read(half.path()).unwrap()), logits(&read(whole.path()).unwrap()));
        assert_ne!(logits(&read(half.path()).unwrap()), logits(&model(0)));
    }
}
