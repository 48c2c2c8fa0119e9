//! The reward model, and the judge where the data has no exact one.

mod finished;
mod growing;
mod origin;
mod progressed;
mod uncertainty;

use std::ops::ControlFlow;
use std::path::Path;

use burn::module::Module;
use moslim_data::ObjectiveSchema;
use moslim_reward_model::{
    Backbone, ComparedExchange, FitConfig, FitStep, HeadConfig, LabeledExchange, MultiHeadRewardModel,
    Selection, Trainer, TrainingSet, UncertaintyConfig, Validation,
};
use serde::{Deserialize, Serialize};

pub use self::growing::add_objectives;
use self::origin::Origin;
use self::progressed::{Progressed, settings_of};
use super::fitting::fitting;
use crate::checkpoints::{Checkpoints, Settings};
use crate::model_card::Part;
use crate::run::{JsonLines, Purpose};
use crate::{DataFile, DataRecipe, Datasets, Error, Labeled, Run};

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
    let (reward_model, judge) = (run.reward_model_folder(), run.judge_folder());
    let reward_model = of_reward_model(run, datasets, &reward_model);
    let judge = match &run.recipe.data {
        DataRecipe::Testbed { .. } => None,
        DataRecipe::Files { judge: config, .. } => Some(Training {
            stage: "judge",
            part: Part::Judge,
            folder: &judge,
            data: &datasets.judge,
            config,
            heads: Purpose::JudgeHeads,
            order: Purpose::JudgeOrder,
        }),
    };
    let origin = Origin::start(run)?;
    // What is wrong with either is told before the first is trained.
    let stage = Stage::prepare(run, datasets, &reward_model, origin.clone())?;
    let judge = judge.as_ref().map(|judge| Stage::prepare(run, datasets, judge, origin)).transpose()?;
    stage.train()?;
    judge.map_or(Ok(()), |judge| judge.train())
}

/// Trains the reward model and no judge.
pub(super) fn train_alone(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    let folder = run.reward_model_folder();
    let training = of_reward_model(run, datasets, &folder);
    Stage::prepare(run, datasets, &training, Origin::start(run)?)?.train()
}

/// What decides the reward model, and with files the judge.
pub(super) fn settings(run: &Run, files: &[DataFile]) -> Settings {
    settings_of(run, &run.recipe.reward_model, files)
}

fn of_reward_model<'a>(run: &'a Run, datasets: &'a Datasets, folder: &'a Path) -> Training<'a> {
    Training {
        stage: "reward model",
        part: Part::RewardModel,
        folder,
        data: &datasets.labeled,
        config: &run.recipe.reward_model,
        heads: Purpose::RewardHeads,
        order: Purpose::RewardModelOrder,
    }
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

/// What came of a training.
struct Trained {
    /// The best model looked at, or the last.
    chosen: MultiHeadRewardModel,
    /// The last, where another was better.
    last: Option<MultiHeadRewardModel>,
}

/// A stage on its data: what every model of it is trained and finished with.
struct Stage<'a> {
    run: &'a Run,
    datasets: &'a Datasets,
    training: &'a Training<'a>,
    heads: Vec<HeadConfig>,
    origin: Origin,
    sets: Sets,
}

impl<'a> Stage<'a> {
    /// Everything that is known before the first step.
    fn prepare(
        run: &'a Run,
        datasets: &'a Datasets,
        training: &'a Training<'a>,
        origin: Origin,
    ) -> Result<Self, Error> {
        let table = if training.part == Part::Judge { "data.judge" } else { "reward_model" };
        let heads = training.config.heads(&datasets.schema).map_err(Error::fit(table))?;
        let heads = origin.heads(heads);
        let sets = sets(run, &datasets.schema, &heads, training, &origin)?;
        Ok(Self { run, datasets, training, heads, origin, sets })
    }

    /// Trains the model, and further ones for an ensemble, and writes the folder.
    fn train(&self) -> Result<(), Error> {
        let n_models = match self.training.config.uncertainty {
            Some(UncertaintyConfig::ModelEnsemble { members }) => members,
            _ => 1,
        };
        finished::write(self, (0..n_models).map(|member| self.train_model(member)).collect::<Result<_, _>>()?)
    }

    /// Trains the model, or one of several.
    fn train_model(&self, member: usize) -> Result<Trained, Error> {
        let Self { run, datasets, training, heads, origin, sets } = self;
        // A backbone that stays as it is needs no adapter.
        let backbone = match training.config.backbone {
            Backbone::Frozen => origin.model.clone(),
            Backbone::Trained => run.with_adapter(origin.model.clone(), member)?,
        };
        let fresh = MultiHeadRewardModel::new(
            &backbone,
            origin.config.hidden_size,
            &datasets.schema,
            heads,
            &mut run.member_rng(training.heads, member),
        );
        let model = match &origin.grown {
            None => fresh,
            Some(grown) => fresh.with_heads_of(&grown.from.model),
        };
        let seed = run.member_seed(training.order, member);
        let trainer = Trainer::new(model, &sets.training_tokens, training.config, seed);
        let name = match member {
            0 => training.stage.replace(' ', "_"),
            _ => format!("{}_member_{member}", training.stage.replace(' ', "_")),
        };
        let settings = settings_of(run, training.config, &datasets.files);
        let checkpoints = Checkpoints::of(run, &name, 1, settings)?;
        let (trainer, progressed) = Progressed::resumed(&checkpoints, trainer)?;
        self.train_to_the_end(trainer, progressed, &checkpoints, &name)
    }

