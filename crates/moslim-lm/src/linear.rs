//! Linear maps that may have a low-rank adapter beside them.

use burn::module::{Module, Param};
use burn::nn;
use burn::tensor::{FloatDType, Tensor};
use moslim_kernels::{PackedMatrix, lora_linear};

use crate::precision::linear;

/// A linear map `x·W + b`, with an adapter `s·(x·A)·B` beside it if there is one.
///
/// It bears the name of Burn's own layer because the name decides that its weight is transposed on its way to a file.
#[derive(Module, Debug)]
pub(crate) struct Linear {
    /// `[d_in, d_out]`
    pub weight: Param<Tensor<2>>,
    /// `[d_out]`
    pub bias: Option<Param<Tensor<1>>>,
    /// What is added in low rank.
    pub lora: Option<LowRank>,
    /// The weight once more, in a model that only writes.
    #[module(skip)]
    pub packed: Option<PackedMatrix>,
}

/// The two factors of a low-rank adapter ([Hu et al. 2021](https://arxiv.org/abs/2106.09685)) and their scale.
#[derive(Module, Debug)]
pub(crate) struct LowRank {
    /// From `d_in` to the rank.
    pub a: nn::Linear,
    /// From the rank to `d_out`.
    pub b: nn::Linear,
    /// `s`
    pub scaling: f64,
}

impl Linear {
    /// `x`: `[n, d_in]`, returns: `[n, d_out]`
    pub(crate) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        match &self.lora {
            None => self.without_lora(x),
            Some(LowRank { a, b, scaling }) => {
                let weight = self.weight.val();
                if self.packed.is_some() || weight.dtype() != x.dtype() {
                    return self.without_lora(x.clone()) + b.forward(a.forward(x)) * *scaling;
                }
                let mapped = lora_linear(x, weight, a.weight.val(), b.weight.val(), *scaling);
                match &self.bias {
                    Some(bias) => mapped + bias.val().unsqueeze(),
                    None => mapped,
                }
            }
        }
    }

    fn without_lora(&self, x: Tensor<2>) -> Tensor<2> {
        let bias = self.bias.as_ref().map(Param::val);
        match (self.packed.as_ref().and_then(|packed| packed.product(&x)), bias) {
            (Some(product), Some(bias)) => product + bias.unsqueeze(),
            (Some(product), None) => product,
            (None, bias) => linear(x, self.weight.val(), bias),
        }
    }

    /// Packs the weight, which must not change any more.
    pub(crate) fn pack(&mut self) {
        self.packed = PackedMatrix::new(&self.weight.val());
    }

    /// The same map without adapter: its product joins the weight.
    pub(crate) fn merge(&mut self) {
        if let Some(LowRank { a, b, scaling }) = self.lora.take() {
            let product = a.weight.val().matmul(b.weight.val()) * scaling;
            self.weight = self.weight.clone().map(|weight| weight.cast(FloatDType::F32) + product);
        }
    }
}
