//! The shapes of the models that are measured; their weights are random.

use moslim_lm::ModelConfig;

/// The names of all shapes.
pub const NAMES: [&str; 5] = ["tiny", "stories260k", "llama-7m", "llama-25m", "llama-125m"];

/// The shape with this name.
pub fn config(name: &str) -> Option<ModelConfig> {
    Some(match name {
        "tiny" => ModelConfig::small(32, 8, 16, 1, 2),
        "stories260k" => {
            ModelConfig { num_key_value_heads: Some(4), ..ModelConfig::small(512, 64, 172, 5, 8) }
        }
        "llama-7m" => untied(ModelConfig::small(4096, 256, 688, 6, 8)),
        "llama-25m" => untied(ModelConfig::small(4096, 512, 1376, 7, 8)),
        "llama-125m" => ModelConfig::small(32_000, 768, 2048, 14, 12),
        _ => return None,
    })
}

fn untied(config: ModelConfig) -> ModelConfig {
    ModelConfig { tie_word_embeddings: false, ..config }
}
