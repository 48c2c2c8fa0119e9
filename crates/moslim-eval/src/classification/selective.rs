//! Whether a head errs less where it says it is sure.

use serde::Serialize;

/// Errors among the answers on which a head is surest, for every share of the answers
/// ([El-Yaniv and Wiener 2010](https://www.jmlr.org/papers/v11/el-yaniv10a.html), the risk–coverage curve).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SelectiveRisk {
    /// `(coverage, risk)`: the share of answers kept, the surest first, and the share of them with the wrong level.
    pub points: Vec<(f64, f64)>,
    /// The mean risk over all coverages 1/n, 2/n, …, 1 (AURC); NaN without answers.
    pub mean_risk: f64,
    /// The mean risk of one who is sure of everything alike: the share of wrong answers.
    pub risk: f64,
    /// The mean risk of one who knows which answers are wrong, the least possible.
    pub least_mean_risk: f64,
}

/// Points of the curve.
const POINTS: usize = 20;

impl SelectiveRisk {
    /// Measures whether an uncertainty tells wrong answers from right ones.
    ///
    /// Answers of the same uncertainty are kept together: their risk is spread evenly among them.
    ///
    /// ```
    /// use moslim_eval::classification::SelectiveRisk;
    ///
    /// // Surest is right, then one wrong, then one right: risks 0/1, 1/2, 1/3.
    /// let curve = SelectiveRisk::new(&[0.1, 0.9, 0.5], &[false, false, true]);
    /// assert!((curve.mean_risk - (0.0 + 0.5 + 1.0 / 3.0) / 3.0).abs() < 1e-12);
    /// assert!((curve.least_mean_risk - (0.0 + 0.0 + 1.0 / 3.0) / 3.0).abs() < 1e-12);
    /// ```
    ///
    /// # Panics
    /// If there are not as many uncertainties as answers.
    pub fn new(uncertainties: &[f64], is_wrong: &[bool]) -> Self {
        assert_eq!(uncertainties.len(), is_wrong.len(), "one uncertainty per answer");
        let n = is_wrong.len();
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|&a, &b| uncertainties[a].total_cmp(&uncertainties[b]));
        let ordered: Vec<(f64, f64)> =
            order.iter().map(|&i| (uncertainties[i], f64::from(u8::from(is_wrong[i])))).collect();
        let mut errors = Vec::with_capacity(n);
        for alike in ordered.chunk_by(|a, b| a.0 == b.0) {
            let share = alike.iter().map(|(_, error)| error).sum::<f64>() / alike.len() as f64;
            errors.extend(std::iter::repeat_n(share, alike.len()));
        }
        let risks = risks(&errors);
        let mut at_last: Vec<f64> = ordered.iter().map(|(_, error)| *error).collect();
        at_last.sort_by(f64::total_cmp);
        let mean = |values: &[f64]| values.iter().sum::<f64>() / n as f64;
        let point = |part: usize| {
            let kept = (part * n).div_ceil(POINTS);
            (kept as f64 / n as f64, risks[kept - 1])
        };
        let mut points: Vec<(f64, f64)> = if n == 0 { vec![] } else { (1..=POINTS).map(point).collect() };
        points.dedup();
        Self {
            points,
            mean_risk: mean(&risks),
            risk: mean(&errors),
            least_mean_risk: mean(&self::risks(&at_last)),
        }
    }
}

/// The share of errors among the first one, two, … answers.
fn risks(errors: &[f64]) -> Vec<f64> {
    let mut sum = 0.0;
    let risk = |(index, error): (usize, &f64)| {
        sum += error;
        sum / (index + 1) as f64
    };
    errors.iter().enumerate().map(risk).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_the_same_uncertainty_are_kept_together() {
        let even = SelectiveRisk::new(&[0.5; 4], &[true, false, false, false]);
        assert_eq!((even.mean_risk, even.risk), (0.25, 0.25));
        // Errors 0, 0, 0, 1 by one who knows: risks 0, 0, 0, 1/4.
        assert_eq!(even.least_mean_risk, 0.0625);
        assert_eq!(even.points, [(0.25, 0.25), (0.5, 0.25), (0.75, 0.25), (1.0, 0.25)]);
    }

    #[test]
    fn no_answers_have_no_curve() {
        let none = SelectiveRisk::new(&[], &[]);
        assert!(none.points.is_empty() && none.mean_risk.is_nan());
    }
}
