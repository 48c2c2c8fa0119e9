//! Arguments that commands about text have in common.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, ensure};
use clap::Args;
use moslim::PolicyFolder;
use moslim_data::Request;
use moslim_lm::{LoraConfig, ModelFolder, SamplingParams, Stops};

/// A model and where it is computed.
#[derive(Args)]
pub struct ModelArguments {
    /// A model folder, such as runs/quickstart/policy, or a model on the hub: owner/name, owner/name@revision
    #[arg(long)]
    model: PathBuf,
    /// A folder with a low-rank adapter for the model
    #[arg(long)]
    adapter: Option<PathBuf>,
    /// Where tensors live
    #[arg(long, default_value = moslim::default_device())]
    device: String,
}

impl ModelArguments {
    /// Reads the folder, and the adapter if there is one.
    pub fn read(&self) -> anyhow::Result<ModelFolder> {
        self.read_from(&moslim::model_folder(&self.model)?)
    }

    /// Reads also how requests are put to the model, where the folder says so.
    pub fn read_speaker(&self) -> anyhow::Result<Speaker> {
        let path = moslim::model_folder(&self.model)?;
        let lm = self.read_from(&path)?;
        let policy = match PolicyFolder::knows_requests(&path) {
            true => Some(PolicyFolder::with_requests_of(lm.clone(), &path)?),
            false => None,
        };
        Ok(Speaker { lm, policy, path })
    }

    fn read_from(&self, path: &Path) -> anyhow::Result<ModelFolder> {
        let mut folder = ModelFolder::read(path, &moslim::device(&self.device)?)?;
        if let Some(adapter) = &self.adapter {
            folder.model = LoraConfig::read_adapter(adapter, folder.model)?.1;
        }
        Ok(folder)
    }
}

/// A model that may know how to be asked for levels.
pub struct Speaker {
    /// The model.
    pub lm: ModelFolder,
    policy: Option<PolicyFolder>,
    path: PathBuf,
}

impl Speaker {
    /// A question with the levels wanted, such as `helpfulness=5`, as the model reads it.
    pub fn turn(&self, question: &str, want: &str) -> anyhow::Result<String> {
        match &self.policy {
            Some(policy) => {
                let request = match want {
                    "" => Request::free(&policy.schema),
                    want => Request::parse(want, &policy.schema)?,
                };
                Ok(policy.codec.render(question, &request)?)
            }
            None => {
                let path = self.path.display();
                ensure!(
                    want.is_empty(),
                    "--want {want}: {path} is not a policy of moslim: it has no request.json"
                );
                Ok(question.into())
            }
        }
    }
}

/// How an answer is written.
#[derive(Args)]
pub struct SamplingArguments {
    /// 0 takes the most probable token
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Keeps so many of the most probable tokens; 0 keeps all
    #[arg(long, default_value_t = 0)]
    top_k: usize,
    /// Keeps the most probable tokens up to this probability
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// Keeps tokens with at least this share of the highest probability
    #[arg(long, default_value_t = 0.0)]
    min_p: f64,
    /// Above 1 makes tokens that stand in the text so far less likely
    #[arg(long, default_value_t = 1.0)]
    repetition_penalty: f64,
    /// The longest answer, in tokens
    #[arg(long, default_value_t = 128)]
    pub max_new_tokens: usize,
    /// Ends the answer before this text; may be repeated
    #[arg(long = "stop", value_name = "TEXT")]
    stop_strings: Vec<String>,
    /// Decides the draws
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

impl SamplingArguments {
    /// The settings, checked.
    pub fn params(&self) -> anyhow::Result<SamplingParams> {
        let &Self { temperature, top_k, top_p, min_p, repetition_penalty, max_new_tokens, .. } = self;
        let params = SamplingParams { temperature, top_k, top_p, min_p, repetition_penalty, max_new_tokens };
        // The settings are named as the options are, but for the dashes.
        params.check().map_err(|problem| anyhow!("--{}", problem.replace('_', "-")))?;
        Ok(params)
    }

    /// Where an answer of a model ends.
    pub fn stops(&self, lm: &ModelFolder) -> Stops {
        lm.stops().with_strings(&self.stop_strings, &lm.tokenizer)
    }
}
