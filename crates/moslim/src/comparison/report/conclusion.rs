//! What the numbers say, in plain sentences; where chance could have made the difference, they say that it is a tie.

use moslim_eval::controllability::ObjectiveControl;
use moslim_eval::stats::Interval;

use super::control::{ControlSummary, MeanOverObjectives};
use super::summary::{BudgetSummary, MethodSummary, Summary};
use crate::BudgetName;
use crate::number::compact;

/// One paragraph per budget.
pub(super) fn of_all(summary: &Summary<'_>) -> String {
    summary.budgets.iter().map(|budget| of(summary, budget)).collect::<Vec<_>>().join("\n\n")
}

/// The conclusion under one budget.
pub(super) fn of(summary: &Summary<'_>, budget: &BudgetSummary<'_>) -> String {
    let mut sentences = vec![opening(summary, budget)];
    sentences.extend(hypervolumes(budget));
    sentences.extend(effort(budget));
    sentences.extend(control(budget, "one at a time", |control| &control.one));
    sentences.extend(control(budget, "all together", |control| &control.all));
    sentences.extend(time(budget));
    if !budget.under_way.is_empty() {
        let names: Vec<String> = budget.under_way.iter().map(|name| quoted(name)).collect();
        sentences.push(format!("Not measured with every seed yet: {}.", names.join(", ")));
    }
    sentences.join(" ")
}

/// What is the same for all methods.
pub(super) fn equal(budget: BudgetName) -> &'static str {
    match budget {
        BudgetName::Samples => "At equal samples",
        BudgetName::Seconds => "At equal seconds of training",
        BudgetName::Quality => "At equal hypervolume",
    }
}

fn opening(summary: &Summary<'_>, budget: &BudgetSummary<'_>) -> String {
    let seeds = match summary.seeds().len() {
        1 => "one seed, so that intervals cover the questions only".into(),
        n_seeds => format!("{n_seeds} seeds"),
    };
    format!("{}, by the judgement of {}, {seeds}.", equal(budget.budget), summary.comparison.judge)
}

/// A method's number, of which more is better, and where it may lie.
struct Entry<'a> {
    name: &'a str,
    value: f64,
    interval: Interval,
    /// What it came to in every resample, the same draws of seeds and questions for all methods; empty where nothing was resampled.
    resampled: Vec<f64>,
}

impl Entry<'_> {
    /// Whether it is open which is better: the interval of the difference has 0 in it, or without resamples the intervals overlap.
    ///
    /// Questions that are hard for one method are hard for the others, so that differences are known better than the numbers.
    /// What is not known leaves everything open.
    fn ties_with(&self, other: &Self) -> bool {
        if self.resampled.is_empty() || self.resampled.len() != other.resampled.len() {
            let (a, b) = (self.interval, other.interval);
            return !(a.high < b.low || b.high < a.low);
        }
        let pairs = self.resampled.iter().zip(&other.resampled);
        let difference = Interval::of(&pairs.map(|(a, b)| a - b).collect::<Vec<_>>());
        !(difference.low > 0.0 || difference.high < 0.0)
    }

    fn words(&self) -> String {
        format!("{} {}", quoted(self.name), with_interval(self.value, self.interval))
    }
}

fn with_interval(value: f64, interval: Interval) -> String {
    match interval.low.is_finite() && interval.high.is_finite() {
        true => format!("{value:.3} [{:.3}, {:.3}]", interval.low, interval.high),
        false => format!("{value:.3}"),
    }
}

/// The best, and those that tie with it.
fn best<'a, 'b>(entries: &'b [Entry<'a>]) -> Option<(&'b Entry<'a>, Vec<&'b Entry<'a>>)> {
    // Of equals, the one that the recipe lists first.
    let best = entries.iter().rev().max_by(|a, b| a.value.total_cmp(&b.value))?;
    let tied = entries.iter().filter(|entry| entry.name != best.name && entry.ties_with(best)).collect();
    Some((best, tied))
}

/// A name as one of several: in quotation marks if it has a comma.
fn quoted(name: &str) -> String {
    if name.contains(',') { format!("“{name}”") } else { name.into() }
}

fn list<'a>(entries: impl IntoIterator<Item = &'a Entry<'a>>) -> String {
    entries.into_iter().map(|entry| quoted(entry.name)).collect::<Vec<_>>().join(", ")
}

