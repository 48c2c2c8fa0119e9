//! `config.json` of a Hugging Face folder.

use std::path::Path;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::family::OptionalWeights;
use crate::token_ids::optional_id;
use crate::{Family, LmError, RopeScaling, TokenIds, read_json};

/// The shape of a decoder, with the keys of Hugging Face's `config.json`.
///
/// Keys that this crate does not know are kept and written back; settings that would change the computation and are
/// not supported are errors of [`ModelConfig::read`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelConfig {
    /// The family.
    pub model_type: Family,
    /// The class that transformers loads the folder with.
    #[serde(default, deserialize_with = "list_or_null")]
    pub architectures: Vec<String>,
    /// Number of token ids.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of decoder layers.
    pub num_hidden_layers: usize,
    /// Number of query heads.
    pub num_attention_heads: usize,
    /// Number of key and value heads; divides the query heads, and is their number if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_key_value_heads: Option<usize>,
    /// Width of a head; `hidden_size / num_attention_heads` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_dim: Option<usize>,
    /// ε of the normalisation.
    pub rms_norm_eps: f64,
    /// The longest sequence the model was made for, in tokens.
    pub max_position_embeddings: usize,
    /// Whether the vocabulary matrix is the transposed embedding.
    #[serde(default)]
    pub tie_word_embeddings: bool,
    /// θ of the rotary embedding, in the dialect of transformers 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_theta: Option<f64>,
    /// Scaling of the rotary embedding, in the dialect of transformers 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_scaling: Option<Value>,
    /// θ and scaling together, in the dialect of transformers 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<Value>,
    /// The token that begins a sequence.
    #[serde(default, deserialize_with = "optional_id")]
    pub bos_token_id: Option<u32>,
    /// The tokens that end an answer.
    #[serde(default)]
    pub eos_token_id: Option<TokenIds>,
    /// The token that fills a batch.
    #[serde(default, deserialize_with = "optional_id")]
    pub pad_token_id: Option<u32>,
    /// The activation of the feed-forward layer; only `silu` is supported.
    #[serde(default = "silu")]
    pub hidden_act: String,
    /// Whether the attention projections have a bias, where the family leaves it open.
    #[serde(default)]
    pub attention_bias: bool,
    /// Whether the feed-forward projections have a bias, where the family leaves it open.
    #[serde(default)]
    pub mlp_bias: bool,
    /// How far back a token sees, in tokens; windows shorter than the context are not supported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sliding_window: Option<usize>,
    /// Whether `sliding_window` counts, in families that ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub use_sliding_window: Option<bool>,
    /// Everything else that the file says.
    #[serde(flatten)]
    pub other: Map<String, Value>,
}

fn list_or_null<'de, D: Deserializer<'de>>(value: D) -> Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

fn silu() -> String {
    "silu".into()
}

/// Settings that would change the computation and are not supported, and what is.
const REFUSED: [(&str, &str); 2] = [
    ("quantization_config", "weights that are not quantized"),
    ("auto_map", "a family that needs no code of its own; code of a model folder is never run"),
];

/// The largest size that is believed.
const LARGEST: usize = 1 << 24;

impl ModelConfig {
    /// A small Llama for a vocabulary, with tied embeddings and as many key heads as query heads.
    pub fn small(
        vocab_size: usize,
        hidden_size: usize,
        intermediate_size: usize,
        layers: usize,
        heads: usize,
    ) -> Self {
        Self {
            model_type: Family::Llama,
            architectures: vec!["LlamaForCausalLM".into()],
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: Some(heads),
            head_dim: None,
            rms_norm_eps: 1e-5,
            max_position_embeddings: 2048,
            tie_word_embeddings: true,
            rope_theta: Some(10_000.0),
            rope_scaling: None,
            rope_parameters: None,
            bos_token_id: None,
            eos_token_id: None,
            pad_token_id: None,
            hidden_act: silu(),
            attention_bias: false,
            mlp_bias: false,
            sliding_window: None,
            use_sliding_window: None,
            other: Map::new(),
        }
    }

    /// Reads and checks a `config.json`.
    ///
    /// # Errors
    /// If the file cannot be read, is not JSON of this form, or asks for something that is not supported.
    pub fn read(path: &Path) -> Result<Self, LmError> {
        let config: Self = read_json(path)?;
        config.check(path)?;
        Ok(config)
    }

    /// The configuration of the same model with weights of 32 bits, as they are written.
    pub(crate) fn in_f32(&self) -> Self {
        let mut config = self.clone();
        for key in ["dtype", "torch_dtype"] {
            if let Some(dtype) = config.other.get_mut(key) {
                *dtype = "float32".into();
            }
        }
        config
    }

    /// Number of key and value heads.
    pub fn key_heads(&self) -> usize {
        self.num_key_value_heads.unwrap_or(self.num_attention_heads)
    }

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    /// The optional weights of the layers.
    pub(crate) fn optional_weights(&self) -> OptionalWeights {
        OptionalWeights::of(self.model_type, self.attention_bias, self.mlp_bias)
    }

