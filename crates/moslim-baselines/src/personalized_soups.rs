//! Personalized Soups ([Jang et al. 2023](https://arxiv.org/abs/2310.11564)): preferences are sentences, one per objective and level;
//! P-Soups train a policy for every single one and average those that a person wants, P-MORL trains one policy that reads them all.

use moslim_data::{ObjectiveSchema, Request};
use moslim_rl::{ObjectiveScores, PolicyPrompt, Reward, RewardError, Rollout, Scores};

use crate::BaselineError;
use crate::error::{check_finite, check_length, whole_level};

/// The most combinations that are listed.
const MAX_COMBINATIONS: usize = 100_000;

/// A sentence for every level (with two levels: for every pole) of every objective.
#[derive(Clone, Debug, PartialEq)]
pub struct PreferenceSentences {
    sentences: Vec<Vec<String>>,
}

impl PreferenceSentences {
    /// Takes the table: a list per objective of the schema, a sentence per level.
    ///
    /// # Errors
    /// If lists or sentences are missing or left over, or a sentence is empty.
    pub fn new(schema: &ObjectiveSchema, sentences: Vec<Vec<String>>) -> Result<Self, BaselineError> {
        check_length("lists of sentences", sentences.len(), schema.len())?;
        for (of_objective, n_levels) in sentences.iter().zip(schema.n_levels()) {
            check_length("sentences of an objective", of_objective.len(), n_levels)?;
            if let Some(found) = of_objective.iter().find(|sentence| sentence.trim().is_empty()) {
                let (what, expected) = ("preference sentence", "some words");
                return Err(BaselineError::Text { what, found: found.clone(), expected });
            }
        }
        Ok(Self { sentences })
    }

    /// What the policy reads: the question and the sentences of the levels asked for, joined by blanks.
    ///
    /// # Errors
    /// If a level has no sentence, or the request has not one entry per objective.
    ///
    /// ```
    /// use moslim_baselines::PreferenceSentences;
    /// use moslim_data::{Objective, ObjectiveSchema, Request};
    ///
    /// let pole = |name: &str| Objective { name: name.into(), levels: vec!["no".into(), "yes".into()] };
    /// let schema = ObjectiveSchema::new(vec![pole("concise"), pole("friendly")]).unwrap();
    /// let table = [["Give details.", "Be brief."], ["Keep your distance.", "Be kind."]];
    /// let sentences = PreferenceSentences::new(&schema, table.map(|pair| pair.map(String::from).to_vec()).to_vec())?;
    /// let request = Request { levels: vec![Some(1.0), Some(1.0)] };
    /// assert_eq!(sentences.prompt("Why?", &request)?, "Why? Be brief. Be kind.");
    /// # Ok::<(), moslim_baselines::BaselineError>(())
    /// ```
    pub fn prompt(&self, question: &str, request: &Request) -> Result<String, BaselineError> {
        let sentences =
            self.asked(request)?.into_iter().map(|(objective, level)| &*self.sentences[objective][level]);
        Ok([question].into_iter().chain(sentences).collect::<Vec<_>>().join(" "))
    }

    /// The sentence of one preference, with which its reward model and its policy are trained.
    ///
    /// # Errors
    /// If there is no such level.
    pub fn sentence(&self, objective: usize, level: usize) -> Result<&str, BaselineError> {
        let of_objective = self.sentences.get(objective).map_or(&[][..], Vec::as_slice);
        let missing =
            || BaselineError::Level { objective, found: level as f64, n_levels: of_objective.len() };
        of_objective.get(level).map(String::as_str).ok_or_else(missing)
    }

    /// All single preferences in the order in which policies are kept: objective by objective, level by level.
    pub fn preferences(&self) -> Vec<(usize, usize)> {
        let of_objective = |(objective, sentences): (usize, &Vec<String>)| {
            (0..sentences.len()).map(move |level| (objective, level)).collect::<Vec<_>>()
        };
        self.sentences.iter().enumerate().flat_map(of_objective).collect()
    }

