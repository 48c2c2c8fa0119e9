//! The language model before policy optimisation.

use moslim_reward_model::messages;
use std::path::PathBuf;

use moslim_lm::{
    CausalLm, EpochBatches, Exchange, ModelFolder, Optimizer, load_training, save_training, sft_gradients,
};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::fitting::fitting;
use super::{check_context, with_fitting_held_out};
use crate::checkpoints::{Checkpoints, Settings};
use crate::model_card::{Part, model_card};
use crate::run::Purpose;
use crate::start_model::{plain_texts, shape_and_tokenizer};
use crate::{DataFile, Datasets, Error, ModelRecipe, PolicyFolder, Run, SftRecipe, model_folder};

/// Makes the start policy and writes its folder.
pub(super) fn pretrain_and_sft(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    let recipe = &run.recipe;
    let texts = plain_texts(recipe)?;
    let mut lm = start_model(run, datasets, &texts)?;
    // What will be measured at the end is checked before anything is trained.
    with_fitting_held_out(
        run,
        datasets,
        &PolicyFolder::new(lm.clone(), datasets.schema.clone(), recipe.codec.clone())?,
    )?;
    let settings = settings(run, &datasets.files);
    let [of_pretraining, of_sft] =
        ["pretraining", "sft"].map(|name| Checkpoints::of(run, name, 1, settings.clone()));
    let (of_pretraining, of_sft) = (of_pretraining?, of_sft?);
    let mut n_log_lines = 0;
    // Whoever has begun to read answers is done with plain text.
    let reads_answers = of_sft.last::<Progressed>()?.is_some();
    if let Some(pretraining) = recipe.pretraining.as_ref().filter(|_| !reads_answers) {
        let mut windows = Vec::new();
        for (path, text) in &texts {
            let tokens = lm.tokenizer.encode(text)?;
            let before = windows.len();
            windows.extend(tokens.chunks_exact(pretraining.window).map(<[u32]>::to_vec));
            if windows.len() == before {
                return Err(Error::Unusable {
                    place: path.display().to_string(),
                    found: format!("{} tokens", tokens.len()),
                    expected: format!("at least one window of {}", pretraining.window),
                });
            }
        }
        if windows.is_empty() {
            return Err(Error::Unusable {
                place: "pretraining.files".into(),
                found: "no file".into(),
                expected: "at least one, or no table pretraining".into(),
            });
        }
        // Where the model has no begin token, the end of one document begins the next.
        let begin = vec![lm.tokenizer.bos().unwrap_or(lm.tokenizer.eos())];
        let examples: Vec<(Vec<u32>, Vec<u32>)> =
            windows.into_iter().map(|window| (begin.clone(), window)).collect();
        check_context(
            &lm.config,
            "window",
            examples.iter().map(|(begin, window)| begin.len() + window.len()),
        )?;
        let descent = Descent { run, stage: "pretraining", n_log_lines: 0, order: Purpose::PretrainingOrder };
        (lm.model, n_log_lines) =
            descent.descend(lm.model, &examples, &pretraining.training, &of_pretraining)?;
    }
    if let Some(sft) = &recipe.sft {
        let tokenizer = &lm.tokenizer;
        let examples: Vec<(Vec<u32>, Vec<u32>)> = datasets
            .sft
            .iter()
            .map(|(prompt, answer)| tokenizer.encode_exchange(&messages(prompt), answer))
            .collect::<Result<_, _>>()?;
        let examples =
            fitting(run, &lm.config, "answer", examples, |(prompt, answer)| prompt.len() + answer.len())?;
        let model = run.with_adapter(lm.model, 0)?;
        let descent = Descent { run, stage: "sft", n_log_lines, order: Purpose::SftOrder };
        lm.model = descent.descend(model, &examples, sft, &of_sft)?.0.merged();
    }
    let card = model_card(run, datasets, Part::Start, None)?;
    PolicyFolder::new(lm, datasets.schema.clone(), recipe.codec.clone())?.write(&run.start_folder(), &card)
}

/// The model that the recipe starts from, on a device with gradients.
fn start_model(run: &Run, datasets: &Datasets, texts: &[(PathBuf, String)]) -> Result<ModelFolder, Error> {
    let device = run.device.clone().autodiff();
    if let ModelRecipe::Folder { path, .. } = &run.recipe.model {
        return Ok(ModelFolder::read(&model_folder(path)?, &device)?);
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
    for stage in ["pretraining", "sft"] {
        if let Some(toml::Value::Table(stage)) = recipe.get_mut(stage) {
            stage.remove("save_steps");
        }
    }
    Settings::of(&recipe, files)
}

/// Supervised training on prompts and responses.
struct Descent<'a> {
    run: &'a Run,
    stage: &'static str,
    /// Lines of the log that others wrote.
    n_log_lines: usize,
    order: Purpose,
}

impl Descent<'_> {
    /// The trained model, and the lines of the log.
    fn descend(
        &self,
        mut model: CausalLm,
        examples: &[(Vec<u32>, Vec<u32>)],
        recipe: &SftRecipe,
        checkpoints: &Checkpoints,
    ) -> Result<(CausalLm, usize), Error> {
        let &Self { run, stage, n_log_lines, order } = self;
        let per_epoch = examples.len() as f64 / recipe.batch_size.min(examples.len()) as f64;
        let total_steps = (recipe.num_train_epochs * per_epoch).round() as usize;
        let mut optimizer = Optimizer::new(recipe.optimizer.clone(), total_steps);
        let mut progressed = Progressed { steps_done: 0, n_log_lines };
        if let Some((folder, found)) = checkpoints.last::<Progressed>()? {
            (model, optimizer) = load_training(model, optimizer, &folder)?;
            progressed = found;
        }
        let mut log = run.continued_log(LOG, progressed.n_log_lines)?;
        let mut progress = run.progress.stage(stage, total_steps);
        progress.go_on_from(progressed.steps_done);
        let mut batches = EpochBatches::new(examples.len(), recipe.batch_size, run.seed(order));
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
