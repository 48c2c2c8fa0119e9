//! Rejection sampling as [Llama 2](https://arxiv.org/abs/2307.09288) (section 3.2.3) and RAFT ([Dong et al. 2023](https://arxiv.org/abs/2304.06767)):
//! of the answers sampled to every prompt the best become the next examples of supervised fine-tuning, round by round.
//!
//! Any scalar will do for "best": the mapped reward of a request makes this the baseline without reinforcement learning of the method.
//! `moslim_rl::BestOfNConfig` does the same inside a trainer, a step at a time; here a round is as large as the caller makes it.

use moslim_rl::Selection;
use rand::Rng;
use rand::seq::index;

use crate::BaselineError;
use crate::error::check_finite;

/// The numbers of the best answers, in order; of equals the first sampled.
///
/// [`Selection::Local`] takes the best of the K answers to every prompt, `argmax_j r(x, y_j)`;
/// [`Selection::Top`] as many, the best share `1/K` of the whole batch, which favours easy prompts.
///
/// # Shapes
/// - `scores`: `[n_prompts · k]`, the answers to a prompt standing together
/// - returns: `[n_prompts]`
///
/// # Errors
/// If k is 0, the scores are not a multiple of it, or one is infinite or no number.
///
/// ```
/// use moslim_baselines::select_best;
/// use moslim_rl::Selection;
/// let scores = [1.0, 3.0, 8.0, 9.0];
/// assert_eq!(select_best(&scores, 2, Selection::Local)?, [1, 3]);
/// assert_eq!(select_best(&scores, 2, Selection::Top)?, [2, 3]);
/// # Ok::<(), moslim_baselines::BaselineError>(())
/// ```
pub fn select_best(scores: &[f64], k: usize, selection: Selection) -> Result<Vec<usize>, BaselineError> {
    if k == 0 {
        return Err(BaselineError::Empty { what: "answers to a prompt" });
    }
    if !scores.len().is_multiple_of(k) {
        let expected = scores.len().next_multiple_of(k);
        return Err(BaselineError::Length { what: "scores of whole groups", found: scores.len(), expected });
    }
    check_finite("score", scores)?;
    let best = |first: usize, answers: &[f64]| {
        let better = |best: usize, number: usize| if answers[number] > answers[best] { number } else { best };
        first + (0..answers.len()).fold(0, better)
    };
    match selection {
        Selection::Local => {
            Ok(scores.chunks(k).enumerate().map(|(prompt, answers)| best(prompt * k, answers)).collect())
        }
        Selection::Top => {
            let mut ranked: Vec<usize> = (0..scores.len()).collect();
            ranked.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            ranked.truncate(scores.len() / k);
            ranked.sort_unstable();
            Ok(ranked)
        }
    }
}

/// The examples of a round: the newest best answers, and of older rounds as many at random as make up `share` of all
/// (or all there are); Llama 2 keeps older ones because policies that saw the newest alone lost abilities.
///
/// # Errors
/// If the share is not at least 0 and below 1.
///
/// ```
/// use moslim_baselines::mix_older_best;
/// use rand::{SeedableRng, rngs::ChaCha8Rng};
/// let round = mix_older_best(vec!["new"; 3], &["old"; 10], 0.25, &mut ChaCha8Rng::seed_from_u64(0))?;
/// assert_eq!(round, ["new", "new", "new", "old"]);
/// # Ok::<(), moslim_baselines::BaselineError>(())
/// ```
pub fn mix_older_best<T: Clone>(
    newest: Vec<T>,
    older: &[T],
    share: f64,
    rng: &mut impl Rng,
) -> Result<Vec<T>, BaselineError> {
    if !(0.0..1.0).contains(&share) {
        return Err(BaselineError::Number {
            what: "share of older answers",
            found: share,
            expected: "at least 0 and below 1",
        });
    }
    let wanted = (newest.len() as f64 * share / (1.0 - share)).round() as usize;
    let drawn = index::sample(rng, older.len(), wanted.min(older.len()));
    let mut all = newest;
    all.extend(drawn.into_iter().map(|number| older[number].clone()));
    Ok(all)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_best_of_every_prompt_or_of_the_batch() {
        let scores = [0.1, 0.5, 0.5, -1.0, -3.0, -2.0, 0.4, 0.9, 0.6];
        assert_eq!(select_best(&scores, 3, Selection::Local).unwrap(), [1, 3, 7]);
        assert_eq!(select_best(&scores, 3, Selection::Top).unwrap(), [1, 7, 8]);
        assert_eq!(select_best(&scores, 1, Selection::Local).unwrap(), (0..9).collect::<Vec<_>>());
        assert_eq!(select_best(&scores, 9, Selection::Top).unwrap(), [7]);
        // Equals: the first.
        assert_eq!(select_best(&[1.0; 4], 2, Selection::Local).unwrap(), [0, 2]);
        assert_eq!(select_best(&[1.0; 4], 2, Selection::Top).unwrap(), [0, 1]);
        assert_eq!(select_best(&[], 2, Selection::Top).unwrap(), [0; 0]);
        for selection in [Selection::Local, Selection::Top] {
            assert!(
                select_best(&scores, 0, selection).is_err() && select_best(&scores, 2, selection).is_err()
            );
            assert!(select_best(&[f64::NAN, 1.0], 2, selection).is_err());
        }
    }

    #[test]
    fn older_answers_make_up_their_share() {
        let older: Vec<u32> = (100..200).collect();
        let mix = |share| mix_older_best((0..30).collect(), &older, share, &mut ChaCha8Rng::seed_from_u64(1));
        let half = mix(0.5).unwrap();
        assert_eq!((half.len(), &half[..30]), (60, &(0..30).collect::<Vec<_>>()[..]));
        let mut drawn = half[30..].to_vec();
        drawn.sort_unstable();
        drawn.dedup();
        assert!(drawn.len() == 30 && drawn.iter().all(|number| older.contains(number)), "{drawn:?}");
        assert_eq!(mix(0.0).unwrap().len(), 30);
        assert_eq!(mix(0.99).unwrap().len(), 130);
        assert!([1.0, -0.1, f64::NAN].into_iter().all(|share| mix(share).is_err()));
    }
}
