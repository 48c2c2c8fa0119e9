//! The operations as plain loops in f64, and fused operations against them: values, and gradients by central differences.

use crate::support::{Sample, TOLERANCE, error, numbers, weights};
use burn::tensor::{DType, Device, Tensor};

/// Values below this are compared with zero: the exponential of the kernels does not fall below 1e-38.
pub const NOTHING: f64 = 1e-25;

/// Gradients are compared at so many coordinates of every input, at all of them if it has no more.
const COORDINATES: usize = 150;

/// Compares an operation in f32 on flex with `reference`, which takes the elements of the inputs in row-major order.
///
/// Value and gradients may be off by [`TOLERANCE`] of the largest element.
/// Where the terms of an input's gradient, about as large as in `terms`, cancel, it may be off by as much of them.
pub fn check_reference(
    what: &str,
    terms: &[f64],
    operation: impl Fn(&[Tensor<4>]) -> Tensor<4>,
    reference: impl Fn(&[Vec<f64>]) -> Vec<f64>,
    inputs: &[Sample],
) {
    // What the kernels see: 80 as a 32-bit number may be off by more than what is measured.
    let mut numbers_of: Vec<Vec<f64>> =
        inputs.iter().map(|input| input.numbers.iter().map(|&x| f64::from(x as f32)).collect()).collect();
    let device = Device::flex().autodiff();
    let leaves: Vec<Tensor<4>> =
        inputs.iter().map(|input| input.tensor(&device, DType::F32).require_grad()).collect();
    let out = operation(&leaves);
    let expected = reference(&numbers_of);
    let value_error = error(&numbers(out.clone()), &expected, NOTHING);
    assert!(value_error <= TOLERANCE, "{what}: value off by {value_error:e}");

    let weights = weights(expected.len());
    let loss_weights = Sample { numbers: weights.clone(), shape: out.dims() }.tensor(&device, DType::F32);
    let gradients = (out * loss_weights).sum().backward();
    for (index, leaf) in leaves.iter().enumerate() {
        let gradient = numbers(leaf.grad(&gradients).expect("a gradient"));
        let n = gradient.len();
        let coordinates: Vec<usize> = (0..n).step_by(n.div_ceil(COORDINATES)).collect();
        let slopes: Vec<f64> = coordinates
            .iter()
            .map(|&coordinate| slope(&reference, &mut numbers_of, index, coordinate, &weights))
            .collect();
        let gradient: Vec<f64> = coordinates.iter().map(|&coordinate| gradient[coordinate]).collect();
        let gradient_error = error(&gradient, &slopes, terms[index]);
        assert!(gradient_error <= TOLERANCE, "{what}: gradient of input {index} off by {gradient_error:e}");
    }
}

/// The change of the weighted sum of results with one coordinate of one input.
///
/// Results are subtracted one by one: a coordinate that changes nothing has a slope of exactly zero.
fn slope(
    reference: &impl Fn(&[Vec<f64>]) -> Vec<f64>,
    inputs: &mut [Vec<f64>],
    index: usize,
    coordinate: usize,
    weights: &[f64],
) -> f64 {
    const STEP: f64 = 1e-4;
    let before = inputs[index][coordinate];
    let mut at = |step: f64| {
        inputs[index][coordinate] = before + step;
        reference(inputs)
    };
    let (above, below) = (at(STEP), at(-STEP));
    inputs[index][coordinate] = before;
    let changes = above.iter().zip(&below).map(|(above, below)| (above - below) / (2.0 * STEP));
    changes.zip(weights).map(|(change, weight)| change * weight).sum()
}

/// `gate · σ(gate) · up`.
pub fn swiglu(inputs: &[Vec<f64>]) -> Vec<f64> {
    inputs[0].iter().zip(&inputs[1]).map(|(gate, up)| gate / (1.0 + (-gate).exp()) * up).collect()
}

/// `x / sqrt(mean(x²) + ε) · weight`.
pub fn rms_norm(inputs: &[Vec<f64>], epsilon: f64) -> Vec<f64> {
    let weight = &inputs[1];
    let norm = |row: &[f64]| {
        let mean_square = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
        let scale = (mean_square + epsilon).sqrt();
        row.iter().zip(weight).map(|(x, weight)| x / scale * weight).collect::<Vec<f64>>()
    };
    inputs[0].chunks_exact(weight.len()).flat_map(norm).collect()
}

