//! A run: its recipe, its folder, its device, its log, and the wish to stop.

use std::fs::{File, TryLockError};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use moslim_lm::CausalLm;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde::Serialize;

use crate::checkpoints::Settings;
use crate::{Error, Progress, Recipe};

/// A recipe being carried out in a folder.
pub struct Run {
    /// What is carried out.
    pub recipe: Recipe,
    /// Where everything is written.
    pub folder: PathBuf,
    /// Where the start policy and the reward model are read from: the folder itself, or that of the run it is an ablation of.
    inputs: PathBuf,
    /// The folder that a person named, which is that of the run or of the one it is an ablation of.
    root: PathBuf,
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
}

/// The file of the recipe that a run follows.
pub(crate) const RECIPE: &str = "recipe.toml";

/// The file that the program that writes into a run folder holds.
const LOCK: &str = ".lock";

/// Whether a folder holds more than the recipe that a run leaves which was refused before it began.
///
/// # Errors
/// If the folder cannot be read.
pub fn holds_a_run(folder: &Path) -> Result<bool, Error> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        entries => entries.map_err(Error::io(folder))?,
    };
    let leaves = |entry: std::fs::DirEntry| entry.file_name() != RECIPE && entry.file_name() != LOCK;
    Ok(entries.into_iter().any(|entry| entry.map_or(true, leaves)))
}

/// Takes a run's folder, which is made if need be; it is free again when the file is dropped, however the program ends.
///
/// # Errors
/// If another program has it, or it cannot be made.
pub fn lock(folder: &Path) -> Result<File, Error> {
    std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
    let path = folder.join(LOCK);
    let file = File::options().create(true).append(true).open(&path).map_err(Error::io(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::Locked(folder.into())),
        Err(TryLockError::Error(source)) => Err(Error::io(path)(source)),
    }
}

/// Writes a file under a temporary name beside it, then renames it.
///
/// # Errors
/// If it cannot be written; a file that was there before then stays as it was.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<(), Error> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(parent).map_err(Error::io(parent))?;
    file.write_all(content).and_then(|()| file.as_file().sync_all()).map_err(Error::io(path))?;
    file.persist(path).map(drop).map_err(|error| Error::io(path)(error.error))
}

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
        run.write(RECIPE, run.recipe.to_toml().as_bytes())?;
        Ok(run)
    }

    /// Goes on with the run in a folder, by its own recipe with `changes` such as `policy.max_steps=100`.
    ///
    /// # Errors
    /// If there is no run, another program has its folder, its recipe is malformed, or it is not that with which the run began,
    /// but for these changes.
    pub fn resume(folder: &Path, changes: &[String], surroundings: Surroundings) -> Result<Self, Error> {
        let path = folder.join(RECIPE);
        if !path.exists() {
            let source = std::io::Error::from(std::io::ErrorKind::NotFound);
            return Err(Error::Io { path, source });
        }
        let recipe = Recipe::read(&path.display().to_string(), changes)?;
        let key = |change: &String| change.split('=').next().unwrap_or_default().trim().to_owned();
        let intended_changes: Vec<String> = changes.iter().map(key).collect();
        let run = Self { resume: true, intended_changes, ..Self::held(recipe, folder, surroundings)? };
        if let Some(before) = run.recipe_of_done_stages()? {
            let table = |recipe: &Recipe| toml::Table::try_from(recipe).expect("a recipe is a table");
            let now = Settings::of(&table(&run.recipe), &[]);
            let before = Settings::of(&before, &[]);
            if let Some([expected, found]) = before.difference(&now, &run.intended_changes) {
                return Err(Error::RecipeChanged { path, found, expected });
            }
        }
        run.write(RECIPE, run.recipe.to_toml().as_bytes())?;
        Ok(run)
    }

    /// A run whose folder nobody else has.
    fn held(recipe: Recipe, folder: &Path, surroundings: Surroundings) -> Result<Self, Error> {
        let lock = lock(folder)?;
        let Surroundings { device, progress, interrupted } = surroundings;
        Ok(Self {
            recipe,
            folder: folder.into(),
            inputs: folder.into(),
            root: folder.into(),
            device,
            progress,
            resume: false,
            intended_changes: vec![],
            _lock: lock,
            interrupted,
        })
    }

    /// A run with another recipe and a folder of its own, which starts from the same policy with the same reward model.
    ///
    /// # Errors
    /// As [`Run::new`].
    pub(crate) fn fork(&self, recipe: Recipe, folder: &Path) -> Result<Self, Error> {
        let surroundings = Surroundings {
            device: self.device.clone(),
            progress: self.progress.clone(),
            interrupted: self.interrupted.clone(),
        };
        Ok(Self {
            inputs: self.inputs.clone(),
            root: self.root.clone(),
            resume: self.resume,
            intended_changes: self.intended_changes.clone(),
            ..Self::new(recipe, folder, surroundings)?
        })
    }

    /// The folder of the language model before policy optimisation.
    pub fn start_folder(&self) -> PathBuf {
        self.inputs.join(START_FOLDER)
    }

    /// The folder of the reward model.
    pub fn reward_model_folder(&self) -> PathBuf {
        self.inputs.join(REWARD_MODEL_FOLDER)
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

    /// Ends the stage if somebody asked for it.
    pub(crate) fn check_interrupted(&self, stage: &'static str) -> Result<(), Error> {
        match self.is_interrupted() {
            true => Err(Error::Interrupted { stage, folder: self.root.clone() }),
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

    /// Notes how long a stage took, beside the stages noted before.
    pub(crate) fn note_seconds(&self, stage: &str, seconds: f64) -> Result<(), Error> {
        let mut noted = self.seconds()?;
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
        Ok(JsonLines { file, path, n_lines })
    }
}

/// A growing file of JSON objects, each written at once.
pub(crate) struct JsonLines {
    file: File,
    path: PathBuf,
    n_lines: usize,
}

impl JsonLines {
    /// Appends a line.
    pub(crate) fn push(&mut self, line: &impl Serialize) -> Result<(), Error> {
        let mut text = serde_json::to_string(line).expect("a line of the log serializes");
        text.push('\n');
        self.n_lines += 1;
        self.file.write_all(text.as_bytes()).map_err(Error::io(&self.path))
    }

    /// Puts what was written on the disk, for a checkpoint that counts on it.
    pub(crate) fn sync(&self) -> Result<(), Error> {
        self.file.sync_data().map_err(Error::io(&self.path))
    }

    /// The number of lines so far.
    pub(crate) fn n_lines(&self) -> usize {
        self.n_lines
    }
}

/// Reads the log of a stage back; nothing if the stage left none.
pub(crate) fn read_log<T: serde::de::DeserializeOwned>(folder: &Path, stage: &str) -> Result<Vec<T>, Error> {
    let path = folder.join("metrics").join(format!("{stage}.jsonl"));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(Error::io(&path)(error)),
    };
    let line = |line| serde_json::from_str(line).map_err(|error| Error::io(&path)(error.into()));
    text.lines().map(line).collect()
}
