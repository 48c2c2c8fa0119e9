//! Who says which levels an answer has in training: one reward model for all objectives, or one for each.

use moslim_data::{ObjectiveSchema, Prompt};
use moslim_reward_mapping::{ClassProbabilities, TargetStats};
use moslim_reward_model::{Judgement, RewardModelFolder};

use burn::module::Module;

use crate::Error;
use crate::mapped_reward::{classify, classify_with_opinions};

/// Reward models whose heads together are those of a schema, in its order.
pub(crate) struct Classifier {
    models: Vec<RewardModelFolder>,
    /// The objectives of all of them.
    pub schema: ObjectiveSchema,
    /// How the probabilities of all heads are spread, if every model knows it of its own.
    pub statistics: Option<TargetStats>,
}

impl Classifier {
    /// One model for all objectives.
    pub(crate) fn one(model: RewardModelFolder) -> Self {
        Self { schema: model.schema.clone(), statistics: model.statistics.clone(), models: vec![model] }
    }

    /// Models of which every one has the next objectives of the schema.
    ///
    /// # Panics
    /// If their objectives are not those of the schema.
    pub(crate) fn several(models: Vec<RewardModelFolder>, schema: ObjectiveSchema) -> Self {
        let objectives: Vec<_> = models.iter().flat_map(|model| model.schema.objectives()).collect();
        assert!(objectives.into_iter().eq(schema.objectives()), "a head for every objective, in order");
        let statistics = models.iter().map(|model| Some(model.statistics.clone()?.0));
        let statistics = statistics.collect::<Option<Vec<_>>>().map(|heads| TargetStats(heads.concat()));
        Self { models, schema, statistics }
    }

    /// The models.
    pub(crate) fn models(&self) -> &[RewardModelFolder] {
        &self.models
    }

    /// The number of weights of all models.
    pub(crate) fn n_numbers(&self) -> usize {
        self.models.iter().map(|model| model.model.num_params()).sum()
    }

    /// The class probabilities of answers, given as prompt and answer text.
    ///
    /// # Errors
    /// As [`classify`].
    pub(crate) fn classify(&self, answers: &[(&Prompt, &str)]) -> Result<Vec<ClassProbabilities>, Error> {
        let of_models = self.models.iter().map(|model| classify(model, answers));
        Ok(side_by_side(of_models.collect::<Result<_, _>>()?, |heads, more| heads.0.extend(more.0)))
    }

    /// The same with opinions: the first of every model together, the second, and so on.
    ///
    /// # Errors
    /// As [`classify_with_opinions`].
    pub(crate) fn classify_with_opinions(
        &self,
        answers: &[(&Prompt, &str)],
    ) -> Result<Vec<Judgement>, Error> {
        let of_models = self.models.iter().map(|model| classify_with_opinions(model, answers));
        Ok(side_by_side(of_models.collect::<Result<_, _>>()?, |all, more| {
            all.probabilities.0.extend(more.probabilities.0);
            all.opinions.iter_mut().zip(more.opinions).for_each(|(all, more)| all.0.extend(more.0));
        }))
    }
}

/// What the first model finds about every answer, with what the others find put beside it.
fn side_by_side<T>(of_models: Vec<Vec<T>>, mut put: impl FnMut(&mut T, T)) -> Vec<T> {
    let mut of_models = of_models.into_iter();
    let mut all = of_models.next().unwrap_or_default();
    for of_model in of_models {
        all.iter_mut().zip(of_model).for_each(|(all, more)| put(all, more));
    }
    all
}
