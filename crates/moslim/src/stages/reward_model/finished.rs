//! From trained weights to the folder of a reward model.

use burn::module::Module;
use moslim_data::LabeledResponse;
use moslim_lm::Exchange;
use moslim_reward_mapping::{ClassProbabilities, TargetStats};
use moslim_reward_model::{
    Calibration, ComparedExchange, HeadConfig, HeadReader, LabeledExchange, Labelled, MultiHeadRewardModel,
    RewardModelFolder, Target,
};

use super::{Sets, Training};
use crate::mapped_reward::write_reward_model;
use crate::model_card::model_card;
use crate::{Datasets, Error, PolicyFolder, Run};

/// Answers that probabilities and their statistics are fitted to at most; means and deviations need no more.
const MAX_ANSWERS: usize = 2000;

/// Answers whose outputs are written beside the weights.
const GOLDEN_ANSWERS: usize = 3;

/// Fits the readers of the heads, and writes the folder.
pub(super) fn write(
    run: &Run,
    datasets: &Datasets,
    training: &Training<'_>,
    heads: &[HeadConfig],
    start: &PolicyFolder,
    sets: &Sets,
    model: MultiHeadRewardModel,
) -> Result<(), Error> {
    let model = model.merged().valid();
    let tokens = |records: &[LabeledResponse]| -> Result<Vec<LabeledExchange>, Error> {
        let limit = run.recipe.data.max_length().unwrap_or(usize::MAX);
        let all = records.iter().map(|record| Ok(LabeledExchange::new(&start.lm.tokenizer, record)?));
        let all =
            all.filter(|answer| answer.as_ref().is_ok_and(|a| a.n_tokens() <= limit) || answer.is_err());
        all.take(MAX_ANSWERS).collect()
    };
    let answers = tokens(&sets.training.answers)?;
    let compared = sets.training_tokens.pairs.iter().take(MAX_ANSWERS / 2);
    let exchanges: Vec<Exchange<'_>> = answers
        .iter()
        .map(LabeledExchange::exchange)
        .chain(compared.flat_map(ComparedExchange::exchanges))
        .collect();
    let outputs = model.outputs(&exchanges);
    let readers = (0..heads.len()).map(|head| {
        let scores: Vec<f64> = outputs.iter().map(|outputs| outputs[head][0]).collect();
        HeadReader::of_training(
            &model.heads()[head],
            &Labelled::of(head, &outputs, &targets(&answers)),
            &scores,
        )
    });
    let calibration =
        training.config.validation.as_ref().map_or(Calibration::None, |validation| validation.calibration);
    let kept = tokens(&sets.validation.answers)?;
    let kept_exchanges: Vec<Exchange<'_>> = kept.iter().map(LabeledExchange::exchange).collect();
    let kept_outputs = model.outputs(&kept_exchanges);
    let readers: Vec<HeadReader> = readers
        .enumerate()
        .map(|(head, reader)| {
            reader.calibrated(calibration, &Labelled::of(head, &kept_outputs, &targets(&kept)))
        })
        .collect();

    // The statistics come from the answers the model is trained on: they say how its probabilities are spread.
    let probabilities: Vec<ClassProbabilities> = outputs
        .iter()
        .map(|outputs| {
            let heads = readers.iter().zip(outputs);
            ClassProbabilities(heads.map(|(reader, outputs)| reader.probabilities(outputs)).collect())
        })
        .collect();
    let golden = exchanges.iter().take(GOLDEN_ANSWERS);
    let reward_model = RewardModelFolder {
        config: start.lm.config.clone(),
        tokenizer: start.lm.tokenizer.clone(),
        schema: datasets.schema.clone(),
        heads: heads.to_vec(),
        statistics: Some(TargetStats::from_probabilities(&probabilities)?),
        mapping: Some(run.recipe.mapping.clone()),
        golden: golden.map(|answer| (answer.prompt.to_vec(), answer.response.to_vec())).collect(),
        readers,
        model,
    };
    let card = model_card(run, datasets, training.part, None)?;
    Ok(write_reward_model(training.folder, &reward_model, &card)?)
}

/// The targets of answers and their weights.
fn targets(answers: &[LabeledExchange]) -> Vec<(&[Option<Target>], f64)> {
    answers.iter().map(|answer| (answer.targets.as_slice(), answer.weight)).collect()
}
