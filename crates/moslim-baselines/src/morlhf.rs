//! MORLHF: reinforcement learning for a weighted sum of rewards, one training per weighting
//! (linear scalarisation; the baseline of [Yang et al. 2024](https://arxiv.org/abs/2402.10207) and [Zhou et al. 2024](https://arxiv.org/abs/2310.03708)).
//!
//! `max_π E[Σ_i w_i r_i(x, y)] − β KL(π‖π_ref)`: [`Morlhf`] is the reward, any algorithm of `moslim-rl` the optimiser.
//! The policy reads the prompt alone; for a trainer that leaves prompts without a request out, requests ask for every objective
//! while the tokens are those of the plain prompt.

use moslim_rl::{ObjectiveScores, PolicyPrompt, Reward, RewardError, Rollout, Scores};
use serde::{Deserialize, Serialize};

use crate::error::{check_finite, check_length, check_positive};
use crate::{BaselineError, MeanStd, RunningMeanStd, Weights};

/// `Σ_i w_i r_i`, the linear scalarisation of an answer's rewards.
///
/// # Shapes
/// - `weights`, `rewards`: `[n_objectives]`
///
/// # Errors
/// If there is not one finite reward per weight.
///
/// ```
/// use moslim_baselines::{Weights, weighted_sum};
/// let weights = Weights::new(vec![0.25, 0.75])?;
/// assert_eq!(weighted_sum(&weights, &[4.0, -2.0])?, -0.5);
/// # Ok::<(), moslim_baselines::BaselineError>(())
/// ```
pub fn weighted_sum(weights: &Weights, rewards: &[f64]) -> Result<f64, BaselineError> {
    check_length("rewards", rewards.len(), weights.as_slice().len())?;
    check_finite("reward", rewards)?;
    Ok(weights.as_slice().iter().zip(rewards).map(|(weight, reward)| weight * reward).sum())
}

/// What makes the rewards of different models comparable before they are added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RewardNormalization {
    /// Nothing, as in the released code.
    None,
    /// `(r_i − mean_i) / std_i` with these numbers, one per objective.
    Fixed(Vec<MeanStd>),
    /// The same with the statistics of all answers so far, those being scored included.
    Running,
}

/// The reward of MORLHF: `Σ_i w_i z_i` with `z_i = (r_i − mean_i) / std_i`, or `z_i = r_i` without normalisation.
///
/// The inner reward says what every objective gives (`Scores::objectives`), as [`RewardPerObjective`] does;
/// `Scores::objectives` of this reward are the parts `w_i z_i` with the levels of the inner one.
pub struct Morlhf<R> {
    inner: R,
    weights: Weights,
    normalization: RewardNormalization,
    running: Vec<RunningMeanStd>,
}

impl<R: Reward> Morlhf<R> {
    /// A weighted sum of the rewards that the inner reward has by objective.
    ///
    /// # Errors
    /// If fixed statistics are not one positive, finite deviation and a finite mean per weight.
    pub fn new(
        inner: R,
        weights: Weights,
        normalization: RewardNormalization,
    ) -> Result<Self, BaselineError> {
        let n_objectives = weights.as_slice().len();
        if let RewardNormalization::Fixed(statistics) = &normalization {
            check_length("statistics", statistics.len(), n_objectives)?;
            for MeanStd { mean, std } in statistics {
                check_finite("mean", &[*mean])?;
                check_positive("standard deviation", *std)?;
            }
        }
        Ok(Self { inner, weights, normalization, running: vec![RunningMeanStd::default(); n_objectives] })
    }

    /// The running statistics, one per objective, for a checkpoint.
    pub fn running(&self) -> &[RunningMeanStd] {
        &self.running
    }

    /// Goes on with the running statistics of a checkpoint.
    ///
    /// # Errors
    /// If there is not one per objective.
    pub fn set_running(&mut self, running: Vec<RunningMeanStd>) -> Result<(), BaselineError> {
        check_length("statistics", running.len(), self.running.len())?;
        self.running = running;
        Ok(())
    }

    /// The reward of every objective, normalised. `[n_objectives][n_answers]`
    fn normalized(&mut self, rewards: Vec<Vec<f64>>) -> Result<Vec<Vec<f64>>, BaselineError> {
        let statistics = match &self.normalization {
            RewardNormalization::None => return Ok(rewards),
            RewardNormalization::Fixed(statistics) => statistics.clone(),
            RewardNormalization::Running => {
                for (running, rewards) in self.running.iter_mut().zip(&rewards) {
                    running.update(rewards)?;
                }
                self.running.iter().filter_map(RunningMeanStd::mean_std).collect()
            }
        };
        let z = |(rewards, statistics): (Vec<f64>, MeanStd)| {
            rewards.into_iter().map(|reward| statistics.z(reward)).collect()
        };
        Ok(rewards.into_iter().zip(statistics).map(z).collect())
    }

