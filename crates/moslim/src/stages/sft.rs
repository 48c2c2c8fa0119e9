//! The language model before policy optimisation.

use moslim_data::PromptCodec;
use moslim_lm::{
    CausalLm, EpochBatches, Exchange, ModelConfig, ModelFolder, Optimizer, TokenIds, Tokenizer, sft_gradients,
};
use serde_json::json;

use crate::model_card::{Part, model_card};
use crate::run::Purpose;
use crate::{Datasets, Error, ModelRecipe, PolicyFolder, Run, SftRecipe, model_folder};

/// Makes the start policy and writes its folder.
pub(super) fn pretrain_and_sft(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    let recipe = &run.recipe;
    let texts: Vec<(std::path::PathBuf, String)> = match &recipe.pretraining {
        None => vec![],
        Some(pretraining) => pretraining
            .files
            .iter()
            .map(|path| Ok((path.clone(), std::fs::read_to_string(path).map_err(Error::io(path))?)))
            .collect::<Result<_, Error>>()?,
    };
    let mut lm = start_model(run, datasets, &texts)?;
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
        // Where the model has no begin token, the end of one document begins the next.
        let begin = vec![lm.tokenizer.bos().unwrap_or(lm.tokenizer.eos())];
        let examples: Vec<(Vec<u32>, Vec<u32>)> =
            windows.into_iter().map(|window| (begin.clone(), window)).collect();
        let order = Purpose::PretrainingOrder;
        lm.model = descend(run, "pretraining", lm.model, &examples, &pretraining.training, order, &mut log)?;
    }
    if let Some(sft) = &recipe.sft {
        let tokenizer = &lm.tokenizer;
        let examples: Vec<(Vec<u32>, Vec<u32>)> = datasets
            .sft
            .iter()
            .map(|(question, answer)| tokenizer.encode_exchange(question, answer))
            .collect::<Result<_, _>>()?;
        let model = run.with_adapter(lm.model)?;
        lm.model = descend(run, "sft", model, &examples, sft, Purpose::SftOrder, &mut log)?.merged();
    }
    let card = model_card(run, datasets, Part::Start, None)?;
    PolicyFolder::new(lm, datasets.schema.clone(), recipe.codec.clone())?.write(&run.start_folder(), &card)
}

/// The model that the recipe starts from, on a device with gradients.
fn start_model(
    run: &Run,
    datasets: &Datasets,
    texts: &[(std::path::PathBuf, String)],
) -> Result<ModelFolder, Error> {
    let device = run.device.clone().autodiff();
    let codec = PromptCodec::new(run.recipe.codec.clone(), &datasets.schema)?;
    match &run.recipe.model {
        ModelRecipe::Folder { path, .. } => Ok(ModelFolder::read(&model_folder(path)?, &device)?),
        ModelRecipe::New {
            tokenizer,
            request_tokens,
            hidden_size,
            intermediate_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            tie_word_embeddings,
        } => {
            let questions_and_answers = datasets.sft.iter().flat_map(|(question, answer)| [question, answer]);
            let corpus: Vec<&str> =
                questions_and_answers.chain(texts.iter().map(|(_, text)| text)).map(String::as_str).collect();
            let mut whole_tokens: Vec<String> = match request_tokens {
                true => {
                    codec.items().iter().flat_map(|item| item.split_whitespace().map(String::from)).collect()
                }
                false => vec![],
            };
            whole_tokens.sort();
            whole_tokens.dedup();
            let tokenizer = Tokenizer::train(*tokenizer, corpus.into_iter(), &whole_tokens)?;
            let config = ModelConfig {
                num_key_value_heads: Some(*num_key_value_heads),
                tie_word_embeddings: *tie_word_embeddings,
                bos_token_id: tokenizer.bos(),
                eos_token_id: Some(TokenIds::One(tokenizer.eos())),
                pad_token_id: Some(tokenizer.pad()),
                ..ModelConfig::small(
                    tokenizer.vocab_size(),
                    *hidden_size,
                    *intermediate_size,
                    *num_hidden_layers,
                    *num_attention_heads,
                )
            };
            config.check(&run.folder.join("recipe.toml"))?;
            let model = CausalLm::new(&config, &mut run.rng(Purpose::ModelWeights), &device);
            Ok(ModelFolder::new(config, tokenizer, model))
        }
    }
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
    for (index, rows) in
        EpochBatches::new(examples.len(), recipe.batch_size, run.seed(order)).take(total_steps).enumerate()
    {
        run.check_interrupted(stage)?;
        let batch: Vec<Exchange<'_>> = rows
            .iter()
            .map(|&row| Exchange { prompt: &examples[row].0, response: &examples[row].1 })
            .collect();
        let (gradients, value) = sft_gradients(&model, &batch, recipe.micro_batch_size);
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