    /// The window that limits how far a token sees, if there is one.
    fn active_window(&self) -> Option<usize> {
        match self.model_type {
            Family::Llama => None,
            Family::Mistral => self.sliding_window,
            Family::Qwen2 | Family::Qwen3 => {
                self.sliding_window.filter(|_| self.use_sliding_window == Some(true))
            }
        }
    }

    /// θ and the scaling rule of the rotary embedding, from whichever dialect the file is written in.
    pub(crate) fn rope(&self) -> Result<(f64, RopeScaling), String> {
        const ROTATED_SHARE: &str = "partial_rotary_factor";
        let described = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let described = described.filter(|value| !value.is_null());
        let theta = described.and_then(|value| value.get("rope_theta")?.as_f64());
        let share = described.and_then(|value| value.get(ROTATED_SHARE)).or(self.other.get(ROTATED_SHARE));
        if let Some(share) = share.filter(|share| share.as_f64() != Some(1.0)) {
            return Err(format!("{ROTATED_SHARE} {share}"));
        }
        let scaling = match described {
            None => RopeScaling::Default,
            Some(value) => {
                let mut value = value.clone();
                // The older spelling of the key.
                if let (Some(old), None) = (value.get("type").cloned(), value.get("rope_type")) {
                    value["rope_type"] = old;
                }
                if value.is_object() && value.get("rope_type").is_none() {
                    value["rope_type"] = "default".into();
                }
                serde_json::from_value(value).map_err(|error| error.to_string())?
            }
        };
        scaling.check()?;
        Ok((theta.or(self.rope_theta).unwrap_or(10_000.0), scaling))
    }

    /// Checks that the settings are supported and fit together; `path` stands in errors.
    ///
    /// # Errors
    /// Names the first setting that is not supported or contradicts another.
    pub fn check(&self, path: &Path) -> Result<(), LmError> {
        let refuse = |field, found: String, expected: &str| {
            Err(LmError::Config { path: path.into(), field, found, expected: expected.into() })
        };
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("num_hidden_layers", self.num_hidden_layers),
            ("num_attention_heads", self.num_attention_heads),
            ("num_key_value_heads", self.key_heads()),
            ("max_position_embeddings", self.max_position_embeddings),
        ];
        for (field, size) in sizes {
            if size == 0 {
                return refuse(field, "0".into(), "at least 1");
            }
            if size > LARGEST {
                return refuse(field, size.to_string(), &format!("at most {LARGEST}"));
            }
        }
        for (field, expected) in REFUSED {
            if let Some(found) = self.other.get(field).filter(|found| !found.is_null()) {
                return refuse(field, found.to_string(), expected);
            }
        }
        if self.hidden_act != "silu" {
            return refuse("hidden_act", self.hidden_act.clone(), "silu");
        }
        if let Some(window) = self.active_window().filter(|&window| window < self.max_position_embeddings) {
            let context = self.max_position_embeddings;
            let expected =
                format!("none below max_position_embeddings ({context}), which can be lowered to it");
            return refuse("sliding_window", window.to_string(), &expected);
        }
        if !self.num_attention_heads.is_multiple_of(self.key_heads()) {
            let expected = format!("a divisor of {} attention heads", self.num_attention_heads);
            return refuse("num_key_value_heads", self.key_heads().to_string(), &expected);
        }
        if self.head_dim() == 0 || !self.head_dim().is_multiple_of(2) || self.head_dim() > LARGEST {
            return refuse("head_dim", self.head_dim().to_string(), "an even number above 0");
        }
        if !(self.rms_norm_eps.is_finite() && self.rms_norm_eps > 0.0) {
            return refuse("rms_norm_eps", self.rms_norm_eps.to_string(), "a number above 0");
        }
        match self.rope() {
            Err(reason) => {
                refuse("rope_parameters", reason, "rope_type default, linear or llama3, of whole heads")
            }
            Ok((theta, _)) if !(theta.is_finite() && theta > 0.0) => {
                refuse("rope_theta", theta.to_string(), "a number above 0")
            }
            Ok(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<ModelConfig, LmError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json).unwrap();
        ModelConfig::read(file.path())
    }

