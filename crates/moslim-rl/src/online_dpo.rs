//! Online DPO ([Guo et al. 2024](https://arxiv.org/abs/2402.04792)): the policy's own answers, ranked by the reward, are the pairs of DPO.

use serde::{Deserialize, Serialize};

use crate::experience::Experience;
use crate::learner::{Learner, Loss, Units, Update, scalar};
use crate::ops::PreferenceLoss;

/// The settings of Online DPO.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OnlineDpoConfig {
    /// β of the loss: how much a nat of difference counts, and so how close the reference keeps the policy.
    pub beta: f64,
    /// What a pair costs.
    pub loss_type: PreferenceLoss,
    /// Which answers to a prompt become pairs.
    pub pairs: Pairing,
    /// What becomes of a pair whose answers scored the same.
    pub ties: Ties,
}

/// Which answers to a prompt become pairs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pairing {
    /// The best and the worst.
    BestWorst,
    /// The best and the worst, the second best and the second worst, and so on: every answer is used once.
    Ranked,
}

/// What becomes of a pair whose answers scored the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// The first sampled is chosen, as in the paper's code: noise of mean 0.
    First,
    /// It teaches nothing.
    Drop,
}

impl Default for OnlineDpoConfig {
    fn default() -> Self {
        Self { beta: 0.1, loss_type: PreferenceLoss::Sigmoid, pairs: Pairing::BestWorst, ties: Ties::Drop }
    }
}

impl OnlineDpoConfig {
    pub(crate) fn learn(&self, learner: &mut Learner, experience: &Experience<'_>) -> Update {
        let pairs = self.pairs(experience);
        let reference: Vec<f64> =
            experience.reference_logprobs.iter().map(|tokens| tokens.iter().sum()).collect();

        learner.descend(experience, &Units::pairs(&pairs, self.loss_type.slope(self.beta)), |batch| {
            // h = (log π/π_ref)(chosen) − (log π/π_ref)(rejected)
            let log_ratios =
                batch.mask.sum_per_response(batch.logprobs.clone()) - batch.per_answer(&reference);
            let n_pairs = log_ratios.dims()[0] / 2;
            let by_pair = log_ratios.reshape([n_pairs, 2]);
            let [chosen, rejected] =
                [0, 1].map(|side| by_pair.clone().narrow(1, side, 1).squeeze_dim::<1>(1));
            let margins = chosen.clone() - rejected.clone();
            let losses = self.loss_type.of(margins.clone(), self.beta);

            let all_pairs = batch.n_answers / 2.0;
            let mean = |values: burn::tensor::Tensor<1>| scalar(values.sum()) / all_pairs;
            let metrics = vec![
                ("rewards/chosen", mean(chosen.inner()) * self.beta),
                ("rewards/rejected", mean(rejected.inner()) * self.beta),
                ("rewards/margins", mean(margins.clone().inner()) * self.beta),
                ("rewards/accuracies", mean(margins.inner().greater_elem(0.0).float())),
            ];
            Loss { total: batch.regularized(losses.sum(), all_pairs), metrics }
        })
    }

    /// The rows of the chosen and the rejected answer of every pair.
    fn pairs(&self, experience: &Experience<'_>) -> Vec<[usize; 2]> {
        let scores = &experience.scores;
        let mut pairs = Vec::new();
        for group in experience.groups() {
            let mut ranked: Vec<usize> = group.filter(|row| experience.kept.contains(row)).collect();
            // Of equals the first stays the first.
            ranked.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            let n_pairs = match self.pairs {
                Pairing::BestWorst => (ranked.len() / 2).min(1),
                Pairing::Ranked => ranked.len() / 2,
            };
            let of_group = (0..n_pairs).map(|rank| [ranked[rank], ranked[ranked.len() - 1 - rank]]);
            pairs.extend(
                of_group.filter(|&[chosen, rejected]| {
                    self.ties == Ties::First || scores[chosen] > scores[rejected]
                }),
            );
        }
        pairs
    }
}
