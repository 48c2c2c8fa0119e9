//! The steps of an online round.

use rand::seq::index;
use rand::{Rng, RngExt};

use super::{RewardRange, check_ranges, to_tenths};
use crate::BaselineError;
use crate::error::check_table;
use crate::statistics::{column, quantile};

/// The numbers of the prompts of a round, drawn with replacement; RiC draws 20 000.
///
/// # Errors
/// If there are no prompts.
pub fn draw_prompts(
    n_prompts: usize,
    n_draws: usize,
    rng: &mut impl Rng,
) -> Result<Vec<usize>, BaselineError> {
    match n_prompts {
        0 => Err(BaselineError::Empty { what: "prompts" }),
        _ => Ok((0..n_draws).map(|_| rng.random_range(0..n_prompts)).collect()),
    }
}

/// The rewards to ask for in an online round, at the edge of what is possible:
/// each is drawn uniformly from its range, then all but the one that lies lowest in its range become the highest; in tenths.
///
/// # Errors
/// If there is no range, or one is empty or infinite.
pub fn draw_target(ranges: &[RewardRange], rng: &mut impl Rng) -> Result<Vec<f64>, BaselineError> {
    if ranges.is_empty() {
        return Err(BaselineError::Empty { what: "objectives" });
    }
    check_ranges(ranges)?;
    let shares: Vec<f64> = ranges.iter().map(|_| rng.random_range(0.0..=1.0)).collect();
    let smallest =
        shares.iter().enumerate().fold(0, |best, (i, &share)| if share < shares[best] { i } else { best });
    let target = ranges.iter().zip(shares).enumerate().map(|(objective, (range, share))| {
        to_tenths(if objective == smallest { range.at(share) } else { range.high })
    });
    Ok(target.collect())
}

/// The numbers of the answers that are at or above the quantile of their own round in any objective; RiC's quantile is 0.7.
///
/// # Shapes
/// - `rewards`: `[n_answers][n_objectives]`
///
/// # Errors
/// If there are none, rows differ in length, a reward is infinite or no number, or the quantile is not within 0 and 1.
///
/// ```
/// use moslim_baselines::quantile_filter;
/// // The quantiles at 0.7 are 2.4 and 24.
/// let rewards = [[0.0, 40.0], [1.0, 0.0], [3.0, 0.0], [2.0, 20.0]].map(Vec::from);
/// assert_eq!(quantile_filter(&rewards, 0.7)?, [0, 2]);
/// # Ok::<(), moslim_baselines::BaselineError>(())
/// ```
pub fn quantile_filter(rewards: &[Vec<f64>], share: f64) -> Result<Vec<usize>, BaselineError> {
    let n_objectives = check_table(rewards)?;
    if !(0.0..=1.0).contains(&share) {
        return Err(BaselineError::Number { what: "quantile", found: share, expected: "0 to 1" });
    }
    let bounds: Vec<f64> =
        (0..n_objectives).map(|objective| quantile(&column(rewards, objective), share)).collect();
    let is_good = |row: &[f64]| row.iter().zip(&bounds).any(|(reward, bound)| reward >= bound);
    Ok((0..rewards.len()).filter(|&answer| is_good(&rewards[answer])).collect())
}

/// The numbers of the original answers that are mixed with those of the online rounds: at most `n` at random
/// of those that pass the same filter, in order; RiC takes 10 000.
///
/// # Errors
/// As [`quantile_filter`].
pub fn draw_originals(
    rewards: &[Vec<f64>],
    share: f64,
    n: usize,
    rng: &mut impl Rng,
) -> Result<Vec<usize>, BaselineError> {
    let good = quantile_filter(rewards, share)?;
    let mut drawn = index::sample(rng, good.len(), n.min(good.len())).into_vec();
    drawn.sort_unstable();
    Ok(drawn.into_iter().map(|place| good[place]).collect())
}

/// An answer of an online round up to where it begins a new turn (`Human:` or `Assistant:` on a line of its own);
/// `None` for one that repeats itself: with `.....` or at least three `:)` in it.
///
/// ```
/// use moslim_baselines::clean_answer;
/// assert_eq!(clean_answer("Because.\n\nHuman: And why?"), Some("Because."));
/// assert_eq!(clean_answer("Well....."), None);
/// ```
pub fn clean_answer(answer: &str) -> Option<&str> {
    let turns = ["\nHuman:", "\nAssistant:"].iter().filter_map(|turn| answer.find(turn));
    let answer = answer[..turns.min().unwrap_or(answer.len())].trim_end();
    let repeats_itself = answer.contains(".....") || answer.matches(":)").count() >= 3;
    (!repeats_itself).then_some(answer)
}
