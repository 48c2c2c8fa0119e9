//! What a head of classes is to say for a label: a distribution over its levels.

use moslim_data::Level;

use crate::HeadKind;
use crate::calibration::ln_interval;

/// What one head is told about one answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// A level, counted from 0, or a position between two.
    Level(f64),
    /// What another head of the same kind and number of levels puts out, such as this one before it learned something new.
    Outputs(Vec<f64>),
}

impl Target {
    /// The nearest level; `None` if it names none.
    pub fn nearest_level(&self) -> Option<Level> {
        match self {
            Self::Level(position) => Some(position.round() as Level),
            Self::Outputs(_) => None,
        }
    }
}

/// The distribution that a head of classes learns for a label; sums to 1.
///
/// ```
/// use moslim_reward_model::{HeadKind, class_target};
///
/// assert_eq!(class_target(&HeadKind::Softmax, 1.25, 3), [0.0, 0.75, 0.25]);
/// let smoothed = HeadKind::SmoothedSoftmax { smoothing: 0.5 };
/// assert_eq!(class_target(&smoothed, 1.0, 3), [0.25, 0.5, 0.25]);
/// assert_eq!(class_target(&smoothed, 2.0, 3), [0.0, 0.5, 0.5]);
/// ```
pub fn class_target(kind: &HeadKind, label: f64, n_levels: usize) -> Vec<f64> {
    match *kind {
        HeadKind::SmoothedSoftmax { smoothing } => smoothed(two_hot(label, n_levels), smoothing),
        HeadKind::HlGauss { sigma } => hl_gauss(label, sigma, n_levels),
        _ => two_hot(label, n_levels),
    }
}

/// The label shared by the two levels that it lies between.
fn two_hot(label: f64, n_levels: usize) -> Vec<f64> {
    let label = label.clamp(0.0, (n_levels - 1) as f64);
    let (lower, fraction) = (label.floor() as usize, label.fract());
    let mut target = vec![0.0; n_levels];
    target[lower] = 1.0 - fraction;
    if fraction > 0.0 {
        target[lower + 1] = fraction;
    }
    target
}

/// A share of every level's part goes to its neighbours.
fn smoothed(target: Vec<f64>, smoothing: f64) -> Vec<f64> {
    let highest = target.len() - 1;
    let mut shared: Vec<f64> = target.iter().map(|part| part * (1.0 - smoothing)).collect();
    for (level, part) in target.into_iter().enumerate() {
        let neighbours: Vec<usize> = match level {
            0 => vec![1],
            _ if level == highest => vec![level - 1],
            _ => vec![level - 1, level + 1],
        };
        let each = part * smoothing / neighbours.len() as f64;
        neighbours.into_iter().for_each(|neighbour| shared[neighbour] += each);
    }
    shared
}

/// The share of a normal distribution around the label in every level's interval of width 1, of what lies in any.
fn hl_gauss(label: f64, sigma: f64, n_levels: usize) -> Vec<f64> {
    let edge = |level: usize| (level as f64 - 0.5 - label) / sigma;
    let shares: Vec<f64> = (0..n_levels).map(|c| ln_interval(edge(c), edge(c + 1)).exp()).collect();
    let total: f64 = shares.iter().sum();
    shares.into_iter().map(|share| share / total).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(found: &[f64], expected: &[f64]) {
        let close = found.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 2e-6);
        assert!(close && found.len() == expected.len(), "{found:?} {expected:?}");
    }

    /// Edges .5, 1.5, …, 5.5 and σ = .75, computed elsewhere in double precision.
    #[test]
    fn hl_gauss_spreads_a_label_over_the_levels_around_it() {
        let target = |label| class_target(&HeadKind::HlGauss { sigma: 0.75 }, label, 5);
        assert_close(&target(2.0), &[0.022340, 0.229940, 0.495440, 0.229940, 0.022340]);
        assert_close(&target(3.3), &[0.000100, 0.008573, 0.142683, 0.488865, 0.359779]);
        assert_close(&target(4.0), &[0.000002, 0.000572, 0.029861, 0.307345, 0.662221]);
        let level = |target: Vec<f64>| -> f64 { target.iter().zip(1..).map(|(p, c)| p * f64::from(c)).sum() };
        assert_close(&[level(target(3.3)), level(target(4.0))], &[4.199652, 4.631210]);
    }

    #[test]
    fn a_fractional_label_is_shared() {
        assert_close(&class_target(&HeadKind::Softmax, 3.3, 5), &[0.0, 0.0, 0.0, 0.7, 0.3]);
        assert_close(&class_target(&HeadKind::Softmax, 4.0, 5), &[0.0, 0.0, 0.0, 0.0, 1.0]);
        // By hand: 0.7·0.8 and 0.3·0.8 stay, 0.07 goes left and right of level 3, 0.06 left of level 4.
        let smoothed = class_target(&HeadKind::SmoothedSoftmax { smoothing: 0.2 }, 3.3, 5);
        assert_close(&smoothed, &[0.0, 0.0, 0.07, 0.56 + 0.06, 0.24 + 0.07]);
    }
}
