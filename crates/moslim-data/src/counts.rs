//! How often each level occurs, and weights that make up for it.

use crate::{LabeledResponse, ObjectiveSchema};

/// The number of responses at each level, `[n_objectives][n_levels]`; missing labels are not counted.
///
/// # Panics
/// If a response's levels do not fit the schema.
pub fn level_counts(responses: &[LabeledResponse], schema: &ObjectiveSchema) -> Vec<Vec<usize>> {
    let mut counts: Vec<Vec<usize>> =
        schema.n_levels().into_iter().map(|n_levels| vec![0; n_levels]).collect();
    for response in responses {
        assert_eq!(response.levels.len(), schema.len(), "a response has one entry per objective");
        for (counts, level) in counts.iter_mut().zip(&response.levels) {
            if let Some(level) = *level {
                counts[level] += 1;
            }
        }
    }
    counts
}

/// The accuracy of always guessing the most frequent level, or `None` without any label.
///
/// ```
/// assert_eq!(moslim_data::majority_share(&[1, 6, 1]), Some(0.75));
/// ```
pub fn majority_share(counts: &[usize]) -> Option<f64> {
    let n_labels: usize = counts.iter().sum();
    let most_frequent = *counts.iter().max()?;
    (n_labels > 0).then(|| most_frequent as f64 / n_labels as f64)
}

/// Weights of an objective's levels that give each the same total weight, and labels a mean weight of 1: `n / (K · n_level)`.
///
/// K is the number of levels that occur; a level that does not has weight 0.
///
/// ```
/// assert_eq!(moslim_data::balanced_weights(&[6, 0, 2]), [8.0 / 12.0, 0.0, 2.0]);
/// ```
pub fn balanced_weights(counts: &[usize]) -> Vec<f64> {
    let n_labels: usize = counts.iter().sum();
    let n_levels = counts.iter().filter(|&&count| count > 0).count();
    let weight = |&count: &usize| match count {
        0 => 0.0,
        count => n_labels as f64 / (n_levels * count) as f64,
    };
    counts.iter().map(weight).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Objective;

    #[test]
    fn missing_labels_are_not_counted() {
        let schema =
            ObjectiveSchema::new(vec![Objective::with_scale("a", 1, 3), Objective::with_scale("b", 0, 1)])
                .unwrap();
        let responses = [[Some(2), None], [Some(2), Some(0)], [Some(0), None]]
            .map(|levels| LabeledResponse::new("q", "a", levels.into()));
        let counts = level_counts(&responses, &schema);
        assert_eq!(counts, [vec![1, 0, 2], vec![1, 0]]);
        assert_eq!(majority_share(&counts[0]), Some(2.0 / 3.0));
        assert_eq!(majority_share(&[0, 0]), None);
    }
}
