//! Decodes one token after the other over a pre-allocated cache and compares with the whole sequence at once.
//!
//! `cargo run --release --example attention_over_a_cache`

use burn::tensor::{Device, Distribution, Tensor};
use moslim_kernels::causal_attention;

fn main() {
    let device = Device::flex();
    let (batch, heads, time, head_dim) = (2, 4, 16, 24);
    // The second row has three positions of padding on the left.
    let starts = [0, 3];
    let [query, key, value] = [(); 3].map(|()| {
        Tensor::<4>::random([batch, heads, time, head_dim], Distribution::Normal(0.0, 1.0), &device)
    });
    let whole = causal_attention(query.clone(), key.clone(), value.clone(), &starts);

    let max_time = 64;
    let mut key_cache = Tensor::<4>::zeros([batch, heads, max_time, head_dim], &device);
    let mut value_cache = key_cache.clone();
    for position in 0..time {
        let new = [0..batch, 0..heads, position..position + 1, 0..head_dim];
        key_cache = key_cache.slice_assign(new.clone(), key.clone().slice(new.clone()));
        value_cache = value_cache.slice_assign(new.clone(), value.clone().slice(new.clone()));
        // The filled part of the cache is a view: nothing is copied.
        let filled = |cache: &Tensor<4>| cache.clone().narrow(2, 0, position + 1);
        let one = causal_attention(
            query.clone().slice(new.clone()),
            filled(&key_cache),
            filled(&value_cache),
            &starts,
        );
        let difference = (one - whole.clone().slice(new)).abs().max().into_scalar::<f32>();
        assert!(difference < 1e-5, "position {position} differs by {difference}");
    }
    assert!(whole.abs().max().into_scalar::<f32>() > 0.1, "attention gives more than zeros");
}
