//! What makes a trained model give several opinions: posteriors of its heads, or further heads.

use std::sync::Arc;

use burn::module::Module;
use moslim_reward_model::{
    EnsembleMember, Features, MultiHeadRewardModel, Trainer, Uncertainty, UncertaintyConfig, fit_posteriors,
};

use super::Stage;
use super::finished::Fitting;
use crate::Error;
use crate::run::Purpose;

/// The uncertainty of a trained model's heads; nothing where the recipe asks for none, or for further models.
pub(super) fn of_heads(
    stage: &Stage<'_>,
    fitting: &Fitting<'_>,
    model: &MultiHeadRewardModel,
) -> Result<Option<Uncertainty>, Error> {
    let (run, config) = (stage.run, stage.training.config);
    let data = &stage.sets.training_tokens;
    match config.uncertainty {
        None | Some(UncertaintyConfig::ModelEnsemble { .. }) => Ok(None),
        Some(UncertaintyConfig::Laplace { draws, prior_precision }) => {
            let mut posteriors = fit_posteriors(model, data, config, prior_precision);
            let before = stage.origin.grown.as_ref().and_then(|grown| grown.from.uncertainty.as_ref());
            if let Some(Uncertainty::Laplace { posteriors: before, .. }) = before {
                // What was learned of a head that nobody tells anything now stands.
                for (index, before) in before.iter().enumerate().filter(|(index, _)| !data.teaches(*index)) {
                    posteriors[index] = before.clone();
                }
            }
            Ok(Some(Uncertainty::Laplace { posteriors, draws, seed: run.seed(Purpose::Opinions) }))
        }
        Some(UncertaintyConfig::HeadEnsemble { members }) => {
            const STAGE: &str = "heads";
            let states = Arc::new(Features::of(model, data, config.precision));
            let [fitted, kept] = [fitting.exchanges(), fitting.kept_exchanges()].map(|a| model.features(&a));
            let mut progress = run.progress.stage(STAGE, (members - 1) * config.total_steps(data.len()));
            let mut ensemble = Vec::new();
            for member in 1..members {
                let drawn = data.bootstrapped(&mut run.member_rng(Purpose::Bootstrapping, member));
                let fresh = model.clone().train();
                let mut fresh =
                    fresh.with_fresh_heads(&stage.heads, &mut run.member_rng(stage.training.heads, member));
                // A head that nobody tells anything has one opinion, not a random one.
                for (index, head) in
                    model.heads().iter().enumerate().filter(|(index, _)| !data.teaches(*index))
                {
                    fresh = fresh.with_head(index, head.clone().train());
                }
                let order = run.member_seed(stage.training.order, member);
                let mut trainer = Trainer::on_features(fresh, &drawn, config, order, states.clone());
                while let Some(step) = trainer.step() {
                    run.check_interrupted(STAGE)?;
                    if !step.grad_norm.is_finite() {
                        return Err(Error::Diverged { stage: STAGE, step: step.step });
                    }
                    progress.advance(|| format!("member {member}"));
                }
                let trained = trainer.model().valid();
                let [outputs, kept] = [&fitted, &kept].map(|states| trained.outputs_of_features(states));
                let readers = fitting.readers(&trained, &outputs, &kept, stage.origin.readers());
                ensemble.push(EnsembleMember { heads: trained.heads().to_vec(), readers });
            }
            progress.finish();
            Ok(Some(Uncertainty::Heads(ensemble)))
        }
    }
}
