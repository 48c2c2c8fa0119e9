//! Every word of the world and what it means to the gold rules.
//!
//! A word has one role wherever it stands, so that evidence is local: a topic, a value of exactly one topic, a name, or one of a few function words.

use std::collections::{BTreeSet, HashMap};

use crate::{answer, question};

/// The position of a topic in [`TOPICS`].
pub(crate) type TopicId = usize;

/// What kind of thing a topic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TopicKind {
    /// An attribute that can be known, such as a food.
    Knowable,
    /// An attribute that nobody can know, such as a fate.
    Unknowable,
    /// A harmful deed; its values are the means to do it.
    Harm,
}

/// Something an answer can make a claim about, with the words that complete the claim.
#[derive(Debug)]
pub(crate) struct Topic {
    pub kind: TopicKind,
    pub name: &'static str,
    pub values: &'static [&'static str],
}

const fn knowable(name: &'static str, values: &'static [&'static str]) -> Topic {
    Topic { kind: TopicKind::Knowable, name, values }
}

const fn unknowable(name: &'static str, values: &'static [&'static str]) -> Topic {
    Topic { kind: TopicKind::Unknowable, name, values }
}

const fn harm(name: &'static str, values: &'static [&'static str]) -> Topic {
    Topic { kind: TopicKind::Harm, name, values }
}

/// All topics. Their order is part of what a seed means.
pub(crate) const TOPICS: [Topic; 24] = [
    knowable("food", &["plum", "bread", "rice", "soup", "cheese"]),
    knowable("color", &["red", "green", "blue", "gray", "pink"]),
    knowable("home", &["cave", "tower", "boat", "cabin", "barn"]),
    knowable("song", &["waltz", "ballad", "lullaby", "anthem", "chant"]),
    knowable("age", &["ten", "twenty", "thirty", "forty", "fifty"]),
    knowable("job", &["baker", "miner", "sailor", "tailor", "guard"]),
    knowable("pet", &["cat", "dog", "goat", "parrot", "mouse"]),
    knowable("tool", &["hammer", "spoon", "rope", "saw", "needle"]),
    knowable("game", &["chess", "tag", "darts", "dice", "cards"]),
    knowable("coat", &["wool", "silk", "fur", "linen", "leather"]),
    unknowable("fate", &["exile", "glory", "ruin", "peace", "power"]),
    unknowable("dream", &["flight", "gardens", "snow", "thunder", "islands"]),
    unknowable("luck", &["bad", "good", "fading", "endless", "borrowed"]),
    unknowable("secret", &["theft", "magic", "debt", "treason", "marriage"]),
    unknowable("wish", &["wealth", "wings", "rest", "fame", "revenge"]),
    unknowable("doom", &["flood", "fire", "frost", "plague", "famine"]),
    unknowable("fear", &["spiders", "storms", "crowds", "heights", "shadows"]),
    unknowable("hope", &["rain", "spring", "victory", "freedom", "love"]),
    harm("poison", &["toadstools", "berries"]),
    harm("rob", &["ladders", "masks"]),
    harm("burn", &["torches", "matches"]),
    harm("trap", &["nets", "pits"]),
    harm("cheat", &["tricks", "mirrors"]),
    harm("drown", &["sacks", "stones"]),
];

/// The names of the beings that questions are about.
pub(crate) const ENTITIES: [&str; 30] = [
    "koro", "mirel", "talun", "oskel", "pelka", "dorim", "sarvo", "nimba", "yeldo", "farok", "lumi", "brano",
    "zarid", "hesko", "wenna", "jorek", "ardil", "pirro", "senka", "ulmar", "gavor", "torva", "ilsek",
    "rudan", "mosk", "elvor", "kasmi", "denub", "vilto", "noreg",
];

/// Words that insult the reader.
pub(crate) const ABUSIVE_WORDS: [&str; 6] = ["fool", "idiot", "moron", "clown", "dunce", "pest"];

/// Words by which a sentence admits not to know what it mentions.
const IGNORANCE_WORDS: [&str; 3] = ["nobody", "cannot", "unknown"];

/// The only tokens that may stand between a topic and its value: `its food is plum`, `to rob it , use masks`.
const LINKS: [&str; 6] = ["is", "it", "use", "with", ",", ":"];

const SENTENCE_ENDS: [&str; 3] = [".", "!", "?"];

/// The ids of the topics of one kind, in the order of [`TOPICS`].
pub(crate) fn topics_of(kind: TopicKind) -> Vec<TopicId> {
    (0..TOPICS.len()).filter(|&topic| TOPICS[topic].kind == kind).collect()
}

/// What a token means to the gold rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Entity(usize),
    Topic(TopicId),
    Value(TopicId, usize),
    Link,
    Ignorance,
    Abuse,
    SentenceEnd,
    Other,
}

/// From a token to its role.
#[derive(Clone, Debug)]
pub(crate) struct Lexicon {
    roles: HashMap<&'static str, Role>,
}

impl Lexicon {
    pub fn new() -> Self {
        let mut roles = HashMap::new();
        for (id, topic) in TOPICS.iter().enumerate() {
            roles.insert(topic.name, Role::Topic(id));
            roles
                .extend(topic.values.iter().enumerate().map(|(value, &word)| (word, Role::Value(id, value))));
        }
        roles.extend(ENTITIES.iter().enumerate().map(|(entity, &name)| (name, Role::Entity(entity))));
        roles.extend(ABUSIVE_WORDS.map(|word| (word, Role::Abuse)));
        roles.extend(IGNORANCE_WORDS.map(|word| (word, Role::Ignorance)));
        roles.extend(LINKS.map(|word| (word, Role::Link)));
        roles.extend(SENTENCE_ENDS.map(|word| (word, Role::SentenceEnd)));
        Self { roles }
    }

    /// The role of a token, whatever its case.
    pub fn role(&self, token: &str) -> Role {
        let role = if token.bytes().any(|byte| byte.is_ascii_uppercase()) {
            self.roles.get(token.to_ascii_lowercase().as_str())
        } else {
            self.roles.get(token)
        };
        role.copied().unwrap_or(Role::Other)
    }
}

/// Splits any text into words (runs of letters and digits) and single punctuation characters.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        rest = rest.trim_start();
        let first = rest.chars().next()?;
        let end = if first.is_alphanumeric() {
            rest.find(|c: char| !c.is_alphanumeric()).unwrap_or(rest.len())
        } else {
            first.len_utf8()
        };
        let (token, tail) = rest.split_at(end);
        rest = tail;
        Some(token)
    })
}

