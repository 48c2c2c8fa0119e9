//! What a step did, under TRL's names where it has them.

use std::collections::BTreeMap;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::experience::Experience;
use crate::learner::Update;
use crate::ops::KlEstimator;
use crate::{PolicyPrompt, Rollout, Scores};

/// What one step did; means over the answers to prompts with a request.
///
/// Unlike TRL's, means over tokens leave out padding, and `val/ratio_var` is the variance over tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StepStats {
    /// Mean score.
    #[serde(rename = "objective/scores")]
    pub score: f64,
    /// Standard deviation of the scores.
    #[serde(rename = "reward_std")]
    pub score_std: f64,
    /// Mean score minus the KL term, as far as it is part of the reward: what is maximised.
    #[serde(rename = "objective/rlhf_reward")]
    pub rlhf_reward: f64,
    /// Mean divergence from the reference, summed over the answer, by K1. In nats
    #[serde(rename = "objective/kl")]
    pub kl: f64,
    /// The same by K2.
    #[serde(rename = "objective/kl_k2")]
    pub kl_k2: f64,
    /// The same by K3.
    #[serde(rename = "objective/kl_k3")]
    pub kl_k3: f64,
    /// The weight of the KL term; absent for algorithms without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub beta: Option<f64>,
    /// Mean entropy per token of the answers of the first update, in nats; absent if nothing was learned from.
    #[serde(rename = "policy/entropy_avg", default, skip_serializing_if = "Option::is_none")]
    pub entropy: Option<f64>,
    /// Mean answer length, in tokens.
    #[serde(rename = "completions/mean_length")]
    pub mean_length: f64,
    /// The shortest answer, in tokens.
    #[serde(rename = "completions/min_length")]
    pub min_length: usize,
    /// The longest answer, in tokens.
    #[serde(rename = "completions/max_length")]
    pub max_length: usize,
    /// Share of answers without an end token.
    #[serde(rename = "completions/clipped_ratio")]
    pub clipped_ratio: f64,
    /// Share of prompts whose answers all scored the same.
    pub frac_reward_zero_std: f64,
    /// KL(π_ref‖π) per answer to prompts without a request, in nats; absent without such prompts.
    #[serde(rename = "objective/free_prompt_kl", default, skip_serializing_if = "Option::is_none")]
    pub free_prompt_kl: Option<f64>,
    /// The loss before the first update.
    pub loss: f64,
    /// Norm of the gradient before it was clipped, of the first update; not finite if that of any update was not.
    pub grad_norm: f64,
    /// The learning rate of the first update.
    pub lr: f64,
    /// Largest |ρ − 1| of a token before the first update: sampling and training disagree by so much.
    #[serde(rename = "check/ratio_first_minibatch")]
    pub ratio_error: f64,
    /// Mean |log π − log π_engine| of the sampled tokens, where another program sampled.
    #[serde(rename = "check/logp_rollout_train_absdiff", default, skip_serializing_if = "Option::is_none")]
    pub engine_gap: Option<f64>,
    /// Answers sampled, those of the reference included.
    pub n_answers: usize,
    /// Tokens of these answers.
    pub num_tokens: usize,
    /// Where the time went.
    #[serde(flatten)]
    pub seconds: PhaseSeconds,
    /// What the algorithm and the objectives have to say beside that.
    #[serde(flatten)]
    pub metrics: BTreeMap<String, f64>,
}

impl StepStats {
    /// The numbers of a step, but for those of its phases and of answers to prompts without a request.
    pub(crate) fn of(experience: &Experience<'_>, scores: &Scores, update: Update) -> Self {
        let [k1, k2, k3] =
            [KlEstimator::K1, KlEstimator::K2, KlEstimator::K3].map(|kl| experience.divergences(kl));
        let Experience { prompts, rollout, scores: final_scores, .. } = experience;
        let answers = &rollout.answers;
        let lengths = || answers.iter().map(|answer| answer.tokens.len());
        let average = |values: &[f64]| mean(values.iter().copied());
        let kl = average(&k1);
        let beta = experience.kl.map(|(_, beta)| beta);
        let same = |scores: &[f64]| scores.iter().all(|score| score == &scores[0]);
        let Update { mut metrics, loss, entropy, ratio_error, grad_norm, free_prompt_kl } = update;
        let squared = metrics.remove("val/ratio_squared");
        if let (Some(&ratio), Some(squared)) = (metrics.get("val/ratio"), squared) {
            metrics.insert("val/ratio_var".into(), (squared - ratio * ratio).max(0.0));
        }
        metrics.insert("objective/non_score_reward".into(), -experience.beta_in_reward() * kl);
        metrics.extend(of_objectives(prompts, rollout, scores));
        metrics.retain(|_, value| value.is_finite());
        let score = average(final_scores);
        Self {
            score,
            score_std: deviation(final_scores),
            rlhf_reward: score - experience.beta_in_reward() * kl,
            kl,
            kl_k2: average(&k2),
            kl_k3: average(&k3),
            beta,
            entropy,
            mean_length: mean(lengths().map(|length| length as f64)),
            min_length: lengths().min().unwrap_or(0),
            max_length: lengths().max().unwrap_or(0),
            clipped_ratio: mean(answers.iter().map(|answer| f64::from(!answer.finished))),
            frac_reward_zero_std: mean(
                experience.groups().map(|group| f64::from(same(&final_scores[group]))),
            ),
            free_prompt_kl,
            loss,
            grad_norm,
            ratio_error,
            engine_gap: engine_gap(rollout),
            metrics,
            ..Self::default()
        }
    }
}

