//! The language model before policy optimisation.

mod examples;

use std::path::PathBuf;

use moslim_lm::{
    CausalLm, EpochBatches, Exchange, ModelFolder, Optimizer, load_training, save_training, sft_gradients,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use self::examples::{Example, answers, answers_as_asked, windows};
use super::requests::check_told_apart;
use super::with_fitting_held_out;
use crate::checkpoints::{Checkpoints, Settings};
use crate::model_card::{Part, model_card};
use crate::run::Purpose;
use crate::start_model::{plain_texts, shape_and_tokenizer};
use crate::{
    ConditionalSftRecipe, DataFile, Datasets, Error, ModelRecipe, PolicyFolder, PretrainingRecipe, Recipe,
    Run, SftRecipe,
};

/// Makes the start policy and writes its folder.
pub(super) fn pretrain_and_sft(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    let recipe = &run.recipe;
    let texts = plain_texts(recipe)?;
    let start = start_model(run, datasets, &texts)?;
    let mut policy = PolicyFolder::new(start, datasets.schema.clone(), recipe.codec.clone())?;
    // What will be measured at the end is checked before anything is trained.
    with_fitting_held_out(run, datasets, &policy)?;
    check_told_apart(recipe, &policy)?;
    let settings = settings(run, &datasets.files);
    let phases = Phase::of(recipe);
    let checkpoints = phases.iter().map(|phase| Checkpoints::of(run, phase.name(), 1, settings.clone()));
    let checkpoints: Vec<Checkpoints> = checkpoints.collect::<Result<_, _>>()?;
    // Whoever has begun a phase is done with those before it.
    let mut first = 0;
    for (index, checkpoints) in checkpoints.iter().enumerate() {
        if checkpoints.last::<Progressed>()?.is_some() {
            first = index;
        }
    }
    let mut n_log_lines = 0;
    for (phase, checkpoints) in phases.iter().zip(&checkpoints).skip(first) {
        let examples = match phase {
            Phase::Pretraining(pretraining) => windows(&policy.lm, &texts, pretraining)?,
            Phase::Sft(_) => answers(run, datasets, &policy.lm)?,
            Phase::ConditionalSft(sft) => answers_as_asked(run, datasets, &policy, sft.free)?,
        };
        let model = match phase {
            Phase::Pretraining(_) => policy.lm.model.clone(),
            Phase::Sft(_) | Phase::ConditionalSft(_) => run.with_adapter(policy.lm.model.clone(), 0)?,
        };
        let (model, n_lines) = phase.descend(run, model, &examples, n_log_lines, checkpoints)?;
        (policy.lm.model, n_log_lines) = (model.merged(), n_lines);
    }
    policy.write(&run.start_folder(), &model_card(run, datasets, Part::Start, None)?)
}

/// The model that the recipe starts from, on a device with gradients.
fn start_model(run: &Run, datasets: &Datasets, texts: &[(PathBuf, String)]) -> Result<ModelFolder, Error> {
    let device = run.device.clone().autodiff();
    if let ModelRecipe::Folder { path, .. } = &run.recipe.model {
        return Ok(ModelFolder::read(&crate::model_folder(path)?, &device)?);
    }
    let place = run.folder.join("recipe.toml");
    let (config, tokenizer) = shape_and_tokenizer(&run.recipe, datasets, texts, &place)?;
    let model = CausalLm::new(&config, &mut run.rng(Purpose::ModelWeights), &device);
    Ok(ModelFolder::new(config, tokenizer, model))
}

/// The log of the stage.
const LOG: &str = "sft";

/// What a checkpoint holds beside weights and optimizer.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Progressed {
    steps_done: usize,
    n_log_lines: usize,
}

/// What decides the start policy: everything of the recipe but what comes after it, and the data.
pub(super) fn settings(run: &Run, files: &[DataFile]) -> Settings {
    let mut recipe = toml::Table::try_from(&run.recipe).expect("a recipe is a table");
    for later in ["reward_model", "mapping", "policy", "evaluation", "ablations"] {
        recipe.remove(later);
    }
    // Of a comparison, the words that its prompts may have decide the vocabulary.
    if let Some(toml::Value::Table(comparison)) = recipe.get_mut("comparison") {
        comparison.retain(|key, _| key == "personalized");
    }
    for stage in ["pretraining", "sft", "conditional_sft"] {
        if let Some(toml::Value::Table(stage)) = recipe.get_mut(stage) {
            stage.remove("save_steps");
        }
    }
    Settings::of(&recipe, files)
}

