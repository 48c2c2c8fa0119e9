//! The settings that all algorithms share.

use moslim_lm::{OptimizerConfig, Precision, SamplingParams};
use serde::{Deserialize, Serialize};

use crate::algorithm::check;
use crate::{Algorithm, SettingError};

/// What the reference policy reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferencePrompt {
    /// The question alone: the KL term keeps answers close to ordinary ones.
    Plain,
    /// The question with the request, as the policy.
    WithRequest,
}

/// What becomes of an answer without an end token.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MissingEos {
    /// Its score counts as any other.
    Keep,
    /// So much is subtracted from its score, as TRL's `missing_eos_penalty`.
    Subtract(f64),
    /// This is its score, whatever the reward says, as in OpenAI's code for learning from preferences.
    Replace(f64),
    /// It is not learned from, as with TRL's `mask_truncated_completions`; it still counts among its siblings.
    Drop,
}

/// The settings that all algorithms share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingConfig {
    /// k, answers per prompt.
    pub num_generations: usize,
    /// Times that the answers of a step are learned from.
    pub num_iterations: usize,
    /// Parts of the answers with an update each.
    #[serde(default = "one")]
    pub num_mini_batches: usize,
    /// Answers whose gradient is computed at once; changes speed and memory, not the result.
    pub micro_batch_size: usize,
    /// What becomes of an answer without an end token.
    pub missing_eos: MissingEos,
    /// The range that scores are cut to, after that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reward_clip_range: Option<[f64; 2]>,
    /// Weight of the entropy of the policy's tokens, which the loss then rewards.
    #[serde(default)]
    pub entropy_coef: f64,
    /// What the reference reads.
    pub reference_prompt: ReferencePrompt,
    /// Every so many steps the policy as it is then becomes the reference; it stays the start policy if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ref_model_sync_steps: Option<usize>,
    /// Weight of staying as before on prompts without a request.
    ///
    /// The reference answers them, and the divergence KL(π_ref‖π) along these answers, summed over their tokens, joins the loss.
    /// It is that of the whole distributions, so its gradient is exactly 0 where both policies agree.
    pub free_prompt_coef: f64,
    /// The largest weight π/π_engine of a token that another program sampled; without one such tokens count as the policy's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance_cap: Option<f64>,
    /// The numbers in which policy and reference are computed.
    #[serde(default)]
    pub precision: Precision,
    /// Whether layers compute their activations again in the backward pass instead of keeping them: less memory, a third more arithmetic.
    #[serde(default)]
    pub gradient_checkpointing: bool,
    /// How answers are sampled; the temperature holds for all log-probabilities.
    pub sampling: SamplingParams,
    /// The optimizer.
    pub optimizer: OptimizerConfig,
}

fn one() -> usize {
    1
}

impl TrainingConfig {
    /// One update per step on answers as they come, in micro-batches of 16, with the request read by the reference; nothing of the rest.
    pub fn new(num_generations: usize, sampling: SamplingParams, optimizer: OptimizerConfig) -> Self {
        Self {
            num_generations,
            num_iterations: 1,
            num_mini_batches: 1,
            micro_batch_size: 16,
            missing_eos: MissingEos::Keep,
            reward_clip_range: None,
            entropy_coef: 0.0,
            reference_prompt: ReferencePrompt::WithRequest,
            ref_model_sync_steps: None,
            free_prompt_coef: 0.0,
            importance_cap: None,
            precision: Precision::F32,
            gradient_checkpointing: false,
            sampling,
            optimizer,
        }
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// The first that is out of its range.
    pub fn check(&self, algorithm: &Algorithm) -> Result<(), SettingError> {
        let at_least = |key: &str, found: usize, least: usize| {
            let expected = if least == 2 { "at least 2" } else { "at least 1" };
            check(key, found as f64, found >= least, expected)
        };
        at_least("num_generations", self.num_generations, algorithm.least_generations())?;
        at_least("num_iterations", self.num_iterations, 1)?;
        at_least("num_mini_batches", self.num_mini_batches, 1)?;
        at_least("micro_batch_size", self.micro_batch_size, 1)?;
        at_least("ref_model_sync_steps", self.ref_model_sync_steps.unwrap_or(1), 1)?;
        // Pairs stay together.
        if let Algorithm::OnlineDpo(_) = algorithm {
            let even = self.micro_batch_size.is_multiple_of(2);
            check("micro_batch_size", self.micro_batch_size as f64, even, "an even number, for pairs")?;
        }
        let weight = |key: &str, found: f64| {
            check(key, found, found >= 0.0 && found.is_finite(), "a number from 0 on")
        };
        weight("entropy_coef", self.entropy_coef)?;
        weight("free_prompt_coef", self.free_prompt_coef)?;
        let cap = self.importance_cap.unwrap_or(1.0);
        check("importance_cap", cap, cap > 0.0, "above 0")?;
        let weighs = !matches!(algorithm, Algorithm::OnlineDpo(_) | Algorithm::BestOfN(_));
        check(
            "importance_cap",
            cap,
            weighs || self.importance_cap.is_none(),
            "none, as pairs and examples have no weights",
        )?;
        if let MissingEos::Subtract(value) | MissingEos::Replace(value) = self.missing_eos {
            check("missing_eos", value, value.is_finite(), "a finite number")?;
        }
        if let Some([low, high]) = self.reward_clip_range {
            check("reward_clip_range", low, low < high, "a lower and a higher number")?;
        }
        let SamplingParams { temperature, top_k, top_p, min_p, repetition_penalty, max_new_tokens } =
            self.sampling;
        at_least("sampling.max_new_tokens", max_new_tokens, 1)?;
        let in_range = (1e-6..=1e6).contains(&temperature);
        check("sampling.temperature", temperature, in_range, "from 1e-6 to 1e6")?;
        const WHOLE: &str = "that of the whole distribution, from which rollouts sample";
        check("sampling.top_k", top_k as f64, top_k == 0, WHOLE)?;
        check("sampling.top_p", top_p, top_p == 1.0, WHOLE)?;
        check("sampling.min_p", min_p, min_p == 0.0, WHOLE)?;
        check("sampling.repetition_penalty", repetition_penalty, repetition_penalty == 1.0, WHOLE)
    }
}
