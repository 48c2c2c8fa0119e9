//! How long texts are.

use std::collections::BTreeMap;

use serde::Serialize;

/// Percentiles of lengths: the smallest length that so many per cent of the texts do not exceed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LengthPercentiles {
    /// Texts.
    pub n: usize,
    /// Half of them are not longer.
    pub p50: usize,
    /// 90 %.
    pub p90: usize,
    /// 99 %.
    pub p99: usize,
    /// The longest.
    pub max: usize,
}

/// Lengths that were counted; there are far fewer different ones than texts.
#[derive(Default)]
pub(super) struct Lengths(BTreeMap<usize, usize>);

impl Lengths {
    pub fn add(&mut self, length: usize) {
        *self.0.entry(length).or_default() += 1;
    }

    pub fn percentiles(&self) -> LengthPercentiles {
        let n = self.0.values().sum();
        let at = |share: f64| {
            let wanted = (share * n as f64).ceil() as usize;
            let mut so_far = 0;
            let mut lengths = self.0.iter();
            lengths.find(|(_, count)| {
                so_far += **count;
                so_far >= wanted
            })
        };
        let length = |share| at(share).map_or(0, |(length, _)| *length);
        LengthPercentiles { n, p50: length(0.5), p90: length(0.9), p99: length(0.99), max: length(1.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_ranks() {
        let mut lengths = Lengths::default();
        assert_eq!(lengths.percentiles(), LengthPercentiles::default());
        (1..=10).rev().for_each(|length| lengths.add(10 * length));
        let expected = LengthPercentiles { n: 10, p50: 50, p90: 90, p99: 100, max: 100 };
        assert_eq!(lengths.percentiles(), expected);
        lengths.add(7);
        // The sixth of eleven.
        assert_eq!(lengths.percentiles().p50, 50);
    }
}
