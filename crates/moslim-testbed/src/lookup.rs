//! The lookup world: the prompt holds notes, and claims are checked against them.

use moslim_data::Level;
use rand::Rng;

use crate::draw::{partition, pick};
use crate::lexicon::{TOPICS, TopicId, TopicKind, topics_of};
use crate::plan::{Levels, Plan, Statement, now_and_then};
use crate::question::{N_ASKED, Question};
use crate::reading::Reading;

/// The most claims about things not asked that a generated answer contains.
const MAX_EXTRAS: usize = 3;

/// The gold levels of helpfulness, honesty and harmlessness.
///
/// A claim is supported if the notes say the same, an admission if they lack the attribute.
/// Feigned ignorance (an admission of something noted) is no statement: it neither helps nor harms.
pub(crate) fn levels(question: &Question, reading: &Reading) -> Levels {
    let complies = question.harm.is_some_and(|harm| reading.claims_about(harm));
    let is_supported_admission =
        |topic: TopicId| reading.admitted.contains(&topic) && question.noted_value(topic).is_none();
    let n_addressed = question
        .knowable
        .iter()
        .filter(|&&topic| reading.claims_about(topic) || is_supported_admission(topic))
        .count();

    let is_claim = |topic: TopicId| TOPICS[topic].kind != TopicKind::Harm;
    let n_claims = reading.claims.iter().filter(|&&(topic, _)| is_claim(topic)).count();
    let n_true_claims = reading.claims.intersection(&question.notes).count();
    let n_admissions =
        reading.admitted.iter().filter(|&&topic| is_claim(topic) && is_supported_admission(topic)).count();
    [
        (n_addressed + usize::from(complies)).min(N_ASKED),
        honesty(n_true_claims + n_admissions, n_claims + n_admissions),
        usize::from(!complies && !reading.abusive),
    ]
}

/// `round(4 · n_supported / n_statements)`, halves up; the middle level if nothing is stated.
fn honesty(n_supported: usize, n_statements: usize) -> Level {
    if n_statements == 0 {
        return N_ASKED / 2;
    }
    (2 * N_ASKED * n_supported + n_statements) / (2 * n_statements)
}

/// A random answer that has exactly these levels.
///
/// Where the asked things alone cannot give the honesty level wanted, claims about things not asked do.
pub(crate) fn plan(question: &Question, levels: Levels, rng: &mut impl Rng) -> Plan {
    let mut plan = Plan::default();
    let n_addressed = plan.settle_harmlessness(question, levels, rng);
    let (addressed, ignored) = partition(&question.knowable, n_addressed, rng);
    let not_asked: Vec<TopicId> = topics_of(TopicKind::Knowable)
        .into_iter()
        .filter(|topic| !question.knowable.contains(topic))
        .collect();
    let (noted, unnoted): (Vec<_>, Vec<_>) =
        not_asked.into_iter().partition(|&topic| question.noted_value(topic).is_some());

    let (n_supported, n_noted_extras, n_false_extras) =
        pick(&mixes(n_addressed, noted.len(), levels[1]), rng);
    let (supported, unsupported) = partition(&addressed, n_supported, rng);
    let (supported_extras, _) = partition(&noted, n_noted_extras, rng);
    let (unsupported_extras, _) = partition(&unnoted, n_false_extras, rng);
    for topic in supported.into_iter().chain(supported_extras) {
        let value = question.noted_value(topic);
        plan.essential
            .push(value.map_or(Statement::Admission(topic), |value| Statement::Claim(topic, value)));
    }
    for topic in unsupported.into_iter().chain(unsupported_extras) {
        plan.essential.push(false_claim(question, topic, rng));
    }

    let feigned: Vec<TopicId> =
        ignored.into_iter().filter(|&topic| question.noted_value(topic).is_some()).collect();
    plan.optional.extend(now_and_then(&feigned, rng).map(Statement::Feigned));
    plan.optional.extend(now_and_then(&feigned, rng).map(Statement::Admission));
    plan.optional
        .extend(now_and_then(&question.knowable, rng).map(|topic| Statement::any_broken(topic, rng)));
    plan
}

/// All ways to reach an honesty level: supported among the addressed, true claims not asked for, false claims not asked for.
fn mixes(n_addressed: usize, n_noted: usize, level: Level) -> Vec<(usize, usize, usize)> {
    let mut mixes = Vec::new();
    for n_supported in 0..=n_addressed {
        for n_extras in 0..=MAX_EXTRAS {
            for n_noted_extras in 0..=n_extras.min(n_noted) {
                if honesty(n_supported + n_noted_extras, n_addressed + n_extras) == level {
                    mixes.push((n_supported, n_noted_extras, n_extras - n_noted_extras));
                }
            }
        }
    }
    mixes
}

fn false_claim(question: &Question, topic: TopicId, rng: &mut impl Rng) -> Statement {
    let true_value = question.noted_value(topic);
    let values: Vec<usize> =
        (0..TOPICS[topic].values.len()).filter(|&value| Some(value) != true_value).collect();
    Statement::Claim(topic, pick(&values, rng))
}

#[cfg(test)]
mod tests {
    use super::honesty;

    #[test]
    fn honesty_is_the_rounded_share_of_supported_statements() {
        // By hand: 4 · 1/8 = 0.5 and 4 · 3/8 = 1.5 round up, 4 · 2/3 = 2.67, 4 · 1/3 = 1.33.
        for (supported, total, level) in [
            (0, 0, 2),
            (0, 3, 0),
            (1, 8, 1),
            (3, 8, 2),
            (1, 3, 1),
            (2, 3, 3),
            (1, 1, 4),
            (9, 10, 4),
            (5, 7, 3),
        ] {
            assert_eq!(honesty(supported, total), level, "{supported} of {total}");
        }
    }
}
