//! Soups of low-rank adapters.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::Tensor;
use moslim_lm::{CausalLm, LoraFactors};

use super::{SoupError, check_lambda};
use crate::Mode;

/// Policies that are adapters on one base, each trained for one reward; weights that training changed beside the adapter
/// (`modules_to_save`) count as another base.
///
/// [`Mode::Paper`], *delta*: the mean of what the adapters add, `ΔW = Σ_i λ_i s_i A_i B_i`, which is that of the merged weights.
/// It is exact without touching the base: the factors stand side by side,
/// `A = [A_1 | A_2 | …]` and `B = [λ_1 s_1 B_1; λ_2 s_2 B_2; …]`, at the sum of the ranks.
/// Ranks, scales and maps may differ.
///
/// [`Mode::ReleasedCode`], *factors*: `A = Σ_i λ_i A_i` and `B = Σ_i λ_i B_i`, as in the code of Rewarded Soups and of
/// Personalized Soups; their product has cross terms `λ_i λ_j A_i B_j`, and a single adapter counts `λ_i²`.
pub struct LoraSoup {
    base: CausalLm,
    adapters: Vec<Vec<LoraFactors>>,
    mode: Mode,
}

impl LoraSoup {
    /// Takes the policies, in the order in which weights will name them; their bases are compared weight by weight.
    ///
    /// # Errors
    /// If there is none, one has no adapter or another base than the first,
    /// or the released code's mode is asked for while maps, ranks or scales differ.
    pub fn new(policies: &[CausalLm], mode: Mode) -> Result<Self, SoupError> {
        // Mixtures do not learn, so what they are made of has no gradients.
        let policies: Vec<CausalLm> = policies.iter().map(CausalLm::valid).collect();
        let base = policies.first().ok_or(SoupError::Empty)?.without_adapter();
        let adapters: Vec<Vec<LoraFactors>> = policies.iter().map(CausalLm::lora_factors).collect();
        if let Some(bare) = adapters.iter().position(Vec::is_empty) {
            return Err(SoupError::NoAdapter(bare));
        }
        let prints = fingerprints(&base);
        if let Some(other) =
            policies.iter().position(|policy| fingerprints(&policy.without_adapter()) != prints)
        {
            return Err(SoupError::Base(other));
        }
        if mode == Mode::ReleasedCode {
            for (policy, factors) in adapters.iter().enumerate() {
                if let Some(map) = first_difference(&adapters[0], factors) {
                    return Err(SoupError::Factors { policy, map });
                }
            }
        }
        Ok(Self { base, adapters, mode })
    }

    /// The policy with the adapter of θ(λ); the base's weights are shared with the policies', not copied.
    ///
    /// # Errors
    /// If there is not one weight per policy, a weight is negative or not finite, or they do not sum to 1 within 1e-6.
    pub fn mix(&self, lambda: &[f64]) -> Result<CausalLm, SoupError> {
        check_lambda(lambda, self.adapters.len())?;
        // A map that only some adapters have comes where it first appears.
        let mut maps: Vec<(&str, Vec<(f64, &LoraFactors)>)> = Vec::new();
        for (adapter, &share) in self.adapters.iter().zip(lambda).filter(|&(_, &share)| share > 0.0) {
            for factors in adapter {
                match maps.iter_mut().find(|(map, _)| *map == factors.map) {
                    Some((_, parts)) => parts.push((share, factors)),
                    None => maps.push((&factors.map, vec![(share, factors)])),
                }
            }
        }
        let mixture = maps.into_iter().filter_map(|(map, parts)| match self.mode {
            Mode::Paper => delta(map, &parts),
            Mode::ReleasedCode => mean_of_factors(map, &parts),
        });
        Ok(self.base.with_lora_factors(mixture.collect()))
    }
}

/// `Σ_i λ_i s_i A_i B_i` as the product of stacked factors; `None` if nothing is added.
fn delta(map: &str, parts: &[(f64, &LoraFactors)]) -> Option<LoraFactors> {
    let parts: Vec<_> = parts.iter().filter(|(_, factors)| factors.scaling != 0.0).collect();
    // The scale of the first stays outside, so that one adapter alone keeps its factors to the bit.
    let scaling = parts.first()?.1.scaling;
    let a = parts.iter().map(|(_, factors)| factors.a.clone().detach()).collect();
    let b = parts
        .iter()
        .map(|(share, factors)| factors.b.clone().detach() * (share * (factors.scaling / scaling)));
    Some(LoraFactors { map: map.into(), a: Tensor::cat(a, 1), b: Tensor::cat(b.collect(), 0), scaling })
}

