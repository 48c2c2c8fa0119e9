//! How a policy was trained, in a sentence.

use moslim_rl::Algorithm;

use crate::PolicyRecipe;

/// An item of the card's list of steps; `weights` says which were trained.
pub(super) fn policy_method(policy: &PolicyRecipe, weights: &str) -> String {
    let algorithm = policy.algorithm();
    let method = match &algorithm {
        Algorithm::Rloo(_) => "RLOO ([arXiv 2402.14740](https://arxiv.org/abs/2402.14740))",
        Algorithm::Ppo(_) => "PPO ([arXiv 1707.06347](https://arxiv.org/abs/1707.06347))",
        Algorithm::OnlineDpo(_) => "Online DPO ([arXiv 2402.04792](https://arxiv.org/abs/2402.04792))",
        Algorithm::BestOfN(_) => {
            "Fine-tuning on the best of n answers ([RAFT](https://arxiv.org/abs/2304.06767))"
        }
        Algorithm::Grpo(_) => "GRPO ([arXiv 2402.03300](https://arxiv.org/abs/2402.03300))",
    };
    let beta = match &algorithm {
        Algorithm::OnlineDpo(config) => config.beta,
        other => other.kl().map_or(0.0, |kl| kl.beta),
    };
    format!(
        "- {method} on the reward model's classes mapped against the levels asked for, after MOSLIM \
         ([arXiv 2505.20336](https://arxiv.org/abs/2505.20336)): {} steps of {} prompts with {} answers each, \
         KL coefficient {beta}, {weights}.",
        policy.max_steps, policy.prompts_per_step, policy.training.num_generations
    )
}
