//! CPO, controllable preference optimisation ([Guo et al. 2024](https://arxiv.org/abs/2402.19085)), its second stage CDPO:
//! which of two answers is better depends on the condition in the prompt.
//!
//! 1. A condition is taken from an existing answer ([`draw_condition`]).
//! 2. Of every two answers to the prompt the one of larger value under the condition is chosen, equals are dropped ([`Cdpo::pairs`]).
//! 3. DPO with the condition in the prompt ([`cdpo_loss`]).
//!
//! The first stage, CPSFT, is supervised fine-tuning on answers with their own levels in the prompt.

use burn::tensor::Tensor;
use moslim_rl::ops::PreferenceLoss;
use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::error::{check_finite, check_length};
use crate::{BaselineError, Mode};

/// How one objective takes part in the value of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CdpoObjective {
    /// ω, what its term counts; 1 in the paper's example.
    pub omega: f64,
    /// λ, what a step away from the condition costs; 1 in the paper's example.
    pub lambda: f64,
    /// The term of the released code that stands for it in [`Mode::ReleasedCode`].
    pub released: ReleasedTerm,
}

/// A term as the released script for data computes it, with its mistakes; p is the rating, c the condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReleasedTerm {
    /// `−λ|p − c|`, but p where that is 0: an exact match counts as if the objective were free.
    Helpfulness,
    /// `−λ(|p| + c)`, a bracket in the wrong place, but p where that is 0.
    Honesty,
    /// `−λ|p − c|`, and 0 where the objective is free.
    Harmlessness,
}

/// The value of answers under a condition.
#[derive(Clone, Debug, PartialEq)]
pub struct Cdpo {
    objectives: Vec<CdpoObjective>,
    mode: Mode,
}

impl Cdpo {
    /// Takes what objectives count.
    ///
    /// # Errors
    /// If there is no objective, or an ω or λ is negative, infinite or no number.
    pub fn new(objectives: Vec<CdpoObjective>, mode: Mode) -> Result<Self, BaselineError> {
        if objectives.is_empty() {
            return Err(BaselineError::Empty { what: "objectives" });
        }
        for objective in &objectives {
            for (what, found) in [("ω", objective.omega), ("λ", objective.lambda)] {
                if !(found >= 0.0 && found.is_finite()) {
                    return Err(BaselineError::Number {
                        what,
                        found,
                        expected: "a number that is not negative",
                    });
                }
            }
        }
        Ok(Self { objectives, mode })
    }

    /// `R = Σ_i ω_i g_i` with `g_i = −λ_i |p_i − c_i|` where objective i is controlled and `g_i = p_i` where it is free.
    ///
    /// `None` if a rating is missing that counts: what is not known cannot be compared.
    ///
    /// # Shapes
    /// - `ratings`: p, `condition`: c with `None` for free objectives, both `[n_objectives]`
    ///
    /// # Errors
    /// If there is not one rating and one condition per objective, or one is infinite or no number.
    ///
    /// ```
    /// use moslim_baselines::{Cdpo, CdpoObjective, Mode, ReleasedTerm};
    /// let objective = CdpoObjective { omega: 1.0, lambda: 1.0, released: ReleasedTerm::Helpfulness };
    /// let cdpo = Cdpo::new(vec![objective; 2], Mode::Paper)?;
    /// // 4 where 5 is wanted, and 3 where nothing is: −|4 − 5| + 3.
    /// assert_eq!(cdpo.value(&[Some(4.0), Some(3.0)], &[Some(5.0), None])?, Some(2.0));
    /// # Ok::<(), moslim_baselines::BaselineError>(())
    /// ```
    pub fn value(
        &self,
        ratings: &[Option<f64>],
        condition: &[Option<f64>],
    ) -> Result<Option<f64>, BaselineError> {
        check_length("ratings", ratings.len(), self.objectives.len())?;
        check_length("conditions", condition.len(), self.objectives.len())?;
        check_finite("rating", &ratings.iter().flatten().copied().collect::<Vec<_>>())?;
        check_finite("condition", &condition.iter().flatten().copied().collect::<Vec<_>>())?;
        let counted = self.objectives.iter().zip(ratings.iter().zip(condition));
        let terms = counted.filter(|(objective, _)| objective.omega != 0.0).map(
            |(objective, (rating, condition))| {
                let term = match self.mode {
                    Mode::Paper => term((*rating)?, *condition, objective.lambda),
                    Mode::ReleasedCode => objective.released.term((*rating)?, *condition, objective.lambda),
                };
                Some(objective.omega * term)
            },
        );
        Ok(terms.sum())
    }

