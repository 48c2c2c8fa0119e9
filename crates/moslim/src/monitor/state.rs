//! What a monitor remembers.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{MonitorConfig, Sign, Vitals};

/// What a [`Monitor`](super::Monitor) remembers of the steps so far, for a checkpoint; only finite numbers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MonitorState {
    pub(super) start: Start,
    /// The latest gradient norms, the oldest first.
    pub(super) grad_norms: VecDeque<f64>,
    /// The latest held-out looks, proxy and gold, the oldest first.
    pub(super) looks: VecDeque<(f64, f64)>,
    pub(super) episodes: BTreeMap<Sign, Episode>,
}

/// The first steps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    pub(super) score: Mean,
    pub(super) entropy: Mean,
    pub(super) mean_length: Mean,
    pub(super) repeated: Mean,
    pub(super) clipped_ratio: Mean,
}

/// The mean of the first few values.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mean {
    n: usize,
    mean: f64,
}

impl Mean {
    /// The mean, once there are enough values.
    pub(super) fn of(&self, n: usize) -> Option<f64> {
        (self.n >= n).then_some(self.mean)
    }

    fn add(&mut self, value: f64, n: usize) {
        if self.n < n && value.is_finite() {
            self.n += 1;
            let n = self.n as f64;
            self.mean += value / n - self.mean / n;
        }
    }
}

/// Whether a sign is there, and for how many steps in a row its condition has said otherwise.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Episode {
    pub(super) active: bool,
    streak: usize,
}

impl Episode {
    /// One more step; says whether the sign begins with it.
    pub(super) fn follow(&mut self, holds: bool, begin_after: usize, end_after: usize) -> bool {
        if holds == self.active {
            self.streak = 0;
            return false;
        }
        self.streak += 1;
        if self.streak < if self.active { end_after } else { begin_after } {
            return false;
        }
        *self = Self { active: holds, streak: 0 };
        holds
    }
}

impl MonitorState {
    /// Remembers a held-out look.
    pub(super) fn note_look(&mut self, (proxy, gold): (f64, f64), config: &MonitorConfig) {
        if proxy.is_finite() && gold.is_finite() {
            push_latest(&mut self.looks, (proxy, gold), config.held_out_looks);
        }
    }

    /// Remembers a step, for those after it.
    pub(super) fn note(&mut self, vitals: &Vitals, config: &MonitorConfig) {
        let Start { score, entropy, mean_length, repeated, clipped_ratio } = &mut self.start;
        score.add(vitals.score, config.start_steps);
        entropy.add(vitals.entropy, config.start_steps);
        mean_length.add(vitals.mean_length, config.start_steps);
        repeated.add(vitals.repeated, config.start_steps);
        clipped_ratio.add(vitals.clipped_ratio, config.start_steps);
        if vitals.grad_norm.is_finite() {
            push_latest(&mut self.grad_norms, vitals.grad_norm, config.grad_norm_window);
        }
    }

    /// The median gradient norm of the steps before, once there are enough.
    pub(super) fn median_grad_norm(&self, window: usize) -> Option<f64> {
        let mut norms: Vec<f64> = self.grad_norms.iter().copied().collect();
        norms.sort_by(f64::total_cmp);
        let middle = norms.len() / 2;
        match norms.len() {
            0 => None,
            n if n < window => None,
            n if n % 2 == 1 => Some(norms[middle]),
            _ => Some(f64::midpoint(norms[middle - 1], norms[middle])),
        }
    }
}

fn push_latest<T>(latest: &mut VecDeque<T>, value: T, n: usize) {
    latest.push_back(value);
    while latest.len() > n {
        latest.pop_front();
    }
}
