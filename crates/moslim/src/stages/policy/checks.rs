//! What is checked at the first step of every run, before anybody waits for the rest.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::Tensor;
use moslim_lm::{CausalLm, Exchange, Precision, response_logprobs};
use moslim_rl::{PolicyPrompt, Step};

use crate::{CheckName, Error, PolicyFolder, PolicyRecipe, Progress};

/// The largest accepted |ratio − 1| of a token at the first mini-batch.
fn ratio_limit(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-4,
        // Roundings of 2⁻⁹, layer upon layer: 0.1 with five layers. A policy that is not the one that wrote is far beyond.
        Precision::Bf16 => 1.0,
    }
}

/// The largest accepted mean |log π − log π_engine| of a token, in nats: engines round otherwise, but have the same weights.
const LARGEST_ENGINE_GAP: f64 = 0.1;

/// Scores that differ by less are the same.
const LEAST_SPREAD: f64 = 1e-9;

/// Checks, of which the recipe may let some fail.
pub(super) struct Checks<'a> {
    pub recipe: &'a PolicyRecipe,
    pub progress: &'a Progress,
}

impl Checks<'_> {
    /// Shows a prompt as the model reads it.
    pub(super) fn show_prompt(&self, start: &PolicyFolder, prompt: &PolicyPrompt) -> Result<(), Error> {
        let text = start.lm.tokenizer.decode_whole(&prompt.tokens)?;
        self.progress
            .say(&format!("a prompt as the policy reads it, {} tokens: {text:?}", prompt.tokens.len()));
        Ok(())
    }

    /// Checks that what is trained is what answers: other weights say something else.
    pub(super) fn weights_are_used(&self, policy: &CausalLm, prompt: &PolicyPrompt) -> Result<(), Error> {
        let exchange = [Exchange { prompt: &prompt.tokens, response: &prompt.tokens }];
        let logprobs = |model: &CausalLm| -> Vec<f32> {
            let found = response_logprobs(&model.valid(), &exchange, 1.0).logprobs;
            found.into_data().convert::<f32>().try_to_vec().expect("log-probabilities are floats")
        };
        let moved = policy.clone().map(&mut Perturb);
        let pairs = logprobs(policy).into_iter().zip(logprobs(&moved));
        let largest = pairs.map(|(before, after)| f64::from((before - after).abs())).fold(0.0, f64::max);
        let what = "moving what is trained moves log-probabilities";
        self.report(CheckName::AdapterUsed, largest > 0.0, format!("{what} by up to {largest:.1e}"), "some")
    }

    /// Checks that sampling and training agree.
    pub(super) fn agreement(&self, step: &Step) -> Result<(), Error> {
        let stats = &step.stats;
        let limit = ratio_limit(self.recipe.training.precision);
        self.report(
            CheckName::FirstMinibatchRatio,
            stats.ratio_error <= limit,
            format!("|ratio - 1| = {:.1e}", stats.ratio_error),
            &format!("at most {limit:.0e}, as sampling and training compute the same log-probabilities"),
        )?;
        if let Some(gap) = stats.engine_gap {
            self.report(
                CheckName::RolloutLogprobs,
                gap <= LARGEST_ENGINE_GAP,
                format!("log-probabilities of the engine are {gap:.1e} off in the mean"),
                &format!(
                    "at most {LARGEST_ENGINE_GAP}, as it has the same weights (vLLM needs --logprobs-mode processed_logprobs)"
                ),
            )?;
        }
        Ok(())
    }

    /// Checks what the start policy and the reward give: nothing that a policy may not lose later.
    pub(super) fn start(&self, step: &Step) -> Result<(), Error> {
        let stats = &step.stats;
        let n = step.rollout.answers.len();
        let ended = step.rollout.answers.iter().filter(|answer| answer.finished).count();
        self.report(
            CheckName::EosReachable,
            n == 0 || ended > 0,
            format!("{ended} of {n} answers end by themselves"),
            "some; allow longer answers or train the start policy to end them",
        )?;
        let spread = stats.score_std;
        self.report(
            CheckName::RewardSpread,
            n == 0 || spread > LEAST_SPREAD,
            format!("scores have mean {:.3} and deviation {spread:.3}", stats.score),
            "a deviation above 0, or there is nothing to learn",
        )
    }

    /// Says how a check went, and fails if it failed and may not.
    fn report(&self, check: CheckName, passed: bool, found: String, expected: &str) -> Result<(), Error> {
        let name = check.name();
        let skipped = self.recipe.skip_checks.contains(&check);
        let verdict = match (passed, skipped) {
            (true, _) => "ok",
            (false, true) => "FAILED, but is let pass",
            (false, false) => return Err(Error::Check { name, found, expected: expected.into() }),
        };
        self.progress.say(&format!("check {name}: {found}: {verdict}"));
        Ok(())
    }
}

/// Moves every number that is trained.
struct Perturb;

impl ModuleMapper for Perturb {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        match param.is_require_grad() {
            true => param.map(|values| (values.clone() * 1.05 + 0.01).detach()),
            false => param,
        }
    }
}
