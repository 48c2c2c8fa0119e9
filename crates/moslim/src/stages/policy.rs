//! Policy optimisation.

use burn::module::Module;
use burn::tensor::Device;
use moslim_data::{PreferenceSampler, Prompt, Request};
use moslim_lm::{EpochBatches, LoraConfig, Precision, TokenRng, write_folder, write_text};
use moslim_reward_model::messages;
use moslim_rl::{PolicyPrompt, Reward, RewardError, Rloo, Rollout, StepStats};
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use super::fitting::{LONGEST_ROLLOUT, fitting, fitting_labeled};
use crate::model_card::{CARD, Part, model_card, trains_the_start};
use crate::run::{ADAPTER_FOLDER, Purpose, START_FOLDER};
use crate::{Datasets, Error, MappedReward, ModelRecipe, PolicyFolder, Recipe, Run};

/// A line of the policy's log.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PolicyLogStep {
    /// The step, counted from 1.
    pub step: usize,
    /// Answers sampled so far, this step included.
    pub answers: usize,
    /// The step's numbers.
    #[serde(flatten)]
    pub stats: StepStats,
}

/// Answers of the policy at one moment of its training, to held-out questions.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// Steps done.
    pub step: usize,
    /// Divergence from the start policy on the training prompts of that step, in nats.
    pub kl: f64,
    /// What was asked and answered.
    pub answers: Vec<SnapshotAnswer>,
}

/// One answer of a [`Snapshot`].
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SnapshotAnswer {
    pub question: Prompt,
    pub request: Request,
    pub response: String,
    /// The score that training maximises.
    pub proxy: f64,
}

/// The largest accepted |ratio − 1| of a token at the first mini-batch.
fn ratio_limit(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-4,
        // Roundings of 2⁻⁹, layer upon layer: 0.1 with five layers. A policy that is not the one that wrote is far beyond.
        Precision::Bf16 => 1.0,
    }
}

/// Reads the start policy of a run.
pub(crate) fn read_start(run: &Run, device: &Device) -> Result<PolicyFolder, Error> {
    let path = run.start_folder();
    match path.exists() {
        true => PolicyFolder::read(&path, device),
        false => Err(Error::StageMissing { path, stage: "sft" }),
    }
}

/// Reads the trained policy of a run.
pub(crate) fn read_policy(run: &Run, device: &Device) -> Result<PolicyFolder, Error> {
    let path = run.policy_folder();
    match path.exists() {
        true => PolicyFolder::read(&path, device),
        false => Err(Error::StageMissing { path, stage: "rloo" }),
    }
}

/// Reads the reward of a run.
pub(crate) fn read_reward(run: &Run, policy: &PolicyFolder) -> Result<MappedReward, Error> {
    let path = run.reward_model_folder();
    match path.exists() {
        true => {
            let Recipe { mapping, reward_model, .. } = &run.recipe;
            let tokenizer = policy.lm.tokenizer.clone();
            MappedReward::read(&path, mapping.clone(), tokenizer, reward_model.precision, &run.device)
        }
        false => Err(Error::StageMissing { path, stage: "reward fit" }),
    }
}

