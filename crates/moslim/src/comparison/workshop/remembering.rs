//! What rewards remember, so that a training that was killed goes on.

use moslim_baselines::{Morlhf, Pmorl, RunningMeanStd};
use moslim_rl::Reward;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::comparison::ground::{Closeness, ExpectedLevels};
use crate::mapped_reward::RewardMemory;
use crate::{Error, MappedReward};

/// A reward whose next scores depend on what it remembers of the answers before.
pub(in crate::comparison) trait Remembering: Reward {
    /// What a checkpoint holds of it.
    type Memory: Serialize + DeserializeOwned;

    /// What it remembers.
    fn memory(&self) -> Self::Memory;

    /// Makes it what it was when [`memory`](Self::memory) was called.
    fn remember(&mut self, memory: Self::Memory) -> Result<(), Error>;
}

impl Remembering for MappedReward {
    type Memory = RewardMemory;

    fn memory(&self) -> RewardMemory {
        MappedReward::memory(self)
    }

    fn remember(&mut self, memory: RewardMemory) -> Result<(), Error> {
        MappedReward::remember(self, memory);
        Ok(())
    }
}

impl Remembering for Morlhf<ExpectedLevels<'_>> {
    type Memory = Vec<RunningMeanStd>;

    fn memory(&self) -> Vec<RunningMeanStd> {
        self.running().to_vec()
    }

    fn remember(&mut self, memory: Vec<RunningMeanStd>) -> Result<(), Error> {
        Ok(self.set_running(memory)?)
    }
}

impl Remembering for Pmorl<Closeness<'_>> {
    type Memory = ();

    fn memory(&self) {}

    fn remember(&mut self, (): ()) -> Result<(), Error> {
        Ok(())
    }
}
