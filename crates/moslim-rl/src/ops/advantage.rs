//! How much better an answer was than could be expected.

/// Leave-one-out advantage: each sample against the mean of its siblings ([Ahmadian et al. 2024](https://arxiv.org/abs/2402.14740)).
///
/// `A_j = r_j − 1/(k−1) Σ_{m≠j} r_m`; the advantages of one prompt sum to zero.
///
/// # Shapes
/// - `rewards`, returns: `[n_prompts · n_samples]`, the samples of a prompt standing together
///
/// # Panics
/// If there are fewer than 2 samples per prompt or the rewards are not a multiple of them.
pub fn rloo_advantages(rewards: &[f64], n_samples: usize) -> Vec<f64> {
    assert!(n_samples > 1, "leave-one-out needs at least 2 samples per prompt, got {n_samples}");
    assert_eq!(rewards.len() % n_samples, 0, "{} rewards in groups of {n_samples}", rewards.len());
    let advantages = rewards.chunks(n_samples).flat_map(|siblings| {
        let sum: f64 = siblings.iter().sum();
        siblings.iter().map(move |reward| reward - (sum - reward) / (n_samples - 1) as f64)
    });
    advantages.collect()
}

/// Divides by the standard deviation (population form) without moving the mean; all-equal values stay as they are.
pub fn scale_to_unit_variance(values: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / n).sqrt();
    match deviation > 1e-8 {
        true => values.iter().map(|value| value / deviation).collect(),
        false => values.to_vec(),
    }
}

/// Takes the mean away and divides by the standard deviation (population form); all-equal values become 0.
pub fn whiten(values: &[f64]) -> Vec<f64> {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    scale_to_unit_variance(&values.iter().map(|value| value - mean).collect::<Vec<_>>())
}

/// Every sample against the mean of its group, itself included ([Shao et al. 2024](https://arxiv.org/abs/2402.03300), section 4.1),
/// divided by the group's standard deviation (sample form, as TRL) plus 10⁻⁴ if `scale`.
///
/// # Shapes
/// - `rewards`, returns: `[n_prompts · n_samples]`, the samples of a prompt standing together
///
/// # Panics
/// If the rewards are not a multiple of the samples.
pub fn group_advantages(rewards: &[f64], n_samples: usize, scale: bool) -> Vec<f64> {
    assert_eq!(rewards.len() % n_samples, 0, "{} rewards in groups of {n_samples}", rewards.len());
    let advantages = rewards.chunks(n_samples).flat_map(|group| {
        let mean = group.iter().sum::<f64>() / n_samples as f64;
        let squares: f64 = group.iter().map(|reward| (reward - mean).powi(2)).sum();
        let deviation = (squares / (n_samples.max(2) - 1) as f64).sqrt();
        let divisor = if scale { deviation + 1e-4 } else { 1.0 };
        group.iter().map(move |reward| (reward - mean) / divisor)
    });
    advantages.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        assert!(
            found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6),
            "{found:?} instead of {expected:?}"
        );
    }

    #[test]
    fn siblings_are_the_baseline() {
        // 3 − (0 + 0)/2, 0 − (3 + 0)/2.
        check(&rloo_advantages(&[3.0, 0.0, 0.0], 3), &[3.0, -1.5, -1.5]);
        // Three prompts with the samples (1, 2, 5, 8), (2, 3, 6, 9), (3, 4, 7, 10): the same advantages for each.
        let rewards = [1.0, 2.0, 5.0, 8.0, 2.0, 3.0, 6.0, 9.0, 3.0, 4.0, 7.0, 10.0];
        check(&rloo_advantages(&rewards, 4), &[-4.0, -8.0 / 3.0, 4.0 / 3.0, 16.0 / 3.0].repeat(3));
        // Rewards 1, 0, 2, 1 with summed log-ratios 4, 2, 6, 0 at β = 0.05.
        check(&rloo_advantages(&[0.8, -0.1, 1.7, 1.0], 4), &[-0.066667, -1.266667, 1.133333, 0.2]);
    }

    #[test]
    fn unit_variance_keeps_the_mean_in_proportion() {
        check(&scale_to_unit_variance(&[1.0, 3.0]), &[1.0, 3.0]);
        check(
            &scale_to_unit_variance(&[-2.0, 2.0, 6.0, 2.0]),
            &[-2.0, 2.0, 6.0, 2.0].map(|v: f64| v / 8f64.sqrt()),
        );
        check(&scale_to_unit_variance(&[0.5, 0.5]), &[0.5, 0.5]);
    }

    #[test]
    fn whitened_values_have_mean_0_and_deviation_1() {
        check(&whiten(&[1.0, 2.0, 3.0, 6.0]), &[-2.0, -1.0, 0.0, 3.0].map(|v: f64| v / 3.5f64.sqrt()));
        check(&whiten(&[2.0, 2.0]), &[0.0, 0.0]);
    }

    #[test]
    fn groups_are_centred_and_scaled_by_themselves() {
        // Deviation of 1, 3 (sample form) is √2; a group without differences has nothing to teach.
        let scaled = group_advantages(&[1.0, 3.0, 5.0, 5.0], 2, true);
        let expected = 1.0 / (2f64.sqrt() + 1e-4);
        check(&scaled, &[-expected, expected, 0.0, 0.0]);
        check(&group_advantages(&[1.0, 3.0, 0.0, 10.0], 2, false), &[-1.0, 1.0, -5.0, 5.0]);
    }
}
