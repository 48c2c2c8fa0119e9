//! The numbers that products are computed in.

use burn::tensor::{FloatDType, Tensor};
use moslim_kernels::matmul;
use serde::{Deserialize, Serialize};

use crate::{CausalLm, Decoder};

/// The numbers in which the maps of a model's layers are computed.
///
/// Weights that are trained have 32 bits in both cases, and so have norms, attention, the vocabulary matrix, softmax and losses:
/// only the products of the layers' matrices, nearly all the work of a large model, are computed with 16 bits.
/// That is what `bf16=True` means to transformers' `Trainer`, but for the vocabulary, whose rounding would part the
/// log-probabilities of sampling from those of training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// IEEE 754 binary32.
    #[default]
    F32,
    /// bfloat16: the range of `F32` with 8 bits of significand; on back ends that have it. The CPU's is slower than `F32`.
    Bf16,
}

impl Decoder {
    /// A copy whose maps are computed in this precision; gradients still reach the weights it was made of.
    pub fn in_precision(&self, precision: Precision) -> Self {
        let mut copy = self.clone();
        if precision == Precision::Bf16 {
            for (_, linear) in copy.linears_mut() {
                linear.weight = linear.weight.clone().map(|weight| weight.cast(FloatDType::BF16));
            }
        }
        copy
    }
}

impl CausalLm {
    /// A copy whose maps are computed in this precision; see [`Decoder::in_precision`].
    pub fn in_precision(&self, precision: Precision) -> Self {
        Self { model: self.model.in_precision(precision), ..self.clone() }
    }
}

/// `x·W`, computed in the precision of `W`; the result has 32 bits.
///
/// # Shapes
/// - `x`: `[n, d_in]`, `weight`: `[d_in, d_out]`, `bias`: `[d_out]`, returns: `[n, d_out]`
pub(crate) fn linear(x: Tensor<2>, weight: Tensor<2>, bias: Option<Tensor<1>>) -> Tensor<2> {
    let product = match weight.dtype() == x.dtype() {
        true => matmul(x, weight),
        false => x.cast(weight.dtype()).matmul(weight).cast(FloatDType::F32),
    };
    match bias {
        Some(bias) => product + bias.unsqueeze(),
        None => product,
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use burn::module::Module;
    use burn::tensor::{DType, Device};
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;
    use crate::{
        Exchange, ModelConfig, Optimizer, OptimizerConfig, Padding, load_weights, response_logprobs,
        sft_gradients,
    };

    fn model(name: &str) -> CausalLm {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
        let config = ModelConfig::read(&folder.join("config.json")).unwrap();
        let rng = &mut ChaCha8Rng::seed_from_u64(0);
        let mut model = CausalLm::new(&config, rng, &Device::flex().autodiff());
        load_weights(&mut model, &folder).unwrap();
        model
    }

    fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
        assert_eq!(tensor.dtype(), DType::F32);
        tensor.into_data().try_to_vec().unwrap()
    }

    const PROMPT: [u32; 3] = [5, 9, 2];
    const RESPONSE: [u32; 6] = [7, 11, 3, 20, 4, 8];
    const EXCHANGES: [Exchange<'static>; 2] = [
        Exchange { prompt: &PROMPT, response: &RESPONSE },
        Exchange { prompt: &RESPONSE, response: &PROMPT },
    ];

    #[test]
    fn products_lose_no_more_than_sixteen_bits_do() {
        for name in ["tiny-llama3", "tiny-mistral", "tiny-qwen2", "tiny-qwen3"] {
            let model = model(name).valid();
            let [exact, rounded] = [Precision::F32, Precision::Bf16].map(|precision| {
                let model = model.in_precision(precision);
                values(model.logits(&[&RESPONSE], Padding::Right, None))
            });
            let scale = exact.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
            let most = exact.iter().zip(&rounded).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / scale;
            // A rounding is at most 2⁻⁹ of a value; there are two layers of seven maps.
            assert!(most > 1e-5 && most < 0.03, "{name}: {most} of the largest logit");
        }
    }

    #[test]
    fn gradients_reach_the_master_weights_in_full_precision() {
        let model = model("tiny-qwen2");
        let [(exact, loss), (rounded, rounded_loss)] = [Precision::F32, Precision::Bf16]
            .map(|precision| sft_gradients(&model, &EXCHANGES, 1, precision));
        assert!((loss - rounded_loss).abs() / loss < 0.01, "{loss} and {rounded_loss}");
        assert_eq!(exact.len(), rounded.len());
        let mut angles = Vec::new();
        let mut copy = model;
        for (name, linear) in copy.linears_mut() {
            let of = |gradients: &burn::optim::GradientsParams| {
                values(gradients.get::<2>(linear.weight.id).unwrap())
            };
            let (exact, rounded) = (of(&exact), of(&rounded));
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            let cosine = dot(&exact, &rounded) / (dot(&exact, &exact) * dot(&rounded, &rounded)).sqrt();
            assert!(exact != rounded && cosine > 0.995, "{name}: {cosine}");
            angles.push(cosine);
        }
        assert_eq!(angles.len(), 14);
    }

    #[test]
    fn steps_smaller_than_a_rounding_add_up_in_the_master_weights() {
        let config = OptimizerConfig { adam_beta2: 0.95, ..OptimizerConfig::new(1e-5) };
        let loss = |precision: Precision| {
            let mut optimizer = Optimizer::new(config.clone(), 60);
            let mut model = model("tiny-llama3");
            for _ in 0..60 {
                let (gradients, _) = sft_gradients(&model, &EXCHANGES, 2, precision);
                model = optimizer.step(model, gradients).0;
            }
            let logprobs = response_logprobs(&model.valid(), &EXCHANGES, 1.0).logprobs;
            values(logprobs).iter().sum::<f32>()
        };
        let start = values(response_logprobs(&model("tiny-llama3").valid(), &EXCHANGES, 1.0).logprobs);
        let start: f32 = start.iter().sum();
        let [exact, rounded] = [Precision::F32, Precision::Bf16].map(loss);
        let gained = (rounded - start) / (exact - start);
        assert!(exact > start && (gained - 1.0).abs() < 0.05, "{start}, {exact}, {rounded}");
    }
}
