//! Results and gradients have the same bits for any number of threads.

use crate::support::Sample;
use burn::tensor::{Device, Int, Tensor, TensorData};
use moslim_kernels::{causal_attention, rms_norm, rope, swiglu, token_logprobs};
use rayon::ThreadPoolBuilder;

/// All operations in a row, large enough that every one of them is split: the bits of outputs and gradients.
fn bits() -> Vec<u32> {
    let device = Device::flex().autodiff();
    let leaf = |shape: [usize; 4], seed| {
        let sample = Sample::new(shape, 1.0, seed);
        Tensor::<4>::from_data(TensorData::new(sample.numbers, sample.shape), &device).require_grad()
    };
    let [query, key, value] = [leaf([6, 4, 130, 24], 1), leaf([6, 2, 130, 24], 2), leaf([6, 2, 130, 24], 3)];
    let (weight, vocabulary) = (leaf([1, 1, 1, 96], 4), leaf([1, 1, 96, 301], 5));
    let (cos, sin) = (leaf([1, 6, 130, 12], 6).squeeze_dim(0), leaf([1, 6, 130, 12], 7).squeeze_dim(0));
    let attended =
        causal_attention(rope(query.clone(), cos, sin), key.clone(), value.clone(), &[0, 3, 9, 0, 1, 2]);
    let rows = attended.swap_dims(1, 2).reshape([6 * 130, 96]);
    let normed = rms_norm(rows.clone(), weight.clone().reshape([96]), 1e-5);
    let tokens = Tensor::<1, Int>::arange(0..6 * 130, &device) % 301;
    let hidden = swiglu(normed, rows);
    let (logprobs, entropies) = token_logprobs(hidden, vocabulary.clone().reshape([96, 301]), tokens, 0.9);
    let gradients = (logprobs.clone().sum() + entropies.clone().square().sum()).backward();
    let mut results = vec![logprobs.into_data(), entropies.into_data()];
    results.extend(
        [query, key, value, weight, vocabulary]
            .map(|leaf| leaf.grad(&gradients).expect("a gradient").into_data()),
    );
    results.iter().flat_map(|data| data.iter::<f32>().map(f32::to_bits).collect::<Vec<_>>()).collect()
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    let with_threads = |n_threads| {
        let pool = ThreadPoolBuilder::new().num_threads(n_threads).build().expect("a thread pool");
        pool.install(bits)
    };
    let expected = with_threads(1);
    assert!(expected.len() > 100_000);
    for n_threads in [2, 3, 5] {
        assert!(with_threads(n_threads) == expected, "{n_threads} threads");
    }
}
