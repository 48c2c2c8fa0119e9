//! Parts of a batch at once, one per core.
//!
//! The tensors of a small model are too small to be worth splitting one by one: most of the time one core would wait.
//! A whole part of a batch is large enough, and needs nothing from the other parts.

use burn::tensor::Device;

/// Whether [`in_parallel`] can do several parts at once on this device, cores permitting.
///
/// So it is on the CPU; an accelerator is kept busy by one large part.
pub fn splits_batches(device: &Device) -> bool {
    #[cfg(feature = "flex")]
    return *device == Device::flex() || *device == Device::flex().autodiff();
    #[cfg(not(feature = "flex"))]
    {
        let _ = device;
        false
    }
}

/// How many parts [`in_parallel`] does at once on this device at most.
pub fn n_lanes(device: &Device) -> usize {
    #[cfg(feature = "flex")]
    if splits_batches(device) {
        return rayon::current_num_threads();
    }
    let _ = device;
    1
}

/// Applies `work` to every part, several at once where [`splits_batches`] allows it; results are in the order of the parts.
///
/// Operations on tensors inside `work` run on one thread each, so that the results do not depend on the number of cores.
/// A single part is worked on by the calling thread, with all cores at its service; so is every part when `work` calls this again.
///
/// ```
/// let squares = moslim_kernels::in_parallel(&Default::default(), vec![1, 2, 3], |x| x * x);
/// assert_eq!(squares, [1, 4, 9]);
/// ```
pub fn in_parallel<P: Send, R: Send>(device: &Device, parts: Vec<P>, work: impl Fn(P) -> R + Sync) -> Vec<R> {
    let mut results = Vec::with_capacity(parts.len());
    each(device, parts, work, |result| results.push(result), usize::MAX);
    results
}

/// [`in_parallel`] that hands over every result as soon as those of all earlier parts were handed over, and holds no more than one per core.
///
/// Where results are large and only their sum is wanted, a core waits with its result for the parts before rather than begin another one.
pub fn in_parallel_each<P: Send, R: Send>(
    device: &Device,
    parts: Vec<P>,
    work: impl Fn(P) -> R + Sync,
    take: impl FnMut(R) + Send,
) {
    each(device, parts, work, take, 0);
}

/// `ahead`: so many results may wait for those before them while their cores go on.
fn each<P: Send, R: Send>(
    device: &Device,
    parts: Vec<P>,
    work: impl Fn(P) -> R + Sync,
    mut take: impl FnMut(R) + Send,
    ahead: usize,
) {
    #[cfg(feature = "flex")]
    if parts.len() > 1 && splits_batches(device) && lanes::are_free() {
        return lanes::run(parts, work, take, ahead);
    }
    let _ = (device, ahead);
    parts.into_iter().for_each(|part| take(work(part)));
}

#[cfg(feature = "flex")]
mod lanes {
    use std::collections::BTreeMap;
    use std::panic::resume_unwind;
    use std::sync::{Condvar, Mutex, OnceLock};
    use std::thread;

    use rayon::{ThreadPool, ThreadPoolBuilder};

