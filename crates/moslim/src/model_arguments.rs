//! Arguments that commands about text have in common.

use std::path::{Path, PathBuf};

use anyhow::{anyhow, ensure};
use clap::Args;
use moslim::PolicyFolder;
use moslim_data::Request;
use moslim_lm::{LoraConfig, Message, ModelFolder, SamplingParams, Stops};

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
    /// What the model is told before a conversation, with the levels wanted, such as `helpfulness=5`, if they stand there.
    pub fn system_turn(&self, text: &str, want: &str) -> anyhow::Result<Option<Message>> {
        match &self.policy {
            Some(policy) => Ok(policy.system_turn(text, &self.request(policy, want)?)?),
            None => Ok((!text.is_empty()).then(|| Message::system(text))),
        }
    }

    /// A question, with the levels wanted if they stand there.
    pub fn user_turn(&self, question: &str, want: &str) -> anyhow::Result<Message> {
        match &self.policy {
            Some(policy) => Ok(policy.user_turn(question, &self.request(policy, want)?)?),
            None => {
                let path = self.path.display();
                ensure!(
                    want.is_empty(),
                    "--want {want}: {path} is not a policy of moslim: it has no request.json"
                );
                Ok(Message::user(question))
            }
        }
    }

    fn request(&self, policy: &PolicyFolder, want: &str) -> anyhow::Result<Request> {
        match want {
            "" => Ok(Request::free(&policy.schema)),
            want => Ok(Request::parse(want, &policy.schema)?),
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
