//! Weights of objectives: points of the simplex.

use serde::{Deserialize, Serialize};

use crate::BaselineError;

/// How far weights may be from a sum of 1.
const SUM_TOLERANCE: f64 = 1e-6;

/// The most numbers of a grid: its points times its objectives.
const MAX_GRID: usize = 100_000;

/// How much every objective counts: `w_i ≥ 0` and `Σ_i w_i = 1`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vec<f64>", into = "Vec<f64>")]
pub struct Weights(Vec<f64>);

impl Weights {
    /// Checks the weights. `[n_objectives]`
    ///
    /// # Errors
    /// If there are none, one is negative or no number, or they do not sum to 1 within 10⁻⁶.
    ///
    /// ```
    /// use moslim_baselines::Weights;
    /// assert!(Weights::new(vec![0.3, 0.7]).is_ok());
    /// let error = Weights::new(vec![0.5, 0.6]).unwrap_err();
    /// assert_eq!(error.to_string(), "weights [0.5, 0.6], expected non-negative numbers that sum to 1");
    /// ```
    pub fn new(weights: Vec<f64>) -> Result<Self, BaselineError> {
        match is_on_simplex(&weights) {
            true => Ok(Self(weights)),
            false => Err(BaselineError::Weights(weights)),
        }
    }

    /// Every objective counts the same: `1/N`.
    ///
    /// # Errors
    /// If there is no objective.
    pub fn uniform(n_objectives: usize) -> Result<Self, BaselineError> {
        Self::new(vec![1.0 / n_objectives as f64; n_objectives])
    }

    /// The simplex lattice ([Das & Dennis 1998](https://doi.org/10.1137/S1052623496307510)): all weights that are multiples of `1/n_steps`.
    ///
    /// Two objectives in 10 steps are the 11 equally spaced weights of the papers, from (0, 1) to (1, 0).
    /// They stand in ascending order of the first weight, then of the second, and so on.
    ///
    /// # Errors
    /// If there is no objective or no step, or the grid would have more than 100 000 numbers.
    ///
    /// ```
    /// use moslim_baselines::Weights;
    /// let grid = Weights::grid(2, 10)?;
    /// assert_eq!((grid.len(), grid[3].as_slice()), (11, &[0.3, 0.7][..]));
    /// assert_eq!(Weights::grid(3, 4)?.len(), 15);
    /// # Ok::<(), moslim_baselines::BaselineError>(())
    /// ```
    pub fn grid(n_objectives: usize, n_steps: usize) -> Result<Vec<Self>, BaselineError> {
        if n_objectives == 0 {
            return Err(BaselineError::Empty { what: "objectives" });
        }
        if n_steps == 0 {
            return Err(BaselineError::Empty { what: "steps" });
        }
        // Points of n objectives: C(n_steps + n − 1, n − 1).
        let mut n_points = 1u128;
        for objective in 1..n_objectives {
            n_points = n_points * (n_steps as u128 + objective as u128) / objective as u128;
            if n_points * (objective as u128 + 1) > MAX_GRID as u128 {
                return Err(BaselineError::Grid { n_objectives, n_steps, limit: MAX_GRID });
            }
        }
        let mut starts: Vec<(Vec<usize>, usize)> = vec![(vec![], n_steps)];
        for _ in 1..n_objectives {
            let longer = starts.into_iter().flat_map(|(start, left)| {
                (0..=left).map(move |steps| ([start.as_slice(), &[steps]].concat(), left - steps))
            });
            starts = longer.collect();
        }
        let weights = starts.into_iter().map(|(start, left)| {
            let steps = start.into_iter().chain([left]);
            Self(steps.map(|steps| steps as f64 / n_steps as f64).collect())
        });
        Ok(weights.collect())
    }

    /// The weights. `[n_objectives]`
    pub fn as_slice(&self) -> &[f64] {
        &self.0
    }
}

impl TryFrom<Vec<f64>> for Weights {
    type Error = BaselineError;

    fn try_from(weights: Vec<f64>) -> Result<Self, BaselineError> {
        Self::new(weights)
    }
}

impl From<Weights> for Vec<f64> {
    fn from(weights: Weights) -> Self {
        weights.0
    }
}

/// Whether numbers are non-negative and sum to 1.
pub(crate) fn is_on_simplex(weights: &[f64]) -> bool {
    weights.iter().all(|&weight| weight >= 0.0) && (weights.iter().sum::<f64>() - 1.0).abs() <= SUM_TOLERANCE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_simplex_has_weights() {
        for right in [vec![1.0], vec![0.0, 1.0], vec![0.2, 0.3, 0.5], vec![1.0 / 3.0; 3]] {
            assert_eq!(Weights::new(right.clone()).unwrap().as_slice(), right);
        }
        for wrong in
            [vec![], vec![0.5], vec![1.5, -0.5], vec![f64::NAN, 1.0], vec![f64::INFINITY], vec![0.5; 3]]
        {
            assert!(matches!(Weights::new(wrong.clone()), Err(BaselineError::Weights(_))), "{wrong:?}");
        }
        assert_eq!(Weights::uniform(4).unwrap().as_slice(), [0.25; 4]);
        assert!(Weights::uniform(0).is_err());
    }

    #[test]
    fn a_file_is_checked_too() {
        assert_eq!(serde_json::from_str::<Weights>("[0.5, 0.5]").unwrap(), Weights::uniform(2).unwrap());
        let message = serde_json::from_str::<Weights>("[0.5, 0.4]").unwrap_err().to_string();
        assert!(message.starts_with("weights [0.5, 0.4], expected"), "{message}");
    }

    #[test]
    fn a_grid_has_every_point_once() {
        let grid = Weights::grid(3, 2).unwrap();
        let points: Vec<&[f64]> = grid.iter().map(Weights::as_slice).collect();
        let expected = [
            [0.0, 0.0, 1.0],
            [0.0, 0.5, 0.5],
            [0.0, 1.0, 0.0],
            [0.5, 0.0, 0.5],
            [0.5, 0.5, 0.0],
            [1.0, 0.0, 0.0],
        ];
        assert_eq!(points, expected);
        assert_eq!(Weights::grid(1, 7).unwrap(), [Weights::new(vec![1.0]).unwrap()]);
        // C(10 + 3, 3) of four objectives.
        assert_eq!(Weights::grid(4, 10).unwrap().len(), 286);
        assert!(matches!(Weights::grid(30, 30), Err(BaselineError::Grid { limit: MAX_GRID, .. })));
        assert!(Weights::grid(2, 49_999).is_ok() && Weights::grid(2, 50_000).is_err());
        assert!(Weights::grid(2, usize::MAX).is_err() && Weights::grid(usize::MAX, 1).is_err());
        assert!(Weights::grid(0, 3).is_err() && Weights::grid(3, 0).is_err());
    }
}
