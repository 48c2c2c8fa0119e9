//! Low-rank adapters in the format of PEFT (`adapter_config.json`).

use std::path::Path;

use burn::module::{Module, ModuleMapper, Param};
use burn::nn;
use burn::tensor::{Tensor, TensorData};
use indexmap::IndexMap;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::linear::LowRank;
use crate::lora_targets::{ModuleNames, end_of_name, whole_name};
use crate::{CausalLm, Decoder, LmError, read_json};

/// Which linear maps an adapter stands beside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum TargetModules {
    /// Those whose name is or ends with one of these, such as `q_proj`.
    Names(Vec<String>),
    /// `all-linear` for every map of the decoder, or a pattern that the whole name must match.
    Pattern(String),
}

/// The settings of a low-rank adapter, with the keys of PEFT's `adapter_config.json`.
///
/// Keys that this crate does not know are kept; settings that would change the computation and are not supported are
/// errors of [`LoraConfig::check`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoraConfig {
    /// The method; only `LORA`.
    #[serde(default = "lora")]
    pub peft_type: String,
    /// The rank.
    pub r: usize,
    /// α; the product is scaled by α/r.
    pub lora_alpha: f64,
    /// Which maps get one.
    pub target_modules: TargetModules,
    /// Other ranks, by the end of a module's name; the first that fits holds.
    #[serde(default)]
    pub rank_pattern: IndexMap<String, usize>,
    /// Other α, by the end of a module's name; the first that fits holds.
    #[serde(default)]
    pub alpha_pattern: IndexMap<String, f64>,
    /// Whether the product is scaled by α/√r instead ([Kalajdzievski 2023](https://arxiv.org/abs/2312.03732)).
    #[serde(default)]
    pub use_rslora: bool,
    /// Modules that are trained and stored whole, such as `embed_tokens`.
    #[serde(default)]
    pub modules_to_save: Option<Vec<String>>,
    /// The model that the adapter belongs to.
    #[serde(default)]
    pub base_model_name_or_path: Option<String>,
    /// What the model is used for.
    #[serde(default)]
    pub task_type: Option<String>,
    /// Everything else that the file says.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn lora() -> String {
    "LORA".into()
}

/// Settings of PEFT that would change the computation; only values that count as "off" are supported.
const REFUSED: [&str; 16] = [
    "use_dora",
    "use_qalora",
    "use_bdlora",
    "lora_bias",
    "fan_in_fan_out",
    "layers_to_transform",
    "layers_pattern",
    "exclude_modules",
    "layer_replication",
    "trainable_token_indices",
    "target_parameters",
    "alora_invocation_tokens",
    "arrow_config",
    "kasa_config",
    "velora_config",
    "monteclora_config",
];

/// Initialisations of PEFT that leave the base as it is; others take the adapter's first product from its weights.
const HARMLESS_INITS: [&str; 3] = ["gaussian", "eva", "orthogonal"];

/// The largest rank that is believed.
const LARGEST_RANK: usize = 1 << 16;

impl LoraConfig {
    /// An adapter of one rank beside the named maps.
    pub fn new(r: usize, lora_alpha: f64, target_modules: TargetModules) -> Self {
        Self {
            peft_type: lora(),
            r,
            lora_alpha,
            target_modules,
            rank_pattern: IndexMap::new(),
            alpha_pattern: IndexMap::new(),
            use_rslora: false,
            modules_to_save: None,
            base_model_name_or_path: None,
            task_type: Some("CAUSAL_LM".into()),
            other: Map::new(),
        }
    }

    /// Reads and checks an `adapter_config.json`.
    ///
    /// # Errors
    /// If the file cannot be read, is not JSON of this form, or asks for something that is not supported.
    pub fn read(path: &Path) -> Result<Self, LmError> {
        let config: Self = read_json(path)?;
        config.check(path)?;
        Ok(config)
    }

