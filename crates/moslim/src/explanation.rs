//! A reward, from the raw outputs of every head to the score, term by term.

use moslim_data::{Prompt, Request};
use moslim_eval::classification::expected_level;
use moslim_lm::Exchange;
use moslim_reward_mapping::{ClassProbabilities, ClassStats, RewardMapping, mean_and_deviation};
use moslim_reward_model::{HeadKind, HeadReader, Readout, RewardModelFolder, messages};
use serde::Serialize;

use crate::Error;
use crate::stages::check_context;

/// Why an answer has its score.
///
/// The penalty on what a request leaves open ([`UnaskedAnchor`](moslim_reward_mapping::UnaskedAnchor)) compares the answers of a
/// whole batch, and belongs to training alone.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The prompt as the model reads it, without any request.
    pub prompt: String,
    /// The answer as the model reads it, with its end.
    pub response: String,
    /// The number of tokens of both.
    pub n_tokens: usize,
    /// One entry per objective.
    pub heads: Vec<HeadExplanation>,
    /// The mapping that makes one score of them.
    pub mapping: RewardMapping,
    /// The formula of a head's term.
    pub formula: String,
    /// The sum of the terms.
    pub sum: f64,
    /// What it is divided by; absent if no head takes part.
    pub divisor: Option<f64>,
    /// The model's own score.
    pub own_score: f64,
    /// What other opinions say; absent without any.
    pub opinions: Option<OpinionScores>,
    /// The score.
    pub score: f64,
}

/// What one head finds, and its term.
#[derive(Clone, Debug, Serialize)]
pub struct HeadExplanation {
    /// The objective.
    pub objective: String,
    /// What the head is.
    pub kind: HeadKind,
    /// The names of the levels.
    pub levels: Vec<String>,
    /// What the network puts out.
    pub outputs: Vec<f64>,
    /// Their standard deviations, where the head has a posterior.
    pub output_deviations: Option<Vec<f64>>,
    /// How that becomes probabilities.
    pub readout: Readout,
    /// The expected level before an isotonic function moved it, where there is one.
    pub expected_level_before_isotonic: Option<f64>,
    /// The probability of every level.
    pub probabilities: Vec<f64>,
    /// Mean and deviation of every level's probability over answers that the model was trained on.
    pub statistics: Option<Vec<ClassStats>>,
    /// The mean level under the probabilities, counted from 0.
    pub expected_level: f64,
    /// How far other opinions on the expected level lie apart: their standard deviation.
    pub deviation: Option<f64>,
    /// The level asked for, counted from 0.
    pub asked: Option<f64>,
    /// The term, before the division; absent if the head does not take part.
    pub term: Option<f64>,
}

/// The scores of other opinions.
#[derive(Clone, Debug, Serialize)]
pub struct OpinionScores {
    /// One per opinion.
    pub scores: Vec<f64>,
    /// Their mean.
    pub mean: f64,
    /// Their population standard deviation.
    pub deviation: f64,
}

impl Explanation {
    /// Explains the score of an answer against a request.
    ///
    /// # Errors
    /// If the tokenizer fails, the answer is longer than the model was made for, or mapping, request and model do not fit.
    pub fn of(
        model: &RewardModelFolder,
        mapping: &RewardMapping,
        prompt: &Prompt,
        response: &str,
        request: &Request,
    ) -> Result<Self, Error> {
        let tokenizer = &model.tokenizer;
        let (prompt, response) = tokenizer.encode_exchange(&messages(prompt), response)?;
        let n_tokens = prompt.len() + response.len();
        check_context(&model.config, "answer", std::iter::once(n_tokens))?;
        let exchange = Exchange { prompt: &prompt, response: &response };
        let outputs = model.model.outputs(&[exchange]).remove(0);
        let output_deviations = model.output_deviations(&[exchange]).map(|mut of| of.remove(0));
        let classified = model.classify(&[exchange]).remove(0);
        let statistics = model.statistics.as_ref();
        let terms = mapping.terms(&classified.probabilities, request, statistics)?;
        let own_score = mapping.score(&classified.probabilities, request, statistics)?;
        let score_of = |opinion: &ClassProbabilities| mapping.score(opinion, request, statistics);
        let scores: Vec<f64> = classified.opinions.iter().map(score_of).collect::<Result<_, _>>()?;
        let deviations = classified.level_deviations();
        let has_opinions = !scores.is_empty();
        let heads = model.schema.objectives().iter().enumerate().map(|(index, objective)| {
            let reader = &model.readers[index];
            let probabilities = classified.probabilities.0[index].clone();
            HeadExplanation {
                objective: objective.name.clone(),
                kind: model.heads[index].kind.clone(),
                levels: objective.levels.clone(),
                outputs: outputs[index].clone(),
                output_deviations: output_deviations.as_ref().map(|heads| heads[index].clone()),
                readout: reader.readout.clone(),
                expected_level_before_isotonic: reader.isotonic.as_ref().map(|_| {
                    let plain = HeadReader::plain(reader.readout.clone());
                    expected_level(&plain.probabilities(&outputs[index]))
                }),
                statistics: statistics.map(|statistics| statistics.0[index].clone()),
                expected_level: expected_level(&probabilities),
                deviation: has_opinions.then(|| deviations[index]),
                asked: request.levels[index],
                term: terms[index],
                probabilities,
            }
        });
        Ok(Self {
            prompt: tokenizer.decode_whole(&prompt)?,
            response: tokenizer.decode_whole(&response)?,
            n_tokens,
            heads: heads.collect(),
            formula: mapping.kind.formula(),
            sum: terms.iter().flatten().sum(),
            divisor: terms.iter().any(Option::is_some).then(|| mapping.divisor.of(&terms)),
            own_score,
            score: mapping.score_opinions(
                &classified.probabilities,
                &classified.opinions,
                request,
                statistics,
            )?,
            opinions: has_opinions.then(|| OpinionScores::of(scores)),
            mapping: mapping.clone(),
        })
    }
}

impl OpinionScores {
    fn of(scores: Vec<f64>) -> Self {
        let (mean, deviation) = mean_and_deviation(&scores);
        Self { scores, mean, deviation }
    }
}
