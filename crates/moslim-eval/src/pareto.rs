//! Trade-offs between objectives: what a method can reach, as a set of points.
//!
//! A point is what one policy, or one request to a policy that follows requests, scores: its mean score for every objective, larger is better.
//! A fair comparison gives every method the same number of points and one reference point, and takes the scores from a judge that no method was trained on.
//! No single number says it all: [`hypervolume`] rewards fronts that are far out, [`sparsity`] and [`cardinality`] say how finely one can choose,
//! [`expected_utility`] and [`maximum_utility_loss`] what users get who weigh the objectives,
//! and [`inverted_generational_distance`] what is missing of a known front.
//! The definitions are those that [Felten et al. 2023] compare methods by.
//!
//! Numbers that are not finite are refused with a [`PointsError`]; a measure that is not defined for want of points is NaN.
//!
//! [Felten et al. 2023]: https://openreview.net/forum?id=jfwRLudQyj

mod bootstrap;
mod error;
mod front;
mod hypervolume;
mod utility;

pub use bootstrap::{HypervolumeEstimate, bootstrap_hypervolume, bootstrap_hypervolume_over_seeds};
pub use error::{Place, PointsError};
pub use front::{cardinality, dominates, inverted_generational_distance, non_dominated, sparsity};
pub use hypervolume::hypervolume;
pub use utility::{expected_utility, maximum_utility_loss, simplex_weights};
