//! Measuring a run: the only part of the program that may ask the exact judge.

mod asking;
mod curves;
mod dial;
mod judge;
mod page;
mod results;

use std::path::PathBuf;
use std::time::Instant;

use moslim_eval::stats::mean;

use crate::model_card::rewrite_cards;
use crate::run::{POLICY_FOLDER, read_log};
use crate::stages::{PolicyLogStep, read_policy, read_reward, read_start, with_fitting_held_out};
use crate::{Datasets, Error, PolicyFolder, Run};

pub use judge::{Opinion, agreement, measure_heads, measure_pairs};

pub(crate) use asking::{Asking, as_request, requests};
use asking::{Measured, measure, measure_briefly};
pub(crate) use judge::{Judge, head_reports};

/// A policy to be measured beside the main one.
pub(crate) struct Subject {
    /// Its name in the report.
    pub name: String,
    /// The folder of its run.
    pub folder: PathBuf,
}

/// What was measured of a [`Subject`].
struct Ablation {
    name: String,
    measured: Measured,
    /// Divergence from the start policy at the end of its training, in nats per answer.
    kl: f64,
}

/// The last steps, over which the divergence is averaged.
const LAST_STEPS: usize = 20;

/// Measures everything and writes `report/results.json` and `report/index.html`.
pub(crate) fn write_report(run: &Run, datasets: &Datasets, ablations: Vec<Subject>) -> Result<(), Error> {
    const STAGE: &str = "evaluation";
    let started = Instant::now();
    let judge = Judge::of(run)?;
    let start = read_start(run, &run.device)?;
    let policy = read_policy(run, &run.device)?;
    let datasets = &with_fitting_held_out(run, datasets, &start)?;
    let reward = read_reward(run, &policy)?;
    let mut progress = run.progress.stage(STAGE, 4 + ablations.len());
    let mut done = |what: &str| {
        progress.advance(|| what.to_string());
        run.check_interrupted(STAGE)
    };
    let heads = judge::head_reports(run, datasets, &reward.classifier().models()[0])?;
    let judge_heads = judge.heads(run, datasets)?;
    done("reward model")?;
    let before = measure(run, datasets, &start, &judge, &reward)?;
    done("start policy")?;
    let after = measure(run, datasets, &policy, &judge, &reward)?;
    let dial = dial::dial(run, datasets, &policy, &judge, &after.one)?;
    done("policy")?;
    let curves = curves::Curves::of(run, &judge, &reward)?;
    done("curves")?;
    let ablations: Vec<Ablation> = ablations
        .into_iter()
        .map(|subject| {
            let measured = measure_briefly(
                run,
                datasets,
                &PolicyFolder::read(&subject.folder.join(POLICY_FOLDER), &run.device)?,
                &judge,
                &reward,
            )?;
            done(&subject.name)?;
            let steps: Vec<PolicyLogStep> = read_log(&subject.folder, "policy")?;
            let kl: Vec<f64> = steps.iter().rev().take(LAST_STEPS).map(|step| step.stats.kl).collect();
            Ok(Ablation { name: subject.name, measured, kl: mean(&kl) })
        })
        .collect::<Result<_, Error>>()?;
    run.note_seconds(STAGE, started.elapsed().as_secs_f64())?;
    progress.finish();

    let results = results::Results {
        run,
        datasets,
        judge: &judge,
        heads: &heads,
        judge_heads: judge_heads.as_deref(),
        before: &before,
        after: &after,
        dial: &dial,
        curves: &curves,
        ablations: &ablations,
    };
    let numbers = results.to_json()?;
    let json = serde_json::to_string_pretty(&numbers).expect("results serialize");
    run.write("report/results.json", json.as_bytes())?;
    run.write("report/index.html", page::page(&results)?.as_bytes())?;
    rewrite_cards(run, datasets, &numbers)?;
    run.progress.say(&results.summary());
    run.progress.say(&format!("report: {}", run.report_folder().join("index.html").display()));
    Ok(())
}
