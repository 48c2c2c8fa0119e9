//! From trained weights to the folder of a reward model.

use std::path::Path;

use burn::module::Module;
use moslim_data::LabeledResponse;
use moslim_lm::{Exchange, LmError, LoraConfig, write_folder, write_text};
use moslim_reward_mapping::{ClassProbabilities, TargetStats};
use moslim_reward_model::{
    Backbone, Calibration, ComparedExchange, HeadReader, LabeledExchange, Labelled, MultiHeadRewardModel,
    RewardHead, RewardModelFolder, Target, Uncertainty,
};

use super::{Stage, Trained, uncertainty};
use crate::mapped_reward::write_reward_model;
use crate::model_card::{CARD, Part, model_card};
use crate::run::REWARD_ADAPTER_FOLDER;
use crate::stages::policy::base_of_adapter;
use crate::{Error, LoraRecipe};

/// Answers that probabilities and their statistics are fitted to at most; means and deviations need no more.
const MAX_ANSWERS: usize = 2000;

/// Labels with which a reader is calibrated that was calibrated before.
const ENOUGH_LABELS: usize = 50;

/// Answers whose outputs are written beside the weights.
const GOLDEN_ANSWERS: usize = 3;

/// Fits the readers of the heads and the uncertainty, and writes the folder; all models but the first are members of an ensemble.
pub(super) fn write(stage: &Stage<'_>, trained: Vec<Trained>) -> Result<(), Error> {
    let fitting = Fitting::of(stage)?;
    let with_adapter = trained[0].chosen.valid();
    let last = trained[0].last.clone();
    let mut folders = trained
        .into_iter()
        .map(|trained| folder(stage, &fitting, trained.chosen.merged().valid()))
        .collect::<Result<Vec<_>, Error>>()?
        .into_iter();
    let mut first = folders.next().expect("a stage trains a model");
    let members: Vec<RewardModelFolder> = folders.collect();
    first.uncertainty = match members.is_empty() {
        false => Some(Uncertainty::Models(members)),
        true => uncertainty::of_heads(stage, &fitting, &first.model)?,
    };
    let card = model_card(stage.run, stage.datasets, stage.training.part, None)?;
    write_reward_model(stage.training.folder, &first, &card)?;
    let name = stage.training.folder.file_name().unwrap_or_default().to_string_lossy();
    let last_folder = stage.training.folder.with_file_name(format!("{name}-last"));
    match last {
        Some(last) => {
            write_reward_model(&last_folder, &folder(stage, &fitting, last.merged().valid())?, &card)?;
        }
        None => drop_earlier(&last_folder)?,
    }
    if stage.training.part == Part::Judge {
        return Ok(());
    }
    // A frozen backbone has no adapter, and that of a grown model would belong to another reward model.
    let has_adapter = stage.training.config.backbone == Backbone::Trained && stage.origin.grown.is_none();
    let adapter_folder = stage.run.folder.join(REWARD_ADAPTER_FOLDER);
    match stage.run.recipe.lora.as_ref().filter(|_| has_adapter) {
        Some(lora) => {
            let model = RewardModelFolder { model: with_adapter, ..first };
            write_adapter(stage, lora, model, &adapter_folder)
        }
        None => drop_earlier(&adapter_folder),
    }
}

/// Drops what an earlier try left and this one does not write.
fn drop_earlier(folder: &Path) -> Result<(), Error> {
    match folder.exists() {
        true => std::fs::remove_dir_all(folder).map_err(Error::io(folder)),
        false => Ok(()),
    }
}

/// Writes the adapter of the backbone with the heads; further models of an ensemble are not part of it.
fn write_adapter(
    stage: &Stage<'_>,
    lora: &LoraRecipe,
    mut model: RewardModelFolder,
    folder: &Path,
) -> Result<(), Error> {
    if let Some(Uncertainty::Models(_)) = model.uncertainty {
        model.uncertainty = None;
    }
    let run = stage.run;
    let config = LoraConfig { base_model_name_or_path: Some(base_of_adapter(run)), ..lora.config() };
    let card = model_card(run, stage.datasets, Part::RewardAdapter, None)?;
    Ok(write_folder(folder, |unfinished| {
        model.write_adapter_into(&config, unfinished)?;
        write_text(&unfinished.join(CARD), &card)
    })?)
}

