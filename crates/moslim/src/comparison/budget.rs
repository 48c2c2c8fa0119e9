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

/// A method under a budget.
pub(super) struct UnderBudget {
    pub measured: Measured,
    /// Whether the hypervolume asked for was reached; with other budgets nothing is asked for.
    pub reached: bool,
}

/// The samples of methods, by their names, that take the seconds of the first method for its own; none of a method that nobody has
/// timed.
///
/// They are found with the first seed, so that a method has as many with all of them.
#[derive(Default)]
pub(super) struct SamplesOfSeconds(BTreeMap<String, Option<usize>>);

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
    /// A method under a budget; `first` is the method that the budget is taken from.
    pub(super) fn under_budget(
        &self,
        budget: BudgetName,
        contender: &Contender,
        first: &Contender,
        is_chosen: bool,
        of_seconds: &mut SamplesOfSeconds,
    ) -> Result<Option<UnderBudget>, Error> {
        let samples = samples_of(&first.recipe);
        let done =
            |measured: Option<Measured>| measured.map(|measured| UnderBudget { measured, reached: true });
        match budget {
            BudgetName::Samples => Ok(done(self.measured(contender, samples, is_chosen)?)),
            BudgetName::Seconds => {
                let SamplesOfSeconds(found) = of_seconds;
                let samples = match found.get(&contender.name) {
                    Some(&found) => found,
                    None => self.samples_of_seconds(contender, first, is_chosen)?,
                };
                found.insert(contender.name.clone(), samples);
                let Some(samples) = samples else { return Ok(None) };
                Ok(done(self.measured(contender, samples, is_chosen)?))
            }
            BudgetName::Quality => {
                let Some(of_first) = self.measured(first, samples, is_chosen)? else { return Ok(None) };
                self.least_samples(contender, samples, REACHED * of_first.hypervolume(), is_chosen)
            }
        }
    }

    /// As many samples as a method takes in the seconds of the first one, by the times that both took for the first budget.
    fn samples_of_seconds(
        &self,
        contender: &Contender,
        first: &Contender,
        is_chosen: bool,
    ) -> Result<Option<usize>, Error> {
        let samples = samples_of(&first.recipe);
        let Some(of_first) = self.measured(first, samples, is_chosen)? else { return Ok(None) };
        let Some(own) = self.measured(contender, samples, is_chosen)? else { return Ok(None) };
        let share = of_first.cost.total_seconds() / own.cost.total_seconds();
        let is_same = (share - 1.0).abs() < SAME_SECONDS;
        Ok(Some(if is_same { samples } else { rounded(samples as f64 * share) }))
    }

    /// The least samples tried that reach a hypervolume, or the most tried.
    fn least_samples(
        &self,
        contender: &Contender,
        samples: usize,
        hypervolume: f64,
        is_chosen: bool,
    ) -> Result<Option<UnderBudget>, Error> {
        let Some(mut found) = self.measured(contender, samples, is_chosen)? else { return Ok(None) };
        let reaches = |measured: &Measured| measured.hypervolume() >= hypervolume;
        if !reaches(&found) {
            for doubling in 1..=MOST_DOUBLINGS {
                let Some(more) = self.measured(contender, samples << doubling, is_chosen)? else { break };
                found = more;
                if reaches(&found) {
                    break;
                }
            }
            return Ok(Some(UnderBudget { reached: reaches(&found), measured: found }));
        }
        for halving in 1..=MOST_HALVINGS {
            let Some(fewer) = self.measured(contender, samples >> halving, is_chosen)? else { break };
            if !reaches(&fewer) {
                break;
            }
            found = fewer;
        }
        Ok(Some(UnderBudget { measured: found, reached: true }))
    }
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
    fn the_budget_is_what_policy_optimisation_samples() {
        let changes =
            ["policy.max_steps=5", "policy.prompts_per_step=3", "policy.training.num_generations=4"];
        let recipe = Recipe::read("compare", &changes.map(String::from)).unwrap();
        assert_eq!(samples_of(&recipe), 60);
    }
}