    fn scalarize(&mut self, scores: Scores) -> Result<Scores, BaselineError> {
        let n_answers = scores.values.len();
        check_length("objectives with rewards", scores.objectives.len(), self.weights.as_slice().len())?;
        let rewards = scores.objectives.iter().map(|objective| complete(objective, n_answers));
        let rewards = rewards.collect::<Result<Vec<_>, _>>()?;
        let normalized = self.normalized(rewards)?;
        let answer = |answer: usize| normalized.iter().map(|rewards| rewards[answer]).collect::<Vec<_>>();
        let sums = (0..n_answers).map(|number| weighted_sum(&self.weights, &answer(number)));
        let values = sums.collect::<Result<Vec<_>, _>>()?;
        let parts = normalized.iter().zip(self.weights.as_slice()).zip(scores.objectives);
        let part = |((rewards, weight), objective): ((&Vec<f64>, &f64), _)| ObjectiveScores {
            scores: rewards.iter().map(|reward| Some(weight * reward)).collect(),
            ..objective
        };
        Ok(Scores { values, objectives: parts.map(part).collect(), penalties: vec![] })
    }
}

/// An objective's reward of every answer.
fn complete(objective: &ObjectiveScores, n_answers: usize) -> Result<Vec<f64>, BaselineError> {
    check_length("rewards of an objective", objective.scores.len(), n_answers)?;
    let reward = |(answer, score): (usize, &Option<f64>)| {
        score.ok_or_else(|| BaselineError::NoReward { objective: objective.objective.clone(), answer })
    };
    objective.scores.iter().enumerate().map(reward).collect()
}

impl<R: Reward> Reward for Morlhf<R> {
    fn score(&mut self, prompts: &[PolicyPrompt], rollout: &Rollout) -> Result<Scores, RewardError> {
        let scores = self.inner.score(prompts, rollout)?;
        self.scalarize(scores).map_err(|error| RewardError(Box::new(error)))
    }
}

/// One reward per objective, each with a model of its own; the score is their sum, and the level of an answer its reward.
#[derive(Default)]
pub struct RewardPerObjective<'a> {
    rewards: Vec<(String, Box<dyn Reward + 'a>)>,
}

