#![doc = include_str!("../README.md")]

pub mod composed;
#[cfg(feature = "flex")]
mod flex;
mod gradient_sums;
#[cfg(feature = "flex")]
mod kernels;
mod packed_matrix;
mod parallel;
mod row_indices;
mod softmax;
mod vocabulary;

pub use gradient_sums::GradientSums;
pub use packed_matrix::PackedMatrix;
pub use parallel::{in_parallel, in_parallel_each, n_lanes, splits_batches};
pub use row_indices::RowIndices;
pub use softmax::{SoftmaxWeights, softmax_weights};
pub use vocabulary::Vocabulary;

use burn::tensor::{Device, Int, Tensor};

/// SwiGLU's gate: `silu(gate) · up`, element by element ([Shazeer 2020](https://arxiv.org/abs/2002.05202)).
///
/// # Shapes
/// - `gate`, `up`, returns: the same
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let gate = Tensor::<1>::from_floats([0.0, 80.0, -80.0], &device);
/// let up = Tensor::<1>::from_floats([5.0, 0.5, 1.0], &device);
/// let gated: Vec<f32> = moslim_kernels::swiglu(gate, up).into_data().iter().collect();
/// // 0 · σ(0) · 5, 80 · 1 · 0.5, -80 · 0 · 1
/// assert_eq!(gated[..2], [0.0, 40.0]);
/// assert!(gated[2].abs() < 1e-30);
/// ```
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    assert_eq!(gate.dims(), up.dims(), "swiglu: gate and up have different shapes");
    #[cfg(feature = "flex")]
    if let Some(gated) = flex::swiglu(&gate, &up) {
        return gated;
    }
    composed::swiglu(gate, up)
}

/// Root-mean-square normalisation over the last dimension: `x / sqrt(mean(x²) + ε) · weight` ([Zhang & Sennrich 2019](https://arxiv.org/abs/1910.07467)).
///
/// # Shapes
/// - `x`, returns: `[.., d]`
/// - `weight`: `[d]`
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let x = Tensor::<2>::from_floats([[3.0, -3.0, 3.0, 3.0]], &device);
/// let weight = Tensor::<1>::from_floats([1.0, 1.0, 2.0, 0.0], &device);
/// let normed = moslim_kernels::rms_norm(x, weight, 0.0);
/// assert_eq!(normed.into_data().to_vec::<f32>().unwrap(), [1.0, -1.0, 2.0, 0.0]);
/// ```
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, epsilon: f64) -> Tensor<D> {
    assert_eq!(
        x.dims()[D - 1],
        weight.dims()[0],
        "rms_norm: the last dimension of x {:?} is the weight's",
        x.dims()
    );
    #[cfg(feature = "flex")]
    if let Some(normed) = flex::rms_norm(&x, &weight, epsilon) {
        return normed;
    }
    composed::rms_norm(x, weight, epsilon)
}

/// Rows of a tensor, in the order of their numbers: the embedding of tokens, or padding between rows of unequal length.
///
/// # Shapes
/// - `x`: `[n, ..]`, returns: `[rows, ..]`
///
/// # Panics
/// If a number is not below `n`.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// # use moslim_kernels::{RowIndices, select_rows};
/// let device = Device::flex();
/// let x = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &device);
/// let rows = select_rows(x, &RowIndices::new([1, 1, 0], &device));
/// assert_eq!(rows.into_data().to_vec::<f32>().unwrap(), [3.0, 4.0, 3.0, 4.0, 1.0, 2.0]);
/// ```
pub fn select_rows<const D: usize>(x: Tensor<D>, rows: &RowIndices) -> Tensor<D> {
    let n = x.dims()[0];
    if let Some(row) = rows.rows().iter().find(|&&row| row as usize >= n) {
        panic!("select_rows: row {row} of {n}");
    }
    #[cfg(feature = "flex")]
    if let Some(selected) = flex::select_rows(&x, rows) {
        return selected;
    }
    composed::select_rows(x, rows)
}

