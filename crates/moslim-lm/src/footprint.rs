//! How much memory a model takes, from its configuration alone.
//!
//! Counts are `f64`: those of a hostile configuration do not overflow, and below 2⁵³ they are exact.

use burn::tensor::Device;
use moslim_kernels::splits_batches;

use crate::family::OptionalWeights;
use crate::{LoraConfig, ModelConfig};

/// Weights, gradients and moments have 32 bits.
pub const BYTES_PER_NUMBER: f64 = 4.0;

impl ModelConfig {
    /// The linear maps of one layer: their names in it, inputs and outputs.
    pub(crate) fn maps_of_a_layer(&self) -> [(&'static str, usize, usize); 7] {
        let (hidden, inner) = (self.hidden_size, self.intermediate_size);
        let query = self.num_attention_heads.saturating_mul(self.head_dim());
        let key = self.key_heads().saturating_mul(self.head_dim());
        [
            ("self_attn.q_proj", hidden, query),
            ("self_attn.k_proj", hidden, key),
            ("self_attn.v_proj", hidden, key),
            ("self_attn.o_proj", query, hidden),
            ("mlp.gate_proj", hidden, inner),
            ("mlp.up_proj", hidden, inner),
            ("mlp.down_proj", inner, hidden),
        ]
    }

    /// The number of weights in the maps of the layers, biases left out.
    pub fn n_layer_weights(&self) -> f64 {
        let of_layer: f64 =
            self.maps_of_a_layer().map(|(_, d_in, d_out)| d_in as f64 * d_out as f64).iter().sum();
        self.num_hidden_layers as f64 * of_layer
    }

    /// The number of weights in the matrices of the decoder: the embedding and the maps of the layers.
    pub fn n_decoder_weights(&self) -> f64 {
        self.vocab_size as f64 * self.hidden_size as f64 + self.n_layer_weights()
    }

    /// The number of weights in the matrices of the model, biases and norms left out.
    pub(crate) fn n_matrix_weights(&self) -> f64 {
        let vocabulary = self.vocab_size as f64 * self.hidden_size as f64;
        self.n_decoder_weights() + if self.tie_word_embeddings { 0.0 } else { vocabulary }
    }

    /// The number of weights of the model.
    pub fn n_weights(&self) -> f64 {
        let OptionalWeights { qkv_bias, output_bias, mlp_bias, qk_norm } = self.optional_weights();
        let has_bias = |name: &str| match name {
            "self_attn.o_proj" => output_bias,
            name if name.starts_with("mlp.") => mlp_bias,
            _ => qkv_bias,
        };
        let biases = self.maps_of_a_layer().into_iter().filter(|(name, ..)| has_bias(name));
        let biases: f64 = biases.map(|(_, _, d_out)| d_out as f64).sum();
        let head_norms = if qk_norm { 2.0 * self.head_dim() as f64 } else { 0.0 };
        let hidden = self.hidden_size as f64;
        self.n_matrix_weights()
            + self.num_hidden_layers as f64 * (biases + head_norms + 2.0 * hidden)
            + hidden
    }

    /// The bytes that the key-value cache keeps for one token.
    pub fn cache_bytes_per_token(&self) -> f64 {
        let width = self.key_heads() as f64 * self.head_dim() as f64;
        2.0 * self.num_hidden_layers as f64 * width * BYTES_PER_NUMBER
    }

    /// The bytes that training keeps for one token between the forward and the backward pass on a device, about.
    ///
    /// Inputs of the maps and of the fused operations; the logits of the vocabulary are not among them.
    pub fn activation_bytes_per_token(&self, device: &Device) -> f64 {
        let [hidden, inner, query, key] = [
            self.hidden_size as f64,
            self.intermediate_size as f64,
            self.num_attention_heads as f64 * self.head_dim() as f64,
            self.key_heads() as f64 * self.head_dim() as f64,
        ];
        let of_layer = match splits_batches(device) {
            // Residual stream twice; queries, keys and values; the mixture of the heads by heads and by tokens; gate and up.
            true => 2.0 * hidden + 3.0 * query + 2.0 * key + 2.0 * inner,
            // The normalised residual stream and the product of gate and up as well, and queries, keys and values before the
            // rotation: the kernels of the CPU compute all that again instead.
            false => 4.0 * hidden + 4.0 * query + 3.0 * key + 3.0 * inner,
        };
        (self.num_hidden_layers as f64 * of_layer + 2.0 * hidden) * BYTES_PER_NUMBER
    }

    /// The bytes that training with gradient checkpointing keeps for one token, about: the inputs of all layers, and one layer at work.
    pub fn checkpointed_bytes_per_token(&self, device: &Device) -> f64 {
        let layers = self.num_hidden_layers as f64;
        let inputs = (layers + 2.0) * self.hidden_size as f64 * BYTES_PER_NUMBER;
        inputs + self.activation_bytes_per_token(device) / layers
    }
}

impl LoraConfig {
    /// The number of weights that an adapter on this model trains, modules that are trained whole included.
    pub fn n_weights(&self, model: &ModelConfig) -> f64 {
        let mut weights = 0.0;
        // Patterns may tell layers apart; sizes that no machine could hold are not gone through one by one.
        for layer in 0..model.num_hidden_layers.min(10_000) {
            for (name, d_in, d_out) in model.maps_of_a_layer() {
                let name = format!("model.layers.{layer}.{name}");
                if self.targets(&name) {
                    weights += self.rank_and_scaling(&name).0 as f64 * (d_in as f64 + d_out as f64);
                }
                if self.saves(&format!("{name}.weight")) {
                    weights += d_in as f64 * d_out as f64;
                }
            }
        }
        let vocabulary = model.vocab_size as f64 * model.hidden_size as f64;
        let whole =
            ["model.embed_tokens.weight", "lm_head.weight"].into_iter().filter(|name| self.saves(name));
        weights + whole.count() as f64 * vocabulary
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use burn::module::{Module, ModuleVisitor, Param};
    use burn::tensor::Tensor;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;
    use crate::{CausalLm, TargetModules};

    fn golden(name: &str) -> ModelConfig {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        ModelConfig::read(&folder.join(name).join("config.json")).unwrap()
    }

    fn fresh(config: &ModelConfig) -> CausalLm {
        CausalLm::new(config, &mut ChaCha8Rng::seed_from_u64(0), &Device::default().autodiff())
    }

    #[test]
    fn weights_are_counted_as_they_are() {
        for name in ["tiny-llama3", "tiny-mistral", "tiny-qwen2", "tiny-qwen3"] {
            let config = golden(name);
            assert_eq!(config.n_weights(), fresh(&config).num_params() as f64, "{name}");
        }
        let biased = ModelConfig { attention_bias: true, mlp_bias: true, ..golden("tiny-llama3") };
        assert_eq!(biased.n_weights(), fresh(&biased).num_params() as f64);
    }

    /// Counts the weights that have gradients.
    struct Trained(usize);

    impl ModuleVisitor for Trained {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if param.is_require_grad() {
                self.0 += param.val().shape().num_elements();
            }
        }
    }

