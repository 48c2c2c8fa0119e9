//! Reading recipes: embedded ones by name, others from files, with changes from the command line.

use std::path::{Path, PathBuf};

use moslim_reward_model::{ClassWeights, Sampling};
use moslim_rl::SettingError;

use super::{ConditionalSftRecipe, DataRecipe, PretrainingRecipe, Recipe};
use crate::ServerKind;
use crate::monitor::MonitorConfigError;

/// The recipes inside the program.
const EMBEDDED: [(&str, &str); 4] = [
    ("quickstart", include_str!("../../recipes/quickstart.toml")),
    ("full", include_str!("../../recipes/full.toml")),
    ("compare", include_str!("../../recipes/compare.toml")),
    ("truthfulqa", include_str!("../../recipes/truthfulqa.toml")),
];

/// Why a recipe cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecipeError {
    /// Neither a file nor an embedded recipe.
    #[error("{path}: {source}; embedded recipes are {known}", path = .path.display(), known = known())]
    NotFound {
        /// What was asked for.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// Not TOML, or not a recipe.
    #[error("{recipe}: {reason}{suggestion}")]
    Malformed {
        /// The recipe.
        recipe: String,
        /// Where and what.
        reason: String,
        /// The nearest known key after an unknown one, or nothing.
        suggestion: String,
    },
    /// A change that is not of the form `key=value`.
    #[error("--set {0}: expected key=value, such as policy.max_steps=100")]
    Change(String),
    /// A number outside its range.
    #[error("{recipe}: {key}: found {found}, expected {expected}")]
    Range {
        /// The recipe.
        recipe: String,
        /// The setting.
        key: String,
        /// What it says.
        found: String,
        /// What it may say.
        expected: &'static str,
    },
}

fn known() -> String {
    EMBEDDED.map(|(name, _)| name).join(", ")
}

impl Recipe {
    /// Reads the embedded recipe of this name, or else the file, and applies changes such as `policy.max_steps=100`.
    ///
    /// # Errors
    /// If there is no such recipe, it has unknown or missing keys, a change is malformed, or a number is out of range.
    pub fn read(name: &str, changes: &[String]) -> Result<Self, RecipeError> {
        let text = match EMBEDDED.iter().find(|(embedded, _)| *embedded == name) {
            Some((_, text)) => (*text).to_string(),
            None => std::fs::read_to_string(name)
                .map_err(|source| RecipeError::NotFound { path: Path::new(name).into(), source })?,
        };
        Self::parse(name, &text, changes)
    }

    /// Parses a recipe; `name` stands in errors.
    fn parse(name: &str, text: &str, changes: &[String]) -> Result<Self, RecipeError> {
        let table: toml::Table = toml::from_str(text).map_err(|error| malformed(name, &error))?;
        let recipe = Self::deserialize_table(name, table, changes)?;
        // Again from the text itself, whose errors know their line.
        if changes.is_empty() {
            toml::from_str::<Self>(text).map_err(|error| malformed(name, &error))?;
        }
        Ok(recipe)
    }

    /// This recipe with changes.
    ///
    /// # Errors
    /// As [`Recipe::read`].
    pub fn with(&self, changes: &[String]) -> Result<Self, RecipeError> {
        let table = toml::Table::try_from(self).expect("a recipe is a table");
        Self::deserialize_table("recipe", table, changes)
    }

