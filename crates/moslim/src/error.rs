//! What can end a run.

use std::path::PathBuf;

use moslim_baselines::{BaselineError, SoupError};
use moslim_data::{CodecError, ReadError, RequestError, SamplerError};
use moslim_lm::LmError;
use moslim_reward_mapping::MappingError;
use moslim_reward_model::FitError;
use moslim_rl::{RewardError, SettingError, StepError};
use moslim_testbed::LabelOptionsError;

use crate::monitor::MonitorConfigError;
use crate::rollout_server::ServerError;
use crate::{HubError, RecipeError};

/// Why a run or a command could not do its work.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The recipe.
    #[error(transparent)]
    Recipe(#[from] RecipeError),
    /// A file of answers.
    #[error(transparent)]
    Data(#[from] Box<ReadError>),
    /// The wording of requests.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// A request.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The shares of requests in training.
    #[error(transparent)]
    Sampler(#[from] SamplerError),
    /// The labels of the testbed.
    #[error(transparent)]
    Labels(#[from] LabelOptionsError),
    /// A model folder.
    #[error(transparent)]
    Lm(#[from] LmError),
    /// A model on the hub.
    #[error(transparent)]
    Hub(#[from] HubError),
    /// The reward mapping.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The training of a reward model.
    #[error("{table}: {source}")]
    Fit {
        /// The table of the recipe.
        table: &'static str,
        /// What is wrong.
        source: FitError,
    },
    /// Scoring.
    #[error(transparent)]
    Reward(#[from] RewardError),
    /// A file or folder.
    #[error("{path}: {source}", path = .path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// The run folder holds an earlier run.
    #[error("{path}: holds an earlier run; name another folder with --out, or replace it with --overwrite", path = .0.display())]
    RunExists(PathBuf),
    /// The data is not that of the run's earlier stages.
    #[error("{}: the data changed since `moslim {stage}`: found {found}, expected {expected}; put it back, or run that stage again", manifest.display())]
    DataChanged {
        /// What the run noted.
        manifest: PathBuf,
        /// The stage that had other data.
        stage: &'static str,
        /// The file that is there.
        found: String,
        /// The file that was.
        expected: String,
    },
    /// A stage needs what an earlier stage has not made.
    #[error("{path}: not found; run `moslim {stage}` with the same --out first", path = .path.display())]
    StageMissing {
        /// What the stage looked for.
        path: PathBuf,
        /// The stage that makes it.
        stage: &'static str,
    },
    /// The data holds nothing to work on.
    #[error("{place}: {found}, expected {expected}")]
    Unusable {
        /// Where.
        place: String,
        /// What is there.
        found: String,
        /// What a run needs.
        expected: String,
    },
    /// Training left the finite numbers.
    #[error("{stage}: step {step}: the gradient is not finite; lower the learning rate")]
    Diverged {
        /// The stage.
        stage: &'static str,
        /// The step, counted from 1.
        step: usize,
    },
    /// No such device, or not in this build.
    #[error("device `{found}`: expected {expected}")]
    Device {
        /// What was asked for.
        found: String,
        /// What this build has.
        expected: String,
    },
    /// A stage needs more memory than there is.
    #[error("{stage}: needs {needed} of memory, found {available}; {advice}")]
    Memory {
        /// The stage.
        stage: &'static str,
        /// What it needs, such as `31.2 GB`.
        needed: String,
        /// What there is.
        available: String,
        /// What would need less.
        advice: &'static str,
    },
    /// Ctrl-C.
    #[error("interrupted during {stage}; to go on: moslim {command} --resume {}", folder.display())]
    Interrupted {
        /// The stage.
        stage: &'static str,
        /// What goes on with it.
        command: &'static str,
        /// The folder that the person named.
        folder: PathBuf,
    },
    /// Another program works in the run folder.
    #[error("{path}: another run is writing here; wait for it, or name another folder with --out", path = .0.display())]
    Locked(PathBuf),
    /// The recipe is not that with which the run began.
    #[error("{path}: found {found}, but the run follows {expected}; put it back, or name the change with --set as intended", path = .path.display())]
    RecipeChanged {
        /// The recipe's file.
        path: PathBuf,
        /// What it says now.
        found: String,
        /// What it said.
        expected: String,
    },
    /// A check at the start of policy optimisation.
    #[error(
        "check {name}: {found}, expected {expected}; if that is as it should be: policy.skip_checks = [\"{name}\"]"
    )]
    Check {
        /// The check.
        name: &'static str,
        /// What was found.
        found: String,
        /// What it means that all is well.
        expected: String,
    },
    /// A sign of trouble that the recipe wants to stop at.
    #[error("policy: step {step}: {warning}; stopped, as policy.stop_on says")]
    Stopped {
        /// The step, counted from 1.
        step: usize,
        /// What was seen.
        warning: String,
    },
    /// The server that samples.
    #[error("policy.rollout_server: {0}")]
    RolloutServer(#[from] ServerError),
    /// A threshold of the monitor.
    #[error("policy.monitor.{0}")]
    Monitor(#[from] MonitorConfigError),
    /// A setting of policy optimisation.
    #[error("policy: {0}")]
    PolicySetting(#[from] SettingError),
    /// A step of policy optimisation.
    #[error(transparent)]
    Step(#[from] StepError),
    /// A baseline.
    #[error("comparison: {0}")]
    Baseline(#[from] BaselineError),
    /// A mixture of policies.
    #[error("comparison: {0}")]
    Soup(#[from] SoupError),
}

impl Error {
    /// A setting of this table of the recipe.
    pub(crate) fn fit(table: &'static str) -> impl FnOnce(FitError) -> Self {
        move |source| Self::Fit { table, source }
    }

    /// Attaches the path to an I/O error.
    pub(crate) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }
}
