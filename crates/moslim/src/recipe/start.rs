//! What makes the start policy: a model, what it reads, and the adapters that are trained.

use std::path::PathBuf;

use moslim_lm::{LoraConfig, OptimizerConfig, Precision, TargetModules, TokenizerKind};
use serde::{Deserialize, Serialize};

/// The language model to start from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "start", rename_all = "snake_case", deny_unknown_fields)]
pub enum ModelRecipe {
    /// Fresh weights of the Llama family and a tokenizer trained on the data.
    New {
        /// How text is cut.
        tokenizer: TokenizerKind,
        /// Whether every word of a request is one token of its own.
        ///
        /// `<helpfulness:5>` is then one token for objective and level together, `<helpfulness> <5>` two that other items share.
        request_tokens: bool,
        /// Width of the residual stream.
        hidden_size: usize,
        /// Width of the feed-forward layers.
        intermediate_size: usize,
        /// Number of layers.
        num_hidden_layers: usize,
        /// Number of query heads.
        num_attention_heads: usize,
        /// Number of key and value heads.
        num_key_value_heads: usize,
        /// Whether the vocabulary matrix is the transposed embedding.
        ///
        /// Tied, fine-tuning pushes all request tokens, which no answer contains, the same way, and they become hard to tell apart.
        tie_word_embeddings: bool,
    },
    /// A model folder in Hugging Face's layout.
    Folder {
        /// The folder, or the model's name on the hub: `owner/name`, `owner/name@revision`.
        path: PathBuf,
        /// Its licence, for the cards of the models made from it; otherwise what its own card states.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        license: Option<String>,
    },
}

/// Reading plain text before anything else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainingRecipe {
    /// Text files.
    pub files: Vec<PathBuf>,
    /// Their licence, for the models' cards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Tokens per example.
    pub window: usize,
    /// How it is trained.
    #[serde(flatten)]
    pub training: SftRecipe,
}

/// Supervised fine-tuning on labelled answers to questions that ask for the very levels that the answers have.
///
/// The attribute-conditioned fine-tuning of SteerLM ([Dong et al. 2023](https://arxiv.org/abs/2310.05344)) and the conditional one
/// of CPO ([Guo et al. 2024](https://arxiv.org/abs/2402.19085)).
/// Every prompt asks for a uniformly drawn number of the objectives whose level is known, so that some can be left open.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConditionalSftRecipe {
    /// Share of the answers whose prompt asks for nothing, so that plain use stays intact.
    pub free: f64,
    /// How it is trained.
    #[serde(flatten)]
    pub training: SftRecipe,
}

/// Supervised training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SftRecipe {
    /// Times the data is seen.
    pub num_train_epochs: f64,
    /// Examples per step.
    pub batch_size: usize,
    /// Examples whose gradient is computed at once; changes speed and memory, not the result.
    pub micro_batch_size: usize,
    /// The numbers in which the model is computed.
    #[serde(default)]
    pub precision: Precision,
    /// Whether layers compute their activations again in the backward pass instead of keeping them: less memory, a third more arithmetic.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// Whether a batch has examples of similar length.
    #[serde(default)]
    pub group_by_length: bool,
    /// A checkpoint is written every so many steps, from which a run that was killed goes on; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save_steps: Option<usize>,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
}

/// The adapters of a run.
///
/// Every stage trains one of its own; the folders hold the weights with the adapter merged into them, and that of the policy
/// is kept beside them in PEFT's layout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoraRecipe {
    /// The rank.
    pub r: usize,
    /// α; the product is scaled by α/r.
    pub lora_alpha: f64,
    /// Which maps get one: names such as `["q_proj", "v_proj"]`, or `"all-linear"`.
    pub target_modules: TargetModules,
    /// Whether the product is scaled by α/√r instead.
    #[serde(default)]
    pub use_rslora: bool,
    /// Modules that are trained whole, such as `embed_tokens` where requests are tokens of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modules_to_save: Vec<String>,
}

impl LoraRecipe {
    /// The settings in PEFT's words.
    pub(crate) fn config(&self) -> LoraConfig {
        let Self { r, lora_alpha, target_modules, use_rslora, modules_to_save } = self.clone();
        let modules_to_save = (!modules_to_save.is_empty()).then_some(modules_to_save);
        LoraConfig { use_rslora, modules_to_save, ..LoraConfig::new(r, lora_alpha, target_modules) }
    }
}