/// Where the time of a step went, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseSeconds {
    /// Sampling answers.
    #[serde(rename = "timing/generate")]
    pub generate: f64,
    /// Scoring answers.
    #[serde(rename = "timing/reward")]
    pub reward: f64,
    /// Log-probabilities under the reference.
    #[serde(rename = "timing/reference")]
    pub reference: f64,
    /// Values of states, log-probabilities under the policy, gradients and the optimizer.
    #[serde(rename = "timing/update")]
    pub update: f64,
}

impl std::ops::AddAssign for PhaseSeconds {
    fn add_assign(&mut self, other: Self) {
        self.generate += other.generate;
        self.reward += other.reward;
        self.reference += other.reference;
        self.update += other.update;
    }
}

/// A part of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Sampling answers.
    Generate,
    /// Scoring answers.
    Reward,
    /// Log-probabilities under the reference.
    Reference,
    /// Everything that changes the models.
    Update,
}

/// Measures the phases of a step.
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    /// Seconds since the start or the last lap.
    pub(crate) fn lap(&mut self) -> f64 {
        let seconds = self.0.elapsed().as_secs_f64();
        self.0 = Instant::now();
        seconds
    }
}

/// The mean, 0 without values.
fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, n) = values.into_iter().fold((0.0, 0usize), |(sum, n), value| (sum + value, n + 1));
    if n == 0 { 0.0 } else { sum / n as f64 }
}

/// The population standard deviation, 0 without values.
fn deviation(values: &[f64]) -> f64 {
    let of_all = mean(values.iter().copied());
    mean(values.iter().map(|value| (value - of_all).powi(2))).sqrt()
}

/// What the objectives have to say of a step: their part of the score, the level asked for, the level found, and how far these are apart,
/// each a mean over the answers to prompts that ask for the objective.
fn of_objectives(prompts: &[PolicyPrompt], rollout: &Rollout, scores: &Scores) -> BTreeMap<String, f64> {
    let mut metrics = BTreeMap::new();
    for (index, objective) in scores.objectives.iter().enumerate() {
        let asked =
            |row: usize| prompts[row / rollout.n_samples].request.levels.get(index).copied().flatten();
        let rows: Vec<(usize, f64)> =
            (0..objective.levels.len()).filter_map(|row| Some((row, asked(row)?))).collect();
        if rows.is_empty() {
            continue;
        }
        let name = &objective.objective;
        let parts = rows.iter().filter_map(|&(row, _)| objective.scores[row]);
        metrics.insert(format!("objective/scores/{name}"), mean(parts));
        metrics.insert(format!("objective/preference/{name}"), mean(rows.iter().map(|&(_, asked)| asked)));
        let found = rows.iter().map(|&(row, _)| objective.levels[row]);
        metrics.insert(format!("objective/level/{name}"), mean(found));
        let errors = rows.iter().map(|&(row, asked)| (objective.levels[row] - asked).abs());
        metrics.insert(format!("objective/level_error/{name}"), mean(errors));
    }
    if !scores.penalties.is_empty() {
        metrics.insert("objective/unasked_penalty".into(), mean(scores.penalties.iter().copied()));
    }
    metrics
}

/// Mean |log π − log π_engine| of the tokens, if another program sampled them.
fn engine_gap(rollout: &Rollout) -> Option<f64> {
    let engine = rollout.engine_logprobs.as_ref()?;
    let tokens = rollout.answers.iter().flat_map(|answer| &answer.logprobs).zip(engine.iter().flatten());
    let gaps = tokens.map(|(policy, engine)| f64::from((policy - engine).abs()));
    // An engine may not know the probability of an end token that it left out.
    Some(mean(gaps.filter(|gap| gap.is_finite())))
}
