//! Every number of a run as JSON, and the conclusion in words.
//!
//! Names are stable; later versions only add to them.

use moslim_data::Objective;
use moslim_eval::classification::HeadReport;
use moslim_eval::controllability::ObjectiveControl;
use moslim_eval::dial::DialPoint;
use moslim_eval::overoptimization::{FittedLaw, Law, Point};
use moslim_rl::PhaseSeconds;
use serde_json::{Map, Value, json};

use super::Ablation;
use super::asking::{Control, Measured};
use super::curves::Curves;
use super::judge::Judge;
use crate::{Datasets, Error, Run};

/// What was measured, in one place.
pub(super) struct Results<'a> {
    pub run: &'a Run,
    pub datasets: &'a Datasets,
    pub judge: &'a Judge,
    pub heads: &'a [HeadReport],
    /// Of a judge that is a reward model.
    pub judge_heads: Option<&'a [HeadReport]>,
    pub before: &'a Measured,
    pub after: &'a Measured,
    /// By objective and position, of the trained policy.
    pub dial: &'a [Vec<DialPoint>],
    pub curves: &'a Curves,
    pub ablations: &'a [Ablation],
}

impl Results<'_> {
    /// The objectives.
    pub(super) fn objectives(&self) -> &[Objective] {
        self.datasets.schema.objectives()
    }

    /// All results; everything under `seconds` and `phase_seconds` is time, the rest is the same for the same seed.
    pub(super) fn to_json(&self) -> Result<Value, Error> {
        let greedy = |measured: &Measured, all: bool| match &measured.greedy {
            Some((one, together)) => self.control(if all { together } else { one }, None, &[]),
            None => Value::Null,
        };
        let ablations: Map<String, Value> = self
            .ablations
            .iter()
            .map(|Ablation { name, measured, kl }| {
                let value = json!({
                    "one_asked": self.control(&measured.one, Some("mean_level_unasked"), &measured.plain.mean_levels),
                    "all_asked": self.control(&measured.all, None, &[]),
                    "cross_talk": measured.one.cross_talk,
                    "kl": kl,
                });
                (name.clone(), value)
            })
            .collect();
        let ratio_error = self.curves.steps.first().map(|step| step.stats.ratio_error);
        Ok(json!({
            "seed": self.run.recipe.seed,
            "judge": self.judge.name(),
            "level_unit": "position from 0",
            "objectives": self.datasets.schema,
            "reward_model": self.by_objective(|index| json!(self.heads[index])),
            "judge_model": self.judge_heads.map(|heads| self.by_objective(|index| json!(heads[index]))),
            "start": self.control(&self.before.one, Some("mean_level"), &self.before.plain.mean_levels),
            "start_all_asked": self.control(&self.before.all, None, &[]),
            "policy": self.control(&self.after.one, Some("mean_level_unasked"), &self.after.plain.mean_levels),
            "policy_all_asked": self.control(&self.after.all, None, &[]),
            "policy_greedy": greedy(self.after, false),
            "policy_all_asked_greedy": greedy(self.after, true),
            "policy_proxy": self.by_objective(|index| json!(self.after.one.proxy[index])),
            "policy_all_asked_proxy": self.by_objective(|index| json!(self.after.all.proxy[index])),
            "cross_talk": self.after.one.cross_talk,
            "dial": self.by_objective(|index| json!(self.dial[index])),
            "plain": self.plain(),
            "curve": self.curve(),
            "ablations": ablations,
            "checks": {
                "first_minibatch_ratio_error": ratio_error,
                "skipped": self.run.recipe.policy.skip_checks,
            },
            "answers_sampled": self.curves.steps.last().map(|step| step.episode),
            "seconds": self.run.seconds()?,
            "phase_seconds": self.phase_seconds(),
        }))
    }

    fn by_objective(&self, value: impl Fn(usize) -> Value) -> Value {
        let objectives = self.objectives().iter().enumerate();
        objectives
            .map(|(index, objective)| (objective.name.clone(), value(index)))
            .collect::<Map<_, _>>()
            .into()
    }

    /// The measures of every objective, with its mean level on questions without a request under a name of its own.
    fn control(&self, control: &Control, plain_name: Option<&str>, plain: &[f64]) -> Value {
        self.by_objective(|index| {
            let mut value = json!(control.judged[index]);
            // Where the objective was left free although another was asked for.
            value["mean_level_others_asked"] = value["mean_level_unasked"].take();
            value.as_object_mut().expect("a struct is an object").remove("mean_level_unasked");
            if let Some(name) = plain_name {
                value[name] = plain[index].into();
            }
            value
        })
    }

    fn plain(&self) -> Value {
        let side = |measured: &Measured| {
            json!({
                "mean_level": self.by_objective(|index| measured.plain.mean_levels[index].into()),
                "mean_length": measured.plain.mean_length,
                "n_answers": measured.plain.n_answers,
            })
        };
        let change = self.by_objective(|index| self.plain_change(index).into());
        json!({ "start": side(self.before), "policy": side(self.after), "relative_change": change })
    }

    /// How far the level of an ordinary answer has moved, relative to the start policy's.
    pub(super) fn plain_change(&self, objective: usize) -> f64 {
        let (before, after) =
            (self.before.plain.mean_levels[objective], self.after.plain.mean_levels[objective]);
        (after - before) / before
    }

    fn curve(&self) -> Value {
        let points = self.curves.points.iter().zip(&self.curves.snapshot_steps);
        let points: Vec<Value> = points
            .map(|(point, step)| json!({ "step": step, "kl": point.kl, "proxy": point.proxy, "gold": point.gold }))
            .collect();
        let fit = |score: fn(&Point) -> f64| {
            Law::Rl.fit(&self.curves.points, score).map(|law| {
                let peak = law.peak().map(|(distance, score)| json!({ "distance": distance, "gain": score }));
                json!({ "law": law.law, "alpha": law.alpha, "beta": law.beta, "peak": peak })
            })
        };
        json!({
            "points": points,
            "parted_at_step": self.parted_at_step(),
            "fit": { "gold": fit(|point| point.gold), "proxy": fit(|point| point.proxy) },
        })
    }

    /// What the curve of the judge's score says of stopping, as far as it has the form of its law.
    pub(super) fn early_stop_hint(&self) -> Option<String> {
        let points = &self.curves.points;
        // Who gained nothing has no curve to read from.
        let law = Law::Rl.fit(points, |point| point.gold).filter(|law| law.alpha > 0.0)?;
        let furthest = points.iter().map(Point::distance).fold(0.0, f64::max);
        let FittedLaw { alpha, beta, .. } = law;
        let judge = self.judge.name();
        let hint = match law.peak() {
            None => format!(
                "it rises for ever, so nothing speaks for stopping before {furthest:.2}, where the run ended."
            ),
            Some((peak, _)) if peak < furthest => {
                format!(
                    "its peak is at {peak:.2}, and the run went to {furthest:.2}: stop earlier, or hold the policy closer."
                )
            }
            Some((peak, _)) => {
                format!("its peak is at {peak:.2}, and the run ended at {furthest:.2}: there is room.")
            }
        };
        Some(format!(
            "Fitted to the gain by {judge} over the distance d, d (α − β ln d) has α = {alpha:.3} and β = {beta:.3} (Gao et al. 2023): {hint}"
        ))
    }

    /// The step from which on proxy and judge part.
    pub(super) fn parted_at_step(&self) -> Option<usize> {
        self.curves.parted.map(|index| self.curves.snapshot_steps[index])
    }

    /// Where the time of policy optimisation went.
    pub(super) fn phase_seconds(&self) -> PhaseSeconds {
        let mut sum = PhaseSeconds::default();
        self.curves.steps.iter().for_each(|step| sum += step.stats.seconds);
        sum
    }

    /// The conclusion, from the numbers alone.
    pub(super) fn summary(&self) -> String {
        let measure = |controls: &[ObjectiveControl]| {
            let one = |(objective, control): (&Objective, &ObjectiveControl)| {
                let found = &control.measures;
                // Levels that are all the same have no rank correlation.
                let spearman = match found.spearman.is_finite() {
                    true => format!("{:.2}", found.spearman),
                    false => "–".into(),
                };
                format!("{} {spearman} ({:.0} % exact)", objective.name, 100.0 * found.exact)
            };
            self.objectives().iter().zip(controls).map(one).collect::<Vec<_>>().join(", ")
        };
        format!(
            "Spearman correlation between the level asked for and the level achieved by the judgement of {}, on held-out \
             questions at temperature {}, one objective asked at a time: {}; all asked together: {}; \
             before policy optimisation: {}.",
            self.judge.name(),
            self.run.recipe.policy.training.sampling.temperature,
            measure(&self.after.one.judged),
            measure(&self.after.all.judged),
            measure(&self.before.one.judged),
        )
    }
}
