//! The mathematics of policy optimisation as pure functions of tensors and numbers.
//!
//! No model, configuration, random number, device choice or file is known here.

mod advantage;
mod kl;
mod loss;
mod mask;

pub use advantage::{rloo_advantages, scale_to_unit_variance};
pub use kl::KlEstimator;
pub use loss::{clipped_surrogate_loss, forward_divergence};
pub use mask::ResponseMask;
