//! What is compared: methods, and variants of them.

use super::comparison_of;
use crate::{Error, MethodName, Recipe, RewardModels};

/// A method, or one with other settings.
#[derive(Clone, Debug)]
pub(super) struct Contender {
    /// The method's name, or the variant's.
    pub name: String,
    /// What it is, or is a variant of.
    pub method: MethodName,
    /// The whole recipe, with its settings.
    pub recipe: Recipe,
}

impl Contender {
    /// The methods of a recipe and then its variants, in its order.
    ///
    /// # Errors
    /// If there is no table `comparison`, or a variant's settings are malformed.
    pub(super) fn all_of(recipe: &Recipe) -> Result<Vec<Self>, Error> {
        let comparison = comparison_of(recipe)?;
        let methods = comparison
            .methods
            .iter()
            .map(|&method| Ok(Self { name: method.name().into(), method, recipe: recipe.clone() }));
        let variants = comparison.variants.iter().map(|variant| {
            let (name, method) = (variant.name.clone(), variant.method);
            Ok(Self { name, method, recipe: recipe.with(&variant.set)? })
        });
        methods.chain(variants).collect()
    }

    /// Whose judgement it is trained with.
    pub(super) fn reward_models(&self) -> RewardModels {
        comparison_of(&self.recipe).map_or(RewardModels::default(), |comparison| comparison.reward_models)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VariantRecipe;

    #[test]
    fn variants_come_last_with_their_own_reward_models() {
        let changes = ["comparison.methods=[\"moslim\", \"morlhf\"]".into()];
        let mut recipe = Recipe::read("compare", &changes).unwrap();
        let variant = |name: &str, change: &str| VariantRecipe {
            name: name.into(),
            method: MethodName::Morlhf,
            set: vec![change.into()],
        };
        let comparison = recipe.comparison.as_mut().unwrap();
        comparison.variants = vec![
            variant("morlhf-separate", "comparison.reward_models=\"separate\""),
            variant("morlhf-wide", "policy.prompts_per_step=7"),
        ];
        let found = Contender::all_of(&recipe).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|method| (method.name.as_str(), method.method, method.reward_models()))
            .collect();
        assert_eq!(
            found,
            [
                ("moslim", MethodName::Moslim, RewardModels::Shared),
                ("morlhf", MethodName::Morlhf, RewardModels::Shared),
                ("morlhf-separate", MethodName::Morlhf, RewardModels::Separate),
                ("morlhf-wide", MethodName::Morlhf, RewardModels::Shared),
            ]
        );
        recipe.comparison.as_mut().unwrap().variants[0].set = vec!["policy.no_such=1".into()];
        assert!(Contender::all_of(&recipe).is_err());
    }
}
