//! Asking a policy for levels on held-out questions, and judging what it answers.

use moslim_data::{Level, Prompt, Request};
use moslim_eval::classification::most_probable;
use moslim_eval::controllability::{Judged, ObjectiveControl, controllability, cross_talk};
use moslim_eval::stats::mean;
use moslim_lm::{SamplingParams, TokenRng};
use rand::{Rng, RngExt};

use super::judge::Judge;
use crate::run::Purpose;
use crate::{Datasets, Error, MappedReward, PolicyFolder, Run};

/// What a set of prompts asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asking {
    /// One objective at a time, each once per question.
    One,
    /// All objectives together.
    All,
}

/// One answer with everything the report needs of it.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub question: String,
    pub request: Request,
    pub response: String,
    pub achieved: Vec<Level>,
}

/// How a policy answers in one way of asking.
pub(super) struct Control {
    /// By the judge.
    pub judged: Vec<ObjectiveControl>,
    /// By the reward model that the policy was trained on.
    pub proxy: Vec<ObjectiveControl>,
    /// Scaled slopes by the judge.
    pub cross_talk: Vec<Vec<Option<f64>>>,
    /// The first answers.
    pub samples: Vec<Sample>,
}

/// How a policy answers in all ways of asking.
pub(super) struct Measured {
    /// One objective asked, temperature of training.
    pub one: Control,
    /// All asked.
    pub all: Control,
    /// One and all asked, most probable tokens.
    pub greedy: Option<(Control, Control)>,
    /// Mean level of every objective by the judge, and mean length in tokens, on questions without a request.
    pub plain: Plain,
}

/// Answers to questions without a request.
pub(super) struct Plain {
    pub mean_levels: Vec<f64>,
    pub mean_length: f64,
    pub n_answers: usize,
    pub samples: Vec<Sample>,
}

/// Answers shown in the report, per way of asking.
const N_SAMPLES: usize = 6;

/// Answers to every question without a request; the start policy's levels vary, so one is too few.
const PLAIN_ANSWERS: usize = 4;

/// Measures a policy in all ways.
pub(super) fn measure(
    run: &Run,
    datasets: &Datasets,
    policy: &PolicyFolder,
    judge: &Judge,
    reward: &MappedReward,
) -> Result<Measured, Error> {
    let brief = measure_briefly(run, datasets, policy, judge, reward)?;
    let greedy = SamplingParams { temperature: 0.0, ..run.recipe.policy.training.sampling };
    let ask = |asking| control(run, datasets, policy, judge, reward, asking, &greedy);
    Ok(Measured { greedy: Some((ask(Asking::One)?, ask(Asking::All)?)), ..brief })
}

/// Measures a policy without its greedy answers.
pub(super) fn measure_briefly(
    run: &Run,
    datasets: &Datasets,
    policy: &PolicyFolder,
    judge: &Judge,
    reward: &MappedReward,
) -> Result<Measured, Error> {
    let sampled = run.recipe.policy.training.sampling;
    let ask = |asking| control(run, datasets, policy, judge, reward, asking, &sampled);
    Ok(Measured {
        one: ask(Asking::One)?,
        all: ask(Asking::All)?,
        greedy: None,
        plain: plain(run, datasets, policy, judge, &sampled)?,
    })
}

/// The requests of a way of asking, the same for every policy: question number and levels.
pub(crate) fn requests(
    datasets: &Datasets,
    asking: Asking,
    rng: &mut impl Rng,
) -> Vec<(usize, Vec<Option<Level>>)> {
    let n_levels = datasets.schema.n_levels();
    let n_objectives = n_levels.len();
    let mut requests = Vec::new();
    for question in 0..datasets.held_out_prompts.len() {
        let levels: Vec<Level> = n_levels.iter().map(|&n| rng.random_range(0..n)).collect();
        match asking {
            Asking::All => requests.push((question, levels.into_iter().map(Some).collect())),
            Asking::One => requests.extend((0..n_objectives).map(|asked| {
                let only = |objective: usize| (objective == asked).then(|| levels[objective]);
                (question, (0..n_objectives).map(only).collect())
            })),
        }
    }
    requests
}

/// The request for levels.
pub(crate) fn as_request(levels: &[Option<Level>]) -> Request {
    Request { levels: levels.iter().map(|level| level.map(|level| level as f64)).collect() }
}

