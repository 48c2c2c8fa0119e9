//! A run: its recipe, its folder, its device, its log, and the wish to stop.

mod folder;
mod log;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use moslim_lm::CausalLm;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use crate::checkpoints::Settings;
use crate::{Error, Progress, Recipe};

pub(crate) use self::folder::remove_folder;
use self::folder::{drop_unfinished, lock};
pub use self::folder::{make_room, write_whole};
pub(crate) use self::log::{JsonLines, read_log};

/// A recipe being carried out in a folder.
pub struct Run {
    /// What is carried out.
    pub recipe: Recipe,
    /// Where everything is written.
    pub folder: PathBuf,
    /// Where the start policy and the reward model are read from: the folder itself, or that of the run it is an ablation of.
    inputs: PathBuf,
    /// Where its reward model is: the same, but for a run that makes one of its own.
    rewards: PathBuf,
    /// What a person began: this run, or one that it is a part of.
    whole: Whole,
    /// Where tensors live, without gradients.
    pub device: Device,
    /// What the person sees.
    pub progress: Progress,
    /// Whether stages go on from the checkpoints that an earlier try left, instead of dropping them.
    pub resume: bool,
    /// Settings that may differ from those of the checkpoints, such as `policy.max_steps`.
    pub intended_changes: Vec<String>,
    /// Nobody else writes into the folder as long as this is held.
    _lock: File,
    interrupted: Arc<AtomicBool>,
}

/// What a run has around it.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where tensors live, without gradients.
    pub device: Device,
    /// What the person sees.
    pub progress: Progress,
    /// Raised, it ends the run after the step at hand.
    pub interrupted: Arc<AtomicBool>,
}

/// What a person began, by which command and in which folder.
#[derive(Clone, Debug)]
struct Whole {
    command: &'static str,
    folder: PathBuf,
}

/// The run that others start from: its start policy, its reward model and its surroundings.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    inputs: PathBuf,
    whole: Whole,
    resume: bool,
    intended_changes: Vec<String>,
    surroundings: Surroundings,
}

impl Base {
    /// A run with another recipe and a folder of its own, which starts from the same policy with the same reward model.
    ///
    /// # Errors
    /// As [`Run::new`].
    pub(crate) fn fork(&self, recipe: Recipe, folder: &Path) -> Result<Run, Error> {
        Ok(Run {
            inputs: self.inputs.clone(),
            rewards: self.inputs.clone(),
            whole: self.whole.clone(),
            resume: self.resume,
            intended_changes: self.intended_changes.clone(),
            ..Run::new(recipe, folder, self.surroundings.clone())?
        })
    }

    /// The same for runs that go on from what earlier tries have left.
    pub(crate) fn resuming(self) -> Self {
        Self { resume: true, ..self }
    }
}

/// What a random draw is for; every purpose has its own independent stream.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Purpose {
    ModelWeights = 1,
    RewardHeads,
    JudgeHeads,
    PretrainingOrder,
    SftOrder,
    RewardModelOrder,
    JudgeOrder,
    PromptOrder,
    Requests,
    Shuffle,
    Rollouts,
    Snapshots,
    Evaluation,
    Bootstrap,
    OrdinaryAnswers,
    Adapters,
    Validation,
    Opinions,
    Bootstrapping,
    ConditionalRequests,
    ConditionalSftOrder,
    ComparisonAnswers,
    ComparisonDraws,
    ComparisonOrder,
}

/// The file of the recipe that a run follows.
pub(crate) const RECIPE: &str = "recipe.toml";

/// Where a run's folder has the checkpoints of the stage at hand.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// Where a run's folder has its policy.
pub(crate) const POLICY_FOLDER: &str = "policy";

/// Where it has the best policy of those looked at, if it is to be kept and is not the last.
pub(crate) const BEST_POLICY_FOLDER: &str = "policy-best";

/// Where it has the policy's adapter, if it trains one.
pub(crate) const ADAPTER_FOLDER: &str = "policy-adapter";

/// Where it has its reward model.
pub(crate) const REWARD_MODEL_FOLDER: &str = "reward-model";

/// Where it has the reward model's adapter with its heads, if it trains one.
pub(crate) const REWARD_ADAPTER_FOLDER: &str = "reward-model-adapter";

/// Where it has the language model before policy optimisation.
pub(crate) const START_FOLDER: &str = "start";

/// Where it has the judge that was trained on held-out questions, where there is no exact one.
pub(crate) const JUDGE_FOLDER: &str = "judge";

