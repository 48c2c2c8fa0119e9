//! The fused route: operations on the flex back end, plain or under autodiff, run as kernels.
//!
//! Every function gives `None` where it does not apply: another back end, another number type, an empty tensor.
//! `route` takes tensors apart and puts them together, `storage` gives kernels views of the memory, and there is one file per operation with its step of the backward pass.

pub(crate) mod adamw;
mod attention;
mod gradient_sums;
mod lora_linear;
mod matmul;
mod packed_matrix;
mod rms_norm;
mod rope;
mod route;
mod select_rows;
mod storage;
mod swiglu;
mod token_logprobs;

pub(crate) use attention::causal_attention;
pub(crate) use gradient_sums::GradientSums;
pub(crate) use lora_linear::lora_linear;
pub(crate) use matmul::matmul;
pub(crate) use packed_matrix::{pack, packed_product};
pub(crate) use rms_norm::rms_norm;
pub(crate) use rope::rope;
pub(crate) use select_rows::select_rows;
pub(crate) use swiglu::swiglu;
pub(crate) use token_logprobs::{logits_at_once, token_logprobs};
