//! Cross-entropy over the labels that are there.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use moslim_data::Level;

/// The losses of a batch or of a part of it.
pub struct HeadLosses {
    /// Sum over the heads, the quantity to descend; `None` if there is no label at all. `[1]`, in nats
    pub total: Option<Tensor<1>>,
    /// The loss of each head; `None` where it has no label. In nats
    pub heads: Vec<Option<f64>>,
}

/// A label and how much it counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct WeightedLabel {
    /// The level.
    pub level: Level,
    /// Its share in the loss beside labels of weight 1; positive.
    pub weight: f64,
}

/// The weight of all labels of the sequences, for each of the objectives.
pub fn label_weights(labels: &[&[Option<WeightedLabel>]]) -> Vec<f64> {
    let n_objectives = labels.first().map_or(0, |row| row.len());
    let weight =
        |objective: usize| labels.iter().filter_map(|row| row[objective]).map(|label| label.weight).sum();
    (0..n_objectives).map(weight).collect()
}

/// Sum over the heads of the mean cross-entropy over the sequences that have a label for the head, weighted by their labels.
///
/// `L = Σ_i Σ_n w_ni CE_ni / Σ_n w_ni`, with w = 0 where the label is missing: every head has an equal voice although label
/// counts differ, and a head without a label in the batch is not part of the graph, so it gets no gradient at all.
/// The losses of the parts of a batch add up to those of the batch if all are given its label weights.
///
/// # Shapes
/// - `logits`: one `[n_sequences, K_i]` per objective
/// - `labels`: one row per sequence with one entry per objective
/// - `label_weights`: the denominators, one per objective: [`label_weights`] of the whole batch
pub fn masked_cross_entropy(
    logits: &[Tensor<2>],
    labels: &[&[Option<WeightedLabel>]],
    label_weights: &[f64],
) -> HeadLosses {
    let means: Vec<Option<Tensor<1>>> = logits
        .iter()
        .enumerate()
        .map(|(objective, logits)| {
            let labelled =
                labels.iter().enumerate().filter_map(|(row, labels)| Some((row, labels[objective]?)));
            let (rows, labelled): (Vec<i64>, Vec<WeightedLabel>) =
                labelled.map(|(row, label)| (row as i64, label)).unzip();
            let n_labels = rows.len();
            if n_labels == 0 {
                return None;
            }
            let device = logits.device();
            let levels: Vec<i64> = labelled.iter().map(|label| label.level as i64).collect();
            let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [n_labels]), &device);
            let levels = Tensor::<2, Int>::from_data(TensorData::new(levels, [n_labels, 1]), &device);
            let mut log_likelihoods = log_softmax(logits.clone().select(0, rows), 1).gather(1, levels);
            if labelled.iter().any(|label| label.weight != 1.0) {
                let weights: Vec<f32> = labelled.iter().map(|label| label.weight as f32).collect();
                log_likelihoods = log_likelihoods
                    * Tensor::<2>::from_data(TensorData::new(weights, [n_labels, 1]), &device);
            }
            Some(log_likelihoods.sum().neg() / label_weights[objective])
        })
        .collect();
    let heads =
        means.iter().map(|mean| mean.as_ref().map(|mean| mean.clone().into_scalar::<f32>().into())).collect();
    HeadLosses { total: means.into_iter().flatten().reduce(|sum, mean| sum + mean), heads }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn labels<const N: usize>(levels: [Option<Level>; N]) -> [Option<WeightedLabel>; N] {
        levels.map(|level| level.map(|level| WeightedLabel { level, weight: 1.0 }))
    }

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }

    /// Heads K = (5, 2), three samples, two missing labels; values computed in double precision elsewhere.
    #[test]
    fn head_means_of_incomplete_labels() {
        let device = Device::default();
        let first = [[0.0, 1.0, 2.0, 1.0, 0.0], [9.0, 0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, -1.0]];
        let second = [[7.0, 0.0], [0.5, -0.5], [-1.0, 1.0]];
        let logits = [Tensor::from_data(first, &device), Tensor::from_data(second, &device)];
        let all = [labels([Some(2), None]), labels([None, Some(0)]), labels([Some(4), Some(1)])];
        let all: Vec<&[Option<WeightedLabel>]> = all.iter().map(|row| row.as_slice()).collect();
        let losses = masked_cross_entropy(&logits, &all, &label_weights(&all));
        close(losses.heads[0].unwrap(), 1.751187);
        close(losses.heads[1].unwrap(), 0.220095);
        close(losses.total.unwrap().into_scalar::<f32>().into(), 1.971282);

        // Parts of the batch, one of them without any label of the first head.
        let parts = [0..1, 1..2, 2..3].map(|rows| {
            let of_part = |logits: &Tensor<2>| logits.clone().slice(rows.clone());
            masked_cross_entropy(&logits.each_ref().map(of_part), &all[rows.clone()], &[2.0, 2.0])
        });
        assert_eq!((parts[0].heads[1], parts[1].heads[0]), (None, None));
        let total: f32 = parts.into_iter().map(|part| part.total.unwrap().into_scalar::<f32>()).sum();
        close(total.into(), 1.971282);

        let [some, none] = [labels([Some(1), None]), labels([None, None])];
        let unlabelled = masked_cross_entropy(&logits, &[&some, &none, &none], &[1.0, 0.0]);
        assert_eq!(unlabelled.heads[1], None);
        let nothing: [&[Option<WeightedLabel>]; 3] = [&none; 3];
        assert!(masked_cross_entropy(&logits, &nothing, &label_weights(&nothing)).total.is_none());
    }

    #[test]
    fn a_label_of_weight_two_counts_as_two() {
        let device = Device::default();
        let rows = [[0.3, -0.2], [1.0, 0.5], [-2.0, 0.1]];
        let weighted = |level, weight| [Some(WeightedLabel { level, weight })];
        let [one, two] = [weighted(1, 1.0), weighted(0, 2.0)];
        let loss = |rows: &[[f32; 2]], labels: &[&[Option<WeightedLabel>]]| {
            let data: Vec<f32> = rows.concat();
            let logits = Tensor::<2>::from_data(TensorData::new(data, [rows.len(), 2]), &device);
            masked_cross_entropy(&[logits], labels, &label_weights(labels)).heads[0].unwrap()
        };
        let once = weighted(0, 1.0);
        let twice = loss(&[rows[0], rows[1], rows[1], rows[2]], &[&one, &once, &once, &one]);
        close(loss(&rows, &[&one, &two, &one]), twice);
        // By hand: (ln(1 + e^0.5) + 2 ln(1 + e^-0.5) + ln(1 + e^-2.1)) / 4
        let by_hand = (0.5f64.exp().ln_1p() + 2.0 * (-0.5f64).exp().ln_1p() + (-2.1f64).exp().ln_1p()) / 4.0;
        close(twice, by_hand);
    }
}
