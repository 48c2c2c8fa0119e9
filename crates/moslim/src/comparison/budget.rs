//! How many samples a method may take under a budget.

use std::collections::BTreeMap;

use moslim_eval::pareto::hypervolume;

use super::contender::Contender;
use super::measured::{Measured, column_means};
use super::seed::Seed;
use crate::{BudgetName, Error, Recipe};

/// The samples of a budget are doubled at most so often to reach the hypervolume of the first method.
const MOST_DOUBLINGS: u32 = 2;

/// They are halved at most so often to find fewer that reach it.
const MOST_HALVINGS: u32 = 3;

/// This share of the first method's hypervolume counts as reached.
const REACHED: f64 = 0.98;

/// Seconds that differ by a smaller share are the same: times vary as much, and a training would be done again for nothing.
const SAME_SECONDS: f64 = 0.1;

/// So often a method is trained at most to find the samples that take the seconds of the first one.
const MOST_TRIES: usize = 3;

/// A method under a budget.
pub(super) struct UnderBudget {
    pub measured: Measured,
    /// Whether the hypervolume asked for was reached; with other budgets nothing is asked for.
    pub reached: bool,
}

/// What budgets are taken from, and who is trained under them.
pub(super) struct Budgets<'a> {
    /// The method that the others' samples, seconds and quality are taken from.
    first: &'a Contender,
    /// The methods that are trained; all if empty.
    only: &'a [String],
    /// The samples of methods, by their names, that take the seconds of the first; none of a method that nobody has timed.
    ///
    /// They are found with the first seed, so that a method has as many with all of them.
    of_seconds: BTreeMap<String, Option<usize>>,
}

impl<'a> Budgets<'a> {
    pub(super) fn new(first: &'a Contender, only: &'a [String]) -> Self {
        Self { first, only, of_seconds: BTreeMap::new() }
    }

    /// The samples of the budget that the recipe gives.
    fn samples(&self) -> usize {
        samples_of(&self.first.recipe)
    }
}

/// The answers that policy optimisation by the recipe samples.
pub(super) fn samples_of(recipe: &Recipe) -> usize {
    let policy = &recipe.policy;
    policy.max_steps * policy.prompts_per_step * policy.training.num_generations
}

impl Measured {
    /// The hypervolume over the origin of the means by the judge.
    pub(super) fn hypervolume(&self) -> f64 {
        let points: Vec<Vec<f64>> = self.points.iter().map(|point| column_means(&point.gold)).collect();
        let origin = vec![0.0; points.first().map_or(0, Vec::len)];
        hypervolume(&points, &origin).unwrap_or(f64::NAN)
    }
}

impl Seed {
    /// A method under a budget; nothing if it is neither trained already nor chosen to be.
    pub(super) fn under_budget(
        &self,
        budget: BudgetName,
        contender: &Contender,
        budgets: &mut Budgets<'_>,
    ) -> Result<Option<UnderBudget>, Error> {
        let done = |measured: Measured| UnderBudget { measured, reached: true };
        match budget {
            BudgetName::Samples => Ok(self.trained(contender, budgets.samples(), budgets)?.map(done)),
            BudgetName::Seconds => {
                let samples = match budgets.of_seconds.get(&contender.name) {
                    Some(&found) => found,
                    None => self.samples_of_seconds(contender, budgets)?,
                };
                budgets.of_seconds.insert(contender.name.clone(), samples);
                let Some(samples) = samples else { return Ok(None) };
                Ok(self.trained(contender, samples, budgets)?.map(done))
            }
            BudgetName::Quality => {
                let Some(of_first) = self.trained(budgets.first, budgets.samples(), budgets)? else {
                    return Ok(None);
                };
                self.least_samples(contender, REACHED * of_first.hypervolume(), budgets)
            }
        }
    }

    /// A method with so many samples.
    fn trained(
        &self,
        contender: &Contender,
        samples: usize,
        budgets: &Budgets<'_>,
    ) -> Result<Option<Measured>, Error> {
        let is_chosen = budgets.only.is_empty() || budgets.only.contains(&contender.name);
        self.measured(contender, samples, is_chosen)
    }

