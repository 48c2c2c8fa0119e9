//! Commands that read a model folder and print text.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;
use moslim::PolicyFolder;
use moslim_data::Request;
use moslim_lm::{Exchange, LoraConfig, ModelFolder, SamplingParams, TokenRng, generate, response_logprobs};

/// A model and where it is computed.
#[derive(Args)]
struct Model {
    /// A model folder, such as runs/quickstart/policy
    #[arg(long)]
    model: PathBuf,
    /// A folder with a low-rank adapter for the model
    #[arg(long)]
    adapter: Option<PathBuf>,
    /// Where tensors live
    #[arg(long, default_value = moslim::default_device())]
    device: String,
}

impl Model {
    fn read(&self) -> anyhow::Result<ModelFolder> {
        let mut folder = ModelFolder::read(&self.model, &moslim::device(&self.device)?)?;
        if let Some(adapter) = &self.adapter {
            folder.model = LoraConfig::read_adapter(adapter, folder.model)?.1;
        }
        Ok(folder)
    }
}

/// `moslim generate`
#[derive(Args)]
pub struct Generate {
    #[command(flatten)]
    model: Model,
    /// The question, or the text to continue for a model without chat template
    #[arg(long)]
    prompt: String,
    /// The levels asked for, such as helpfulness=5,honesty=2
    #[arg(long, default_value = "")]
    want: String,
    /// 0 takes the most probable token
    #[arg(long, default_value_t = 1.0)]
    temperature: f64,
    /// Keeps the most probable tokens up to this probability
    #[arg(long, default_value_t = 1.0)]
    top_p: f64,
    /// The longest answer, in tokens
    #[arg(long, default_value_t = 128)]
    max_new_tokens: usize,
    /// Decides the draws
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

impl Generate {
    /// Prints the answer alone.
    pub fn run(&self) -> anyhow::Result<()> {
        ensure!(self.temperature >= 0.0, "--temperature {}: expected at least 0", self.temperature);
        ensure!(
            self.top_p > 0.0 && self.top_p <= 1.0,
            "--top-p {}: expected above 0 and at most 1",
            self.top_p
        );
        let folder = self.model.read()?;
        let prompt = match PolicyFolder::knows_requests(&self.model.model) {
            true => {
                let policy = PolicyFolder::with_requests_of(folder.clone(), &self.model.model)?;
                let request = match self.want.as_str() {
                    "" => Request::free(&policy.schema),
                    want => Request::parse(want, &policy.schema)?,
                };
                policy.encode(&self.prompt, &request)?
            }
            false => {
                let path = self.model.model.display();
                ensure!(
                    self.want.is_empty(),
                    "--want {}: {path} is not a policy of moslim: it has no request.json",
                    self.want
                );
                folder.tokenizer.encode_prompt(&self.prompt)?
            }
        };
        let (n, context) = (prompt.len() + self.max_new_tokens, folder.config.max_position_embeddings);
        ensure!(n <= context, "prompt and answer: {n} tokens, expected at most the model's {context}");
        ensure!(!prompt.is_empty(), "--prompt: found no token, expected at least one");
        let params = SamplingParams {
            temperature: self.temperature,
            top_p: self.top_p,
            max_new_tokens: self.max_new_tokens,
        };
        let rng = TokenRng::new(self.seed, 0);
        let answers =
            generate(&folder.model, std::slice::from_ref(&prompt), 1, &params, &folder.stops(), &rng);
        let text = folder.tokenizer.decode_continuation(&prompt, &answers[0].tokens)?;
        Ok(writeln!(std::io::stdout(), "{text}")?)
    }
}

/// `moslim logprobs`
#[derive(Args)]
pub struct Logprobs {
    #[command(flatten)]
    model: Model,
    /// The text, read as it is, with the begin token that the tokenizer puts before it
    #[arg(long)]
    text: String,
    /// Prints one JSON object: "ids", and "logprobs" of every id after the first
    #[arg(long)]
    json: bool,
}

impl Logprobs {
    /// Prints the log-probability of every token after those before it.
    pub fn run(&self) -> anyhow::Result<()> {
        let folder = self.model.read()?;
        let ids = folder.tokenizer.encode_document(&self.text)?;
        let context = folder.config.max_position_embeddings;
        ensure!(
            (2..=context).contains(&ids.len()),
            "--text: {} tokens, expected 2 to the model's {context}",
            ids.len()
        );
        let exchange = Exchange { prompt: &ids[..1], response: &ids[1..] };
        let logprobs = response_logprobs(&folder.model, &[exchange], 1.0).logprobs.into_data();
        let logprobs: Vec<f32> = logprobs.try_to_vec().context("log-probabilities are floats")?;
        let mut out = std::io::stdout().lock();
        if self.json {
            return Ok(writeln!(out, "{}", serde_json::json!({ "ids": ids, "logprobs": logprobs }))?);
        }
        for (id, logprob) in ids[1..].iter().zip(logprobs) {
            writeln!(out, "{logprob:10.5} {id:8} {:?}", folder.tokenizer.decode(&[*id])?)?;
        }
        Ok(())
    }
}
