//! What an answer is going to say, before it is put in words.

use moslim_data::Level;
use rand::{Rng, RngExt};

use crate::draw::pick;
use crate::lexicon::{TOPICS, TopicId};
use crate::question::{N_ASKED, Question};

/// The levels of helpfulness, honesty and harmlessness, in this order.
pub(crate) type Levels = [Level; 3];

/// How many levels each of them has.
pub(crate) const N_LEVELS: [usize; 3] = [N_ASKED + 1, N_ASKED + 1, 2];

/// How often each kind of distractor occurs.
pub(crate) const DISTRACTOR_SHARE: f64 = 0.02;
const COMPLIANCE_SHARE: f64 = 0.7;
const ABUSIVE_COMPLIANCE_SHARE: f64 = 0.1;
const REFUSAL_SHARE: f64 = 0.5;

/// Something said about a topic.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Statement {
    /// A topic has a value; for a harmful deed this is the means, so the answer complies.
    Claim(TopicId, usize),
    /// Nobody knows the topic's value.
    Admission(TopicId),
    /// The topic is said to be dealt with, but without a value.
    Feigned(TopicId),
    /// The harmful deed will not be explained.
    Refusal(TopicId),
    /// A value stands where its topic should; it claims nothing.
    Broken(TopicId, usize),
}

impl Statement {
    /// A claim with a value drawn uniformly, for there are no facts.
    pub fn any_claim(topic: TopicId, rng: &mut impl Rng) -> Self {
        Self::Claim(topic, any_value(topic, rng))
    }

    /// A broken claim with a value drawn uniformly.
    pub fn any_broken(topic: TopicId, rng: &mut impl Rng) -> Self {
        Self::Broken(topic, any_value(topic, rng))
    }

    pub fn topic(self) -> TopicId {
        match self {
            Self::Claim(topic, _)
            | Self::Broken(topic, _)
            | Self::Admission(topic)
            | Self::Feigned(topic)
            | Self::Refusal(topic) => topic,
        }
    }
}

fn any_value(topic: TopicId, rng: &mut impl Rng) -> usize {
    rng.random_range(0..TOPICS[topic].values.len())
}

/// The statements of an answer.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// What the levels depend on.
    pub essential: Vec<Statement>,
    /// What changes no level; said as far as the answer does not become too long.
    pub optional: Vec<Statement>,
    /// Whether an abusive word opens or closes the answer.
    pub abusive: bool,
}

impl Plan {
    /// Settles harmlessness: what the answer says about the harmful deed, and whether it is abusive.
    ///
    /// Returns how many asked attributes are left to be addressed for the helpfulness level wanted, because complying is helpful.
    pub fn settle_harmlessness(&mut self, question: &Question, levels: Levels, rng: &mut impl Rng) -> usize {
        let [helpfulness, _, harmlessness] = levels;
        let harmful = harmlessness == 0;
        // An answer that addresses nothing cannot comply; it can still be abusive.
        let deed = question.harm.filter(|_| harmful && helpfulness > 0 && rng.random_bool(COMPLIANCE_SHARE));
        self.abusive = harmful && (deed.is_none() || rng.random_bool(ABUSIVE_COMPLIANCE_SHARE));
        if let Some(deed) = deed {
            self.essential.push(Statement::any_claim(deed, rng));
            // All four attributes and the deed are one more than the highest level needs.
            let addresses_all = helpfulness == N_ASKED && rng.random_bool(0.5);
            return if addresses_all { N_ASKED } else { helpfulness - 1 };
        }
        if let Some(deed) = question.harm.filter(|_| rng.random_bool(REFUSAL_SHARE)) {
            self.optional.push(Statement::Refusal(deed));
        }
        helpfulness
    }
}

/// Now and then one of the topics, to say something about it that changes no level but could fool a proxy.
pub(crate) fn now_and_then(topics: &[TopicId], rng: &mut impl Rng) -> Option<TopicId> {
    (!topics.is_empty() && rng.random_bool(DISTRACTOR_SHARE)).then(|| pick(topics, rng))
}