/// The product of two matrices.
///
/// The fused form writes it where it stays: Burn's own clears and copies the memory of every result first.
///
/// # Shapes
/// - `a`: `[rows, inner]`, `b`: `[inner, columns]`, either possibly a transposed view, returns: `[rows, columns]`
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let a = Tensor::from_floats([[1.0, 2.0]], &device);
/// let b = Tensor::<2>::from_floats([[3.0, 4.0], [5.0, 6.0]], &device);
/// let products = [b.clone(), b.transpose()].map(|b| moslim_kernels::matmul(a.clone(), b).into_data());
/// assert_eq!(products.map(|product| product.to_vec::<f32>().unwrap()), [[13.0, 16.0], [11.0, 17.0]]);
/// ```
pub fn matmul(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    assert_eq!(a.dims()[1], b.dims()[0], "matmul: a {:?}, b {:?}", a.dims(), b.dims());
    #[cfg(feature = "flex")]
    if let Some(product) = flex::matmul(&a, &b) {
        return product;
    }
    composed::matmul(a, b)
}

/// A linear map with a low-rank adapter beside it: `x·W + s·(x·A)·B` ([Hu et al. 2021](https://arxiv.org/abs/2106.09685)).
///
/// # Shapes
/// - `x`: `[n, d_in]`, `weight`: `[d_in, d_out]`, returns: `[n, d_out]`
/// - `a`: `[d_in, rank]`, `b`: `[rank, d_out]`
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let x = Tensor::from_floats([[1.0, 2.0]], &device);
/// let weight = Tensor::from_floats([[1.0, 0.0], [0.0, 1.0]], &device);
/// let a = Tensor::from_floats([[3.0], [4.0]], &device);
/// let b = Tensor::from_floats([[1.0, 10.0]], &device);
/// // x·A = 11
/// let out = moslim_kernels::lora_linear(x, weight, a, b, 0.5);
/// assert_eq!(out.into_data().to_vec::<f32>().unwrap(), [1.0 + 5.5, 2.0 + 55.0]);
/// ```
pub fn lora_linear(x: Tensor<2>, weight: Tensor<2>, a: Tensor<2>, b: Tensor<2>, scaling: f64) -> Tensor<2> {
    let ([_, d_in], [_, d_out], [_, rank]) = (x.dims(), weight.dims(), a.dims());
    assert_eq!(weight.dims(), [d_in, d_out], "lora_linear: weight for x {:?}", x.dims());
    assert_eq!(a.dims(), [d_in, rank], "lora_linear: a for x {:?}", x.dims());
    assert_eq!(b.dims(), [rank, d_out], "lora_linear: b for a {:?} and weight {:?}", a.dims(), weight.dims());
    #[cfg(feature = "flex")]
    if let Some(mapped) = flex::lora_linear(&x, &weight, &a, &b, scaling) {
        return mapped;
    }
    composed::lora_linear(x, weight, a, b, scaling)
}

/// Rotary position embedding in the rotate-half form of Hugging Face's Llama ([Su et al. 2021](https://arxiv.org/abs/2104.09864)).
///
/// No gradient flows into `cos` and `sin`.
///
/// # Shapes
/// - `x`, returns: `[batch, heads, time, head_dim]`
/// - `cos`, `sin`: `[batch, time, head_dim / 2]`, the angles of each row's own positions
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// let x = Tensor::<4>::from_floats([[[[1.0, 2.0]]]], &device);
/// let (cos, sin) = (Tensor::from_floats([[[0.0]]], &device), Tensor::from_floats([[[1.0]]], &device));
/// // A quarter turn.
/// assert_eq!(moslim_kernels::rope(x, cos, sin).into_data().to_vec::<f32>().unwrap(), [-2.0, 1.0]);
/// ```
pub fn rope(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>) -> Tensor<4> {
    let [batch, _, time, head_dim] = x.dims();
    assert_eq!(head_dim % 2, 0, "rope: head_dim is even");
    assert_eq!(cos.dims(), [batch, time, head_dim / 2], "rope: cos for x {:?}", x.dims());
    assert_eq!(sin.dims(), cos.dims(), "rope: sin for x {:?}", x.dims());
    #[cfg(feature = "flex")]
    if let Some(rotated) = flex::rope(&x, &cos, &sin) {
        return rotated;
    }
    composed::rope(x, cos, sin)
}

