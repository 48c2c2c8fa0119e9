//! Rejection sampling on the mapped reward: of several answers to a prompt with a request the best is fine-tuned on, round by round.

use moslim_baselines::{mix_older_best, select_best};
use moslim_data::{PreferenceSampler, Prompt, Request};
use moslim_lm::CausalLm;

use super::super::dial::{Asked, Dial, OnePolicy, Takes};
use super::super::workshop::{Answer, Example, REWARD, Workshop};
use crate::run::Purpose;
use crate::{Error, RejectionSamplingRecipe, TuningRecipe};

pub(super) fn train<'a>(shop: &mut Workshop<'a>, samples: usize) -> Result<Box<dyn Dial + 'a>, Error> {
    let ground = shop.ground;
    let run = ground.run;
    let reward = ground.mapped_reward()?;
    let sampler = PreferenceSampler::new(run.recipe.policy.requests.clone(), &ground.datasets.schema)?;
    let mut rng = run.rng(Purpose::Requests);
    // Nothing can be the best answer to a prompt that asks for nothing.
    let mut request = move || loop {
        let request = sampler.sample(&mut rng);
        if !request.is_free() {
            return request;
        }
    };
    let policy =
        rounds(shop, &ground.recipe.rejection_sampling, samples, |shop, policy, n_prompts, per_prompt| {
            let asked: Vec<(&Prompt, Request)> =
                shop.questions(n_prompts).into_iter().map(|prompt| (prompt, request())).collect();
            let prompts =
                asked.iter().map(|(prompt, request)| Ok((*prompt, ground.start.encode(prompt, request)?)));
            let prompts: Vec<(&Prompt, Vec<u32>)> = prompts.collect::<Result<_, Error>>()?;
            let answers = shop.answers(policy, &prompts, per_prompt)?;
            let texts: Vec<(&Prompt, &str)> =
                answers.iter().map(|answer| (answer.prompt, answer.text.as_str())).collect();
            let requests: Vec<&Request> = (0..answers.len()).map(|row| &asked[row / per_prompt].1).collect();
            let scores = shop.timed(REWARD, |_| reward.score_texts(&texts, &requests))?;
            Ok(Round { prompts, answers, scores })
        })?;
    let wording = Box::new(|asked: &Asked, prompt: &_| ground.start.encode(prompt, asked.levels()));
    Ok(Box::new(OnePolicy { takes: Takes::Levels, policy, wording }))
}

/// The answers of a round with their scores, those to one prompt together.
pub(super) struct Round<'a> {
    pub prompts: Vec<(&'a Prompt, Vec<u32>)>,
    pub answers: Vec<Answer<'a>>,
    pub scores: Vec<f64>,
}

/// Samples with the policy as it is, keeps the best, fine-tunes on them, and so on, until the samples are spent.
pub(super) fn rounds<'a>(
    shop: &mut Workshop<'a>,
    recipe: &RejectionSamplingRecipe,
    samples: usize,
    mut round: impl FnMut(&mut Workshop<'a>, &CausalLm, usize, usize) -> Result<Round<'a>, Error>,
) -> Result<CausalLm, Error> {
    let ground = shop.ground;
    let num_train_epochs = recipe.num_train_epochs;
    let tuning = TuningRecipe { num_train_epochs, ..ground.recipe.fine_tuning.clone() };
    let per_prompt = ground.run.recipe.policy.training.num_generations;
    shop.kept("policy", |shop, number| {
        let mut rng = ground.run.rng(Purpose::ComparisonDraws);
        let mut policy = ground.trainable(number)?;
        let mut older: Vec<Example> = Vec::new();
        for _ in 0..recipe.rounds {
            let n_prompts = (samples / recipe.rounds / per_prompt).max(1);
            let Round { prompts, answers, scores } = round(shop, &policy, n_prompts, per_prompt)?;
            let best = select_best(&scores, per_prompt, recipe.selection)?.into_iter();
            // An answer that was cut off would teach to go on for ever.
            let best = best.filter(|&row| answers[row].finished);
            let newest: Vec<Example> =
                best.map(|row| (prompts[row / per_prompt].1.clone(), answers[row].tokens.clone())).collect();
            let examples = mix_older_best(newest.clone(), &older, recipe.older_share, &mut rng)?;
            older.extend(newest);
            policy = shop.fine_tuned("round", &tuning, policy, &examples)?;
        }
        let ground = shop.ground;
        shop.note_resident("reward model", ground.judgement.classifier().n_numbers());
        Ok(policy)
    })
}
