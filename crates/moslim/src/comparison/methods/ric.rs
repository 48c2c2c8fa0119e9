//! Rewards-in-Context: fine-tuning on answers with their rewards as numbers in the prompt, first on answers that are there,
//! then round by round on the policy's own.

use moslim_baselines::{
    MeanStd, RangeSource, RewardRange, RewardTokens, clean_answer, draw_originals, draw_target,
    quantile_filter,
};
use moslim_data::Prompt;
use moslim_lm::CausalLm;
use moslim_reward_model::messages;

use super::super::dial::{Asked, Dial, Takes};
use super::super::ground::Ground;
use super::super::workshop::{Answer, Example, Workshop};
use crate::run::Purpose;
use crate::{Error, WeightsAs};

/// The largest number that prompts have.
const MOST: i32 = 99;

/// The words of prompts with so many rewards, for tokenizers that know nothing but the words they were trained on.
pub(in crate::comparison) fn number_words(n_objectives: usize) -> Vec<String> {
    let names = (1..=n_objectives).map(|number| format!("<rm{number}_score>"));
    names.chain((-MOST..=MOST).map(|tenths| format!("{:.1}", f64::from(tenths) / 10.0 + 0.0))).collect()
}

/// One policy that is asked by numbers.
struct Numbers<'a> {
    ground: &'a Ground<'a>,
    policy: CausalLm,
    tokens: RewardTokens,
    statistics: Vec<MeanStd>,
    ranges: Vec<RewardRange>,
}

pub(super) fn train<'a>(shop: &mut Workshop<'a>, samples: usize) -> Result<Box<dyn Dial + 'a>, Error> {
    let ground = shop.ground;
    let recipe = &ground.recipe.ric;
    let tokens = RewardTokens::numbered(ground.n_objectives())?;
    let mut rng = ground.run.rng(Purpose::ComparisonDraws);

    // As many answers of the data as will be sampled.
    let data = &ground.datasets.sft[..samples.min(ground.datasets.sft.len())];
    let texts: Vec<(&Prompt, &str)> = data.iter().map(|(prompt, answer)| (prompt, answer.as_str())).collect();
    let rewards: Vec<Vec<f64>> =
        shop.judged_data(&texts)?.iter().map(|answer| ground.rewards(answer)).collect();
    let statistics = MeanStd::of_columns(&rewards)?;
    let normalized = |rewards: &[f64]| -> Vec<f64> {
        rewards.iter().zip(&statistics).map(|(&reward, statistics)| within(statistics.z(reward))).collect()
    };
    let data_rewards: Vec<Vec<f64>> = rewards.iter().map(|rewards| normalized(rewards)).collect();
    let targets = RangeSource::online(recipe.mode).ranges(&data_rewards, &mut rng)?;
    let ranges = RangeSource::inference(recipe.mode).ranges(&data_rewards, &mut rng)?;

    let with_rewards =
        |prompt: &Prompt, rewards: &[f64]| ground.reworded(prompt, tokens.append(&prompt.question, rewards)?);
    let of_data = |row: usize| -> Result<Example, Error> {
        let (prompt, answer) = &data[row];
        let (_, answer) = ground.start.lm.tokenizer.encode_exchange(&messages(prompt), answer)?;
        Ok((with_rewards(prompt, &data_rewards[row])?, answer))
    };
    let policy = shop.kept("policy", |shop, number| {
        let offline: Vec<Example> = (0..data.len()).map(of_data).collect::<Result<_, _>>()?;
        let mut policy =
            shop.fine_tuned("offline", &ground.recipe.fine_tuning, ground.trainable(number)?, &offline)?;
        let mut online: Vec<Example> = Vec::new();
        for _ in 0..recipe.rounds {
            let questions = shop.questions(samples / recipe.rounds);
            let asked = questions
                .into_iter()
                .map(|prompt| Ok((prompt, with_rewards(prompt, &draw_target(&targets, &mut rng)?)?)));
            let asked: Vec<(&Prompt, Vec<u32>)> = asked.collect::<Result<_, Error>>()?;
            let answers = shop.answers(&policy, &asked, 1)?;
            let answers = answers.into_iter().filter(|answer| answer.finished);
            let answers = answers.filter_map(|answer| cut(ground, answer).transpose());
            let answers: Vec<Answer<'_>> = answers.collect::<Result<_, Error>>()?;
            let obtained: Vec<Vec<f64>> =
                shop.judged(&answers)?.iter().map(|answer| normalized(&ground.rewards(answer))).collect();
            if obtained.is_empty() {
                continue;
            }
            for row in quantile_filter(&obtained, recipe.quantile)? {
                let answer = &answers[row];
                online.push((with_rewards(answer.prompt, &obtained[row])?, answer.tokens.clone()));
            }
            let originals = draw_originals(&data_rewards, recipe.quantile, recipe.originals, &mut rng)?;
            let originals = originals.into_iter().map(of_data).collect::<Result<Vec<_>, _>>()?;
            policy = shop.fine_tuned(
                "online",
                &ground.recipe.fine_tuning,
                policy,
                &[originals, online.clone()].concat(),
            )?;
        }
        let ground = shop.ground;
        shop.note_resident("reward model", ground.judgement.classifier().n_numbers());
        Ok(policy)
    })?;
    Ok(Box::new(Numbers { ground, policy, tokens, statistics, ranges }))
}

/// An answer up to where it begins a new turn; nothing if it repeats itself.
fn cut<'a>(ground: &Ground<'_>, answer: Answer<'a>) -> Result<Option<Answer<'a>>, Error> {
    match clean_answer(&answer.text) {
        None => Ok(None),
        Some(text) if text.len() == answer.text.trim_end().len() => Ok(Some(answer)),
        Some(text) => {
            let (_, tokens) = ground.start.lm.tokenizer.encode_exchange(&messages(answer.prompt), text)?;
            Ok(Some(Answer { tokens, text: text.into(), ..answer }))
        }
    }
}

/// A normalised reward, no larger than prompts can say.
fn within(z: f64) -> f64 {
    let most = f64::from(MOST) / 10.0;
    z.clamp(-most, most)
}

impl Numbers<'_> {
    /// The rewards to ask for.
    fn rewards(&self, asked: &Asked) -> Result<Vec<f64>, Error> {
        Ok(match asked {
            Asked::Weights(weights) => {
                let map = self.ground.recipe.ric.preference_map;
                map.targets(weights, &self.ranges)?.into_iter().map(within).collect()
            }
            // The reward of a level; of an objective that is left open the mean.
            Asked::Levels(request) => {
                let levels = request.levels.iter().zip(&self.statistics).enumerate();
                let reward = |(objective, (level, statistics)): (usize, (&Option<f64>, &MeanStd))| {
                    level.map_or(0.0, |level| within(statistics.z(self.ground.share_of(objective, level))))
                };
                levels.map(reward).collect()
            }
        })
    }
}

impl Dial for Numbers<'_> {
    fn takes(&self) -> Takes {
        match self.ground.recipe.ric.weights_as {
            WeightsAs::Rewards => Takes::Both,
            WeightsAs::Levels => Takes::Levels,
        }
    }

    fn policy(&self, _asked: &Asked) -> Result<CausalLm, Error> {
        Ok(self.policy.clone())
    }

    fn prompt(&self, asked: &Asked, question: &Prompt) -> Result<Vec<u32>, Error> {
        self.ground.reworded(question, self.tokens.append(&question.question, &self.rewards(asked)?)?)
    }

    fn words(&self, asked: &Asked) -> Result<Option<String>, Error> {
        Ok(Some(self.tokens.text(&self.rewards(asked)?)?))
    }
}
