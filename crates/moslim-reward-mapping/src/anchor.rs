//! Objectives that a request leaves open stay at the levels of ordinary answers.

use std::collections::BTreeMap;

use moslim_data::Request;
use serde::{Deserialize, Serialize};

use crate::{ClassProbabilities, MappingError, TargetStats};

/// What a batch's counts are multiplied by when the next one arrives: about the last thirty batches count.
const DECAY: f64 = 0.97;

/// As many ordinary answers stand beside those that were counted, so that a rare request is not judged by a few.
const ORDINARY_ANSWERS: f64 = 10.0;

/// The smallest share of a class among ordinary answers.
const MIN_SHARE: f64 = 1e-3;

/// Keeps the levels that a request leaves open where ordinary answers have them.
///
/// A mapping scores only what was asked for, so a policy may move an open objective for free, and does where that makes
/// a hit a little surer: asked for honesty alone, it says less.
/// The penalty is the divergence KL(q‖o) of the classes `q` that answers to a request get from those `o` of ordinary answers,
/// as a score per answer: `coef · Σ_j Σ_c p_j[c] · mean_i ln(q_ij[c] / o_j[c])`
/// over the open heads `j` and the asked ones `i`, where `q_ij` are the classes of head `j` in recent answers for which
/// head `i` was asked for the same level.
/// By the chain rule this is the part of the KL term of RLHF that concerns the classes, with a weight of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnaskedAnchor {
    coef: f64,
    /// Share of every class among ordinary answers, `[n_heads][n_classes]`.
    ordinary: Vec<Vec<f64>>,
    /// Per asked head and (rounded) level, the decayed sum of probabilities, `[n_heads][n_classes]`.
    #[serde(with = "as_list")]
    counts: BTreeMap<(usize, usize), Vec<Vec<f64>>>,
}

/// A map whose keys are no strings, as a list of its entries.
mod as_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    type Counts = BTreeMap<(usize, usize), Vec<Vec<f64>>>;

    pub(super) fn serialize<S: Serializer>(counts: &Counts, to: S) -> Result<S::Ok, S::Error> {
        counts.iter().collect::<Vec<_>>().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Counts, D::Error> {
        Ok(Vec::deserialize(from)?.into_iter().collect())
    }
}

impl UnaskedAnchor {
    /// An anchor at the classes of `ordinary` answers; `coef` is the weight of the penalty.
    ///
    /// # Errors
    /// A weight that is negative or not finite, no answers, or answers whose heads differ.
    pub fn new(coef: f64, ordinary: &[ClassProbabilities]) -> Result<Self, MappingError> {
        if !(coef >= 0.0 && coef.is_finite()) {
            let setting = "unasked_coef";
            return Err(MappingError::Setting {
                setting,
                found: coef,
                expected: "a finite number from 0 on",
            });
        }
        let share = |mean: f64| mean.max(MIN_SHARE);
        let ordinary = TargetStats::from_probabilities(ordinary)?
            .0
            .iter()
            .map(|head| head.iter().map(|class| share(class.mean)).collect())
            .collect();
        Ok(Self { coef, ordinary, counts: BTreeMap::new() })
    }

    /// Takes in a batch of answers and says what is to be subtracted from the score of each.
    ///
    /// # Errors
    /// Answers or requests that do not fit the ordinary answers; nothing is then changed.
    pub fn penalties(
        &mut self,
        answers: &[ClassProbabilities],
        requests: &[&Request],
    ) -> Result<Vec<f64>, MappingError> {
        self.check(answers, requests)?;
        for sum in self.counts.values_mut().flatten().flatten() {
            *sum *= DECAY;
        }
        for (answer, request) in answers.iter().zip(requests) {
            for key in asked(request) {
                let zeros = || self.ordinary.iter().map(|head| vec![0.0; head.len()]).collect();
                let counts = self.counts.entry(key).or_insert_with(zeros);
                for (sum, p) in counts.iter_mut().flatten().zip(answer.0.iter().flatten()) {
                    *sum += p;
                }
            }
        }
        Ok(answers.iter().zip(requests).map(|(answer, request)| self.penalty(answer, request)).collect())
    }

    fn penalty(&self, answer: &ClassProbabilities, request: &Request) -> f64 {
        let n_asked = request.n_asked().max(1) as f64;
        let of_head = |key: &(usize, usize), head: usize| -> f64 {
            let [counts, ordinary] = [&self.counts[key][head], &self.ordinary[head]];
            let total = counts.iter().sum::<f64>() + ORDINARY_ANSWERS;
            let classes = answer.0[head].iter().zip(counts).zip(ordinary);
            classes.map(|((p, n), o)| p * ((n + ORDINARY_ANSWERS * o) / (total * o)).ln()).sum()
        };
        let open = (0..answer.0.len()).filter(|&head| request.levels[head].is_none());
        let keys: Vec<(usize, usize)> = asked(request).collect();
        let sum: f64 = open.map(|head| keys.iter().map(|key| of_head(key, head)).sum::<f64>()).sum();
        self.coef * sum / n_asked
    }

