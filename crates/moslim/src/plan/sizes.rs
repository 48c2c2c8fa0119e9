//! What the stages of a run take, from the sizes of its model and data.

use burn::tensor::Device;
use moslim_data::Prompt;
use moslim_kernels::{logits_at_once, splits_batches};
use moslim_lm::{
    BYTES_PER_NUMBER, LmError, ModelConfig, Precision, Tokenizer, n_lanes, packed_bytes, rows_at_once,
};
use moslim_reward_model::{Backbone, UncertaintyConfig, messages};
use moslim_rl::{Algorithm, ValueModel};

use super::{Plan, StagePlan};
use crate::stages::{LONGEST_ROLLOUT, check_context};
use crate::start_model::{plain_texts, shape_and_tokenizer};
use crate::{DataRecipe, Datasets, Error, PolicyRecipe, Recipe};

/// Texts that are cut into tokens to know how long they are.
const MEASURED_TEXTS: usize = 1000;

/// The share of texts that are not longer than what is planned for.
const COVERED: f64 = 0.95;

/// What is known of a run before it begins.
struct Sizes<'a> {
    recipe: &'a Recipe,
    config: ModelConfig,
    /// Tokens of an exchange and of a prompt, of which few are longer.
    exchange: f64,
    prompt: f64,
    device: &'a Device,
    lanes: f64,
    n_objectives: f64,
    /// Levels of all objectives, each a row of a head.
    n_classes: f64,
}

impl Plan {
    /// Plans a run on a device; reads the data and the tokenizer, and of the model its configuration alone.
    ///
    /// # Errors
    /// If a file cannot be read, the recipe's model is not supported, or its adapter names what the model does not have.
    pub fn of(recipe: &Recipe, datasets: &Datasets, device: &Device) -> Result<Self, Error> {
        let texts = plain_texts(recipe)?;
        let (config, tokenizer) = shape_and_tokenizer(recipe, datasets, &texts, "recipe".as_ref())?;
        if let Some(lora) = &recipe.lora {
            lora.config().check_fits(&config, "lora".as_ref())?;
        }
        let (mut prompts, mut exchanges) = lengths(&tokenizer, datasets.labeled.texts())?;
        // The stages look at all of their texts; most of what is wrong is known here, before anything is trained.
        let longest_answer = recipe.policy.training.sampling.max_new_tokens;
        let max_length = recipe.data.max_length().unwrap_or(usize::MAX);
        exchanges.retain(|exchange| *exchange <= max_length);
        prompts.retain(|prompt| prompt + longest_answer <= max_length);
        check_context(&config, "labelled answer", exchanges.iter().copied())?;
        check_context(&config, LONGEST_ROLLOUT, prompts.iter().map(|prompt| prompt + longest_answer))?;
        let (prompt, exchange) = (covering(prompts), covering(exchanges));
        let model = format!(
            "{} layers, {:.2} million weights; 95 % of prompts have at most {prompt} tokens, of prompts with answers {exchange}",
            config.num_hidden_layers,
            config.n_weights() / 1e6
        );
        let sizes = Sizes {
            recipe,
            exchange: exchange as f64,
            prompt: prompt as f64,
            device,
            lanes: n_lanes(device) as f64,
            n_objectives: datasets.schema.len() as f64,
            n_classes: datasets.schema.n_levels().iter().sum::<usize>() as f64,
            config,
        };
        Ok(Self { model, stages: sizes.stages() })
    }
}

/// A stage that trains.
struct Training {
    stage: &'static str,
    /// Weights of the model, and how many of them are trained; in adapters, how many beside them.
    model: f64,
    trained: f64,
    adapters: f64,
    /// Tokens of a micro-batch, and the logits that it computes.
    tokens: f64,
    logits: Logits,
    precision: Precision,
    gradient_checkpointing: bool,
}

/// The logits of a micro-batch.
struct Logits {
    at_once: f64,
    /// Whether the backward pass computes them again.
    are_computed_again: bool,
}

