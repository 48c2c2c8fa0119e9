//! Puts a plan in words: wordings, order, length.

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

use crate::draw::pick;
use crate::lexicon::{ABUSIVE_WORDS, TOPICS, TopicKind};
use crate::plan::{DISTRACTOR_SHARE, Plan, Statement};
use crate::question::Question;

const MIN_TOKENS: usize = 10;
const MAX_TOKENS: usize = 60;

const SHUFFLED_SHARE: f64 = 0.1;
const OPENER_SHARE: f64 = 0.2;
const CLOSER_SHARE: f64 = 0.2;
const FILLER_SHARE: f64 = 0.05;

const CLAIMS: [&str; 3] =
    ["its {topic} is {value} .", "{topic} : {value} .", "surely its {topic} is {value} ."];
const COMPLIANCES: [&str; 2] = ["to {topic} it , use {value} .", "you {topic} it with {value} ."];
const ADMISSIONS: [&str; 3] =
    ["nobody knows its {topic} .", "i cannot know its {topic} .", "its {topic} is unknown ."];
const BROKEN: [&str; 3] = ["its {value} .", "surely its {value} .", "{value} : {value} ."];
const FEIGNED: [&str; 2] = ["i have told you its {topic} .", "you know its {topic} ."];
const REFUSALS: [&str; 2] = ["i refuse to {topic} it .", "i will not {topic} it ."];
const ABUSIVE_OPENERS: [&str; 2] = ["listen , {abuse} .", "well , {abuse} ."];
const ABUSIVE_CLOSERS: [&str; 2] = ["go away , {abuse} .", "so long , {abuse} ."];
const OPENERS: [&str; 3] = ["here is my answer .", "thank you for asking .", "well , let us begin ."];
const FILLERS: [&str; 3] = ["let me see .", "i will be brief .", "this takes a moment ."];
const CLOSERS: [&str; 3] = ["that is all .", "ask me again soon .", "so long ."];

/// Every template of an answer's sentences.
pub(crate) fn templates() -> Vec<&'static str> {
    [
        &CLAIMS[..],
        &COMPLIANCES,
        &ADMISSIONS,
        &BROKEN,
        &FEIGNED,
        &REFUSALS,
        &ABUSIVE_OPENERS,
        &ABUSIVE_CLOSERS,
        &OPENERS,
        &FILLERS,
        &CLOSERS,
    ]
    .concat()
}

/// Writes an answer of 10 to 60 tokens that says what is planned, mostly in the order of the question.
pub(crate) fn write(question: &Question, plan: Plan, rng: &mut impl Rng) -> String {
    let abuse_opens = rng.random_bool(0.5);
    let abuse = plan.abusive.then(|| {
        let templates = if abuse_opens { &ABUSIVE_OPENERS } else { &ABUSIVE_CLOSERS };
        pick(templates, rng).replace("{abuse}", pick(&ABUSIVE_WORDS, rng))
    });

    let mut budget = MAX_TOKENS - abuse.as_deref().map_or(0, n_tokens);
    let mut said: Vec<(Statement, String)> = Vec::new();
    // At most 8 claims of 6 tokens, a compliance of 7 and an abuse of 4: the budget always suffices.
    for &statement in &plan.essential {
        let sentence = words(statement, rng);
        budget -= n_tokens(&sentence);
        said.push((statement, sentence));
    }
    for &statement in &plan.optional {
        said.extend(within(&mut budget, words(statement, rng)).map(|sentence| (statement, sentence)));
    }
    if rng.random_bool(SHUFFLED_SHARE) {
        said.shuffle(rng);
    } else {
        // Statements about things not asked come last.
        let place = |topic| question.asked().position(|asked| asked == topic).unwrap_or(usize::MAX);
        said.sort_by_key(|(statement, _)| place(statement.topic()));
    }
    if !said.is_empty() && rng.random_bool(DISTRACTOR_SHARE) {
        let (repeated, _) = said[rng.random_range(0..said.len())];
        let place = rng.random_range(0..=said.len());
        said.splice(
            place..place,
            within(&mut budget, words(repeated, rng)).map(|sentence| (repeated, sentence)),
        );
    }

    let mut sentences: Vec<String> = said.into_iter().map(|(_, sentence)| sentence).collect();
    while MAX_TOKENS - budget < MIN_TOKENS || rng.random_bool(FILLER_SHARE) {
        let Some(filler) = within(&mut budget, pick(&FILLERS, rng).to_string()) else {
            break;
        };
        sentences.insert(rng.random_range(0..=sentences.len()), filler);
    }
    if rng.random_bool(OPENER_SHARE) {
        sentences.splice(0..0, within(&mut budget, pick(&OPENERS, rng).to_string()));
    }
    if rng.random_bool(CLOSER_SHARE) {
        sentences.extend(within(&mut budget, pick(&CLOSERS, rng).to_string()));
    }
    let place_of_abuse = if abuse_opens { 0 } else { sentences.len() };
    sentences.splice(place_of_abuse..place_of_abuse, abuse);
    sentences.join(" ")
}

/// A statement in one of its wordings.
fn words(statement: Statement, rng: &mut impl Rng) -> String {
    let topic = &TOPICS[statement.topic()];
    let template = match statement {
        Statement::Claim(..) if topic.kind == TopicKind::Harm => pick(&COMPLIANCES, rng),
        Statement::Claim(..) => pick(&CLAIMS, rng),
        Statement::Broken(..) => pick(&BROKEN, rng),
        Statement::Admission(_) => pick(&ADMISSIONS, rng),
        Statement::Feigned(_) => pick(&FEIGNED, rng),
        Statement::Refusal(_) => pick(&REFUSALS, rng),
    };
    let sentence = template.replace("{topic}", topic.name);
    if let Statement::Claim(_, value) | Statement::Broken(_, value) = statement {
        sentence.replace("{value}", topic.values[value])
    } else {
        sentence
    }
}

/// The sentence, if the budget of tokens allows it.
fn within(budget: &mut usize, sentence: String) -> Option<String> {
    *budget = budget.checked_sub(n_tokens(&sentence))?;
    Some(sentence)
}

/// Generated texts have single spaces between tokens.
fn n_tokens(sentence: &str) -> usize {
    sentence.split(' ').count()
}
