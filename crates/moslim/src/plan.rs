//! What a run takes of memory, before any weights are loaded.

use std::fmt;

use burn::tensor::Device;
use moslim_data::LabeledResponse;
use moslim_lm::{BYTES_PER_NUMBER, LmError, ModelConfig, Tokenizer, n_lanes};

use crate::start_model::{plain_texts, shape_and_tokenizer};
use crate::{DataRecipe, Datasets, Error, Recipe};

/// Texts that are cut into tokens to know how long they are.
const MEASURED_TEXTS: usize = 1000;

/// The share of texts that are not longer than what is planned for.
const COVERED: f64 = 0.95;

/// The memory that the stages of a run take, by component.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The model in a few words.
    pub model: String,
    /// The stages in their order.
    pub stages: Vec<StagePlan>,
}

/// The memory that one stage takes, in bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StagePlan {
    /// The stage.
    pub stage: &'static str,
    /// Weights of all its models, those of frozen copies and of the reward model included.
    pub weights: f64,
    /// Adapters.
    pub adapters: f64,
    /// The sum of the gradients.
    pub gradients: f64,
    /// Moments of the optimizer.
    pub optimizer: f64,
    /// What the micro-batches at work keep between forward and backward pass, an estimate; where that is less than the
    /// gradients that it turns into, these.
    pub activations: f64,
    /// Keys and values while answers are written.
    pub cache: f64,
}

impl StagePlan {
    /// Everything.
    pub fn total(&self) -> f64 {
        self.certain() + self.activations + self.cache
    }

    /// What follows from the sizes of the models alone.
    fn certain(&self) -> f64 {
        self.weights + self.adapters + self.gradients + self.optimizer
    }
}

/// What is known of a run before it begins.
struct Sizes<'a> {
    recipe: &'a Recipe,
    config: ModelConfig,
    /// Tokens of an exchange and of a prompt, of which few are longer.
    exchange: f64,
    prompt: f64,
    lanes: f64,
    /// Levels of all objectives, each a row of a head.
    n_classes: f64,
}

impl Plan {
    /// Plans a run on a device; reads the data and the tokenizer, and of the model its configuration alone.
    ///
    /// # Errors
    /// If a file cannot be read, or the recipe's model is not supported.
    pub fn of(recipe: &Recipe, datasets: &Datasets, device: &Device) -> Result<Self, Error> {
        let texts = plain_texts(recipe)?;
        let (config, tokenizer) = shape_and_tokenizer(recipe, datasets, &texts, "recipe".as_ref())?;
        let (prompt, exchange) = lengths(&tokenizer, &datasets.labeled)?;
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
            n_classes: datasets.schema.n_levels().iter().sum::<usize>() as f64,
            config,
        };
        Ok(Self { model, stages: sizes.stages() })
    }

    /// Refuses what cannot fit: models, gradients and moments alone; with estimates also what they say.
    ///
    /// # Errors
    /// The first stage that needs more than there is.
    pub fn check(&self, available: Available, with_estimates: bool) -> Result<(), Error> {
        let Available(Some(available)) = available else { return Ok(()) };
        let needs = |stage: &StagePlan| if with_estimates { stage.total() } else { stage.certain() };
        match self.stages.iter().find(|stage| needs(stage) > available) {
            None => Ok(()),
            Some(stage) => Err(Error::Memory {
                stage: stage.stage,
                needed: bytes(needs(stage)),
                available: bytes(available),
                advice: match stage.activations + stage.cache > stage.certain() && with_estimates {
                    true => "smaller micro_batch_size, num_generations or max_new_tokens need less",
                    false if stage.adapters > 0.0 => {
                        "a smaller model, or lora without modules_to_save, needs less"
                    }
                    false => "low-rank adapters ([lora]) or a smaller model need less",
                },
            }),
        }
    }
}

