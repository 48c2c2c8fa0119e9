//! The decoder of all families, with fields named as Hugging Face names the tensors.

use burn::module::{Module, Param};
use burn::nn::{Embedding, RmsNorm};
use burn::tensor::{Device, Tensor, TensorData};
use moslim_kernels::{self as kernels, PackedMatrix, RowIndices, Vocabulary};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::checkpointing::{Forgotten, Recording};
use crate::frame::{Frame, firsts, n_tokens};
use crate::layer::{DecoderLayer, new_norm, normalise};
use crate::linear::Linear;
use crate::rows::{Padding, select_rows};
use crate::{KvCache, ModelConfig, rope};

/// Standard deviation of freshly drawn weights, as Hugging Face's `initializer_range`.
const INITIALIZER_RANGE: f64 = 0.02;

/// A matrix of independent normal draws with mean 0.
pub fn normal(shape: [usize; 2], standard_deviation: f64, rng: &mut impl Rng, device: &Device) -> Tensor<2> {
    let draw = |_| {
        let z: f64 = StandardNormal.sample(rng);
        (z * standard_deviation) as f32
    };
    let values: Vec<f32> = (0..shape[0] * shape[1]).map(draw).collect();
    Tensor::from_data(TensorData::new(values, shape), device)
}

/// A decoder without its vocabulary matrix: tokens in, hidden states out.
#[derive(Module, Debug)]
pub struct Decoder {
    embed_tokens: Embedding,
    pub(crate) layers: Vec<DecoderLayer>,
    norm: RmsNorm,
    #[module(skip)]
    frequencies: Vec<f64>,
    /// Whether the layers forget what they compute until the backward pass.
    #[module(skip)]
    gradient_checkpointing: bool,
}

impl Decoder {
    /// A decoder with freshly drawn weights.
    ///
    /// # Panics
    /// If the configuration was not checked ([`ModelConfig::read`]).
    pub fn new(config: &ModelConfig, rng: &mut impl Rng, device: &Device) -> Self {
        Self::of(config, device, |shape| normal(shape, INITIALIZER_RANGE, rng, device))
    }