    /// The pairs that a prompt's answers make under a condition, as the numbers of the chosen and of the rejected answer;
    /// answers of equal value, or of none, make no pair.
    ///
    /// # Shapes
    /// - `ratings`: `[n_answers][n_objectives]`, `condition`: `[n_objectives]`
    ///
    /// # Errors
    /// As [`value`](Self::value).
    pub fn pairs(
        &self,
        ratings: &[Vec<Option<f64>>],
        condition: &[Option<f64>],
    ) -> Result<Vec<(usize, usize)>, BaselineError> {
        let values = ratings.iter().map(|ratings| self.value(ratings, condition));
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let known: Vec<(usize, f64)> =
            values.into_iter().enumerate().filter_map(|(answer, value)| Some((answer, value?))).collect();
        let mut pairs = Vec::new();
        for (place, &(first, of_first)) in known.iter().enumerate() {
            for &(second, of_second) in &known[place + 1..] {
                match of_first.total_cmp(&of_second) {
                    _ if of_first == of_second => {}
                    std::cmp::Ordering::Greater => pairs.push((first, second)),
                    _ => pairs.push((second, first)),
                }
            }
        }
        Ok(pairs)
    }
}

/// g of the paper.
fn term(rating: f64, condition: Option<f64>, lambda: f64) -> f64 {
    condition.map_or(rating, |condition| -lambda * (rating - condition).abs())
}

impl ReleasedTerm {
    /// g of the released script, where 0 passes for "not given".
    fn term(self, rating: f64, condition: Option<f64>, lambda: f64) -> f64 {
        let or_rating = |term: f64| if term == 0.0 { rating } else { term };
        match (self, condition) {
            (Self::Harmlessness, condition) => {
                condition.map_or(0.0, |condition| term(rating, Some(condition), lambda))
            }
            (_, None) => rating,
            (Self::Helpfulness, condition) => or_rating(term(rating, condition, lambda)),
            (Self::Honesty, Some(condition)) => or_rating(-lambda * (rating.abs() + condition)),
        }
    }
}

/// What a condition is to say of an objective.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Nothing.
    Free,
    /// Any level that an answer has.
    Any,
    /// This level.
    Level(f64),
}

/// The condition of a prompt, taken from one of its answers at random: its ratings in the objectives that are controlled.
/// `None` if no answer has what is wanted.
///
/// # Shapes
/// - `ratings`: `[n_answers][n_objectives]`, `wanted`, returns: `[n_objectives]`
///
/// # Errors
/// If an answer has not one rating, known or not, per objective.
pub fn draw_condition(
    ratings: &[Vec<Option<f64>>],
    wanted: &[Wanted],
    rng: &mut impl Rng,
) -> Result<Option<Vec<Option<f64>>>, BaselineError> {
    for of_answer in ratings {
        check_length("ratings", of_answer.len(), wanted.len())?;
    }
    let fits = |(rating, wanted): (&Option<f64>, &Wanted)| match wanted {
        Wanted::Free => true,
        Wanted::Any => rating.is_some(),
        Wanted::Level(level) => rating == &Some(*level),
    };
    let fitting: Vec<_> = ratings.iter().filter(|of_answer| of_answer.iter().zip(wanted).all(fits)).collect();
    if fitting.is_empty() {
        return Ok(None);
    }
    let drawn = fitting[rng.random_range(0..fitting.len())];
    let condition =
        drawn.iter().zip(wanted).map(|(rating, wanted)| rating.filter(|_| *wanted != Wanted::Free));
    Ok(Some(condition.collect()))
}

