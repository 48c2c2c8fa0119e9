//! Which requests the policy is trained on.

mod mix;

use rand::RngExt;
use rand::distr::{Distribution, weighted::WeightedIndex};
use rand::seq::index;

use crate::{Level, Objective, ObjectiveSchema, Request};

pub use mix::{AskedLevels, RequestMix, SamplerError};

/// How far the shares may be from a sum of 1.
const SUM_TOLERANCE: f64 = 1e-9;

/// Fractional levels are drawn to tenths of the way from one level to the next.
const FRACTIONS: usize = 10;

/// The fractional positions that are asked for between two levels: tenths of the way from one level to the next.
///
/// ```
/// assert_eq!(moslim_data::between_levels(0, 2).len(), 18); // 0.1 to 0.9 and 1.1 to 1.9
/// ```
pub fn between_levels(lowest: Level, highest: Level) -> Vec<f64> {
    let tenths = lowest * FRACTIONS..highest * FRACTIONS;
    tenths
        .filter(|tenth| !tenth.is_multiple_of(FRACTIONS))
        .map(|tenth| tenth as f64 / FRACTIONS as f64)
        .collect()
}

/// Draws requests as a [`RequestMix`] says.
///
/// The paper's own distribution of requests is not known; this one is ours.
///
/// ```
/// use moslim_data::{Objective, ObjectiveSchema, PreferenceSampler, RequestMix};
/// use rand::{SeedableRng, rngs::ChaCha8Rng};
///
/// let schema = ObjectiveSchema::new(vec![Objective::with_scale("helpfulness", 1, 5)]).unwrap();
/// let mix = RequestMix { one: 1.0, ..RequestMix::default() };
/// let request = PreferenceSampler::new(mix, &schema).unwrap().sample(&mut ChaCha8Rng::seed_from_u64(7));
/// assert_eq!(request.n_asked(), 1);
/// ```
#[derive(Clone, Debug)]
pub struct PreferenceSampler {
    kind: WeightedIndex<f64>,
    fractional: f64,
    /// The weight of each objective; `None` where all have the same.
    weights: Option<Vec<f64>>,
    levels: Vec<Asked>,
}

/// The levels of one objective that are asked for.
#[derive(Clone, Debug)]
struct Asked {
    levels: Vec<Level>,
    /// `None` where they are asked for equally often.
    weights: Option<WeightedIndex<f64>>,
    /// Whether what lies between levels has a name.
    numbers: bool,
}

impl PreferenceSampler {
    /// Checks the mix.
    ///
    /// # Errors
    /// A share or weight that is negative or no number, shares that do not sum to 1 (within 10⁻⁹), `some` with fewer than 3
    /// objectives, an objective or a level that there is not, or a share of fractional levels where no objective has any.
    pub fn new(mix: RequestMix, schema: &ObjectiveSchema) -> Result<Self, SamplerError> {
        let shares = [("free", mix.free), ("one", mix.one), ("some", mix.some), ("all", mix.all)];
        for (name, found) in shares {
            if !(found >= 0.0 && found.is_finite()) {
                return Err(SamplerError::Share { name, found });
            }
        }
        if !(0.0..=1.0).contains(&mix.fractional) {
            return Err(SamplerError::Share { name: "fractional", found: mix.fractional });
        }
        if mix.some > 0.0 && schema.len() < 3 {
            return Err(SamplerError::TooFewForSome { found: mix.some, n_objectives: schema.len() });
        }
        let unknown =
            mix.objectives.keys().chain(mix.levels.keys()).find(|name| schema.index_of(name).is_none());
        if let Some(found) = unknown {
            return Err(SamplerError::Objective { found: found.clone(), expected: schema.expected_names() });
        }
        let levels = schema.objectives().iter().map(|objective| match mix.levels.get(&objective.name) {
            Some(asked) => Asked::of(objective, asked),
            None => Ok(Asked::every(objective)),
        });
        let levels: Vec<Asked> = levels.collect::<Result<_, _>>()?;
        if mix.fractional > 0.0 && !levels.iter().any(Asked::has_fractions) {
            return Err(SamplerError::NoFractions { found: mix.fractional });
        }
        let weight = |objective: &Objective| mix.objectives.get(&objective.name).copied().unwrap_or(1.0);
        for objective in schema.objectives() {
            let found = weight(objective);
            if !(found > 0.0 && found.is_finite()) {
                return Err(SamplerError::Weight { name: objective.name.clone(), found });
            }
        }
        let weights = (!mix.objectives.is_empty()).then(|| schema.objectives().iter().map(weight).collect());

        let shares = shares.map(|(_, share)| share);
        let sum: f64 = shares.iter().sum();
        match WeightedIndex::new(shares) {
            Ok(kind) if (sum - 1.0).abs() <= SUM_TOLERANCE => {
                Ok(Self { kind, fractional: mix.fractional, weights, levels })
            }
            _ => Err(SamplerError::Sum { found: sum }),
        }
    }

