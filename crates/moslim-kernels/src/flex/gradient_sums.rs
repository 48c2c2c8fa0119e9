//! The sums of gradients of weights over parts, and how a step of the backward pass finds the one it adds to.
//!
//! A tracked operation asks for its weight's [`Share`] in its forward pass and keeps it in its state.

use super::route::{Tracked, leaf};
use super::storage::from_elements;
use burn::backend::autodiff::NodeId;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::Tensor;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// See [`crate::GradientSums`].
#[derive(Debug, Default)]
pub(crate) struct GradientSums(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    turn: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// By the number of the weight and of its use in a part: the uses of a tied embedding are far apart in the backward pass, and no part waits for the last use of the one before.
    sums: BTreeMap<(usize, usize), Sum>,
    /// So many parts are over.
    n_over: usize,
    /// Whether a part panicked, so that its turns will not come.
    is_broken: bool,
}

#[derive(Debug)]
struct Sum {
    shape: [usize; 2],
    /// The part that adds next, unless more are over.
    next: usize,
    /// Empty while a part adds.
    elements: Vec<f32>,
}

/// The right of one step of the backward pass to add a gradient once.
#[derive(Clone, Debug)]
pub(super) struct Share {
    sums: Arc<Shared>,
    part: usize,
    weight: usize,
    nth_use: usize,
    shape: [usize; 2],
}

/// The part that this thread works on.
struct Turn {
    sums: Arc<Shared>,
    part: usize,
    /// The number of every weight, and how often it was used.
    weights: HashMap<NodeId, (usize, usize)>,
}

thread_local! {
    static TURN: RefCell<Option<Turn>> = const { RefCell::new(None) };
}

impl GradientSums {
    pub(crate) fn in_turn<R>(&self, part: usize, weights: &[Tensor<2>], work: impl FnOnce() -> R) -> R {
        let _end = End { sums: &self.0, part };
        let number = |(number, weight)| Some((leaf(weight)?, (number, 0)));
        let weights = weights.iter().enumerate().filter_map(number).collect();
        TURN.set(Some(Turn { sums: self.0.clone(), part, weights }));
        work()
    }

    pub(crate) fn into_tensors(self, n_weights: usize) -> Vec<Option<Tensor<2>>> {
        let mut tensors = vec![None; n_weights];
        for ((weight, _), Sum { shape, elements, .. }) in std::mem::take(&mut self.0.lock().sums) {
            let of_use = Tensor::from_primitive::<Flex>(from_elements(elements, shape));
            let tensor: &mut Option<Tensor<2>> = &mut tensors[weight];
            *tensor = Some(match tensor.take() {
                Some(of_uses_before) => of_uses_before + of_use,
                None => of_use,
            });
        }
        tensors
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait_while(&self, is_early: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let early = |state: &mut State| !state.is_broken && is_early(state);
        self.turn.wait_while(self.lock(), early).unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// The share of an operation that uses this weight, if this thread's part sums its gradients.
    pub(super) fn of(weight: &Tracked) -> Option<Self> {
        TURN.with_borrow_mut(|turn| {
            let Turn { sums, part, weights } = turn.as_mut()?;
            let (number, n_uses) = weights.get_mut(&weight.id())?;
            let nth_use = std::mem::replace(n_uses, *n_uses + 1);
            let shape = weight.primitive().shape().dims();
            Some(Self { sums: sums.clone(), part: *part, weight: *number, nth_use, shape })
        })
    }

    /// Waits for the parts before, and replaces the sum, which is `None` at first, by that with this gradient.
    pub(super) fn add(self, add: impl FnOnce(Option<Vec<f32>>) -> Vec<f32>) {
        let Self { sums, part, weight, nth_use, shape } = self;
        let key = (weight, nth_use);
        let next = |state: &State| state.sums.get(&key).map_or(0, |sum| sum.next).max(state.n_over);
        let mut state = sums.wait_while(|state| next(state) < part);
        if state.is_broken {
            // Nobody will ask for the sums.
            return;
        }
        let before = state.sums.get_mut(&key).map(|sum| std::mem::take(&mut sum.elements));
        // Nobody else touches this sum until the part has added to it.
        drop(state);
        let elements = add(before);
        debug_assert_eq!(elements.len(), shape[0] * shape[1]);
        sums.lock().sums.insert(key, Sum { shape, next: part + 1, elements });
        sums.turn.notify_all();
    }
}

/// Ends the turn of a part when it is over.
struct End<'a> {
    sums: &'a Shared,
    part: usize,
}

impl Drop for End<'_> {
    fn drop(&mut self) {
        TURN.set(None);
        if thread::panicking() {
            self.sums.lock().is_broken = true;
        } else {
            self.sums.wait_while(|state| state.n_over < self.part).n_over = self.part + 1;
        }
        self.sums.turn.notify_all();
    }
}
