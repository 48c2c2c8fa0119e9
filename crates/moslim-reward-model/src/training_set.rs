//! What a reward model learns from, as tokens.

use std::collections::{BTreeMap, BTreeSet};

use moslim_data::{Comparison, LabeledResponse, ObjectiveSchema, Prompt};
use moslim_lm::{Exchange, LmError, Message, Tokenizer};
use rand::Rng;
use rand_distr::{Distribution, Exp1};

use crate::{HeadConfig, MultiHeadRewardModel, Target};

/// An answer to a prompt as tokens, and what is said of it.
#[derive(Clone, Debug, PartialEq)]
pub struct LabeledExchange {
    /// The prompt without any request.
    pub prompt: Vec<u32>,
    /// The answer and the end token.
    pub response: Vec<u32>,
    /// One entry per objective; `None` where the label is missing.
    pub targets: Vec<Option<Target>>,
    /// How much the labels count.
    pub weight: f64,
}

/// The turns of a prompt as a chat template reads them.
pub fn messages(prompt: &Prompt) -> Vec<Message> {
    let before =
        prompt.before.iter().map(|turn| Message { role: turn.role.clone(), content: turn.content.clone() });
    before.chain([Message::user(prompt.question.clone())]).collect()
}

impl LabeledExchange {
    /// Tokenizes a record.
    ///
    /// # Errors
    /// If the tokenizer or the chat template fails.
    pub fn new(tokenizer: &Tokenizer, record: &LabeledResponse) -> Result<Self, LmError> {
        let (prompt, response) = tokenizer.encode_exchange(&messages(&record.prompt), &record.response)?;
        let targets = record.levels.iter().map(|level| level.map(|level| Target::Level(level as f64)));
        Ok(Self { prompt, response, targets: targets.collect(), weight: record.weight })
    }

    /// The tokens without the labels.
    pub fn exchange(&self) -> Exchange<'_> {
        Exchange { prompt: &self.prompt, response: &self.response }
    }

    /// The number of tokens of prompt and answer.
    pub fn n_tokens(&self) -> usize {
        self.prompt.len() + self.response.len()
    }
}

/// Two answers to a prompt as tokens, of which one is better.
#[derive(Clone, Debug, PartialEq)]
pub struct ComparedExchange {
    /// The prompt without any request.
    pub prompt: Vec<u32>,
    /// The better answer and the end token.
    pub chosen: Vec<u32>,
    /// The other one and the end token.
    pub rejected: Vec<u32>,
    /// The objective in which it is better, by its place among the heads.
    pub objective: usize,
    /// Levels between the two; 1 where only the order is known.
    pub distance: f64,
    /// How much it counts.
    pub weight: f64,
}

impl ComparedExchange {
    /// Tokenizes a pair.
    ///
    /// # Errors
    /// If the tokenizer or the chat template fails.
    pub fn new(tokenizer: &Tokenizer, pair: &Comparison, objective: usize) -> Result<Self, LmError> {
        let messages = messages(&pair.prompt);
        let (prompt, chosen) = tokenizer.encode_exchange(&messages, &pair.chosen)?;
        let (_, rejected) = tokenizer.encode_exchange(&messages, &pair.rejected)?;
        Ok(Self { prompt, chosen, rejected, objective, distance: 1.0, weight: 1.0 })
    }

    /// The better answer, then the other one.
    pub fn exchanges(&self) -> [Exchange<'_>; 2] {
        [&self.chosen, &self.rejected].map(|response| Exchange { prompt: &self.prompt, response })
    }

    /// The number of tokens of the prompt and the longer answer.
    pub fn n_tokens(&self) -> usize {
        self.prompt.len() + self.chosen.len().max(self.rejected.len())
    }
}

/// Labelled answers and pairs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrainingSet {
    /// Answers with a label for at least one head.
    pub answers: Vec<LabeledExchange>,
    /// Pairs for the heads that learn from them.
    pub pairs: Vec<ComparedExchange>,
}

impl TrainingSet {
    /// Tokenizes records and pairs for heads.
    ///
    /// For a head that learns from pairs, labelled answers to one prompt become pairs:
    /// each with the next one of the same prompt that has another level.
    /// Answers without a label for any head, and pairs for heads that learn from labels, teach nothing and are left out.
    ///
    /// # Errors
    /// If the tokenizer or the chat template fails.
    pub fn new(
        tokenizer: &Tokenizer,
        schema: &ObjectiveSchema,
        heads: &[HeadConfig],
        records: &[LabeledResponse],
        comparisons: &[Comparison],
    ) -> Result<Self, LmError> {
        let mut answers: Vec<LabeledExchange> =
            records.iter().map(|record| LabeledExchange::new(tokenizer, record)).collect::<Result<_, _>>()?;
        let compares = |objective: &usize| heads[*objective].kind.compares();
        let mut pairs = Vec::new();
        for pair in comparisons {
            if let Some(objective) = schema.index_of(&pair.objective).filter(compares) {
                pairs.push(ComparedExchange::new(tokenizer, pair, objective)?);
            }
        }
        for objective in (0..schema.len()).filter(compares) {
            pairs.extend(pairs_of_labels(&answers, objective));
            answers.iter_mut().for_each(|answer| answer.targets[objective] = None);
        }
        answers.retain(|answer| answer.targets.iter().any(Option::is_some));
        Ok(Self { answers, pairs })
    }