    /// The recipe as TOML.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a recipe is a table")
    }

    fn deserialize_table(
        name: &str,
        mut table: toml::Table,
        changes: &[String],
    ) -> Result<Self, RecipeError> {
        // What is wrong with a recipe that is right by itself is wrong with its changes.
        let mut at_fault = name.to_owned();
        // A change may name one setting of a table that the recipe leaves out: the others are those of the whole recipe.
        if !changes.is_empty()
            && let Ok(whole) = toml::Value::Table(table.clone()).try_into::<Self>()
        {
            if whole.check(name).is_ok() {
                at_fault = format!("{name} with --set {}", changes.join(" --set "));
            }
            table = toml::Table::try_from(whole).expect("a recipe is a table");
        }
        for change in changes {
            apply(&mut table, change)?;
        }
        let recipe: Self =
            toml::Value::Table(table).try_into().map_err(|error| malformed(&at_fault, &error))?;
        recipe.check(&at_fault)?;
        Ok(recipe)
    }

    fn check(&self, recipe: &str) -> Result<(), RecipeError> {
        let range = |key: &str, ok: bool, found: String, expected| match ok {
            true => Ok(()),
            false => Err(RecipeError::Range { recipe: recipe.into(), key: key.into(), found, expected }),
        };
        let at_least = |key: &str, value: usize, least, expected| {
            range(key, value >= least, value.to_string(), expected)
        };
        let judge = match &self.data {
            DataRecipe::Files { judge, .. } => Some(("data.judge", judge.as_ref())),
            DataRecipe::Testbed { .. } => None,
        };
        for (key, fit) in [("reward_model", &self.reward_model)].into_iter().chain(judge) {
            let twice = fit.sampling == Sampling::Balanced && fit.class_weights == ClassWeights::Balanced;
            let expected = "only one of sampling and class_weights balanced, or rare levels count twice over";
            range(&format!("{key}.class_weights"), !twice, "balanced".into(), expected)?;
        }
        range(
            "mapping.pessimism",
            !self.mapping.pessimism.asks() || self.reward_model.uncertainty.is_some(),
            format!("{:?}", self.mapping.pessimism),
            "none without reward_model.uncertainty, which gives other opinions",
        )?;
        let policy = &self.policy;
        at_least("policy.max_steps", policy.max_steps, 1, "at least 1")?;
        at_least("policy.prompts_per_step", policy.prompts_per_step, 1, "at least 1")?;
        at_least("policy.eval_steps", policy.eval_steps, 1, "at least 1")?;
        at_least("policy.eval_answers", policy.eval_answers, 1, "at least 1")?;
        let coef = policy.unasked_coef;
        range(
            "policy.unasked_coef",
            coef >= 0.0 && coef.is_finite(),
            coef.to_string(),
            "a number from 0 on",
        )?;
        at_least("policy.save_steps", policy.save_steps.unwrap_or(1), 1, "at least 1")?;
        at_least("policy.save_total_limit", policy.save_total_limit, 1, "at least 1")?;
        let algorithm = policy.algorithm();
        let at = |table: String| {
            move |SettingError { key, found, expected }| RecipeError::Range {
                recipe: recipe.into(),
                key: format!("policy.{table}.{key}"),
                found,
                expected,
            }
        };
        algorithm.check().map_err(at(algorithm.name().replace('-', "_")))?;
        policy.training.check(&algorithm).map_err(at("training".into()))?;
        policy.monitor.check().map_err(|MonitorConfigError { key, found, expected }| RecipeError::Range {
            recipe: recipe.into(),
            key: format!("policy.monitor.{key}"),
            found,
            expected,
        })?;
        let (server, capped) = (policy.rollout_server.as_ref(), policy.training.importance_cap.is_some());
        range(
            "policy.training.importance_cap",
            !capped || server.is_some(),
            "a cap".into(),
            "none without policy.rollout_server, as the policy's own answers need no weights",
        )?;
        range(
            "policy.rollout_server.kind",
            self.lora.is_some() || server.is_none_or(|server| server.kind != ServerKind::Vllm),
            "vllm".into(),
            "sglang, or a table lora: vLLM is given adapters only",
        )?;
        if let Some(server) = &policy.rollout_server {
            server.check().map_err(|error| RecipeError::Malformed {
                recipe: recipe.into(),
                reason: format!("policy.rollout_server: {error}"),
                suggestion: String::new(),
            })?;
        }
        if let Some(lora) = &self.lora {
            at_least("lora.r", lora.r, 1, "at least 1")?;
            let malformed = |error: moslim_lm::LmError| RecipeError::Malformed {
                recipe: recipe.into(),
                reason: error.to_string(),
                suggestion: String::new(),
            };
            lora.config().check("lora".as_ref()).map_err(malformed)?;
        }
        at_least("evaluation.prompts", self.evaluation.prompts, 1, "at least 1")?;
        at_least("evaluation.resamples", self.evaluation.resamples, 1, "at least 1")?;
        let batches = |section: &str, batch_size, micro_batch_size| {
            at_least(&format!("{section}.batch_size"), batch_size, 1, "at least 1")?;
            at_least(&format!("{section}.micro_batch_size"), micro_batch_size, 1, "at least 1")
        };
        batches("reward_model", self.reward_model.batch_size, self.reward_model.micro_batch_size)?;
        if let Some(sft) = &self.sft {
            batches("sft", sft.batch_size, sft.micro_batch_size)?;
        }
        if let Some(ConditionalSftRecipe { free, training }) = &self.conditional_sft {
            batches("conditional_sft", training.batch_size, training.micro_batch_size)?;
            let inside = (0.0..=1.0).contains(free);
            range("conditional_sft.free", inside, free.to_string(), "a share from 0 to 1")?;
        }
        if let Some(PretrainingRecipe { window, training, .. }) = &self.pretraining {
            batches("pretraining", training.batch_size, training.micro_batch_size)?;
            at_least("pretraining.window", *window, 2, "at least 2")?;
        }
        if let Some(comparison) = &self.comparison {
            comparison.check(recipe)?;
        }
        if let DataRecipe::Files { held_out_share, judge, .. } = &self.data {
            batches("data.judge", judge.batch_size, judge.micro_batch_size)?;
            let inside = *held_out_share > 0.0 && *held_out_share < 1.0;
            range("data.held_out_share", inside, held_out_share.to_string(), "between 0 and 1")?;
        }
        Ok(())
    }
}

