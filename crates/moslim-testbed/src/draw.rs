//! Small random draws.

use rand::seq::SliceRandom;
use rand::{Rng, RngExt};

/// One item, uniformly; `items` must not be empty.
pub(crate) fn pick<T: Copy>(items: &[T], rng: &mut impl Rng) -> T {
    items[rng.random_range(0..items.len())]
}

/// Splits `items` at random into `n_chosen` and the rest.
pub(crate) fn partition<T: Copy>(items: &[T], n_chosen: usize, rng: &mut impl Rng) -> (Vec<T>, Vec<T>) {
    let mut chosen = items.to_vec();
    chosen.shuffle(rng);
    let rest = chosen.split_off(n_chosen);
    (chosen, rest)
}