    /// Checks that the settings are supported; `path` stands in errors.
    ///
    /// # Errors
    /// Names the first setting that is not supported.
    pub fn check(&self, path: &Path) -> Result<(), LmError> {
        let refuse = |field, found: String, expected: &str| {
            Err(LmError::Config { path: path.into(), field, found, expected: expected.into() })
        };
        if self.peft_type != lora() {
            return refuse("peft_type", self.peft_type.clone(), "LORA");
        }
        for &rank in [&self.r].into_iter().chain(self.rank_pattern.values()) {
            if rank == 0 || rank > LARGEST_RANK {
                return refuse("r", rank.to_string(), &format!("1..={LARGEST_RANK}"));
            }
        }
        for field in REFUSED {
            let off = |value: &Value| match value {
                Value::Null | Value::Bool(false) => true,
                Value::Array(items) => items.is_empty(),
                Value::Object(items) => items.is_empty(),
                _ => false,
            };
            if let Some(found) = self.other.get(field).filter(|value| !off(value)) {
                return refuse(field, found.to_string(), "it off");
            }
        }
        if let Some(Value::String(found)) = self.other.get("init_lora_weights")
            && !HARMLESS_INITS.contains(&found.as_str())
        {
            let expected = format!("true, false, {}", HARMLESS_INITS.join(", "));
            return refuse("init_lora_weights", found.clone(), &expected);
        }
        if let Some(found) = self.other.get("bias").filter(|bias| *bias != "none") {
            return refuse("bias", found.to_string(), "none");
        }
        if let TargetModules::Pattern(pattern) = &self.target_modules
            && let Err(error) = whole_name(pattern)
        {
            return refuse("target_modules", pattern.clone(), &format!("a pattern: {error}"));
        }
        let ranks = self.rank_pattern.keys().map(|pattern| ("rank_pattern", pattern));
        for (field, pattern) in
            ranks.chain(self.alpha_pattern.keys().map(|pattern| ("alpha_pattern", pattern)))
        {
            if let Err(error) = end_of_name(pattern) {
                return refuse(field, pattern.clone(), &format!("a pattern: {error}"));
            }
        }
        Ok(())
    }
}

impl CausalLm {
    /// The model with a new adapter, of which alone (and of `modules_to_save`) the weights are trained.
    ///
    /// One factor is drawn as PEFT draws it, uniformly within ±1/√d_in, the other is zero: nothing changes at first.
    /// The weights of the base are shared with `self`, not copied.
    ///
    /// # Errors
    /// If the adapter names what the model does not have; `path` stands in the error.
    pub fn with_adapter(
        mut self,
        config: &LoraConfig,
        rng: &mut impl Rng,
        path: &Path,
    ) -> Result<Self, LmError> {
        let device = self.device();
        config.check_names(&ModuleNames::of(&self), path)?;
        for (name, linear) in self.linears_mut() {
            if !config.targets(&name) {
                continue;
            }
            let (r, scaling) = config.rank_and_scaling(&name);
            let [d_in, d_out] = linear.weight.dims();
            let bound = 1.0 / (d_in as f32).sqrt();
            let drawn: Vec<f32> = (0..d_in * r).map(|_| rng.random_range(-bound..=bound)).collect();
            let factor = |weight| nn::Linear { weight: Param::from_tensor(weight), bias: None };
            linear.lora = Some(LowRank {
                a: factor(Tensor::from_data(TensorData::new(drawn, [d_in, r]), &device)),
                b: factor(Tensor::zeros([r, d_out], &device)),
                scaling,
            });
        }
        let mut freeze = Freeze { path: vec![], config };
        Ok(self.map(&mut freeze))
    }

    /// The model without its adapter; the base's weights are shared with `self`, not copied.
    pub fn without_adapter(&self) -> Self {
        let mut base = self.clone();
        base.linears_mut().into_iter().for_each(|(_, linear)| linear.lora = None);
        base
    }

    /// The model with its adapter merged into the weights.
    pub fn merged(&self) -> Self {
        Self { model: self.model.merged(), ..self.clone() }
    }
}

impl Decoder {
    /// The decoder with its adapter merged into the weights.
    pub fn merged(&self) -> Self {
        let mut merged = self.clone();
        merged.linears_mut().into_iter().for_each(|(_, linear)| linear.merge());
        merged
    }
}

/// Takes the gradient from every weight that belongs neither to an adapter nor to `modules_to_save`.
struct Freeze<'a> {
    path: Vec<String>,
    config: &'a LoraConfig,
}

impl ModuleMapper for Freeze<'_> {
    fn enter_module(&mut self, name: &str, _: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let trained = self.path.iter().any(|name| name == "lora") || self.config.saves(&self.path.join("."));
        param.set_require_grad(trained)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_settings_are_named() {
        let check = |change: &str| {
            let json = format!(r#"{{"r": 8, "lora_alpha": 16, "target_modules": ["q_proj"]{change}}}"#);
            let config: LoraConfig = serde_json::from_str(&json).unwrap();
            config.check(Path::new("a.json")).map_err(|error| error.to_string())
        };
        assert_eq!(check(r#", "use_dora": false, "bias": "none", "lora_dropout": 0.1"#), Ok(()));
        for (change, expected) in [
            (r#", "peft_type": "IA3""#, "a.json: peft_type: found IA3, expected LORA"),
            (r#", "use_dora": true"#, "a.json: use_dora: found true, expected it off"),
            (
                r#", "init_lora_weights": "pissa""#,
                "a.json: init_lora_weights: found pissa, expected true, false",
            ),
            (r#", "bias": "all""#, r#"a.json: bias: found "all", expected none"#),
            (r#", "rank_pattern": {"q": 0}"#, "a.json: r: found 0, expected 1..=65536"),
            (r#", "alpha_pattern": {"(": 1}"#, "a.json: alpha_pattern: found (, expected a pattern:"),
        ] {
            let message = check(change).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
    }
}
