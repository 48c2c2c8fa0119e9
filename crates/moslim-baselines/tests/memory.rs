//! What soups take of memory, as the allocator of this test counts it.

use std::alloc::System;
use std::path::Path;

use burn::tensor::Device;
use cap::Cap;
use moslim_baselines::{LoraSoup, Mode};
use moslim_lm::{CausalLm, LoraConfig, ModelConfig, TargetModules};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, usize::MAX);

#[test]
fn a_sweep_over_lambda_does_not_copy_the_base() {
    let config = ModelConfig::small(1000, 128, 256, 2, 4);
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let before = ALLOCATOR.allocated();
    let base = CausalLm::new(&config, &mut rng, &Device::default());
    let of_base = ALLOCATOR.allocated() - before;
    let adapter = LoraConfig::new(2, 4.0, TargetModules::Names(vec!["q_proj".into()]));
    let policies = [(); 2].map(|()| base.clone().with_adapter(&adapter, &mut rng, Path::new("a")).unwrap());
    for mode in [Mode::Paper, Mode::ReleasedCode] {
        let soup = LoraSoup::new(&policies, mode).unwrap();
        let before = ALLOCATOR.allocated();
        let sweep: Vec<CausalLm> = (0..=10)
            .map(|tenth| {
                let share = f64::from(tenth) / 10.0;
                soup.mix(&[1.0 - share, share]).unwrap()
            })
            .collect();
        let of_sweep = ALLOCATOR.allocated() - before;
        assert!(of_sweep < of_base / 5, "{} mixtures in {of_sweep} bytes, a base is {of_base}", sweep.len());
    }
}
