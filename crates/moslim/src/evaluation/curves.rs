//! How scores moved while the policy was trained: by the reward model and by the judge.

use moslim_data::Prompt;
use moslim_eval::overoptimization::{Point, parting_point};
use moslim_eval::stats::mean;
use moslim_reward_mapping::ClassProbabilities;
use moslim_reward_model::Judgement;

use super::judge::Judge;
use crate::run::read_log;
use crate::stages::{PolicyLogStep, Snapshot};
use crate::{Error, MappedReward, Run};

/// The curves of a run.
pub(super) struct Curves {
    /// Every step of policy optimisation.
    pub steps: Vec<PolicyLogStep>,
    /// Steps at which answers were kept.
    pub snapshot_steps: Vec<usize>,
    /// Divergence and mean scores at those steps.
    pub points: Vec<Point>,
    /// The first of those from which on the two scores part.
    pub parted: Option<usize>,
}

impl Curves {
    /// Judges the answers that were kept during training.
    ///
    /// The judge's score is the mapping applied to classes that are certain.
    pub(super) fn of(run: &Run, judge: &Judge, reward: &MappedReward) -> Result<Self, Error> {
        let snapshots: Vec<Snapshot> = read_log(&run.folder, "snapshots")?;
        let mut points = Vec::new();
        for snapshot in &snapshots {
            let texts: Vec<(&Prompt, &str)> =
                snapshot.answers.iter().map(|answer| (&answer.question, answer.response.as_str())).collect();
            let levels = judge.levels(&texts)?;
            let n_levels = reward.n_levels();
            let gold: Vec<f64> = levels
                .iter()
                .zip(&snapshot.answers)
                .map(|(levels, answer)| {
                    let certain = levels.iter().zip(&n_levels).map(|(&level, &n)| {
                        (0..n).map(|class| f64::from(u8::from(class == level))).collect()
                    });
                    let certain = ClassProbabilities(certain.collect());
                    // A judge that is certain has one opinion.
                    let opinions = vec![certain.clone()];
                    reward.map(&Judgement { probabilities: certain, opinions }, &answer.request)
                })
                .collect::<Result<_, _>>()?;
            let proxy: Vec<f64> = snapshot.answers.iter().map(|answer| answer.proxy).collect();
            points.push(Point { kl: snapshot.kl, gold: mean(&gold), proxy: mean(&proxy) });
        }
        Ok(Self {
            steps: read_log(&run.folder, "policy")?,
            snapshot_steps: snapshots.iter().map(|snapshot| snapshot.step).collect(),
            parted: parting_point(&points),
            points,
        })
    }
}
