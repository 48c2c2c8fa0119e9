//! DPA, directional preference alignment ([Wang et al. 2024](https://arxiv.org/abs/2402.18571)): a preference is a direction in the
//! space of rewards, written into the prompt; rejection sampling for the rewards along it, round by round.
//!
//! 1. A direction is drawn for every prompt ([`Direction::draw`]) and written before it ([`Direction::instruction`]).
//! 2. Of the answers the one with the largest `v·r` is kept ([`Direction::score`], [`select_best`](crate::select_best)) and fine-tuned on.

use std::f64::consts::FRAC_PI_2;

use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use crate::BaselineError;
use crate::error::{check_finite, check_length};

/// How far the squares may be from a sum of 1.
const NORM_TOLERANCE: f64 = 1e-6;

/// A preference: a vector of length 1 without negative parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Direction(Vec<f64>);

impl Direction {
    /// Checks a direction. `[n_objectives]`
    ///
    /// # Errors
    /// If there is no objective, a part is negative or no number, or the squares do not sum to 1 within 10⁻⁶.
    pub fn new(direction: Vec<f64>) -> Result<Self, BaselineError> {
        let squares: f64 = direction.iter().map(|part| part.powi(2)).sum();
        let is_unit = direction.iter().all(|&part| part >= 0.0) && (squares - 1.0).abs() <= NORM_TOLERANCE;
        if is_unit { Ok(Self(direction)) } else { Err(BaselineError::Direction(direction)) }
    }

    /// The direction at angles from 0 to π/2, one fewer than objectives:
    /// `v_1 = cos θ_1`, `v_2 = sin θ_1 cos θ_2`, …, `v_n = sin θ_1 ⋯ sin θ_{n−1}`; for two objectives `(cos θ, sin θ)`.
    ///
    /// # Errors
    /// If an angle is out of its range.
    ///
    /// ```
    /// use moslim_baselines::Direction;
    /// let direction = Direction::from_angles(&[30f64.to_radians()])?;
    /// assert_eq!(direction.integer_weights(), [87, 50]);
    /// # Ok::<(), moslim_baselines::BaselineError>(())
    /// ```
    pub fn from_angles(angles: &[f64]) -> Result<Self, BaselineError> {
        if let Some(&found) = angles.iter().find(|angle| !(0.0..=FRAC_PI_2).contains(*angle)) {
            return Err(BaselineError::Number { what: "angle", found, expected: "0 to π/2" });
        }
        let (mut direction, mut rest) = (Vec::with_capacity(angles.len() + 1), 1.0);
        for angle in angles {
            // The cosine of π/2 is a little off 0, to whichever side.
            direction.push(rest * angle.cos().max(0.0));
            rest *= angle.sin();
        }
        direction.push(rest);
        Ok(Self(direction))
    }

    /// A direction with every part of the positive orthant equally likely: for two objectives θ is uniform,
    /// for more `|N(0, 1)|` in every part, divided by the length.
    ///
    /// # Errors
    /// If there is no objective.
    pub fn draw(n_objectives: usize, rng: &mut impl Rng) -> Result<Self, BaselineError> {
        match n_objectives {
            0 => return Err(BaselineError::Empty { what: "objectives" }),
            2 => return Self::from_angles(&[rng.random_range(0.0..=FRAC_PI_2)]),
            _ => {}
        }
        let mut normal = || {
            let part: f64 = StandardNormal.sample(rng);
            part.abs().max(f64::MIN_POSITIVE)
        };
        let parts: Vec<f64> = (0..n_objectives).map(|_| normal()).collect();
        // By the largest first: squares of tiny parts would be 0.
        let largest = parts.iter().copied().fold(0.0, f64::max);
        let length = parts.iter().map(|part| (part / largest).powi(2)).sum::<f64>().sqrt() * largest;
        Ok(Self(parts.into_iter().map(|part| part / length).collect()))
    }

    /// v. `[n_objectives]`
    pub fn as_slice(&self) -> &[f64] {
        &self.0
    }

    /// `round(100 v_i)`, as prompts write a direction. `[n_objectives]`
    pub fn integer_weights(&self) -> Vec<u32> {
        self.0.iter().map(|part| (100.0 * part).round() as u32).collect()
    }

