//! How scores moved while the policy was trained: by the reward model and by the judge.

use moslim_data::{Prompt, Request};
use moslim_eval::overoptimization::{Point, parting_point};
use moslim_eval::stats::mean;

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
            let requests: Vec<&Request> = snapshot.answers.iter().map(|answer| &answer.request).collect();
            let gold = judge.scores(reward, &texts, &requests)?;
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