/// Trains the policy and writes its folder.
pub(super) fn optimize(run: &Run, datasets: &Datasets) -> Result<(), Error> {
    const STAGE: &str = "policy";
    let recipe = &run.recipe.policy;
    let start = read_start(run, &run.device.clone().autodiff())?;
    let mut reward = read_reward(run, &start)?;
    let sampler = PreferenceSampler::new(recipe.requests.clone(), &datasets.schema)?;
    let mut requests = run.rng(Purpose::Requests);
    let mut shuffle = run.rng(Purpose::Shuffle);
    let train_prompts = fitting_prompts(run, datasets, &start)?;
    let measured = with_fitting_held_out(run, datasets, &start)?;
    let order =
        EpochBatches::new(train_prompts.len(), recipe.prompts_per_step, run.seed(Purpose::PromptOrder));
    let rollout_seed = run.seed(Purpose::Rollouts);

    let stops = start.lm.stops();
    if recipe.unasked_coef > 0.0 {
        hold_unasked(run, datasets, &start, &mut reward)?;
    }
    let policy = run.with_adapter(start.lm.model.clone(), 0)?;
    let mut rloo = Rloo::new(recipe.rloo.clone(), policy, stops, recipe.max_steps);
    let mut log = run.log("policy")?;
    let mut snapshots = run.log("snapshots")?;
    snapshots.push(&snapshot(run, &measured, &start, &rloo, &reward, 0, 0.0)?)?;
    let mut progress = run.progress.stage(STAGE, recipe.max_steps);
    let mut n_answers = 0;
    for (index, rows) in order.take(recipe.max_steps).enumerate() {
        run.check_interrupted(STAGE)?;
        let step = index + 1;
        let prompts: Vec<PolicyPrompt> = rows
            .iter()
            .map(|&row| policy_prompt(&start, train_prompts[row], sampler.sample(&mut requests)))
            .collect::<Result<_, _>>()?;
        let rng = TokenRng::new(rollout_seed, step as u64);
        let stats = match recipe.shuffle_requests {
            false => rloo.step(&prompts, &mut reward, &rng)?,
            true => {
                rloo.step(&prompts, &mut ShuffledRequests { inner: &mut reward, rng: &mut shuffle }, &rng)?
            }
        };
        if step == 1 {
            run.progress.say(&format!("first-minibatch ratio: |ratio - 1| = {:.1e}", stats.ratio_error));
            let limit = ratio_limit(recipe.rloo.precision);
            if stats.ratio_error > limit {
                return Err(Error::FirstMinibatchRatio { found: stats.ratio_error, limit });
            }
        }
        if !stats.grad_norm.is_finite() {
            return Err(Error::Diverged { stage: STAGE, step });
        }
        n_answers += stats.n_answers;
        let StepStats { score, kl, mean_length, .. } = stats;
        log.push(&PolicyLogStep { step, answers: n_answers, stats })?;
        if step % recipe.eval_steps == 0 || step == recipe.max_steps {
            snapshots.push(&snapshot(run, &measured, &start, &rloo, &reward, step, kl)?)?;
        }
        progress.advance(|| format!("score {score:.3} kl {kl:.2} length {mean_length:.0}"));
    }
    progress.finish();
    let policy = rloo.policy().valid();
    if let Some(lora) = &run.recipe.lora {
        let card = model_card(run, datasets, Part::Adapter, None)?;
        let config = LoraConfig { base_model_name_or_path: Some(base_of_adapter(run)), ..lora.config() };
        write_folder(&run.folder.join(ADAPTER_FOLDER), |unfinished| {
            config.write_adapter_into(unfinished, &policy)?;
            write_text(&unfinished.join(CARD), &card)
        })?;
    }
    let card = model_card(run, datasets, Part::Policy, None)?;
    start.with_model(policy.merged()).write(&run.policy_folder(), &card)
}

/// Where the base of the run's adapter is: what the recipe names, if that is what the policy started from.
pub(super) fn base_of_adapter(run: &Run) -> String {
    match &run.recipe.model {
        ModelRecipe::Folder { path, .. } if !trains_the_start(&run.recipe) => path.display().to_string(),
        _ => format!("../{START_FOLDER}"),
    }
}

/// The prompts of training that leave room for the longest answer, also if they ask for everything.
fn fitting_prompts<'a>(
    run: &Run,
    datasets: &'a Datasets,
    start: &PolicyFolder,
) -> Result<Vec<&'a Prompt>, Error> {
    let rollouts = longest_rollouts(run, &datasets.train_prompts, start)?;
    let fitting = fitting(run, &start.lm.config, LONGEST_ROLLOUT, rollouts, |(_, length)| *length)?;
    Ok(fitting.into_iter().map(|(prompt, _)| prompt).collect())
}

/// The prompts with their length when they ask for everything and get the longest answer.
fn longest_rollouts<'a>(
    run: &Run,
    prompts: &'a [Prompt],
    policy: &PolicyFolder,
) -> Result<Vec<(&'a Prompt, usize)>, Error> {
    let highest = policy.schema.n_levels().into_iter().map(|n| Some((n - 1) as f64));
    let request = Request { levels: highest.collect() };
    let longest_answer = run.recipe.policy.rloo.sampling.max_new_tokens;
    prompts
        .iter()
        .map(|prompt| Ok((prompt, policy.encode(prompt, &request)?.len() + longest_answer)))
        .collect()
}

/// The data without the held-out answers and prompts that are longer than the recipe allows; nothing is measured on them.
///
/// # Errors
/// If one is longer than the model was made for, or none is left.
pub(crate) fn with_fitting_held_out(
    run: &Run,
    datasets: &Datasets,
    policy: &PolicyFolder,
) -> Result<Datasets, Error> {
    let lm = &policy.lm;
    let held_out = fitting_labeled(run, &lm.config, &lm.tokenizer, &datasets.held_out)?;
    let rollouts = longest_rollouts(run, &datasets.held_out_prompts, policy)?;
    let rollouts = fitting(run, &lm.config, LONGEST_ROLLOUT_HELD_OUT, rollouts, |(_, length)| *length)?;
    Ok(Datasets {
        held_out,
        held_out_prompts: rollouts.into_iter().map(|(prompt, _)| prompt.clone()).collect(),
        ..datasets.clone()
    })
}

