//! The reward of the method: a reward model's classes, mapped against what was asked for.

use std::path::Path;

use burn::tensor::Device;
use moslim_data::{Objective, Prompt, Request};
use moslim_eval::classification::expected_level;
use moslim_lm::{Exchange, LmError, Precision, Tokenizer, in_parallel, write_folder, write_text};
use moslim_reward_mapping::{
    ClassProbabilities, MappingError, MappingKind, RewardMapping, RunningStats, TargetStats, UnaskedAnchor,
};
use moslim_reward_model::{Judgement, RewardModelFolder, messages};
use moslim_rl::{ObjectiveScores, PolicyPrompt, Reward, RewardError, Rollout, Scores};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::classifier::Classifier;
use crate::model_card::CARD;
use crate::stages::check_context;

/// A reward model with a mapping; it never shows the request to the model.
pub struct MappedReward {
    classifier: Classifier,
    /// Statistics of the answers scored in training, if the mapping asks for them.
    running: Option<RunningStats>,
    mapping: RewardMapping,
    /// Holds what a request leaves open, in training only.
    anchor: Option<UnaskedAnchor>,
    /// Reads what the policy writes; the reward model may have another vocabulary.
    policy_tokenizer: Tokenizer,
}

/// Writes a reward model with a model card, whole or not at all.
///
/// # Errors
/// If a file cannot be written.
pub(crate) fn write_reward_model(
    folder: &Path,
    reward_model: &RewardModelFolder,
    card: &str,
) -> Result<(), LmError> {
    write_folder(folder, |unfinished| {
        reward_model.write_into(unfinished)?;
        write_text(&unfinished.join(CARD), card)
    })
}

impl MappedReward {
    /// Reads a reward model's folder; its backbone is computed in the precision given.
    ///
    /// # Errors
    /// If a file is missing or malformed.
    pub fn read(
        folder: &Path,
        mapping: RewardMapping,
        policy_tokenizer: Tokenizer,
        precision: Precision,
        device: &Device,
    ) -> Result<Self, Error> {
        let mut reward_model = RewardModelFolder::read(folder, device)?;
        reward_model.model = reward_model.model.in_precision(precision);
        Self::new(Classifier::one(reward_model), mapping, policy_tokenizer)
    }

    /// Maps what a classifier says of answers.
    ///
    /// # Errors
    /// If the mapping's momentum is out of its range.
    pub(crate) fn new(
        classifier: Classifier,
        mapping: RewardMapping,
        policy_tokenizer: Tokenizer,
    ) -> Result<Self, Error> {
        let running = match mapping.kind {
            MappingKind::ZRunning { momentum } => Some(RunningStats::new(momentum)?),
            _ => None,
        };
        Ok(Self { classifier, running, mapping, anchor: None, policy_tokenizer })
    }

    /// Holds the levels that a request leaves open where `ordinary` answers, prompt and answer text, have them.
    ///
    /// # Errors
    /// As [`UnaskedAnchor::new`], or if the tokenizer fails.
    pub fn hold_unasked(&mut self, coef: f64, ordinary: &[(&Prompt, &str)]) -> Result<(), Error> {
        self.anchor = Some(UnaskedAnchor::new(coef, &self.classify(ordinary)?)?);
        Ok(())
    }

    /// Who classifies.
    pub(crate) fn classifier(&self) -> &Classifier {
        &self.classifier
    }

    /// Number of levels of every objective.
    pub(crate) fn n_levels(&self) -> Vec<usize> {
        self.classifier.schema.n_levels()
    }

    /// The class probabilities of answers, given as prompt and answer text.
    ///
    /// # Errors
    /// If the tokenizer fails.
    pub fn classify(&self, answers: &[(&Prompt, &str)]) -> Result<Vec<ClassProbabilities>, Error> {
        self.classifier.classify(answers)
    }

    /// The scores of answers against requests.
    ///
    /// # Errors
    /// If the tokenizer or the mapping fails.
    pub fn score_texts(&self, answers: &[(&Prompt, &str)], requests: &[&Request]) -> Result<Vec<f64>, Error> {
        self.map_all(&self.judge(answers)?, requests)
    }

    /// What the reward model says of answers, with other opinions where the mapping asks for them.
    fn judge(&self, answers: &[(&Prompt, &str)]) -> Result<Vec<Judgement>, Error> {
        if self.mapping.pessimism.asks() {
            return self.classifier.classify_with_opinions(answers);
        }
        let alone = |probabilities| Judgement { probabilities, opinions: vec![] };
        Ok(self.classify(answers)?.into_iter().map(alone).collect())
    }

    fn map_all(&self, answers: &[Judgement], requests: &[&Request]) -> Result<Vec<f64>, Error> {
        let pairs = answers.iter().zip(requests);
        pairs.map(|(answer, request)| self.map(answer, request)).collect()
    }

    /// The score of an answer against a request.
    ///
    /// # Errors
    /// If the request does not fit the objectives, or the mapping asks for opinions that the model does not have.
    pub fn map(&self, answer: &Judgement, request: &Request) -> Result<f64, Error> {
        let stats = self.statistics();
        Ok(self.mapping.score_opinions(&answer.probabilities, &answer.opinions, request, stats)?)
    }

    /// The statistics that a mapping may ask for.
    fn statistics(&self) -> Option<&TargetStats> {
        // Before the first batch of training there is nothing but the calibration set.
        let running = self.running.as_ref().and_then(RunningStats::stats);
        running.or(self.classifier.statistics.as_ref())
    }
}

/// Answers that are cut into tokens and classified together.
const ANSWERS_OF_A_PART: usize = 64;

