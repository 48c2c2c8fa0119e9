//! What a work takes at least, and about, counted from the shape of its model.

use moslim_lm::{BYTES_PER_NUMBER, ModelConfig};

/// What reading takes, in additions and multiplications.
pub struct Arithmetic {
    /// Weights of the model.
    pub parameters: f64,
    /// Of all layers, for a token.
    layers: f64,
    /// Of the vocabulary matrix, for a token whose successor is predicted.
    vocabulary: f64,
    /// Of attention, for a token and one that it sees.
    seen: f64,
}

impl Arithmetic {
    /// That of a model.
    pub fn of(config: &ModelConfig) -> Self {
        let (width, layers) = (config.hidden_size as f64, config.num_hidden_layers as f64);
        let heads_width = (config.num_attention_heads * config.head_dim()) as f64;
        let keys_width = (config.key_heads() * config.head_dim()) as f64;
        let maps = width * (2.0 * heads_width + 2.0 * keys_width + 3.0 * config.intermediate_size as f64);
        let vocabulary = width * config.vocab_size as f64;
        let matrices = if config.tie_word_embeddings { 1.0 } else { 2.0 };
        Self {
            parameters: layers * (maps + 2.0 * width) + width + matrices * vocabulary,
            layers: 2.0 * layers * maps,
            vocabulary: 2.0 * vocabulary,
            seen: 4.0 * layers * heads_width,
        }
    }

    /// A sequence from its beginning, of which the last tokens predict their successor.
    pub fn reading(&self, length: usize, predicting: usize) -> f64 {
        let n = length as f64;
        n * self.layers + predicting as f64 * self.vocabulary + n * (n + 1.0) / 2.0 * self.seen
    }

    /// An answer behind a prompt that was read, every token of which is predicted.
    pub fn writing(&self, prompt: usize, answer: usize) -> f64 {
        let whole = self.reading(prompt + answer, answer);
        whole - self.reading(prompt, 0)
    }

    /// Bytes of so many numbers for every weight.
    pub fn per_weight(&self, numbers: f64) -> f64 {
        numbers * self.parameters * BYTES_PER_NUMBER
    }
}
