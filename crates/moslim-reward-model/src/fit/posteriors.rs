//! The posteriors of a trained model's heads.

use super::FitConfig;
use super::items::Items;
use crate::model::matrix;
use crate::{HeadPosterior, MultiHeadRewardModel, TrainingSet, label_weights};

/// Items that the curvature is measured on at most; it stands for that of all.
const MAX_ITEMS: usize = 4000;

/// Laplace's approximation around the heads of a model that was trained on the data; see [`HeadPosterior`].
///
/// The curvature is that of up to 4000 answers and pairs, spread evenly over the data, scaled to all.
/// The prior precision is chosen by the evidence where none is given.
///
/// # Panics
/// If there is no answer and no pair.
pub fn fit_posteriors(
    model: &MultiHeadRewardModel,
    data: &TrainingSet,
    config: &FitConfig,
    prior_precision: Option<f64>,
) -> Vec<HeadPosterior> {
    let items = Items::new(data, model.heads.len(), config);
    let n = data.len().min(MAX_ITEMS);
    let chosen: Vec<usize> = (0..n).map(|index| index * data.len() / n).collect();
    let exchanges: Vec<_> = chosen.iter().flat_map(|&item| items.exchanges(item)).collect();
    let features = model.in_precision(config.precision).features(&exchanges);
    let pooled = matrix(features.iter().map(Vec::as_slice), &model.device());
    let here = items.labels(&chosen);
    let all = label_weights(&items.labels(&(0..data.len()).collect::<Vec<_>>()));
    let weights = label_weights(&here);
    let heads = model.heads.iter().zip(&here).zip(all.iter().zip(&weights));
    heads
        .map(|((head, labels), (all, weight))| {
            let each = if *weight > 0.0 { all / weight } else { 1.0 };
            HeadPosterior::fit(head, &pooled, labels, each, prior_precision)
        })
        .collect()
}
