//! A reward model's folder: a Hugging Face sequence classifier whose labels are grouped by objective.

use std::path::Path;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use moslim_data::ObjectiveSchema;
use moslim_lm::{
    Decoder, LmError, ModelConfig, Tokenizer, check_size, load_weights, read_json, save_weights, write_json,
};

use crate::MultiHeadRewardModel;

/// A reward model with everything needed to use it.
#[derive(Clone, Debug)]
pub struct RewardModelFolder {
    /// The shape of the backbone.
    pub config: ModelConfig,
    /// Its tokenizer and chat template.
    pub tokenizer: Tokenizer,
    /// The objectives, one head each.
    pub schema: ObjectiveSchema,
    /// The weights.
    pub model: MultiHeadRewardModel,
}

/// The layout of transformers' `…ForSequenceClassification`: all levels of all heads are rows of one matrix.
#[derive(Module, Debug)]
struct SequenceClassifier {
    model: Decoder,
    score: Linear,
}

const OBJECTIVES: &str = "objectives.json";

impl RewardModelFolder {
    /// Writes the files into an existing folder: `config.json`, `model.safetensors`, `objectives.json` and the tokenizer.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_into(&self, folder: &Path) -> Result<(), LmError> {
        let labels = self.schema.objectives().iter().flat_map(|objective| {
            objective.levels.iter().map(move |level| format!("{}={level}", objective.name))
        });
        let id2label: serde_json::Map<String, serde_json::Value> =
            labels.enumerate().map(|(id, label)| (id.to_string(), label.into())).collect();
        let path = folder.join("config.json");
        let mut config = serde_json::to_value(&self.config)
            .map_err(|source| LmError::Json { path: path.clone(), source })?;
        config["architectures"] = serde_json::json!([format!(
            "{}ForSequenceClassification",
            self.config.model_type.class_prefix()
        )]);
        config["num_labels"] = id2label.len().into();
        config["id2label"] = id2label.into();
        config["pad_token_id"] = self.tokenizer.pad().into();
        write_json(&path, &config)?;
        write_json(&folder.join(OBJECTIVES), &self.schema)?;
        let weights = self.model.heads.iter().map(|head| head.weight.val()).collect();
        let classifier = SequenceClassifier {
            model: self.model.model.clone(),
            score: Linear { weight: Param::from_tensor(Tensor::cat(weights, 1)), bias: None },
        };
        save_weights(&classifier, folder)?;
        self.tokenizer.write(folder)
    }

    /// Reads what [`RewardModelFolder::write_into`] wrote.
    ///
    /// # Errors
    /// If a file is missing or malformed, or the weights do not fit the configuration and the objectives.
    pub fn read(folder: &Path, device: &Device) -> Result<Self, LmError> {
        let config = ModelConfig::read(&folder.join("config.json"))?;
        let tokenizer = Tokenizer::read(folder)?;
        let schema: ObjectiveSchema = read_json(&folder.join(OBJECTIVES))?;
        let n_classes = schema.n_levels().iter().sum();
        let of_heads = n_classes as f64 * config.hidden_size as f64;
        check_size(folder, config.n_decoder_weights() + of_heads)?;
        let mut classifier = SequenceClassifier {
            model: Decoder::zeros(&config, device),
            score: Linear {
                weight: Param::from_tensor(Tensor::zeros([config.hidden_size, n_classes], device)),
                bias: None,
            },
        };
        load_weights(&mut classifier, folder)?;
        let mut first = 0;
        let heads = schema
            .n_levels()
            .into_iter()
            .map(|n_levels| {
                let weight = classifier.score.weight.val().narrow(1, first, n_levels);
                first += n_levels;
                Linear { weight: Param::from_tensor(weight), bias: None }
            })
            .collect();
        let model = MultiHeadRewardModel { model: classifier.model, heads };
        Ok(Self { config, tokenizer, schema, model })
    }
}