impl Sizes<'_> {
    fn stages(&self) -> Vec<StagePlan> {
        let recipe = self.recipe;
        let vocabulary = self.config.vocab_size as f64;
        let model = self.config.n_weights();
        let lm_head =
            if self.config.tie_word_embeddings { 0.0 } else { vocabulary * self.config.hidden_size as f64 };
        let reward_model = model - lm_head + self.n_classes * self.config.hidden_size as f64;
        let mut stages = Vec::new();
        if let Some(pretraining) = &recipe.pretraining {
            let tokens = (pretraining.training.micro_batch_size * pretraining.window) as f64;
            stages.push(self.training("pretraining", model, model, 0.0, tokens, tokens));
        }
        let adapter = recipe.lora.as_ref().map(|lora| lora.config().n_weights(&self.config));
        let (trained, adapters) = (adapter.unwrap_or(model), adapter.unwrap_or(0.0));
        let answer = self.exchange - self.prompt;
        if let Some(sft) = &recipe.sft {
            let n = sft.micro_batch_size as f64;
            stages.push(self.training(
                "fine-tuning",
                model,
                trained,
                adapters,
                n * self.exchange,
                n * answer,
            ));
        }
        let heads = self.n_classes * self.config.hidden_size as f64;
        let trained_with_heads = adapter.map_or(reward_model, |adapter| adapter + heads);
        let fits = match &recipe.data {
            DataRecipe::Files { judge, .. } => vec![&recipe.reward_model, judge],
            DataRecipe::Testbed { .. } => vec![&recipe.reward_model],
        };
        for (fit, stage) in fits.into_iter().zip(["reward model", "judge"]) {
            let tokens = fit.micro_batch_size as f64 * self.exchange;
            stages.push(self.training(stage, reward_model, trained_with_heads, adapters, tokens, 0.0));
        }
        stages.push(self.policy(model, trained, adapters, reward_model));
        let rows = self.generation_cache(1);
        stages.push(StagePlan {
            stage: "evaluation",
            weights: (2.0 * model + reward_model) * BYTES_PER_NUMBER,
            cache: rows,
            ..StagePlan::default()
        });
        stages
    }

    fn policy(&self, model: f64, trained: f64, adapters: f64, reward_model: f64) -> StagePlan {
        let rloo = &self.recipe.policy.rloo;
        let n = rloo.micro_batch_size as f64;
        let answer = rloo.sampling.max_new_tokens as f64;
        // Answers to one prompt share its reading.
        let tokens = n * answer + (n / rloo.num_generations as f64).ceil() * self.prompt;
        // Adapters leave the base alone, which then is the reference as well.
        let reference = if self.recipe.lora.is_some() { 0.0 } else { model };
        let frozen = reference + reward_model;
        let training = self.training("policy", model, trained, adapters, tokens, n * answer);
        StagePlan {
            weights: training.weights + frozen * BYTES_PER_NUMBER,
            cache: self.generation_cache(rloo.num_generations),
            ..training
        }
    }

    /// A stage that trains `trained` of the weights, micro-batch by micro-batch, one per lane.
    fn training(
        &self,
        stage: &'static str,
        model: f64,
        trained: f64,
        adapters: f64,
        tokens: f64,
        predicted: f64,
    ) -> StagePlan {
        let activations = tokens * self.config.activation_bytes_per_token()
            + predicted * self.config.vocab_size as f64 * BYTES_PER_NUMBER;
        StagePlan {
            stage,
            weights: model * BYTES_PER_NUMBER,
            adapters: adapters * BYTES_PER_NUMBER,
            gradients: trained * BYTES_PER_NUMBER,
            // First and second moments.
            optimizer: 2.0 * trained * BYTES_PER_NUMBER,
            activations: activations.max(trained * BYTES_PER_NUMBER) * self.lanes,
            cache: 0.0,
        }
    }

    fn generation_cache(&self, n_samples: usize) -> f64 {
        let rows = moslim_lm::rows_at_once(n_samples, self.lanes > 1.0) as f64;
        let columns = self.prompt + self.recipe.policy.rloo.sampling.max_new_tokens as f64;
        rows * columns * self.config.cache_bytes_per_token() * self.lanes
    }
}