    /// All requests that ask for a level of every objective: the 8 of three objectives with two poles.
    ///
    /// # Errors
    /// If there are more than 100 000 levels in all of them together.
    pub fn combinations(&self) -> Result<Vec<Request>, BaselineError> {
        let n_objectives = self.sentences.len();
        let n_combinations = self.sentences.iter().map(Vec::len).try_fold(1usize, usize::checked_mul);
        if n_combinations.and_then(|n| n.checked_mul(n_objectives)).is_none_or(|n| n > MAX_COMBINATIONS) {
            let n_steps = self.sentences.iter().map(Vec::len).max().unwrap_or(0);
            return Err(BaselineError::Grid { n_objectives, n_steps, limit: MAX_COMBINATIONS });
        }
        let mut all = vec![vec![]];
        for sentences in &self.sentences {
            let longer = all.iter().flat_map(|levels: &Vec<Option<f64>>| {
                (0..sentences.len()).map(|level| [levels.as_slice(), &[Some(level as f64)]].concat())
            });
            all = longer.collect();
        }
        Ok(all.into_iter().map(|levels| Request { levels }).collect())
    }

    /// The mixture of P-Soups for [`RewardedSoup::mix`](crate::RewardedSoup::mix) and [`LoraSoup::mix`](crate::LoraSoup::mix):
    /// `1/k` for each of the k policies wanted, 0 for the others, policies being those of [`preferences`](Self::preferences).
    ///
    /// # Errors
    /// If nothing is asked for, a level has no policy, or the request has not one entry per objective.
    pub fn uniform_merge(&self, request: &Request) -> Result<Vec<f64>, BaselineError> {
        let asked = self.asked(request)?;
        if asked.is_empty() {
            return Err(BaselineError::Empty { what: "preferences" });
        }
        let share = |preference| if asked.contains(&preference) { 1.0 / asked.len() as f64 } else { 0.0 };
        Ok(self.preferences().into_iter().map(share).collect())
    }

    /// The objectives asked for with their levels.
    fn asked(&self, request: &Request) -> Result<Vec<(usize, usize)>, BaselineError> {
        check_length("levels of the request", request.levels.len(), self.sentences.len())?;
        let asked = request.levels.iter().zip(&self.sentences).enumerate();
        let asked = asked.filter_map(|(objective, (level, sentences))| {
            Some(whole_level(objective, (*level)?, sentences.len()).map(|level| (objective, level)))
        });
        asked.collect()
    }
}

/// The reward of P-MORL: the mean of the rewards of the k preferences that the prompt names, `(1/k) Σ_i r_i`.
///
/// The inner reward says what every preference asked for gives (`Scores::objectives`), and `None` for those that are not;
/// `Scores::objectives` of this reward are the parts `r_i/k`.
pub struct Pmorl<R>(pub R);

impl<R: Reward> Reward for Pmorl<R> {
    fn score(&mut self, prompts: &[PolicyPrompt], rollout: &Rollout) -> Result<Scores, RewardError> {
        let scores = self.0.score(prompts, rollout)?;
        mean_of_named(scores).map_err(|error| RewardError(Box::new(error)))
    }
}

