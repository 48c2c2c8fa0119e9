//! DPA: rejection sampling along a direction in the space of rewards, which the prompt names.

use moslim_baselines::{Direction, Weights};
use moslim_data::Prompt;

use super::super::dial::{Asked, Dial, OnePolicy, Takes};
use super::super::ground::Ground;
use super::super::workshop::Workshop;
use super::rejection_sampling::{Round, rounds};
use crate::Error;
use crate::run::Purpose;

/// The words of directions, for tokenizers that know nothing but the words they were trained on.
pub(in crate::comparison) fn instruction_words(objectives: &[&str]) -> Vec<String> {
    let n = objectives.len();
    let even = Direction::new(vec![1.0 / (n as f64).sqrt(); n]).expect("a unit vector");
    let sentence = even.instruction(objectives).expect("a name per objective");
    let numbers = (0..=100).map(|number| number.to_string());
    sentence.split_whitespace().map(String::from).chain(numbers).collect()
}

pub(super) fn train<'a>(shop: &mut Workshop<'a>, samples: usize) -> Result<Box<dyn Dial + 'a>, Error> {
    let ground = shop.ground;
    let mut rng = ground.run.rng(Purpose::Requests);
    let policy = rounds(shop, &ground.recipe.dpa, samples, |shop, policy, n_prompts, per_prompt| {
        let questions = shop.questions(n_prompts).into_iter();
        let asked = questions.map(|prompt| Ok((prompt, Direction::draw(ground.n_objectives(), &mut rng)?)));
        let asked: Vec<(&Prompt, Direction)> = asked.collect::<Result<_, Error>>()?;
        let prompts =
            asked.iter().map(|(prompt, direction)| Ok((*prompt, worded(ground, direction, prompt)?)));
        let prompts: Vec<(&Prompt, Vec<u32>)> = prompts.collect::<Result<_, Error>>()?;
        let answers = shop.answers(policy, &prompts, per_prompt)?;
        let judged = shop.judged(&answers)?;
        let scores = judged
            .iter()
            .enumerate()
            .map(|(row, answer)| asked[row / per_prompt].1.score(&ground.rewards(answer)));
        Ok(Round { prompts, scores: scores.collect::<Result<_, _>>()?, answers })
    })?;
    let wording =
        Box::new(|asked: &Asked, prompt: &Prompt| worded(ground, &direction(asked.weights())?, prompt));
    Ok(Box::new(OnePolicy { takes: Takes::Weights, policy, wording }))
}

/// The direction of weights.
fn direction(weights: &Weights) -> Result<Direction, Error> {
    let length = weights.as_slice().iter().map(|weight| weight.powi(2)).sum::<f64>().sqrt();
    Ok(Direction::new(weights.as_slice().iter().map(|weight| weight / length).collect())?)
}

/// The question behind the sentence that names the direction.
fn worded(ground: &Ground<'_>, direction: &Direction, prompt: &Prompt) -> Result<Vec<u32>, Error> {
    let names = ground.names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    ground.reworded(prompt, format!("{} {}", direction.instruction(&names)?, prompt.question))
}
