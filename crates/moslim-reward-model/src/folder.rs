//! A reward model's folder: a Hugging Face sequence classifier whose labels are grouped by objective.

mod adapter;
mod golden;

use std::path::Path;

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use moslim_data::ObjectiveSchema;
use moslim_lm::{
    Decoder, Exchange, LmError, ModelConfig, Tokenizer, check_size, load_weights, read_json, save_weights,
    write_json,
};
use moslim_reward_mapping::{RewardMapping, TargetStats};
use serde::{Deserialize, Serialize};

use self::golden::Golden;
use crate::head::{HeadMlp, linear};
use crate::uncertainty::{Owner, UncertaintyFile};
use crate::{HeadConfig, HeadReader, MultiHeadRewardModel, RewardHead, Uncertainty};

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
    /// What the heads are.
    pub heads: Vec<HeadConfig>,
    /// How their outputs become probabilities.
    pub readers: Vec<HeadReader>,
    /// What makes it give several opinions; it has its own alone if absent.
    pub uncertainty: Option<Uncertainty>,
    /// How the probabilities of every class are spread over answers, for the mappings that standardise with it.
    pub statistics: Option<TargetStats>,
    /// The mapping it was trained to serve.
    pub mapping: Option<RewardMapping>,
    /// Answers whose outputs are written too, and computed again when the folder is read: prompt and answer as tokens.
    pub golden: Vec<(Vec<u32>, Vec<u32>)>,
}

/// The layout of transformers' `…ForSequenceClassification`: all levels of all heads are rows of one matrix.
#[derive(Module, Debug)]
struct SequenceClassifier {
    model: Decoder,
    score: Linear,
    /// The heads' own layers, which transformers does not have.
    heads: Vec<Option<HeadMlp>>,
}

const OBJECTIVES: &str = "objectives.json";

/// `objectives.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Objectives {
    objectives: ObjectiveSchema,
    heads: Vec<Head>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uncertainty: Option<UncertaintyFile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    statistics: Option<TargetStats>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mapping: Option<RewardMapping>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    golden: Vec<Golden>,
}

/// A head in `objectives.json`.
#[derive(Serialize, Deserialize)]
struct Head {
    #[serde(flatten)]
    config: HeadConfig,
    #[serde(flatten)]
    reader: HeadReader,
    /// The thresholds of an ordinal head as it was trained, before its reader was calibrated.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    thresholds: Vec<f64>,
}

impl Objectives {
    fn read(folder: &Path) -> Result<Self, LmError> {
        let path = folder.join(OBJECTIVES);
        let file: Self = read_json(&path)?;
        let (heads, readers): (Vec<HeadConfig>, Vec<HeadReader>) =
            file.heads.iter().map(|head| (head.config.clone(), head.reader.clone())).unzip();
        check_heads(&path, &file.objectives, &heads, &readers)?;
        for (head, n_levels) in file.heads.iter().zip(file.objectives.n_levels()) {
            let thresholds = &head.thresholds;
            let ascend = thresholds.iter().all(|b| b.is_finite()) && thresholds.is_sorted_by(|a, b| a < b);
            if !thresholds.is_empty() && (thresholds.len() != n_levels - 1 || !ascend) {
                return Err(LmError::Config {
                    path,
                    field: "thresholds",
                    found: format!("{thresholds:?}"),
                    expected: format!("{} ascending numbers", n_levels - 1),
                });
            }
        }
        Ok(file)
    }

    /// The number of outputs of every head.
    fn n_outputs(&self) -> Vec<usize> {
        let heads = self.heads.iter().zip(self.objectives.n_levels());
        heads.map(|(head, n_levels)| head.config.kind.n_outputs(n_levels)).collect()
    }

    /// The number of weights of all heads.
    fn n_head_weights(&self, hidden_size: usize) -> f64 {
        let layers = self.heads.iter().map(|head| 2.0 * head.config.hidden_size.unwrap_or(0) as f64);
        (self.n_outputs().iter().sum::<usize>() as f64 + layers.sum::<f64>()) * hidden_size as f64
    }

    /// Heads of zeros on a decoder, to be filled.
    fn empty(&self, model: Decoder, hidden_size: usize, device: &Device) -> SequenceClassifier {
        let mlp =
            |head: &Head| head.config.hidden_size.map(|inner| HeadMlp::zeros(hidden_size, inner, device));
        SequenceClassifier {
            model,
            score: linear(Tensor::zeros([hidden_size, self.n_outputs().iter().sum()], device)),
            heads: self.heads.iter().map(mlp).collect(),
        }
    }
}

