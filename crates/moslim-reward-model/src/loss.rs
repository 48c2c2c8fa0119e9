//! What every head loses on its labels, and how the heads' losses are put together.

use burn::module::Param;
use burn::tensor::activation::{log_sigmoid, log_softmax};
use burn::tensor::{Device, Int, Tensor, TensorData};
use serde::{Deserialize, Serialize};

use crate::calibration::log_softmax as ln_softmax;
use crate::{HeadKind, RewardHead, Target, class_target};

/// How the losses of the heads become one loss.
///
/// `L_i` is the mean loss of head i over its labels in the batch, weighted by their weights, which add up to `W_i`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossAggregation {
    /// `Σ_i L_i`: every head has an equal voice although label counts differ.
    #[default]
    SumOfHeadMeans,
    /// `Σ_i W_i L_i / Σ_i W_i`: every label has an equal voice.
    MeanOverLabels,
    /// `Σ_i L_i / U_i`, where `U_i` is the loss of knowing nothing: ln K for classes, (K − 1) ln 2 for cumulative logits,
    /// (K² − 1)/12 for a squared error, ln 2 for pairs.
    EntropyNormalised,
    /// `Σ_i exp(−s_i) L_i + s_i` with a learned `s_i` per head, 0 at first
    /// ([Kendall et al. 2018](https://arxiv.org/abs/1705.07115)).
    Uncertainty,
}

/// What one head is told about answers of a batch.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// The answer, as a row of the pooled states.
    pub row: usize,
    /// What is said of it.
    pub what: Said,
    /// Its share in the loss beside labels of weight 1; positive.
    pub weight: f64,
}

/// What a [`Label`] says of an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// Its level, or another head's outputs.
    Target(Target),
    /// It is better than another answer.
    BetterThan {
        /// The row of the other answer.
        rejected: usize,
        /// Levels between the two; 1 where only the order is known.
        distance: f64,
    },
}

/// The losses of a batch or of a part of it.
pub struct Losses {
    /// The quantity to descend; `None` if there is no label at all. `[1]`
    pub total: Option<Tensor<1>>,
    /// The mean loss of each head, before heads are put together; `None` where it has no label.
    pub heads: Vec<Option<f64>>,
}

/// The weight of all labels, for each head.
pub fn label_weights(labels: &[Vec<Label>]) -> Vec<f64> {
    labels.iter().map(|labels| labels.iter().map(|label| label.weight).sum()).collect()
}

/// How the losses of a batch are put together.
pub struct Aggregation<'a> {
    /// The rule.
    pub rule: LossAggregation,
    /// [`label_weights`] of the whole batch.
    pub label_weights: &'a [f64],
    /// The learned `s_i` of [`LossAggregation::Uncertainty`], one per head; otherwise empty.
    pub log_variances: &'a [Param<Tensor<1>>],
}

/// The loss of heads over the answers that have a label for them.
///
/// A head without a label in the batch is not part of the graph, so it gets no gradient at all and takes no time.
/// The losses of the parts of a batch add up to those of the batch if all are given its label weights.
///
/// # Shapes
/// - `pooled`: `[n_answers, hidden_size]`
/// - `labels`: the labels of each head
pub fn masked_losses(
    heads: &[RewardHead],
    pooled: &Tensor<2>,
    labels: &[Vec<Label>],
    aggregation: &Aggregation<'_>,
) -> Losses {
    let Aggregation { rule, label_weights, log_variances } = *aggregation;
    let all: f64 = label_weights.iter().sum();
    let of_head = |(index, (head, labels)): (usize, (&RewardHead, &Vec<Label>))| {
        let sum = weighted_sum(head, pooled, labels)?;
        let mean = sum.clone() / label_weights[index];
        let part = labels.iter().map(|label| label.weight).sum::<f64>() / label_weights[index];
        let share = match rule {
            LossAggregation::SumOfHeadMeans => mean.clone(),
            LossAggregation::MeanOverLabels => sum / all,
            LossAggregation::EntropyNormalised => mean.clone() / uninformed(head),
            LossAggregation::Uncertainty => {
                let s = log_variances[index].val();
                mean.clone() * s.clone().neg().exp() + s * part
            }
        };
        Some((mean, share))
    };
    let (means, shares): (Vec<Option<Tensor<1>>>, Vec<Option<Tensor<1>>>) =
        heads.iter().zip(labels).enumerate().map(|head| of_head(head).unzip()).unzip();
    let value = |mean: Tensor<1>| mean.into_scalar::<f32>().into();
    Losses {
        total: shares.into_iter().flatten().reduce(|sum, share| sum + share),
        heads: means.into_iter().map(|mean| mean.map(value)).collect(),
    }
}

/// The loss of a head that knows nothing.
fn uninformed(head: &RewardHead) -> f64 {
    let n_levels = head.n_levels as f64;
    match head.kind {
        HeadKind::Softmax | HeadKind::SmoothedSoftmax { .. } | HeadKind::HlGauss { .. } => n_levels.ln(),
        HeadKind::Ordinal => (n_levels - 1.0) * std::f64::consts::LN_2,
        HeadKind::Regression => (n_levels * n_levels - 1.0) / 12.0,
        HeadKind::BradleyTerry { .. } => std::f64::consts::LN_2,
    }
}