    /// A decoder of zeros, to load weights into.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn zeros(config: &ModelConfig, device: &Device) -> Self {
        Self::of(config, device, |shape| Tensor::zeros(shape, device))
    }

    fn of(config: &ModelConfig, device: &Device, mut weights: impl FnMut([usize; 2]) -> Tensor<2>) -> Self {
        let matrix = &mut |shape| Param::from_tensor(weights(shape));
        let embed_tokens = Embedding { weight: matrix([config.vocab_size, config.hidden_size]) };
        let layers =
            (0..config.num_hidden_layers).map(|_| DecoderLayer::of(config, device, matrix)).collect();
        let (theta, scaling) = config.rope().expect("the configuration was checked when it was read");
        Self {
            embed_tokens,
            layers,
            norm: new_norm(config, config.hidden_size, device),
            frequencies: rope::frequencies(config.head_dim(), theta, scaling),
            gradient_checkpointing: false,
        }
    }

    /// The same decoder that keeps nothing but the inputs of its layers between the forward and the backward pass of
    /// [`sum_gradients`](crate::sum_gradients), and computes the rest again; or no longer does.
    pub fn with_gradient_checkpointing(self, gradient_checkpointing: bool) -> Self {
        Self { gradient_checkpointing, ..self }
    }

    /// The hidden state after the last normalisation, for every token, the rows after each other. `[n_tokens, hidden_size]`
    ///
    /// Rows may differ in length; no projection is computed for padding.
    /// With a cache, the rows continue those already read, and the cache takes them in;
    /// only a first reading may be padded on the left, and a last one on the right.
    ///
    /// # Panics
    /// If all rows are empty.
    pub fn forward(&self, rows: &[&[u32]], padding: Padding, cache: Option<&mut KvCache>) -> Tensor<2> {
        let frame = self.frame(rows, padding, cache.as_deref());
        self.states(rows, frame, cache)
    }

    /// [`Self::forward`] for these tokens alone, by their numbers; of the others, the last layer computes no more than keys and values.
    ///
    /// `[tokens.len(), hidden_size]`
    pub(crate) fn forward_at(
        &self,
        rows: &[&[u32]],
        padding: Padding,
        cache: Option<&mut KvCache>,
        tokens: &[usize],
    ) -> Tensor<2> {
        let frame = self.frame(rows, padding, cache.as_deref());
        self.states_at(rows, frame, cache, tokens)
    }

    /// The hidden states of prompts and of responses to them, where response `i` continues prompt `prompt_of[i]`,
    /// for these tokens alone, by their numbers in all prompts and then all responses. `[tokens.len(), hidden_size]`
    ///
    /// Every prompt is read once, however many responses it has.
    ///
    /// # Panics
    /// If all rows are empty.
    pub(crate) fn forward_responses(
        &self,
        prompts: &[&[u32]],
        responses: &[&[u32]],
        prompt_of: &[usize],
        tokens: &[usize],
    ) -> Tensor<2> {
        let frame = Frame::of_responses(prompts, responses, prompt_of, &self.frequencies, &self.device());
        self.states_at(&[prompts, responses].concat(), frame, None, tokens)
    }

    fn frame(&self, rows: &[&[u32]], padding: Padding, cache: Option<&KvCache>) -> Frame {
        let held = cache.filter(|cache| !cache.is_empty()).map(|cache| (cache.len(), cache.starts()));
        Frame::of_rows(rows, padding, held, &self.frequencies, &self.device())
    }

    /// `[tokens.len(), hidden_size]`
    fn states_at(
        &self,
        rows: &[&[u32]],
        frame: Frame,
        cache: Option<&mut KvCache>,
        tokens: &[usize],
    ) -> Tensor<2> {
        let mut wanted: Vec<u32> = tokens.iter().map(|&token| token as u32).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let n_tokens = n_tokens(rows);
        assert!(wanted.last().is_none_or(|&last| (last as usize) < n_tokens), "a token beyond the rows");
        let some = (1..n_tokens).contains(&wanted.len());
        let frame = if some { frame.wanting(&wanted, &self.device()) } else { frame };
        let states = self.states(rows, frame, cache);
        if !tokens.is_empty() && tokens.is_sorted_by(|a, b| a < b) {
            return states;
        }
        let number = |token: &usize| wanted.binary_search(&(*token as u32)).expect("it is wanted");
        select_rows(states, tokens.iter().map(number))
    }

    /// Of all tokens, or of those that are wanted. `[n_wanted, hidden_size]`
    fn states(&self, rows: &[&[u32]], frame: Frame, mut cache: Option<&mut KvCache>) -> Tensor<2> {
        let is_trained = cache.is_none() && self.device().is_autodiff();
        if self.gradient_checkpointing && is_trained && Recording::is_on() {
            return normalise(&self.norm, Forgotten::forward(self, rows, frame));
        }
        let mut x = self.embedded(rows);
        for index in 0..self.layers.len() {
            x = self.layer(index, x, &frame, cache.as_deref_mut());
        }
        if let Some(cache) = cache {
            let segment = &frame.segments[0];
            cache.advance(segment.starts.clone(), segment.keys.time);
        }
        normalise(&self.norm, x)
    }

    /// What a layer makes of its input, `[n_tokens, hidden_size]`; the last one makes `[n_wanted, hidden_size]`.
    pub(crate) fn layer(
        &self,
        index: usize,
        x: Tensor<2>,
        frame: &Frame,
        cache: Option<&mut KvCache>,
    ) -> Tensor<2> {
        let wanted = frame.wanted.as_ref().filter(|_| index + 1 == self.layers.len());
        self.layers[index].forward(x, index, frame, wanted, cache)
    }

    /// `[n_tokens, hidden_size]`
    pub(crate) fn embedded(&self, rows: &[&[u32]]) -> Tensor<2> {
        let tokens = RowIndices::new(rows.concat(), &self.device());
        assert!(!tokens.rows().is_empty(), "nothing to read");
        kernels::select_rows(self.embed_tokens.weight.val(), &tokens)
    }

    /// The linear maps of the layers with their names.
    pub(crate) fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        let mut all = Vec::new();
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let named = layer.linears_mut().into_iter();
            all.extend(named.map(|(name, linear)| (format!("model.layers.{index}.{name}"), linear)));
        }
        all
    }

    /// Where the weights live.
    pub fn device(&self) -> Device {
        self.norm.gamma.device()
    }
}

