//! Which modules of a model a low-rank adapter is about.

use std::path::Path;

use burn::store::ModuleSnapshot;
use indexmap::IndexMap;
use regex::Regex;

use crate::{CausalLm, LmError, LoraConfig, ModelConfig, TargetModules};

/// The names of a model's modules that have weights.
pub(crate) struct ModuleNames {
    /// The linear maps of the layers.
    maps: Vec<String>,
    /// All others.
    others: Vec<String>,
}

impl ModuleNames {
    pub(crate) fn of(model: &CausalLm) -> Self {
        let maps: Vec<String> = model.clone().linears_mut().into_iter().map(|(name, _)| name).collect();
        let tensors = model.collect(None, None, false);
        let modules = tensors.iter().filter_map(|tensor| Some(tensor.name.rsplit_once('.')?.0.to_owned()));
        Self { others: modules.filter(|module| !maps.contains(module)).collect(), maps }
    }

    /// Those that a model of this shape will have.
    fn of_shape(config: &ModelConfig) -> Self {
        let mut others = vec!["model.embed_tokens".to_owned(), "model.norm".to_owned()];
        others.extend((!config.tie_word_embeddings).then(|| "lm_head".to_owned()));
        let mut maps = Vec::new();
        let norms: &[&str] = match config.optional_weights().qk_norm {
            true => &["input_layernorm", "post_attention_layernorm", "self_attn.q_norm", "self_attn.k_norm"],
            false => &["input_layernorm", "post_attention_layernorm"],
        };
        // Sizes that no machine could hold are not gone through one by one.
        for layer in 0..config.num_hidden_layers.min(10_000) {
            let named = |name: &str| format!("model.layers.{layer}.{name}");
            maps.extend(config.maps_of_a_layer().iter().map(|(name, ..)| named(name)));
            others.extend(norms.iter().map(|name| named(name)));
        }
        Self { maps, others }
    }
}

impl LoraConfig {
    /// Whether the map with this name gets an adapter.
    pub(crate) fn targets(&self, name: &str) -> bool {
        match &self.target_modules {
            TargetModules::Names(names) => names.iter().any(|end| is_end_of(end, name)),
            TargetModules::Pattern(pattern) if pattern == "all-linear" => true,
            TargetModules::Pattern(pattern) => whole_name(pattern).is_ok_and(|regex| regex.is_match(name)),
        }
    }

    /// Whether the weight with this name is trained and stored whole.
    pub(crate) fn saves(&self, name: &str) -> bool {
        let module = name.rsplit_once('.').map_or(name, |(module, _)| module);
        self.modules_to_save.iter().flatten().any(|end| is_end_of(end, module))
    }

    /// Refuses an adapter that names what a model of this shape does not have; `path` stands in errors.
    ///
    /// # Errors
    /// What is named: it would silently not be done.
    pub fn check_fits(&self, model: &ModelConfig, path: &Path) -> Result<(), LmError> {
        self.check_names(&ModuleNames::of_shape(model), path)
    }

    /// Refuses names that no map, or no module, of a model has.
    pub(crate) fn check_names(&self, names: &ModuleNames, path: &Path) -> Result<(), LmError> {
        let ModuleNames { maps, others } = names;
        let no_map = |end: &&String| !maps.iter().any(|map| is_end_of(end, map));
        let missed = match &self.target_modules {
            TargetModules::Names(names) => {
                names.iter().find(no_map).or(names.is_empty().then_some(&self.peft_type))
            }
            TargetModules::Pattern(pattern) => (!maps.iter().any(|map| self.targets(map))).then_some(pattern),
        };
        let refuse = |field, expected: &str| {
            let found = match field {
                "target_modules" => serde_json::to_string(&self.target_modules),
                _ => serde_json::to_string(&self.modules_to_save),
            };
            let found = found.unwrap_or_default();
            Err(LmError::Config { path: path.into(), field, found, expected: expected.into() })
        };
        if missed.is_some() {
            return refuse("target_modules", "names of linear maps of the layers, such as q_proj");
        }
        let no_module = |end: &String| !maps.iter().chain(others).any(|module| is_end_of(end, module));
        match self.modules_to_save.iter().flatten().any(no_module) {
            true => refuse("modules_to_save", "names of modules with weights, such as embed_tokens"),
            false => Ok(()),
        }
    }