impl<'a> RewardPerObjective<'a> {
    /// The rewards with the names of their objectives, in the order in which weights will name them.
    pub fn new(rewards: Vec<(String, Box<dyn Reward + 'a>)>) -> Self {
        Self { rewards }
    }
}

impl Reward for RewardPerObjective<'_> {
    fn score(&mut self, prompts: &[PolicyPrompt], rollout: &Rollout) -> Result<Scores, RewardError> {
        let mut all = Scores { values: vec![0.0; rollout.answers.len()], ..Scores::default() };
        for (objective, reward) in &mut self.rewards {
            let levels = reward.score(prompts, rollout)?.values;
            let right = check_length("rewards", levels.len(), all.values.len());
            right.map_err(|error| RewardError(Box::new(error)))?;
            all.values.iter_mut().zip(&levels).for_each(|(sum, reward)| *sum += reward);
            let scores = levels.iter().copied().map(Some).collect();
            all.objectives.push(ObjectiveScores { objective: objective.clone(), scores, levels });
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use moslim_lm::Generated;

    use super::*;

    fn rollout(n_answers: usize) -> Rollout {
        let answer = |token| Generated { tokens: vec![token], logprobs: vec![0.0], finished: true };
        Rollout::new(n_answers, (0..n_answers as u32).map(answer).collect())
    }

    fn prompts() -> Vec<PolicyPrompt> {
        let request = moslim_data::Request { levels: vec![Some(1.0), Some(1.0)] };
        vec![PolicyPrompt { prompt: "".into(), request, tokens: vec![0], plain_tokens: vec![0] }]
    }

    /// The token itself, and ten times its distance from 3.
    fn two_rewards() -> RewardPerObjective<'static> {
        let first = |_: &PolicyPrompt, answer: &[u32]| f64::from(answer[0]);
        let second = |_: &PolicyPrompt, answer: &[u32]| 10.0 * (3.0 - f64::from(answer[0]));
        RewardPerObjective::new(vec![("a".into(), Box::new(first)), ("b".into(), Box::new(second))])
    }

    fn scores(weights: [f64; 2], normalization: RewardNormalization) -> Scores {
        let weights = Weights::new(weights.to_vec()).unwrap();
        let mut reward = Morlhf::new(two_rewards(), weights, normalization).unwrap();
        reward.score(&prompts(), &rollout(3)).unwrap()
    }

    #[test]
    fn the_score_is_the_weighted_sum_and_its_parts_are_told() {
        let plain = scores([0.5, 0.5], RewardNormalization::None);
        assert_eq!(plain.values, [15.0, 10.5, 6.0]);
        let [a, b] = plain.objectives.as_slice() else { panic!("{plain:?}") };
        assert_eq!((a.objective.as_str(), b.objective.as_str()), ("a", "b"));
        assert_eq!(a.scores, [Some(0.0), Some(0.5), Some(1.0)]);
        assert_eq!(b.scores, [Some(15.0), Some(10.0), Some(5.0)]);
        assert_eq!((&a.levels[..], &b.levels[..]), (&[0.0, 1.0, 2.0][..], &[30.0, 20.0, 10.0][..]));
        // RewardPerObjective itself adds.
        assert_eq!(two_rewards().score(&prompts(), &rollout(3)).unwrap().values, [30.0, 21.0, 12.0]);
    }

    #[test]
    fn normalised_rewards_of_other_scales_count_the_same() {
        let fixed = vec![MeanStd { mean: 1.0, std: 2.0 }, MeanStd { mean: 20.0, std: 10.0 }];
        // ¼ (r − 1)/2 + ¾ (10 (3 − r) − 20)/10
        let found = scores([0.25, 0.75], RewardNormalization::Fixed(fixed)).values;
        assert_eq!(found, [-0.125 + 0.75, 0.0, 0.125 - 0.75]);
        let running = scores([0.5, 0.5], RewardNormalization::Running).values;
        assert!(running.iter().all(|value| value.abs() < 1e-12), "{running:?}");
    }

    #[test]
    fn running_statistics_go_on_over_batches_and_checkpoints() {
        let new = || {
            let weights = Weights::new(vec![1.0, 0.0]).unwrap();
            Morlhf::new(two_rewards(), weights, RewardNormalization::Running).unwrap()
        };
        let mut straight = new();
        straight.score(&prompts(), &rollout(2)).unwrap();
        let stored = straight.running().to_vec();
        let after = straight.score(&prompts(), &rollout(4)).unwrap();
        // 0, 1, then 0, 1, 2, 3: mean 7/6.
        let statistics = MeanStd::of(&[0.0, 1.0, 0.0, 1.0, 2.0, 3.0]).unwrap();
        assert!((after.values[3] - statistics.z(3.0)).abs() < 1e-12, "{after:?}");
        let mut resumed = new();
        resumed.set_running(stored).unwrap();
        assert_eq!(resumed.score(&prompts(), &rollout(4)).unwrap(), after);
        assert!(resumed.set_running(vec![]).is_err());
    }

    #[test]
    fn what_cannot_be_added_is_refused() {
        let error = |reward: Box<dyn Reward>, weights: Vec<f64>| {
            let mut reward = Morlhf {
                inner: Boxed(reward),
                running: vec![RunningMeanStd::default(); weights.len()],
                weights: Weights::new(weights).unwrap(),
                normalization: RewardNormalization::None,
            };
            reward.score(&prompts(), &rollout(2)).unwrap_err().to_string()
        };
        let scalar = |_: &PolicyPrompt, _: &[u32]| 1.0;
        assert_eq!(error(Box::new(scalar), vec![1.0]), "reward: 0 objectives with rewards, expected 1",);
        let none = |_: &PolicyPrompt, _: &[u32]| f64::NAN;
        let named = RewardPerObjective::new(vec![("a".into(), Box::new(none))]);
        assert_eq!(error(Box::new(named), vec![1.0]), "reward: reward: NaN, expected a finite number");
        assert_eq!(
            error(Box::new(LeavesOpen), vec![1.0]),
            "reward: a: no reward for answer 1, expected one for every answer",
        );
        let fixed = |std| RewardNormalization::Fixed(vec![MeanStd { mean: 0.0, std }; 2]);
        let new = |normalization| Morlhf::new(two_rewards(), Weights::uniform(2).unwrap(), normalization);
        assert!(new(fixed(1.0)).is_ok() && new(fixed(0.0)).is_err() && new(fixed(f64::NAN)).is_err());
        assert!(new(RewardNormalization::Fixed(vec![])).is_err());
        assert!(weighted_sum(&Weights::uniform(2).unwrap(), &[1.0]).is_err());
    }

    struct Boxed(Box<dyn Reward>);

    impl Reward for Boxed {
        fn score(&mut self, prompts: &[PolicyPrompt], rollout: &Rollout) -> Result<Scores, RewardError> {
            self.0.score(prompts, rollout)
        }
    }

    /// An objective that takes no part in the second answer.
    struct LeavesOpen;

    impl Reward for LeavesOpen {
        fn score(&mut self, _: &[PolicyPrompt], _: &Rollout) -> Result<Scores, RewardError> {
            let scores = vec![Some(1.0), None];
            let a = ObjectiveScores { objective: "a".into(), scores, levels: vec![1.0; 2] };
            Ok(Scores { values: vec![1.0; 2], objectives: vec![a], penalties: vec![] })
        }
    }
}
