//! The decoder of all families, with fields named as Hugging Face names the tensors.

use burn::module::{Module, Param};
use burn::nn::{Embedding, RmsNorm};
use burn::tensor::{Device, Tensor, TensorData};
use moslim_kernels::{self as kernels, PackedMatrix, RowIndices, Vocabulary};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::checkpointing::{Forgotten, Recording};
use crate::family::OptionalWeights;
use crate::frame::Frame;
use crate::linear::Linear;
use crate::rows::{HiddenStates, Padding, select_rows};
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

#[derive(Module, Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    /// Normalise every head's query and key, in families that do.
    q_norm: Option<RmsNorm>,
    k_norm: Option<RmsNorm>,
    head_dim: usize,
}

impl Attention {
    /// `x`, returns: `[n_tokens, hidden_size]`
    fn forward(
        &self,
        x: Tensor<2>,
        layer: usize,
        frame: &Frame,
        mut cache: Option<&mut KvCache>,
    ) -> Tensor<2> {
        let normalised = |norm: &Option<RmsNorm>, x: Tensor<2>| match norm {
            Some(norm) => {
                let [n_tokens, width] = x.dims();
                let by_head = x.reshape([n_tokens * (width / self.head_dim), self.head_dim]);
                normalise(norm, by_head).reshape([n_tokens, width])
            }
            None => x,
        };
        let query = normalised(&self.q_norm, self.q_proj.forward(x.clone()));
        let key = normalised(&self.k_norm, self.k_proj.forward(x.clone()));
        let value = self.v_proj.forward(x);
        let mut mixed = Vec::with_capacity(frame.segments.len());
        let mut before: Option<[Tensor<4>; 2]> = None;
        for segment in &frame.segments {
            let [query, key] = [&query, &key].map(|x| segment.rotated(segment.heads(x, self.head_dim)));
            let value = segment.heads(&value, self.head_dim);
            let [key, value] = match (&mut cache, before) {
                (Some(cache), _) => cache.extend(layer, key, value),
                (None, Some(before)) => segment.continued(before, [key, value]),
                (None, None) => [key, value],
            };
            let attended = kernels::causal_attention(query, key.clone(), value.clone(), &segment.starts);
            mixed.push(segment.packed(attended));
            before = Some([key, value]);
        }
        let mixed = if mixed.len() == 1 { mixed.remove(0) } else { Tensor::cat(mixed, 0) };
        self.o_proj.forward(mixed)
    }
}

#[derive(Module, Debug)]
struct Mlp {
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

impl Mlp {
    fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let gated = kernels::swiglu(self.gate_proj.forward(x.clone()), self.up_proj.forward(x));
        self.down_proj.forward(gated)
    }
}

#[derive(Module, Debug)]
pub(crate) struct DecoderLayer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
}

impl DecoderLayer {
    /// `x`, returns: `[n_tokens, hidden_size]`
    pub(crate) fn forward(
        &self,
        x: Tensor<2>,
        layer: usize,
        frame: &Frame,
        cache: Option<&mut KvCache>,
    ) -> Tensor<2> {
        let normal = normalise(&self.input_layernorm, x.clone());
        let x = x + self.self_attn.forward(normal, layer, frame, cache);
        let normal = normalise(&self.post_attention_layernorm, x.clone());
        x + self.mlp.forward(normal)
    }
}