    fn with(family: &str, change: &str) -> String {
        format!(
            r#"{{"model_type": "{family}", "vocab_size": 10, "hidden_size": 8, "intermediate_size": 16,
            "num_hidden_layers": 1, "num_attention_heads": 2, "rms_norm_eps": 1e-5,
            "max_position_embeddings": 64 {change}}}"#
        )
    }

    #[test]
    fn both_dialects_of_rope() {
        let rope = |change| read(&with("llama", change)).unwrap().rope().unwrap();
        let old = r#", "rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4.0}"#;
        assert_eq!(rope(old), (5e5, RopeScaling::Linear { factor: 4.0 }));
        let new = r#", "rope_parameters": {"rope_theta": 2e4, "rope_type": "default"}"#;
        assert_eq!(rope(new), (2e4, RopeScaling::Default));
        assert_eq!(rope(r#", "rope_theta": 3e4, "rope_scaling": null"#), (3e4, RopeScaling::Default));
        assert_eq!(rope(r#", "rope_parameters": {"rope_theta": 2e4}"#), (2e4, RopeScaling::Default));
        assert_eq!(rope(""), (1e4, RopeScaling::Default));
    }

    #[test]
    fn families_differ_in_their_optional_weights() {
        let weights = |family, change| {
            let OptionalWeights { qkv_bias, output_bias, mlp_bias, qk_norm } =
                read(&with(family, change)).unwrap().optional_weights();
            [qkv_bias, output_bias, mlp_bias, qk_norm]
        };
        let biases = r#", "attention_bias": true, "mlp_bias": true"#;
        assert_eq!(weights("llama", ""), [false; 4]);
        assert_eq!(weights("llama", biases), [true, true, true, false]);
        assert_eq!(weights("mistral", biases), [false; 4]);
        assert_eq!(weights("qwen2", ""), [true, false, false, false]);
        assert_eq!(weights("qwen3", ""), [false, false, false, true]);
        assert_eq!(weights("qwen3", biases), [true, true, false, true]);
    }

    #[test]
    fn unsupported_settings_are_named() {
        for (family, change, expected) in [
            ("gpt2", "", "model_type: found gpt2, expected one of llama, mistral, qwen2, qwen3"),
            ("llama", r#", "hidden_act": "gelu""#, "hidden_act: found gelu, expected silu"),
            (
                "llama",
                r#", "rope_scaling": {"rope_type": "linear", "factor": 0}"#,
                "rope_parameters: found factor 0, expected",
            ),
            (
                "llama",
                r#", "rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4, "high_freq_factor": 4, "original_max_position_embeddings": 64}"#,
                "rope_parameters: found low_freq_factor 4 and high_freq_factor 4, expected",
            ),
            (
                "llama",
                r#", "rope_scaling": {"rope_type": "yarn"}"#,
                "rope_parameters: found unknown variant `yarn`",
            ),
            ("llama", r#", "rope_theta": -1.0"#, "rope_theta: found -1, expected a number above 0"),
            (
                "llama",
                r#", "partial_rotary_factor": 0.5"#,
                "rope_parameters: found partial_rotary_factor 0.5",
            ),
            ("llama", r#", "head_dim": 3"#, "head_dim: found 3, expected an even number above 0"),
            (
                "llama",
                r#", "num_key_value_heads": 3"#,
                "num_key_value_heads: found 3, expected a divisor of 2",
            ),
            ("llama", r#", "auto_map": {"AutoConfig": "x.X"}"#, "code of a model folder is never run"),
            ("qwen2", r#", "quantization_config": {"bits": 4}"#, r#"quantization_config: found {"bits":4}"#),
            (
                "mistral",
                r#", "sliding_window": 32"#,
                "sliding_window: found 32, expected none below max_position_embeddings (64)",
            ),
            ("qwen2", r#", "sliding_window": 32, "use_sliding_window": true"#, "sliding_window: found 32"),
        ] {
            let message = read(&with(family, change)).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        assert!(read("{").unwrap_err().to_string().contains("EOF"));
        for (family, change) in [
            ("mistral", r#", "sliding_window": 64"#),
            ("mistral", r#", "sliding_window": null"#),
            ("qwen2", r#", "sliding_window": 32, "use_sliding_window": false"#),
            ("llama", r#", "sliding_window": 32, "quantization_config": null"#),
        ] {
            read(&with(family, change)).unwrap();
        }
    }

    #[test]
    fn what_some_files_write_for_nothing() {
        let config =
            read(&with("llama", r#", "architectures": null, "bos_token_id": null, "pad_token_id": -1"#))
                .unwrap();
        assert_eq!((config.architectures.len(), config.bos_token_id, config.pad_token_id), (0, None, None));
        assert!(read(&with("llama", r#", "pad_token_id": 4294967296"#)).is_err());
        let llama3 = r#", "rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1,
            "high_freq_factor": 4, "original_max_position_embeddings": 64.0}"#;
        read(&with("llama", llama3)).unwrap();
    }

    #[test]
    fn what_is_not_known_is_kept_and_end_tokens_may_be_several() {
        let config = read(&with("llama", r#", "pretraining_tp": 1, "eos_token_id": [7, 8]"#)).unwrap();
        assert_eq!(config.eos_token_id.as_ref().unwrap().as_slice(), [7, 8]);
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(serde_json::from_str::<ModelConfig>(&written).unwrap(), config);
        assert!(written.contains(r#""pretraining_tp":1"#) && written.contains(r#""eos_token_id":[7,8]"#));
    }
}