/// The names of those that tie with the best of `n_entries`.
fn tied_names<'a>(tied: Vec<&'a Entry<'a>>, n_entries: usize) -> String {
    match tied.len() {
        several if several > 1 && several + 1 == n_entries => "all others".into(),
        _ => list(tied),
    }
}

/// Which front is the largest, and where the first method stands.
fn hypervolumes(budget: &BudgetSummary<'_>) -> Vec<String> {
    let entries: Vec<Entry<'_>> = (budget.methods.iter())
        .filter(|method| method.hypervolume.value.is_finite())
        .map(|method| Entry {
            name: method.name(),
            value: method.hypervolume.value,
            interval: method.hypervolume.interval,
            resampled: method.hypervolume.resampled.clone(),
        })
        .collect();
    let Some((largest, tied)) = best(&entries) else {
        return vec!["No hypervolume is known yet.".into()];
    };
    if largest.value <= 0.0 {
        return vec!["Every hypervolume is 0.".into()];
    }
    let mut sentences = vec![format!("The largest hypervolume is that of {}.", largest.words())];
    if !tied.is_empty() {
        let tied: Vec<String> = tied.iter().map(|entry| entry.words()).collect();
        sentences.push(format!(
            "Tied with it, as the 95 % interval of the difference has 0 in it: {}.",
            tied.join(", ")
        ));
    } else if entries.len() > 1 {
        sentences.push("The 95 % interval of its difference from every other is above 0.".into());
    }
    let first = budget.first().and_then(|first| entries.iter().find(|entry| entry.name == first.name()));
    if let Some(first) = first.filter(|first| first.name != largest.name) {
        sentences.push(standing(first, &entries));
    }
    sentences
}

/// The rank of a method, who is better or worse, and who ties with it.
fn standing(first: &Entry<'_>, entries: &[Entry<'_>]) -> String {
    let others = || entries.iter().filter(|entry| entry.name != first.name);
    let rank = 1 + others().filter(|entry| entry.value > first.value).count();
    let apart = |is_above: bool| {
        list(others().filter(|entry| !entry.ties_with(first) && (entry.value > first.value) == is_above))
    };
    let groups = [
        ("tied with", list(others().filter(|entry| entry.ties_with(first)))),
        ("below", apart(true)),
        ("above", apart(false)),
    ];
    let groups = groups.into_iter().filter(|(_, names)| !names.is_empty());
    let groups: Vec<String> = groups.map(|(word, names)| format!("{word} {names}")).collect();
    format!("{} is number {rank} of {}: {}.", first.words(), entries.len(), groups.join("; "))
}

/// What every method needed for the hypervolume of the first.
fn effort(budget: &BudgetSummary<'_>) -> Option<String> {
    let first = budget.first().filter(|_| budget.budget == BudgetName::Quality)?;
    let others: Vec<String> = (budget.methods.iter())
        .filter(|method| method.index != 0)
        .map(|method| {
            let times = format!(
                "{} times the samples and {} times the seconds",
                ratio(method.cost.samples, first.cost.samples),
                ratio(method.cost.total_seconds(), first.cost.total_seconds()),
            );
            match method.outcome.reached {
                true => format!("{} needs {times}", quoted(method.name())),
                false => format!("{} does not reach it with every seed, with {times}", quoted(method.name())),
            }
        })
        .collect();
    (!others.is_empty()).then(|| {
        format!(
            "For the hypervolume of {}, which took {} samples and {} seconds: {}. Samples were doubled or halved, so that a \
             ratio is known within a factor of two.",
            first.name(),
            compact(first.cost.samples),
            compact(first.cost.total_seconds()),
            others.join("; "),
        )
    })
}

fn ratio(value: f64, to: f64) -> String {
    let ratio = value / to;
    if ratio.is_finite() { compact(ratio) } else { "–".into() }
}

