//! How the raw outputs of a head become class probabilities, and how that is fitted to labelled answers.

mod check;
mod cumulative;
mod deviation;
mod isotonic;
mod labels;
mod logistic;
mod minimise;
mod normal;
mod proportional_odds;
mod readout;
mod temperature;
mod vector_scaling;

pub use check::CalibrationError;
pub use cumulative::{fit_cumulative, fit_cumulative_without_labels};
pub use deviation::fit_deviation;
pub use isotonic::Isotonic;
pub use labels::Labels;
pub(crate) use logistic::{log_softmax, sigmoid};
pub(crate) use minimise::root;
pub(crate) use normal::ln_interval;
pub use readout::Readout;
pub use temperature::fit_temperature;
pub use vector_scaling::fit_vector_scaling;
