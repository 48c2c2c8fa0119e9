//! What policy optimisation begins with: start policy, reward, and what they know of ordinary answers.

use burn::module::Module;
use burn::tensor::Device;
use moslim_data::{Prompt, Request};
use moslim_lm::{Decoder, TokenRng};
use moslim_reward_model::RewardModelFolder;
use moslim_rl::{Algorithm, PpoConfig, ValueModel};

use crate::run::Purpose;
use crate::{Datasets, Error, MappedReward, PolicyFolder, Recipe, Run};

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
        false => Err(Error::StageMissing { path, stage: run.recipe.policy.algorithm().name() }),
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

/// The layers of the reward model, with gradients and in 32 bits, if a value model starts from them and they read the policy's tokens.
pub(crate) fn reward_trunk(run: &Run, start: &PolicyFolder) -> Result<Option<Decoder>, Error> {
    match run.recipe.policy.algorithm() {
        Algorithm::Ppo(PpoConfig { value_model: ValueModel::RewardModel, .. }) => {
            let folder = RewardModelFolder::read(&run.reward_model_folder(), &run.device)?;
            let same = folder.tokenizer.has_vocabulary_of(&start.lm.tokenizer);
            Ok(same.then(|| folder.model.decoder().clone().train()))
        }
        _ => Ok(None),
    }
}

/// Answers of the start policy to ordinary questions that say where it has the levels that a request leaves open.
pub(crate) const ORDINARY_ANSWERS: usize = 512;

/// Lets the reward hold the levels that a request leaves open where the start policy has them.
pub(crate) fn hold_unasked(
    run: &Run,
    datasets: &Datasets,
    start: &PolicyFolder,
    reward: &mut MappedReward,
) -> Result<(), Error> {
    let recipe = &run.recipe.policy;
    let free = Request::free(&datasets.schema);
    let questions: Vec<(&Prompt, &Request)> = datasets
        .train_prompts
        .iter()
        .cycle()
        .take(ORDINARY_ANSWERS)
        .map(|question| (question, &free))
        .collect();
    let rng = TokenRng::new(run.seed(Purpose::OrdinaryAnswers), 0);
    let sampling = &recipe.training.sampling;
    let answers = start.with_model(start.lm.model.valid()).answer(&questions, sampling, &rng)?;
    let ordinary: Vec<(&Prompt, &str)> =
        questions.iter().zip(&answers).map(|((question, _), (text, _))| (*question, text.as_str())).collect();
    reward.hold_unasked(recipe.unasked_coef, &ordinary)
}
