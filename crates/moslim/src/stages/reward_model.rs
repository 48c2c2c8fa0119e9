//! The reward model, and the judge where the data has no exact one.

use std::ops::ControlFlow;
use std::path::Path;

use burn::module::Module;
use moslim_data::{LabeledResponse, Prompt};
use moslim_reward_mapping::TargetStats;
use moslim_reward_model::{FitConfig, LabeledExchange, MultiHeadRewardModel, RewardModelFolder, fit};

use super::fitting;
use crate::mapped_reward::{classify, write_reward_model};
use crate::model_card::{Part, model_card};
use crate::run::Purpose;
use crate::stages::policy::read_start;
use crate::{DataRecipe, Datasets, Error, Run};

/// What decides one of the reward models of a run.
struct Training<'a> {
    stage: &'static str,
    part: Part,
    folder: &'a Path,
    records: &'a [LabeledResponse],
    config: &'a FitConfig,
    heads: Purpose,
    order: Purpose,
}

/// Trains the reward model, and with files the judge, and writes their folders.
pub(super) fn train(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    train_one(
        run,
        datasets,
        &Training {
            stage: "reward model",
            part: Part::RewardModel,
            folder: &run.reward_model_folder(),
            records: &datasets.labeled,
            config: &run.recipe.reward_model,
            heads: Purpose::RewardHeads,
            order: Purpose::RewardModelOrder,
        },
    )?;
    if let DataRecipe::Files { judge, .. } = &run.recipe.data {
        train_one(
            run,
            datasets,
            &Training {
                stage: "judge",
                part: Part::Judge,
                folder: &run.judge_folder(),
                records: &datasets.judge,
                config: judge,
                heads: Purpose::JudgeHeads,
                order: Purpose::JudgeOrder,
            },
        )?;
    }
    Ok(())
}

fn train_one(run: &Run, datasets: &Datasets, training: &Training<'_>) -> Result<(), Error> {
    let start = read_start(run, &run.device.clone().autodiff())?;
    let tokenizer = &start.lm.tokenizer;
    let records: Vec<(&LabeledResponse, LabeledExchange)> = training
        .records
        .iter()
        .map(|record| Ok((record, LabeledExchange::new(tokenizer, record)?)))
        .collect::<Result<_, Error>>()?;
    let records = fitting(run, &start.lm.config, "labelled answer", records, |(_, example)| {
        example.prompt.len() + example.response.len()
    })?;
    // The statistics come from the answers the model is trained on: they say how its probabilities are spread.
    let calibration: Vec<(&Prompt, &str)> = records
        .iter()
        .take(MAX_CALIBRATION)
        .map(|(record, _)| (&record.prompt, record.response.as_str()))
        .collect();
    let examples: Vec<LabeledExchange> = records.into_iter().map(|(_, example)| example).collect();
    let hidden_size = start.lm.config.hidden_size;
    let model = MultiHeadRewardModel::new(
        &run.with_adapter(start.lm.model.clone())?,
        hidden_size,
        &datasets.schema,
        &mut run.rng(training.heads),
    );

    let steps = (training.config.num_train_epochs * examples.len() as f64
        / training.config.batch_size as f64)
        .round();
    let mut progress = run.progress.stage(training.stage, steps as usize);
    let mut log = run.log(&training.stage.replace(' ', "_"))?;
    let mut failed = Ok(());
    let names: Vec<&str> =
        datasets.schema.objectives().iter().map(|objective| objective.name.as_str()).collect();
    let model = fit(model, &examples, training.config, run.seed(training.order), |step| {
        failed = run.check_interrupted(training.stage).and_then(|()| log.push(step));
        if !step.grad_norm.is_finite() {
            failed = Err(Error::Diverged { stage: training.stage, step: step.step });
        }
        progress.advance(|| {
            let losses =
                names.iter().zip(&step.head_losses).filter_map(|(name, loss)| Some((name, (*loss)?)));
            losses.map(|(name, loss)| format!("{name} {loss:.3}")).collect::<Vec<_>>().join(" ")
        });
        if failed.is_err() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    failed?;
    progress.finish();

    let reward_model = RewardModelFolder {
        config: start.lm.config.clone(),
        tokenizer: start.lm.tokenizer.clone(),
        schema: datasets.schema.clone(),
        model: model.merged().valid(),
    };
    let stats = TargetStats::from_probabilities(&classify(&reward_model, &calibration)?)?;
    let card = model_card(run, datasets, training.part, None)?;
    Ok(write_reward_model(training.folder, &reward_model, &stats, &card)?)
}

/// Answers in the calibration pass at most; means and deviations need no more.
const MAX_CALIBRATION: usize = 2000;
