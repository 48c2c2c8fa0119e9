//! One layer of the decoder, with fields named as Hugging Face names the tensors.

use burn::module::{Module, Param};
use burn::nn::RmsNorm;
use burn::tensor::{Device, Tensor};
use moslim_kernels as kernels;

use crate::family::OptionalWeights;
use crate::frame::{Frame, Wanted};
use crate::linear::Linear;
use crate::{KvCache, ModelConfig};

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
    /// `x`: `[n_tokens, hidden_size]`, returns: the same, or `[n_wanted, hidden_size]`
    fn forward(
        &self,
        x: Tensor<2>,
        layer: usize,
        frame: &Frame,
        wanted: Option<&Wanted>,
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
        let key = normalised(&self.k_norm, self.k_proj.forward(x.clone()));
        let value = self.v_proj.forward(x.clone());
        let query = normalised(&self.q_norm, self.q_proj.forward(selected(wanted, x)));
        let query_angles = wanted.map_or(&frame.angles, |wanted| &wanted.angles);
        let query = query_angles.rotated(query, self.head_dim);
        let key = frame.angles.rotated(key, self.head_dim);
        let mut mixed = Vec::with_capacity(frame.segments.len());
        for (index, segment) in frame.segments.iter().enumerate() {
            let queries = wanted.map_or(Some(&segment.queries), |wanted| wanted.queries(index));
            let Some(queries) = queries else { continue };
            let [key, value] = [&key, &value].map(|x| segment.keys.heads(x, self.head_dim));
            let [key, value] = match &mut cache {
                Some(cache) => cache.extend(layer, key, value),
                None => [key, value],
            };
            let query = queries.grid().heads(&query, self.head_dim);
            let attended = kernels::causal_attention(query, key, value, &segment.starts);
            mixed.push(queries.packed(attended));
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
    /// A layer whose maps are of these matrices.
    pub(crate) fn of(
        config: &ModelConfig,
        device: &Device,
        matrix: &mut impl FnMut([usize; 2]) -> Param<Tensor<2>>,
    ) -> Self {
        let (width, head_dim) = (config.hidden_size, config.head_dim());
        let norm = |width| new_norm(config, width, device);
        let mut linear = |d_in, d_out, bias: bool| Linear {
            weight: matrix([d_in, d_out]),
            bias: bias.then(|| Param::from_tensor(Tensor::zeros([d_out], device))),
            lora: None,
            packed: None,
        };
        let OptionalWeights { qkv_bias, output_bias, mlp_bias, qk_norm } = config.optional_weights();
        let (query_width, key_width) = (config.num_attention_heads * head_dim, config.key_heads() * head_dim);
        Self {
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
        }
    }

    /// The linear maps with their names.
    pub(crate) fn linears_mut(&mut self) -> [(&'static str, &mut Linear); 7] {
        let Self { self_attn, mlp, .. } = self;
        [
            ("self_attn.q_proj", &mut self_attn.q_proj),
            ("self_attn.k_proj", &mut self_attn.k_proj),
            ("self_attn.v_proj", &mut self_attn.v_proj),
            ("self_attn.o_proj", &mut self_attn.o_proj),
            ("mlp.gate_proj", &mut mlp.gate_proj),
            ("mlp.up_proj", &mut mlp.up_proj),
            ("mlp.down_proj", &mut mlp.down_proj),
        ]
    }

    /// `x`: `[n_tokens, hidden_size]`, returns: the same, or of the wanted tokens: `[n_wanted, hidden_size]`
    pub(crate) fn forward(
        &self,
        x: Tensor<2>,
        layer: usize,
        frame: &Frame,
        wanted: Option<&Wanted>,
        cache: Option<&mut KvCache>,
    ) -> Tensor<2> {
        let normal = normalise(&self.input_layernorm, x.clone());
        let x = selected(wanted, x) + self.self_attn.forward(normal, layer, frame, wanted, cache);
        let normal = normalise(&self.post_attention_layernorm, x.clone());
        x + self.mlp.forward(normal)
    }
}

/// The wanted tokens, or all.
fn selected(wanted: Option<&Wanted>, x: Tensor<2>) -> Tensor<2> {
    match wanted {
        Some(wanted) => wanted.select(x),
        None => x,
    }
}

pub(crate) fn normalise(norm: &RmsNorm, x: Tensor<2>) -> Tensor<2> {
    kernels::rms_norm(x, norm.gamma.val(), norm.epsilon)
}

/// A normalisation that changes no scale yet.
pub(crate) fn new_norm(config: &ModelConfig, width: usize, device: &Device) -> RmsNorm {
    RmsNorm { gamma: Param::from_tensor(Tensor::ones([width], device)), epsilon: config.rms_norm_eps }
}