/// Causal attention with grouped queries and left padding.
///
/// Query `i` of row `b` sees the keys `starts[b] ..= i + key_time - time`.
/// A query that sees no key belongs to padding; its result is finite and without meaning (zeros in the fused form).
///
/// # Shapes
/// - `query`, returns: `[batch, heads, time, head_dim]`
/// - `key`, `value`: `[batch, key_heads, key_time, head_dim]`, `key_heads` divides `heads`, `key_time >= time`
/// - `starts`: one per row, or empty for no padding
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// let device = Device::flex();
/// // Equal scores: a query gets the mean of the values it sees.
/// let query = Tensor::<4>::zeros([1, 1, 3, 1], &device);
/// let value = Tensor::<4>::from_floats([[[[7.0], [2.0], [4.0]]]], &device);
/// let attended = moslim_kernels::causal_attention(query.clone(), query, value, &[1]);
/// // The first position is padding; the second sees 2, the third 2 and 4.
/// assert_eq!(attended.into_data().to_vec::<f32>().unwrap(), [0.0, 2.0, 3.0]);
/// ```
pub fn causal_attention(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, starts: &[usize]) -> Tensor<4> {
    let ([batch, heads, time, head_dim], [_, key_heads, key_time, _]) = (query.dims(), key.dims());
    assert_eq!(
        key.dims(),
        [batch, key_heads, key_time, head_dim],
        "causal_attention: key for query {:?}",
        query.dims()
    );
    assert_eq!(value.dims(), key.dims(), "causal_attention: value and key have different shapes");
    assert!(
        key_heads > 0 && heads.is_multiple_of(key_heads),
        "causal_attention: {key_heads} key heads for {heads} heads"
    );
    assert!(key_time >= time, "causal_attention: {key_time} keys for {time} queries");
    assert!(
        starts.is_empty() || starts.len() == batch,
        "causal_attention: {} starts for {batch} rows",
        starts.len()
    );
    #[cfg(feature = "flex")]
    if let Some(attended) = flex::causal_attention(&query, &key, &value, starts) {
        return attended;
    }
    composed::causal_attention(query, key, value, starts)
}

/// What a step of AdamW does to every parameter alike.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamWStep {
    /// The learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the running mean of gradients.
    pub beta_1: f32,
    /// Decay of the running mean of squared gradients.
    pub beta_2: f32,
    /// Added to the root of the mean of squared gradients.
    pub epsilon: f32,
    /// The share that a learning rate of 1 would take off the parameter.
    pub weight_decay: f32,
    /// The number of the step, from 1 on.
    pub time: i32,
}

/// A step of AdamW ([Loshchilov & Hutter 2019](https://arxiv.org/abs/1711.05101), algorithm 2), without a gradient of its own.
///
/// Returns the changed parameter and the changed running means of the gradient and of its square, which are 0 before the first step.
///
/// # Shapes
/// - `parameter`, `gradient`, both `moments`, returns: the same
///
/// ```
/// # use burn::tensor::Tensor;
/// # use moslim_kernels::{AdamWStep, adamw};
/// let step = AdamWStep { learning_rate: 0.1, beta_1: 0.5, beta_2: 0.75, epsilon: 0.0, weight_decay: 0.0, time: 1 };
/// let number = |x: f32| Tensor::<1>::from_floats([x], &Default::default());
/// let (parameter, moments) = adamw(number(1.0), number(-4.0), [number(0.0), number(0.0)], &step);
/// // The first step goes as far as the learning rate, against the gradient.
/// assert_eq!(parameter.into_scalar::<f32>(), 1.1);
/// assert_eq!(moments.map(|moment| moment.into_scalar::<f32>()), [-2.0, 4.0]);
/// ```
pub fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    moments: [Tensor<D>; 2],
    step: &AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let shape = parameter.dims();
    assert_eq!(gradient.dims(), shape, "adamw: gradient of a parameter {shape:?}");
    assert!(moments.iter().all(|moment| moment.dims() == shape), "adamw: moments of a parameter {shape:?}");
    #[cfg(feature = "flex")]
    if flex::adamw::takes([&parameter, &gradient, &moments[0], &moments[1]]) {
        return flex::adamw::adamw(parameter, gradient, moments, step);
    }
    composed::adamw(parameter, gradient, moments, step)
}

