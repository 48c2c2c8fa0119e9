//! Commands that read a model folder and print text.

use std::io::Write;

use anyhow::{Context, ensure};
use clap::Args;
use moslim_lm::{Exchange, Message, TokenRng, generate, response_logprobs};

use crate::model_arguments::{ModelArguments, SamplingArguments};

/// What is said of a model whose log-probabilities are none.
pub const NO_NUMBERS: &str = "the model gives logits that are not numbers, expected weights that are";

/// `moslim generate`
#[derive(Args)]
pub struct Generate {
    #[command(flatten)]
    model: ModelArguments,
    /// The question, or the text to continue for a model without chat template
    #[arg(long)]
    prompt: String,
    /// The levels asked for, such as helpfulness=5,honesty=2
    #[arg(long, default_value = "")]
    want: String,
    #[command(flatten)]
    sampling: SamplingArguments,
}

impl Generate {
    /// Prints the answer alone.
    pub fn run(&self) -> anyhow::Result<()> {
        let params = self.sampling.params()?;
        let speaker = self.model.read_speaker()?;
        let lm = &speaker.lm;
        let user = speaker.user_turn(&self.prompt, &self.want)?;
        let messages: Vec<Message> = speaker.system_turn("", &self.want)?.into_iter().chain([user]).collect();
        let prompt = lm.tokenizer.encode_chat(&messages)?;
        let context = lm.config.max_position_embeddings;
        let n = prompt.len().saturating_add(params.max_new_tokens);
        ensure!(n <= context, "prompt and answer: {n} tokens, expected at most the model's {context}");
        ensure!(!prompt.is_empty(), "--prompt: found no token, expected at least one");
        let stops = self.sampling.stops(lm);
        let rng = TokenRng::new(self.sampling.seed, 0);
        let answers = generate(&lm.model, std::slice::from_ref(&prompt), 1, &params, &stops, &rng);
        ensure!(answers[0].logprobs.iter().all(|logprob| logprob.is_finite()), NO_NUMBERS);
        let text = lm.tokenizer.decode_continuation(&prompt, &answers[0].tokens)?;
        Ok(writeln!(std::io::stdout(), "{}", stops.cut(&text))?)
    }
}

/// `moslim logprobs`
#[derive(Args)]
pub struct Logprobs {
    #[command(flatten)]
    model: ModelArguments,
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
        ensure!(logprobs.iter().all(|logprob| logprob.is_finite()), NO_NUMBERS);
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
