//! The kernels: plain loops over slices and views, without any knowledge of Burn.
//!
//! Work is split into tasks that do not depend on the number of threads, and partial sums are added in a fixed order, so results have the same bits however many threads run.

pub(crate) mod adamw;
pub(crate) mod attention;
pub(crate) mod gemm;
pub(crate) mod lora_linear;
pub(crate) mod panels;
pub(crate) mod rms_norm;
pub(crate) mod rope;
mod simd;
pub(crate) mod softmax;
pub(crate) mod swiglu;
mod tile;
pub(crate) mod token_logprobs;
pub(crate) mod view;

/// Elements worth a task of their own: below this, handing work to another thread costs more than it saves.
const TASK_ELEMENTS: usize = 16 * 1024;