/// Turns the pairs `(x[i], x[i + head_dim / 2])` by the angles of their row and position, `[batch, time, head_dim / 2]`.
pub fn rope(inputs: &[Vec<f64>], [_, heads, time, head_dim]: [usize; 4], angles: &[f64]) -> Vec<f64> {
    let half = head_dim / 2;
    let turn = |(position, x): (usize, &[f64])| {
        let (row, time_index) = (position / (heads * time), position % time);
        let angles = &angles[(row * time + time_index) * half..][..half];
        let pair = |i: usize| (x[i], x[i + half], angles[i].cos(), angles[i].sin());
        let first = (0..half).map(pair).map(|(a, b, cos, sin)| a * cos - b * sin);
        let second = (0..half).map(pair).map(|(a, b, cos, sin)| b * cos + a * sin);
        first.chain(second).collect::<Vec<f64>>()
    };
    inputs[0].chunks_exact(head_dim).enumerate().flat_map(turn).collect()
}

/// Dimensions of attention.
#[derive(Clone, Copy, Debug)]
pub struct AttentionShape {
    pub batch: usize,
    pub heads: usize,
    pub key_heads: usize,
    pub time: usize,
    pub key_time: usize,
    pub head_dim: usize,
}

/// Causal attention; a query that sees no key gives zeros.
pub fn causal_attention(inputs: &[Vec<f64>], shape: AttentionShape, starts: &[usize]) -> Vec<f64> {
    let AttentionShape { batch, heads, key_heads, time, key_time, head_dim } = shape;
    let mut out = Vec::with_capacity(inputs[0].len());
    for (row, head, query) in (0..batch)
        .flat_map(move |row| (0..heads).flat_map(move |head| (0..time).map(move |query| (row, head, query))))
    {
        let q = &inputs[0][((row * heads + head) * time + query) * head_dim..][..head_dim];
        let key_head = row * key_heads + head / (heads / key_heads);
        let position =
            |input: usize, key: usize| &inputs[input][(key_head * key_time + key) * head_dim..][..head_dim];
        let visible = starts.get(row).copied().unwrap_or(0)..query + key_time - time + 1;
        let dot = |key: usize| q.iter().zip(position(1, key)).map(|(a, b)| a * b).sum::<f64>();
        let scores: Vec<f64> = visible.clone().map(|key| dot(key) / (head_dim as f64).sqrt()).collect();
        let probabilities = softmax(&scores);
        out.extend((0..head_dim).map(|dim| {
            let weighted = visible.clone().zip(&probabilities).map(|(key, p)| p * position(2, key)[dim]);
            weighted.sum::<f64>()
        }));
    }
    out
}

/// Log-probability of every token and entropy of its distribution, one after the other.
pub fn token_logprobs(
    inputs: &[Vec<f64>],
    d: usize,
    tokens: &[usize],
    is_tied: bool,
    temperature: f64,
) -> Vec<f64> {
    let (hidden, vocabulary) = (&inputs[0], &inputs[1]);
    let n_vocabulary = vocabulary.len() / d;
    let entry = |dim: usize, token: usize| match is_tied {
        true => vocabulary[token * d + dim],
        false => vocabulary[dim * n_vocabulary + token],
    };
    let statistics = |(hidden, &token): (&[f64], &usize)| {
        let logit = |token: usize| {
            hidden.iter().enumerate().map(|(dim, x)| x * entry(dim, token)).sum::<f64>() / temperature
        };
        let logits: Vec<f64> = (0..n_vocabulary).map(logit).collect();
        let highest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let log_sum = logits.iter().map(|z| (z - highest).exp()).sum::<f64>().ln();
        let logprob = |z: f64| z - highest - log_sum;
        let entropy: f64 = logits.iter().map(|&z| -logprob(z).exp() * logprob(z)).sum();
        [logprob(logits[token]), entropy]
    };
    hidden.chunks_exact(d).zip(tokens).flat_map(statistics).collect()
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = scores.iter().map(|score| (score - highest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}
