//! What the stages of a run take, from the sizes of its model and data.

use burn::tensor::Device;
use moslim_data::Prompt;
use moslim_lm::{BYTES_PER_NUMBER, LmError, ModelConfig, Precision, Tokenizer, n_lanes};
use moslim_reward_model::{Backbone, UncertaintyConfig, messages};
use moslim_rl::{Algorithm, ValueModel};

use super::{Plan, StagePlan};
use crate::stages::{LONGEST_ROLLOUT, check_context};
use crate::start_model::{plain_texts, shape_and_tokenizer};
use crate::{DataRecipe, Datasets, Error, Recipe};

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
    /// Tokens of a micro-batch, and how many of them are predicted.
    tokens: f64,
    predicted: f64,
    precision: Precision,
    gradient_checkpointing: bool,
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
                predicted: tokens,
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
                predicted: n * (self.exchange - self.prompt),
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
                predicted: 0.0,
                precision: fit.precision,
                gradient_checkpointing: fit.gradient_checkpointing,
            });
            let weights = training.weights + waiting * reward_model * BYTES_PER_NUMBER;
            stages.push(StagePlan { weights, ..training });
        }

        let training = &recipe.policy.training;
        let n = training.micro_batch_size as f64;
        let predicted = n * training.sampling.max_new_tokens as f64;
        let policy = self.training(Training {
            stage: "policy",
            model,
            trained,
            adapters,
            // Answers to one prompt share its reading.
            tokens: predicted + (n / training.num_generations as f64).ceil() * self.prompt,
            predicted,
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
            ..policy
        });
        stages.push(StagePlan {
            stage: "evaluation",
            weights: 2.0 * self.frozen(model, Precision::F32) + judge,
            cache: self.generation_cache(1),
            ..StagePlan::default()
        });
        stages
    }

    /// A stage that trains micro-batch by micro-batch, one per lane.
    fn training(&self, training: Training) -> StagePlan {
        let Training {
            stage,
            model,
            trained,
            adapters,
            tokens,
            predicted,
            precision,
            gradient_checkpointing,
        } = training;
        let of_token = match gradient_checkpointing {
            true => self.config.checkpointed_bytes_per_token(),
            false => self.config.activation_bytes_per_token(),
        };
        let activations = tokens * of_token + predicted * self.config.vocab_size as f64 * BYTES_PER_NUMBER;
        StagePlan {
            stage,
            // Every micro-batch rounds the layers for itself.
            weights: model * BYTES_PER_NUMBER + self.lanes * self.rounded_layers(precision),
            adapters: adapters * BYTES_PER_NUMBER,
            gradients: trained * BYTES_PER_NUMBER,
            // First and second moments.
            optimizer: 2.0 * trained * BYTES_PER_NUMBER,
            activations: activations.max(trained * BYTES_PER_NUMBER) * self.lanes,
            cache: 0.0,
        }
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
        let rows = moslim_lm::rows_at_once(n_samples, self.lanes > 1.0) as f64;
        let columns = self.prompt + self.recipe.policy.training.sampling.max_new_tokens as f64;
        rows * columns * self.config.cache_bytes_per_token() * self.lanes
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
mod tests {
    use super::*;

    const SMALL: [&str; 9] = [
        "data.sft_answers=64",
        "data.labeled_answers=64",
        "data.held_out_answers=20",
        "model.hidden_size=16",
        "model.intermediate_size=32",
        "model.num_hidden_layers=1",
        "model.num_attention_heads=2",
        "model.num_key_value_heads=1",
        "model.tie_word_embeddings=true",
    ];

    fn plan(changes: &[&str]) -> Plan {
        let changes: Vec<String> = SMALL.iter().chain(changes).map(ToString::to_string).collect();
        let recipe = Recipe::read("quickstart", &changes).unwrap();
        Plan::of(&recipe, &Datasets::of(&recipe).unwrap(), &Device::flex()).unwrap()
    }

    #[test]
    fn weights_gradients_and_moments_by_hand() {
        let plan = plan(&[]);
        let stages: Vec<&str> = plan.stages.iter().map(|stage| stage.stage).collect();
        assert_eq!(stages, ["fine-tuning", "reward model", "policy", "evaluation"]);
        let [sft, fit, policy, evaluation] = &plan.stages[..] else { panic!("four stages") };

        // One layer: q 16×16, k and v 16×8, o 16×16, gate, up and down 16×32, two norms of 16; one norm of 16 at the end.
        let of_layer = 16 * 16 + 2 * 16 * 8 + 16 * 16 + 3 * 16 * 32 + 2 * 16;
        let vocabulary = (sft.weights / 4.0 - f64::from(of_layer + 16)) / 16.0;
        assert!(vocabulary.fract() == 0.0 && vocabulary > 50.0, "{vocabulary} tokens");
        // Twelve rows of heads: five levels, five and two.
        let heads = 12.0 * 16.0 * 4.0;
        assert_eq!(fit.weights, sft.weights + heads);
        assert_eq!(policy.weights, 2.0 * sft.weights + fit.weights, "policy, reference and reward model");
        assert_eq!(evaluation.weights, policy.weights, "start policy, policy and reward model");
        for stage in [sft, policy] {
            assert_eq!((stage.gradients, stage.optimizer), (sft.weights, 2.0 * sft.weights));
        }
        assert_eq!((fit.gradients, fit.optimizer), (fit.weights, 2.0 * fit.weights));
        assert_eq!((evaluation.gradients, evaluation.optimizer, evaluation.activations), (0.0, 0.0, 0.0));
        // Eight answers to each of eight prompts in a batch; one key head of 8, keys and values.
        let columns = policy.cache / (64.0 * n_lanes(&Device::flex()) as f64 * 2.0 * 8.0 * 4.0);
        assert!(columns.fract() == 0.0 && columns > 60.0, "{columns} columns");
    }

    #[test]
    fn opinions_and_frozen_backbones_by_hand() {
        let [one, models, heads, posterior] =
            ["", "model_ensemble={members=3}", "head_ensemble={members=3}", "laplace={}"].map(|kind| {
                match kind {
                    "" => plan(&["reward_model.backbone=frozen"]),
                    kind => plan(&[&format!("reward_model.uncertainty={{{kind}}}")]),
                }
            });
        // Twelve rows of heads for each of two more members; a basis of 16 by 16 for each of three heads.
        let of_heads = 12.0 * 16.0 * 4.0;
        let more = |plan: &Plan| plan.stages[2].weights - one.stages[2].weights;
        assert_eq!((more(&heads), more(&posterior)), (2.0 * of_heads, 3.0 * 16.0 * 16.0 * 4.0));
        assert_eq!(more(&models), 2.0 * one.stages[1].weights);
        assert_eq!(models.stages[1].weights, 3.0 * one.stages[1].weights);
        assert_eq!(one.stages[1].gradients, of_heads);
    }

    #[test]
    fn a_value_model_is_a_second_policy_in_training() {
        let policy = |kind: &str| {
            let changes = ["policy.algorithm=ppo".into(), format!("policy.ppo.value_model={kind}")];
            plan(&changes.each_ref().map(String::as_str)).stages.remove(2)
        };
        let [of_its_own, shared, rloo] =
            [policy("policy"), policy("shared_trunk"), plan(&[]).stages.remove(2)];
        assert_eq!(shared, rloo);
        assert_eq!(
            (of_its_own.gradients, of_its_own.optimizer),
            (2.0 * rloo.gradients, 2.0 * rloo.optimizer)
        );
        assert_eq!(of_its_own.weights - rloo.weights, rloo.gradients);
    }

    #[test]
    fn adapters_spare_the_reference_and_most_of_training() {
        let adapted = plan(&["lora.r=2", "lora.lora_alpha=4", r#"lora.target_modules=["q_proj", "v_proj"]"#]);
        let [_, fit, policy, _] = &adapted.stages[..] else { panic!("four stages") };
        // r · (inputs + outputs) of the two maps.
        let adapter = f64::from(2 * (16 + 16) + 2 * (16 + 8)) * 4.0;
        assert_eq!((policy.adapters, policy.gradients, policy.optimizer), (adapter, adapter, 2.0 * adapter));
        assert_eq!(fit.gradients, adapter + 12.0 * 16.0 * 4.0, "heads are trained whole");
        assert_eq!(policy.weights, plan(&[]).stages[2].weights - adapted.stages[0].weights);
    }

    #[test]
    fn sixteen_bits_halve_what_is_frozen_and_add_a_copy_to_what_is_trained() {
        let [whole, rounded] =
            [plan(&[]), plan(&["reward_model.precision=bf16", "policy.training.precision=bf16"])];
        let layer = f64::from(16 * 16 + 2 * 16 * 8 + 16 * 16 + 3 * 16 * 32);
        let lanes = n_lanes(&Device::flex()) as f64;
        let grown = |stage: usize| rounded.stages[stage].weights - whole.stages[stage].weights;
        assert_eq!(grown(0), 0.0);
        assert_eq!(grown(1), 2.0 * lanes * layer);
        assert_eq!(
            grown(2),
            2.0 * lanes * layer - 2.0 * 2.0 * layer,
            "reference and reward model are rounded"
        );
        assert_eq!(grown(3), -2.0 * layer, "the reward model is rounded");
        for (whole, rounded) in whole.stages.iter().zip(&rounded.stages) {
            assert_eq!((whole.gradients, whole.optimizer), (rounded.gradients, rounded.optimizer));
        }
    }
}