    /// A sentence for the system prompt that asks for the largest rating weighted so; the wording is ours.
    ///
    /// # Errors
    /// If there is not one name per objective.
    ///
    /// ```
    /// use moslim_baselines::Direction;
    /// let direction = Direction::new(vec![0.8, 0.6])?;
    /// assert_eq!(
    ///     direction.instruction(&["helpfulness", "verbosity"])?,
    ///     "Answer so that the weighted rating 80 * helpfulness + 60 * verbosity is as large as possible.",
    /// );
    /// # Ok::<(), moslim_baselines::BaselineError>(())
    /// ```
    pub fn instruction(&self, objectives: &[&str]) -> Result<String, BaselineError> {
        check_length("names of objectives", objectives.len(), self.0.len())?;
        let weights = self.integer_weights().into_iter().zip(objectives);
        let terms: Vec<String> = weights.map(|(weight, name)| format!("{weight} * {name}")).collect();
        Ok(format!("Answer so that the weighted rating {} is as large as possible.", terms.join(" + ")))
    }

    /// `v·r`: the rewards along the direction.
    ///
    /// # Shapes
    /// - `rewards`: `[n_objectives]`
    ///
    /// # Errors
    /// If there is not one finite reward per objective.
    pub fn score(&self, rewards: &[f64]) -> Result<f64, BaselineError> {
        check_length("rewards", rewards.len(), self.0.len())?;
        check_finite("reward", rewards)?;
        Ok(self.0.iter().zip(rewards).map(|(part, reward)| part * reward).sum())
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;

    #[test]
    fn angles_become_integer_weights() {
        let weights = |degrees: &[f64]| {
            let angles: Vec<f64> = degrees.iter().map(|degree| degree.to_radians()).collect();
            Direction::from_angles(&angles).unwrap().integer_weights()
        };
        assert_eq!(weights(&[30.0]), [87, 50]);
        assert_eq!([weights(&[0.0]), weights(&[45.0]), weights(&[90.0])], [[100, 0], [71, 71], [0, 100]]);
        assert_eq!(weights(&[]), [100]);
        // cos 60°, sin 60° cos 30°, sin 60° sin 30°.
        assert_eq!(weights(&[60.0, 30.0]), [50, 75, 43]);
        for wrong in [-0.1, 1.6, f64::NAN] {
            assert!(Direction::from_angles(&[0.5, wrong]).is_err());
        }
    }

    #[test]
    fn the_score_is_what_lies_along_the_direction() {
        let direction = Direction::from_angles(&[60f64.to_radians()]).unwrap();
        assert!((direction.score(&[10.0, -2.0]).unwrap() - (5.0 - 3f64.sqrt())).abs() < 1e-12);
        assert!(direction.score(&[1.0]).is_err() && direction.score(&[1.0, f64::NAN]).is_err());
        assert!(direction.instruction(&["helpfulness"]).is_err());
        assert!(Direction::new(vec![0.6, 0.8]).is_ok());
        for wrong in [vec![], vec![0.5, 0.5], vec![-0.6, 0.8], vec![f64::NAN, 1.0]] {
            let message = Direction::new(wrong).unwrap_err().to_string();
            assert!(message.ends_with("expected non-negative numbers whose squares sum to 1"), "{message}");
        }
    }

    #[test]
    fn drawn_directions_cover_the_positive_orthant_evenly() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for n_objectives in 1..=5 {
            let drawn: Vec<Direction> =
                (0..2000).map(|_| Direction::draw(n_objectives, &mut rng).unwrap()).collect();
            assert!(drawn.iter().all(|direction| Direction::new(direction.0.clone()).is_ok()));
            for objective in 0..n_objectives {
                // Σ v² = 1, and no objective is preferred: 1/n each. A deviation of v² is at most 0.36, of its mean 0.008.
                let mean = drawn.iter().map(|v| v.as_slice()[objective].powi(2)).sum::<f64>() / 2000.0;
                assert!((mean - 1.0 / n_objectives as f64).abs() < 0.03, "{n_objectives}: {mean}");
                // On a sphere the mean of v⁴ is 3/(n(n + 2)).
                let fourth = drawn.iter().map(|v| v.as_slice()[objective].powi(4)).sum::<f64>() / 2000.0;
                let expected = 3.0 / (n_objectives * (n_objectives + 2)) as f64;
                assert!((fourth - expected).abs() < 0.03, "{n_objectives}: {fourth}");
            }
        }
        // Two objectives: the angle is uniform, so a third of them lies below 30°.
        let below = |v: &Direction| v.as_slice()[0] > 30f64.to_radians().cos();
        let share = (0..3000).filter(|_| below(&Direction::draw(2, &mut rng).unwrap())).count();
        assert!((900..1100).contains(&share), "{share}");
        assert!(Direction::draw(0, &mut rng).is_err());
    }
}
