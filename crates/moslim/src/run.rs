//! A run: its recipe, its folder, its device, its log, and the wish to stop.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use burn::tensor::Device;
use moslim_lm::CausalLm;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde::Serialize;

use crate::{Error, Progress, Recipe};

/// A recipe being carried out in a folder.
pub struct Run {
    /// What is carried out.
    pub recipe: Recipe,
    /// Where everything is written.
    pub folder: PathBuf,
    /// Where the start policy and the reward model are read from: the folder itself, or that of the run it is an ablation of.
    inputs: PathBuf,
    /// Where tensors live, without gradients.
    pub device: Device,
    /// What the person sees.
    pub progress: Progress,
    /// Whether stages go on from the checkpoints that an earlier try left, instead of dropping them.
    pub resume: bool,
    interrupted: Arc<AtomicBool>,
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
const RECIPE: &str = "recipe.toml";

/// Whether a folder holds more than the recipe that a run leaves which was refused before it began.
///
/// # Errors
/// If the folder cannot be read.
pub fn holds_a_run(folder: &Path) -> Result<bool, Error> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        entries => entries.map_err(Error::io(folder))?,
    };
    Ok(entries.into_iter().any(|entry| entry.map_or(true, |entry| entry.file_name() != RECIPE)))
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
    /// Begins a run in a folder, which is made if need be; raising `interrupted` ends it after the step at hand.
    ///
    /// # Errors
    /// If the folder cannot be made or the recipe cannot be written into it.
    pub fn new(
        recipe: Recipe,
        folder: &Path,
        device: Device,
        progress: Progress,
        interrupted: Arc<AtomicBool>,
    ) -> Result<Self, Error> {
        std::fs::create_dir_all(folder).map_err(Error::io(folder))?;
        let run = Self {
            recipe,
            folder: folder.into(),
            inputs: folder.into(),
            device,
            progress,
            resume: false,
            interrupted,
        };
        run.write(RECIPE, run.recipe.to_toml().as_bytes())?;
        Ok(run)
    }

    /// A run with another recipe and a folder of its own, which starts from the same policy with the same reward model.
    ///
    /// # Errors
    /// As [`Run::new`].
    pub(crate) fn fork(&self, recipe: Recipe, folder: &Path) -> Result<Self, Error> {
        let fork =
            Self::new(recipe, folder, self.device.clone(), self.progress.clone(), self.interrupted.clone())?;
        Ok(Self { inputs: self.inputs.clone(), ..fork })
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

    /// Ends the stage if somebody asked for it.
    pub(crate) fn check_interrupted(&self, stage: &'static str) -> Result<(), Error> {
        match self.interrupted.load(Ordering::Relaxed) {
            true => Err(Error::Interrupted(stage)),
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

    /// Opens the log of a stage, one JSON object per line, replacing that of an earlier try.
    pub(crate) fn log(&self, stage: &str) -> Result<JsonLines, Error> {
        self.continued_log(stage, 0)
    }

    /// Opens the log of a stage behind its first lines; what an earlier try wrote after them is dropped.
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