/// The log-probability of given tokens and the entropy of the distribution they were chosen from: `log softmax(hidden · vocabulary / temperature)`.
///
/// # Shapes
/// - `hidden`: `[n_tokens, d]`
/// - `vocabulary`: `[d, n_vocabulary]`, or a tied embedding ([`Vocabulary`])
/// - `tokens`: `[n_tokens]`, each below `n_vocabulary`
/// - returns: log-probabilities and entropies (nats), each `[n_tokens]`
///
/// ```
/// # use burn::tensor::{Device, Int, Tensor};
/// let device = Device::flex();
/// // Logits 0 for both tokens: a fair coin.
/// let (logprobs, entropies) = moslim_kernels::token_logprobs(
///     Tensor::from_floats([[0.0]], &device),
///     Tensor::<2>::from_floats([[1.0, 2.0]], &device),
///     Tensor::<1, Int>::from_ints([1], &device),
///     1.0,
/// );
/// assert!((logprobs.into_scalar::<f32>() + 2f32.ln()).abs() < 1e-6);
/// assert!((entropies.into_scalar::<f32>() - 2f32.ln()).abs() < 1e-6);
/// ```
pub fn token_logprobs(
    hidden: Tensor<2>,
    vocabulary: impl Into<Vocabulary>,
    tokens: Tensor<1, Int>,
    temperature: f64,
) -> (Tensor<1>, Tensor<1>) {
    let vocabulary = vocabulary.into();
    assert_eq!(
        hidden.dims()[1],
        vocabulary.dims()[0],
        "token_logprobs: hidden {:?}, vocabulary {:?}",
        hidden.dims(),
        vocabulary.dims()
    );
    assert_eq!(hidden.dims()[0], tokens.dims()[0], "token_logprobs: a token for every hidden state");
    #[cfg(feature = "flex")]
    if let Some(statistics) = flex::token_logprobs(&hidden, &vocabulary, &tokens, temperature) {
        return statistics;
    }
    composed::token_logprobs(hidden, vocabulary.matrix(), tokens, temperature)
}

/// How many logits [`token_logprobs`] holds at once on a device, for planning; under autodiff that includes the backward pass.
///
/// The kernel holds a part of them at a time; the composed form has all of them, and holds them more than once.
///
/// ```
/// # use burn::tensor::Device;
/// # use moslim_kernels::logits_at_once;
/// let device = Device::flex();
/// // Gradients find up to 16 million logits kept; of more, a part is computed again at a time.
/// assert_eq!(logits_at_once(1000, 10_000, &device.clone().autodiff()), 10_000_000);
/// assert!(logits_at_once(1000, 100_000, &device.autodiff()) < 10_000_000);
/// ```
pub fn logits_at_once(n_tokens: usize, n_vocabulary: usize, device: &Device) -> usize {
    let all = n_tokens.saturating_mul(n_vocabulary);
    #[cfg(feature = "flex")]
    if all > 0 && splits_batches(device) {
        return flex::logits_at_once(n_tokens, n_vocabulary, device.is_autodiff());
    }
    let _ = device;
    all
}