fn control(
    run: &Run,
    datasets: &Datasets,
    policy: &PolicyFolder,
    judge: &Judge,
    reward: &MappedReward,
    asking: Asking,
    params: &SamplingParams,
) -> Result<Control, Error> {
    let asked = requests(datasets, asking, &mut run.rng(Purpose::Evaluation));
    let requests: Vec<Request> = asked.iter().map(|(_, levels)| as_request(levels)).collect();
    let questions: Vec<&Prompt> =
        asked.iter().map(|(number, _)| &datasets.held_out_prompts[*number]).collect();
    let rng = TokenRng::new(run.seed(Purpose::Evaluation), asking as u64);
    let responses = answer(policy, &questions, &requests, params, &rng)?.0;
    let texts: Vec<(&Prompt, &str)> =
        questions.iter().copied().zip(responses.iter().map(String::as_str)).collect();

    let levels = judge.levels(&texts)?;
    let probabilities = reward.classify(&texts)?;
    let by_reward_model =
        probabilities.iter().map(|heads| heads.0.iter().map(|head| most_probable(head)).collect());
    let judged = |levels: &mut dyn Iterator<Item = Vec<Level>>| -> Vec<Judged> {
        let pairs = asked.iter().zip(levels);
        pairs
            .map(|((prompt, asked), achieved)| Judged { prompt: *prompt, asked: asked.clone(), achieved })
            .collect()
    };
    let by_judge = judged(&mut levels.iter().cloned());
    let by_reward_model = judged(&mut { by_reward_model });
    let resamples = run.recipe.evaluation.resamples;
    let measure = |judged: &[Judged]| {
        controllability(judged, &datasets.schema, resamples, &mut run.rng(Purpose::Bootstrap))
    };
    let samples = (0..asked.len().min(N_SAMPLES)).map(|row| Sample {
        question: questions[row].to_string(),
        request: requests[row].clone(),
        response: responses[row].clone(),
        achieved: levels[row].clone(),
    });
    Ok(Control {
        judged: measure(&by_judge),
        proxy: measure(&by_reward_model),
        cross_talk: cross_talk(&by_judge, &datasets.schema),
        samples: samples.collect(),
    })
}

fn plain(
    run: &Run,
    datasets: &Datasets,
    policy: &PolicyFolder,
    judge: &Judge,
    params: &SamplingParams,
) -> Result<Plain, Error> {
    let questions: Vec<&Prompt> =
        datasets.held_out_prompts.iter().flat_map(|question| [question; PLAIN_ANSWERS]).collect();
    let free = Request::free(&datasets.schema);
    let requests = vec![free; questions.len()];
    let rng = TokenRng::new(run.seed(Purpose::Evaluation), 2);
    let (responses, lengths) = answer(policy, &questions, &requests, params, &rng)?;
    let texts: Vec<(&Prompt, &str)> =
        questions.iter().copied().zip(responses.iter().map(String::as_str)).collect();
    let levels = judge.levels(&texts)?;
    let mean_level =
        |objective: usize| mean(&levels.iter().map(|levels| levels[objective] as f64).collect::<Vec<_>>());
    let samples = (0..questions.len()).step_by(PLAIN_ANSWERS).take(N_SAMPLES).map(|row| Sample {
        question: questions[row].to_string(),
        request: requests[row].clone(),
        response: responses[row].clone(),
        achieved: levels[row].clone(),
    });
    Ok(Plain {
        mean_levels: (0..datasets.schema.len()).map(mean_level).collect(),
        mean_length: mean(&lengths),
        n_answers: questions.len(),
        samples: samples.collect(),
    })
}

/// The answers as text, and their lengths in tokens.
pub(super) fn answer(
    policy: &PolicyFolder,
    questions: &[&Prompt],
    requests: &[Request],
    params: &SamplingParams,
    rng: &TokenRng,
) -> Result<(Vec<String>, Vec<f64>), Error> {
    let pairs: Vec<(&Prompt, &Request)> = questions.iter().copied().zip(requests).collect();
    let answers = policy.answer(&pairs, params, rng)?;
    Ok(answers.into_iter().map(|(text, length)| (text, length as f64)).unzip())
}
