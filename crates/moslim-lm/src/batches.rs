//! The order in which examples are seen.

use rand::SeedableRng;
use rand::distr::{Distribution, weighted::WeightedIndex};
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

/// Batches of item indices for ever: every epoch is a fresh permutation, and its incomplete last batch is dropped.
///
/// The order follows from the seed alone, so that the [position](Self::position) is all that a checkpoint needs to keep.
///
/// ```
/// use moslim_lm::EpochBatches;
///
/// let mut batches = EpochBatches::new(100, 8, 7);
/// let seen: Vec<_> = batches.by_ref().take(30).collect();
/// let mut resumed = EpochBatches::new(100, 8, 7).skip_to(batches.position());
/// assert_eq!(resumed.next(), batches.next());
/// ```
pub struct EpochBatches {
    /// A permutation of all items, shuffled anew for every epoch.
    items: Vec<usize>,
    /// What is seen in the epoch at hand.
    order: Vec<usize>,
    next: usize,
    batch_size: usize,
    position: usize,
    weights: Option<WeightedIndex<f64>>,
    lengths: Option<Vec<usize>>,
    rng: ChaCha8Rng,
}

/// Batches among which items are sorted by length, as in Hugging Face's `group_by_length`.
const BATCHES_PER_GROUP: usize = 50;

impl EpochBatches {
    /// The order of `n_items` items that belongs to a seed; batches are at most as large as the data.
    ///
    /// # Panics
    /// If there are no items or the batch size is 0.
    pub fn new(n_items: usize, batch_size: usize, seed: u64) -> Self {
        assert!(n_items > 0 && batch_size > 0, "{n_items} items in batches of {batch_size}");
        Self {
            items: (0..n_items).collect(),
            order: vec![],
            next: 0,
            batch_size: batch_size.min(n_items),
            position: 0,
            weights: None,
            lengths: None,
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Draws items in proportion to their weights, with replacement, instead of each once per epoch.
    ///
    /// # Panics
    /// If there is not one weight per item, one is negative, or all are 0.
    pub fn weighted(self, weights: &[f64]) -> Self {
        assert_eq!(weights.len(), self.items.len(), "one weight per item");
        let weights = WeightedIndex::new(weights).expect("weights are numbers from 0 on, and not all 0");
        Self { weights: Some(weights), ..self }
    }

    /// Puts items of similar length into one batch, so that there is less padding; the batches of an epoch are then shuffled.
    ///
    /// # Panics
    /// If there is not one length per item.
    pub fn grouped_by_length(self, lengths: Vec<usize>) -> Self {
        assert_eq!(lengths.len(), self.items.len(), "one length per item");
        Self { lengths: Some(lengths), ..self }
    }

    /// The number of batches that were given out.
    pub fn position(&self) -> usize {
        self.position
    }

    /// The same order from a position on; takes the time of drawing its epochs.
    pub fn skip_to(mut self, position: usize) -> Self {
        while self.position < position {
            self.next();
        }
        self
    }

    fn begin_epoch(&mut self) {
        self.order = match &self.weights {
            Some(weights) => self.items.iter().map(|_| weights.sample(&mut self.rng)).collect(),
            None => {
                self.items.shuffle(&mut self.rng);
                self.items.clone()
            }
        };
        if let Some(lengths) = &self.lengths {
            let whole = self.order.len() - self.order.len() % self.batch_size;
            self.order.truncate(whole);
            for group in self.order.chunks_mut(BATCHES_PER_GROUP * self.batch_size) {
                group.sort_by_key(|&item| lengths[item]);
            }
            let mut batches: Vec<&[usize]> = self.order.chunks(self.batch_size).collect();
            batches.shuffle(&mut self.rng);
            self.order = batches.concat();
        }
        self.next = 0;
    }
}

impl Iterator for EpochBatches {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next + self.batch_size > self.order.len() {
            self.begin_epoch();
        }
        let batch = self.order[self.next..self.next + self.batch_size].to_vec();
        self.next += self.batch_size;
        self.position += 1;
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(batches: &mut EpochBatches, n: usize) -> Vec<usize> {
        batches.take(n).flatten().collect()
    }

    fn sorted(mut items: Vec<usize>) -> Vec<usize> {
        items.sort_unstable();
        items
    }

    #[test]
    fn an_epoch_shows_every_item_once() {
        let mut batches = EpochBatches::new(7, 2, 0);
        let orders = [epoch(&mut batches, 3), epoch(&mut batches, 3)];
        for order in &orders {
            let mut seen = sorted(order.clone());
            seen.dedup();
            assert_eq!(seen.len(), 6);
        }
        assert_ne!(orders[0], orders[1]);
        let first = |seed| EpochBatches::new(100, 100, seed).next().unwrap();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }

    #[test]
    fn any_position_is_reached_again() {
        let lengths = || (0..23).map(|item| item * 7 % 23).collect();
        let kinds: [fn(EpochBatches, Vec<usize>) -> EpochBatches; 3] = [
            |batches, _| batches,
            |batches, _| batches.weighted(&(1..24).map(f64::from).collect::<Vec<_>>()),
            |batches, lengths| batches.grouped_by_length(lengths),
        ];
        for kind in kinds {
            let make = || kind(EpochBatches::new(23, 4, 5), lengths());
            let straight: Vec<_> = make().take(40).collect();
            for position in [0, 1, 4, 5, 6, 17, 25] {
                let resumed = make().skip_to(position);
                assert_eq!(resumed.position(), position);
                assert_eq!(resumed.take(40 - position).collect::<Vec<_>>(), straight[position..]);
            }
        }
    }

    #[test]
    fn groups_are_of_similar_length_and_still_show_every_item() {
        // Lengths 0 to 999 in a wild order.
        let lengths: Vec<usize> = (0..1000).map(|item| item * 617 % 1000).collect();
        let spread = |batches: &mut EpochBatches| {
            let spread = |batch: Vec<usize>| {
                let lengths = batch.iter().map(|&item| lengths[item]);
                lengths.clone().max().unwrap() - lengths.min().unwrap()
            };
            batches.take(100).map(spread).sum::<usize>() / 100
        };
        let mut plain = EpochBatches::new(1000, 10, 3);
        let mut grouped = EpochBatches::new(1000, 10, 3).grouped_by_length(lengths.clone());
        // Ten of a thousand at random span about 820; ten neighbours of 500 about 18.
        let (plain, grouped_spread) = (spread(&mut plain), spread(&mut grouped));
        assert!(plain > 750 && grouped_spread < 30, "{plain} {grouped_spread}");
        let order = epoch(&mut grouped, 100);
        assert_eq!(sorted(order.clone()), (0..1000).collect::<Vec<_>>());
        // The batches themselves are in no order.
        let rising = order.chunks(10).map(|batch| lengths[batch[0]]).is_sorted();
        assert!(!rising);
    }

    #[test]
    fn weights_decide_how_often_an_item_is_drawn() {
        let weights = [1.0, 2.0, 5.0];
        let mut counts = [0; 3];
        let batches = EpochBatches::new(3, 2, 9).weighted(&weights);
        batches.take(4000).flatten().for_each(|item| counts[item] += 1);
        // Over 4 standard deviations: 8000 draws, sqrt(8000 · 0.25) = 45.
        for (count, expected) in counts.into_iter().zip([1000_usize, 2000, 5000]) {
            assert!(expected.abs_diff(count) < 200, "{counts:?}");
        }
    }
}