/// One of the trainings that make the start policy, in their order.
enum Phase<'a> {
    Pretraining(&'a PretrainingRecipe),
    Sft(&'a SftRecipe),
    ConditionalSft(&'a ConditionalSftRecipe),
}

impl<'a> Phase<'a> {
    /// Those of a recipe.
    fn of(recipe: &'a Recipe) -> Vec<Self> {
        let pretraining = recipe.pretraining.iter().map(Phase::Pretraining);
        let sft = recipe.sft.iter().map(Phase::Sft);
        pretraining.chain(sft).chain(recipe.conditional_sft.iter().map(Phase::ConditionalSft)).collect()
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Pretraining(_) => "pretraining",
            Self::Sft(_) => "sft",
            Self::ConditionalSft(_) => "conditional_sft",
        }
    }

    fn recipe(&self) -> &'a SftRecipe {
        match self {
            Self::Pretraining(pretraining) => &pretraining.training,
            Self::Sft(sft) => sft,
            Self::ConditionalSft(sft) => &sft.training,
        }
    }

    fn order(&self) -> Purpose {
        match self {
            Self::Pretraining(_) => Purpose::PretrainingOrder,
            Self::Sft(_) => Purpose::SftOrder,
            Self::ConditionalSft(_) => Purpose::ConditionalSftOrder,
        }
    }

    /// The trained model, and the lines of the log, of which others wrote the first.
    fn descend(
        &self,
        run: &Run,
        mut model: CausalLm,
        examples: &[Example],
        n_log_lines: usize,
        checkpoints: &Checkpoints,
    ) -> Result<(CausalLm, usize), Error> {
        let (recipe, stage) = (self.recipe(), self.name());
        let per_epoch = examples.len() as f64 / recipe.batch_size.min(examples.len()) as f64;
        let total_steps = (recipe.num_train_epochs * per_epoch).round() as usize;
        let mut optimizer = Optimizer::new(recipe.optimizer.clone(), total_steps);
        model = model.with_gradient_checkpointing(recipe.gradient_checkpointing);
        let mut progressed = Progressed { steps_done: 0, n_log_lines };
        if let Some((folder, found)) = checkpoints.last::<Progressed>()? {
            (model, optimizer) = load_training(model, optimizer, &folder)?;
            progressed = found;
        }
        let mut log = run.continued_log(LOG, progressed.n_log_lines)?;
        let mut progress = run.progress.stage(stage, total_steps);
        progress.go_on_from(progressed.steps_done);
        let mut batches = EpochBatches::new(examples.len(), recipe.batch_size, run.seed(self.order()));
        if recipe.group_by_length {
            let length = |(prompt, answer): &(Vec<u32>, Vec<u32>)| prompt.len() + answer.len();
            batches = batches.grouped_by_length(examples.iter().map(length).collect());
        }
        batches = batches.skip_to(progressed.steps_done);
        let save = |model: &CausalLm, optimizer: &Optimizer, steps_done, n_log_lines| {
            let progressed = Progressed { steps_done, n_log_lines };
            checkpoints.write(steps_done, &progressed, |folder| save_training(model, optimizer, folder))
        };
        for step in progressed.steps_done + 1..=total_steps {
            if run.is_interrupted() {
                save(&model, &optimizer, step - 1, log.n_lines())?;
            }
            run.check_interrupted(stage)?;
            let rows = batches.next().expect("the order has no end");
            let batch: Vec<Exchange<'_>> = rows
                .iter()
                .map(|&row| Exchange { prompt: &examples[row].0, response: &examples[row].1 })
                .collect();
            let (gradients, value) = sft_gradients(&model, &batch, recipe.micro_batch_size, recipe.precision);
            let lr = optimizer.learning_rate();
            let grad_norm;
            (model, grad_norm) = optimizer.step(model, gradients);
            if !grad_norm.is_finite() {
                return Err(Error::Diverged { stage, step });
            }
            log.push(
                &json!({ "stage": stage, "step": step, "loss": value, "grad_norm": grad_norm, "lr": lr }),
            )?;
            progress.advance(|| format!("loss {value:.3}"));
            if recipe.save_steps.is_some_and(|steps| step.is_multiple_of(steps) || step == total_steps) {
                save(&model, &optimizer, step, log.n_lines())?;
            }
        }
        progress.finish();
        Ok((model, log.n_lines()))
    }
}
