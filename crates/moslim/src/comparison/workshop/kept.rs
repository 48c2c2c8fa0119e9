//! Trainings that are kept on the disk, so that a comparison that was killed does not do them again.

use moslim_lm::{CausalLm, load_module, read_json, save_module};

use super::Workshop;
use crate::Error;
use crate::allocator::give_back_freed_memory;
use crate::comparison::measured::Cost;
use crate::file_name::file_name;
use crate::stages::{forget_peak, peak_bytes};

/// Where a method's folder has its trainings.
const TRAININGS: &str = "trainings";

impl Workshop<'_> {
    /// Trains a policy, or reads the one that an earlier try has trained.
    ///
    /// The policy that `train` returns must have the parameters of [`Ground::trainable`](super::Ground::trainable); `train` is given
    /// the number of the training, to draw by.
    pub(in crate::comparison) fn kept(
        &mut self,
        name: &str,
        train: impl FnOnce(&mut Self, usize) -> Result<CausalLm, Error>,
    ) -> Result<CausalLm, Error> {
        self.n_trainings += 1;
        let number = self.n_trainings;
        let run = self.ground.run;
        let folder = run.folder.join(TRAININGS);
        let file = file_name(name);
        let (weights, bill) = (folder.join(format!("{file}.bpk")), folder.join(format!("{file}.json")));
        if run.resume && bill.exists() {
            let cost: Cost = read_json(&bill)?;
            self.cost.add(&cost);
            self.n_draws += NO_DRAWS_OF_OTHERS;
            return Ok(load_module(self.ground.trainable(number)?, &weights)?);
        }
        std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
        let before = (std::mem::take(&mut self.cost), self.n_draws);
        // What others have freed is not what this training takes.
        give_back_freed_memory();
        forget_peak();
        let policy = train(self, number)?;
        let mut cost = std::mem::replace(&mut self.cost, before.0);
        self.n_draws = before.1 + NO_DRAWS_OF_OTHERS;
        cost.trainings = cost.trainings.max(1);
        cost.peak_bytes = peak_bytes();
        save_module(&policy, &weights)?;
        run.write(
            &format!("{TRAININGS}/{file}.json"),
            &serde_json::to_vec_pretty(&cost).expect("a bill serializes"),
        )?;
        self.cost.add(&cost);
        Ok(policy)
    }
}

/// Every training has so many draws of its own, whether it was done now or before.
const NO_DRAWS_OF_OTHERS: u64 = 1 << 20;
