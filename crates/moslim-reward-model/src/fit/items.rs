//! The items of a training set, their labels as the loss counts them, and the order in which they are seen.

use moslim_data::{Level, balanced_weights};
use moslim_lm::{EpochBatches, Exchange};

use super::{ClassWeights, FitConfig, Sampling};
use crate::loss::Said;
use crate::{ComparedExchange, Label, LabeledExchange, TrainingSet};

/// Answers, then pairs: what batches are made of.
pub(super) struct Items<'a> {
    data: &'a TrainingSet,
    n_heads: usize,
    /// The balanced weight of every level of every objective.
    level_weights: Vec<Vec<f64>>,
    sampling: Sampling,
    class_weights: ClassWeights,
}

impl<'a> Items<'a> {
    pub(super) fn new(data: &'a TrainingSet, n_heads: usize, config: &FitConfig) -> Self {
        let FitConfig { sampling, class_weights, .. } = *config;
        Self { data, n_heads, level_weights: level_weights(&data.answers, n_heads), sampling, class_weights }
    }

    fn pair(&self, item: usize) -> Option<&'a ComparedExchange> {
        self.data.pairs.get(item.checked_sub(self.data.answers.len())?)
    }

    /// The answers of an item: one, or the better and the other of a pair.
    pub(super) fn exchanges(&self, item: usize) -> Vec<Exchange<'a>> {
        exchanges(self.data, item)
    }

    /// The labels of each head on some items whose answers lie one after the other.
    pub(super) fn labels(&self, items: &[usize]) -> Vec<Vec<Label>> {
        let mut labels = vec![Vec::new(); self.n_heads];
        let mut row = 0;
        for &item in items {
            if let Some(pair) = self.pair(item) {
                let said = Said::BetterThan { rejected: row + 1, distance: pair.distance };
                let weight = if self.sampling == Sampling::Weighted { 1.0 } else { pair.weight };
                labels[pair.objective].push(Label { row, what: said, weight });
                row += 2;
                continue;
            }
            let answer = &self.data.answers[item];
            for (objective, target) in answer.targets.iter().enumerate() {
                let Some(target) = target else { continue };
                let of_answer = if self.sampling == Sampling::Weighted { 1.0 } else { answer.weight };
                let of_class = match (self.class_weights, target.nearest_level()) {
                    (ClassWeights::Balanced, Some(level)) => self.level_weights[objective][level],
                    _ => 1.0,
                };
                let weight = of_answer * of_class;
                labels[objective].push(Label { row, what: Said::Target(target.clone()), weight });
            }
            row += 1;
        }
        labels
    }

    /// The order in which items are seen.
    pub(super) fn order(&self, config: &FitConfig, seed: u64) -> EpochBatches {
        let batches = EpochBatches::new(self.data.len(), config.batch_size, seed);
        let pairs = &self.data.pairs;
        let answers = &self.data.answers;
        let batches = match self.sampling {
            Sampling::Shuffled => batches,
            Sampling::Weighted => {
                let weights = answers.iter().map(|answer| answer.weight);
                batches.weighted(&weights.chain(pairs.iter().map(|pair| pair.weight)).collect::<Vec<_>>())
            }
            Sampling::Balanced => batches.weighted(&self.sampling_weights()),
        };
        match config.group_by_length {
            false => batches,
            true => {
                let lengths = answers.iter().map(LabeledExchange::n_tokens);
                batches
                    .grouped_by_length(lengths.chain(pairs.iter().map(ComparedExchange::n_tokens)).collect())
            }
        }
    }

    /// The mean of the balanced weights of an answer's labels; 1 for pairs, and for answers whose labels name no level.
    fn sampling_weights(&self) -> Vec<f64> {
        let of_answer = |answer: &LabeledExchange| {
            let targets = answer.targets.iter().zip(&self.level_weights);
            let weights: Vec<f64> = targets
                .filter_map(|(target, weights)| Some(weights[target.as_ref()?.nearest_level()?]))
                .collect();
            match weights.is_empty() {
                true => 1.0,
                false => weights.iter().sum::<f64>() / weights.len() as f64,
            }
        };
        let answers = self.data.answers.iter().map(of_answer);
        answers.chain(self.data.pairs.iter().map(|_| 1.0)).collect()
    }
}

/// The answers of an item: one, or the better and the other of a pair.
fn exchanges(data: &TrainingSet, item: usize) -> Vec<Exchange<'_>> {
    match data.answers.get(item) {
        Some(answer) => vec![answer.exchange()],
        None => data.pairs[item - data.answers.len()].exchanges().into(),
    }
}