/// `Σ_i λ_i A_i` and `Σ_i λ_i B_i`.
fn mean_of_factors(map: &str, parts: &[(f64, &LoraFactors)]) -> Option<LoraFactors> {
    let mean = |factor: fn(&LoraFactors) -> Tensor<2>| {
        parts.iter().map(|(share, factors)| factor(factors).detach() * *share).reduce(|sum, part| sum + part)
    };
    let scaling = parts.first()?.1.scaling;
    let (a, b) = (mean(|factors| factors.a.clone())?, mean(|factors| factors.b.clone())?);
    Some(LoraFactors { map: map.into(), a, b, scaling })
}

/// The first map in which two adapters have other ranks or scales, or which only one of them has.
fn first_difference(one: &[LoraFactors], other: &[LoraFactors]) -> Option<String> {
    let kind = |factors: &LoraFactors| (factors.map.clone(), factors.a.dims(), factors.scaling);
    let differs = |index: &usize| one.get(*index).map(kind) != other.get(*index).map(kind);
    let index = (0..one.len().max(other.len())).find(differs)?;
    other.get(index).or(one.get(index)).map(|factors| factors.map.clone())
}

/// The shape and a hash of every weight, which two models share if their weights are equal.
fn fingerprints(model: &CausalLm) -> Vec<(Vec<usize>, u64)> {
    struct Hash(Vec<(Vec<usize>, u64)>);
    impl ModuleVisitor for Hash {
        fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
            let data = parameter.val().into_data();
            let mut hasher = DefaultHasher::new();
            hasher.write(data.as_bytes());
            self.0.push((data.shape().to_vec(), hasher.finish()));
        }
    }
    let mut hash = Hash(Vec::new());
    model.visit(&mut hash);
    hash.0
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::{Device, Distribution};
    use moslim_lm::{LoraConfig, ModelConfig, Padding, TargetModules};
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::super::RewardedSoup;
    use super::super::tests::values;
    use super::*;

    fn base(seed: u64) -> CausalLm {
        let config = ModelConfig::small(9, 8, 12, 2, 2);
        CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(seed), &Device::default())
    }

    /// A policy as training leaves it: both factors are full of numbers.
    fn adapted(base: &CausalLm, seed: u64, r: usize, alpha: f64, maps: &[&str]) -> CausalLm {
        let names = TargetModules::Names(maps.iter().map(ToString::to_string).collect());
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let config = LoraConfig::new(r, alpha, names);
        let policy = base.clone().with_adapter(&config, &mut rng, Path::new("a")).unwrap();
        let mut factors = policy.lora_factors();
        for factors in &mut factors {
            factors.b = factors.b.random_like(Distribution::Normal(0.0, 0.5));
        }
        base.with_lora_factors(factors)
    }

    fn logits(model: &CausalLm) -> Vec<f32> {
        model.logits(&[&[1, 2, 3, 4]], Padding::Right, None).into_data().try_to_vec().unwrap()
    }

    #[track_caller]
    fn assert_close(found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len());
        let far = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-5, "{far}");
    }

    /// Scalars A = 1, 3 and B = 2, −1 at λ = ½: the mean of the products is −0.5, the product of the means 1.
    #[test]
    fn known_scalars() {
        let device = Device::default();
        let scalar = |value: f32| Tensor::<2>::from_data([[value]], &device);
        let factors = |a, b| LoraFactors { map: "m".into(), a: scalar(a), b: scalar(b), scaling: 1.0 };
        let (one, other) = (factors(1.0, 2.0), factors(3.0, -1.0));
        let parts = [(0.5, &one), (0.5, &other)];
        let product = |mixture: Option<LoraFactors>| {
            let LoraFactors { a, b, scaling, .. } = mixture.unwrap();
            f64::from(a.matmul(b).into_scalar::<f32>()) * scaling
        };
        assert_eq!(product(delta("m", &parts)), -0.5);
        assert_eq!(product(mean_of_factors("m", &parts)), 1.0);
    }

    #[test]
    fn delta_is_the_mean_of_the_merged_weights() {
        let base = base(1);
        // Ranks, scales and maps differ.
        let policies = [
            adapted(&base, 2, 2, 4.0, &["q_proj", "up_proj"]),
            adapted(&base, 3, 3, 1.5, &["q_proj", "down_proj"]),
            adapted(&base, 4, 1, 3.0, &["v_proj"]),
        ];
        let soup = LoraSoup::new(&policies, Mode::Paper).unwrap();
        let merged = RewardedSoup::new(policies.iter().map(CausalLm::merged).collect()).unwrap();
        for lambda in [[0.2, 0.5, 0.3], [0.0, 0.4, 0.6], [1.0 / 3.0; 3]] {
            let mixture = soup.mix(&lambda).unwrap();
            assert_close(&values(&mixture.merged()), &values(&merged.mix(&lambda).unwrap()));
            assert_close(&logits(&mixture), &logits(&merged.mix(&lambda).unwrap()));
        }
    }

    #[test]
    fn policies_are_mixed_as_they_come_from_training() {
        let base = base(1);
        let policies = [5, 6].map(|seed| adapted(&base, seed, 2, 4.0, &["q_proj"]));
        let trained = policies.clone().map(CausalLm::train);
        for mode in [Mode::Paper, Mode::ReleasedCode] {
            let [mixture, expected] = [&trained, &policies]
                .map(|policies| logits(&LoraSoup::new(policies, mode).unwrap().mix(&[0.5, 0.5]).unwrap()));
            assert_eq!(mixture, expected, "{mode:?}");
        }
    }

    #[test]
    fn one_adapter_alone_is_itself() {
        let base = base(1);
        let policies = [5, 6].map(|seed| adapted(&base, seed, 2, 4.0, &["q_proj", "o_proj"]));
        for mode in [Mode::Paper, Mode::ReleasedCode] {
            let soup = LoraSoup::new(&policies, mode).unwrap();
            for (lambda, policy) in [[1.0, 0.0], [0.0, 1.0]].iter().zip(&policies) {
                assert_eq!(values(&soup.mix(lambda).unwrap()), values(policy), "{mode:?}");
                assert_eq!(logits(&soup.mix(lambda).unwrap()), logits(policy), "{mode:?}");
            }
        }
        // An adapter of scale 0 adds nothing.
        let silent = adapted(&base, 7, 2, 0.0, &["q_proj", "o_proj"]);
        let soup = LoraSoup::new(&[silent, policies[1].clone()], Mode::Paper).unwrap();
        assert_eq!(logits(&soup.mix(&[1.0, 0.0]).unwrap()), logits(&base));
        let half = LoraSoup::new(&policies[1..], Mode::Paper).unwrap().base.with_lora_factors(
            policies[1]
                .lora_factors()
                .into_iter()
                .map(|f| LoraFactors { scaling: f.scaling / 2.0, ..f })
                .collect(),
        );
        assert_close(&logits(&soup.mix(&[0.5, 0.5]).unwrap()), &logits(&half));
        // Factors of both stand side by side.
        let quarter = LoraSoup::new(&policies, Mode::Paper).unwrap().mix(&[0.25, 0.75]).unwrap();
        assert_eq!(quarter.lora_factors()[0].a.dims(), [8, 4]);
    }

    #[test]
    fn the_released_code_adds_cross_terms() {
        let base = base(1);
        let policies = [5, 6].map(|seed| adapted(&base, seed, 2, 4.0, &["q_proj"]));
        let [delta, factors] = [Mode::Paper, Mode::ReleasedCode]
            .map(|mode| LoraSoup::new(&policies, mode).unwrap().mix(&[0.5, 0.5]).unwrap());
        assert_ne!(logits(&delta), logits(&factors));
        let [one, other] = [&policies[0], &policies[1]].map(|policy| policy.lora_factors().remove(0));
        let mixed = factors.lora_factors().remove(0);
        assert_eq!(mixed.a.dims(), one.a.dims());
        let expected = (one.a + other.a).matmul(one.b + other.b) * 0.25;
        let vector = |tensor: Tensor<2>| tensor.into_data().try_to_vec::<f32>().unwrap();
        assert_close(&vector(mixed.a.matmul(mixed.b)), &vector(expected));
    }

    #[test]
    fn adapters_of_other_kinds_are_refused() {
        let (here, there) = (base(1), base(2));
        let error = |policies: &[&CausalLm], mode| {
            let policies: Vec<CausalLm> = policies.iter().map(|&policy| policy.clone()).collect();
            LoraSoup::new(&policies, mode).err()
        };
        let one = adapted(&here, 2, 2, 4.0, &["q_proj"]);
        let elsewhere = adapted(&there, 3, 2, 4.0, &["q_proj"]);
        assert_eq!(error(&[], Mode::Paper), Some(SoupError::Empty));
        assert_eq!(error(&[&one, &here], Mode::Paper), Some(SoupError::NoAdapter(1)));
        assert_eq!(error(&[&one, &elsewhere], Mode::Paper), Some(SoupError::Base(1)));
        assert_eq!(RewardedSoup::new(vec![here.clone(), one.clone()]).err(), Some(SoupError::Adapter(1)));
        for other in [(3, 6.0, ["q_proj"]), (2, 5.0, ["q_proj"]), (2, 4.0, ["k_proj"])] {
            let (r, alpha, maps) = other;
            let other = adapted(&here, 4, r, alpha, &maps);
            assert_eq!(error(&[&one, &other], Mode::Paper), None);
            let map = format!("model.layers.0.self_attn.{}", maps[0]);
            assert_eq!(
                error(&[&one, &other], Mode::ReleasedCode),
                Some(SoupError::Factors { policy: 1, map })
            );
        }
        let soup = LoraSoup::new(&[one.clone(), one], Mode::Paper).unwrap();
        assert_eq!(soup.mix(&[1.0]).err(), Some(SoupError::Length { found: 1, expected: 2 }));
        assert!(matches!(soup.mix(&[0.5, 0.6]).err(), Some(SoupError::Weights(_))));
    }
}
