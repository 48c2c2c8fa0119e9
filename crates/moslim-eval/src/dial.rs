//! What a policy does at every position that can be asked for, also between levels and at levels that training left out.

use serde::Serialize;

/// The answers to prompts that ask for one position of an objective; positions and levels count from 0.
///
/// A number that is not defined without answers is NaN, `null` in JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DialPoint {
    /// What was asked for; 2.5 lies half-way between the third and the fourth level.
    pub position: f64,
    /// Whether training asked for it.
    pub trained: bool,
    /// The number of answers.
    pub n_answers: usize,
    /// The mean level of the answers.
    pub mean_level: f64,
    /// The share of answers at the level asked for, or at one of the two around the position.
    pub nearest: f64,
    /// The mean distance between level and position; between two levels it is at least that to the nearer one.
    pub mae: f64,
}

impl DialPoint {
    /// Measures the answers to one position, given as the number of answers at each level. `[n_levels]`
    ///
    /// ```
    /// use moslim_eval::dial::DialPoint;
    ///
    /// let point = DialPoint::new(1.5, false, &[0, 2, 1, 1]);
    /// assert_eq!((point.n_answers, point.mean_level), (4, 1.75)); // (2·1 + 1·2 + 1·3) / 4
    /// assert_eq!((point.nearest, point.mae), (0.75, 0.75)); // (2·0.5 + 0.5 + 1.5) / 4
    /// ```
    pub fn new(position: f64, trained: bool, counts: &[usize]) -> Self {
        let n_answers: usize = counts.iter().sum();
        let mean = |value: &dyn Fn(f64) -> f64| {
            let weighted = counts.iter().enumerate().map(|(level, &n)| n as f64 * value(level as f64));
            weighted.sum::<f64>() / n_answers as f64
        };
        Self {
            position,
            trained,
            n_answers,
            mean_level: mean(&|level| level),
            nearest: mean(&|level| f64::from(u8::from((level - position).abs() < 1.0))),
            mae: mean(&|level| (level - position).abs()),
        }
    }
}
