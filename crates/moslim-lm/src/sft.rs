//! Supervised fine-tuning: the loss, and the order in which examples are seen.

use burn::tensor::Tensor;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;

use crate::{CausalLm, Exchange, response_logprobs};

/// Mean negative log-likelihood of the response tokens; prompts and padding do not count. `[1]`, in nats per token
pub fn sft_loss(model: &CausalLm, exchanges: &[Exchange<'_>]) -> Tensor<1> {
    let n_tokens: usize = exchanges.iter().map(|exchange| exchange.response.len()).sum();
    response_logprobs(model, exchanges, 1.0).logprobs.sum().neg() / n_tokens as f64
}

/// Batches of item indices for ever: every epoch is a fresh permutation, and its incomplete last batch is dropped.
pub struct EpochBatches {
    order: Vec<usize>,
    next: usize,
    batch_size: usize,
    rng: ChaCha8Rng,
}

impl EpochBatches {
    /// The order of `n_items` items that belongs to a seed; batches are at most as large as the data.
    ///
    /// # Panics
    /// If there are no items or the batch size is 0.
    pub fn new(n_items: usize, batch_size: usize, seed: u64) -> Self {
        assert!(n_items > 0 && batch_size > 0, "{n_items} items in batches of {batch_size}");
        let order = (0..n_items).collect();
        Self {
            order,
            next: n_items,
            batch_size: batch_size.min(n_items),
            rng: ChaCha8Rng::seed_from_u64(seed),
        }
    }
}

impl Iterator for EpochBatches {
    type Item = Vec<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.next + self.batch_size > self.order.len() {
            self.order.shuffle(&mut self.rng);
            self.next = 0;
        }
        let batch = self.order[self.next..self.next + self.batch_size].to_vec();
        self.next += self.batch_size;
        Some(batch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_shows_every_item_once() {
        let mut batches = EpochBatches::new(7, 2, 0);
        let mut epoch = || {
            let mut seen: Vec<usize> = batches.by_ref().take(3).flatten().collect();
            let order = seen.clone();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 6);
            order
        };
        assert_ne!(epoch(), epoch());
        let first = |seed| EpochBatches::new(100, 100, seed).next().unwrap();
        assert_eq!(first(1), first(1));
        assert_ne!(first(1), first(2));
    }
}