impl Sizes<'_> {
    fn stages(&self) -> Vec<StagePlan> {
        let recipe = self.recipe;
        let model = self.config.n_weights();
        let width = self.config.hidden_size as f64;
        let lm_head =
            if self.config.tie_word_embeddings { 0.0 } else { self.config.vocab_size as f64 * width };
        let heads = self.n_classes * width;
        let reward_model = model - lm_head + heads;
        let adapter = recipe.lora.as_ref().map(|lora| lora.config().n_weights(&self.config));
        let (trained, adapters) = (adapter.unwrap_or(model), adapter.unwrap_or(0.0));

        let mut stages = Vec::new();
        if let Some(pretraining) = &recipe.pretraining {
            let tokens = (pretraining.training.micro_batch_size * pretraining.window) as f64;
            stages.push(self.training(Training {
                stage: "pretraining",
                model,
                trained: model,
                adapters: 0.0,
                tokens,
                logits: self.logits(tokens),
                precision: pretraining.training.precision,
                gradient_checkpointing: pretraining.training.gradient_checkpointing,
            }));
        }
        let conditional = recipe.conditional_sft.as_ref().map(|conditional| &conditional.training);
        let fine_tuning = [("fine-tuning", recipe.sft.as_ref()), ("conditional fine-tuning", conditional)];
        for (stage, sft) in fine_tuning.into_iter().filter_map(|(stage, sft)| Some((stage, sft?))) {
            let n = sft.micro_batch_size as f64;
            stages.push(self.training(Training {
                stage,
                model,
                trained,
                adapters,
                tokens: n * self.exchange,
                logits: self.logits(n * (self.exchange - self.prompt)),
                precision: sft.precision,
                gradient_checkpointing: sft.gradient_checkpointing,
            }));
        }
        let fits = match &recipe.data {
            DataRecipe::Files { judge, .. } => vec![&recipe.reward_model, judge.as_ref()],
            DataRecipe::Testbed { .. } => vec![&recipe.reward_model],
        };
        for (fit, stage) in fits.into_iter().zip(["reward model", "judge"]) {
            // Members of an ensemble that are trained already wait for the last one.
            let waiting = match fit.uncertainty {
                Some(UncertaintyConfig::ModelEnsemble { members }) => members as f64 - 1.0,
                _ => 0.0,
            };
            let training = self.training(Training {
                stage,
                model: reward_model,
                trained: match fit.backbone {
                    Backbone::Frozen => heads,
                    Backbone::Trained => adapter.map_or(reward_model, |adapter| adapter + heads),
                },
                adapters,
                tokens: fit.micro_batch_size as f64 * self.exchange,
                logits: Logits { at_once: 0.0, are_computed_again: false },
                precision: fit.precision,
                gradient_checkpointing: fit.gradient_checkpointing,
            });
            let weights = training.weights + waiting * reward_model * BYTES_PER_NUMBER;
            stages.push(StagePlan { weights, ..training });
        }

        let training = &recipe.policy.training;
        let n = training.micro_batch_size as f64;
        let predicted = n * training.sampling.max_new_tokens as f64;
        // Answers to prompts that ask for nothing are kept close to the reference's whole distributions.
        let is_whole = recipe.policy.requests.free > 0.0;
        let policy = self.training(Training {
            stage: "policy",
            model,
            trained,
            adapters,
            // Answers to one prompt share its reading.
            tokens: predicted + (n / training.num_generations as f64).ceil() * self.prompt,
            logits: match is_whole {
                true => {
                    Logits { at_once: predicted * self.config.vocab_size as f64, are_computed_again: false }
                }
                false => self.logits(predicted),
            },
            precision: training.precision,
            gradient_checkpointing: training.gradient_checkpointing,
        });
        let one = self.frozen(reward_model, recipe.reward_model.precision);
        let judge = match recipe.reward_model.uncertainty {
            None => one,
            Some(UncertaintyConfig::ModelEnsemble { members }) => one * members as f64,
            Some(UncertaintyConfig::HeadEnsemble { members }) => {
                one + (members as f64 - 1.0) * heads * BYTES_PER_NUMBER
            }
            // The basis of every head's inputs.
            Some(UncertaintyConfig::Laplace { .. }) => {
                one + self.n_objectives * width * width * BYTES_PER_NUMBER
            }
        };
        let reference = match (&recipe.lora, training.precision) {
            // Adapters leave the base alone, which then is the reference as well.
            (Some(_), Precision::F32) => 0.0,
            (Some(_), Precision::Bf16) => self.rounded_layers(Precision::Bf16),
            (None, precision) => self.frozen(model, precision),
        };
        // What of a value model is not the policy itself; it learns as the policy does.
        let critic = match recipe.policy.algorithm() {
            Algorithm::Ppo(ppo) => match ppo.value_model {
                ValueModel::Policy => trained,
                ValueModel::RewardModel => reward_model,
                ValueModel::SharedTrunk | ValueModel::None => 0.0,
            },
            _ => 0.0,
        } * BYTES_PER_NUMBER;
        stages.push(StagePlan {
            weights: policy.weights + reference + judge + critic,
            gradients: policy.gradients + critic,
            optimizer: policy.optimizer + 2.0 * critic,
            cache: self.generation_cache(training.num_generations),
            packed: self.packed_in_a_step().max(self.packed(recipe.policy.eval_answers)),
            ..policy
        });
        stages.push(StagePlan {
            stage: "evaluation",
            weights: 2.0 * self.frozen(model, Precision::F32) + judge,
            cache: self.generation_cache(1),
            // One policy after the other answers every question once for every objective.
            packed: self.packed(recipe.evaluation.prompts.saturating_mul(self.n_objectives as usize)),
            ..StagePlan::default()
        });
        stages
    }

    /// A stage that trains micro-batch by micro-batch, one per lane.
    fn training(&self, training: Training) -> StagePlan {
        let Training { stage, model, trained, adapters, tokens, logits, precision, gradient_checkpointing } =
            training;
        let of_token = match gradient_checkpointing {
            true => self.config.checkpointed_bytes_per_token(self.device),
            false => self.config.activation_bytes_per_token(self.device),
        };
        let activations = tokens * of_token + logits.at_once * BYTES_PER_NUMBER;
        let vocabulary = self.config.vocab_size as f64 * self.config.hidden_size as f64 * BYTES_PER_NUMBER;
        // On the CPU the gradients of matrices in 32 bits grow in one sum, but for that of a vocabulary whose logits are
        // computed again; otherwise a micro-batch has its own when its activations are gone.
        let sums = splits_batches(self.device) && adapters == 0.0;
        let in_one_sum = sums && precision == Precision::F32;
        let of_a_lane = match (in_one_sum, logits.are_computed_again) {
            (true, false) => activations,
            (true, true) => activations + vocabulary,
            (false, _) => activations.max(trained * BYTES_PER_NUMBER),
        };
        // A tied embedding has a sum for either end of the model.
        let is_twice = sums && self.config.tie_word_embeddings && logits.at_once > 0.0;
        StagePlan {
            stage,
            // Every micro-batch rounds the layers for itself.
            weights: model * BYTES_PER_NUMBER + self.lanes * self.rounded_layers(precision),
            adapters: adapters * BYTES_PER_NUMBER,
            gradients: trained * BYTES_PER_NUMBER + if is_twice { vocabulary } else { 0.0 },
            // First and second moments.
            optimizer: 2.0 * trained * BYTES_PER_NUMBER,
            activations: of_a_lane * self.lanes,
            ..StagePlan::default()
        }
    }

    /// The logits that log-probabilities of so many tokens hold at once.
    fn logits(&self, n_tokens: f64) -> Logits {
        let (n_tokens, vocabulary) = (n_tokens as usize, self.config.vocab_size);
        let at_once = logits_at_once(n_tokens, vocabulary, &self.device.clone().autodiff());
        Logits { at_once: at_once as f64, are_computed_again: at_once < n_tokens.saturating_mul(vocabulary) }
    }

    /// The bytes of a model that is not trained.
    fn frozen(&self, weights: f64, precision: Precision) -> f64 {
        weights * BYTES_PER_NUMBER - self.rounded_layers(precision)
    }

    /// The bytes of the layers' matrices in 16 bits, if they are rounded to these.
    fn rounded_layers(&self, precision: Precision) -> f64 {
        match precision {
            Precision::F32 => 0.0,
            Precision::Bf16 => self.config.n_layer_weights() * BYTES_PER_NUMBER / 2.0,
        }
    }

    fn generation_cache(&self, n_samples: usize) -> f64 {
        let rows = rows_at_once(n_samples, self.device) as f64;
        let columns = self.prompt + self.recipe.policy.training.sampling.max_new_tokens as f64;
        rows * columns * self.config.cache_bytes_per_token() * self.lanes
    }

    /// The packed matrices while the answers of a step are written: those of the policy, unless a server has it, and those of the
    /// reference where some prompts ask for nothing.
    fn packed_in_a_step(&self) -> f64 {
        let PolicyRecipe { prompts_per_step, requests, rollout_server, training, .. } = &self.recipe.policy;
        let n_writers = usize::from(rollout_server.is_none()) + usize::from(requests.free > 0.0);
        let n_answers = prompts_per_step.saturating_mul(training.num_generations);
        n_writers as f64 * packed_bytes(&self.config, training.precision, n_answers, self.device)
    }

    /// The packed matrices while one policy in 32 bits writes so many answers.
    fn packed(&self, n_answers: usize) -> f64 {
        packed_bytes(&self.config, Precision::F32, n_answers, self.device)
    }
}

/// How long prompts, and prompts with answers, are in tokens.
fn lengths<'a>(
    tokenizer: &Tokenizer,
    texts: impl Iterator<Item = (&'a Prompt, &'a str)>,
) -> Result<(Vec<usize>, Vec<usize>), LmError> {
    let of = |(prompt, response): (&Prompt, &str)| {
        let (prompt, response) = tokenizer.encode_exchange(&messages(prompt), response)?;
        Ok((prompt.len(), prompt.len() + response.len()))
    };
    texts.take(MEASURED_TEXTS).map(of).collect()
}

/// The length that few exceed.
fn covering(mut lengths: Vec<usize>) -> usize {
    lengths.sort_unstable();
    lengths.get((lengths.len() as f64 * COVERED) as usize).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests;