    fn check(&self, answers: &[ClassProbabilities], requests: &[&Request]) -> Result<(), MappingError> {
        let expected: Vec<usize> = self.ordinary.iter().map(Vec::len).collect();
        for (answer, request) in answers.iter().zip(requests) {
            let found = answer.n_classes();
            if found != expected {
                return Err(MappingError::StatsShape { found, expected });
            }
            if request.levels.len() != expected.len() {
                return Err(MappingError::NumberOfHeads {
                    found: expected.len(),
                    expected: request.levels.len(),
                });
            }
        }
        Ok(())
    }
}

/// The asked heads with their levels, a level between two counted as the nearer one.
fn asked(request: &Request) -> impl Iterator<Item = (usize, usize)> {
    let heads = request.levels.iter().enumerate();
    heads.filter_map(|(head, level)| level.map(|level| (head, level.round() as usize)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An answer whose classes are certain.
    fn answer(classes: &[usize]) -> ClassProbabilities {
        ClassProbabilities(classes.iter().map(|&c| vec![f64::from(c == 0), f64::from(c == 1)]).collect())
    }

    /// Both classes of both heads are as frequent.
    fn anchor(coef: f64) -> UnaskedAnchor {
        let ordinary = [[0, 0], [0, 1], [1, 0], [1, 1]].map(|classes| answer(&classes));
        UnaskedAnchor::new(coef, &ordinary).unwrap()
    }

    fn penalties(anchor: &mut UnaskedAnchor, answers: &[[usize; 2]], levels: [Option<f64>; 2]) -> Vec<f64> {
        let answers: Vec<ClassProbabilities> = answers.iter().map(|classes| answer(classes)).collect();
        let request = Request { levels: levels.to_vec() };
        anchor.penalties(&answers, &vec![&request; answers.len()]).unwrap()
    }

    #[test]
    fn what_became_frequent_costs_and_what_became_rare_pays() {
        let mut anchor = anchor(2.0);
        let mut batch = vec![[1, 1]; 29];
        batch.push([1, 0]);
        let found = penalties(&mut anchor, &batch, [Some(1.0), None]);
        // Class 1 of the open head: (29 + 10 · ½) / (30 + 10) = 0.85 where it was ½.
        assert!((found[0] - 2.0 * (0.85_f64 / 0.5).ln()).abs() < 1e-12, "{found:?}");
        assert!((found[29] - 2.0 * (0.15_f64 / 0.5).ln()).abs() < 1e-12, "{found:?}");
        // The next batch counts whole, the last one for 0.97 of what it was: (0.97 + 1 + 5) / (29.1 + 1 + 10).
        let found = penalties(&mut anchor, &[[1, 0]], [Some(1.0), None]);
        assert!((found[0] - 2.0 * ((0.97 + 1.0 + 5.0) / 40.1 / 0.5_f64).ln()).abs() < 1e-12, "{found:?}");
    }

    #[test]
    fn requests_are_told_apart_and_asked_heads_are_free() {
        let mut anchor = anchor(1.0);
        penalties(&mut anchor, &[[1, 1]; 40], [Some(1.0), None]);
        // Another level, and another head, have answers of their own.
        let other = penalties(&mut anchor, &[[0, 0], [0, 1]], [Some(0.0), None]);
        assert!(other.iter().all(|penalty| penalty.abs() < 1e-12), "{other:?}");
        let other = penalties(&mut anchor, &[[0, 0], [1, 0]], [None, Some(0.0)]);
        assert!(other.iter().all(|penalty| penalty.abs() < 1e-12), "{other:?}");
        // Nothing is open, or nothing is asked.
        assert_eq!(penalties(&mut anchor, &[[1, 1]], [Some(1.0), Some(1.0)]), [0.0]);
        assert_eq!(penalties(&mut anchor, &[[1, 1]], [None, None]), [0.0]);
        // A level between two belongs to the nearer one.
        let near = penalties(&mut anchor, &[[1, 1]], [Some(0.9), None]);
        assert!(near[0] > 0.3, "{near:?}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(UnaskedAnchor::new(1.0, &[]), Err(MappingError::NoAnswers));
        assert!(UnaskedAnchor::new(f64::NAN, &[answer(&[0])]).is_err());
        let mut anchor = anchor(1.0);
        let one_head = Request { levels: vec![None] };
        assert!(anchor.penalties(&[answer(&[0, 0])], &[&one_head]).is_err());
        let request = Request { levels: vec![None; 2] };
        assert!(anchor.penalties(&[answer(&[0])], &[&request]).is_err());
    }
}
