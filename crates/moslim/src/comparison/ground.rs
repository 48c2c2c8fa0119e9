//! What all methods of a comparison have in common with one seed.

use moslim_baselines::{MeanStd, Weights};
use moslim_data::{Prompt, Request};
use moslim_eval::classification::expected_level;
use moslim_lm::CausalLm;
use moslim_reward_mapping::ClassProbabilities;
use moslim_reward_model::messages;
use moslim_rl::{ObjectiveScores, PolicyPrompt, Reward, RewardError, Rollout, Scores};

use super::separate;
use crate::stages::{fitting_prompts, read_reward, read_start};
use crate::{ComparisonRecipe, Datasets, Error, MappedReward, PolicyFolder, RewardModels, Run};

/// Start policy, reward model, prompts and settings.
pub(super) struct Ground<'a> {
    /// The run of the method, whose recipe is the method's.
    pub run: &'a Run,
    pub recipe: &'a ComparisonRecipe,
    pub datasets: &'a Datasets,
    /// On a device with gradients.
    pub start: PolicyFolder,
    /// The questions of training that leave room for an answer.
    pub prompts: Vec<&'a Prompt>,
    /// The judgement that methods are trained with.
    pub judgement: MappedReward,
    /// The weightings at which every method is measured.
    pub weightings: Vec<Weights>,
    /// The highest level of every objective.
    highest: Vec<f64>,
}

impl<'a> Ground<'a> {
    /// Reads what the base run has made.
    pub(super) fn of(
        run: &'a Run,
        recipe: &'a ComparisonRecipe,
        datasets: &'a Datasets,
    ) -> Result<Self, Error> {
        let start = read_start(run, &run.device.clone().autodiff())?;
        let prompts = fitting_prompts(run, datasets, &start)?;
        let judgement = mapped_reward(run, recipe, datasets, &start)?;
        let n_levels = datasets.schema.n_levels();
        Ok(Self {
            run,
            recipe,
            datasets,
            start,
            prompts,
            judgement,
            weightings: Weights::grid(n_levels.len(), recipe.weight_steps)?,
            highest: n_levels.into_iter().map(|n| (n - 1) as f64).collect(),
        })
    }

    /// The mapped reward, with nothing remembered.
    pub(super) fn mapped_reward(&self) -> Result<MappedReward, Error> {
        mapped_reward(self.run, self.recipe, self.datasets, &self.start)
    }

    /// The number of objectives.
    pub(super) fn n_objectives(&self) -> usize {
        self.highest.len()
    }

    /// The names of the objectives.
    pub(super) fn names(&self) -> Vec<String> {
        self.datasets.schema.objectives().iter().map(|objective| objective.name.clone()).collect()
    }

    /// A question as it is.
    pub(super) fn plain(&self, prompt: &Prompt) -> Result<Vec<u32>, Error> {
        Ok(self.start.lm.tokenizer.encode_chat(&messages(prompt))?)
    }

    /// A question in other words.
    pub(super) fn reworded(&self, prompt: &Prompt, question: String) -> Result<Vec<u32>, Error> {
        self.plain(&Prompt { question, ..prompt.clone() })
    }

    /// A prompt of policy optimisation that says `tokens` and is about every objective.
    pub(super) fn about_all(&self, prompt: &Prompt, tokens: Vec<u32>) -> Result<PolicyPrompt, Error> {
        let request = Request { levels: self.highest.iter().copied().map(Some).collect() };
        Ok(PolicyPrompt { prompt: prompt.clone(), request, plain_tokens: self.plain(prompt)?, tokens })
    }

    /// The start policy as it is trained: with an adapter, if the recipe wants one.
    pub(super) fn trainable(&self, training: usize) -> Result<CausalLm, Error> {
        self.run.with_adapter(self.start.lm.model.clone(), training)
    }

    /// The reward of an answer for every objective: its expected level divided by the highest. `[n_objectives]`
    pub(super) fn rewards(&self, probabilities: &ClassProbabilities) -> Vec<f64> {
        let heads = probabilities.0.iter().zip(&self.highest);
        heads.map(|(head, highest)| expected_level(head) / highest).collect()
    }

    /// Levels as shares of the highest. `[n_objectives]`
    pub(super) fn shares(&self, levels: &[usize]) -> Vec<f64> {
        levels.iter().zip(&self.highest).map(|(&level, highest)| level as f64 / highest).collect()
    }

