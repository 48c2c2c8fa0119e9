//! The decoder of all families, with fields named as Hugging Face names the tensors.

use burn::module::{Module, Param};
use burn::nn::{Embedding, RmsNorm};
use burn::tensor::{Device, Tensor, TensorData};
use moslim_kernels as kernels;
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use crate::family::OptionalWeights;
use crate::linear::Linear;
use crate::rows::{HiddenStates, Packing, Padding, ints, select_rows};
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
    fn forward(&self, x: Tensor<2>, layer: usize, frame: &Frame, cache: Option<&mut KvCache>) -> Tensor<2> {
        let Packing { batch, time, .. } = frame.packing;
        let heads = |x: Tensor<2>| {
            let n_heads = x.dims()[1] / self.head_dim;
            frame.packing.grid(x).reshape([batch, time, n_heads, self.head_dim]).swap_dims(1, 2)
        };
        let normalised = |norm: &Option<RmsNorm>, x: Tensor<2>| match norm {
            Some(norm) => {
                let [n_tokens, width] = x.dims();
                let by_head = x.reshape([n_tokens * (width / self.head_dim), self.head_dim]);
                normalise(norm, by_head).reshape([n_tokens, width])
            }
            None => x,
        };
        let rotate = |x: Tensor<4>| kernels::rope(x, frame.cos.clone(), frame.sin.clone());
        let query = rotate(heads(normalised(&self.q_norm, self.q_proj.forward(x.clone()))));
        let key = rotate(heads(normalised(&self.k_norm, self.k_proj.forward(x.clone()))));
        let value = heads(self.v_proj.forward(x));
        let (key, value) = match cache {
            Some(cache) => cache.extend(layer, key, value),
            None => (key, value),
        };
        let mixed = kernels::causal_attention(query, key, value, &frame.starts);
        let width = mixed.dims()[1] * self.head_dim;
        self.o_proj.forward(frame.packing.packed(mixed.swap_dims(1, 2).reshape([batch * time, width])))
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
struct DecoderLayer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    mlp: Mlp,
}

fn normalise(norm: &RmsNorm, x: Tensor<2>) -> Tensor<2> {
    kernels::rms_norm(x, norm.gamma.val(), norm.epsilon)
}

/// What every layer of one forward pass shares.
struct Frame {
    packing: Packing,
    /// Where the rows start, in the columns of the cache if there is one.
    starts: Vec<usize>,
    /// Angles of every cell. `[batch, time, head_dim / 2]`
    cos: Tensor<3>,
    sin: Tensor<3>,
}

/// A decoder without its vocabulary matrix: tokens in, hidden states out.
#[derive(Module, Debug)]
pub struct Decoder {
    embed_tokens: Embedding,
    layers: Vec<DecoderLayer>,
    norm: RmsNorm,
    #[module(skip)]
    frequencies: Vec<f64>,
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
        }
    }

    /// The hidden state after the last normalisation, for every token.
    ///
    /// Rows may differ in length; no projection is computed for padding.
    /// With a cache, the rows continue those already read, and the cache takes them in;
    /// only a first reading may be padded on the left, and a last one on the right.
    ///
    /// # Panics
    /// If all rows are empty.
    pub fn forward(
        &self,
        rows: &[&[u32]],
        padding: Padding,
        mut cache: Option<&mut KvCache>,
    ) -> HiddenStates {
        let device = self.device();
        let packing = Packing::new(rows, padding, &device);
        let offset = cache.as_ref().map_or(0, |cache| cache.len());
        let starts = match &cache {
            Some(cache) if !cache.is_empty() => cache.starts().to_vec(),
            _ => packing.starts(),
        };
        let (cos, sin) = rope::angles(&self.frequencies, &starts, offset, packing.time, &device);
        let frame = Frame { packing, starts, cos, sin };

        let tokens: Vec<i64> =
            rows.iter().flat_map(|row| row.iter().map(|&token| i64::from(token))).collect();
        let n_tokens = tokens.len();
        assert!(n_tokens > 0, "nothing to read");
        let embedded = self.embed_tokens.forward(ints(tokens, &device).reshape([1, n_tokens]));
        let mut x: Tensor<2> = embedded.squeeze_dim(0);
        for (index, layer) in self.layers.iter().enumerate() {
            let normal = normalise(&layer.input_layernorm, x.clone());
            x = x + layer.self_attn.forward(normal, index, &frame, cache.as_deref_mut());
            let normal = normalise(&layer.post_attention_layernorm, x.clone());
            x = x + layer.mlp.forward(normal);
        }
        if let Some(cache) = cache {
            cache.advance(frame.starts, frame.packing.time);
        }
        HiddenStates::new(normalise(&self.norm, x), rows)
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
        });
        Self { model, lm_head }
    }

    /// A model of a decoder alone, whose vocabulary matrix is the embedding; for adapters on models that write nothing.
    pub fn of_decoder(model: Decoder) -> Self {
        Self { model, lm_head: None }
    }

    /// The linear maps of the layers with their names.
    pub(crate) fn linears_mut(&mut self) -> Vec<(String, &mut Linear)> {
        self.model.linears_mut()
    }

    /// The decoder beneath the vocabulary matrix.
    pub fn decoder(&self) -> &Decoder {
        &self.model
    }

    /// The vocabulary matrix. `[hidden_size, vocab_size]`
    pub fn vocabulary(&self) -> Tensor<2> {
        match &self.lm_head {
            Some(linear) => linear.weight.val(),
            None => self.model.embed_tokens.weight.val().transpose(),
        }
    }

    /// The logits of the next token after every token; see [`Decoder::forward`] for the arguments.
    ///
    /// # Shapes
    /// - returns: `[n_tokens, vocab_size]`, the rows after each other
    pub fn logits(&self, rows: &[&[u32]], padding: Padding, cache: Option<&mut KvCache>) -> Tensor<2> {
        self.model.forward(rows, padding, cache).states.matmul(self.vocabulary())
    }

    /// The logits after the last token of every row only. `[batch, vocab_size]`
    pub(crate) fn last_logits(&self, rows: &[&[u32]], cache: &mut KvCache) -> Tensor<2> {
        let hidden = self.model.forward(rows, Padding::Left, Some(cache));
        let lasts = hidden.firsts.iter().zip(rows).map(|(first, row)| first + row.len() - 1);
        select_rows(hidden.states, lasts).matmul(self.vocabulary())
    }

    /// Where the weights live.
    pub fn device(&self) -> Device {
        self.model.device()
    }
}
