//! Mixes two untrained policies and shows how a logit moves from one to the other.

use burn::tensor::Device;
use moslim_baselines::RewardedSoup;
use moslim_lm::{CausalLm, ModelConfig, Padding};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

#[allow(clippy::print_stdout)]
fn main() -> Result<(), moslim_baselines::SoupError> {
    let device = Device::default();
    let config = ModelConfig::small(10, 16, 32, 1, 2);
    let policy = |seed| CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(seed), &device);
    let soup = RewardedSoup::new(vec![policy(1), policy(2)])?;
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let logits = soup.mix(&[1.0 - share, share])?.logits(&[&[1, 2, 3]], Padding::Right, None);
        let logit: f32 = logits.slice([2..3, 0..1]).into_scalar();
        println!("share of the second policy {share:.2}: first logit {logit:+.4}");
    }
    Ok(())
}
