//! How a score grows and falls with the distance from the start policy.

use serde::{Deserialize, Serialize};

use super::Point;

/// The form of a score over the distance d, counted from the score of the start policy
/// ([Gao et al. 2023](https://arxiv.org/abs/2210.10760), section 3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Law {
    /// `R(d) = d (α − β d)`, for the best of n answers.
    BestOfN,
    /// `R(d) = d (α − β ln d)`, for reinforcement learning.
    Rl,
}

/// A law with its coefficients.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct FittedLaw {
    /// Which one.
    pub law: Law,
    /// α, the gain at first.
    pub alpha: f64,
    /// β, what takes it back.
    pub beta: f64,
}

impl Law {
    /// The coefficients with the least squared error, for the scores of points; the first point is the start policy.
    ///
    /// `None` without three further points at different distances.
    pub fn fit(self, points: &[Point], score: impl Fn(&Point) -> f64) -> Option<FittedLaw> {
        let (first, rest) = points.split_first()?;
        let start = score(first);
        let mut distances: Vec<f64> = rest.iter().map(Point::distance).filter(|d| *d > 0.0).collect();
        distances.sort_by(f64::total_cmp);
        distances.dedup();
        if distances.len() < 3 {
            return None;
        }
        // R = α x + β y with x = d and y = −d · (d or ln d): two normal equations.
        let [mut xx, mut xy, mut yy, mut xr, mut yr] = [0.0; 5];
        for point in rest.iter().filter(|point| point.distance() > 0.0) {
            let (x, gain) = (point.distance(), score(point) - start);
            let y = -x * self.bend(x);
            (xx, xy, yy) = (xx + x * x, xy + x * y, yy + y * y);
            (xr, yr) = (xr + x * gain, yr + y * gain);
        }
        let determinant = xx * yy - xy * xy;
        let fitted = FittedLaw {
            law: self,
            alpha: (xr * yy - yr * xy) / determinant,
            beta: (yr * xx - xr * xy) / determinant,
        };
        (fitted.alpha.is_finite() && fitted.beta.is_finite()).then_some(fitted)
    }

    fn bend(self, distance: f64) -> f64 {
        match self {
            Self::BestOfN => distance,
            Self::Rl => distance.ln(),
        }
    }
}

impl FittedLaw {
    /// R at a distance above 0.
    pub fn at(&self, distance: f64) -> f64 {
        distance * (self.alpha - self.beta * self.law.bend(distance))
    }

    /// The distance of the highest score, and that score; `None` if it rises for ever or never.
    ///
    /// ```
    /// use moslim_eval::overoptimization::{FittedLaw, Law};
    ///
    /// let law = FittedLaw { law: Law::BestOfN, alpha: 1.0, beta: 0.2 };
    /// let (distance, score) = law.peak().unwrap();
    /// assert!((distance - 2.5).abs() < 1e-9 && (score - 1.25).abs() < 1e-9);
    /// ```
    pub fn peak(&self) -> Option<(f64, f64)> {
        let &Self { law, alpha, beta } = self;
        let distance = match law {
            Law::BestOfN => alpha / (2.0 * beta),
            Law::Rl => (alpha / beta - 1.0).exp(),
        };
        let is_peak = beta > 0.0 && distance > 0.0 && distance.is_finite();
        is_peak.then(|| (distance, self.at(distance)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_where_calculus_has_them() {
        let (distance, score) = FittedLaw { law: Law::Rl, alpha: 1.0, beta: 0.2 }.peak().unwrap();
        assert!(
            (distance - 54.598_150).abs() < 1e-6 && (score - 10.919_630).abs() < 1e-6,
            "{distance} {score}"
        );
        assert_eq!(FittedLaw { law: Law::Rl, alpha: 1.0, beta: -0.2 }.peak(), None);
        assert_eq!(FittedLaw { law: Law::BestOfN, alpha: -1.0, beta: 0.2 }.peak(), None);
    }

    #[test]
    fn coefficients_come_back_from_exact_points() {
        for law in [Law::BestOfN, Law::Rl] {
            let truth = FittedLaw { law, alpha: 0.7, beta: 0.3 };
            let point = |kl: f64| {
                let gain = if kl > 0.0 { truth.at(kl.sqrt()) } else { 0.0 };
                Point { kl, gold: -0.5 + gain, proxy: 0.0 }
            };
            let points: Vec<Point> = [0.0, 0.3, 1.0, 2.5, 6.0].map(point).to_vec();
            let found = law.fit(&points, |point| point.gold).unwrap();
            assert!((found.alpha - 0.7).abs() < 1e-9 && (found.beta - 0.3).abs() < 1e-9, "{found:?}");
            assert_eq!(law.fit(&points[..3], |point| point.gold), None);
            assert_eq!(law.fit(&[], |point| point.gold), None);
        }
    }
}
