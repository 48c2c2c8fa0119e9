//! The reward model, and the judge where the data has no exact one.

mod checkpoint;
mod finished;

use std::ops::ControlFlow;
use std::path::Path;

use moslim_data::ObjectiveSchema;
use moslim_lm::Tokenizer;
use moslim_reward_model::{
    ComparedExchange, FitConfig, FitStep, HeadConfig, LabeledExchange, MultiHeadRewardModel, Selection,
    Trainer, TrainingSet, Validation,
};
use serde::{Deserialize, Serialize};

use self::checkpoint::{Checkpoints, Progressed};
use super::fitting;
use crate::model_card::Part;
use crate::run::{JsonLines, Purpose};
use crate::stages::policy::read_start;
use crate::{DataRecipe, Datasets, Error, Labeled, PolicyFolder, Run};

/// What decides one of the reward models of a run.
struct Training<'a> {
    stage: &'static str,
    part: Part,
    folder: &'a Path,
    data: &'a Labeled,
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
            data: &datasets.labeled,
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
                data: &datasets.judge,
                config: judge,
                heads: Purpose::JudgeHeads,
                order: Purpose::JudgeOrder,
            },
        )?;
    }
    Ok(())
}

/// A line of the stage's log: a step, or a look at validation answers.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum LogLine {
    Step(FitStep),
    Look { step: usize, validation: Validation },
}

/// What a reward model learns from and is chosen on, as texts and as tokens.
struct Sets {
    training: Labeled,
    /// Kept from training.
    validation: Labeled,
    training_tokens: TrainingSet,
    validation_tokens: TrainingSet,
}

fn train_one(run: &Run, datasets: &Datasets, training: &Training<'_>) -> Result<(), Error> {
    let Training { stage, config, .. } = *training;
    let heads = config.heads(&datasets.schema)?;
    let start = read_start(run, &run.device.clone().autodiff())?;
    let sets = sets(run, &datasets.schema, &heads, training, &start)?;
    let model = MultiHeadRewardModel::new(
        &run.with_adapter(start.lm.model.clone())?,
        start.lm.config.hidden_size,
        &datasets.schema,
        &heads,
        &mut run.rng(training.heads),
    );
    let trainer = Trainer::new(model, &sets.training_tokens, config, run.seed(training.order));
    let checkpoints = Checkpoints::of(run, stage, config, &datasets.files)?;
    let (trainer, progressed) = checkpoints.resumed(trainer)?;
    let model = train_to_the_end(run, datasets, training, &sets, trainer, progressed, &checkpoints)?;
    finished::write(run, datasets, training, &heads, &start, &sets, model)?;
    checkpoints.remove()
}

/// Divides the data, tokenizes it, and leaves out what is longer than the recipe allows.
fn sets(
    run: &Run,
    schema: &ObjectiveSchema,
    heads: &[HeadConfig],
    training: &Training<'_>,
    start: &PolicyFolder,
) -> Result<Sets, Error> {
    let (training_texts, validation) = match &training.config.validation {
        None => (training.data.clone(), Labeled::default()),
        Some(validation) => training.data.clone().split(validation.share, run.seed(Purpose::Validation)),
    };
    let tokens = |what, data: &Labeled| -> Result<TrainingSet, Error> {
        let tokenizer: &Tokenizer = &start.lm.tokenizer;
        let TrainingSet { answers, pairs } =
            TrainingSet::new(tokenizer, schema, heads, &data.answers, &data.pairs)?;
        let config = &start.lm.config;
        let answers = fitting(run, config, &format!("{what} answer"), answers, LabeledExchange::n_tokens)?;
        let pairs = fitting(run, config, &format!("{what} pair"), pairs, ComparedExchange::n_tokens)?;
        Ok(TrainingSet { answers, pairs })
    };
    let (training_tokens, validation_tokens) =
        (tokens("labelled", &training_texts)?, tokens("validation", &validation)?);
    for (part, tokens) in [
        ("training", Some(&training_tokens)),
        ("validation", training.config.validation.as_ref().map(|_| &validation_tokens)),
    ] {
        if tokens.is_some_and(TrainingSet::is_empty) {
            return Err(Error::Unusable {
                place: format!("{} data", training.stage),
                found: format!("no answer and no pair for any head in the {part} part"),
                expected: "some in every part; add data or change validation.share".into(),
            });
        }
    }
    Ok(Sets { training: training_texts, validation, training_tokens, validation_tokens })
}

/// Trains until the end or until validation says so; the best model if it was looked at, otherwise the last.
fn train_to_the_end(
    run: &Run,
    datasets: &Datasets,
    training: &Training<'_>,
    sets: &Sets,
    mut trainer: Trainer<'_>,
    progressed: Progressed,
    checkpoints: &Checkpoints,
) -> Result<MultiHeadRewardModel, Error> {
    let Training { stage, config, .. } = *training;
    let names: Vec<&str> =
        datasets.schema.objectives().iter().map(|objective| objective.name.as_str()).collect();
    let Progressed { mut selection, mut best, n_log_lines } = progressed;
    let mut log = run.continued_log(&stage.replace(' ', "_"), n_log_lines)?;
    let mut progress = run.progress.stage(stage, trainer.total_steps());
    (0..trainer.steps_done()).for_each(|_| progress.advance(String::new));
    let mut stops = false;
    while !stops && let Some(step) = trainer.step() {
        run.check_interrupted(stage)?;
        if !step.grad_norm.is_finite() {
            return Err(Error::Diverged { stage, step: step.step });
        }
        progress.advance(|| {
            let losses =
                names.iter().zip(&step.head_losses).filter_map(|(name, loss)| Some((name, (*loss)?)));
            losses.map(|(name, loss)| format!("{name} {loss:.3}")).collect::<Vec<_>>().join(" ")
        });
        let is_last = step.step == step.total_steps;
        let number = step.step;
        log.push(&LogLine::Step(step))?;
        let every = |n: Option<usize>| n.is_some_and(|n| number.is_multiple_of(n.max(1)));
        if let Some(validation) = &config.validation
            && validation.eval_steps.is_some()
            && (is_last || every(validation.eval_steps))
        {
            let model = look(&mut log, &mut selection, &trainer, sets, config, &mut stops)?;
            best = model.or(best);
        }
        if every(config.save_steps) && !is_last && !stops {
            let progressed = Progressed { selection, best, n_log_lines: log.n_lines() };
            checkpoints.write(&trainer, &progressed)?;
            best = progressed.best;
        }
    }
    progress.finish();
    if let Some((step, seen)) = &selection.best {
        run.progress.say(&format!(
            "{stage}: the best of the looks was after step {step} of {}: loss {:.3}, accuracy {:.3}",
            trainer.total_steps(),
            seen.loss,
            seen.intensity_accuracy
        ));
    }
    Ok(best.unwrap_or_else(|| trainer.model().clone()))
}

/// Measures the model on validation answers; returns it if it is the best so far.
fn look(
    log: &mut JsonLines,
    selection: &mut Selection,
    trainer: &Trainer<'_>,
    sets: &Sets,
    config: &FitConfig,
    stops: &mut bool,
) -> Result<Option<MultiHeadRewardModel>, Error> {
    use burn::module::Module;
    let Some(validation) = &config.validation else { return Ok(None) };
    let seen = Validation::of(&trainer.model().valid(), &sets.validation_tokens, config);
    let step = trainer.steps_done();
    log.push(&LogLine::Look { step, validation: seen })?;
    let (is_best, flow) = selection.see(step, seen, validation);
    *stops = flow == ControlFlow::Break(());
    Ok(is_best.then(|| trainer.model().clone()))
}
