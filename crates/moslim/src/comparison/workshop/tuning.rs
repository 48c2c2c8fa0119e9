//! Training on examples and on pairs that are there.

use std::ops::Range;

use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use moslim_baselines::{AnswerPair, pair_gradients, pair_logprobs};
use moslim_lm::{CausalLm, EpochBatches, Exchange, Optimizer, sft_gradients};

use super::{REFERENCE, UPDATE, Workshop};
use crate::run::Purpose;
use crate::{Error, TuningRecipe};

/// The tokens of a prompt and of its answer.
pub(in crate::comparison) type Example = (Vec<u32>, Vec<u32>);

/// The tokens of a prompt, of the preferred answer and of the other one.
#[derive(Clone, Debug)]
pub(in crate::comparison) struct Pair {
    pub prompt: Vec<u32>,
    pub chosen: Vec<u32>,
    pub rejected: Vec<u32>,
}

impl Pair {
    pub(in crate::comparison) fn tokens(&self) -> AnswerPair<'_> {
        AnswerPair { prompt: &self.prompt, chosen: &self.chosen, rejected: &self.rejected }
    }
}

impl Workshop<'_> {
    /// Fine-tunes a policy on examples; without any it stays as it is.
    pub(in crate::comparison) fn fine_tuned(
        &mut self,
        name: &str,
        recipe: &TuningRecipe,
        policy: CausalLm,
        examples: &[Example],
    ) -> Result<CausalLm, Error> {
        self.note_residents_of_tuning();
        self.descended(name, recipe, policy, examples.len(), |policy, rows| {
            let batch: Vec<Exchange<'_>> = rows
                .iter()
                .map(|&row| Exchange { prompt: &examples[row].0, response: &examples[row].1 })
                .collect();
            Ok(sft_gradients(policy, &batch, recipe.micro_batch_size, recipe.precision))
        })
    }

    /// Trains a policy on pairs; `loss` is told which ones it is about and `log π/π_ref` of their answers, and says what each costs.
    ///
    /// The reference is the policy as it was.
    pub(in crate::comparison) fn tuned_on_pairs(
        &mut self,
        name: &str,
        policy: CausalLm,
        pairs: &[Pair],
        loss: impl Fn(&[usize], Tensor<1>, Tensor<1>) -> Tensor<1> + Sync,
    ) -> Result<CausalLm, Error> {
        let recipe = &self.ground.recipe.preference_tuning;
        self.note_residents_of_tuning();
        let all: Vec<AnswerPair<'_>> = pairs.iter().map(Pair::tokens).collect();
        let references = self.pair_references(&policy, &all)?;
        self.descended(name, recipe, policy, pairs.len(), |policy, rows| {
            let batch: Vec<AnswerPair<'_>> = rows.iter().map(|&row| all[row]).collect();
            let of_batch: Vec<[f64; 2]> = rows.iter().map(|&row| references[row]).collect();
            let of_part = |part: Range<usize>, chosen, rejected| loss(&rows[part], chosen, rejected);
            Ok(pair_gradients(policy, &batch, &of_batch, recipe.micro_batch_size, recipe.precision, of_part)?)
        })
    }

    /// log π of both answers of pairs under a model that does not learn.
    pub(in crate::comparison) fn pair_references(
        &mut self,
        model: &CausalLm,
        pairs: &[AnswerPair<'_>],
    ) -> Result<Vec<[f64; 2]>, Error> {
        use burn::module::Module;
        let size = self.ground.recipe.preference_tuning.micro_batch_size;
        self.timed(REFERENCE, |_| Ok(pair_logprobs(&model.valid(), pairs, size)?))
    }

    /// Steps down gradients over so many examples, in an order of its own.
    pub(in crate::comparison) fn descended(
        &mut self,
        name: &str,
        recipe: &TuningRecipe,
        mut policy: CausalLm,
        n_examples: usize,
        gradients: impl Fn(&CausalLm, &[usize]) -> Result<(GradientsParams, f64), Error>,
    ) -> Result<CausalLm, Error> {
        const STAGE: &str = "fine-tuning";
        if n_examples == 0 {
            self.ground.run.progress.say(&format!("{name}: nothing to learn from"));
            return Ok(policy);
        }
        let run = self.ground.run;
        let seed = run.member_seed(Purpose::ComparisonOrder, self.next_draw());
        let per_epoch = n_examples as f64 / recipe.batch_size.min(n_examples) as f64;
        let n_steps = ((recipe.num_train_epochs * per_epoch).round() as usize).max(1);
        let mut order = EpochBatches::new(n_examples, recipe.batch_size, seed);
        let mut optimizer = Optimizer::new(recipe.optimizer.clone(), n_steps);
        let mut progress = run.progress.stage(name, n_steps);
        for step in 1..=n_steps {
            run.check_interrupted(STAGE)?;
            let rows = order.next().expect("the order has no end");
            let (loss, norm);
            (policy, loss, norm) = self.timed(UPDATE, |_| {
                let (gradients, loss) = gradients(&policy, &rows)?;
                let (policy, norm) = optimizer.step(policy, gradients);
                Ok((policy, loss, norm))
            })?;
            if !norm.is_finite() || !loss.is_finite() {
                return Err(Error::Diverged { stage: STAGE, step });
            }
            progress.advance(|| format!("loss {loss:.3}"));
        }
        progress.finish();
        Ok(policy)
    }
}
