//! When a number is a sign of trouble.

use serde::{Deserialize, Serialize};

/// The thresholds of a [`Monitor`](super::Monitor); what a table leaves out is as in [`MonitorConfig::default`].
///
/// The defaults are meant to keep quiet in a healthy run: they tell of what is broken, not of what could be better.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MonitorConfig {
    /// The start that later steps are compared with is the mean of this many first steps; 5 by default.
    pub start_steps: usize,
    /// A sign begins when its condition held for this many steps in a row; 3 by default.
    ///
    /// Gradient spikes, reward hacking, and numbers that are not finite are told of at once.
    pub begin_after: usize,
    /// A sign ends, and may be told of again, when its condition did not hold for this many steps in a row; 20 by default.
    pub end_after: usize,
    /// Entropy collapse: the mean entropy per token is below this share of the start; 0.1 by default.
    pub entropy_below: f64,
    /// Length collapse: the mean length is below this share of the start; 0.33 by default.
    pub length_below: f64,
    /// Length explosion: the mean length is above this many times the start; 3 by default.
    pub length_above: f64,
    /// Length explosion, too: the share of answers without an end token is above this, and grew by `growth`; 0.9 by default.
    ///
    /// Where answers may not be much longer than they are, their mean length cannot show it.
    pub clipped_above: f64,
    /// Repeated text: the share of repeated 4-grams is above this, and grew by `growth`; 0.5 by default.
    pub repeated_above: f64,
    /// A share of answers or of text must also be this many times the start, as some tasks have a high one; 2 by default.
    pub growth: f64,
    /// Divergence: the KL per answer is farther from zero than this, in nats; 50 by default.
    pub kl_above: f64,
    /// Divergence of the ratio: |ρ − 1| of some token is above this before the first update; 1 by default.
    ///
    /// In 32 bits it is about 1e-6; in 16 bits some rare token of a large batch may well be off by a few tenths.
    pub ratio_error_above: f64,
    /// Gradient spike: the norm is above this many times the median of the steps before; 10 by default.
    pub grad_norm_above: f64,
    /// The median is over this many steps, and nothing is a spike before there are so many; 20 by default.
    pub grad_norm_window: usize,
    /// Reward hacking: at each of this many held-out looks the proxy was higher and gold lower than before; 4 by default.
    pub held_out_looks: usize,
    /// By how much the proxy must have risen over these looks, in its own unit; 0.01 by default, as a proxy that is gamed rises slowly.
    ///
    /// Three standard errors of the mean of a look are a good choice, here and for gold.
    pub proxy_rise: f64,
    /// By how much gold must have fallen over these looks, in its own unit; 0.05 by default.
    pub gold_fall: f64,
}

impl Default for MonitorConfig {
    fn default() -> Self {
        Self {
            start_steps: 5,
            begin_after: 3,
            end_after: 20,
            entropy_below: 0.1,
            length_below: 0.33,
            length_above: 3.0,
            clipped_above: 0.9,
            repeated_above: 0.5,
            growth: 2.0,
            kl_above: 50.0,
            ratio_error_above: 1.0,
            grad_norm_above: 10.0,
            grad_norm_window: 20,
            held_out_looks: 4,
            proxy_rise: 0.01,
            gold_fall: 0.05,
        }
    }
}

/// A threshold that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {found}, expected {expected}")]
pub struct MonitorConfigError {
    /// Which one.
    pub key: &'static str,
    /// What it is.
    pub found: String,
    /// What it should be.
    pub expected: &'static str,
}

impl MonitorConfig {
    /// Refuses thresholds that make no sense.
    ///
    /// # Errors
    /// The first of them.
    pub fn check(&self) -> Result<(), MonitorConfigError> {
        for (key, found, least) in [
            ("start_steps", self.start_steps, 1),
            ("begin_after", self.begin_after, 1),
            ("end_after", self.end_after, 1),
            ("grad_norm_window", self.grad_norm_window, 1),
            ("held_out_looks", self.held_out_looks, 2),
        ] {
            let expected = if least == 1 { "at least 1" } else { "at least 2" };
            require(found >= least, key, found, expected)?;
        }
        for (key, found) in [
            ("entropy_below", self.entropy_below),
            ("length_below", self.length_below),
            ("clipped_above", self.clipped_above),
            ("repeated_above", self.repeated_above),
        ] {
            require(found > 0.0 && found < 1.0, key, found, "a share between 0 and 1")?;
        }
        for (key, found) in [
            ("length_above", self.length_above),
            ("growth", self.growth),
            ("grad_norm_above", self.grad_norm_above),
        ] {
            require(found >= 1.0, key, found, "at least 1")?;
        }
        for (key, found) in [("kl_above", self.kl_above), ("ratio_error_above", self.ratio_error_above)] {
            require(found > 0.0, key, found, "more than 0")?;
        }
        for (key, found) in [("proxy_rise", self.proxy_rise), ("gold_fall", self.gold_fall)] {
            require(found >= 0.0, key, found, "at least 0")?;
        }
        Ok(())
    }
}

fn require(
    ok: bool,
    key: &'static str,
    found: impl ToString,
    expected: &'static str,
) -> Result<(), MonitorConfigError> {
    match ok {
        true => Ok(()),
        false => Err(MonitorConfigError { key, found: found.to_string(), expected }),
    }
}
