//! Model folders in Hugging Face's layout.

use std::path::Path;

use burn::tensor::Device;
use serde::{Deserialize, Serialize};

use crate::checkpoint::check_size;
use crate::{
    CausalLm, LmError, ModelConfig, Stops, TokenIds, Tokenizer, load_weights, read_json, save_weights,
    write_json,
};

/// A causal language model with everything needed to use it.
#[derive(Clone, Debug)]
pub struct ModelFolder {
    /// The shape of the model.
    pub config: ModelConfig,
    /// Its tokenizer and chat template.
    pub tokenizer: Tokenizer,
    /// Its weights.
    pub model: CausalLm,
    /// The files it was read from, if it was.
    source: Option<Source>,
}

/// Files that are written as they were read.
#[derive(Clone, Debug)]
struct Source {
    config: ModelConfig,
    config_file: Vec<u8>,
    generation_config: Option<(Vec<u8>, GenerationConfig)>,
}

/// The part of `generation_config.json` that is read, and all that is written to a new one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct GenerationConfig {
    #[serde(default)]
    bos_token_id: Option<u32>,
    #[serde(default)]
    eos_token_id: Option<TokenIds>,
    #[serde(default)]
    pad_token_id: Option<u32>,
}

const CONFIG: &str = "config.json";
const GENERATION_CONFIG: &str = "generation_config.json";

impl ModelFolder {
    /// Puts the parts of a new model together.
    pub fn new(config: ModelConfig, tokenizer: Tokenizer, model: CausalLm) -> Self {
        Self { config, tokenizer, model, source: None }
    }

    /// Reads a folder with `config.json`, `model.safetensors` (whole or in shards), the tokenizer's files, and
    /// `generation_config.json` if it is there.
    ///
    /// # Errors
    /// If a file is missing or malformed, or the weights do not fit the configuration.
    pub fn read(folder: &Path, device: &Device) -> Result<Self, LmError> {
        let config_path = folder.join(CONFIG);
        let config = ModelConfig::read(&config_path)?;
        let tokenizer = Tokenizer::read(folder)?;
        if tokenizer.vocab_size() > config.vocab_size {
            return Err(LmError::Config {
                path: config_path,
                field: "vocab_size",
                found: config.vocab_size.to_string(),
                expected: format!("at least the {} tokens of the tokenizer", tokenizer.vocab_size()),
            });
        }
        let model = read_model(folder, &config, device)?;
        let bytes_of = |path: &Path| std::fs::read(path).map_err(LmError::io(path));
        let generation_path = folder.join(GENERATION_CONFIG);
        let generation_config = match generation_path.exists() {
            true => Some((bytes_of(&generation_path)?, read_json(&generation_path)?)),
            false => None,
        };
        let source =
            Source { config: config.clone(), config_file: bytes_of(&config_path)?, generation_config };
        Ok(Self { config, tokenizer, model, source: Some(source) })
    }

    /// Writes the files of the folder into an existing one; those that did not change are written as they were read.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_into(&self, folder: &Path) -> Result<(), LmError> {
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(LmError::io(path))
        };
        let config = self.config.in_f32();
        match self.source.as_ref().filter(|source| source.config == config) {
            Some(source) => write(CONFIG, &source.config_file)?,
            None => write_json(&folder.join(CONFIG), &config)?,
        }
        match &self.source {
            Some(Source { generation_config: Some((bytes, _)), .. }) => write(GENERATION_CONFIG, bytes)?,
            Some(_) => {}
            None => {
                let ModelConfig { bos_token_id, eos_token_id, pad_token_id, .. } = self.config.clone();
                let generation = GenerationConfig { bos_token_id, eos_token_id, pad_token_id };
                write_json(&folder.join(GENERATION_CONFIG), &generation)?;
            }
        }
        save_weights(&self.model, folder)?;
        self.tokenizer.write(folder)
    }

    /// The tokens at which an answer ends: the end tokens of the tokenizer, of its chat template and of both
    /// configurations, and the begin token, which no answer holds.
    pub fn stops(&self) -> Stops {
        let generation = self.source.as_ref().and_then(|source| source.generation_config.as_ref());
        let generation = generation.and_then(|(_, generation)| generation.eos_token_id.as_ref());
        let configured = [self.config.eos_token_id.as_ref(), generation];
        let configured = configured.into_iter().flatten().flat_map(|ids| ids.as_slice().iter().copied());
        let own = [self.tokenizer.eos(), self.tokenizer.answer_end()];
        let mut stops: Vec<u32> = own.into_iter().chain(self.tokenizer.bos()).chain(configured).collect();
        stops.sort_unstable();
        stops.dedup();
        Stops::from(stops)
    }
}

/// Reads the weights of a folder into a fresh model.
fn read_model(folder: &Path, config: &ModelConfig, device: &Device) -> Result<CausalLm, LmError> {
    check_size(folder, config.n_matrix_weights())?;
    let mut model = CausalLm::zeros(config, device);
    load_weights(&mut model, folder)?;
    Ok(model)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::module::Module;

    #[test]
    fn sizes_that_the_files_cannot_have_are_refused_before_memory_is_taken() {
        let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        for name in ["tiny-llama3", "tiny-mistral", "tiny-qwen2", "tiny-qwen3"] {
            let config = ModelConfig::read(&golden.join(name).join(CONFIG)).unwrap();
            let model = read_model(&golden.join(name), &config, &Device::default()).unwrap();
            // The rest are biases and norms, which are vectors.
            let (all, matrices) = (model.num_params() as f64, config.n_matrix_weights());
            assert!(matrices < all && all < 1.05 * matrices, "{name}: {matrices} of {all}");
            let huge = ModelConfig { vocab_size: usize::MAX / 2, ..config };
            let message = read_model(&golden.join(name), &huge, &Device::default()).unwrap_err().to_string();
            assert!(
                message.contains("model.safetensors") && message.contains("bytes, expected the"),
                "{message}"
            );
        }
    }
}
