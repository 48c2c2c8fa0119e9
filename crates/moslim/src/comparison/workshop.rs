//! Where methods are trained: what they share of training, with the bill.

mod bill;
mod kept;
mod reinforcement;
mod remembering;
mod tuning;

use burn::module::Module;
use moslim_baselines::MeanStd;
use moslim_data::Prompt;
use moslim_lm::{CausalLm, TokenRng, generate};
use moslim_reward_mapping::ClassProbabilities;

use super::ground::Ground;
use super::measured::Cost;
use crate::run::Purpose;
use crate::stages::ORDINARY_ANSWERS;
use crate::{Error, Recipe};

pub(super) use self::bill::{GENERATE, REFERENCE, REWARD, UPDATE};
pub(super) use self::tuning::{Example, Pair};

/// A place to train on a [`Ground`]; everything that is done in it is on its bill.
pub(super) struct Workshop<'a> {
    pub ground: &'a Ground<'a>,
    cost: Cost,
    /// Trainings so far, which tells the random draws of one from those of another.
    n_trainings: usize,
    n_draws: u64,
}

/// A sampled answer.
#[derive(Clone, Debug)]
pub(super) struct Answer<'a> {
    pub prompt: &'a Prompt,
    /// The end included, if it was written.
    pub tokens: Vec<u32>,
    pub text: String,
    /// Whether it ended by itself.
    pub finished: bool,
}

/// Answers of the start policy, those to one prompt together, and what the reward model says of them.
pub(super) struct Pool<'a> {
    pub per_prompt: usize,
    pub answers: Vec<Answer<'a>>,
    pub probabilities: Vec<ClassProbabilities>,
}

impl<'a> Workshop<'a> {
    pub(super) fn new(ground: &'a Ground<'a>) -> Self {
        Self { ground, cost: Cost::default(), n_trainings: 0, n_draws: 0 }
    }

    /// The recipe of the method.
    pub(super) fn recipe(&self) -> &'a Recipe {
        &self.ground.run.recipe
    }

    /// What everything took.
    pub(super) fn cost(&self) -> &Cost {
        &self.cost
    }

    /// A stream of random numbers of its own.
    pub(super) fn next_draw(&mut self) -> usize {
        self.n_draws += 1;
        self.n_draws as usize
    }

    /// Samples so many answers of a policy to every prompt, given with the tokens that it reads.
    pub(super) fn answers(
        &mut self,
        policy: &CausalLm,
        prompts: &[(&'a Prompt, Vec<u32>)],
        per_prompt: usize,
    ) -> Result<Vec<Answer<'a>>, Error> {
        let ground = self.ground;
        let rng = TokenRng::new(ground.run.seed(Purpose::ComparisonAnswers), self.next_draw() as u64);
        let tokens: Vec<Vec<u32>> = prompts.iter().map(|(_, tokens)| tokens.clone()).collect();
        let sampling = ground.run.recipe.policy.training.sampling;
        let stops = ground.start.lm.stops();
        let policy = policy.valid().merged();
        let answers =
            self.timed(GENERATE, |_| Ok(generate(&policy, &tokens, per_prompt, &sampling, &stops, &rng)))?;
        self.cost.samples += answers.len();
        let answer = |(row, answer): (usize, moslim_lm::Generated)| {
            let text = ground.start.lm.tokenizer.decode(&answer.tokens)?;
            let prompt = prompts[row / per_prompt].0;
            Ok(Answer { prompt, tokens: answer.tokens, text, finished: answer.finished })
        };
        answers.into_iter().enumerate().map(answer).collect()
    }

    /// What the reward model says of answers.
    pub(super) fn judged(&mut self, answers: &[Answer<'_>]) -> Result<Vec<ClassProbabilities>, Error> {
        let texts: Vec<(&Prompt, &str)> =
            answers.iter().map(|answer| (answer.prompt, answer.text.as_str())).collect();
        self.judged_texts(&texts)
    }

    /// What the reward model says of answers, given as question and text.
    pub(super) fn judged_texts(
        &mut self,
        texts: &[(&Prompt, &str)],
    ) -> Result<Vec<ClassProbabilities>, Error> {
        self.timed(REWARD, |shop| shop.ground.judgement.classify(texts))
    }

    /// What the reward model says of answers of the data that a method learns from.
    pub(super) fn judged_data(
        &mut self,
        texts: &[(&Prompt, &str)],
    ) -> Result<Vec<ClassProbabilities>, Error> {
        self.cost.data_answers += texts.len();
        self.judged_texts(texts)
    }

    /// So many questions of training, over and over from one place on that no two draws share.
    pub(super) fn questions(&mut self, n: usize) -> Vec<&'a Prompt> {
        let prompts = &self.ground.prompts;
        let first = self.ground.run.member_seed(Purpose::ComparisonDraws, self.next_draw()) as usize;
        (0..n).map(|place| prompts[first.wrapping_add(place) % prompts.len()]).collect()
    }

    /// So many answers of the start policy, several to every prompt, with the reward model's judgement: the data of offline methods.
    pub(super) fn pool(&mut self, n_answers: usize) -> Result<Pool<'a>, Error> {
        let ground = self.ground;
        let per_prompt = ground.run.recipe.policy.training.num_generations;
        let questions = self.questions((n_answers / per_prompt).max(1));
        let prompts = questions.into_iter().map(|prompt| Ok((prompt, ground.plain(prompt)?)));
        let prompts: Vec<(&Prompt, Vec<u32>)> = prompts.collect::<Result<_, Error>>()?;
        let answers = self.answers(&ground.start.lm.model, &prompts, per_prompt)?;
        let probabilities = self.judged(&answers)?;
        Ok(Pool { per_prompt, answers, probabilities })
    }

    /// Mean and deviation of the rewards of ordinary answers of the start policy. `[n_objectives]`
    pub(super) fn ordinary_statistics(&mut self) -> Result<Vec<MeanStd>, Error> {
        let Pool { probabilities, .. } = self.pool(ORDINARY_ANSWERS)?;
        let rewards: Vec<Vec<f64>> = probabilities.iter().map(|answer| self.ground.rewards(answer)).collect();
        Ok(MeanStd::of_columns(&rewards)?)
    }
}