    /// Tells the heads of a trained model what they put out themselves where an answer has no label for them, so that they keep what
    /// they know while others learn (rehearsal; learning without forgetting, [Li and Hoiem 2016](https://arxiv.org/abs/1606.09282)).
    ///
    /// The answers of pairs are told too, as answers of their own. `n_heads` is the number of all heads, those that the model
    /// lacks included.
    ///
    /// # Panics
    /// If the model has more heads.
    pub fn rehearse(&mut self, model: &MultiHeadRewardModel, n_heads: usize) {
        assert!(model.heads().len() <= n_heads, "{} heads among {n_heads}", model.heads().len());
        let told = self.answers.iter().map(|answer| (answer.prompt.clone(), answer.response.clone()));
        let mut told: BTreeSet<(Vec<u32>, Vec<u32>)> = told.collect();
        for pair in &self.pairs {
            for response in [&pair.chosen, &pair.rejected] {
                let (prompt, response) = (pair.prompt.clone(), response.clone());
                if told.insert((prompt.clone(), response.clone())) {
                    let targets = vec![None; n_heads];
                    self.answers.push(LabeledExchange { prompt, response, targets, weight: 1.0 });
                }
            }
        }
        let exchanges: Vec<Exchange<'_>> = self.answers.iter().map(LabeledExchange::exchange).collect();
        let outputs = model.outputs(&exchanges);
        for (answer, outputs) in self.answers.iter_mut().zip(outputs) {
            for (target, outputs) in answer.targets.iter_mut().zip(outputs) {
                target.get_or_insert(Target::Outputs(outputs));
            }
        }
    }

    /// The same with the weight of every answer and pair multiplied by a draw from an exponential distribution: the Bayesian
    /// bootstrap ([Rubin 1981](https://doi.org/10.1214/aos/1176345338)).
    pub fn bootstrapped(&self, rng: &mut impl Rng) -> Self {
        let mut drawn = self.clone();
        let weights = drawn.answers.iter_mut().map(|answer| &mut answer.weight);
        for weight in weights.chain(drawn.pairs.iter_mut().map(|pair| &mut pair.weight)) {
            let draw: f64 = Exp1.sample(rng);
            *weight *= draw;
        }
        drawn
    }

    /// Whether there is a label or a pair for a head.
    pub fn teaches(&self, head: usize) -> bool {
        self.answers.iter().any(|answer| answer.targets[head].is_some())
            || self.pairs.iter().any(|pair| pair.objective == head)
    }

    /// The number of answers and pairs.
    pub fn len(&self) -> usize {
        self.answers.len() + self.pairs.len()
    }

    /// Whether there is nothing to learn from.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Every labelled answer with the next one to the same prompt that has another level.
fn pairs_of_labels(answers: &[LabeledExchange], objective: usize) -> Vec<ComparedExchange> {
    let mut by_prompt: BTreeMap<&[u32], Vec<(&LabeledExchange, f64)>> = BTreeMap::new();
    for answer in answers {
        if let Some(Target::Level(level)) = answer.targets[objective] {
            by_prompt.entry(&answer.prompt).or_default().push((answer, level));
        }
    }
    let mut pairs = Vec::new();
    for answers in by_prompt.values() {
        for (index, (one, level)) in answers.iter().enumerate() {
            let Some((other, other_level)) = answers[index + 1..].iter().find(|other| other.1 != *level)
            else {
                continue;
            };
            let (chosen, rejected) = if level > other_level { (one, other) } else { (other, one) };
            pairs.push(ComparedExchange {
                prompt: one.prompt.clone(),
                chosen: chosen.response.clone(),
                rejected: rejected.response.clone(),
                objective,
                distance: (level - other_level).abs(),
                weight: (one.weight * other.weight).sqrt(),
            });
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use moslim_data::Objective;
    use moslim_lm::TokenizerKind;

    use super::*;
    use crate::HeadKind;

    #[test]
    fn labels_of_one_prompt_become_pairs_for_a_head_that_compares() {
        let schema =
            ObjectiveSchema::new(["good", "long"].map(|name| Objective::with_scale(name, 0, 4)).into())
                .unwrap();
        let tokenizer = Tokenizer::train(TokenizerKind::Word, ["a b c d e x y"].into_iter(), &[]).unwrap();
        let heads = [HeadKind::BradleyTerry { margin: 0.5 }, HeadKind::Softmax]
            .map(|kind| HeadConfig { kind, hidden_size: None });
        let answer = |prompt, response, good, long| LabeledResponse::new(prompt, response, vec![good, long]);
        let records = [
            answer("x", "a", Some(1), Some(0)),
            answer("y", "b", Some(4), None),
            answer("x", "c", Some(1), None),
            answer("x", "d", Some(3), Some(2)),
            answer("x", "e", None, None),
        ];
        let compared = |objective: &str| Comparison {
            prompt: "y".into(),
            objective: objective.into(),
            chosen: "b".into(),
            rejected: "c".into(),
        };
        let set = TrainingSet::new(
            &tokenizer,
            &schema,
            &heads,
            &records,
            &[compared("good"), compared("long"), compared("other")],
        )
        .unwrap();
        // a and c are worse than d by two levels; c and a are equal; b is alone.
        let text = |tokens: &[u32]| tokenizer.decode(tokens).unwrap();
        let pairs: Vec<(String, String, f64)> =
            set.pairs.iter().map(|pair| (text(&pair.chosen), text(&pair.rejected), pair.distance)).collect();
        let expected = [("b", "c", 1.0), ("d", "a", 2.0), ("d", "c", 2.0)];
        assert_eq!(
            pairs,
            expected.map(|(chosen, rejected, distance)| (chosen.into(), rejected.into(), distance))
        );
        // What is left for the other head.
        let targets: Vec<_> = set.answers.iter().map(|answer| answer.targets.clone()).collect();
        assert_eq!(targets, [0.0, 2.0].map(|level| vec![None, Some(Target::Level(level))]));
    }
}