/// The class probabilities of answers, given as prompt and answer text, under a reward model.
///
/// # Errors
/// If the tokenizer fails, or an answer with its prompt is longer than the model was made for.
pub fn classify(
    reward_model: &RewardModelFolder,
    answers: &[(&Prompt, &str)],
) -> Result<Vec<ClassProbabilities>, Error> {
    of_texts(reward_model, answers, |exchanges| {
        reward_model.class_probabilities(exchanges).into_iter().map(ClassProbabilities).collect()
    })
}

/// As [`classify`], with the opinions that the model's uncertainty consists of.
///
/// # Errors
/// As [`classify`].
pub fn classify_with_opinions(
    reward_model: &RewardModelFolder,
    answers: &[(&Prompt, &str)],
) -> Result<Vec<Judgement>, Error> {
    of_texts(reward_model, answers, |exchanges| reward_model.classify(exchanges))
}

/// What a reward model finds about answers, given as prompt and answer text.
fn of_texts<T: Send + Clone>(
    reward_model: &RewardModelFolder,
    answers: &[(&Prompt, &str)],
    find: impl Fn(&[Exchange<'_>]) -> Vec<T> + Sync,
) -> Result<Vec<T>, Error> {
    let RewardModelFolder { config, tokenizer, model, .. } = reward_model;
    let of_part = |(part, answers): (usize, &[(&Prompt, &str)])| {
        let tokens: Vec<(Vec<u32>, Vec<u32>)> = answers
            .iter()
            .map(|(prompt, answer)| tokenizer.encode_exchange(&messages(prompt), answer))
            .collect::<Result<_, LmError>>()?;
        let lengths = tokens.iter().map(|(prompt, response)| prompt.len() + response.len());
        // The number of an answer is that among all of them.
        let before = std::iter::repeat_n(0, part * ANSWERS_OF_A_PART);
        check_context(config, "answer", before.chain(lengths))?;
        let exchanges: Vec<Exchange<'_>> =
            tokens.iter().map(|(prompt, response)| Exchange { prompt, response }).collect();
        Ok(find(&exchanges))
    };
    let parts =
        in_parallel(&model.device(), answers.chunks(ANSWERS_OF_A_PART).enumerate().collect(), of_part);
    let parts: Vec<Vec<T>> = parts.into_iter().collect::<Result<_, Error>>()?;
    Ok(parts.concat())
}

/// What a reward remembers of the answers that it scored in training.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RewardMemory {
    running: Option<RunningStats>,
    anchor: Option<UnaskedAnchor>,
}

impl MappedReward {
    /// What the scores of the next answers depend on beside the model.
    pub(crate) fn memory(&self) -> RewardMemory {
        RewardMemory { running: self.running.clone(), anchor: self.anchor.clone() }
    }

    /// The reward as it was when [`memory`](Self::memory) was called.
    pub(crate) fn remember(&mut self, memory: RewardMemory) {
        RewardMemory { running: self.running, anchor: self.anchor } = memory;
    }

    /// What every objective has to say of answers, by the model's own opinion.
    fn objectives(
        &self,
        answers: &[ClassProbabilities],
        requests: &[&Request],
    ) -> Result<Vec<ObjectiveScores>, Error> {
        let stats = self.statistics();
        let terms: Vec<Vec<Option<f64>>> = answers
            .iter()
            .zip(requests)
            .map(|(answer, request)| {
                let terms = self.mapping.terms(answer, request, stats)?;
                let divisor = self.mapping.divisor.of(&terms);
                Ok(terms.into_iter().map(|term| term.map(|term| term / divisor)).collect())
            })
            .collect::<Result<_, MappingError>>()?;
        let objectives = self.classifier.schema.objectives().iter().enumerate();
        let of_objective = |(index, objective): (usize, &Objective)| ObjectiveScores {
            objective: objective.name.clone(),
            scores: terms.iter().map(|terms| terms[index]).collect(),
            levels: answers.iter().map(|answer| expected_level(&answer.0[index])).collect(),
        };
        Ok(objectives.map(of_objective).collect())
    }
}

impl Reward for MappedReward {
    fn score(&mut self, prompts: &[PolicyPrompt], rollout: &Rollout) -> Result<Scores, RewardError> {
        let failed = |error: Error| RewardError(Box::new(error));
        let answers: Vec<String> = rollout
            .answers
            .iter()
            .map(|answer| self.policy_tokenizer.decode(&answer.tokens))
            .collect::<Result<_, _>>()
            .map_err(|error| failed(error.into()))?;
        let prompt_of = |row: usize| &prompts[row / rollout.n_samples];
        let texts: Vec<(&Prompt, &str)> = answers
            .iter()
            .enumerate()
            .map(|(row, answer)| (&prompt_of(row).prompt, answer.as_str()))
            .collect();
        let requests: Vec<&Request> = (0..answers.len()).map(|row| &prompt_of(row).request).collect();
        let judged = self.judge(&texts).map_err(failed)?;
        let probabilities: Vec<ClassProbabilities> =
            judged.iter().map(|answer| answer.probabilities.clone()).collect();
        if let Some(running) = &mut self.running {
            running.update(&probabilities).map_err(|error| failed(error.into()))?;
        }
        let mut values = self.map_all(&judged, &requests).map_err(failed)?;
        let objectives = self.objectives(&probabilities, &requests).map_err(failed)?;
        let mut penalties = vec![];
        if let Some(anchor) = &mut self.anchor {
            penalties = anchor.penalties(&probabilities, &requests).map_err(|error| failed(error.into()))?;
            values.iter_mut().zip(&penalties).for_each(|(score, penalty)| *score -= penalty);
        }
        Ok(Scores { values, objectives, penalties })
    }
}
