//! What a reward model does not know: several opinions on one answer.

mod posterior;
mod weights;

use burn::tensor::Tensor;
use moslim_lm::Exchange;
use moslim_reward_mapping::{ClassProbabilities, mean_and_deviation};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use crate::model::outputs_of;
use crate::parts::in_parts;
use crate::reader::expected_level;
use crate::{HeadReader, RewardHead, RewardModelFolder};

pub use posterior::HeadPosterior;
pub(crate) use weights::{Owner, UncertaintyFile};

/// How a reward model is to know what it does not know.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum UncertaintyConfig {
    /// Heads drawn from the posterior of their linear maps, see [`HeadPosterior`]; fitted after training, in seconds.
    Laplace {
        /// Draws per answer, an even number.
        #[serde(default = "draws")]
        draws: usize,
        /// The precision of the prior; chosen by the evidence, for every head, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prior_precision: Option<f64>,
    },
    /// Heads trained anew on the finished backbone, each on labels of other weights, drawn from an exponential distribution
    /// (the Bayesian bootstrap, [Rubin 1981](https://doi.org/10.1214/aos/1176345338)).
    HeadEnsemble {
        /// The number of heads per objective, the first one included.
        members: usize,
    },
    /// Whole models, or adapters where the run has some, trained with other first heads in another order
    /// ([Coste et al. 2024](https://arxiv.org/abs/2310.02743)).
    ModelEnsemble {
        /// The number of models, the first one included.
        members: usize,
    },
}

fn draws() -> usize {
    16
}

/// More opinions are not believed.
const MOST_OPINIONS: usize = 4096;

impl UncertaintyConfig {
    /// The setting that is out of its range, what was found, and what was expected.
    pub(crate) fn mistake(&self) -> Option<(&'static str, f64, &'static str)> {
        match *self {
            Self::Laplace { draws, .. } if draws == 0 || draws % 2 == 1 || draws > MOST_OPINIONS => {
                Some(("uncertainty.draws", draws as f64, "an even number of draws up to 4096"))
            }
            Self::Laplace { prior_precision: Some(found), .. } if !(1e-12..=1e12).contains(&found) => {
                Some(("uncertainty.prior_precision", found, "from 1e-12 to 1e12"))
            }
            Self::HeadEnsemble { members } | Self::ModelEnsemble { members }
                if !(2..=MOST_OPINIONS).contains(&members) =>
            {
                Some(("uncertainty.members", members as f64, "from 2 to 4096"))
            }
            _ => None,
        }
    }
}

/// What makes a reward model give several opinions.
#[derive(Clone, Debug)]
pub enum Uncertainty {
    /// Draws from the posterior of every head.
    Laplace {
        /// One per head.
        posteriors: Vec<HeadPosterior>,
        /// The number of draws.
        draws: usize,
        /// Decides them; the same for all answers, so that answers can be compared.
        seed: u64,
    },
    /// Further heads on the same backbone.
    Heads(Vec<EnsembleMember>),
    /// Further models of the same objectives.
    Models(Vec<RewardModelFolder>),
}

/// Further heads, one per objective.
#[derive(Clone, Debug)]
pub struct EnsembleMember {
    /// The heads.
    pub heads: Vec<RewardHead>,
    /// How their outputs become probabilities.
    pub readers: Vec<HeadReader>,
}

/// What a reward model says of one answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// Its own class probabilities.
    pub probabilities: ClassProbabilities,
    /// Those of every opinion; empty if the model has none but its own.
    ///
    /// The draws of a posterior, or the members of an ensemble, the model itself the first.
    pub opinions: Vec<ClassProbabilities>,
}

impl Judgement {
    /// The mean of the opinions' probabilities, the predictive distribution; the model's own without opinions.
    pub fn mean_probabilities(&self) -> ClassProbabilities {
        if self.opinions.is_empty() {
            return self.probabilities.clone();
        }
        let n = self.opinions.len() as f64;
        let of_level = |head: usize, level: usize| {
            self.opinions.iter().map(|opinion| opinion.0[head][level]).sum::<f64>() / n
        };
        let heads = self.probabilities.0.iter().enumerate();
        ClassProbabilities(heads.map(|(head, p)| (0..p.len()).map(|c| of_level(head, c)).collect()).collect())
    }

    /// How far the opinions on every objective lie apart: the standard deviation of their expected levels; 0 without opinions.
    pub fn level_deviations(&self) -> Vec<f64> {
        let of_head = |head: usize| {
            let levels: Vec<f64> =
                self.opinions.iter().map(|opinion| expected_level(&opinion.0[head])).collect();
            if levels.is_empty() { 0.0 } else { mean_and_deviation(&levels).1 }
        };
        (0..self.probabilities.0.len()).map(of_head).collect()
    }
}

