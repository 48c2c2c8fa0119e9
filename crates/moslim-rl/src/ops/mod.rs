//! The mathematics of policy optimisation as pure functions of tensors and numbers.
//!
//! No model, configuration, random number, device choice or file is known here.

mod advantage;
mod gae;
mod kl;
mod loss;
mod mask;
mod preference;

pub use advantage::{group_advantages, rloo_advantages, scale_to_unit_variance, whiten};
pub use gae::gae;
pub use kl::{AdaptiveKl, KlEstimator};
pub use loss::{
    clipped_surrogate_loss, clipped_value_loss, forward_divergence, is_clipped, is_value_clipped,
};
pub use mask::ResponseMask;
pub use preference::PreferenceLoss;
