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

/// How many of the sequences have a label, for each of the objectives.
pub fn label_counts(labels: &[&[Option<Level>]]) -> Vec<usize> {
    let n_objectives = labels.first().map_or(0, |levels| levels.len());
    let count = |objective: usize| labels.iter().filter(|levels| levels[objective].is_some()).count();
    (0..n_objectives).map(count).collect()
}

/// Sum over the heads of the mean cross-entropy over the sequences that have a label for the head.
///
/// `L = Σ_i Σ_n m_ni CE_ni / Σ_n m_ni`: every head has an equal voice although label counts differ,
/// and a head without a label in the batch is not part of the graph, so it gets no gradient at all.
/// The losses of the parts of a batch add up to those of the batch if all are given its label counts.
///
/// # Shapes
/// - `logits`: one `[n_sequences, K_i]` per objective
/// - `labels`: one row per sequence with one entry per objective
/// - `label_counts`: the denominators, one per objective: [`label_counts`] of the whole batch
pub fn masked_cross_entropy(
    logits: &[Tensor<2>],
    labels: &[&[Option<Level>]],
    label_counts: &[usize],
) -> HeadLosses {
    let means: Vec<Option<Tensor<1>>> = logits
        .iter()
        .enumerate()
        .map(|(objective, logits)| {
            let labelled: Vec<(i64, i64)> = labels
                .iter()
                .enumerate()
                .filter_map(|(row, levels)| levels[objective].map(|level| (row as i64, level as i64)))
                .collect();
            let (rows, levels): (Vec<i64>, Vec<i64>) = labelled.into_iter().unzip();
            let n_labels = rows.len();
            if n_labels == 0 {
                return None;
            }
            let device = logits.device();
            let rows = Tensor::<1, Int>::from_data(TensorData::new(rows, [n_labels]), &device);
            let levels = Tensor::<2, Int>::from_data(TensorData::new(levels, [n_labels, 1]), &device);
            let log_likelihood = log_softmax(logits.clone().select(0, rows), 1).gather(1, levels).sum();
            Some(log_likelihood.neg() / label_counts[objective] as f64)
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

    /// Heads K = (5, 2), three samples, two missing labels; values computed in double precision elsewhere.
    #[test]
    fn head_means_of_incomplete_labels() {
        let device = Device::default();
        let first = [[0.0, 1.0, 2.0, 1.0, 0.0], [9.0, 0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 0.0, 0.0, -1.0]];
        let second = [[7.0, 0.0], [0.5, -0.5], [-1.0, 1.0]];
        let logits = [Tensor::from_data(first, &device), Tensor::from_data(second, &device)];
        let labels: [&[Option<Level>]; 3] = [&[Some(2), None], &[None, Some(0)], &[Some(4), Some(1)]];
        let losses = masked_cross_entropy(&logits, &labels, &label_counts(&labels));
        let close =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        close(losses.heads[0].unwrap(), 1.751187);
        close(losses.heads[1].unwrap(), 0.220095);
        close(losses.total.unwrap().into_scalar::<f32>().into(), 1.971282);

        // Parts of the batch, one of them without any label of the first head.
        let parts = [0..1, 1..2, 2..3].map(|rows| {
            let of_part = |logits: &Tensor<2>| logits.clone().slice(rows.clone());
            masked_cross_entropy(&logits.each_ref().map(of_part), &labels[rows.clone()], &[2, 2])
        });
        assert_eq!((parts[0].heads[1], parts[1].heads[0]), (None, None));
        let total: f32 = parts.into_iter().map(|part| part.total.unwrap().into_scalar::<f32>()).sum();
        close(total.into(), 1.971282);

        let unlabelled =
            masked_cross_entropy(&logits, &[&[Some(1), None], &[None, None], &[None, None]], &[1, 0]);
        assert_eq!(unlabelled.heads[1], None);
        let nothing: [&[Option<Level>]; 3] = [&[None, None]; 3];
        assert!(masked_cross_entropy(&logits, &nothing, &label_counts(&nothing)).total.is_none());
    }
}
