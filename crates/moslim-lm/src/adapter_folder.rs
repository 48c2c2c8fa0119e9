//! Adapter folders in PEFT's layout.

use std::path::Path;

use burn::store::{BurnToPyTorchAdapter, ModuleSnapshot, SafetensorsStore};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use crate::checkpoint::{FileNames, check_bytes, load_files, save_tensors};
use crate::{CausalLm, LmError, LoraConfig, write_json};

/// The embedding, which a model may use as its vocabulary matrix too.
const EMBEDDING: &str = "model.embed_tokens.weight";

const CONFIG: &str = "adapter_config.json";
/// PEFT's setting for that.
const TYING: &str = "ensure_weight_tying";
const WEIGHTS: &str = "adapter_model.safetensors";

impl LoraConfig {
    /// Whether an embedding that is trained whole stays the vocabulary matrix where it is one.
    fn ties(&self) -> bool {
        self.other.get(TYING).is_some_and(|value| *value == true)
    }

    /// The settings for a model whose embedding is, or is not, its vocabulary matrix too: PEFT asks for a word on that.
    pub fn tied(mut self, is_tied: bool) -> Self {
        if is_tied && self.saves(EMBEDDING) {
            self.other.insert(TYING.into(), true.into());
        }
        self
    }

    /// Reads the adapter in a folder and puts it on a model: `adapter_config.json` and `adapter_model.safetensors`.
    ///
    /// # Errors
    /// If a file is missing or malformed, or the adapter does not fit the model; the message lists the tensors.
    pub fn read_adapter(folder: &Path, base: CausalLm) -> Result<(Self, CausalLm), LmError> {
        let config = Self::read_from(folder)?;
        let mut model = config.put_on(base, folder)?;
        config.load_adapter(&mut model, folder)?;
        Ok((config, model))
    }

    /// Reads the `adapter_config.json` of a folder.
    ///
    /// # Errors
    /// As [`LoraConfig::read`].
    pub fn read_from(folder: &Path) -> Result<Self, LmError> {
        Self::read(&folder.join(CONFIG))
    }

    /// Puts an adapter on a model, whose weights are to be read from a folder.
    ///
    /// # Errors
    /// If the adapter names what the model does not have, or has more weights than the folder's file has bytes.
    pub fn put_on(&self, mut base: CausalLm, folder: &Path) -> Result<CausalLm, LmError> {
        let path = folder.join(CONFIG);
        let weights = folder.join(WEIGHTS);
        if base.lm_head.is_none() && self.saves(EMBEDDING) && !self.ties() {
            return Err(LmError::Config {
                path,
                field: "modules_to_save",
                found: serde_json::to_string(&self.modules_to_save).unwrap_or_default(),
                expected: "ensure_weight_tying with embed_tokens, which this model uses as lm_head too"
                    .into(),
            });
        }
        let n_weights =
            base.linears_mut().into_iter().filter(|(name, _)| self.targets(name)).map(|(name, map)| {
                let [d_in, d_out] = map.weight.dims();
                self.rank_and_scaling(&name).0 as f64 * (d_in + d_out) as f64
            });
        check_bytes(std::slice::from_ref(&weights), weights.clone(), n_weights.sum())?;
        base.with_adapter(self, &mut ChaCha8Rng::seed_from_u64(0), &path)
    }

    /// Refuses modules with more weights than the folder's file has bytes, before memory is taken for them.
    ///
    /// # Errors
    /// If that is so, or there is no file.
    pub fn check_size(&self, folder: &Path, n_weights: f64) -> Result<(), LmError> {
        let weights = folder.join(WEIGHTS);
        check_bytes(std::slice::from_ref(&weights), weights.clone(), n_weights)
    }

    /// Reads the weights of an adapter, and of `modules_to_save`, into a module that has it on.
    ///
    /// # Errors
    /// If the file is missing or malformed, or does not fit the module; the message lists the tensors.
    pub fn load_adapter<M: ModuleSnapshot>(&self, module: &mut M, folder: &Path) -> Result<(), LmError> {
        let weights = folder.join(WEIGHTS);
        let read = |store: SafetensorsStore| {
            store
                .with_key_remapping(r"^base_model\.model\.", "")
                .with_key_remapping(r"\.lora_A\.", ".lora.a.")
                .with_key_remapping(r"\.lora_B\.", ".lora.b.")
        };
        let spell = |name: &str| {
            let name = name.replace(".lora.a.", ".lora_A.").replace(".lora.b.", ".lora_B.");
            format!("base_model.model.{name}")
        };
        let expected = |name: &str| name.contains(".lora.") || self.saves(name);
        let names = FileNames { read: &read, spell: &spell, expected: &expected };
        load_files(module, std::slice::from_ref(&weights), &weights, &names)
    }

    /// Writes the adapter of a model into an existing folder.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_adapter_into(&self, folder: &Path, model: &CausalLm) -> Result<(), LmError> {
        self.clone().tied(model.lm_head.is_none()).save_adapter(folder, model)
    }

    /// Writes `adapter_config.json`, and the adapter and `modules_to_save` of a module, into an existing folder.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn save_adapter<M: ModuleSnapshot>(&self, folder: &Path, module: &M) -> Result<(), LmError> {
        write_json(&folder.join(CONFIG), self)?;
        let names = module.collect(None, Some(Box::new(BurnToPyTorchAdapter)), false);
        let names = names.into_iter().map(|tensor| tensor.name);
        let stored = names.filter(|name| name.contains(".lora.") || self.saves(name)).collect();
        save_tensors(module, &folder.join(WEIGHTS), stored, |store| {
            store
                .with_key_remapping(r"\.lora\.a\.", ".lora_A.")
                .with_key_remapping(r"\.lora\.b\.", ".lora_B.")
                .with_key_remapping(r"^", "base_model.model.")
        })
    }
}