/// `Σ_n w_n ℓ_n` over the labels of a head; `None` if there is none.
fn weighted_sum(head: &RewardHead, pooled: &Tensor<2>, labels: &[Label]) -> Option<Tensor<1>> {
    let (mut told, mut imitated, mut compared) = (vec![], vec![], vec![]);
    for Label { row, what, weight } in labels {
        match what {
            Said::Target(Target::Level(level)) => told.push((*row, *level, *weight)),
            Said::Target(Target::Outputs(outputs)) => imitated.push((*row, outputs.as_slice(), *weight)),
            Said::BetterThan { rejected, distance } => compared.push((*row, *rejected, *distance, *weight)),
        }
    }
    let of = |rows: Vec<usize>| head.outputs(select(pooled, rows));
    let told = (!told.is_empty()).then(|| {
        let outputs = of(told.iter().map(|label| label.0).collect());
        let levels: Vec<f64> = told.iter().map(|label| label.1).collect();
        weigh(level_losses(head, outputs, &levels), told.iter().map(|label| label.2))
    });
    let imitated = (!imitated.is_empty()).then(|| {
        let outputs = of(imitated.iter().map(|label| label.0).collect());
        let others: Vec<&[f64]> = imitated.iter().map(|label| label.1).collect();
        weigh(imitation_losses(head, outputs, &others), imitated.iter().map(|label| label.2))
    });
    let compared = (!compared.is_empty()).then(|| {
        let chosen = of(compared.iter().map(|label| label.0).collect());
        let rejected = of(compared.iter().map(|label| label.1).collect());
        let margin = match head.kind {
            HeadKind::BradleyTerry { margin } => margin,
            _ => 0.0,
        };
        let margins = compared.iter().map(|label| label.2 * margin);
        let margins = column(margins, &chosen.device());
        weigh(log_sigmoid(chosen - rejected - margins).neg(), compared.iter().map(|label| label.3))
    });
    [told, imitated, compared].into_iter().flatten().reduce(|sum, loss| sum + loss)
}

/// The sum of the losses, weighted. `losses`: `[n, 1]`
fn weigh(losses: Tensor<2>, weights: impl ExactSizeIterator<Item = f64> + Clone) -> Tensor<1> {
    match weights.clone().all(|weight| weight == 1.0) {
        true => losses.sum(),
        false => {
            let weights = column(weights, &losses.device());
            (losses * weights).sum()
        }
    }
}

/// What a head loses on levels. `outputs`: `[n, n_outputs]`, returns: `[n, 1]`
fn level_losses(head: &RewardHead, outputs: Tensor<2>, levels: &[f64]) -> Tensor<2> {
    let device = outputs.device();
    match head.kind {
        HeadKind::Softmax | HeadKind::SmoothedSoftmax { .. } | HeadKind::HlGauss { .. } => {
            let targets = levels.iter().map(|&level| class_target(&head.kind, level, head.n_levels));
            cross_entropy(outputs, targets)
        }
        HeadKind::Ordinal => {
            let thresholds = head.ascending_thresholds().expect("an ordinal head has thresholds");
            let z = outputs - thresholds;
            // Whether the label is above each threshold; partly, where it lies between two levels.
            let above = levels.iter().map(|level| {
                (0..head.n_levels - 1).map(|c| (level - c as f64).clamp(0.0, 1.0)).collect::<Vec<f64>>()
            });
            let above = grid(above, &device);
            let below = above.clone().neg() + 1.0;
            let log_likelihood: Tensor<2> = above * log_sigmoid(z.clone()) + below * log_sigmoid(z.neg());
            log_likelihood.sum_dim(1).neg()
        }
        HeadKind::Regression => {
            let levels = column(levels.iter().map(|level| level - head.center()), &device);
            (outputs - levels).square()
        }
        HeadKind::BradleyTerry { .. } => {
            unreachable!("a head of pairs is told no levels: TrainingSet makes pairs of them")
        }
    }
}

/// What a head loses on the outputs of another one: the cross-entropy with its distribution, or the squared difference
/// of the scores. `outputs`: `[n, n_outputs]`, returns: `[n, 1]`
fn imitation_losses(head: &RewardHead, outputs: Tensor<2>, others: &[&[f64]]) -> Tensor<2> {
    match head.kind {
        HeadKind::Softmax | HeadKind::SmoothedSoftmax { .. } | HeadKind::HlGauss { .. } => cross_entropy(
            outputs,
            others.iter().map(|other| ln_softmax(other).into_iter().map(f64::exp).collect()),
        ),
        HeadKind::Ordinal | HeadKind::Regression | HeadKind::BradleyTerry { .. } => {
            let others = column(others.iter().map(|other| other[0]), &outputs.device());
            (outputs - others).square()
        }
    }
}

/// `−Σ_c q_c ln p_c`. `logits`: `[n, K]`, returns: `[n, 1]`
fn cross_entropy(logits: Tensor<2>, targets: impl ExactSizeIterator<Item = Vec<f64>>) -> Tensor<2> {
    let targets = grid(targets, &logits.device());
    (log_softmax(logits, 1) * targets).sum_dim(1).neg()
}

fn select(pooled: &Tensor<2>, rows: Vec<usize>) -> Tensor<2> {
    let n = rows.len();
    if n == pooled.dims()[0] && rows.iter().enumerate().all(|(index, &row)| index == row) {
        return pooled.clone();
    }
    let rows: Vec<i64> = rows.into_iter().map(|row| row as i64).collect();
    let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [n]), &pooled.device());
    pooled.clone().select(0, rows)
}

fn column(values: impl ExactSizeIterator<Item = f64>, device: &Device) -> Tensor<2> {
    grid(values.map(|value| vec![value]), device)
}

fn grid(rows: impl ExactSizeIterator<Item = Vec<f64>>, device: &Device) -> Tensor<2> {
    let n = rows.len();
    let values: Vec<f32> = rows.flatten().map(|value| value as f32).collect();
    let width = values.len() / n;
    Tensor::from_data(TensorData::new(values, [n, width]), device)
}

#[cfg(test)]
mod tests;