impl RewardModelFolder {
    /// Writes the files into an existing folder: `config.json`, `model.safetensors`, `objectives.json` and the tokenizer, and
    /// `uncertainty.safetensors` or the folders of further models for its uncertainty.
    ///
    /// transformers reads it as a sequence classifier, unless a head has a layer of its own.
    ///
    /// # Errors
    /// If a file cannot be written.
    pub fn write_into(&self, folder: &Path) -> Result<(), LmError> {
        let path = folder.join("config.json");
        let mut config = serde_json::to_value(&self.config)
            .map_err(|source| LmError::Json { path: path.clone(), source })?;
        // transformers reads the state of the last token that is no padding: where the end of an answer pads, that is another one.
        // Without a padding token it reads single rows rightly and refuses batches.
        let pad = self.tokenizer.pad();
        config["pad_token_id"] =
            if pad == self.tokenizer.answer_end() { serde_json::Value::Null } else { pad.into() };
        // With another number of labels, transformers refuses the weights instead of leaving out what it does not know.
        config["num_labels"] = (self.output_names().len() + 1).into();
        if self.heads.iter().all(|head| head.hidden_size.is_none()) {
            let id2label: serde_json::Map<String, serde_json::Value> = self
                .output_names()
                .into_iter()
                .enumerate()
                .map(|(id, name)| (id.to_string(), name.into()))
                .collect();
            config["architectures"] = serde_json::json!([format!(
                "{}ForSequenceClassification",
                self.config.model_type.class_prefix()
            )]);
            config["num_labels"] = id2label.len().into();
            config["id2label"] = id2label.into();
        }
        write_json(&path, &config)?;
        self.write_objectives(folder)?;
        save_weights(&self.classifier(), folder)?;
        self.tokenizer.write(folder)
    }

    /// Writes `objectives.json`, and the uncertainty beside it.
    fn write_objectives(&self, folder: &Path) -> Result<(), LmError> {
        let heads = self.heads.iter().zip(&self.readers).zip(&self.model.heads);
        let head = |((config, reader), head): ((&HeadConfig, &HeadReader), &RewardHead)| Head {
            config: config.clone(),
            reader: reader.clone(),
            thresholds: head.thresholds(),
        };
        let uncertainty = self.uncertainty.as_ref();
        let objectives = Objectives {
            objectives: self.schema.clone(),
            heads: heads.map(head).collect(),
            uncertainty: uncertainty.map(|known| UncertaintyFile::write(known, folder)).transpose()?,
            statistics: self.statistics.clone(),
            mapping: self.mapping.clone(),
            golden: self.golden_answers(),
        };
        write_json(&folder.join(OBJECTIVES), &objectives)
    }

    /// The weights as transformers has them.
    fn classifier(&self) -> SequenceClassifier {
        let weights = self.model.heads.iter().map(|head| head.score.weight.val()).collect();
        SequenceClassifier {
            model: self.model.model.clone(),
            score: linear(Tensor::cat(weights, 1)),
            heads: self.model.heads.iter().map(|head| head.mlp.clone()).collect(),
        }
    }

    /// The name of every output: `helpfulness=3` of a class, `helpfulness` of a score.
    pub fn output_names(&self) -> Vec<String> {
        let of_head = |(objective, head): (&moslim_data::Objective, &HeadConfig)| match head
            .kind
            .n_outputs(objective.n_levels())
        {
            1 => vec![objective.name.clone()],
            _ => objective.levels.iter().map(|level| format!("{}={level}", objective.name)).collect(),
        };
        self.schema.objectives().iter().zip(&self.heads).flat_map(of_head).collect()
    }

    /// Reads what [`RewardModelFolder::write_into`] wrote, and computes the written answers again.
    ///
    /// # Errors
    /// If a file is missing or malformed, the weights do not fit the configuration and the objectives, or the model does not
    /// put out what it put out when it was written.
    pub fn read(folder: &Path, device: &Device) -> Result<Self, LmError> {
        let (model, uncertainty) = Self::read_parts(folder, device)?;
        model.with_uncertainty(uncertainty, folder, device)
    }

    /// Reads a folder without its uncertainty, and what its file says of that.
    pub(crate) fn read_parts(
        folder: &Path,
        device: &Device,
    ) -> Result<(Self, Option<UncertaintyFile>), LmError> {
        let config = ModelConfig::read(&folder.join("config.json"))?;
        let file = Objectives::read(folder)?;
        check_size(folder, config.n_decoder_weights() + file.n_head_weights(config.hidden_size))?;
        let mut classifier = file.empty(Decoder::zeros(&config, device), config.hidden_size, device);
        load_weights(&mut classifier, folder)?;
        Self::assembled(file, classifier, config, folder, device)
    }

