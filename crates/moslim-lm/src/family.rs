//! What tells one family of decoders from another.

use serde::{Deserialize, Serialize};

/// A family of decoders, by its `model_type` in `config.json`.
///
/// All share one decoder (grouped queries, rotary positions, gated feed-forward, RMS normalisation);
/// a family only says which projections have a bias and whether queries and keys are normalised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Family {
    /// Llama 2 and 3, TinyLlama, SmolLM.
    Llama,
    /// Mistral.
    Mistral,
    /// Qwen2 and Qwen2.5: a bias on query, key and value.
    Qwen2,
    /// Qwen3: queries and keys are normalised head by head.
    Qwen3,
}

impl Family {
    /// Every family that is supported.
    pub const ALL: [Self; 4] = [Self::Llama, Self::Mistral, Self::Qwen2, Self::Qwen3];

    /// The name in `config.json`.
    pub fn model_type(self) -> &'static str {
        match self {
            Self::Llama => "llama",
            Self::Mistral => "mistral",
            Self::Qwen2 => "qwen2",
            Self::Qwen3 => "qwen3",
        }
    }

    /// The first part of the names of its classes in transformers, such as `Llama` of `LlamaForCausalLM`.
    pub fn class_prefix(self) -> &'static str {
        match self {
            Self::Llama => "Llama",
            Self::Mistral => "Mistral",
            Self::Qwen2 => "Qwen2",
            Self::Qwen3 => "Qwen3",
        }
    }
}

impl TryFrom<String> for Family {
    type Error = String;

    fn try_from(found: String) -> Result<Self, Self::Error> {
        let names = Self::ALL.map(Self::model_type).join(", ");
        let known = Self::ALL.into_iter().find(|family| family.model_type() == found);
        known.ok_or_else(|| format!("model_type: found {found}, expected one of {names}"))
    }
}

/// Which optional weights the layers of a decoder have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OptionalWeights {
    /// A bias on the projections to query, key and value.
    pub qkv_bias: bool,
    /// A bias on the projection out of the attention.
    pub output_bias: bool,
    /// A bias on the three projections of the feed-forward layer.
    pub mlp_bias: bool,
    /// A normalisation of every head's query and key.
    pub qk_norm: bool,
}

impl OptionalWeights {
    /// Those of a family, whose `attention_bias` and `mlp_bias` count where it has such settings.
    pub(crate) fn of(family: Family, attention_bias: bool, mlp_bias: bool) -> Self {
        let none = Self { qkv_bias: false, output_bias: false, mlp_bias: false, qk_norm: false };
        match family {
            Family::Llama => Self { qkv_bias: attention_bias, output_bias: attention_bias, mlp_bias, ..none },
            Family::Mistral => none,
            Family::Qwen2 => Self { qkv_bias: true, ..none },
            Family::Qwen3 => {
                Self { qkv_bias: attention_bias, output_bias: attention_bias, qk_norm: true, ..none }
            }
        }
    }
}