/// The file of the stages' seconds.
const SECONDS: &str = "metrics/seconds.json";

impl Run {
    /// Begins a run in a folder, which is made if need be.
    ///
    /// # Errors
    /// If another program has the folder, it cannot be made, or the recipe cannot be written into it.
    pub fn new(recipe: Recipe, folder: &Path, surroundings: Surroundings) -> Result<Self, Error> {
        let run = Self::held(recipe, folder, surroundings)?;
        run.follow_recipe()?;
        Ok(run)
    }

    /// Goes on with the run in a folder, by its own recipe with `changes` such as `policy.max_steps=100`.
    ///
    /// # Errors
    /// If there is no run, another program has its folder, its recipe is malformed, or it is not the one that the run followed,
    /// but for these changes.
    pub fn resume(folder: &Path, changes: &[String], surroundings: Surroundings) -> Result<Self, Error> {
        let path = folder.join(RECIPE);
        if !path.exists() {
            return Err(Error::Unusable {
                place: folder.display().to_string(),
                found: format!("no {RECIPE}"),
                expected: "the folder of a run".into(),
            });
        }
        let recipe = Recipe::read(&path.display().to_string(), changes)?;
        let mut run = Self { resume: true, ..Self::held(recipe, folder, surroundings)? };
        let (followed, mut intended) = run.followed_recipe()?;
        let key = |change: &String| change.split('=').next().unwrap_or_default().trim().to_owned();
        intended.extend(changes.iter().map(key));
        intended.sort();
        intended.dedup();
        if let Some(followed) = followed {
            let table = toml::Table::try_from(&run.recipe).expect("a recipe is a table");
            let named: Vec<String> = changes.iter().map(key).collect();
            let difference = Settings::of(&followed, &[]).difference(&Settings::of(&table, &[]), &named);
            if let Some([expected, found]) = difference {
                return Err(Error::RecipeChanged { path, found, expected });
            }
        }
        run.intended_changes = intended;
        Ok(run)
    }

    /// Writes the recipe into the folder, where it is followed from now on.
    pub(crate) fn follow_recipe(&self) -> Result<(), Error> {
        self.write(RECIPE, self.recipe.to_toml().as_bytes())?;
        self.note_recipe()
    }

    /// A run whose folder nobody else has.
    fn held(recipe: Recipe, folder: &Path, surroundings: Surroundings) -> Result<Self, Error> {
        let lock = lock(folder)?;
        drop_unfinished(folder)?;
        let Surroundings { device, progress, interrupted } = surroundings;
        Ok(Self {
            recipe,
            folder: folder.into(),
            inputs: folder.into(),
            rewards: folder.into(),
            whole: Whole { command: "train", folder: folder.into() },
            device,
            progress,
            resume: false,
            intended_changes: vec![],
            _lock: lock,
            interrupted,
        })
    }

    /// What runs with folders of their own have of this one; it may be kept when this one has ended.
    pub(crate) fn base(&self) -> Base {
        Base {
            inputs: self.inputs.clone(),
            whole: self.whole.clone(),
            resume: self.resume,
            intended_changes: self.intended_changes.clone(),
            surroundings: Surroundings {
                device: self.device.clone(),
                progress: self.progress.clone(),
                interrupted: self.interrupted.clone(),
            },
        }
    }

    /// A run with another recipe and a folder of its own, which starts from the same policy with the same reward model.
    ///
    /// # Errors
    /// As [`Run::new`].
    pub(crate) fn fork(&self, recipe: Recipe, folder: &Path) -> Result<Self, Error> {
        self.base().fork(recipe, folder)
    }

    /// The folder of the run that this one starts from, which is its own if it starts from nothing.
    pub(crate) fn inputs(&self) -> &Path {
        &self.inputs
    }

    /// The folder of the language model before policy optimisation.
    pub fn start_folder(&self) -> PathBuf {
        self.inputs.join(START_FOLDER)
    }

    /// The folder of the reward model.
    pub fn reward_model_folder(&self) -> PathBuf {
        self.rewards.join(REWARD_MODEL_FOLDER)
    }

    /// The same run as a part of what was begun by another command in another folder.
    pub(crate) fn part_of(self, command: &'static str, folder: &Path) -> Self {
        Self { whole: Whole { command, folder: folder.into() }, ..self }
    }

    /// The same run with a reward model in its own folder.
    pub(crate) fn with_own_reward_model(self) -> Self {
        Self { rewards: self.folder.clone(), ..self }
    }

    /// The folder of the judge that was trained on held-out questions, where there is no exact one.
    pub fn judge_folder(&self) -> PathBuf {
        self.inputs.join(JUDGE_FOLDER)
    }