    /// Puts what was read together, and computes the written answers again.
    fn assembled(
        file: Objectives,
        classifier: SequenceClassifier,
        config: ModelConfig,
        folder: &Path,
        device: &Device,
    ) -> Result<(Self, Option<UncertaintyFile>), LmError> {
        let n_outputs = file.n_outputs();
        let Objectives { objectives: schema, heads, uncertainty, statistics, mapping, golden } = file;
        let mut first = 0;
        let parts = heads.iter().zip(schema.n_levels()).zip(n_outputs).zip(classifier.heads);
        let weights = parts.map(|(((head, n_levels), n), mlp)| {
            // A matrix of its own: a slice of another is multiplied in another order.
            let rows = classifier.score.weight.val().narrow(1, first, n).into_data();
            let score = linear(Tensor::from_data(rows, device));
            first += n;
            let read = head.reader.thresholds();
            let thresholds = if head.thresholds.is_empty() { &read } else { &head.thresholds };
            RewardHead::from_parts(head.config.kind.clone(), n_levels, mlp, score, thresholds)
        });
        let model = MultiHeadRewardModel { model: classifier.model, heads: weights.collect() };
        let (heads, readers): (Vec<HeadConfig>, Vec<HeadReader>) =
            heads.into_iter().map(|head| (head.config, head.reader)).unzip();
        let tokens = golden.iter().map(|golden| (golden.prompt.clone(), golden.response.clone())).collect();
        let model = Self {
            config,
            tokenizer: Tokenizer::read(folder)?,
            schema,
            model,
            heads,
            readers,
            uncertainty: None,
            statistics,
            mapping,
            golden: tokens,
        };
        model.check_golden(&folder.join(OBJECTIVES), &golden)?;
        Ok((model, uncertainty))
    }

    /// Reads the uncertainty too.
    fn with_uncertainty(
        mut self,
        file: Option<UncertaintyFile>,
        folder: &Path,
        device: &Device,
    ) -> Result<Self, LmError> {
        let owner = Owner {
            folder,
            path: &folder.join(OBJECTIVES),
            config: &self.config,
            schema: &self.schema,
            heads: &self.heads,
        };
        self.uncertainty = file.map(|file| file.read(&owner, device)).transpose()?;
        Ok(self)
    }

    /// The class probabilities of answers given as tokens: `[answer][objective][level]`.
    ///
    /// # Panics
    /// If a prompt or an answer is empty.
    pub fn class_probabilities(&self, answers: &[Exchange<'_>]) -> Vec<Vec<Vec<f64>>> {
        let read = |outputs: Vec<Vec<f64>>| -> Vec<Vec<f64>> {
            self.readers.iter().zip(outputs).map(|(reader, outputs)| reader.probabilities(&outputs)).collect()
        };
        self.model.outputs(answers).into_iter().map(read).collect()
    }
}

/// Whether the heads of a file fit its objectives.
pub(crate) fn check_heads(
    path: &Path,
    schema: &ObjectiveSchema,
    heads: &[HeadConfig],
    readers: &[HeadReader],
) -> Result<(), LmError> {
    let wrong = |found: String, expected: String| {
        Err(LmError::Config { path: path.into(), field: "heads", found, expected })
    };
    if heads.len() != schema.len() {
        return wrong(
            format!("{} heads", heads.len()),
            format!("one for each of {} objectives", schema.len()),
        );
    }
    if readers.len() != heads.len() {
        return wrong(format!("readers of {} heads", readers.len()), format!("those of {}", heads.len()));
    }
    for ((objective, head), reader) in schema.objectives().iter().zip(heads).zip(readers) {
        if head.hidden_size == Some(0) {
            return wrong(format!("{}: hidden_size: 0", objective.name), "at least 1".into());
        }
        if let Some((setting, found, expected)) = head.kind.mistake() {
            return wrong(format!("{}: {setting}: {found}", objective.name), expected.into());
        }
        if let Err(problem) = reader.check() {
            return wrong(format!("{}: {problem}", objective.name), "a readout that can be computed".into());
        }
        let expected = head.kind.unfitted_readout(objective.n_levels());
        let same_kind = std::mem::discriminant(&reader.readout) == std::mem::discriminant(&expected);
        if !same_kind || reader.readout.n_levels() != objective.n_levels() {
            return wrong(
                format!("{}: {:?} of {} levels", objective.name, reader.readout, reader.readout.n_levels()),
                format!("the readout of a {:?} head of {} levels", head.kind, objective.n_levels()),
            );
        }
    }
    Ok(())
}