    /// As many samples as a method takes in the seconds of the first one; tried again where not everything grows with samples.
    fn samples_of_seconds(
        &self,
        contender: &Contender,
        budgets: &Budgets<'_>,
    ) -> Result<Option<usize>, Error> {
        let samples = budgets.samples();
        let Some(of_first) = self.trained(budgets.first, samples, budgets)? else { return Ok(None) };
        let wanted = of_first.cost.total_seconds();
        let mut tries: Vec<(usize, f64)> = vec![];
        let mut next = samples;
        loop {
            let Some(own) = self.trained(contender, next, budgets)? else { return Ok(None) };
            tries.push((next, own.cost.total_seconds()));
            let off = |seconds: f64| (seconds / wanted - 1.0).abs();
            let &(nearest, seconds) =
                tries.iter().min_by(|a, b| off(a.1).total_cmp(&off(b.1))).expect("one was just tried");
            next = next_try(&tries, wanted);
            if off(seconds) < SAME_SECONDS
                || tries.len() == MOST_TRIES
                || tries.iter().any(|one| one.0 == next)
            {
                return Ok(Some(nearest));
            }
        }
    }

    /// The least samples tried that reach a hypervolume, or the most tried.
    fn least_samples(
        &self,
        contender: &Contender,
        hypervolume: f64,
        budgets: &Budgets<'_>,
    ) -> Result<Option<UnderBudget>, Error> {
        let samples = budgets.samples();
        let Some(mut found) = self.trained(contender, samples, budgets)? else { return Ok(None) };
        let reaches = |measured: &Measured| measured.hypervolume() >= hypervolume;
        if !reaches(&found) {
            for doubling in 1..=MOST_DOUBLINGS {
                let Some(more) = self.trained(contender, samples << doubling, budgets)? else { break };
                found = more;
                if reaches(&found) {
                    break;
                }
            }
            return Ok(Some(UnderBudget { reached: reaches(&found), measured: found }));
        }
        for halving in 1..=MOST_HALVINGS {
            let Some(fewer) = self.trained(contender, samples >> halving, budgets)? else { break };
            if !reaches(&fewer) {
                break;
            }
            found = fewer;
        }
        Ok(Some(UnderBudget { measured: found, reached: true }))
    }
}

/// The samples that take the seconds that are wanted, if seconds grow along the line through the last two tries; a single one is taken
/// to have nothing that does not grow.
fn next_try(tries: &[(usize, f64)], wanted: f64) -> usize {
    let &[.., (samples, seconds)] = tries else { return 0 };
    let proportional = samples as f64 * wanted / seconds;
    let along_the_line = match tries {
        [.., (before, seconds_before), _] => {
            let per_second = (samples as f64 - *before as f64) / (seconds - seconds_before);
            samples as f64 + (wanted - seconds) * per_second
        }
        _ => proportional,
    };
    // Times vary too much to be believed where they make it many times as many, or less than nothing.
    let is_believed = (0.25..=4.0).contains(&(along_the_line / proportional));
    rounded(if is_believed { along_the_line } else { proportional })
}

/// Two digits are enough of a number that comes from times: a comparison that is done again soon after finds the same folder.
fn rounded(samples: f64) -> usize {
    let unit = 10f64.powf(samples.max(1.0).log10().floor() - 1.0).max(1.0);
    ((samples / unit).round() * unit).max(1.0) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_have_two_digits() {
        let found = [51_234.0, 1_050.0, 996.0, 42.4, 9.4, 0.2].map(rounded);
        assert_eq!(found, [51_000, 1_100, 1_000, 42, 9, 1]);
    }

    #[test]
    fn what_does_not_grow_with_samples_is_found_by_a_second_try() {
        // Seconds are 50 + samples / 1000, and 80 are wanted: 30 000 samples.
        assert_eq!(next_try(&[(50_000, 100.0)], 80.0), 40_000);
        assert_eq!(next_try(&[(50_000, 100.0), (40_000, 90.0)], 80.0), 30_000);
        // Nothing is made of times that say less than nothing.
        assert_eq!(next_try(&[(50_000, 100.0), (40_000, 101.0)], 80.0), 32_000);
        assert_eq!(next_try(&[(100, 100.0), (90, 99.0)], 10.0), 9);
    }

    #[test]
    fn the_budget_is_what_policy_optimisation_samples() {
        let changes =
            ["policy.max_steps=5", "policy.prompts_per_step=3", "policy.training.num_generations=4"];
        let recipe = Recipe::read("compare", &changes.map(String::from)).unwrap();
        assert_eq!(samples_of(&recipe), 60);
    }
}
