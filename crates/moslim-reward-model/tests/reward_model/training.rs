//! How training goes on: in parts, without the backbone, after an interruption, and with a look at other answers.

use burn::module::Module;
use moslim_lm::CausalLm;
use moslim_reward_model::*;

use crate::support::*;

#[test]
fn parts_of_a_batch_have_the_gradient_of_the_batch() {
    // Labels are unevenly spread over the parts, and some are pairs.
    let heads = [HeadKind::Softmax, HeadKind::BradleyTerry { margin: 0.0 }]
        .map(|kind| HeadConfig { kind, hidden_size: None });
    let data = data(&records(40, 3, |row| [row % 5 == 0, true]), &heads);
    for loss_aggregation in [
        LossAggregation::SumOfHeadMeans,
        LossAggregation::MeanOverLabels,
        LossAggregation::EntropyNormalised,
        LossAggregation::Uncertainty,
    ] {
        let steps = [1, 8].map(|micro_batch_size| {
            let config = FitConfig { micro_batch_size, batch_size: 8, loss_aggregation, ..config(1.0) };
            let mut trainer = Trainer::new(fresh(&heads).0, &data, &config, 0);
            let step = trainer.step().unwrap();
            (step.head_losses, step.grad_norm)
        });
        let [(small_losses, small_norm), (losses, norm)] = &steps;
        assert!((small_norm - norm).abs() < 1e-4 * norm, "{loss_aggregation:?}: {small_norm} {norm}");
        for (small, whole) in small_losses.iter().zip(losses) {
            assert!((small.unwrap() - whole.unwrap()).abs() < 1e-5, "{small:?} {whole:?}");
        }
    }
}

#[test]
fn a_frozen_backbone_stays_and_its_heads_learn() {
    let heads = both(HeadKind::Softmax);
    let data = data(&records(600, 0, |_| [true, true]), &heads);
    let (start, _) = fresh(&heads);
    let before = start.valid().features(&exchanges_of(&data)[..8]);
    let frozen = FitConfig { backbone: Backbone::Frozen, ..config(20.0) };
    let mut trainer = Trainer::new(start, &data, &frozen, 0);
    let first = trainer.step().unwrap();
    let last = std::iter::from_fn(|| trainer.step()).last().unwrap();
    assert_eq!(trainer.model().valid().features(&exchanges_of(&data)[..8]), before);
    // Random features of the last word say something about the words before, not everything.
    let loss = |step: &FitStep| step.head_losses[0].unwrap();
    assert!(loss(&last) < 0.9 * loss(&first), "{first:?} {last:?}");

    // The gradient of the heads is the one that they have in a whole model.
    let whole = FitConfig { backbone: Backbone::Trained, ..frozen.clone() };
    let step = Trainer::new(fresh(&heads).0, &data, &whole, 0).step().unwrap();
    assert!((step.head_losses[0].unwrap() - loss(&first)).abs() < 1e-5);
    assert!(first.grad_norm < step.grad_norm);
}

fn exchanges_of(data: &TrainingSet) -> Vec<moslim_lm::Exchange<'_>> {
    data.answers.iter().map(LabeledExchange::exchange).collect()
}

#[test]
fn a_training_that_goes_on_from_a_checkpoint_ends_in_the_same_bits() {
    let heads = [HeadKind::Ordinal, HeadKind::Softmax].map(|kind| HeadConfig { kind, hidden_size: Some(4) });
    let data = data(&records(80, 0, |row| [row % 2 == 0, true]), &heads);
    for (backbone, loss_aggregation) in [
        (Backbone::Trained, LossAggregation::SumOfHeadMeans),
        (Backbone::Trained, LossAggregation::Uncertainty),
        (Backbone::Frozen, LossAggregation::SumOfHeadMeans),
    ] {
        let config = FitConfig { backbone, loss_aggregation, ..config(2.0) };
        let mut straight = Trainer::new(fresh(&heads).0, &data, &config, 5);
        let steps: Vec<FitStep> = std::iter::from_fn(|| straight.step()).collect();
        for stop in [1, 4, 9] {
            let folder = tempfile::tempdir().unwrap();
            let mut killed = Trainer::new(fresh(&heads).0, &data, &config, 5);
            (0..stop).for_each(|_| drop(killed.step()));
            killed.save(folder.path()).unwrap();
            let again = Trainer::new(fresh(&heads).0, &data, &config, 5);
            let mut resumed = again.resume(folder.path(), stop).unwrap();
            let rest: Vec<FitStep> = std::iter::from_fn(|| resumed.step()).collect();
            assert_eq!(rest, steps[stop..]);
            assert_eq!(bits(&resumed.model().valid()), bits(&straight.model().valid()));
        }
    }
}

#[test]
fn validation_measures_what_the_step_sees() {
    let heads = [HeadKind::Regression, HeadKind::BradleyTerry { margin: 0.0 }]
        .map(|kind| HeadConfig { kind, hidden_size: None });
    let all = data(&records(16, 3, |_| [true, true]), &heads);
    let config = FitConfig { batch_size: 64, micro_batch_size: 64, ..config(1.0) };
    let (model, _) = fresh(&heads);
    let seen = Validation::of(&model.valid(), &all, &config);
    let step = Trainer::new(model, &all, &config, 0).step().unwrap();
    let total: f64 = step.head_losses.iter().flatten().sum();
    assert!((seen.loss.unwrap() - total).abs() < 1e-5, "{seen:?} {total}");
    assert!((0.0..=1.0).contains(&seen.intensity_accuracy.unwrap()) && seen.mae.unwrap() > 0.0, "{seen:?}");
    let nothing = Validation::of(&fresh(&heads).0.valid(), &TrainingSet::default(), &config);
    assert_eq!((nothing.loss, nothing.mae), (None, None));
}

#[test]
fn learning_through_an_adapter_moves_the_heads_and_leaves_the_base() {
    let heads = both(HeadKind::Softmax);
    let (_, config_of_model) = fresh(&heads);
    let mut rng = rand::SeedableRng::seed_from_u64(3);
    let rng: &mut rand::rngs::ChaCha8Rng = &mut rng;
    let device = burn::tensor::Device::default().autodiff();
    let base = CausalLm::new(&config_of_model, rng, &device);
    let lora = moslim_lm::LoraConfig::new(4, 8.0, moslim_lm::TargetModules::Pattern("all-linear".into()));
    let with_adapter = base.clone().with_adapter(&lora, rng, "test".as_ref()).unwrap();
    let model = MultiHeadRewardModel::new(&with_adapter, 16, &schema(), &heads, rng);
    let data = data(&records(600, 0, |_| [true, true]), &heads);
    let trained = fit(model, &data, &config(3.0), 0, |_| std::ops::ControlFlow::Continue(()));
    let held_out = records(200, 9, |_| [true, true]);
    let merged = folder(trained.merged().valid(), config_of_model.clone(), &heads);
    assert!(accuracy(&merged, &held_out, 1) > 0.8, "{}", accuracy(&merged, &held_out, 1));
    assert!(trained.valid().num_params() > merged.model.num_params());
}