fn folder(
    stage: &Stage<'_>,
    fitting: &Fitting<'_>,
    model: MultiHeadRewardModel,
) -> Result<RewardModelFolder, Error> {
    let outputs = model.outputs(&fitting.exchanges());
    let kept_outputs = model.outputs(&fitting.kept_exchanges());
    let readers = fitting.readers(&model, &outputs, &kept_outputs, stage.origin.readers());
    // The statistics come from the answers the model is trained on: they say how its probabilities are spread.
    let probabilities: Vec<ClassProbabilities> = outputs
        .iter()
        .map(|outputs| {
            let heads = readers.iter().zip(outputs);
            ClassProbabilities(heads.map(|(reader, outputs)| reader.probabilities(outputs)).collect())
        })
        .collect();
    let golden = fitting.exchanges().into_iter().take(GOLDEN_ANSWERS);
    Ok(RewardModelFolder {
        config: stage.origin.config.clone(),
        tokenizer: stage.origin.tokenizer.clone(),
        schema: stage.datasets.schema.clone(),
        heads: stage.heads.clone(),
        uncertainty: None,
        statistics: Some(TargetStats::from_probabilities(&probabilities)?),
        mapping: Some(stage.run.recipe.mapping.clone()),
        golden: golden.map(|answer| (answer.prompt.to_vec(), answer.response.to_vec())).collect(),
        readers,
        model,
    })
}

/// Answers that readers are fitted to.
pub(super) struct Fitting<'a> {
    /// Some that the model was trained on.
    answers: Vec<LabeledExchange>,
    pairs: &'a [ComparedExchange],
    /// Those kept from training.
    kept: Vec<LabeledExchange>,
    calibration: Calibration,
}

impl<'a> Fitting<'a> {
    fn of(stage: &'a Stage<'_>) -> Result<Self, Error> {
        let tokens = |records: &[LabeledResponse]| -> Result<Vec<LabeledExchange>, Error> {
            let limit = stage.run.recipe.data.max_length().unwrap_or(usize::MAX);
            let tokenizer = &stage.origin.tokenizer;
            let all = records.iter().map(|record| LabeledExchange::new(tokenizer, record));
            let all =
                all.filter(|answer| answer.as_ref().is_ok_and(|a| a.n_tokens() <= limit) || answer.is_err());
            Ok(all.take(MAX_ANSWERS).collect::<Result<_, LmError>>()?)
        };
        let pairs = &stage.sets.training_tokens.pairs;
        let validation = &stage.training.config.validation;
        Ok(Self {
            answers: tokens(&stage.sets.training.answers)?,
            pairs: &pairs[..pairs.len().min(MAX_ANSWERS / 2)],
            kept: tokens(&stage.sets.validation.answers)?,
            calibration: validation.as_ref().map_or(Calibration::None, |validation| validation.calibration),
        })
    }

    /// The answers that the model was trained on.
    pub(super) fn exchanges(&self) -> Vec<Exchange<'_>> {
        let pairs = self.pairs.iter().flat_map(ComparedExchange::exchanges);
        self.answers.iter().map(LabeledExchange::exchange).chain(pairs).collect()
    }

    /// The answers kept from training.
    pub(super) fn kept_exchanges(&self) -> Vec<Exchange<'_>> {
        self.kept.iter().map(LabeledExchange::exchange).collect()
    }

    /// The readers of a model with these outputs for [`exchanges`](Self::exchanges) and [`kept_exchanges`](Self::kept_exchanges).
    ///
    /// The first heads have readers already, and keep them unless there are enough labels to calibrate them again.
    pub(super) fn readers(
        &self,
        model: &MultiHeadRewardModel,
        outputs: &[Vec<Vec<f64>>],
        kept_outputs: &[Vec<Vec<f64>>],
        given: &[HeadReader],
    ) -> Vec<HeadReader> {
        let (trained, kept) = (targets(&self.answers), targets(&self.kept));
        let of_head = |(index, head): (usize, &RewardHead)| {
            let kept = Labelled::of(index, kept_outputs, &kept);
            match given.get(index) {
                Some(reader) if kept.labels.len() < ENOUGH_LABELS => reader.clone(),
                Some(reader) => reader.clone().calibrated(self.calibration, &kept),
                None => {
                    let scores: Vec<f64> = outputs.iter().map(|outputs| outputs[index][0]).collect();
                    let labelled = Labelled::of(index, outputs, &trained);
                    HeadReader::of_training(head, &labelled, &scores).calibrated(self.calibration, &kept)
                }
            }
        };
        model.heads().iter().enumerate().map(of_head).collect()
    }
}

/// The targets of answers and their weights.
fn targets(answers: &[LabeledExchange]) -> Vec<(&[Option<Target>], f64)> {
    answers.iter().map(|answer| (answer.targets.as_slice(), answer.weight)).collect()
}
