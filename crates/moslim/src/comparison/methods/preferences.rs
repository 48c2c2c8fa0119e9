//! Preferences as Personalized Soups has them: a sentence for each, and how near answers come to them.

use moslim_baselines::{Pmorl, PreferenceSentences};
use moslim_data::{Objective, ObjectiveSchema, Prompt, Request};
use moslim_rl::PolicyPrompt;

use super::super::ground::{Closeness, Ground};
use super::super::workshop::Workshop;
use crate::{Error, NormalizationName, PreferencesName};

/// The sentences of a comparison, with the levels that they stand for.
pub(super) struct Preferences<'a> {
    ground: &'a Ground<'a>,
    pub sentences: PreferenceSentences,
    /// The level of every preference. `[n_objectives][n_preferences]`
    levels: Vec<Vec<usize>>,
}

impl<'a> Preferences<'a> {
    pub(super) fn of(ground: &'a Ground<'a>) -> Result<Self, Error> {
        let recipe = &ground.recipe.personalized;
        let schema = &ground.datasets.schema;
        let levels_of = |objective: &Objective| match recipe.preferences {
            PreferencesName::Poles => vec![0, objective.n_levels() - 1],
            PreferencesName::Levels => (0..objective.n_levels()).collect(),
        };
        let levels: Vec<Vec<usize>> = schema.objectives().iter().map(levels_of).collect();
        let of_objective =
            |(index, objective): (usize, &Objective)| match recipe.sentences.get(&objective.name) {
                Some(sentences) => sentences.clone(),
                None => levels[index].iter().map(|&level| ground.start.codec.item(index, level)).collect(),
            };
        let sentences = schema.objectives().iter().enumerate().map(of_objective).collect();
        let named = schema.objectives().iter().zip(&levels).map(|(objective, levels)| Objective {
            name: objective.name.clone(),
            levels: levels.iter().map(|&level| objective.levels[level].clone()).collect(),
        });
        let preferences = ObjectiveSchema::new(named.collect()).expect("a part of a schema is one");
        Ok(Self { ground, sentences: PreferenceSentences::new(&preferences, sentences)?, levels })
    }

    /// What a policy reads that is asked for these preferences.
    pub(super) fn prompt(&self, question: &Prompt, preferences: &Request) -> Result<Vec<u32>, Error> {
        self.ground.reworded(question, self.sentences.prompt(&question.question, preferences)?)
    }

    /// A prompt of policy optimisation for these preferences.
    pub(super) fn policy_prompt(
        &self,
        question: &Prompt,
        preferences: &Request,
    ) -> Result<PolicyPrompt, Error> {
        let level = |(objective, preference): (usize, &Option<f64>)| {
            preference.map(|preference| self.levels[objective][preference as usize] as f64)
        };
        Ok(PolicyPrompt {
            prompt: question.clone(),
            request: Request { levels: preferences.levels.iter().enumerate().map(level).collect() },
            tokens: self.prompt(question, preferences)?,
            plain_tokens: self.ground.plain(question)?,
        })
    }

    /// The preferences that come nearest to levels.
    pub(super) fn nearest(&self, levels: &Request) -> Request {
        let nearest = |(level, preferences): (&Option<f64>, &Vec<usize>)| {
            let distance =
                |preference: &usize| (level.unwrap_or_default() - preferences[*preference] as f64).abs();
            // Of equally near ones the higher.
            let found = (0..preferences.len()).rev().min_by(|a, b| distance(a).total_cmp(&distance(b)));
            level.and(found).map(|preference| preference as f64)
        };
        Request { levels: levels.levels.iter().zip(&self.levels).map(nearest).collect() }
    }

    /// The reward: how near an answer comes to the preferences that its prompt names, a mean over them.
    pub(super) fn reward(&self, shop: &mut Workshop<'a>) -> Result<Pmorl<Closeness<'a>>, Error> {
        let statistics = match self.ground.recipe.morlhf.reward_normalization {
            NormalizationName::None => None,
            NormalizationName::Fixed | NormalizationName::Running => Some(shop.ordinary_statistics()?),
        };
        Ok(Pmorl(Closeness { ground: self.ground, statistics }))
    }
}
