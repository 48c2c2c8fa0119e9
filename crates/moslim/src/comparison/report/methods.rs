//! The methods of a comparison by their names in the report.

use crate::comparison::measured::Outcome;
use crate::{Error, MethodName, Recipe, RewardModels};

/// A method, or a variant of one.
pub(super) struct Method {
    /// Its name in the report.
    pub name: String,
    /// What it is, or is a variant of.
    pub kind: MethodName,
    /// Whose judgement it is trained with.
    pub reward_models: RewardModels,
}

/// The methods and then the variants, as the recipe lists them.
pub(super) fn methods(recipe: &Recipe) -> Result<Vec<Method>, Error> {
    let Some(comparison) = &recipe.comparison else {
        return Ok(Vec::new());
    };
    let reward_models = comparison.reward_models;
    let own =
        comparison.methods.iter().map(|&kind| Ok(Method { name: kind.name().into(), kind, reward_models }));
    let variants = comparison.variants.iter().map(|variant| {
        let changed = recipe.with(&variant.set)?.comparison;
        Ok(Method {
            name: variant.name.clone(),
            kind: variant.method,
            reward_models: changed.map_or(reward_models, |changed| changed.reward_models),
        })
    });
    own.chain(variants).collect()
}

impl Method {
    /// Whether the outcome is of this method.
    pub(super) fn has(&self, outcome: &Outcome) -> bool {
        outcome.method == self.name
    }

    /// What it trains, in words.
    pub(super) fn trainings(&self) -> &'static str {
        match self.kind {
            MethodName::Moslim | MethodName::PMorl => "one policy for every request",
            MethodName::Morlhf => "one policy per point",
            MethodName::RewardedSoups => "one policy per reward, mixed for every point",
            MethodName::PersonalizedSoups => "one policy per preference, merged for every point",
            MethodName::Ric => "one policy, fine-tuned offline and after every online round",
            MethodName::Cpo => "one policy, fine-tuned under conditions and then by DPO",
            MethodName::Modpo => "one policy per point, and a margin model for every reward but one",
            MethodName::RejectionSampling | MethodName::Dpa => "one policy, fine-tuned in every round",
            MethodName::SteerLm2 => "one conditional model, and one that learns from it",
        }
    }

    /// Whether it trains again for every further point.
    pub(super) fn trains_per_point(&self) -> bool {
        matches!(self.kind, MethodName::Morlhf | MethodName::Modpo)
    }

    /// The reward models that it needs as published, for N rewards.
    pub(super) fn published_reward_models(&self) -> &'static str {
        match self.kind {
            MethodName::Moslim => "1",
            MethodName::Cpo => "none: rated answers",
            MethodName::Modpo => "N − 1, as margins",
            MethodName::RejectionSampling => "1 or N",
            MethodName::Dpa | MethodName::SteerLm2 => "1",
            MethodName::Morlhf
            | MethodName::RewardedSoups
            | MethodName::PersonalizedSoups
            | MethodName::PMorl
            | MethodName::Ric => "N",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;
    use crate::{BudgetName, VariantRecipe};

    #[test]
    fn variants_come_last_with_their_own_reward_models() {
        let mut recipe =
            Sample::new(&[MethodName::Moslim, MethodName::Morlhf], &[BudgetName::Samples], &[1]).recipe;
        let variant = |name: &str, change: &str| VariantRecipe {
            name: name.into(),
            method: MethodName::Morlhf,
            set: vec![change.into()],
        };
        let comparison = recipe.comparison.as_mut().unwrap();
        comparison.variants = vec![
            variant("morlhf-separate", "comparison.reward_models=\"separate\""),
            variant("morlhf-long", "policy.max_steps=7"),
        ];
        let found = methods(&recipe).unwrap();
        let found: Vec<_> =
            found.iter().map(|method| (method.name.as_str(), method.kind, method.reward_models)).collect();
        assert_eq!(
            found,
            [
                ("moslim", MethodName::Moslim, RewardModels::Shared),
                ("morlhf", MethodName::Morlhf, RewardModels::Shared),
                ("morlhf-separate", MethodName::Morlhf, RewardModels::Separate),
                ("morlhf-long", MethodName::Morlhf, RewardModels::Shared),
            ]
        );
        recipe.comparison.as_mut().unwrap().variants[0].set = vec!["policy.no_such=1".into()];
        assert!(methods(&recipe).is_err());
    }
}