    /// A request's level as a share of the highest.
    pub(super) fn share_of(&self, objective: usize, level: f64) -> f64 {
        level / self.highest[objective]
    }
}

fn mapped_reward(
    run: &Run,
    recipe: &ComparisonRecipe,
    datasets: &Datasets,
    start: &PolicyFolder,
) -> Result<MappedReward, Error> {
    match recipe.reward_models {
        RewardModels::Shared => read_reward(run, start),
        RewardModels::Separate => {
            let (mapping, tokenizer) = (run.recipe.mapping.clone(), start.lm.tokenizer.clone());
            MappedReward::new(separate::read(run, &datasets.schema)?, mapping, tokenizer)
        }
    }
}

/// The reward of every objective, whatever the prompt asks for; the score is their sum.
pub(super) struct ExpectedLevels<'a>(pub &'a Ground<'a>);

/// How near answers are to the levels that the prompt names: `1 − |r_i − t_i|`, which is `r_i` for the highest level and
/// `1 − r_i` for the lowest; divided by the deviation of `r_i`, if there are statistics.
pub(super) struct Closeness<'a> {
    pub ground: &'a Ground<'a>,
    pub statistics: Option<Vec<MeanStd>>,
}

impl Ground<'_> {
    /// The probabilities of a rollout's answers, in its order.
    fn probabilities(
        &self,
        prompts: &[PolicyPrompt],
        rollout: &Rollout,
    ) -> Result<Vec<ClassProbabilities>, RewardError> {
        let tokenizer = &self.start.lm.tokenizer;
        let texts = rollout.answers.iter().map(|answer| tokenizer.decode(&answer.tokens));
        let texts =
            texts.collect::<Result<Vec<String>, _>>().map_err(|error| RewardError(Box::new(error)))?;
        let answers: Vec<(&Prompt, &str)> = texts
            .iter()
            .enumerate()
            .map(|(row, text)| (&prompts[row / rollout.n_samples].prompt, text.as_str()))
            .collect();
        self.judgement.classify(&answers).map_err(|error| RewardError(Box::new(error)))
    }

    /// Scores that consist of what `reward(row, objective, r_i)` gives.
    fn scores(
        &self,
        probabilities: &[ClassProbabilities],
        reward: impl Fn(usize, usize, f64) -> Option<f64>,
    ) -> Scores {
        let rewards: Vec<Vec<f64>> = probabilities.iter().map(|answer| self.rewards(answer)).collect();
        let of_objective = |(index, objective): (usize, String)| ObjectiveScores {
            objective,
            scores: rewards.iter().enumerate().map(|(row, of)| reward(row, index, of[index])).collect(),
            levels: probabilities.iter().map(|answer| expected_level(&answer.0[index])).collect(),
        };
        let objectives: Vec<ObjectiveScores> =
            self.names().into_iter().enumerate().map(of_objective).collect();
        let value = |row: usize| objectives.iter().filter_map(|objective| objective.scores[row]).sum();
        Scores { values: (0..probabilities.len()).map(value).collect(), objectives, penalties: vec![] }
    }
}

impl Reward for ExpectedLevels<'_> {
    fn score(&mut self, prompts: &[PolicyPrompt], rollout: &Rollout) -> Result<Scores, RewardError> {
        let probabilities = self.0.probabilities(prompts, rollout)?;
        Ok(self.0.scores(&probabilities, |_, _, reward| Some(reward)))
    }
}

impl Reward for Closeness<'_> {
    fn score(&mut self, prompts: &[PolicyPrompt], rollout: &Rollout) -> Result<Scores, RewardError> {
        let probabilities = self.ground.probabilities(prompts, rollout)?;
        Ok(self.ground.scores(&probabilities, |row, objective, reward| {
            let level = prompts[row / rollout.n_samples].request.levels[objective]?;
            let closeness = 1.0 - (reward - self.ground.share_of(objective, level)).abs();
            Some(match &self.statistics {
                // MeanStd::z knows what to do where nothing deviates; the mean falls out of every advantage.
                Some(statistics) => MeanStd { mean: 0.0, ..statistics[objective] }.z(closeness),
                None => closeness,
            })
        }))
    }
}
