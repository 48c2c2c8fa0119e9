#![doc = include_str!("../README.md")]

mod calibration;
mod fit;
mod folder;
mod head;
mod loss;
mod model;
mod parts;
mod reader;
mod target;
mod training_set;
mod uncertainty;

pub use calibration::{
    CalibrationError, Isotonic, Labels, Readout, fit_cumulative, fit_cumulative_without_labels,
    fit_deviation, fit_temperature, fit_vector_scaling,
};
pub use fit::{
    Backbone, Calibration, ClassWeights, Features, FitConfig, FitError, FitStep, Metric, Sampling, Selection,
    Trainer, Validation, ValidationConfig, fit, fit_posteriors,
};
pub use folder::RewardModelFolder;
pub use head::{HeadConfig, HeadKind, RewardHead};
pub use loss::{Aggregation, Label, LossAggregation, Losses, Said, label_weights, masked_losses};
pub use model::MultiHeadRewardModel;
pub use reader::{HeadReader, Labelled};
pub use target::{Target, class_target};
pub use training_set::{ComparedExchange, LabeledExchange, TrainingSet, messages};
pub use uncertainty::{EnsembleMember, HeadPosterior, Judgement, Uncertainty, UncertaintyConfig};