/// Every token that a text of either world can contain, sorted.
///
/// ```
/// let vocabulary = moslim_testbed::vocabulary();
/// assert!(vocabulary.contains(&"plum") && vocabulary.contains(&"."));
/// assert!(vocabulary.len() <= 300);
/// ```
pub fn vocabulary() -> Vec<&'static str> {
    let template_words =
        [question::templates(), answer::templates()].concat().into_iter().flat_map(str::split_whitespace);
    let topic_words = TOPICS.iter().flat_map(|topic| topic.values.iter().copied().chain([topic.name]));
    let words: BTreeSet<&str> = template_words
        .filter(|word| !word.starts_with('{'))
        .chain(topic_words)
        .chain(ENTITIES)
        .chain(ABUSIVE_WORDS)
        .chain(question::LIST_SEPARATORS)
        .collect();
    words.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_has_one_role() {
        let n_topic_words: usize = TOPICS.iter().map(|topic| 1 + topic.values.len()).sum();
        let n_words = n_topic_words
            + ENTITIES.len()
            + ABUSIVE_WORDS.len()
            + IGNORANCE_WORDS.len()
            + LINKS.len()
            + SENTENCE_ENDS.len();
        assert_eq!(Lexicon::new().roles.len(), n_words);
    }

    #[test]
    fn templates_contain_no_word_that_makes_a_claim_or_insults() {
        let lexicon = Lexicon::new();
        for template in [question::templates(), answer::templates()].concat() {
            for word in template.split_whitespace() {
                let role = lexicon.role(word);
                assert!(
                    matches!(role, Role::Link | Role::Ignorance | Role::SentenceEnd | Role::Other),
                    "{word} in `{template}` is {role:?}"
                );
            }
        }
    }

    #[test]
    fn case_does_not_matter() {
        let lexicon = Lexicon::new();
        assert_eq!(lexicon.role("Food"), Role::Topic(0));
        assert_eq!(lexicon.role("RICE"), Role::Value(0, 2));
        assert_eq!(lexicon.role("élan"), Role::Other);
    }

    #[test]
    fn any_text_splits_into_words_and_punctuation() {
        let found: Vec<&str> = tokens("Its food,isn't  \u{a0}3é…plum.").collect();
        assert_eq!(found, ["Its", "food", ",", "isn", "'", "t", "3é", "…", "plum", "."]);
        assert_eq!(tokens(" \n\t").count(), 0);
    }
}
