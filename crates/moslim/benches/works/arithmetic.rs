//! What a work takes at least, and about, counted from the shape of its model.

use moslim_lm::{BYTES_PER_NUMBER, ModelConfig};

/// What reading takes, in additions and multiplications.
pub struct Arithmetic {
    /// Weights of the model.
    pub parameters: f64,
    /// Layers.
    layers: f64,
    /// Of a layer, for the keys and values of a token.
    keys: f64,
    /// Of a layer, for all else of a token but attention.
    states: f64,
    /// Of attention in a layer, for a token and one that it sees.
    seen: f64,
    /// Of the vocabulary matrix, for a token whose successor is predicted.
    vocabulary: f64,
}

impl Arithmetic {
    /// That of a model.
    pub fn of(config: &ModelConfig) -> Self {
        let (width, layers) = (config.hidden_size as f64, config.num_hidden_layers as f64);
        let heads_width = (config.num_attention_heads * config.head_dim()) as f64;
        let keys_width = (config.key_heads() * config.head_dim()) as f64;
        let keys = 2.0 * width * keys_width;
        let states = width * (2.0 * heads_width + 3.0 * config.intermediate_size as f64);
        let vocabulary = width * config.vocab_size as f64;
        let matrices = if config.tie_word_embeddings { 1.0 } else { 2.0 };
        Self {
            parameters: layers * (keys + states + 2.0 * width) + width + matrices * vocabulary,
            layers,
            keys: 2.0 * keys,
            states: 2.0 * states,
            seen: 4.0 * heads_width,
            vocabulary: 2.0 * vocabulary,
        }
    }

    /// A sequence from its beginning, of which so many states are wanted, those of the last tokens: of the others, the last layer needs keys and values.
    pub fn reading(&self, length: usize, wanted: usize) -> f64 {
        let (n, wanted) = (length as f64, wanted as f64);
        let (pairs, wanted_pairs) = (n * (n + 1.0) / 2.0, wanted * (2.0 * n - wanted + 1.0) / 2.0);
        let below = (self.layers - 1.0) * (n * self.states + pairs * self.seen);
        n * self.layers * self.keys + below + wanted * self.states + wanted_pairs * self.seen
    }

    /// The logits of so many tokens.
    pub fn predicting(&self, n_tokens: usize) -> f64 {
        n_tokens as f64 * self.vocabulary
    }

    /// A prompt and answers to it, every token of which is predicted; the first ones by the same state, and the last ones are not read.
    pub fn answering(&self, prompt: usize, answer: usize, n_answers: usize) -> f64 {
        let once = self.reading(prompt, 1) + self.predicting(1);
        let whole = self.reading(prompt + answer - 1, answer) + self.predicting(answer);
        once + n_answers as f64 * (whole - once)
    }

    /// Bytes of so many numbers for every weight.
    pub fn per_weight(&self, numbers: f64) -> f64 {
        numbers * self.parameters * BYTES_PER_NUMBER
    }
}
