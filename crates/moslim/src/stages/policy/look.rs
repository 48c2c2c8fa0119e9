//! Looks at held-out questions while the policy is trained.

use burn::module::Module;
use moslim_data::{PreferenceSampler, Prompt, Request, RequestMix};
use moslim_eval::stats::mean;
use moslim_lm::{Exchange, TokenRng};
use moslim_rl::{PolicyTrainer, ReferencePrompt};
use serde::{Deserialize, Serialize};

use super::prompts::policy_prompt;
use crate::evaluation::Judge;
use crate::run::Purpose;
use crate::{Datasets, Error, MappedReward, PolicyFolder, Run};

/// Answers of the policy at one moment of its training, to held-out questions.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    /// Steps done.
    pub step: usize,
    /// Divergence from the start policy on the training prompts of that step, in nats.
    pub kl: f64,
    /// Divergence of the whole distributions along some of these answers, summed over an answer; in nats.
    #[serde(rename = "objective/kl_whole")]
    pub whole_kl: f64,
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
    /// The score of one who was not trained on, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gold: Option<f64>,
}

impl Snapshot {
    /// The mean score by the reward.
    pub(super) fn proxy(&self) -> f64 {
        mean(&self.answers.iter().map(|answer| answer.proxy).collect::<Vec<_>>())
    }

    /// Mean scores by the reward and by the judge, if there is one.
    pub(super) fn held_out(&self) -> Option<(f64, f64)> {
        let gold: Vec<f64> = self.answers.iter().map_while(|answer| answer.gold).collect();
        (gold.len() == self.answers.len()).then(|| (self.proxy(), mean(&gold)))
    }
}

/// Who looks: the same questions and requests every time.
pub(super) struct Looks<'a> {
    run: &'a Run,
    start: &'a PolicyFolder,
    judge: Option<Judge>,
    asked: Vec<(&'a Prompt, Request)>,
}

/// Answers along which whole distributions are compared.
const WHOLE_KL_ANSWERS: usize = 16;

impl<'a> Looks<'a> {
    /// Questions that ask for one objective each.
    pub(super) fn new(run: &'a Run, datasets: &'a Datasets, start: &'a PolicyFolder) -> Result<Self, Error> {
        let mut rng = run.rng(Purpose::Snapshots);
        let one = RequestMix { one: 1.0, ..RequestMix::default() };
        let sampler = PreferenceSampler::new(one, &datasets.schema)?;
        let questions = datasets.held_out_prompts.iter().cycle().take(run.recipe.policy.eval_answers);
        let asked = questions.map(|question| (question, sampler.sample(&mut rng))).collect();
        let judge = match Judge::of(run) {
            Ok(judge) => Some(judge),
            // A run without its judge is trained without one.
            Err(Error::StageMissing { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Self { run, start, judge, asked })
    }

    /// Answers of the policy as it is now; `kl` is that of the step's training prompts.
    pub(super) fn look(
        &self,
        trainer: &PolicyTrainer,
        reward: &MappedReward,
        kl: f64,
    ) -> Result<Snapshot, Error> {
        let (run, step) = (self.run, trainer.steps_done());
        let now = self.start.with_model(trainer.policy().valid());
        let pairs: Vec<(&Prompt, &Request)> =
            self.asked.iter().map(|(question, request)| (*question, request)).collect();
        let rng = TokenRng::new(run.seed(Purpose::Snapshots), step as u64);
        let answers = now.answer(&pairs, &run.recipe.policy.training.sampling, &rng)?;
        let texts: Vec<(&Prompt, &str)> =
            pairs.iter().zip(&answers).map(|((question, _), (text, _))| (*question, text.as_str())).collect();
        let requests: Vec<&Request> = pairs.iter().map(|(_, request)| *request).collect();
        let proxies = reward.score_texts(&texts, &requests)?;
        let golds = match &self.judge {
            Some(judge) => judge.scores(reward, &texts, &requests)?.into_iter().map(Some).collect(),
            None => vec![None; proxies.len()],
        };
        let whole_kl = self.whole_kl(trainer, &texts)?;
        let answers = pairs
            .iter()
            .zip(answers)
            .zip(proxies.into_iter().zip(golds))
            .map(|(((question, request), (response, _)), (proxy, gold))| SnapshotAnswer {
                question: (*question).clone(),
                request: (*request).clone(),
                response,
                proxy,
                gold,
            })
            .collect();
        Ok(Snapshot { step, kl, whole_kl, answers })
    }

    /// Divergence of the whole distributions along the first answers.
    fn whole_kl(&self, trainer: &PolicyTrainer, texts: &[(&Prompt, &str)]) -> Result<f64, Error> {
        let some = self.asked.iter().zip(texts).take(WHOLE_KL_ANSWERS);
        let mut tokens = Vec::new();
        for ((question, request), (_, text)) in some {
            let prompt = policy_prompt(self.start, question, request.clone())?;
            let response =
                self.start.lm.tokenizer.encode_exchange(&moslim_reward_model::messages(question), text)?.1;
            tokens.push((prompt, response));
        }
        tokens.retain(|(_, response)| !response.is_empty());
        let plain = self.run.recipe.policy.training.reference_prompt == ReferencePrompt::Plain;
        let exchanges: Vec<Exchange<'_>> =
            tokens.iter().map(|(prompt, response)| Exchange { prompt: &prompt.tokens, response }).collect();
        let read_by_reference: Vec<Exchange<'_>> = tokens
            .iter()
            .map(|(prompt, response)| Exchange {
                prompt: if plain { &prompt.plain_tokens } else { &prompt.tokens },
                response,
            })
            .collect();
        Ok(trainer.whole_kl(&exchanges, &read_by_reference))
    }
}
