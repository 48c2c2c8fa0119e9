//! What a person can watch: numbers of every step, and some answers with every term of their reward.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use moslim_data::{Prompt, Request};
use moslim_rl::{Step, StepStats};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::monitor::{Warning, repeated_ngrams};
use crate::run::{JsonLines, read_log};
use crate::tensorboard::EventFile;
use crate::{Error, PolicyFolder, Run};

/// A line of the policy's log.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PolicyLogStep {
    /// The step, counted from 1.
    pub step: usize,
    /// Answers sampled so far, this step included.
    pub episode: usize,
    /// When it was done, in seconds since 1970 by the clock on the wall.
    pub time: f64,
    /// The step's numbers.
    #[serde(flatten)]
    pub stats: StepStats,
}

/// An answer of a step with every term of its reward.
#[derive(Debug, Serialize)]
struct Completion<'a> {
    step: usize,
    question: &'a Prompt,
    request: &'a Request,
    response: String,
    /// Whether it ended by itself.
    finished: bool,
    /// What every asked objective adds to the score, and the level it finds.
    terms: BTreeMap<&'a str, Term>,
    /// What is subtracted for objectives that are left open.
    #[serde(skip_serializing_if = "Option::is_none")]
    unasked_penalty: Option<f64>,
    /// What the reward says.
    score: f64,
    /// What became of it after missing ends and outliers.
    final_score: f64,
    /// Divergence from the reference, by K1, in nats.
    kl: f64,
}

#[derive(Debug, Serialize)]
struct Term {
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    level: f64,
}

/// The logs of policy optimisation in `metrics/`, and where they stood at a checkpoint.
pub(super) struct Logs {
    steps: JsonLines,
    pub snapshots: JsonLines,
    completions: JsonLines,
    warnings: JsonLines,
    events: EventFile,
}

/// Lines of each log.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LogLines {
    steps: usize,
    pub snapshots: usize,
    completions: usize,
    warnings: usize,
}

/// Answers kept of a step.
const KEPT_COMPLETIONS: usize = 4;

/// The folder of TensorBoard's events.
const EVENTS: &str = "metrics/tensorboard";

/// Tokens of a repeated phrase.
const PHRASE: usize = 4;

impl Logs {
    /// Opens the logs behind these lines; what an earlier try wrote after them is dropped.
    pub(super) fn open(run: &Run, lines: LogLines) -> Result<Self, Error> {
        let steps = run.continued_log("policy", lines.steps)?;
        let folder = run.folder.join(EVENTS);
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let before: Vec<PolicyLogStep> = read_log(&run.folder, "policy")?;
        let scalars = before.iter().map(|line| (line.step as i64, line.time, scalars(line)));
        let mut events = EventFile::rewrite(&folder, scalars).map_err(Error::io(&folder))?;
        let completions = run.continued_log("completions", lines.completions)?;
        for text in read_log::<Value>(&run.folder, "completions")? {
            let step = text["step"].as_i64().unwrap_or_default();
            let time = before.iter().find(|line| line.step as i64 == step).map_or(0.0, |line| line.time);
            let text = as_markdown(&text);
            events.push_texts(step, time, &[(TEXTS, text.as_str())]).map_err(Error::io(&folder))?;
        }
        Ok(Self {
            steps,
            snapshots: run.continued_log("snapshots", lines.snapshots)?,
            completions,
            warnings: run.continued_log("warnings", lines.warnings)?,
            events,
        })
    }

    /// Where the logs stand, once what they hold is on the disk.
    pub(super) fn lines(&self) -> Result<LogLines, Error> {
        let Self { steps, snapshots, completions, warnings, .. } = self;
        [steps, snapshots, completions, warnings].into_iter().try_for_each(JsonLines::sync)?;
        Ok(LogLines {
            steps: steps.n_lines(),
            snapshots: snapshots.n_lines(),
            completions: completions.n_lines(),
            warnings: warnings.n_lines(),
        })
    }

    /// Notes a step's numbers.
    pub(super) fn step(&mut self, step: usize, episode: usize, stats: StepStats) -> Result<(), Error> {
        let time = now();
        let line = PolicyLogStep { step, episode, time, stats };
        self.steps.push(&line)?;
        let scalars = scalars(&line);
        let scalars: Vec<(&str, f32)> = scalars.iter().map(|(name, value)| (name.as_str(), *value)).collect();
        self.events.push(step as i64, time, &scalars).map_err(Error::io(EVENTS))
    }

    /// Notes some of a step's answers.
    pub(super) fn completions(
        &mut self,
        policy: &PolicyFolder,
        number: usize,
        step: &Step,
    ) -> Result<(), Error> {
        let Step { prompts, rollout, scores, final_scores, kl, .. } = step;
        // The first answers to different prompts.
        for (index, prompt) in prompts.iter().enumerate().take(KEPT_COMPLETIONS) {
            let row = index * rollout.n_samples;
            let answer = &rollout.answers[row];
            let terms = scores.objectives.iter().map(|objective| {
                let term = Term { score: objective.scores[row], level: objective.levels[row] };
                (objective.objective.as_str(), term)
            });
            let completion = Completion {
                step: number,
                question: &prompt.prompt,
                request: &prompt.request,
                response: policy.lm.tokenizer.decode(&answer.tokens)?,
                finished: answer.finished,
                terms: terms.collect(),
                unasked_penalty: scores.penalties.get(row).copied(),
                score: scores.values[row],
                final_score: final_scores[row],
                kl: kl[row],
            };
            self.completions.push(&completion)?;
            let text = as_markdown(&serde_json::to_value(&completion).unwrap_or_default());
            self.events
                .push_texts(number as i64, now(), &[(TEXTS, text.as_str())])
                .map_err(Error::io(EVENTS))?;
        }
        Ok(())
    }

    /// Notes a sign of trouble.
    pub(super) fn warning(&mut self, warning: &Warning) -> Result<(), Error> {
        self.warnings.push(warning)
    }
}

/// What TensorBoard calls the kept answers.
const TEXTS: &str = "completions/sample";

/// The clock on the wall, in seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}

/// A kept answer, a field per paragraph.
fn as_markdown(completion: &Value) -> String {
    let fields = completion.as_object().into_iter().flatten();
    fields.map(|(name, value)| format!("**{name}** {value}\n\n")).collect()
}

/// The numbers of a line for TensorBoard.
fn scalars(line: &PolicyLogStep) -> Vec<(String, f32)> {
    let Ok(Value::Object(fields)) = serde_json::to_value(line) else { return vec![] };
    let numbers = fields.into_iter().filter(|(name, _)| name != "step" && name != "time");
    numbers.filter_map(|(name, value)| Some((name, value.as_f64()? as f32))).collect()
}

/// The mean share of repeated phrases in a step's answers.
pub(super) fn repeated_phrases(step: &Step) -> f64 {
    let answers = &step.rollout.answers;
    let sum: f64 = answers.iter().map(|answer| repeated_ngrams(&answer.tokens, PHRASE)).sum();
    sum / answers.len().max(1) as f64
}