/// A causal language model: a decoder and a vocabulary matrix, which may be the transposed embedding.
#[derive(Module, Debug)]
pub struct CausalLm {
    pub(crate) model: Decoder,
    pub(crate) lm_head: Option<Linear>,
    /// The vocabulary matrix once more, in a model that only writes.
    #[module(skip)]
    pub(crate) packed_vocabulary: Option<PackedMatrix>,
}

impl CausalLm {
    /// A model with freshly drawn weights.
    ///
    /// # Panics
    /// If the configuration was not checked ([`ModelConfig::read`]).
    pub fn new(config: &ModelConfig, rng: &mut impl Rng, device: &Device) -> Self {
        let model = Decoder::new(config, rng, device);
        Self::of(model, config, |shape| normal(shape, INITIALIZER_RANGE, rng, device))
    }

    /// A model of zeros, to load weights into.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub fn zeros(config: &ModelConfig, device: &Device) -> Self {
        Self::of(Decoder::zeros(config, device), config, |shape| Tensor::zeros(shape, device))
    }

    fn of(model: Decoder, config: &ModelConfig, weights: impl FnOnce([usize; 2]) -> Tensor<2>) -> Self {
        let lm_head = (!config.tie_word_embeddings).then(|| Linear {
            weight: Param::from_tensor(weights([config.hidden_size, config.vocab_size])),
            bias: None,
            lora: None,
            packed: None,
        });
        Self { model, lm_head, packed_vocabulary: None }
    }

    /// A model of a decoder alone, whose vocabulary matrix is the embedding; for adapters on models that write nothing.
    pub fn of_decoder(model: Decoder) -> Self {
        Self { model, lm_head: None, packed_vocabulary: None }
    }

    /// The linear maps of the layers with their names.
    pub(crate) fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        self.model.linears_mut()
    }

    /// The same model with or without [gradient checkpointing](Decoder::with_gradient_checkpointing).
    ///
    /// It needs less memory and about a third more arithmetic in training; gradients are the same but for rounding.
    pub fn with_gradient_checkpointing(self, gradient_checkpointing: bool) -> Self {
        Self { model: self.model.with_gradient_checkpointing(gradient_checkpointing), ..self }
    }

    /// A copy whose matrices stand ready for products with few rows; it must not be trained.
    pub(crate) fn packed(&self) -> Self {
        let mut copy = self.clone();
        copy.linears_mut().into_iter().for_each(|(_, linear)| linear.pack());
        copy.packed_vocabulary = PackedMatrix::new(&copy.vocabulary().matrix());
        copy
    }

    /// The decoder beneath the vocabulary matrix.
    pub fn decoder(&self) -> &Decoder {
        &self.model
    }

    /// The vocabulary matrix.
    pub fn vocabulary(&self) -> Vocabulary {
        match &self.lm_head {
            Some(linear) => Vocabulary::Head(linear.weight.val()),
            None => Vocabulary::Embedding(self.model.embed_tokens.weight.val()),
        }
    }

    /// The logits of the next token after every token; see [`Decoder::forward`] for the arguments.
    ///
    /// # Shapes
    /// - returns: `[n_tokens, vocab_size]`, the rows after each other
    pub fn logits(&self, rows: &[&[u32]], padding: Padding, cache: Option<&mut KvCache>) -> Tensor<2> {
        kernels::matmul(self.model.forward(rows, padding, cache), self.vocabulary().matrix())
    }

    /// The logits after the last token of every row only. `[batch, vocab_size]`
    ///
    /// # Panics
    /// If a row is empty.
    pub(crate) fn last_logits(&self, rows: &[&[u32]], cache: &mut KvCache) -> Tensor<2> {
        assert!(rows.iter().all(|row| !row.is_empty()), "a row needs at least one token");
        let firsts = firsts(0, rows.iter().map(|row| row.len()));
        let lasts: Vec<usize> = firsts.iter().zip(rows).map(|(first, row)| first + row.len() - 1).collect();
        let states = self.model.forward_at(rows, Padding::Left, Some(cache), &lasts);
        match self.packed_vocabulary.as_ref().and_then(|packed| packed.product(&states)) {
            Some(logits) => logits,
            None => kernels::matmul(states, self.vocabulary().matrix()),
        }
    }

    /// Where the weights live.
    pub fn device(&self) -> Device {
        self.model.device()
    }
}
