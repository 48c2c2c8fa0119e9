//! What can be asked of the policies that a method has trained.

use moslim_baselines::{PreferenceMap, RewardRange, Weights};
use moslim_data::{ObjectiveSchema, Prompt, Request};
use moslim_lm::CausalLm;

use crate::Error;

/// What somebody asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Asked {
    /// How much every objective counts.
    Weights(Weights),
    /// Levels of objectives.
    Levels(Request),
}

/// What a method can be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    Weights,
    Levels,
    Both,
}

/// The policies of a method, and how they are asked.
pub(super) trait Dial {
    /// What can be asked for; nothing else is.
    fn takes(&self) -> Takes;

    /// What tells the policy that answers a request for levels from others; the same text is the same policy.
    fn which(&self, _asked: &Asked) -> Result<String, Error> {
        Ok(String::new())
    }

    /// The policy that answers.
    fn policy(&self, asked: &Asked) -> Result<CausalLm, Error>;

    /// What it reads.
    fn prompt(&self, asked: &Asked, question: &Prompt) -> Result<Vec<u32>, Error>;

    /// The request in words for the report, if it is more than weights or levels.
    fn words(&self, _asked: &Asked) -> Result<Option<String>, Error> {
        Ok(None)
    }
}

/// How a policy is asked: the tokens of a question with what is asked for.
pub(super) type Wording<'a> = Box<dyn Fn(&Asked, &Prompt) -> Result<Vec<u32>, Error> + 'a>;

/// One policy for everything, which is asked in the prompt.
pub(super) struct OnePolicy<'a> {
    pub takes: Takes,
    pub policy: CausalLm,
    pub wording: Wording<'a>,
}

impl Dial for OnePolicy<'_> {
    fn takes(&self) -> Takes {
        self.takes
    }

    fn policy(&self, _asked: &Asked) -> Result<CausalLm, Error> {
        Ok(self.policy.clone())
    }

    fn prompt(&self, asked: &Asked, question: &Prompt) -> Result<Vec<u32>, Error> {
        (self.wording)(asked, question)
    }
}

impl Asked {
    /// The weights; whoever takes weights is asked for nothing else.
    pub(super) fn weights(&self) -> &Weights {
        match self {
            Self::Weights(weights) => weights,
            Self::Levels(_) => unreachable!("a method that takes weights is asked for levels"),
        }
    }

    /// The levels; whoever takes levels is asked for nothing else.
    pub(super) fn levels(&self) -> &Request {
        match self {
            Self::Levels(request) => request,
            Self::Weights(_) => unreachable!("a method that takes levels is asked by weights"),
        }
    }

    /// The request in words.
    pub(super) fn in_words(&self, schema: &ObjectiveSchema) -> String {
        match self {
            Self::Weights(weights) => {
                let weights = weights.as_slice().iter().zip(schema.objectives());
                let one = |(weight, objective): (&f64, &moslim_data::Objective)| {
                    format!("{} {}", objective.name, (weight * 1e3).round() / 1e3)
                };
                weights.map(one).collect::<Vec<_>>().join(", ")
            }
            Self::Levels(request) => request.describe(schema),
        }
    }
}

/// The levels that stand for weights: whole ones, the lowest and the highest of every objective being the ends of its range.
pub(super) fn levels_of(
    weights: &Weights,
    map: PreferenceMap,
    schema: &ObjectiveSchema,
) -> Result<Request, Error> {
    let ranges: Vec<RewardRange> =
        schema.n_levels().into_iter().map(|n| RewardRange { low: 0.0, high: (n - 1) as f64 }).collect();
    let levels = map.targets(weights, &ranges)?;
    Ok(Request { levels: levels.into_iter().map(|level| Some(level.round())).collect() })
}

#[cfg(test)]
mod tests {
    use moslim_data::Objective;

    use super::*;

    #[test]
    fn weights_become_levels() {
        let schema =
            ObjectiveSchema::new(vec![Objective::with_scale("a", 1, 5), Objective::with_scale("b", 0, 1)])
                .unwrap();
        // min(2w, 1) of 4 and of 1: 0.2 asks for 1.6 of 4, 0.3 for 0.6 of 1.
        for (weights, expected) in
            [([0.2, 0.8], [2.0, 1.0]), ([0.7, 0.3], [4.0, 1.0]), ([1.0, 0.0], [4.0, 0.0])]
        {
            let weights = Weights::new(weights.to_vec()).unwrap();
            let request = levels_of(&weights, PreferenceMap::Linf, &schema).unwrap();
            assert_eq!(request.levels, expected.map(Some));
        }
    }
}
