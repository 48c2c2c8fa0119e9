//! Bins that give every level as many of the values in files.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use super::Mapping;
use super::label_at::{Bins, Extreme, LabelAt, LabelMeaning};
use crate::rows::{RowValue, read_rows};
use crate::value_path::{Entry, number};
use crate::{Objective, ReadError};

/// The numbers from which on the next level of an objective begins.
pub type Bounds = BTreeMap<String, Vec<f64>>;

/// The mapping with numbers where it asks for quantiles, which are those of all values in the files, and these numbers.
///
/// A file is read twice then.
///
/// # Errors
/// If the mapping cannot mean anything, a file cannot be opened, or has fewer values than there are levels.
pub(crate) fn with_quantiles<'a>(
    mapping: &'a Mapping,
    files: &[PathBuf],
) -> Result<(Cow<'a, Mapping>, Bounds), ReadError> {
    if let Some(mistake) = mapping.mistake() {
        return Err(ReadError::Mapping(mistake));
    }
    let mut values = Bounds::new();
    for objective in &mapping.objectives {
        if mapping.asks_for_quantiles(objective) {
            values.insert(objective.name.clone(), vec![]);
        }
    }
    if values.is_empty() {
        return Ok((Cow::Borrowed(mapping), values));
    }
    for file in files {
        read_rows(file, |_, row| {
            // What is wrong with a row is said when it is read for its records.
            row.iter().for_each(|row| mapping.note_values(row, &mut values));
            ControlFlow::Continue(())
        })?;
    }
    let bounds = values.into_iter().map(|(name, values)| {
        let objective = mapping.objectives.iter().find(|objective| objective.name == name);
        let n_levels = objective.expect("its name was taken from there").n_levels();
        match even(values, n_levels) {
            Ok(bounds) => Ok((name, bounds)),
            Err(found) => Err(ReadError::TooFewForQuantiles { objective: name, found, n_levels }),
        }
    });
    let bounds: Bounds = bounds.collect::<Result<_, _>>()?;
    let mut mapping = mapping.clone();
    let labels = mapping.answers.iter_mut().flat_map(|answers| &mut answers.labels);
    for (name, label) in labels {
        if let (LabelAt::Meaning(LabelMeaning { bins: Some(bins @ Bins::Of(_)), .. }), Some(bounds)) =
            (label, bounds.get(name))
        {
            *bins = Bins::From(bounds.clone());
        }
    }
    Ok((Cow::Owned(mapping), bounds))
}

impl Mapping {
    fn asks_for_quantiles(&self, objective: &Objective) -> bool {
        let mut labels = self.answers.iter().filter_map(|answers| answers.labels.get(&objective.name));
        labels.any(|label| label.with_quantiles().is_some())
    }

    /// Notes the numbers of a row of which quantiles are asked for.
    fn note_values(&self, row: &RowValue<'_>, values: &mut Bounds) {
        for answers in &self.answers {
            for part in answers.parts(row) {
                for objective in &self.objectives {
                    let label = answers.labels.get(&objective.name).and_then(LabelAt::with_quantiles);
                    let (Some(meaning), Some(values)) = (label, values.get_mut(&objective.name)) else {
                        continue;
                    };
                    values.extend(meaning.value(objective, Entry { row, part }, &self.missing));
                }
            }
        }
    }
}

impl LabelAt {
    fn with_quantiles(&self) -> Option<&LabelMeaning> {
        match self {
            Self::Meaning(meaning) if matches!(meaning.bins, Some(Bins::Of(_))) => Some(meaning),
            _ => None,
        }
    }
}

impl LabelMeaning {
    /// The number whose bin will be the level.
    fn value(&self, objective: &Objective, entry: Entry<'_>, missing: &[String]) -> Option<f64> {
        let found = self.at.as_ref()?.find_all(entry).into_iter();
        let mut numbers =
            found.filter_map(|value| number(&self.text(objective, value, missing).ok().flatten()?));
        match self.of_several {
            None => numbers.next(),
            Some(Extreme::Lowest) => numbers.min_by(f64::total_cmp),
            Some(Extreme::Highest) => numbers.max_by(f64::total_cmp),
        }
    }
}

/// The numbers that divide values into parts as even as ties allow, or how many different values there are if these are too few.
///
/// Every bound lies between two different values: of those places that leave enough for the further bounds, the one nearest
/// to where the parts would be even.
fn even(mut values: Vec<f64>, n_parts: usize) -> Result<Vec<f64>, usize> {
    values.sort_unstable_by(f64::total_cmp);
    // Where a new value begins.
    let starts: Vec<usize> = (1..values.len()).filter(|&index| values[index] > values[index - 1]).collect();
    if starts.len() + 1 < n_parts {
        return Err(if values.is_empty() { 0 } else { starts.len() + 1 });
    }
    let mut bounds = Vec::new();
    let mut next = 0;
    for part in 1..n_parts {
        let wanted = part * values.len() / n_parts;
        // So many bounds are still to come.
        let last = starts.len() - (n_parts - 1 - part);
        let nearest = (next..last).min_by_key(|&place| starts[place].abs_diff(wanted));
        let place = nearest.expect("there are as many places as bounds");
        bounds.push(values[starts[place]]);
        next = place + 1;
    }
    Ok(bounds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_as_even_as_ties_allow() {
        assert_eq!(even((0..10).rev().map(f64::from).collect(), 5), Ok(vec![2.0, 4.0, 6.0, 8.0]));
        assert_eq!(even(vec![3.0, 1.0, 2.0], 3), Ok(vec![2.0, 3.0]));
        assert_eq!(even(vec![1.0, 1.0, 1.0, 9.0], 2), Ok(vec![9.0]));
        let skewed = |n: usize, rest: &[f64]| [vec![0.0; n], rest.to_vec()].concat();
        // 70 : 30 is all that can be had; with three parts 90 : 1 : 9.
        assert_eq!(even(skewed(70, &[5.0; 30]), 2), Ok(vec![5.0]));
        assert_eq!(
            even(skewed(90, &[1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]), 3),
            Ok(vec![1.0, 2.0])
        );
        assert_eq!(even(vec![1.0, 1.0], 2), Err(1));
        assert_eq!(even(vec![], 2), Err(0));
    }
}
