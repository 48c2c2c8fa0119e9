//! The operations from ordinary tensor operations: their meaning, the form for every back end without a kernel, and what benches compare with.
//!
//! Call the functions of the crate's root: they come here by themselves where there is no kernel.

use burn::tensor::activation::{log_softmax, silu, softmax};
use burn::tensor::{Bool, Int, Tensor, TensorData};

use crate::{AdamWStep, RowIndices};

/// [`swiglu`](crate::swiglu) from ordinary tensor operations.
pub fn swiglu<const D: usize>(gate: Tensor<D>, up: Tensor<D>) -> Tensor<D> {
    silu(gate) * up
}

/// [`rms_norm`](crate::rms_norm) from ordinary tensor operations.
pub fn rms_norm<const D: usize>(x: Tensor<D>, weight: Tensor<1>, epsilon: f64) -> Tensor<D> {
    let root_mean_square = (x.clone().square().mean_dim(D - 1) + epsilon).sqrt();
    (x / root_mean_square) * weight.unsqueeze()
}

/// [`select_rows`](crate::select_rows) from ordinary tensor operations.
pub fn select_rows<const D: usize>(x: Tensor<D>, rows: &RowIndices) -> Tensor<D> {
    let rows = rows.tensor(&x.device());
    x.select(0, rows)
}

/// [`matmul`](crate::matmul) from ordinary tensor operations.
pub fn matmul(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    a.matmul(b)
}

/// [`lora_linear`](crate::lora_linear) from ordinary tensor operations.
pub fn lora_linear(x: Tensor<2>, weight: Tensor<2>, a: Tensor<2>, b: Tensor<2>, scaling: f64) -> Tensor<2> {
    x.clone().matmul(weight) + x.matmul(a).matmul(b) * scaling
}

/// [`adamw`](crate::adamw) from ordinary tensor operations.
pub fn adamw<const D: usize>(
    parameter: Tensor<D>,
    gradient: Tensor<D>,
    [moment_1, moment_2]: [Tensor<D>; 2],
    step: &AdamWStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let &AdamWStep { learning_rate, beta_1, beta_2, epsilon, weight_decay, time } = step;
    let moment_1 = moment_1 * beta_1 + gradient.clone() * (1.0 - beta_1);
    let moment_2 = moment_2 * beta_2 + gradient.square() * (1.0 - beta_2);
    let mean = moment_1.clone() / (1.0 - beta_1.powi(time));
    let root_mean_square = (moment_2.clone() / (1.0 - beta_2.powi(time))).sqrt();
    let direction = mean / (root_mean_square + epsilon);
    let kept = parameter * (1.0 - learning_rate * f64::from(weight_decay));
    (kept - direction * learning_rate, [moment_1, moment_2])
}

/// [`rope`](crate::rope) from ordinary tensor operations.
pub fn rope(x: Tensor<4>, cos: Tensor<3>, sin: Tensor<3>) -> Tensor<4> {
    if x.shape().num_elements() == 0 {
        // A zero in the shapes below would mean something else.
        return x;
    }
    let half = x.dims()[3] / 2;
    let (cos, sin) = (cos.unsqueeze_dim::<4>(1), sin.unsqueeze_dim::<4>(1));
    let (first, second) = (x.clone().narrow(3, 0, half), x.narrow(3, half, half));
    let rotated_first = first.clone() * cos.clone() - second.clone() * sin.clone();
    let rotated_second = second * cos + first * sin;
    Tensor::cat(vec![rotated_first, rotated_second], 3)
}

/// Large enough to vanish in a softmax, finite so that a row without any visible key stays finite.
const MASKED: f64 = -1e30;

/// [`causal_attention`](crate::causal_attention) from ordinary tensor operations.
pub fn causal_attention(query: Tensor<4>, key: Tensor<4>, value: Tensor<4>, starts: &[usize]) -> Tensor<4> {
    let ([batch, heads, time, head_dim], [_, key_heads, key_time, _]) = (query.dims(), key.dims());
    if query.shape().num_elements() == 0 {
        // As above; the result has the query's shape.
        return query;
    }
    let device = query.device();
    let per_head = |x: Tensor<4>| match heads / key_heads {
        1 => x,
        group => x.unsqueeze_dim::<5>(2).repeat_dim(2, group).reshape([batch, heads, key_time, head_dim]),
    };
    let scores = query.matmul(per_head(key).swap_dims(2, 3)) / (head_dim as f64).sqrt();
    let future = Tensor::<2, Bool>::tril_mask([time, key_time], (key_time - time) as i64, &device);
    let mut hidden = future.reshape([1, 1, time, key_time]).expand([batch, 1, time, key_time]);
    if starts.iter().any(|&start| start > 0) {
        let starts: Vec<i64> = starts.iter().map(|&start| start as i64).collect();
        let starts = Tensor::<4, Int>::from_data(TensorData::new(starts, [batch, 1, 1, 1]), &device);
        let columns = Tensor::<1, Int>::arange(0..key_time as i64, &device).reshape([1, 1, 1, key_time]);
        let padding = columns.expand([batch, 1, 1, key_time]).lower(starts.expand([batch, 1, 1, key_time]));
        hidden = hidden.bool_or(padding.expand([batch, 1, time, key_time]));
    }
    softmax(scores.mask_fill(hidden.expand([batch, heads, time, key_time]), MASKED), 3)
        .matmul(per_head(value))
}

/// [`token_logprobs`](crate::token_logprobs) from ordinary tensor operations.
pub fn token_logprobs(
    hidden: Tensor<2>,
    vocabulary: Tensor<2>,
    tokens: Tensor<1, Int>,
    temperature: f64,
) -> (Tensor<1>, Tensor<1>) {
    let logprobs = log_softmax(hidden.matmul(vocabulary) / temperature, 1);
    let chosen = logprobs.clone().gather(1, tokens.unsqueeze_dim(1)).squeeze_dim(1);
    let entropies = (logprobs.clone().exp() * logprobs).sum_dim(1).neg().squeeze_dim(1);
    (chosen, entropies)
}