    /// The folder of the trained policy.
    pub fn policy_folder(&self) -> PathBuf {
        self.folder.join(POLICY_FOLDER)
    }

    /// The folder of the report.
    pub fn report_folder(&self) -> PathBuf {
        self.folder.join("report")
    }

    /// The model with an adapter to train, if the recipe wants one; every member of an ensemble has one of its own.
    pub(crate) fn with_adapter(&self, model: CausalLm, member: usize) -> Result<CausalLm, Error> {
        match &self.recipe.lora {
            None => Ok(model),
            Some(lora) => Ok(model.with_adapter(
                &lora.config(),
                &mut self.member_rng(Purpose::Adapters, member),
                &self.folder.join(RECIPE),
            )?),
        }
    }

    /// A generator that belongs to this run and a purpose.
    pub(crate) fn rng(&self, purpose: Purpose) -> ChaCha8Rng {
        self.member_rng(purpose, 0)
    }

    /// A generator that belongs to this run, a purpose, and a member of an ensemble; member 0 is the model itself.
    pub(crate) fn member_rng(&self, purpose: Purpose, member: usize) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.recipe.seed);
        rng.set_stream(purpose as u64 + ((member as u64) << 32));
        rng
    }

    /// A seed that belongs to this run and a purpose.
    pub(crate) fn seed(&self, purpose: Purpose) -> u64 {
        self.member_seed(purpose, 0)
    }

    /// A seed that belongs to this run, a purpose, and a member of an ensemble.
    pub(crate) fn member_seed(&self, purpose: Purpose, member: usize) -> u64 {
        rand::Rng::next_u64(&mut self.member_rng(purpose, member))
    }

    /// Whether somebody asked for the end.
    pub(crate) fn is_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Drops the checkpoints of a stage that is done.
    pub(crate) fn drop_checkpoints(&self) -> Result<(), Error> {
        remove_folder(&self.folder.join(CHECKPOINTS))
    }

    /// Ends the stage if somebody asked for it.
    pub(crate) fn check_interrupted(&self, stage: &'static str) -> Result<(), Error> {
        match self.is_interrupted() {
            true => {
                let Whole { command, folder } = self.whole.clone();
                Err(Error::Interrupted { stage, command, folder })
            }
            false => Ok(()),
        }
    }

    /// Writes a file of the run folder, whole or not at all.
    pub(crate) fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.folder.join(name);
        let parent = path.parent().expect("a file of the run folder has a parent");
        std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
        write_whole(&path, content)
    }

    /// Notes how long a stage took, beside the stages noted before; of a run that resumes, beside its earlier tries.
    pub(crate) fn note_seconds(&self, stage: &str, mut seconds: f64) -> Result<(), Error> {
        let mut noted = self.seconds()?;
        if self.resume {
            seconds += noted.get(stage).and_then(serde_json::Value::as_f64).unwrap_or(0.0);
        }
        noted.insert(stage.into(), seconds.into());
        self.write(SECONDS, serde_json::Value::from(noted).to_string().as_bytes())
    }

    /// The seconds of the stages so far.
    pub(crate) fn seconds(&self) -> Result<serde_json::Map<String, serde_json::Value>, Error> {
        match self.folder.join(SECONDS) {
            path if path.exists() => Ok(moslim_lm::read_json(&path)?),
            _ => Ok(serde_json::Map::new()),
        }
    }

    /// Opens the log of a stage, one JSON object per line, behind its first lines; what an earlier try wrote after them is dropped.
    pub(crate) fn continued_log(&self, stage: &str, n_lines: usize) -> Result<JsonLines, Error> {
        let path = self.folder.join("metrics").join(format!("{stage}.jsonl"));
        let parent = self.folder.join("metrics");
        std::fs::create_dir_all(&parent).map_err(Error::io(&parent))?;
        let mut kept = String::new();
        if n_lines > 0 {
            let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
            let n_found = text.lines().count();
            if n_found < n_lines {
                return Err(Error::Unusable {
                    place: path.display().to_string(),
                    found: format!("{n_found} lines"),
                    expected: format!("{n_lines}, as when the checkpoint was written"),
                });
            }
            kept.extend(text.split_inclusive('\n').take(n_lines));
        }
        write_whole(&path, kept.as_bytes())?;
        let file = File::options().append(true).open(&path).map_err(Error::io(&path))?;
        Ok(JsonLines { file, path, n_lines, length: kept.len() as u64 })
    }
}