/// Sets one key, given with its path; a value that is not TOML is a string.
fn apply(table: &mut toml::Table, change: &str) -> Result<(), RecipeError> {
    let refused = || RecipeError::Change(change.into());
    let (path, value) = change.split_once('=').ok_or_else(refused)?;
    let parsed = toml::from_str::<toml::Table>(&format!("value = {value}"));
    let value = match parsed {
        Ok(mut parsed) => parsed.remove("value").ok_or_else(refused)?,
        Err(_) => toml::Value::String(value.into()),
    };
    let mut keys: Vec<&str> = path.trim().split('.').collect();
    let last = keys.pop().filter(|key| !key.is_empty()).ok_or_else(refused)?;
    let mut place = table;
    for key in keys {
        let next = place.entry(key).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        place = next.as_table_mut().ok_or_else(refused)?;
    }
    place.insert(last.into(), value);
    Ok(())
}

fn malformed(recipe: &str, error: &toml::de::Error) -> RecipeError {
    let reason = error.to_string().trim_end().to_string();
    RecipeError::Malformed { recipe: recipe.into(), suggestion: suggestion(error.message()), reason }
}

/// The known key nearest to an unknown one, from serde's message "unknown field `x`, expected one of `a`, `b`".
fn suggestion(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let nearest = message.contains("unknown field").then(|| quoted.next()).flatten().and_then(|unknown| {
        quoted.max_by(|a, b| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b)))
    });
    nearest.map_or(String::new(), |nearest| format!("\ndid you mean `{nearest}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(changes: &[&str]) -> Result<Recipe, String> {
        let changes: Vec<String> = changes.iter().map(ToString::to_string).collect();
        Recipe::read("quickstart", &changes).map_err(|error| error.to_string())
    }

    #[test]
    fn every_embedded_recipe_is_complete() {
        for (name, _) in EMBEDDED {
            let recipe = Recipe::read(name, &[]).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(Recipe::parse(name, &recipe.to_toml(), &[]).unwrap(), recipe);
            for ablation in &recipe.ablations {
                recipe.with(&ablation.set).unwrap_or_else(|error| panic!("{}: {error}", ablation.name));
            }
        }
    }

    #[test]
    fn changes_replace_values() {
        let recipe = changed(&["seed=7", "policy.rloo.kl.beta = 0.5", "data.world=lookup"]).unwrap();
        assert_eq!((recipe.seed, recipe.policy.rloo.kl.beta), (7, 0.5));
        assert!(recipe.to_toml().contains("world = \"lookup\""));
        assert_eq!(
            changed(&["seed"]).unwrap_err(),
            "--set seed: expected key=value, such as policy.max_steps=100"
        );
    }

    #[test]
    fn unknown_keys_are_refused_with_the_nearest_known_one() {
        for (change, expected) in [
            ("policy.max_step=3", "did you mean `max_steps`?"),
            ("polici.max_steps=3", "did you mean `policy`?"),
            ("policy.training.optimizer.lr=1", "unknown field `lr`"),
            ("data.sft_answer=1", "did you mean `sft_answers`?"),
            ("mapping.divisr=1", "did you mean `divisor`?"),
        ] {
            let message = changed(&[change]).unwrap_err();
            assert!(message.contains(expected), "{change}: {message}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_refused_by_name() {
        let message = changed(&["policy.training.num_generations=1"]).unwrap_err();
        assert_eq!(
            message,
            "quickstart with --set policy.training.num_generations=1: \
             policy.training.num_generations: found 1, expected at least 2"
        );
        assert!(changed(&["policy.training.sampling.temperature=0.0"]).is_err());
        assert!(changed(&["seed=-1"]).is_err());
    }

    #[test]
    fn a_missing_recipe_names_the_embedded_ones() {
        let message = Recipe::read("nowhere.toml", &[]).unwrap_err().to_string();
        assert!(
            message.starts_with("nowhere.toml: ")
                && message.contains("quickstart, full, compare, truthfulqa"),
            "{message}"
        );
        let message = Recipe::parse("here", "seed = 1\nsed = 2", &[]).unwrap_err().to_string();
        assert!(message.starts_with("here: "), "{message}");
    }
}