/// Whose answers follow the levels asked for best.
fn control(
    budget: &BudgetSummary<'_>,
    asked: &str,
    side: fn(&ControlSummary) -> &Vec<ObjectiveControl>,
) -> Option<String> {
    let entries: Vec<Entry<'_>> = (budget.methods.iter())
        .map(|method| {
            let MeanOverObjectives { value, interval, resampled } =
                MeanOverObjectives::spearman(side(&method.control));
            Entry { name: method.name(), value, interval, resampled }
        })
        .filter(|entry| entry.value.is_finite())
        .collect();
    let (closest, tied) = best(&entries)?;
    let tied = match tied.is_empty() {
        true => String::new(),
        false => format!("; tied with it: {}", tied_names(tied, entries.len())),
    };
    let first = budget.first().and_then(|first| entries.iter().find(|entry| entry.name == first.name()));
    let first = match first.filter(|first| first.name != closest.name) {
        Some(first) => format!("; {}", first.words()),
        None => String::new(),
    };
    Some(format!(
        "Levels asked for {asked} are followed best by {} (Spearman, mean over the objectives){tied}{first}.",
        closest.words()
    ))
}

/// Whose training was the shortest, where it could be anything.
fn time(budget: &BudgetSummary<'_>) -> Option<String> {
    if budget.budget == BudgetName::Seconds {
        return None;
    }
    let seconds = |method: &MethodSummary<'_>| method.cost.total_seconds();
    let entries: Vec<Entry<'_>> = (budget.methods.iter())
        .map(|method| {
            let by_seed = method.cost.seconds_by_seed.iter().map(|seconds| -seconds);
            let interval = Interval {
                low: by_seed.clone().fold(f64::INFINITY, f64::min),
                high: by_seed.fold(f64::NEG_INFINITY, f64::max),
            };
            Entry { name: method.name(), value: -seconds(method), interval, resampled: Vec::new() }
        })
        .collect();
    let (shortest, tied) = best(&entries).filter(|_| entries.len() > 1)?;
    let tied = match tied.is_empty() {
        true => String::new(),
        false => format!(
            "; tied with it, as the ranges over the seeds overlap: {}",
            tied_names(tied, entries.len())
        ),
    };
    let first = match budget.first().filter(|first| first.name() != shortest.name) {
        Some(first) => format!("; {} took {} s", first.name(), compact(seconds(first))),
        None => String::new(),
    };
    Some(format!(
        "{} took the least time, {} s{tied}{first}.",
        quoted(shortest.name),
        compact(-shortest.value)
    ))
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;
    use crate::{MethodName, VariantRecipe};

    const METHODS: [MethodName; 3] = [MethodName::Moslim, MethodName::Morlhf, MethodName::Cpo];

    /// Points whose only one fills this share of the unit square.
    fn words(sample: &Sample) -> String {
        let comparison = sample.comparison();
        of_all(&Summary::of(&comparison).unwrap())
    }

    fn sample(budget: BudgetName, volumes: [f64; 3]) -> Sample {
        let sample = Sample::new(&METHODS, &[budget], &[1]);
        METHODS
            .iter()
            .zip(volumes)
            .fold(sample, |sample, (method, volume)| sample.with(budget, method.name(), &[&[[1.0, volume]]]))
    }

    #[test]
    fn the_largest_front_is_named_and_where_the_first_stands() {
        let words = words(&sample(BudgetName::Samples, [0.5, 0.75, 0.25]));
        assert!(words.starts_with(
            "At equal samples, by the judgement of gold, one seed, so that intervals cover the questions only. \
             The largest hypervolume is that of morlhf 0.750 [0.750, 0.750]. The 95 % interval of its difference from every \
             other is above 0. \
             moslim 0.500 [0.500, 0.500] is number 2 of 3: below morlhf; above cpo. \
             Levels asked for one at a time are followed best by moslim 1.000 [1.000, 1.000] (Spearman, mean over the \
             objectives); tied with it: all others."
        ), "{words}");
        // All answers are the same where everything was asked for.
        assert!(words.contains("all together are followed best by moslim 0.000"), "{words}");
    }

    #[test]
    fn differences_that_may_be_nothing_are_a_tie() {
        let mut sample = sample(BudgetName::Samples, [0.5, 0.75, 0.25]);
        // The second question is answered so well that the mean is 0.625 and the interval reaches from 0.5 to 0.75.
        sample.outcomes[0].measured[0].points[0].gold[1][1] = 0.75;
        let words = words(&sample);
        assert!(words.contains(
            "that of morlhf 0.750 [0.750, 0.750]. Tied with it, as the 95 % interval of the difference has 0 in it: \
             moslim 0.625 [0.500, 0.750]. moslim 0.625 [0.500, 0.750] is number 2 of 3: tied with morlhf; above cpo."
        ), "{words}");
    }

    #[test]
    fn a_difference_at_every_question_is_none_of_chance_though_intervals_overlap() {
        let mut sample = sample(BudgetName::Samples, [0.5, 0.625, 0.25]);
        for outcome in &mut sample.outcomes[..2] {
            outcome.measured[0].points[0].gold[1][1] += 0.25;
        }
        let words = words(&sample);
        assert!(words.contains(
            "that of morlhf 0.750 [0.625, 0.875]. The 95 % interval of its difference from every other is above 0. \
             moslim 0.625 [0.500, 0.750] is number 2 of 3: below morlhf; above cpo."
        ), "{words}");
    }

    #[test]
    fn a_name_with_a_comma_is_one_name() {
        let mut sample = sample(BudgetName::Samples, [0.5, 0.75, 0.25]);
        let comparison = sample.recipe.comparison.as_mut().unwrap();
        let name = "cpo, once more";
        comparison.variants.push(VariantRecipe {
            name: name.into(),
            method: MethodName::Cpo,
            set: vec!["comparison.cpo.beta=0.2".into()],
        });
        let words = words(&sample.with(BudgetName::Samples, name, &[&[[1.0, 0.125]]]));
        assert!(words.contains("below morlhf; above cpo, “cpo, once more”. Levels"), "{words}");
    }

    #[test]
    fn nothing_is_the_largest_of_nothing() {
        let words = words(&sample(BudgetName::Samples, [0.0; 3]));
        assert!(words.contains("questions only. Every hypervolume is 0. Levels"), "{words}");
    }

    #[test]
    fn the_first_method_at_the_top_needs_no_further_sentence() {
        let words = words(&sample(BudgetName::Samples, [0.75, 0.75, 0.25]));
        assert!(words.contains("is that of moslim 0.750 [0.750, 0.750]. Tied with it, as the"), "{words}");
        assert!(!words.contains("is number"), "{words}");
    }

    #[test]
    fn the_shortest_training_is_named_unless_time_is_the_budget() {
        let mut faster = sample(BudgetName::Samples, [0.5; 3]);
        faster.last().measured[0].cost.seconds.insert("update".into(), 1.5);
        let words_of = words(&faster);
        assert!(words_of.ends_with("cpo took the least time, 7.5 s; moslim took 10 s."), "{words_of}");
        let tied = words(&sample(BudgetName::Samples, [0.5; 3]));
        let end = "moslim took the least time, 10 s; tied with it, as the ranges over the seeds overlap: all others.";
        assert!(tied.ends_with(end), "{tied}");
        assert!(!words(&sample(BudgetName::Seconds, [0.5; 3])).contains("least time"));
    }

    #[test]
    fn at_equal_quality_the_effort_is_told_relative_to_the_first() {
        let mut sample = sample(BudgetName::Quality, [0.5; 3]);
        sample.outcomes[1].measured[0].cost.samples = 400;
        sample.outcomes[2].measured[0].cost.samples = 50;
        sample.last().measured[0].cost.seconds.insert("update".into(), 14.0);
        sample.last().reached = false;
        let words = words(&sample);
        assert!(words.contains(
            "For the hypervolume of moslim, which took 100 samples and 10 seconds: morlhf needs 4 times the samples and 1 \
             times the seconds; cpo does not reach it with every seed, with 0.5 times the samples and 2 times the seconds. \
             Samples were doubled or halved"
        ), "{words}");
    }

    #[test]
    fn what_is_missing_is_said() {
        let sample = Sample::new(&METHODS, &[BudgetName::Samples, BudgetName::Quality], &[1, 2]).with(
            BudgetName::Samples,
            "morlhf",
            &[&[[0.5, 0.5]]],
        );
        let words = words(&sample);
        let (first, second) = words.split_once("\n\n").unwrap();
        assert!(
            first.contains("that of morlhf 0.250 [0.250, 0.250]. Levels"),
            "no comparison with nobody: {first}"
        );
        assert!(first.ends_with("Not measured with every seed yet: moslim, morlhf, cpo."), "{first}");
        assert_eq!(
            second,
            "At equal hypervolume, by the judgement of gold, 2 seeds. No hypervolume is known yet. \
             Not measured with every seed yet: moslim, morlhf, cpo."
        );
    }
}
