//! Every fused operation against plain loops in f64: odd sizes, and inputs at the edge of what a model may hold.

use crate::reference::{self, AttentionShape, NOTHING, check_reference};
use crate::support::Sample;
use burn::tensor::{Device, Int, Tensor, TensorData};
use moslim_kernels::{Vocabulary, causal_attention, rms_norm, rope, swiglu, token_logprobs};

/// Neither the width of a register nor a multiple of it.
const ODD: [usize; 4] = [1, 3, 17, 33];

/// A sample for every kind of content: ordinary numbers, ± 80, the same number everywhere, and zeros.
fn samples(shape: [usize; 4], seed: u64) -> [(&'static str, Sample); 4] {
    let ordinary = Sample::new(shape, 2.0, seed);
    let filled = |number: f64| Sample { numbers: vec![number; ordinary.numbers.len()], shape };
    let extreme = ordinary.numbers.iter().map(|x| 80.0 * x.signum()).collect();
    [
        ("ordinary", ordinary.clone()),
        ("extreme", Sample { numbers: extreme, shape }),
        ("equal", filled(1.7)),
        ("zero", filled(0.0)),
    ]
}

#[test]
fn swiglu_is_accurate() {
    for n in ODD {
        let shape = [1, 2, 3, n];
        for (content, gate) in samples(shape, 1) {
            let inputs = [gate, Sample::new(shape, 2.0, 2)];
            let operation = |x: &[Tensor<4>]| swiglu(x[0].clone(), x[1].clone());
            check_reference(&format!("{content} {n}"), &[NOTHING; 2], operation, reference::swiglu, &inputs);
        }
    }
}

#[test]
fn rms_norm_is_accurate() {
    for (n_rows, width) in ODD.into_iter().flat_map(|n_rows| ODD.map(|width| (n_rows, width))) {
        for (content, x) in samples([1, 1, n_rows, width], 3) {
            let inputs = [x, Sample::new([1, 1, 1, width], 1.0, 4)];
            let operation = |x: &[Tensor<4>]| rms_norm(x[0].clone(), x[1].clone().reshape([-1]), 1e-2);
            let reference = |x: &[Vec<f64>]| reference::rms_norm(x, 1e-2);
            check_reference(
                &format!("{content} {n_rows}x{width}"),
                &[1.0 / 80.0, 1.0],
                operation,
                reference,
                &inputs,
            );
        }
    }
}

#[test]
fn rope_is_accurate() {
    for shape in [[1, 1, 1, 2], [3, 1, 17, 6], [1, 3, 3, 34], [2, 5, 1, 66]] {
        let [batch, _, time, head_dim] = shape;
        let table = [batch, time, head_dim / 2];
        // As 32-bit numbers, in which the kernel gets cosines and sines of them.
        let angles = Sample::new([1, batch, time, head_dim / 2], 3.0, 5).numbers;
        let tensor = |f: fn(f64) -> f64| {
            let values: Vec<f64> = angles.iter().copied().map(f).collect();
            Tensor::<3>::from_data(TensorData::new(values, table), &Device::flex())
        };
        for (content, x) in samples(shape, 6) {
            let operation = |x: &[Tensor<4>]| rope(x[0].clone(), tensor(f64::cos), tensor(f64::sin));
            let reference = |x: &[Vec<f64>]| reference::rope(x, shape, &angles);
            check_reference(&format!("{content} {shape:?}"), &[NOTHING], operation, reference, &[x]);
        }
    }
}

/// `keys` in `[batch, heads, time, head_dim]`, as the first part of a cache with more room.
fn cached(keys: Tensor<4>) -> Tensor<4> {
    let [batch, heads, time, head_dim] = keys.dims();
    let room = Tensor::full([batch, heads, 5, head_dim], 1e3, (&keys.device(), keys.dtype()));
    Tensor::cat(vec![keys, room], 2).narrow(2, 0, time)
}

/// Every content of queries and keys; `± 80` stands in the scores then.
fn check_attention([batch, heads, key_heads, time, key_time, head_dim]: [usize; 6], starts: &[usize]) {
    let shape = AttentionShape { batch, heads, key_heads, time, key_time, head_dim };
    let key_shape = [batch, key_heads, key_time, head_dim];
    // Queries and keys of ± √80 / ⁴√head_dim: a score of equal signs is 80.
    let to_score = |content: &str, x: Sample| match content {
        "extreme" => {
            let factor = 80f64.powf(-0.5) * (head_dim as f64).powf(-0.25);
            Sample { numbers: x.numbers.iter().map(|x| x * factor).collect(), ..x }
        }
        _ => x,
    };
    let queries = samples([batch, heads, time, head_dim], 7);
    for ((content, query), (_, key)) in queries.into_iter().zip(samples(key_shape, 8)) {
        let inputs = [to_score(content, query), to_score(content, key), Sample::new(key_shape, 1.0, 9)];
        let operation = |x: &[Tensor<4>]| {
            causal_attention(x[0].clone(), cached(x[1].clone()), cached(x[2].clone()), starts)
        };
        let reference = |x: &[Vec<f64>]| reference::causal_attention(x, shape, starts);
        check_reference(
            &format!("{content} {shape:?} from {starts:?}"),
            &[1.0, 1.0, NOTHING],
            operation,
            reference,
            &inputs,
        );
    }
}

#[test]
fn attention_is_accurate() {
    check_attention([1, 1, 1, 1, 1, 1], &[]);
    check_attention([2, 3, 1, 3, 3, 3], &[]);
    check_attention([1, 2, 2, 17, 17, 17], &[]);
    check_attention([1, 3, 3, 33, 35, 9], &[]);
}

#[test]
fn attention_over_a_cache_is_accurate() {
    for n_keys in ODD {
        check_attention([2, 2, 1, 1, n_keys, 17], &[]);
        check_attention([1, 1, 1, 1, n_keys, 33], &[]);
        check_attention([2, 1, 1, 1, n_keys, 24], &[n_keys / 2, 0]);
    }
    check_attention([2, 4, 2, 3, 20, 32], &[]);
    check_attention([1, 1, 1, 7, 9, 64], &[]);
}

/// Queries before the start of their row, all of them in rows that start at the end: zeros, and no gradient.
#[test]
fn attention_of_padding_is_accurate() {
    check_attention([3, 2, 1, 5, 5, 3], &[0, 5, 2]);
    check_attention([2, 2, 2, 17, 17, 5], &[17, 16]);
    check_attention([3, 2, 2, 1, 9, 8], &[9, 8, 0]);
    check_attention([2, 1, 1, 9, 33, 4], &[33, 30]);
}

/// `[n_tokens, d, n_vocabulary]`.
fn check_logprobs([n_tokens, d, n_vocabulary]: [usize; 3], is_tied: bool, temperature: f64) {
    let tokens: Vec<usize> = (0..n_tokens).map(|i| i * 31 % n_vocabulary).collect();
    let vocabulary_shape = if is_tied { [1, 1, n_vocabulary, d] } else { [1, 1, d, n_vocabulary] };
    for (content, hidden) in samples([1, 1, n_tokens, d], 10) {
        let operation = |x: &[Tensor<4>]| {
            let [hidden, vocabulary] = [0, 1].map(|i| x[i].clone().squeeze_dims::<2>(&[0, 1]));
            let vocabulary = if is_tied { Vocabulary::Embedding(vocabulary) } else { vocabulary.into() };
            let tokens: Vec<i64> = tokens.iter().map(|&token| token as i64).collect();
            let tokens = Tensor::<1, Int>::from_data(TensorData::new(tokens, [n_tokens]), &Device::flex());
            let (logprobs, entropies) = token_logprobs(hidden, vocabulary, tokens, temperature);
            Tensor::stack::<2>(vec![logprobs, entropies], 1).unsqueeze::<4>()
        };
        // Hidden states of ± 80 by entries of ± 1 / d: logits of up to ± 80.
        let scale = if content == "extreme" { 1.0 / d as f64 } else { 1.0 };
        let inputs = [hidden, Sample::new(vocabulary_shape, scale, 11)];
        let reference = |x: &[Vec<f64>]| reference::token_logprobs(x, d, &tokens, is_tied, temperature);
        let what = format!("{content} {n_tokens}x{d}x{n_vocabulary} tied {is_tied}");
        check_reference(&what, &[NOTHING; 2], operation, reference, &inputs);
    }
}

#[test]
fn token_logprobs_are_accurate() {
    for is_tied in [false, true] {
        check_logprobs([1, 1, 1], is_tied, 1.0);
        check_logprobs([3, 1, 2], is_tied, 1.0);
        check_logprobs([17, 3, 33], is_tied, 1.0);
        check_logprobs([1, 33, 17], is_tied, 0.7);
        check_logprobs([33, 17, 3], is_tied, 1.3);
    }
}