/// The answers of all items, one after the other, and where those of each begin.
pub(super) fn all_exchanges(data: &TrainingSet) -> (Vec<Exchange<'_>>, Vec<usize>) {
    let (mut all, mut firsts) = (Vec::new(), Vec::new());
    for item in 0..data.len() {
        firsts.push(all.len());
        all.extend(exchanges(data, item));
    }
    (all, firsts)
}

fn level_weights(answers: &[LabeledExchange], n_heads: usize) -> Vec<Vec<f64>> {
    let of_objective = |objective: usize| {
        let levels: Vec<Level> =
            answers.iter().filter_map(|answer| answer.targets[objective].as_ref()?.nearest_level()).collect();
        let mut counts = vec![0; levels.iter().max().map_or(0, |highest| highest + 1)];
        levels.into_iter().for_each(|level| counts[level] += 1);
        balanced_weights(&counts)
    };
    (0..n_heads).map(of_objective).collect()
}

#[cfg(test)]
mod tests {
    use moslim_lm::OptimizerConfig;

    use super::*;
    use crate::Target;

    fn data(levels: &[[Option<Level>; 2]]) -> TrainingSet {
        let answer = |levels: &[Option<Level>; 2]| LabeledExchange {
            prompt: vec![1],
            response: vec![2],
            targets: levels.map(|level| level.map(|level| Target::Level(level as f64))).into(),
            weight: 0.5,
        };
        TrainingSet { answers: levels.iter().map(answer).collect(), pairs: vec![] }
    }

    fn config(sampling: Sampling, class_weights: ClassWeights) -> FitConfig {
        let optimizer = OptimizerConfig::new(1e-3);
        FitConfig { sampling, class_weights, ..FitConfig::new(1.0, 4, optimizer) }
    }

    #[test]
    fn weights_of_answers_and_classes_multiply() {
        // Head 0: three of level 0, one of level 2; head 1: one label.
        let data = data(&[[Some(0), None], [Some(0), Some(1)], [Some(0), None], [Some(2), None]]);
        let weights = |sampling, class_weights| -> Vec<f64> {
            let labels = Items::new(&data, 2, &config(sampling, class_weights)).labels(&[0, 1, 2, 3]);
            assert_eq!((labels[0].len(), labels[1].len(), labels[1][0].row), (4, 1, 1));
            labels[0].iter().map(|label| label.weight).collect()
        };
        assert_eq!(weights(Sampling::Shuffled, ClassWeights::None), [0.5; 4]);
        // What decides how often an answer is drawn does not count a second time.
        assert_eq!(weights(Sampling::Weighted, ClassWeights::None), [1.0; 4]);
        // 4 / (2 · 3) and 4 / (2 · 1), halved.
        let balanced = weights(Sampling::Balanced, ClassWeights::Balanced);
        assert_eq!(balanced, [1.0 / 3.0, 1.0 / 3.0, 1.0 / 3.0, 1.0]);
    }

    #[test]
    fn balanced_sampling_shows_rare_levels_as_often_as_frequent_ones() {
        let mut levels = vec![[Some(0), None]; 90];
        levels.extend([[Some(1), None]; 10]);
        let data = data(&levels);
        let config = config(Sampling::Balanced, ClassWeights::None);
        let order = Items::new(&data, 2, &config).order(&config, 3);
        let drawn: Vec<usize> = order.take(500).flatten().collect();
        let of_level = |level| drawn.iter().filter(|&&row| levels[row][0] == level).count();
        // Over 4 standard deviations of sqrt(2000 / 4).
        assert!(of_level(Some(1)).abs_diff(1000) < 100);
    }

    #[test]
    fn a_pair_is_two_answers_and_one_label() {
        let mut data = data(&[[Some(1), None]]);
        data.pairs.push(ComparedExchange {
            prompt: vec![1],
            chosen: vec![3],
            rejected: vec![4],
            objective: 1,
            distance: 2.0,
            weight: 3.0,
        });
        let items = Items::new(&data, 2, &config(Sampling::Shuffled, ClassWeights::None));
        let labels = items.labels(&[1, 0, 1]);
        let better =
            |row| Label { row, what: Said::BetterThan { rejected: row + 1, distance: 2.0 }, weight: 3.0 };
        assert_eq!(labels[1], [better(0), better(3)]);
        assert_eq!((labels[0].len(), labels[0][0].row), (1, 2));
        let (exchanges, firsts) = all_exchanges(&data);
        assert_eq!((exchanges.len(), firsts), (3, vec![0, 1]));
        assert_eq!((exchanges[1].response, exchanges[2].response), (&[3][..], &[4][..]));
    }
}
