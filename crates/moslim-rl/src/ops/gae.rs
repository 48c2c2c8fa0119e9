//! Advantages of tokens from values of states.

/// Generalised advantage estimates of the tokens of one answer, and what their states turned out to be worth
/// ([Schulman et al. 2016](https://arxiv.org/abs/1506.02438), eq. 16).
///
/// `δ_t = r_t + γ V_{t+1} − V_t`, `A_t = δ_t + γλ A_{t+1}`, return `A_t + V_t`; `after` is V after the last token.
/// It is 0 where the answer ended, and the value of going on where it was cut.
///
/// # Shapes
/// - `rewards`, `values`, returns: `[n_tokens]`
///
/// # Panics
/// If there is not one value per reward.
///
/// ```
/// // With γ = λ = 1 the advantage is what is still to come, less what was expected.
/// let (advantages, returns) = moslim_rl::ops::gae(&[0.0, 2.0], &[0.5, 1.0], 0.0, 1.0, 1.0);
/// assert_eq!((advantages, returns), (vec![1.5, 1.0], vec![2.0, 2.0]));
/// ```
pub fn gae(rewards: &[f64], values: &[f64], after: f64, gamma: f64, lam: f64) -> (Vec<f64>, Vec<f64>) {
    assert_eq!(rewards.len(), values.len(), "a value for every reward");
    let mut advantages = vec![0.0; rewards.len()];
    let (mut next_value, mut next_advantage) = (after, 0.0);
    for t in (0..rewards.len()).rev() {
        let delta = rewards[t] + gamma * next_value - values[t];
        advantages[t] = delta + gamma * lam * next_advantage;
        (next_value, next_advantage) = (values[t], advantages[t]);
    }
    let returns = advantages.iter().zip(values).map(|(advantage, value)| advantage + value).collect();
    (advantages, returns)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: &[f64], expected: &[f64]) {
        let is_close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9);
        assert!(is_close && found.len() == expected.len(), "{found:?} instead of {expected:?}");
    }

    #[test]
    fn three_tokens_with_the_score_at_the_last() {
        let (advantages, returns) = gae(&[-0.01, -0.02, 0.97], &[0.1, 0.2, 0.3], 0.0, 1.0, 0.95);
        check(&advantages, &[0.770675, 0.7165, 0.67]);
        check(&returns, &[0.870675, 0.9165, 0.97]);
    }

    /// The definition, term by term: `A_t = Σ_l (γλ)^l δ_{t+l}`.
    #[test]
    fn the_recursion_is_the_sum() {
        let rewards = [0.3, -1.0, 0.0, 2.0, 0.5];
        let values = [1.0, -0.5, 0.25, 0.75, 0.1];
        let (after, gamma, lam) = (0.6, 0.9, 0.8);
        let value = |t: usize| values.get(t).copied().unwrap_or(after);
        let delta = |t: usize| rewards[t] + gamma * value(t + 1) - value(t);
        let expected: Vec<f64> =
            (0..5).map(|t| (t..5).map(|u| f64::powi(gamma * lam, (u - t) as i32) * delta(u)).sum()).collect();
        check(&gae(&rewards, &values, after, gamma, lam).0, &expected);
        check(&gae(&[], &[], 1.0, gamma, lam).0, &[]);
    }
}
