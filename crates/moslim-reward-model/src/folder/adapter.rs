//! A reward model as an adapter in PEFT's layout, with its heads in it.

use std::path::Path;

use burn::tensor::Device;
use moslim_lm::{LmError, LoraConfig, ModelFolder};

use super::Objectives;
use crate::RewardModelFolder;

/// The heads' linear maps, as transformers and this crate name them.
const SCORE: &str = "score";

/// The heads' own layers, which transformers does not have, as this crate names them: `heads.0.up`, `heads.0.down`.
const LAYERS: &str = "heads.";

impl RewardModelFolder {
    /// Writes the adapter of the backbone with the heads into an existing folder, for the language model that it was trained on:
    /// `adapter_config.json` and `adapter_model.safetensors` as PEFT has them for sequence classification (the heads are a
    /// `score` among `modules_to_save`), `objectives.json`, the uncertainty and the tokenizer.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_adapter_into(&self, lora: &LoraConfig, folder: &Path) -> Result<(), LmError> {
        let mut modules = lora.modules_to_save.clone().unwrap_or_default();
        modules.push(SCORE.into());
        for (index, _) in self.heads.iter().enumerate().filter(|(_, head)| head.hidden_size.is_some()) {
            modules.extend(["up", "down"].map(|map| format!("{LAYERS}{index}.{map}")));
        }
        let lora =
            LoraConfig { modules_to_save: Some(modules), task_type: Some("SEQ_CLS".into()), ..lora.clone() };
        lora.tied(self.config.tie_word_embeddings).save_adapter(folder, &self.classifier())?;
        self.write_objectives(folder)?;
        self.tokenizer.write(folder)
    }

    /// Reads what [`write_adapter_into`](Self::write_adapter_into) wrote, on the language model in another folder, and computes the
    /// written answers again; the adapter is then merged into the weights.
    ///
    /// # Errors
    /// If a file is missing or malformed, the adapter does not fit the language model, or the model does not put out what it put
    /// out when it was written.
    pub fn read_adapter(folder: &Path, base: &Path, device: &Device) -> Result<Self, LmError> {
        let base = ModelFolder::read(base, device)?;
        let file = Objectives::read(folder)?;
        let lora = LoraConfig::read_from(folder)?;
        // The language model has no heads.
        let mut of_backbone = lora.clone();
        let modules = lora.modules_to_save.iter().flatten();
        let modules: Vec<String> =
            modules.filter(|name| *name != SCORE && !name.starts_with(LAYERS)).cloned().collect();
        of_backbone.modules_to_save = (!modules.is_empty()).then_some(modules);
        let decoder = of_backbone.put_on(base.model, folder)?.decoder().clone();
        lora.check_size(folder, file.n_head_weights(base.config.hidden_size))?;
        let mut classifier = file.empty(decoder, base.config.hidden_size, device);
        lora.load_adapter(&mut classifier, folder)?;
        let (model, uncertainty) = Self::assembled(file, classifier, base.config, folder, device)?;
        let mut model = model.with_uncertainty(uncertainty, folder, device)?;
        model.model = model.model.merged();
        Ok(model)
    }
}