/// The name of an objective in CDPO's prompts: the released scripts write `helplessness` there, but `helpfulness` in CPSFT's.
///
/// ```
/// use moslim_baselines::{Mode, cdpo_token_name};
/// assert_eq!(cdpo_token_name("helpfulness", Mode::Paper), "helpfulness");
/// assert_eq!(cdpo_token_name("helpfulness", Mode::ReleasedCode), "helplessness");
/// ```
pub fn cdpo_token_name(objective: &str, mode: Mode) -> &str {
    match (objective, mode) {
        ("helpfulness", Mode::ReleasedCode) => "helplessness",
        _ => objective,
    }
}

/// DPO's loss of every pair, `−ln σ(β(log π/π_ref(y_c|x, c) − log π/π_ref(y_r|x, c)))`; the condition is part of the prompt.
///
/// # Shapes
/// - `chosen`, `rejected`: log π/π_ref of the answers, `[n_pairs]`
/// - returns: `[n_pairs]`
pub fn cdpo_loss(chosen: Tensor<1>, rejected: Tensor<1>, beta: f64) -> Tensor<1> {
    PreferenceLoss::Sigmoid.of(chosen - rejected, beta)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;

    fn objective(released: ReleasedTerm) -> CdpoObjective {
        CdpoObjective { omega: 1.0, lambda: 1.0, released }
    }

    fn cdpo(mode: Mode) -> Cdpo {
        Cdpo::new(vec![objective(ReleasedTerm::Helpfulness), objective(ReleasedTerm::Honesty)], mode).unwrap()
    }

    fn value(cdpo: &Cdpo, ratings: [f64; 2], condition: [Option<f64>; 2]) -> f64 {
        cdpo.value(&ratings.map(Some), &condition).unwrap().unwrap()
    }

    #[test]
    fn known_values() {
        let paper = cdpo(Mode::Paper);
        assert_eq!(value(&paper, [4.0, 3.0], [Some(5.0), None]), 2.0);
        assert_eq!(value(&paper, [5.0, 1.0], [Some(5.0), None]), 1.0);
        assert_eq!(value(&paper, [3.0, 5.0], [Some(5.0), Some(5.0)]), -2.0);
        assert_eq!(value(&paper, [5.0, 5.0], [Some(5.0), Some(5.0)]), 0.0);
        let weighted = CdpoObjective { omega: 3.0, lambda: 0.5, released: ReleasedTerm::Helpfulness };
        let weighted = Cdpo::new(vec![weighted; 2], Mode::Paper).unwrap();
        // 3 (−½ |1 − 5|) + 3 · 3
        assert_eq!(value(&weighted, [1.0, 3.0], [Some(5.0), None]), 3.0);
    }

    #[test]
    fn the_mistakes_of_the_released_code_are_kept_in_its_mode_only() {
        let released = cdpo(Mode::ReleasedCode);
        // An exact match counts 5, so that 5 beats 4 whatever is wanted; −|4 − 5| = −1 is right.
        assert_eq!(value(&released, [5.0, 1.0], [Some(5.0), None]), 6.0);
        assert_eq!(value(&released, [4.0, 3.0], [Some(5.0), None]), 2.0);
        assert_eq!(value(&released, [1.0, 3.0], [Some(1.0), None]), 4.0);
        // Honesty is −(|p| + c), so that the less honest answer always wins; 0 with 0 is p.
        assert_eq!(value(&released, [2.0, 5.0], [None, Some(5.0)]), 2.0 - 10.0);
        assert_eq!(value(&released, [2.0, 1.0], [None, Some(5.0)]), 2.0 - 6.0);
        assert_eq!(value(&released, [2.0, 0.0], [None, Some(0.0)]), 2.0);
        let harmless = Cdpo::new(vec![objective(ReleasedTerm::Harmlessness)], Mode::ReleasedCode).unwrap();
        let of = |rating, condition| harmless.value(&[Some(rating)], &[condition]).unwrap().unwrap();
        assert_eq!([of(1.0, Some(1.0)), of(0.0, Some(1.0)), of(1.0, None)], [0.0, -1.0, 0.0]);

        // The order of a pair turns round: 5 and 1 where (1, 1) is wanted.
        let ratings = [[5.0, 1.0], [1.0, 1.0]].map(|row| row.map(Some).to_vec());
        let condition = [Some(1.0), None];
        assert_eq!(cdpo(Mode::Paper).pairs(&ratings, &condition).unwrap(), [(1, 0)]);
        let far = [[3.0, 2.0], [3.0, 5.0]].map(|row| row.map(Some).to_vec());
        let honest = [None, Some(5.0)];
        assert_eq!(cdpo(Mode::Paper).pairs(&far, &honest).unwrap(), [(1, 0)]);
        assert_eq!(released.pairs(&far, &honest).unwrap(), [(0, 1)]);
    }

    #[test]
    fn equal_and_unknown_answers_make_no_pair() {
        let paper = cdpo(Mode::Paper);
        let condition = [Some(3.0), None];
        let ratings = vec![
            vec![Some(3.0), Some(1.0)], // 1
            vec![Some(2.0), Some(2.0)], // 1
            vec![None, Some(5.0)],
            vec![Some(4.0), Some(4.0)], // 3
        ];
        assert_eq!(paper.pairs(&ratings, &condition).unwrap(), [(3, 0), (3, 1)]);
        // An objective that counts nothing needs no rating.
        let first_only = CdpoObjective { omega: 0.0, ..objective(ReleasedTerm::Honesty) };
        let first_only = Cdpo::new(vec![first_only, objective(ReleasedTerm::Honesty)], Mode::Paper).unwrap();
        assert_eq!(first_only.value(&[None, Some(5.0)], &condition).unwrap(), Some(5.0));
    }

    #[test]
    fn a_condition_is_that_of_an_answer_that_has_what_is_wanted() {
        let ratings = vec![vec![Some(5.0), Some(2.0)], vec![Some(5.0), None], vec![Some(1.0), Some(4.0)]];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut draw = |wanted: [Wanted; 2]| draw_condition(&ratings, &wanted, &mut rng).unwrap();
        for _ in 0..20 {
            assert_eq!(draw([Wanted::Level(5.0), Wanted::Free]), Some(vec![Some(5.0), None]));
            assert_eq!(draw([Wanted::Level(5.0), Wanted::Any]), Some(vec![Some(5.0), Some(2.0)]));
        }
        assert_eq!(draw([Wanted::Level(3.0), Wanted::Free]), None);
        let any: Vec<_> = (0..40).filter_map(|_| draw([Wanted::Free, Wanted::Any])).collect();
        assert!([2.0, 4.0].iter().all(|&level| any.contains(&vec![None, Some(level)])), "{any:?}");
        assert!(draw_condition(&ratings, &[Wanted::Any], &mut rng).is_err());
    }

    #[test]
    fn what_is_no_value_is_refused() {
        assert!(Cdpo::new(vec![], Mode::Paper).is_err());
        for wrong in [-1.0, f64::NAN, f64::INFINITY] {
            let objective = objective(ReleasedTerm::Helpfulness);
            assert!(Cdpo::new(vec![CdpoObjective { omega: wrong, ..objective }], Mode::Paper).is_err());
            assert!(Cdpo::new(vec![CdpoObjective { lambda: wrong, ..objective }], Mode::Paper).is_err());
        }
        let paper = cdpo(Mode::Paper);
        assert!(
            paper.value(&[Some(1.0)], &[None; 2]).is_err() && paper.value(&[Some(1.0); 2], &[None]).is_err()
        );
        assert!(paper.value(&[Some(f64::NAN); 2], &[None; 2]).is_err());
    }

    #[test]
    fn the_loss_is_that_of_dpo() {
        let constant = |value: f32| Tensor::<1>::from_floats([value], &Device::default());
        let loss: f32 = cdpo_loss(constant(2.0), constant(-2.0), 0.1).into_scalar();
        assert!((loss - 0.513015).abs() < 1e-6, "{loss}");
    }
}