    /// The whole levels of an objective that are asked for; those of the schema without the held-out ones.
    ///
    /// # Panics
    /// If there is no such objective.
    pub fn levels(&self, objective: usize) -> &[Level] {
        &self.levels[objective].levels
    }

    /// Draws one request.
    pub fn sample(&self, rng: &mut impl rand::Rng) -> Request {
        let n_objectives = self.levels.len();
        let n_asked = match self.kind.sample(rng) {
            0 => 0,
            1 => 1,
            2 => rng.random_range(2..n_objectives),
            _ => n_objectives,
        };
        let objectives = match &self.weights {
            None => index::sample(rng, n_objectives, n_asked),
            Some(weights) => {
                index::sample_weighted(rng, n_objectives, |objective| weights[objective], n_asked)
                    .expect("the weights are positive numbers")
            }
        };
        let mut levels = vec![None; n_objectives];
        for objective in objectives {
            levels[objective] = Some(self.levels[objective].sample(self.fractional, rng));
        }
        Request { levels }
    }
}

impl Asked {
    fn every(objective: &Objective) -> Self {
        Self {
            levels: (0..objective.n_levels()).collect(),
            weights: None,
            numbers: objective.position_name(0.5).is_some(),
        }
    }

    fn of(objective: &Objective, asked: &AskedLevels) -> Result<Self, SamplerError> {
        let level = |name: &String| {
            objective.level(name).ok_or_else(|| SamplerError::Level {
                objective: objective.name.clone(),
                found: name.clone(),
                expected: objective.expected_levels(),
            })
        };
        let nothing = || SamplerError::NoLevels { objective: objective.name.clone() };
        let (mut levels, weights): (Vec<Level>, _) = match asked {
            AskedLevels::Only(names) => (names.iter().map(level).collect::<Result<_, _>>()?, None),
            AskedLevels::Weighted(weights) => {
                for (name, &found) in weights {
                    if !(found >= 0.0 && found.is_finite()) {
                        return Err(SamplerError::Weight {
                            name: format!("{}: {name}", objective.name),
                            found,
                        });
                    }
                }
                // A weight of 0 is the same as none.
                let weights = weights.iter().filter(|(_, weight)| **weight > 0.0);
                let (names, weights): (Vec<&String>, Vec<f64>) =
                    weights.map(|(name, weight)| (name, *weight)).unzip();
                let levels = names.into_iter().map(level).collect::<Result<_, _>>()?;
                (levels, Some(WeightedIndex::new(weights).map_err(|_| nothing())?))
            }
        };
        if weights.is_none() {
            levels.sort_unstable();
            levels.dedup();
        }
        match levels.is_empty() {
            true => Err(nothing()),
            false => Ok(Self { levels, weights, ..Self::every(objective) }),
        }
    }

    /// Whether anything lies between two of the levels.
    fn has_fractions(&self) -> bool {
        self.numbers && self.levels.iter().any(|&level| level != self.levels[0])
    }

