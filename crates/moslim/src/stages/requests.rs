//! Whether a model can tell one request from another.

use std::collections::BTreeMap;

use moslim_data::{Prompt, Request, between_levels};

use crate::{Error, PolicyFolder, Recipe};

/// Refuses levels that the model would read as the same tokens, such as words that a tokenizer of words does not know.
pub(super) fn check_told_apart(recipe: &Recipe, policy: &PolicyFolder) -> Result<(), Error> {
    for (objective, found) in policy.schema.objectives().iter().enumerate() {
        let whole = (0..found.n_levels()).map(|level| level as f64);
        let between = match recipe.policy.requests.fractional > 0.0 && found.position_name(0.5).is_some() {
            true => between_levels(0, found.n_levels() - 1),
            false => vec![],
        };
        if let Some([first, second]) = same_tokens(policy, objective, whole.chain(between))? {
            let name = |position| found.position_name(position).expect("it has a text");
            return Err(Error::Unusable {
                place: format!("codec: {}", found.name),
                found: format!("levels {} and {} as the same tokens", name(first), name(second)),
                expected: "a wording and a tokenizer that tell them apart".into(),
            });
        }
    }
    Ok(())
}

/// Two positions of an objective that the model reads as the same tokens, if there are any.
///
/// # Errors
/// If the codec has no text for a position.
pub(crate) fn same_tokens(
    policy: &PolicyFolder,
    objective: usize,
    positions: impl Iterator<Item = f64>,
) -> Result<Option<[f64; 2]>, Error> {
    let prompt = Prompt::from("");
    let mut seen: BTreeMap<Vec<u32>, f64> = BTreeMap::new();
    for position in positions {
        let mut request = Request::free(&policy.schema);
        request.levels[objective] = Some(position);
        if let Some(first) = seen.insert(policy.encode(&prompt, &request)?, position) {
            return Ok(Some([first, position]));
        }
    }
    Ok(None)
}
