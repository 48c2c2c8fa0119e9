//! The language model before policy optimisation.

use moslim_reward_model::messages;
use std::path::PathBuf;

use moslim_lm::{CausalLm, EpochBatches, Exchange, ModelFolder, Optimizer, sft_gradients};
use serde_json::json;

use super::fitting::fitting;
use super::{check_context, with_fitting_held_out};
use crate::model_card::{Part, model_card};
use crate::run::Purpose;
use crate::start_model::{plain_texts, shape_and_tokenizer};
use crate::{Datasets, Error, ModelRecipe, PolicyFolder, Run, SftRecipe, model_folder};

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
    let mut log = run.log("sft")?;
    if let Some(pretraining) = &recipe.pretraining {
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
        let order = Purpose::PretrainingOrder;
        lm.model = descend(run, "pretraining", lm.model, &examples, &pretraining.training, order, &mut log)?;
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
        lm.model = descend(run, "sft", model, &examples, sft, Purpose::SftOrder, &mut log)?.merged();
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

/// Supervised training on prompts and responses.
fn descend(
    run: &Run,
    stage: &'static str,
    mut model: CausalLm,
    examples: &[(Vec<u32>, Vec<u32>)],
    recipe: &SftRecipe,
    order: Purpose,
    log: &mut crate::run::JsonLines,
) -> Result<CausalLm, Error> {
    let per_epoch = examples.len() as f64 / recipe.batch_size.min(examples.len()) as f64;
    let total_steps = (recipe.num_train_epochs * per_epoch).round() as usize;
    let mut optimizer = Optimizer::new(recipe.optimizer.clone(), total_steps);
    let mut progress = run.progress.stage(stage, total_steps);
    let mut batches = EpochBatches::new(examples.len(), recipe.batch_size, run.seed(order));
    if recipe.group_by_length {
        let length = |(prompt, answer): &(Vec<u32>, Vec<u32>)| prompt.len() + answer.len();
        batches = batches.grouped_by_length(examples.iter().map(length).collect());
    }
    for (index, rows) in batches.take(total_steps).enumerate() {
        run.check_interrupted(stage)?;
        let batch: Vec<Exchange<'_>> = rows
            .iter()
            .map(|&row| Exchange { prompt: &examples[row].0, response: &examples[row].1 })
            .collect();
        let (gradients, value) = sft_gradients(&model, &batch, recipe.micro_batch_size, recipe.precision);
        let lr = optimizer.learning_rate();
        let grad_norm;
        (model, grad_norm) = optimizer.step(model, gradients);
        if !grad_norm.is_finite() {
            return Err(Error::Diverged { stage, step: index + 1 });
        }
        log.push(
            &json!({ "stage": stage, "step": index + 1, "loss": value, "grad_norm": grad_norm, "lr": lr }),
        )?;
        progress.advance(|| format!("loss {value:.3}"));
    }
    progress.finish();
    Ok(model)
}