    /// A level; a share of them lies between two.
    fn sample(&self, fractional: f64, rng: &mut impl rand::Rng) -> f64 {
        if fractional > 0.0 && self.has_fractions() && rng.random_bool(fractional) {
            let lowest = self.levels.iter().min().expect("there is a level");
            let highest = self.levels.iter().max().expect("there is a level");
            let between = between_levels(*lowest, *highest);
            return between[rng.random_range(0..between.len())];
        }
        let index = match &self.weights {
            None => rng.random_range(0..self.levels.len()),
            Some(weights) => weights.sample(rng),
        };
        self.levels[index] as f64
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::{SeedableRng, rngs::ChaCha8Rng};

    use super::*;
    use crate::Objective;

    fn schema(n_objectives: usize) -> ObjectiveSchema {
        let objectives = (0..n_objectives).map(|i| Objective::with_scale(format!("o{i}"), 0, i as i64 + 1));
        ObjectiveSchema::new(objectives.collect()).unwrap()
    }

    fn mix(free: f64, one: f64, some: f64, all: f64) -> RequestMix {
        RequestMix { free, one, some, all, ..RequestMix::default() }
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

    /// How often each position of one objective is asked for.
    fn positions(mix: RequestMix, schema: &ObjectiveSchema, n: usize) -> BTreeMap<String, usize> {
        let sampler = PreferenceSampler::new(mix, schema).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut counts = BTreeMap::new();
        for _ in 0..n {
            let request = sampler.sample(&mut rng).describe(schema);
            *counts.entry(request).or_default() += 1;
        }
        counts
    }

    #[test]
    fn held_out_levels_are_never_asked_for() {
        let schema = ObjectiveSchema::new(vec![Objective::with_scale("h", 1, 5)]).unwrap();
        let odd = AskedLevels::Only(["1", "3", "5"].map(Into::into).to_vec());
        let mix = RequestMix { levels: [("h".into(), odd)].into(), ..mix(0.0, 1.0, 0.0, 0.0) };
        let counts = positions(mix.clone(), &schema, 3000);
        assert_eq!(counts.keys().collect::<Vec<_>>(), ["h=1", "h=3", "h=5"]);
        // A third each; over 4 standard deviations of sqrt(3000 · 2/9).
        assert!(counts.values().all(|n| n.abs_diff(1000) < 110), "{counts:?}");

        let between = positions(RequestMix { fractional: 0.5, ..mix }, &schema, 8000);
        // 1, 1.1 to 1.9, 2.1 to 2.9, 3, .. without 2 and 4.
        assert_eq!(between.len(), 41 - 2);
        assert!(!between.contains_key("h=2") && !between.contains_key("h=4"));
        // Half of them are whole.
        let whole: usize = ["h=1", "h=3", "h=5"].map(|level| between[level]).iter().sum();
        assert!(whole.abs_diff(8000 / 2) < 200, "{whole}");
    }

    #[test]
    fn weights_of_objectives_and_levels_come_out() {
        let schema = schema(2);
        let text = "free = 0.0\none = 1.0\nsome = 0.0\nall = 0.0\nobjectives = { o0 = 3.0 }\n\
                    levels = { o1 = { 0 = 1.0, 2 = 4.0 } }";
        let mix: RequestMix = toml::from_str(text).unwrap();
        assert_eq!(toml::from_str::<RequestMix>(&toml::to_string(&mix).unwrap()).unwrap(), mix);
        let counts = positions(mix, &schema, 10_000);
        // 3 : 1, and of the latter 1 : 4.
        for (request, share) in [("o0=0", 0.375), ("o0=1", 0.375), ("o1=0", 0.05), ("o1=2", 0.2)] {
            assert!((counts[request] as f64 / 10_000.0 - share).abs() < 0.02, "{counts:?}");
        }
        assert_eq!(counts.len(), 4);
    }

    #[test]
    fn objectives_and_levels_must_be_there() {
        let named = Objective { name: "tone".into(), levels: vec!["cold".into(), "warm".into()] };
        let schema = ObjectiveSchema::new(vec![named]).unwrap();
        let base = "free = 0.0\none = 1.0\nsome = 0.0\nall = 0.0\n";
        for (more, message) in [
            ("objectives = { tune = 1.0 }", "request mix: unknown objective `tune`, expected one of tone"),
            ("objectives = { tone = 0.0 }", "request mix: tone: weight 0, expected a number above 0"),
            ("levels = { tone = [\"hot\"] }", "request mix: tone: level hot, expected cold, warm"),
            ("levels = { tone = [] }", "request mix: tone: no level, expected at least one to ask for"),
            (
                "levels = { tone = { cold = 0.0 } }",
                "request mix: tone: no level, expected at least one to ask for",
            ),
            (
                "levels = { tone = { cold = -1.0 } }",
                "request mix: tone: cold: weight -1, expected a number above 0",
            ),
            ("fractional = 2.0", "request mix: fractional: 2, expected a share from 0 to 1"),
            (
                "fractional = 0.5",
                "request mix: fractional: 0.5, expected 0 where no objective has integers as levels and two to ask for",
            ),
        ] {
            let mix: RequestMix = toml::from_str(&format!("{base}{more}")).unwrap();
            assert_eq!(PreferenceSampler::new(mix, &schema).unwrap_err().to_string(), message);
        }
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