    /// One pool of one thread per core: what runs there finds a single core and does not split its work further.
    fn lanes() -> &'static [ThreadPool] {
        static LANES: OnceLock<Vec<ThreadPool>> = OnceLock::new();
        LANES.get_or_init(|| {
            let lane = |_| ThreadPoolBuilder::new().num_threads(1).build().ok();
            (0..rayon::current_num_threads()).map_while(lane).collect()
        })
    }

    /// Whether there are lanes, and the calling thread is not one of them: a lane that waits for itself would wait for ever.
    pub(super) fn are_free() -> bool {
        lanes().len() > 1 && lanes().iter().all(|lane| lane.current_thread_index().is_none())
    }

    pub(super) fn run<P: Send, R: Send>(
        parts: Vec<P>,
        work: impl Fn(P) -> R + Sync,
        take: impl FnMut(R) + Send,
        ahead: usize,
    ) {
        let n_lanes = parts.len().min(lanes().len());
        let queue = Mutex::new(parts.into_iter().enumerate());
        let in_order = InOrder {
            state: Mutex::new(State { next: 0, waiting: BTreeMap::new(), take, is_over: false }),
            turn: Condvar::new(),
            ahead,
        };
        let next = || queue.lock().ok()?.next();
        let take_turns = || {
            let _end = EndOnPanic(&in_order);
            while let Some((index, part)) = next() {
                if !in_order.put(index, work(part)) {
                    return;
                }
            }
        };
        thread::scope(|scope| {
            let lanes = lanes()[..n_lanes].iter();
            let running: Vec<_> = lanes.map(|lane| scope.spawn(|| lane.install(take_turns))).collect();
            for lane in running {
                lane.join().unwrap_or_else(|panic| resume_unwind(panic));
            }
        });
    }

    /// Hands results over in the order of their parts.
    struct InOrder<R, T: FnMut(R)> {
        state: Mutex<State<R, T>>,
        turn: Condvar,
        ahead: usize,
    }

    struct State<R, T> {
        next: usize,
        waiting: BTreeMap<usize, R>,
        take: T,
        /// Whether a lane panicked, so that no turn will come any more.
        is_over: bool,
    }

    impl<R, T: FnMut(R)> InOrder<R, T> {
        /// Waits until no more than `ahead` results are missing before this one, and leaves it; `false` if all is over.
        fn put(&self, index: usize, result: R) -> bool {
            let Ok(state) = self.state.lock() else { return false };
            let is_early = |state: &mut State<R, T>| index - state.next > self.ahead && !state.is_over;
            let Ok(mut state) = self.turn.wait_while(state, is_early) else { return false };
            let State { next, waiting, take, is_over } = &mut *state;
            waiting.insert(index, result);
            while let Some(result) = waiting.remove(next) {
                take(result);
                *next += 1;
            }
            let goes_on = !*is_over;
            self.turn.notify_all();
            goes_on
        }
    }

    /// Ends the waiting of all lanes when the one that holds it panics.
    struct EndOnPanic<'a, R, T: FnMut(R)>(&'a InOrder<R, T>);

    impl<R, T: FnMut(R)> Drop for EndOnPanic<'_, R, T> {
        fn drop(&mut self) {
            if thread::panicking() {
                if let Ok(mut state) = self.0.state.lock() {
                    state.is_over = true;
                }
                self.0.turn.notify_all();
            }
        }
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use std::collections::BTreeSet;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Barrier, Mutex, MutexGuard, PoisonError};
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// All lanes for one test: two tests whose parts wait for each other could each hold one of two lanes for ever.
    fn alone() -> MutexGuard<'static, ()> {
        static LANES: Mutex<()> = Mutex::new(());
        LANES.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[test]
    fn two_parts_run_at_once_each_on_a_single_thread() {
        if rayon::current_num_threads() < 2 {
            return;
        }
        let _alone = alone();
        // Each part waits for the other one: done in turns, they would never end.
        let meeting = Barrier::new(2);
        let seen = in_parallel(&Device::flex().autodiff(), vec![(), ()], |()| {
            meeting.wait();
            (thread::current().id(), rayon::current_num_threads())
        });
        assert!(seen[0].0 != seen[1].0 && seen.iter().all(|&(_, threads)| threads == 1), "{seen:?}");
    }

    #[test]
    fn a_part_may_have_parts() {
        let sums = in_parallel(&Device::flex(), (0..20).collect(), |i: usize| {
            in_parallel(&Device::flex(), (0..=i).collect(), |j| j).iter().sum::<usize>()
        });
        assert_eq!(sums, (0..20).map(|i| i * (i + 1) / 2).collect::<Vec<_>>());
    }

    #[test]
    fn results_are_handed_over_in_order_and_at_once() {
        if rayon::current_num_threads() < 2 {
            return;
        }
        let _alone = alone();
        // The first two parts wait for each other; whichever is done first, the order is that of the parts.
        let first_two = Barrier::new(2);
        let mut taken = Vec::new();
        let work = |i: i32| {
            if i < 2 {
                first_two.wait();
            }
            i
        };
        in_parallel_each(&Device::flex(), (0..6).collect(), work, |i| taken.push(i));
        assert_eq!(taken, [0, 1, 2, 3, 4, 5]);

        // Results do not pile up, though the first part takes longest.
        let (begun, held) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let most = AtomicUsize::new(0);
        let work = |i: usize| {
            begun.fetch_add(1, Ordering::SeqCst);
            let now = held.fetch_add(1, Ordering::SeqCst) + 1;
            most.fetch_max(now, Ordering::SeqCst);
            thread::sleep(Duration::from_millis(if i == 0 { 50 } else { 1 }));
        };
        in_parallel_each(&Device::flex(), (0..40).collect(), work, |()| {
            held.fetch_sub(1, Ordering::SeqCst);
        });
        assert_eq!(begun.into_inner(), 40);
        let (most, lanes) = (most.into_inner(), n_lanes(&Device::flex()));
        assert!((2..=lanes).contains(&most), "{most} results at once on {lanes} lanes");
    }

    #[test]
    fn callers_may_share_the_lanes() {
        let seen: BTreeSet<usize> = thread::scope(|scope| {
            let caller = |first: usize| move || in_parallel(&Device::flex(), vec![first, first + 1], |i| i);
            let callers: Vec<_> = (0..8).map(|i| scope.spawn(caller(2 * i))).collect();
            callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
        });
        assert_eq!(seen, (0..16).collect());
    }

    #[test]
    fn a_panic_reaches_the_caller() {
        let work = |i: i32| assert!(i < 2, "part {i} fails");
        let run = || in_parallel(&Device::flex(), vec![1, 2, 3, 4], work);
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        // Nobody waits for the turn of a part that failed.
        let work = |i: u64| {
            thread::sleep(Duration::from_millis(20 * (3 - i)));
            assert!(i > 0, "the first part fails last");
        };
        let run = || in_parallel_each(&Device::flex(), vec![0, 1, 2, 3], work, |()| {});
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    }
}
