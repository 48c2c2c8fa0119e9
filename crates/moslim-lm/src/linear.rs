//! Linear maps that may have a low-rank adapter beside them.

use burn::module::{Module, Param};
use burn::nn;
use burn::tensor::{FloatDType, Tensor};

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
        let bias = self.bias.as_ref().map(Param::val);
        match &self.lora {
            None => linear(x, self.weight.val(), bias),
            Some(LowRank { a, b, scaling }) => {
                linear(x.clone(), self.weight.val(), bias) + b.forward(a.forward(x)) * *scaling
            }
        }
    }

    /// The same map without adapter: its product joins the weight.
    pub(crate) fn merge(&mut self) {
        if let Some(LowRank { a, b, scaling }) = self.lora.take() {
            let product = a.weight.val().matmul(b.weight.val()) * scaling;
            self.weight = self.weight.clone().map(|weight| weight.cast(FloatDType::F32) + product);
        }
    }
}
