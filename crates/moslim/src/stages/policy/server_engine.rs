//! Rollouts from a server that is given the policy before every step.

use std::path::PathBuf;

use moslim_lm::{Generated, LmError, LoraConfig, write_folder};
use moslim_rl::{RolloutEngine, RolloutError, RolloutJobs};

use crate::rollout_server::{Completion, RolloutServer};
use crate::{Error, PolicyFolder, Run};

/// A server that samples, and what it needs to have the policy's weights.
pub(super) struct ServerEngine {
    server: RolloutServer,
    /// The start policy, whose weights are those to be replaced.
    start: PolicyFolder,
    /// The adapter's settings; without one the whole weights are given.
    lora: Option<LoraConfig>,
    /// Where versions of the policy lie for the server to read.
    folder: PathBuf,
    n_versions: usize,
}

impl ServerEngine {
    /// Connects to the server of the recipe, if it names one.
    pub(super) fn of(run: &Run, start: &PolicyFolder) -> Result<Option<Self>, Error> {
        let Some(config) = &run.recipe.policy.rollout_server else { return Ok(None) };
        let folder = run.folder.join("rollout-weights");
        // Those of an earlier try.
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(Error::io(&folder))?;
        }
        Ok(Some(Self {
            server: RolloutServer::connect(config.clone())?,
            start: start.clone(),
            lora: run.recipe.lora.as_ref().map(|lora| {
                let base_model_name_or_path = Some(config.model.clone());
                LoraConfig { base_model_name_or_path, ..lora.config() }
            }),
            folder,
            n_versions: 0,
        }))
    }

    /// Writes the policy as it is, lets the server read it, and drops the version before.
    fn push(&mut self, jobs: &RolloutJobs<'_>) -> Result<(), Error> {
        let version = |number: usize| self.folder.join(format!("version-{number:06}"));
        let (before, now) = (version(self.n_versions), version(self.n_versions + 1));
        self.n_versions += 1;
        match &self.lora {
            Some(lora) => {
                write_folder(&now, |unfinished| lora.write_adapter_into(unfinished, jobs.policy))?;
                self.server.push_adapter(&now)?;
            }
            None => {
                let policy = self.start.with_model(jobs.policy.clone());
                write_folder(&now, |unfinished| -> Result<(), LmError> { policy.lm.write_into(unfinished) })?;
                self.server.push_weights(&now)?;
            }
        }
        match std::fs::remove_dir_all(&before) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(before)(error)),
            _ => Ok(()),
        }
    }

    fn answers(&mut self, jobs: &RolloutJobs<'_>) -> Result<Vec<Generated>, Error> {
        if jobs.asked.is_empty() {
            return Ok(vec![]);
        }
        self.push(jobs)?;
        let &RolloutJobs { asked, n_samples, sampling, stops, rng, .. } = jobs;
        // A number that no token of an answer is drawn with.
        let seed = (rng.uniform(0, 1 << 41) * (1u64 << 52) as f64) as u64;
        let (temperature, longest) = (sampling.temperature, sampling.max_new_tokens);
        let completions = self.server.complete(asked, n_samples, temperature, longest, stops.ids(), seed)?;
        let answer =
            |Completion { tokens, logprobs, finished }: Completion| Generated { tokens, logprobs, finished };
        Ok(completions.into_iter().map(answer).collect())
    }
}

impl Drop for ServerEngine {
    fn drop(&mut self) {
        // The server has read them; what stays goes with the next run.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl RolloutEngine for ServerEngine {
    fn sample(&mut self, jobs: &RolloutJobs<'_>) -> Result<[Vec<Generated>; 2], RolloutError> {
        let asked = self.answers(jobs).map_err(|error| RolloutError(Box::new(error)))?;
        Ok([asked, jobs.answers_of_reference()])
    }

    fn is_elsewhere(&self) -> bool {
        true
    }
}