    /// Rank and scale beside the map with this name.
    pub(crate) fn rank_and_scaling(&self, name: &str) -> (usize, f64) {
        fn look_up<T: Copy>(patterns: &IndexMap<String, T>, name: &str) -> Option<T> {
            let matches = |pattern: &str| end_of_name(pattern).is_ok_and(|regex| regex.is_match(name));
            patterns.iter().find(|(pattern, _)| matches(pattern)).map(|(_, &value)| value)
        }
        let r = look_up(&self.rank_pattern, name).unwrap_or(self.r);
        let alpha = look_up(&self.alpha_pattern, name).unwrap_or(self.lora_alpha);
        let divisor = if self.use_rslora { (r as f64).sqrt() } else { r as f64 };
        (r, alpha / divisor)
    }
}

fn is_end_of(end: &str, name: &str) -> bool {
    name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

pub(crate) fn whole_name(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!("^(?:{pattern})$"))
}

pub(crate) fn end_of_name(pattern: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!(r"^(?:.*\.)?(?:{pattern})$"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::Device;

    use super::*;
    use crate::Family;

    const QUERY: &str = "model.layers.1.self_attn.q_proj";

    fn names(names: &[&str]) -> TargetModules {
        TargetModules::Names(names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn targets_are_whole_parts_of_names_or_patterns() {
        let targets = |target_modules| LoraConfig::new(8, 16.0, target_modules).targets(QUERY);
        assert!(targets(names(&["k_proj", "q_proj"])) && targets(names(&["self_attn.q_proj"])));
        assert!(!targets(names(&["proj"])) && !targets(names(&["v_proj"])));
        let pattern = |pattern: &str| targets(TargetModules::Pattern(pattern.into()));
        assert!(pattern("all-linear") && pattern(r".*\.(q|v)_proj"));
        assert!(!pattern("q_proj") && !pattern(r".*\.0\..*q_proj"));
    }

    #[test]
    fn rank_and_scale_follow_the_patterns() {
        let plain = LoraConfig::new(8, 16.0, names(&["q_proj"]));
        assert_eq!(plain.rank_and_scaling(QUERY), (8, 2.0));
        let rank_pattern = IndexMap::from([("q_proj".into(), 4), ("v_proj".into(), 2)]);
        let other_rank = LoraConfig { rank_pattern, ..plain.clone() };
        assert_eq!(other_rank.rank_and_scaling(QUERY), (4, 4.0));
        assert_eq!(other_rank.rank_and_scaling("model.layers.1.self_attn.k_proj"), (8, 2.0));
        // Of two that fit the first holds, as the file has them.
        for (first, second, expected) in [("q_proj", QUERY, 4), (QUERY, "q_proj", 2)] {
            let json = format!(
                r#"{{"r": 8, "lora_alpha": 16, "target_modules": [], "rank_pattern": {{"{first}": {}, "{second}": {}}}}}"#,
                if first == QUERY { 2 } else { 4 },
                if first == QUERY { 4 } else { 2 },
            );
            let config: LoraConfig = serde_json::from_str(&json).unwrap();
            assert_eq!(config.rank_and_scaling(QUERY).0, expected, "{json}");
        }
        let alpha_pattern = IndexMap::from([(r"layers\.1\..*".into(), 2.0)]);
        let other_alpha = LoraConfig { alpha_pattern, use_rslora: true, ..other_rank };
        assert_eq!(other_alpha.rank_and_scaling(QUERY), (4, 1.0));
    }

    #[test]
    fn a_shape_names_the_modules_of_its_model() {
        for (tie_word_embeddings, model_type) in [(true, Family::Llama), (false, Family::Qwen3)] {
            let config =
                ModelConfig { model_type, tie_word_embeddings, ..ModelConfig::small(20, 8, 16, 2, 2) };
            let model = CausalLm::zeros(&config, &Device::flex());
            let sorted = |mut names: Vec<String>| {
                names.sort();
                names.dedup();
                names
            };
            let [shape, real] = [ModuleNames::of_shape(&config), ModuleNames::of(&model)];
            assert_eq!((shape.maps, sorted(shape.others)), (real.maps, sorted(real.others)));
        }
        let check = |target: &str| {
            LoraConfig::new(8, 16.0, names(&[target]))
                .check_fits(&ModelConfig::small(20, 8, 16, 2, 2), Path::new("a"))
        };
        check("q_proj").unwrap();
        let message = check("query").unwrap_err().to_string();
        assert!(message.starts_with(r#"a: target_modules: found ["query"], expected"#), "{message}");
    }
}