fn normalise(norm: &RmsNorm, x: Tensor<2>) -> Tensor<2> {
    kernels::rms_norm(x, norm.gamma.val(), norm.epsilon)
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
        let (width, head_dim) = (config.hidden_size, config.head_dim());
        let norm = |width| RmsNorm {
            gamma: Param::from_tensor(Tensor::ones([width], device)),
            epsilon: config.rms_norm_eps,
        };
        let mut matrix = |shape| Param::from_tensor(weights(shape));
        let embed_tokens = Embedding { weight: matrix([config.vocab_size, width]) };
        let mut linear = |d_in, d_out, bias: bool| Linear {
            weight: matrix([d_in, d_out]),
            bias: bias.then(|| Param::from_tensor(Tensor::zeros([d_out], device))),
            lora: None,
            packed: None,
        };
        let OptionalWeights { qkv_bias, output_bias, mlp_bias, qk_norm } = config.optional_weights();
        let (query_width, key_width) = (config.num_attention_heads * head_dim, config.key_heads() * head_dim);
        let layers = (0..config.num_hidden_layers)
            .map(|_| DecoderLayer {
                input_layernorm: norm(width),
                self_attn: Attention {
                    q_proj: linear(width, query_width, qkv_bias),
                    k_proj: linear(width, key_width, qkv_bias),
                    v_proj: linear(width, key_width, qkv_bias),
                    o_proj: linear(query_width, width, output_bias),
                    q_norm: qk_norm.then(|| norm(head_dim)),
                    k_norm: qk_norm.then(|| norm(head_dim)),
                    head_dim,
                },
                post_attention_layernorm: norm(width),
                mlp: Mlp {
                    gate_proj: linear(width, config.intermediate_size, mlp_bias),
                    up_proj: linear(width, config.intermediate_size, mlp_bias),
                    down_proj: linear(config.intermediate_size, width, mlp_bias),
                },
            })
            .collect();
        let (theta, scaling) = config.rope().expect("the configuration was checked when it was read");
        Self {
            embed_tokens,
            layers,
            norm: norm(width),
            frequencies: rope::frequencies(head_dim, theta, scaling),
            gradient_checkpointing: false,
        }
    }

    /// The same decoder that keeps nothing but the inputs of its layers between the forward and the backward pass of
    /// [`sum_gradients`](crate::sum_gradients), and computes the rest again; or no longer does.
    pub fn with_gradient_checkpointing(self, gradient_checkpointing: bool) -> Self {
        Self { gradient_checkpointing, ..self }
    }

    /// The hidden state after the last normalisation, for every token.
    ///
    /// Rows may differ in length; no projection is computed for padding.
    /// With a cache, the rows continue those already read, and the cache takes them in;
    /// only a first reading may be padded on the left, and a last one on the right.
    ///
    /// # Panics
    /// If all rows are empty.
    pub fn forward(&self, rows: &[&[u32]], padding: Padding, cache: Option<&mut KvCache>) -> HiddenStates {
        let held =
            cache.as_ref().filter(|cache| !cache.is_empty()).map(|cache| (cache.len(), cache.starts()));
        let frame = Frame::of_rows(rows, padding, held, &self.frequencies, &self.device());
        HiddenStates::new(self.states(rows, frame, cache), rows)
    }

    /// The hidden states of prompts and of responses to them, where response `i` continues prompt `prompt_of[i]`.
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
    ) -> HiddenStates {
        let frame = Frame::of_responses(prompts, responses, prompt_of, &self.frequencies, &self.device());
        let rows = [prompts, responses].concat();
        HiddenStates::new(self.states(&rows, frame, None), &rows)
    }

    /// `[n_tokens, hidden_size]`
    fn states(&self, rows: &[&[u32]], frame: Frame, mut cache: Option<&mut KvCache>) -> Tensor<2> {
        let is_trained = cache.is_none() && self.device().is_autodiff();
        if self.gradient_checkpointing && is_trained && Recording::is_on() {
            return normalise(&self.norm, Forgotten::forward(self, rows, frame));
        }
        let mut x = self.embedded(rows);
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.forward(x, index, &frame, cache.as_deref_mut());
        }
        if let Some(cache) = cache {
            let segment = &frame.segments[0];
            cache.advance(segment.starts.clone(), segment.time());
        }
        normalise(&self.norm, x)
    }

    /// `[n_tokens, hidden_size]`
    pub(crate) fn embedded(&self, rows: &[&[u32]]) -> Tensor<2> {
        let tokens = RowIndices::new(rows.concat(), &self.device());
        assert!(!tokens.rows().is_empty(), "nothing to read");
        kernels::select_rows(self.embed_tokens.weight.val(), &tokens)
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

impl Decoder {
    /// The linear maps of the layers with their names.
    pub(crate) fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        let mut all = Vec::new();
        for (index, layer) in self.layers.iter_mut().enumerate() {
            let DecoderLayer { self_attn, mlp, .. } = layer;
            for (name, linear) in [
                ("self_attn.q_proj", &mut self_attn.q_proj),
                ("self_attn.k_proj", &mut self_attn.k_proj),
                ("self_attn.v_proj", &mut self_attn.v_proj),
                ("self_attn.o_proj", &mut self_attn.o_proj),
                ("mlp.gate_proj", &mut mlp.gate_proj),
                ("mlp.up_proj", &mut mlp.up_proj),
                ("mlp.down_proj", &mut mlp.down_proj),
            ] {
                all.push((format!("model.layers.{index}.{name}"), linear));
            }
        }
        all
    }
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
        kernels::matmul(self.model.forward(rows, padding, cache).states, self.vocabulary().matrix())
    }

    /// The logits after the last token of every row only. `[batch, vocab_size]`
    pub(crate) fn last_logits(&self, rows: &[&[u32]], cache: &mut KvCache) -> Tensor<2> {
        let hidden = self.model.forward(rows, Padding::Left, Some(cache));
        let lasts = hidden.firsts.iter().zip(rows).map(|(first, row)| first + row.len() - 1);
        let states = select_rows(hidden.states, lasts);
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