/// What [`fitting`] calls a rollout of the evaluation.
const LONGEST_ROLLOUT_HELD_OUT: &str = "answer of max_new_tokens to held-out prompt";

/// Lets the reward hold the levels that a request leaves open where the start policy has them.
fn hold_unasked(
    run: &Run,
    datasets: &Datasets,
    start: &PolicyFolder,
    reward: &mut MappedReward,
) -> Result<(), Error> {
    const ANSWERS: usize = 512;
    let recipe = &run.recipe.policy;
    let free = Request::free(&datasets.schema);
    let questions: Vec<(&Prompt, &Request)> =
        datasets.train_prompts.iter().cycle().take(ANSWERS).map(|question| (question, &free)).collect();
    let rng = TokenRng::new(run.seed(Purpose::OrdinaryAnswers), 0);
    let answers = start.with_model(start.lm.model.valid()).answer(&questions, &recipe.rloo.sampling, &rng)?;
    let ordinary: Vec<(&Prompt, &str)> =
        questions.iter().zip(&answers).map(|((question, _), (text, _))| (*question, text.as_str())).collect();
    reward.hold_unasked(recipe.unasked_coef, &ordinary)
}

/// A prompt of policy optimisation from a question and a request.
fn policy_prompt(policy: &PolicyFolder, prompt: &Prompt, request: Request) -> Result<PolicyPrompt, Error> {
    Ok(PolicyPrompt {
        prompt: prompt.clone(),
        tokens: policy.encode(prompt, &request)?,
        plain_tokens: policy.lm.tokenizer.encode_chat(&messages(prompt))?,
        request,
    })
}

/// Answers to held-out questions, each asking for one objective; the same questions and requests every time.
fn snapshot(
    run: &Run,
    datasets: &Datasets,
    start: &PolicyFolder,
    rloo: &Rloo,
    reward: &MappedReward,
    step: usize,
    kl: f64,
) -> Result<Snapshot, Error> {
    let recipe = &run.recipe.policy;
    let mut rng = run.rng(Purpose::Snapshots);
    let one = moslim_data::RequestMix { one: 1.0, ..moslim_data::RequestMix::default() };
    let sampler = PreferenceSampler::new(one, &datasets.schema)?;
    let questions = datasets.held_out_prompts.iter().cycle().take(recipe.eval_answers);
    let asked: Vec<(&Prompt, Request)> =
        questions.map(|question| (question, sampler.sample(&mut rng))).collect();
    let now = start.with_model(rloo.policy().valid());
    let pairs: Vec<(&Prompt, &Request)> =
        asked.iter().map(|(question, request)| (*question, request)).collect();
    let rng = TokenRng::new(run.seed(Purpose::Snapshots), step as u64);
    let answers = now.answer(&pairs, &recipe.rloo.sampling, &rng)?;
    let exchanges: Vec<(&Prompt, &str)> =
        pairs.iter().zip(&answers).map(|((question, _), (text, _))| (*question, text.as_str())).collect();
    let requests: Vec<&Request> = pairs.iter().map(|(_, request)| *request).collect();
    let proxies = reward.score_texts(&exchanges, &requests)?;
    let answers = asked
        .iter()
        .zip(answers.iter().zip(proxies))
        .map(|((question, request), ((response, _), proxy))| SnapshotAnswer {
            question: (*question).clone(),
            request: request.clone(),
            response: response.clone(),
            proxy,
        })
        .collect();
    Ok(Snapshot { step, kl, answers })
}

/// A reward that is shown the request of another prompt.
struct ShuffledRequests<'a> {
    inner: &'a mut MappedReward,
    rng: &'a mut ChaCha8Rng,
}

impl Reward for ShuffledRequests<'_> {
    fn score(&mut self, prompts: &[PolicyPrompt], rollout: &Rollout) -> Result<Vec<f64>, RewardError> {
        let mut requests: Vec<Request> = prompts.iter().map(|prompt| prompt.request.clone()).collect();
        requests.shuffle(self.rng);
        let prompts: Vec<PolicyPrompt> = prompts
            .iter()
            .zip(requests)
            .map(|(prompt, request)| PolicyPrompt { request, ..prompt.clone() })
            .collect();
        self.inner.score(&prompts, rollout)
    }
}
