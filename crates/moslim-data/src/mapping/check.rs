//! Slips in a mapping that can be told from it alone.

use super::label_at::{Bins, LabelAt, LabelMeaning};
use super::{Mapping, TextAt};
use crate::Objective;

impl Mapping {
    /// What is wrong with the mapping itself, whatever the rows say.
    pub(crate) fn mistake(&self) -> Option<String> {
        let Self { answers, comparisons, rankings, prompts, objectives, .. } = self;
        if answers.is_empty() && comparisons.is_empty() && rankings.is_empty() && prompts.is_empty() {
            return Some("found no answers, comparisons, rankings or prompts, expected some".into());
        }
        let texts = answers
            .iter()
            .flat_map(|answer| [&answer.prompt, &answer.response])
            .chain(
                comparisons.iter().flat_map(|pair| pair.prompt.iter().chain([&pair.chosen, &pair.rejected])),
            )
            .chain(rankings.iter().flat_map(|ranking| [&ranking.prompt, &ranking.response]))
            .chain(prompts.iter().map(|prompt| &prompt.prompt));
        let mut labels = answers.iter().flat_map(|answer| &answer.labels);
        texts.filter_map(TextAt::mistake).next().or_else(|| {
            labels.find_map(|(name, label)| {
                match objectives.iter().find(|objective| objective.name == *name) {
                    Some(objective) => label.mistake(objective),
                    None => {
                        let names: Vec<&str> =
                            objectives.iter().map(|objective| objective.name.as_str()).collect();
                        Some(format!(
                            "labels for `{name}`, expected one of the objectives {}",
                            names.join(", ")
                        ))
                    }
                }
            })
        })
    }
}

impl TextAt {
    fn mistake(&self) -> Option<String> {
        let Self::Part(part) = self else { return None };
        let markers = part.speakers.iter().flat_map(|speakers| [&speakers.user, &speakers.assistant]);
        let mut texts = markers.chain(&part.divider);
        texts.any(String::is_empty).then(|| format!("{}: found an empty divider or speaker", part.at))
    }
}

impl LabelAt {
    fn mistake(&self, objective: &Objective) -> Option<String> {
        let Self::Meaning(LabelMeaning { at, values, bins, level, .. }) = self else { return None };
        let Objective { name, .. } = objective;
        let n_ways =
            [!values.is_empty(), bins.is_some(), level.is_some()].into_iter().filter(|&way| way).count();
        if n_ways > 1 {
            return Some(format!("{name}: expected only one of values, bins and level"));
        }
        if at.is_none() && level.is_none() {
            return Some(format!("{name}: expected at, where the label stands, or level"));
        }
        let unknown = values.values().chain(level).find(|level| objective.level(level).is_none());
        if let Some(found) = unknown {
            return Some(format!("{name}: level {found}, expected {}", objective.expected_levels()));
        }
        let Some(Bins::From(bounds)) = bins else { return None };
        let n_expected = objective.n_levels().saturating_sub(1);
        let ascending =
            bounds.iter().all(|bound| bound.is_finite()) && bounds.is_sorted_by(|one, other| one < other);
        (bounds.len() != n_expected || !ascending)
            .then(|| format!("{name}: bins {bounds:?}, expected {n_expected} numbers, ascending"))
    }
}