/// The deviations of variables of this covariance less their mean, or of the one that there is.
fn centred_deviations(covariance: &[Vec<f64>]) -> Vec<f64> {
    let n = covariance.len();
    if n == 1 {
        return vec![covariance[0][0].sqrt()];
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n as f64;
    let with_mean: Vec<f64> = covariance.iter().map(|row| mean(row)).collect();
    let of_mean = mean(&with_mean);
    let variance = |index: usize| covariance[index][index] - 2.0 * with_mean[index] + of_mean;
    (0..n).map(|index| variance(index).max(0.0).sqrt()).collect()
}

impl RewardModelFolder {
    /// The class probabilities of answers given as tokens, with the opinions that the model's uncertainty consists of.
    ///
    /// # Panics
    /// If a prompt or an answer is empty.
    pub fn classify(&self, answers: &[Exchange<'_>]) -> Vec<Judgement> {
        let normals = self.normals();
        let mut classified = in_parts(&self.model.device(), answers, |part| {
            self.classify_pooled(self.model.pooled(part), &normals)
        });
        if let Some(Uncertainty::Models(models)) = &self.uncertainty {
            for answer in &mut classified {
                answer.opinions = vec![answer.probabilities.clone()];
            }
            for model in models {
                for (answer, opinion) in classified.iter_mut().zip(model.class_probabilities(answers)) {
                    answer.opinions.push(ClassProbabilities(opinion));
                }
            }
        }
        classified
    }

    /// The standard deviation of every raw output under the posteriors of the heads, in closed form; `None` without posteriors.
    /// `[n_answers][n_heads][n_outputs]`
    ///
    /// Those of classes are deviations of a logit less the mean of its head's logits: what moves all logits alike says nothing.
    ///
    /// # Panics
    /// If there is no answer, or a prompt or an answer is empty.
    pub fn output_deviations(&self, answers: &[Exchange<'_>]) -> Option<Vec<Vec<Vec<f64>>>> {
        let Some(Uncertainty::Laplace { posteriors, .. }) = &self.uncertainty else { return None };
        let pooled = self.model.pooled(answers);
        let of_head = |(posterior, head): (&HeadPosterior, &RewardHead)| -> Vec<Vec<f64>> {
            let deviations = posterior.deviations(head, pooled.clone());
            let of_answer = |along: Vec<f64>| centred_deviations(&posterior.covariance(&along));
            deviations.into_iter().map(of_answer).collect()
        };
        let heads: Vec<Vec<Vec<f64>>> = posteriors.iter().zip(self.model.heads()).map(of_head).collect();
        let of_answer = |row: usize| heads.iter().map(|head| head[row].clone()).collect();
        Some((0..answers.len()).map(of_answer).collect())
    }

    /// As [`classify`](Self::classify), from hidden states; without the opinions of other models.
    fn classify_pooled(&self, pooled: Tensor<2>, normals: &[Vec<Vec<f64>>]) -> Vec<Judgement> {
        let read = |readers: &[HeadReader], outputs: &[Vec<f64>]| {
            let heads = readers.iter().zip(outputs);
            ClassProbabilities(heads.map(|(reader, outputs)| reader.probabilities(outputs)).collect())
        };
        let outputs = outputs_of(self.model.heads(), &pooled);
        let mut classified: Vec<Judgement> = outputs
            .iter()
            .map(|outputs| Judgement { probabilities: read(&self.readers, outputs), opinions: vec![] })
            .collect();
        match &self.uncertainty {
            None | Some(Uncertainty::Models(_)) => {}
            Some(Uncertainty::Heads(members)) => {
                for answer in &mut classified {
                    answer.opinions = vec![answer.probabilities.clone()];
                }
                for EnsembleMember { heads, readers } in members {
                    for (answer, outputs) in classified.iter_mut().zip(outputs_of(heads, &pooled)) {
                        answer.opinions.push(read(readers, &outputs));
                    }
                }
            }
            Some(Uncertainty::Laplace { posteriors, draws, .. }) => {
                let heads = posteriors.iter().zip(self.model.heads());
                let deviations: Vec<Vec<Vec<f64>>> =
                    heads.map(|(posterior, head)| posterior.deviations(head, pooled.clone())).collect();
                for (row, (answer, outputs)) in classified.iter_mut().zip(&outputs).enumerate() {
                    // [head][draw][output]
                    let drawn: Vec<Vec<Vec<f64>>> = posteriors
                        .iter()
                        .enumerate()
                        .map(|(head, posterior)| {
                            posterior.draws(&outputs[head], &deviations[head][row], &normals[head])
                        })
                        .collect();
                    let opinion = |draw: usize| {
                        let outputs: Vec<Vec<f64>> = drawn.iter().map(|head| head[draw].clone()).collect();
                        read(&self.readers, &outputs)
                    };
                    answer.opinions = (0..*draws).map(opinion).collect();
                }
            }
        }
        classified
    }

    /// What draws from the posteriors are made of: numbers of mean 0 and variance 1, every other one the negative of that before.
    /// `[head][draw][output]`
    fn normals(&self) -> Vec<Vec<Vec<f64>>> {
        let Some(Uncertainty::Laplace { draws, seed, .. }) = self.uncertainty else { return vec![] };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let of_head = |head: &RewardHead| {
            let m = head.n_outputs();
            let half: Vec<Vec<f64>> = (0..draws / 2)
                .map(|_| (0..m).map(|_| StandardNormal.sample(&mut rng)).collect::<Vec<f64>>())
                .collect();
            let norm = |output: usize| {
                let squares = half.iter().map(|z| z[output] * z[output]);
                (squares.sum::<f64>() / half.len() as f64).sqrt()
            };
            let norms: Vec<f64> = (0..m).map(norm).collect();
            let scaled = |z: &Vec<f64>, sign: f64| z.iter().zip(&norms).map(|(z, n)| sign * z / n).collect();
            half.iter().flat_map(|z| [scaled(z, 1.0), scaled(z, -1.0)]).collect()
        };
        self.model.heads().iter().map(of_head).collect()
    }
}
