//! `config.json` of a Hugging Face Llama folder.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{LmError, RopeScaling, read_json};

/// The shape of a Llama-family decoder, with the keys of Hugging Face's `config.json`.
///
/// Keys that this crate does not know are ignored, as everywhere in that format; settings that would change the
/// computation and are not supported are errors of [`LlamaConfig::read`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LlamaConfig {
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
    /// Number of key and value heads; divides the query heads.
    pub num_key_value_heads: usize,
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
    pub rope_scaling: Option<serde_json::Value>,
    /// θ and scaling together, in the dialect of transformers 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rope_parameters: Option<serde_json::Value>,
    /// The token that begins a sequence.
    #[serde(default)]
    pub bos_token_id: Option<u32>,
    /// The token that ends an answer.
    #[serde(default)]
    pub eos_token_id: Option<u32>,
    /// The token that fills a batch.
    #[serde(default)]
    pub pad_token_id: Option<u32>,
    /// The family; only `llama` is supported.
    #[serde(default = "llama")]
    pub model_type: String,
    /// The class that transformers loads the folder with.
    #[serde(default)]
    pub architectures: Vec<String>,
    /// The activation of the feed-forward layer; only `silu` is supported.
    #[serde(default = "silu")]
    pub hidden_act: String,
    /// Whether the attention projections have a bias; only `false` is supported.
    #[serde(default)]
    pub attention_bias: bool,
    /// Whether the feed-forward projections have a bias; only `false` is supported.
    #[serde(default)]
    pub mlp_bias: bool,
}

fn llama() -> String {
    "llama".into()
}

fn silu() -> String {
    "silu".into()
}

impl LlamaConfig {
    /// A small model for a vocabulary, with tied embeddings and as many key heads as query heads.
    pub fn small(
        vocab_size: usize,
        hidden_size: usize,
        intermediate_size: usize,
        layers: usize,
        heads: usize,
    ) -> Self {
        Self {
            vocab_size,
            hidden_size,
            intermediate_size,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: heads,
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
            model_type: llama(),
            architectures: vec!["LlamaForCausalLM".into()],
            hidden_act: silu(),
            attention_bias: false,
            mlp_bias: false,
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

    /// Width of a head.
    pub fn head_dim(&self) -> usize {
        self.head_dim.unwrap_or(self.hidden_size / self.num_attention_heads)
    }

    /// θ and the scaling rule of the rotary embedding, from whichever dialect the file is written in.
    pub(crate) fn rope(&self) -> Result<(f64, RopeScaling), String> {
        let described = self.rope_parameters.as_ref().or(self.rope_scaling.as_ref());
        let theta = described.and_then(|value| value.get("rope_theta")?.as_f64());
        let scaling = match described {
            None => RopeScaling::Default,
            Some(value) => {
                let mut value = value.clone();
                // The older spelling of the key.
                if let (Some(old), None) = (value.get("type").cloned(), value.get("rope_type")) {
                    value["rope_type"] = old;
                }
                serde_json::from_value(value).map_err(|error| error.to_string())?
            }
        };
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
            ("num_key_value_heads", self.num_key_value_heads),
        ];
        for (field, size) in sizes {
            if size == 0 {
                return refuse(field, "0".into(), "at least 1");
            }
        }
        if self.model_type != "llama" {
            return refuse("model_type", self.model_type.clone(), "llama");
        }
        if self.hidden_act != "silu" {
            return refuse("hidden_act", self.hidden_act.clone(), "silu");
        }
        if self.attention_bias {
            return refuse("attention_bias", "true".into(), "false");
        }
        if self.mlp_bias {
            return refuse("mlp_bias", "true".into(), "false");
        }
        if !self.num_attention_heads.is_multiple_of(self.num_key_value_heads) {
            let expected = format!("a divisor of {} attention heads", self.num_attention_heads);
            return refuse("num_key_value_heads", self.num_key_value_heads.to_string(), &expected);
        }
        if self.head_dim() == 0 || !self.head_dim().is_multiple_of(2) {
            return refuse("head_dim", self.head_dim().to_string(), "an even number above 0");
        }
        if let Err(reason) = self.rope() {
            return refuse("rope_parameters", reason, "rope_type default, linear or llama3");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<LlamaConfig, LmError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json).unwrap();
        LlamaConfig::read(file.path())
    }

    fn with(change: &str) -> String {
        format!(
            r#"{{"vocab_size": 10, "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1,
            "num_attention_heads": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-5,
            "max_position_embeddings": 64 {change}}}"#
        )
    }

    #[test]
    fn both_dialects_of_rope() {
        let old =
            read(&with(r#", "rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 4.0}"#)).unwrap();
        assert_eq!(old.rope().unwrap(), (5e5, RopeScaling::Linear { factor: 4.0 }));
        let new = r#", "rope_parameters": {"rope_theta": 2e4, "rope_type": "default"}"#;
        assert_eq!(read(&with(new)).unwrap().rope().unwrap(), (2e4, RopeScaling::Default));
        assert_eq!(read(&with("")).unwrap().rope().unwrap(), (1e4, RopeScaling::Default));
    }

    #[test]
    fn unsupported_settings_are_named() {
        for (change, expected) in [
            (r#", "model_type": "gpt2""#, "model_type: found gpt2, expected llama"),
            (r#", "attention_bias": true"#, "attention_bias: found true, expected false"),
            (r#", "rope_scaling": {"rope_type": "yarn"}"#, "rope_parameters: found unknown variant `yarn`"),
            (r#", "head_dim": 3"#, "head_dim: found 3, expected an even number above 0"),
        ] {
            let message = read(&with(change)).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        }
        assert!(read("{").unwrap_err().to_string().contains("EOF"));
    }
}