/// How long prompts, and prompts with answers, are in tokens; few are longer.
fn lengths(tokenizer: &Tokenizer, records: &[LabeledResponse]) -> Result<(usize, usize), LmError> {
    let (mut prompts, mut exchanges) = (Vec::new(), Vec::new());
    for record in records.iter().take(MEASURED_TEXTS) {
        let (prompt, response) = tokenizer.encode_exchange(&record.prompt, &record.response)?;
        prompts.push(prompt.len());
        exchanges.push(prompt.len() + response.len());
    }
    let covering = |mut lengths: Vec<usize>| {
        lengths.sort_unstable();
        lengths.get((lengths.len() as f64 * COVERED) as usize).copied().unwrap_or(0)
    };
    Ok((covering(prompts), covering(exchanges)))
}

/// Bytes that a person can read.
fn bytes(n: f64) -> String {
    let units = ["kB", "MB", "GB"];
    let unit = units.into_iter().rev().enumerate().find(|(index, _)| n >= 1e3_f64.powi(3 - *index as i32));
    match unit {
        Some((index, unit)) => format!("{:.1} {unit}", n / 1e3_f64.powi(3 - index as i32)),
        None => format!("{n:.0} B"),
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WIDTH: usize = 11;
        writeln!(f, "{}\n", self.model)?;
        let names = ["weights", "adapters", "gradients", "optimizer", "activations", "KV cache", "total"];
        let header: Vec<String> = names.iter().map(|name| format!("{name:>WIDTH$}")).collect();
        writeln!(f, "{:14} {}", "", header.join(" "))?;
        for stage in &self.stages {
            let &StagePlan { weights, adapters, gradients, optimizer, activations, cache, .. } = stage;
            let cells = [weights, adapters, gradients, optimizer, activations, cache, stage.total()];
            let cells: Vec<String> = cells
                .iter()
                .map(|&n| format!("{:>WIDTH$}", if n == 0.0 { "–".into() } else { bytes(n) }))
                .collect();
            writeln!(f, "{:14} {}", stage.stage, cells.join(" "))?;
        }
        Ok(())
    }
}

/// The memory there is, in bytes, where that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Available(pub Option<f64>);

impl Available {
    /// What the system could give a process now, for a device in its memory; of other devices nothing is known.
    pub fn on(device: &str) -> Self {
        let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let kibibytes: Option<f64> = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        Self(kibibytes.filter(|_| device == "flex").map(|n| n * 1024.0))
    }

    /// Reads an amount such as `24GB` or `512MB`.
    ///
    /// # Errors
    /// What was found and expected, as a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        let units = [("GB", 1e9), ("MB", 1e6)];
        let found = units.into_iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));
        let amount = found.and_then(|(number, factor)| Some(number.trim().parse::<f64>().ok()? * factor));
        match amount.filter(|amount| amount.is_finite() && *amount > 0.0) {
            Some(amount) => Ok(Self(Some(amount))),
            None => Err(format!("found {text}, expected an amount such as 24GB or 512MB")),
        }
    }
}

impl fmt::Display for Available {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(amount) => write!(f, "available: {}", bytes(amount)),
            None => write!(f, "available: not known; say it with --memory"),
        }
    }
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
    fn what_cannot_fit_is_refused() {
        let plan = plan(&[]);
        let policy = &plan.stages[2];
        let check = |available: f64, with_estimates| plan.check(Available(Some(available)), with_estimates);
        check(policy.total(), true).unwrap();
        check(policy.certain(), false).unwrap();
        let error = check(policy.total() * 0.99, true).unwrap_err().to_string();
        assert!(error.starts_with("policy: needs ") && error.contains("micro_batch_size"), "{error}");
        let error = check(1000.0, false).unwrap_err().to_string();
        assert!(error.starts_with("fine-tuning: needs ") && error.contains("found 1.0 kB"), "{error}");
        plan.check(Available(None), true).unwrap();
    }

    #[test]
    fn amounts() {
        assert_eq!(Available::parse("24GB"), Ok(Available(Some(24e9))));
        assert_eq!(Available::parse("1.5 MB"), Ok(Available(Some(1.5e6))));
        for wrong in ["24", "GB", "-1GB", "infGB", "nanMB"] {
            assert!(Available::parse(wrong).is_err(), "{wrong}");
        }
        let written: Vec<String> = [12.0, 1234.0, 5.6e6, 7.8e9, 9.1e13].map(bytes).into();
        assert_eq!(written, ["12 B", "1.2 kB", "5.6 MB", "7.8 GB", "91000.0 GB"]);
    }
}