fn mean_of_named(mut scores: Scores) -> Result<Scores, BaselineError> {
    for ObjectiveScores { scores: rewards, .. } in &scores.objectives {
        check_length("rewards of an objective", rewards.len(), scores.values.len())?;
        check_finite("reward", &rewards.iter().flatten().copied().collect::<Vec<_>>())?;
    }
    for (answer, value) in scores.values.iter_mut().enumerate() {
        let rewards = scores.objectives.iter().filter_map(|objective| objective.scores[answer]);
        let (sum, k) = rewards.fold((0.0, 0.0), |(sum, k), reward| (sum + reward, k + 1.0));
        if k == 0.0 {
            return Err(BaselineError::NoPreference { answer });
        }
        *value = sum / k;
        scores
            .objectives
            .iter_mut()
            .filter_map(|objective| objective.scores[answer].as_mut())
            .for_each(|part| *part /= k);
    }
    scores.penalties.clear();
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use moslim_data::Objective;

    use super::*;

    fn three_pairs() -> PreferenceSentences {
        let objectives = ["expertise", "length", "style"].map(|name| Objective::with_scale(name, 0, 1));
        let schema = ObjectiveSchema::new(objectives.to_vec()).unwrap();
        let table = [["For a child.", "For an expert."], ["In detail.", "In brief."], ["Coldly.", "Warmly."]];
        let table = table.map(|pair| pair.map(String::from).to_vec()).to_vec();
        PreferenceSentences::new(&schema, table).unwrap()
    }

    fn request(levels: [Option<f64>; 3]) -> Request {
        Request { levels: levels.to_vec() }
    }

    #[test]
    fn a_prompt_names_the_wanted_preferences() {
        let sentences = three_pairs();
        let prompt = |levels| sentences.prompt("Why?", &request(levels)).unwrap();
        assert_eq!(prompt([Some(0.0), Some(1.0), Some(1.0)]), "Why? For a child. In brief. Warmly.");
        assert_eq!(prompt([None, None, Some(0.0)]), "Why? Coldly.");
        assert_eq!(prompt([None; 3]), "Why?");
        assert_eq!(sentences.sentence(1, 1), Ok("In brief."));
        let message = sentences.sentence(1, 2).unwrap_err().to_string();
        assert_eq!(message, "objective 1: level 2, expected a whole level from 0 to 1");
        assert!(sentences.sentence(3, 0).is_err());
        let combinations = sentences.combinations().unwrap();
        assert_eq!((combinations.len(), &combinations[1]), (8, &request([Some(0.0), Some(0.0), Some(1.0)])));
    }

    #[test]
    fn the_wanted_policies_are_merged_in_equal_parts() {
        let sentences = three_pairs();
        assert_eq!(sentences.preferences(), [(0, 0), (0, 1), (1, 0), (1, 1), (2, 0), (2, 1)]);
        let merge = |levels| sentences.uniform_merge(&request(levels));
        let third = 1.0 / 3.0;
        assert_eq!(merge([Some(1.0), Some(0.0), Some(0.0)]).unwrap(), [0.0, third, third, 0.0, third, 0.0]);
        assert_eq!(merge([None, Some(1.0), None]).unwrap(), [0.0, 0.0, 0.0, 1.0, 0.0, 0.0]);
        assert_eq!(merge([None; 3]), Err(BaselineError::Empty { what: "preferences" }));
        assert!(matches!(merge([Some(0.5), None, None]), Err(BaselineError::Level { objective: 0, .. })));
        assert!(sentences.uniform_merge(&Request { levels: vec![] }).is_err());
    }

    #[test]
    fn a_table_with_gaps_is_refused() {
        let schema = ObjectiveSchema::new(vec![Objective::with_scale("tone", 0, 1)]).unwrap();
        let table = |sentences: &[&[&str]]| {
            let rows = sentences.iter().map(|row| row.iter().map(ToString::to_string).collect());
            PreferenceSentences::new(&schema, rows.collect()).map(drop).map_err(|error| error.to_string())
        };
        assert_eq!(table(&[&["Coldly.", "Warmly."]]), Ok(()));
        assert_eq!(table(&[]).unwrap_err(), "0 lists of sentences, expected 1");
        assert_eq!(table(&[&["Coldly."]]).unwrap_err(), "1 sentences of an objective, expected 2");
        assert_eq!(table(&[&["Coldly.", " "]]).unwrap_err(), "preference sentence ` `, expected some words");
    }

    #[test]
    fn the_reward_is_the_mean_over_the_named_preferences() {
        let objective = |name: &str, scores: [Option<f64>; 2]| ObjectiveScores {
            objective: name.into(),
            scores: scores.to_vec(),
            levels: vec![0.0; 2],
        };
        let scores = |second| Scores {
            values: vec![9.0; 2],
            objectives: vec![objective("a", [Some(1.0), None]), objective("b", [Some(4.0), second])],
            penalties: vec![1.0; 2],
        };
        let mean = mean_of_named(scores(Some(-3.0))).unwrap();
        assert_eq!(mean.values, [2.5, -3.0]);
        assert_eq!(mean.objectives[0].scores, [Some(0.5), None]);
        assert_eq!(mean.objectives[1].scores, [Some(2.0), Some(-3.0)]);
        assert!(mean.penalties.is_empty());
        assert_eq!(mean_of_named(scores(None)), Err(BaselineError::NoPreference { answer: 1 }));
        assert!(mean_of_named(scores(Some(f64::NAN))).is_err());
    }
}
