//! Which requests the policy is trained on.

use rand::RngExt;
use rand::distr::{Distribution, weighted::WeightedIndex};
use rand::seq::index;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{ObjectiveSchema, Request};

/// How far the shares may be from a sum of 1.
const SUM_TOLERANCE: f64 = 1e-9;

/// The shares of training prompts by how many objectives they ask for; they sum to 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestMix {
    /// Nothing is asked for, so that plain use stays intact.
    pub free: f64,
    /// One objective.
    pub one: f64,
    /// A uniformly drawn number of objectives from 2 to all but one; must be 0 with fewer than 3 objectives.
    pub some: f64,
    /// Every objective.
    pub all: f64,
}

/// Draws requests: how many objectives by a [`RequestMix`], then which ones and their levels, both uniformly.
///
/// The paper's own distribution of requests is not known; this one is ours.
///
/// ```
/// use moslim_data::{Objective, ObjectiveSchema, PreferenceSampler, RequestMix};
/// use rand::{SeedableRng, rngs::ChaCha8Rng};
///
/// let schema = ObjectiveSchema::new(vec![Objective::with_scale("helpfulness", 1, 5)]).unwrap();
/// let mix = RequestMix { free: 0.0, one: 1.0, some: 0.0, all: 0.0 };
/// let request = PreferenceSampler::new(mix, &schema).unwrap().sample(&mut ChaCha8Rng::seed_from_u64(7));
/// assert_eq!(request.n_asked(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct PreferenceSampler {
    n_levels: Vec<usize>,
    kind: WeightedIndex<f64>,
}

impl PreferenceSampler {
    /// Checks the mix.
    ///
    /// # Errors
    /// A share that is negative or no number, shares that do not sum to 1 (within 10⁻⁹), or `some` with fewer than 3 objectives.
    pub fn new(mix: RequestMix, schema: &ObjectiveSchema) -> Result<Self, SamplerError> {
        let shares = [("free", mix.free), ("one", mix.one), ("some", mix.some), ("all", mix.all)];
        for (name, found) in shares {
            if !(found >= 0.0 && found.is_finite()) {
                return Err(SamplerError::Share { name, found });
            }
        }
        if mix.some > 0.0 && schema.len() < 3 {
            return Err(SamplerError::TooFewForSome { found: mix.some, n_objectives: schema.len() });
        }
        let shares = shares.map(|(_, share)| share);
        let sum: f64 = shares.iter().sum();
        match WeightedIndex::new(shares) {
            Ok(kind) if (sum - 1.0).abs() <= SUM_TOLERANCE => Ok(Self { n_levels: schema.n_levels(), kind }),
            _ => Err(SamplerError::Sum { found: sum }),
        }
    }

    /// Draws one request.
    pub fn sample(&self, rng: &mut impl rand::Rng) -> Request {
        let n_objectives = self.n_levels.len();
        let n_asked = match self.kind.sample(rng) {
            0 => 0,
            1 => 1,
            2 => rng.random_range(2..n_objectives),
            _ => n_objectives,
        };
        let mut levels = vec![None; n_objectives];
        for objective in index::sample(rng, n_objectives, n_asked) {
            levels[objective] = Some(rng.random_range(0..self.n_levels[objective]) as f64);
        }
        Request { levels }
    }
}

/// Why a mix cannot be sampled from.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SamplerError {
    /// A share is negative or no number.
    #[error("request mix: {name}: {found}, expected a share from 0 to 1")]
    Share {
        /// The share's key.
        name: &'static str,
        /// Its value.
        found: f64,
    },
    /// The shares do not sum to 1.
    #[error("request mix: shares sum to {found}, expected 1")]
    Sum {
        /// The sum.
        found: f64,
    },
    /// `some` means 2 to all but one, which needs 3 objectives.
    #[error("request mix: some: {found} with {n_objectives} objective(s), expected 0 with fewer than 3")]
    TooFewForSome {
        /// The share.
        found: f64,
        /// The number of objectives.
        n_objectives: usize,
    },
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::ChaCha8Rng};

    use super::*;
    use crate::Objective;

    fn schema(n_objectives: usize) -> ObjectiveSchema {
        let objectives = (0..n_objectives).map(|i| Objective::with_scale(format!("o{i}"), 0, i as i64 + 1));
        ObjectiveSchema::new(objectives.collect()).unwrap()
    }

    fn mix(free: f64, one: f64, some: f64, all: f64) -> RequestMix {
        RequestMix { free, one, some, all }
    }

    #[test]
    fn the_shares_come_out() {
        const N: usize = 20_000;
        let sampler = PreferenceSampler::new(mix(0.1, 0.2, 0.4, 0.3), &schema(4)).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut by_n_asked = [0.0; 5];
        let mut first_objective_levels = [0.0; 2];
        for _ in 0..N {
            let request = sampler.sample(&mut rng);
            by_n_asked[request.n_asked()] += 1.0 / N as f64;
            if let Some(level) = request.levels[0] {
                first_objective_levels[level as usize] += 1.0 / N as f64;
            }
        }
        // `some` is shared equally by 2 and 3 of 4. The tolerance is over 4 standard deviations.
        for (found, expected) in by_n_asked.into_iter().zip([0.1, 0.2, 0.2, 0.2, 0.3]) {
            assert!((found - expected).abs() < 0.015, "{by_n_asked:?}");
        }
        // P(asked) = (0.2·1 + 0.2·2 + 0.2·3)/4 + 0.3 = 0.6, halved by two levels.
        for found in first_objective_levels {
            assert!((found - 0.3).abs() < 0.015, "{first_objective_levels:?}");
        }
    }

    #[test]
    fn every_level_is_drawn() {
        let sampler = PreferenceSampler::new(mix(0.0, 0.0, 0.0, 1.0), &schema(3)).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..500 {
            let levels = sampler.sample(&mut rng).levels;
            seen.insert(levels.into_iter().map(|level| level.unwrap() as usize).collect::<Vec<_>>());
        }
        assert_eq!(seen.len(), 2 * 3 * 4);
    }

    #[test]
    fn a_bad_mix_is_refused() {
        for (mix, n_objectives, message) in [
            (mix(-0.5, 0.5, 0.5, 0.5), 3, "request mix: free: -0.5, expected a share from 0 to 1"),
            (mix(0.0, f64::NAN, 0.5, 0.5), 3, "request mix: one: NaN, expected a share from 0 to 1"),
            (mix(0.5, 0.0, 0.0, 0.75), 3, "request mix: shares sum to 1.25, expected 1"),
            (mix(0.0, 0.0, 0.0, 0.0), 3, "request mix: shares sum to 0, expected 1"),
            (
                mix(0.5, 0.0, 0.5, 0.0),
                2,
                "request mix: some: 0.5 with 2 objective(s), expected 0 with fewer than 3",
            ),
        ] {
            assert_eq!(PreferenceSampler::new(mix, &schema(n_objectives)).unwrap_err().to_string(), message);
        }
    }
}
