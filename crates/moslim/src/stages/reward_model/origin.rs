//! What a reward model starts from: the start policy, or a reward model that gets further heads.

use moslim_lm::{CausalLm, ModelConfig, Tokenizer};
use moslim_reward_model::{HeadConfig, HeadReader, RewardModelFolder};

use crate::stages::policy::read_start;
use crate::{Error, Run};

/// What a reward model starts from.
#[derive(Clone)]
pub(super) struct Origin {
    pub config: ModelConfig,
    pub tokenizer: Tokenizer,
    /// Where the backbone comes from.
    pub model: CausalLm,
    /// The reward model that gets further heads.
    pub grown: Option<Grown>,
}

/// A trained reward model that learns further objectives.
#[derive(Clone)]
pub(super) struct Grown {
    pub from: RewardModelFolder,
    /// Whether its heads learn what they put out themselves, where there is no label for them.
    pub rehearsal: bool,
}

impl Origin {
    /// The start policy of a run.
    pub(super) fn start(run: &Run) -> Result<Self, Error> {
        let lm = read_start(run, &run.device.clone().autodiff())?.lm;
        Ok(Self { config: lm.config, tokenizer: lm.tokenizer, model: lm.model, grown: None })
    }

    /// A reward model that gets further heads.
    pub(super) fn grown(from: RewardModelFolder, rehearsal: bool) -> Self {
        Self {
            config: from.config.clone(),
            tokenizer: from.tokenizer.clone(),
            model: CausalLm::of_decoder(from.model.decoder().clone()),
            grown: Some(Grown { from, rehearsal }),
        }
    }

    /// The readers of the heads that a grown model has already.
    pub(super) fn readers(&self) -> &[HeadReader] {
        self.grown.as_ref().map_or(&[], |grown| &grown.from.readers)
    }

    /// The heads of the recipe, with those that a grown model has in place of its first.
    pub(super) fn heads(&self, mut heads: Vec<HeadConfig>) -> Vec<HeadConfig> {
        if let Some(grown) = &self.grown {
            heads[..grown.from.heads.len()].clone_from_slice(&grown.from.heads);
        }
        heads
    }
}
