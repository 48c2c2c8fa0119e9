//! What a step learns from.

use moslim_lm::{Exchange, TokenRng};

use crate::ops::KlEstimator;
use crate::{KlPlacement, ObjectiveScores, PolicyPrompt, Rollout};

/// The answers of a step with everything that the algorithms need of them; rows are the answers in the rollout's order.
pub(crate) struct Experience<'a> {
    pub prompts: &'a [PolicyPrompt],
    pub rollout: &'a Rollout,
    /// The scores after what is done about missing ends and outliers. `[n_rows]`
    pub scores: Vec<f64>,
    /// What every objective has to say, if the reward has objectives.
    pub objectives: &'a [ObjectiveScores],
    /// Log-probabilities under the reference, one list of tokens per row.
    pub reference_logprobs: Vec<Vec<f64>>,
    /// The rows that are learned from.
    pub kept: Vec<usize>,
    /// Where the KL term goes and its weight now; `None` for algorithms without one.
    pub kl: Option<(KlPlacement, f64)>,
    /// What the reference answered to prompts without a request.
    pub free: Vec<Exchange<'a>>,
    /// The largest weight of a token that another program sampled; such answers have no weights without one.
    pub importance_cap: Option<f64>,
    /// Random numbers of this step.
    pub rng: TokenRng,
}

impl<'a> Experience<'a> {
    /// The answers, each behind the prompt with its request.
    pub(crate) fn exchanges(&self) -> Vec<Exchange<'a>> {
        let prompts = self.prompts;
        self.rollout.exchanges(|index| &prompts[index].tokens)
    }

    /// log π/π_ref of every token, as it was sampled.
    pub(crate) fn log_ratios(&self) -> impl Iterator<Item = impl Iterator<Item = f64> + '_> + '_ {
        let rows = self.rollout.answers.iter().zip(&self.reference_logprobs);
        rows.map(|(answer, reference)| {
            answer.logprobs.iter().zip(reference).map(|(&policy, reference)| f64::from(policy) - reference)
        })
    }

    /// The divergence of every answer from the reference, summed over its tokens. `[n_rows]`
    pub(crate) fn divergences(&self, estimator: KlEstimator) -> Vec<f64> {
        let of_row = |ratios| Iterator::map(ratios, |ratio| estimator.estimate(ratio)).sum();
        self.log_ratios().map(of_row).collect()
    }

    /// The weight of the KL term in the reward.
    pub(crate) fn beta_in_reward(&self) -> f64 {
        match self.kl {
            Some((KlPlacement::Reward, beta)) => beta,
            _ => 0.0,
        }
    }

    /// What every answer as a whole is worth: `r = R − β Σ log π/π_ref`, as far as the KL term is part of the reward.
    pub(crate) fn rewards(&self) -> Vec<f64> {
        let beta = self.beta_in_reward();
        let rows = self.scores.iter().zip(self.log_ratios());
        rows.map(|(score, ratios)| score - beta * ratios.sum::<f64>()).collect()
    }

    /// The log-probabilities under the policy that sampled, one list of tokens per row.
    pub(crate) fn old_logprobs(&self) -> Vec<Vec<f64>> {
        let of = |logprobs: &[f32]| logprobs.iter().copied().map(f64::from).collect();
        self.rollout.answers.iter().map(|answer| of(&answer.logprobs)).collect()
    }

    /// Advantages of whole answers with truncated importance weights `min(π/π_engine, cap)`, if another program sampled.
    pub(crate) fn weighted(&self, mut advantages: Vec<f64>) -> Vec<f64> {
        if let Some((cap, gaps)) = self.engine_gaps() {
            let weights = gaps.map(|gaps| gaps.sum::<f64>().exp().min(cap));
            advantages.iter_mut().zip(weights).for_each(|(advantage, weight)| *advantage *= weight);
        }
        advantages
    }

    /// As [`weighted`](Self::weighted), for advantages and weights of tokens.
    pub(crate) fn weighted_tokens(&self, mut advantages: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        if let Some((cap, gaps)) = self.engine_gaps() {
            for (row, gaps) in advantages.iter_mut().zip(gaps) {
                row.iter_mut().zip(gaps).for_each(|(advantage, gap)| *advantage *= gap.exp().min(cap));
            }
        }
        advantages
    }

    /// log π/π_engine of every token, with the cap, if both are there; 0 where the engine did not say.
    fn engine_gaps(&self) -> Option<(f64, impl Iterator<Item = impl Iterator<Item = f64> + '_> + '_)> {
        let (cap, engine) = (self.importance_cap?, self.rollout.engine_logprobs.as_ref()?);
        let rows = self.rollout.answers.iter().zip(engine);
        let gaps = rows.map(|(answer, engine)| {
            let tokens = answer.logprobs.iter().zip(engine);
            tokens
                .map(|(policy, engine)| f64::from(policy - engine))
                .map(|gap| if gap.is_nan() { 0.0 } else { gap })
        });
        Some((cap, gaps))
    }

    /// The numbers of the answers to every prompt.
    pub(crate) fn groups(&self) -> impl Iterator<Item = std::ops::Range<usize>> + use<> {
        let (n, k) = (self.scores.len(), self.rollout.n_samples);
        (0..n / k.max(1)).map(move |prompt| prompt * k..(prompt + 1) * k)
    }
}
