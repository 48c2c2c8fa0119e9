//! The factors of an adapter, for who makes an adapter of adapters.

use burn::module::Param;
use burn::nn;
use burn::tensor::Tensor;

use crate::CausalLm;
use crate::linear::LowRank;

/// The factors of the adapter beside one linear map, to whose output it adds `s·(x·A)·B`.
#[derive(Clone, Debug)]
pub struct LoraFactors {
    /// The map, such as `model.layers.0.self_attn.q_proj`.
    pub map: String,
    /// A. `[d_in, r]`
    pub a: Tensor<2>,
    /// B. `[r, d_out]`
    pub b: Tensor<2>,
    /// s
    pub scaling: f64,
}

impl CausalLm {
    /// The factors of the model's adapter, in the order of its maps; empty without one.
    pub fn lora_factors(&self) -> Vec<LoraFactors> {
        let mut model = self.clone();
        let factors = model.linears_mut().into_iter().filter_map(|(map, linear)| {
            let LowRank { a, b, scaling } = linear.lora.as_ref()?;
            Some(LoraFactors { map, a: a.weight.val(), b: b.weight.val(), scaling: *scaling })
        });
        factors.collect()
    }

    /// The model with these factors as its only adapter; the base's weights are shared with `self`, not copied.
    ///
    /// # Panics
    /// If the model has no such map, two factors are for one map, or factors do not fit their map.
    pub fn with_lora_factors(&self, factors: Vec<LoraFactors>) -> Self {
        let mut model = self.without_adapter();
        let mut maps = model.linears_mut();
        for LoraFactors { map, a, b, scaling } in factors {
            let Some((_, linear)) = maps.iter_mut().find(|(name, _)| *name == map) else {
                panic!("{map}: no such linear map");
            };
            let ([d_in, d_out], a_shape, b_shape) = (linear.weight.dims(), a.dims(), b.dims());
            let fits = a_shape[0] == d_in && b_shape[1] == d_out && a_shape[1] == b_shape[0];
            assert!(fits, "{map}: factors {a_shape:?} and {b_shape:?} beside a map {:?}", [d_in, d_out]);
            assert!(linear.lora.is_none(), "{map}: factors given twice");
            let factor = |weight| nn::Linear { weight: Param::from_tensor(weight), bias: None };
            linear.lora = Some(LowRank { a: factor(a), b: factor(b), scaling });
        }
        drop(maps);
        model
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::tensor::Device;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;
    use crate::{LoraConfig, ModelConfig, Padding, TargetModules};

    #[test]
    fn factors_are_taken_off_and_put_on() {
        let config = ModelConfig::small(9, 8, 12, 1, 2);
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let base = CausalLm::new(&config, &mut rng, &Device::default());
        assert!(base.lora_factors().is_empty());
        let adapter = LoraConfig::new(2, 6.0, TargetModules::Names(vec!["q_proj".into(), "up_proj".into()]));
        let model = base.clone().with_adapter(&adapter, &mut rng, Path::new("a")).unwrap();
        let mut factors = model.lora_factors();
        let maps: Vec<&str> = factors.iter().map(|factors| factors.map.as_str()).collect();
        assert_eq!(maps, ["model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj"]);
        assert_eq!((factors[1].a.dims(), factors[1].b.dims(), factors[1].scaling), ([8, 2], [2, 12], 3.0));

        let logits = |model: &CausalLm| {
            model.logits(&[&[1, 2, 3]], Padding::Right, None).into_data().try_to_vec::<f32>().unwrap()
        };
        factors.iter_mut().for_each(|factors| factors.b = factors.b.ones_like());
        let changed = base.with_lora_factors(factors);
        assert_ne!(logits(&changed), logits(&base));
        assert_eq!(logits(&base.with_lora_factors(changed.lora_factors())), logits(&changed));
        // What was on before is gone.
        assert_eq!(logits(&changed.with_lora_factors(vec![])), logits(&base));
    }
}