    #[test]
    fn an_adapter_is_counted_as_it_is_trained() {
        let config = golden("tiny-qwen3");
        let names = |names: &[&str]| TargetModules::Names(names.iter().map(ToString::to_string).collect());
        let lora = LoraConfig::new(3, 4.0, names(&["q_proj", "down_proj"]));
        let patterned =
            LoraConfig { rank_pattern: [("layers.0.self_attn.q_proj".to_owned(), 5)].into(), ..lora.clone() };
        let saving = LoraConfig { modules_to_save: Some(vec!["embed_tokens".into()]), ..lora.clone() };
        for lora in
            [lora, patterned, saving, LoraConfig::new(2, 4.0, TargetModules::Pattern("all-linear".into()))]
        {
            let rng = &mut ChaCha8Rng::seed_from_u64(0);
            let adapted = fresh(&config).with_adapter(&lora, rng, Path::new("test")).unwrap();
            let mut trained = Trained(0);
            adapted.visit(&mut trained);
            assert_eq!(lora.n_weights(&config), trained.0 as f64, "{lora:?}");
        }
    }

    #[test]
    fn a_cache_is_counted_by_hand() {
        // 2 layers, 2 key heads of 8: keys and values of 16 numbers of 4 bytes each.
        let config = ModelConfig {
            num_key_value_heads: Some(2),
            head_dim: Some(8),
            ..ModelConfig::small(10, 32, 48, 2, 4)
        };
        assert_eq!(config.cache_bytes_per_token(), (2 * 2 * 16 * 4) as f64);
    }
}
