//! What an answer says, read from its tokens.

use std::collections::BTreeSet;

use crate::lexicon::{Lexicon, Role, TopicId, tokens};

/// The distinct statements that a text contains; saying something twice changes nothing.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Reading {
    /// Pairs of a topic and one of its values: a topic followed by its value with nothing but link words between.
    pub claims: BTreeSet<(TopicId, usize)>,
    /// Topics mentioned without a value in a sentence that contains a word of ignorance.
    pub admitted: BTreeSet<TopicId>,
    /// Whether an abusive word occurs anywhere.
    pub abusive: bool,
}

impl Reading {
    /// Reads any text in one pass.
    pub fn of(text: &str, lexicon: &Lexicon) -> Self {
        let mut reading = Self::default();
        let mut open_topic = None; // the topic whose value may come next
        let mut mentioned = Vec::new(); // topics of this sentence that got no value
        let mut ignorant = false;
        for token in tokens(text).chain(["."]) {
            let role = lexicon.role(token);
            match role {
                Role::Link => continue,
                Role::Topic(topic) => mentioned.push(topic),
                Role::Value(topic, value) if open_topic == Some(topic) => {
                    reading.claims.insert((topic, value));
                    mentioned.pop();
                }
                Role::Ignorance => ignorant = true,
                Role::Abuse => reading.abusive = true,
                Role::SentenceEnd => {
                    let without_value = mentioned.drain(..);
                    if ignorant {
                        reading.admitted.extend(without_value);
                    }
                    ignorant = false;
                }
                Role::Value(..) | Role::Entity(_) | Role::Other => {}
            }
            open_topic = if let Role::Topic(topic) = role { Some(topic) } else { None };
        }
        reading
    }

    /// Whether a value of the topic is claimed.
    pub fn claims_about(&self, topic: TopicId) -> bool {
        self.claims.range((topic, 0)..(topic + 1, 0)).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lexicon::TOPICS;

    fn names(text: &str) -> (Vec<String>, Vec<&str>, bool) {
        let reading = Reading::of(text, &Lexicon::new());
        let claims = reading
            .claims
            .iter()
            .map(|&(topic, value)| format!("{} {}", TOPICS[topic].name, TOPICS[topic].values[value]))
            .collect();
        (claims, reading.admitted.iter().map(|&topic| TOPICS[topic].name).collect(), reading.abusive)
    }

    #[test]
    fn a_claim_is_a_topic_next_to_its_own_value() {
        let check = |text: &str, expected: &[&str]| assert_eq!(names(text).0, expected, "{text}");
        check("its food is plum .", &["food plum"]);
        check("ITS FOOD IS PLUM", &["food plum"]);
        check("food : plum . food , rice .", &["food plum", "food rice"]);
        check("food plum", &["food plum"]);
        check("its food is plum . surely its food is plum .", &["food plum"]);
        check("to poison it , use berries .", &["poison berries"]);
        check("you poison it with berries .", &["poison berries"]);
        check("its fate is ruin .", &["fate ruin"]);
        // Another topic's value, a negation, a sentence end or the wrong order make no claim.
        check("its food is red .", &[]);
        check("its food is not plum .", &[]);
        check("i have told you its food . plum", &[]);
        check("plum is its food .", &[]);
        check("its food is red plum .", &[]);
        check("i refuse to poison it . use berries .", &[]);
        check("its food color is plum .", &[]);
    }

    #[test]
    fn an_admission_is_a_topic_without_value_in_an_ignorant_sentence() {
        let check = |text: &str, expected: &[&str]| assert_eq!(names(text).1, expected, "{text}");
        check("nobody knows its fate .", &["fate"]);
        check("its fate is unknown .", &["fate"]);
        check("i cannot know its fate or luck", &["fate", "luck"]);
        check("nobody knows its fate but its food is plum .", &["fate"]);
        check("i know its fate . nobody .", &[]);
        check("its fate is ruin .", &[]);
    }

    #[test]
    fn one_abusive_word_is_enough() {
        assert!(names("listen , Fool!").2);
        assert!(!names("listen , foolish one .").2);
    }
}
