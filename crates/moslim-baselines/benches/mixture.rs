//! Mixing policies in weight space; ids carry policies × weights.

use burn::module::Module;
use burn::tensor::Device;
use criterion::{Criterion, criterion_group, criterion_main};
use moslim_baselines::RewardedSoup;
use moslim_lm::{CausalLm, ModelConfig};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

fn mix(criterion: &mut Criterion) {
    let config = ModelConfig::small(300, 96, 256, 3, 4);
    let policy = |seed| CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(seed), &Device::default());
    let n_weights = policy(0).num_params();
    for n_policies in [2, 4] {
        let soup = RewardedSoup::new((0..n_policies).map(policy).collect()).expect("they have one shape");
        let shares = vec![1.0 / n_policies as f64; n_policies as usize];
        criterion.bench_function(&format!("mix/{n_policies}x{n_weights}"), |bencher| {
            bencher.iter(|| {
                let mixture = soup.mix(&shares).expect("the shares are a mixture");
                assert_eq!(mixture.num_params(), n_weights);
            });
        });
    }
}

criterion_group!(benches, mix);
criterion_main!(benches);
