//! A conversation in the terminal.

use std::io::{BufRead, IsTerminal, Write};

use anyhow::ensure;
use clap::Args;
use moslim_lm::{Message, TextStream, TokenRng, stream};

use crate::model_arguments::{ModelArguments, SamplingArguments, Speaker};
use crate::text_commands::NO_NUMBERS;

const HELP: &str = "/want LEVELS asks for other levels, such as /want helpfulness=5; /clear forgets the conversation; \
    /quit or the end of input ends it";

/// `moslim chat`
#[derive(Args)]
pub struct Chat {
    #[command(flatten)]
    model: ModelArguments,
    /// The levels asked for, such as helpfulness=5,honesty=2; /want changes them
    #[arg(long, default_value = "")]
    want: String,
    /// What the model is told before the conversation
    #[arg(long, default_value = "")]
    system: String,
    /// Answers every line by itself, as the policies of a run are trained
    #[arg(long)]
    single_turn: bool,
    #[command(flatten)]
    sampling: SamplingArguments,
}

impl Chat {
    /// Reads lines from standard input and writes the answers as they come.
    pub fn run(&self) -> anyhow::Result<()> {
        let params = self.sampling.params()?;
        let speaker = self.model.read_speaker()?;
        ensure!(
            speaker.lm.tokenizer.template().is_some(),
            "the model has no chat template and only continues text: use `moslim generate`"
        );
        self.check(&speaker, &self.want)?;
        let stops = self.sampling.stops(&speaker.lm);
        let (mut want, mut said) = (self.want.clone(), Vec::new());
        let mut n_answers = 0;
        notice(HELP)?;
        loop {
            let Some(line) = read_line()? else { return Ok(()) };
            match line.split_once(' ').unwrap_or((&line, "")) {
                ("", _) => continue,
                ("/quit", _) => return Ok(()),
                ("/clear", _) => said.clear(),
                ("/want", levels) => match self.check(&speaker, levels.trim()) {
                    Ok(()) => want = levels.trim().into(),
                    Err(error) => notice(&format!("{error}"))?,
                },
                _ => {
                    let turn = match speaker.user_turn(&line, &want) {
                        Ok(turn) => turn,
                        Err(error) => {
                            notice(&format!("{error}"))?;
                            continue;
                        }
                    };
                    said.push(turn);
                    let system = speaker.system_turn(&self.system, &want)?;
                    let prompt = prompt(&speaker, system.as_ref(), &mut said, params.max_new_tokens)?;
                    let rng = TokenRng::new(self.sampling.seed, n_answers);
                    let mut text = TextStream::new(&speaker.lm.tokenizer, &stops);
                    let mut written = Ok(());
                    let answer = stream(&speaker.lm.model, &prompt, &params, &stops, &rng, |tokens| {
                        if written.is_ok() {
                            written = write(text.next(tokens));
                        }
                    });
                    written?;
                    ensure!(answer.logprobs.iter().all(|logprob| logprob.is_finite()), NO_NUMBERS);
                    write(text.rest(&answer.tokens))?;
                    write("\n")?;
                    said.push(Message::assistant(text.text()));
                    n_answers += 1;
                    if self.single_turn {
                        said.clear();
                    }
                }
            }
        }
    }

    /// Whether these levels can be asked for.
    fn check(&self, speaker: &Speaker, want: &str) -> anyhow::Result<()> {
        speaker.system_turn(&self.system, want)?;
        speaker.user_turn("", want).map(drop)
    }
}

/// The conversation as the model reads it; what it cannot hold any more is forgotten, the oldest first.
fn prompt(
    speaker: &Speaker,
    system: Option<&Message>,
    said: &mut Vec<Message>,
    max_new_tokens: usize,
) -> anyhow::Result<Vec<u32>> {
    let context = speaker.lm.config.max_position_embeddings;
    loop {
        let messages: Vec<Message> = system.into_iter().chain(said.iter()).cloned().collect();
        let prompt = speaker.lm.tokenizer.encode_chat(&messages)?;
        let n = prompt.len().saturating_add(max_new_tokens);
        if n <= context {
            return Ok(prompt);
        }
        ensure!(said.len() > 1, "prompt and answer: {n} tokens, expected at most the model's {context}");
        notice("the oldest turn is forgotten")?;
        // A question and its answer.
        said.drain(..2);
    }
}

/// The next line of input, without its end.
fn read_line() -> anyhow::Result<Option<String>> {
    if std::io::stdin().is_terminal() {
        write!(std::io::stderr(), "> ")?;
        std::io::stderr().flush()?;
    }
    let mut line = Vec::new();
    let n = std::io::stdin().lock().read_until(b'\n', &mut line)?;
    Ok((n > 0).then(|| String::from_utf8_lossy(&line).trim().into()))
}

fn write(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn notice(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stderr(), "{text}")
}