    /// Trains until the end or until validation says so; the best model if it was looked at, otherwise the last.
    fn train_to_the_end(
        &self,
        mut trainer: Trainer<'_>,
        progressed: Progressed,
        checkpoints: &Checkpoints,
        log: &str,
    ) -> Result<Trained, Error> {
        let Self { run, datasets, sets, .. } = self;
        let Training { stage, config, .. } = *self.training;
        let names: Vec<&str> =
            datasets.schema.objectives().iter().map(|objective| objective.name.as_str()).collect();
        let Progressed { mut selection, mut best, n_log_lines } = progressed;
        let mut log = run.continued_log(log, n_log_lines)?;
        let mut progress = run.progress.stage(stage, trainer.total_steps());
        progress.go_on_from(trainer.steps_done());
        let mut stops = false;
        while !stops && let Some(step) = trainer.step() {
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
            let every = |n: Option<usize>| n.is_some_and(|n| number.is_multiple_of(n));
            if let Some(validation) = &config.validation
                && validation.eval_steps.is_some()
                && (is_last || every(validation.eval_steps))
            {
                let model = look(&mut log, &mut selection, &trainer, sets, config, &mut stops)?;
                best = model.or(best);
            }
            let is_saved = config.save_steps.is_some() && (every(config.save_steps) || is_last || stops);
            if is_saved || run.is_interrupted() {
                let progressed = Progressed { selection, best, n_log_lines: log.n_lines() };
                progressed.write(checkpoints, &trainer)?;
                best = progressed.best;
            }
            run.check_interrupted(stage)?;
        }
        progress.finish();
        if let Some((step, seen)) = &selection.best {
            run.progress.say(&format!(
                "{stage}: the best of the looks was after step {step} of {}: loss {:.3}, accuracy {:.3}",
                trainer.total_steps(),
                seen.loss.unwrap_or(f64::NAN),
                seen.intensity_accuracy.unwrap_or(f64::NAN)
            ));
        }
        let last = trainer.model().clone();
        let is_last = selection.best.is_none_or(|(step, _)| step == trainer.steps_done());
        Ok(match best.filter(|_| !is_last) {
            None => Trained { chosen: last, last: None },
            Some(best) => Trained { chosen: best, last: Some(last) },
        })
    }
}

/// Divides the data, tokenizes it, and leaves out what is longer than the recipe allows.
fn sets(
    run: &Run,
    schema: &ObjectiveSchema,
    heads: &[HeadConfig],
    training: &Training<'_>,
    origin: &Origin,
) -> Result<Sets, Error> {
    let (training_texts, validation) = match &training.config.validation {
        None => (training.data.clone(), Labeled::default()),
        Some(validation) => training.data.clone().split(validation.share, run.seed(Purpose::Validation)),
    };
    let tokens = |what, data: &Labeled| -> Result<TrainingSet, Error> {
        let Origin { config, tokenizer, grown, .. } = origin;
        let TrainingSet { answers, pairs } =
            TrainingSet::new(tokenizer, schema, heads, &data.answers, &data.pairs)?;
        let answers = fitting(run, config, &format!("{what} answer"), answers, LabeledExchange::n_tokens)?;
        let pairs = fitting(run, config, &format!("{what} pair"), pairs, ComparedExchange::n_tokens)?;
        let mut set = TrainingSet { answers, pairs };
        if let Some(grown) = grown.as_ref().filter(|grown| grown.rehearsal) {
            set.rehearse(&grown.from.model.valid(), heads.len());
        }
        Ok(set)
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
    if training.config.total_steps(training_tokens.len()) == 0 {
        return Err(Error::Unusable {
            place: format!("{}: num_train_epochs", training.stage),
            found: format!("{}, no step", training.config.num_train_epochs),
            expected: format!("a step at least, of {} answers and pairs", training_tokens.len()),
        });
    }
    for (index, objective) in schema.objectives().iter().enumerate() {
        if !training_tokens.teaches(index) {
            let name = &objective.name;
            run.progress.say(&format!("{}: nothing teaches {name}: no label or pair for it", training.stage));
        }
    }
    let n_unused = training_texts.pairs.len()
        - training_texts
            .pairs
            .iter()
            .filter(|pair| schema.index_of(&pair.objective).is_some_and(|index| heads[index].kind.compares()))
            .count();
    if n_unused > 0 {
        run.progress.say(&format!(
            "{}: {n_unused} of {} pairs teach nothing, since no head learns from pairs of their objective",
            training.stage,
            training_texts.pairs.len()
        ));
    }
    Ok(Sets { training: training_texts, validation, training_tokens, validation_tokens })
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
    let Some(validation) = &config.validation else { return Ok(None) };
    let seen = Validation::of(&trainer.model().valid(), &sets.validation_tokens, config);
    let step = trainer.steps_done();
    log.push(&LogLine::Look { step, validation: seen })?;
    let (is_best, flow) = selection.see(step, seen, validation);
    *stops = flow == ControlFlow::Break(());
    Ok(is_best.then(|| trainer.model().clone()))
}
