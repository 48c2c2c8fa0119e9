//! A training that goes on from files ends where one that never stopped does.

use burn::module::Module;
use moslim_lm::{CausalLm, Exchange, response_logprobs};
use moslim_rl::{
    Algorithm, KlConfig, PolicyPrompt, PolicyTrainer, PpoConfig, RlooConfig, TrainingConfig, ValueModel,
    ops::AdaptiveKl,
};

use super::{algorithms, asking, model, rng, trainer, training};

const STEPS: usize = 6;

fn bits(policy: &CausalLm) -> Vec<u32> {
    let exchange = [Exchange { prompt: &[0], response: &[1, 2, 3, 4] }];
    let logprobs = response_logprobs(&policy.valid(), &exchange, 1.0).logprobs;
    logprobs.into_data().try_to_vec::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
}

fn go(trainer: &mut PolicyTrainer, until: usize) {
    let prompts = vec![asking(vec![0]); 4];
    while trainer.steps_done() < until {
        let step = trainer.steps_done();
        let mut reward = |_: &PolicyPrompt, answer: &[u32]| f64::from(answer[0]);
        trainer.step(&prompts, &mut reward, &rng(step)).unwrap();
    }
}

#[test]
fn every_algorithm_goes_on_from_files() {
    let kl =
        KlConfig { adaptive: Some(AdaptiveKl { target: 0.01, horizon: 50.0 }), ..KlConfig::in_reward(0.1) };
    let more = [
        Algorithm::Ppo(PpoConfig { value_model: ValueModel::SharedTrunk, ..PpoConfig::default() }),
        Algorithm::Rloo(RlooConfig { kl, ..RlooConfig::default() }),
    ];
    for algorithm in algorithms(0.05).into_iter().chain(more) {
        let config = TrainingConfig { num_mini_batches: 2, ref_model_sync_steps: Some(2), ..training(4, 3) };
        let begin = || trainer(config.clone(), algorithm.clone(), model(6, 8), STEPS);
        let mut straight = begin();
        go(&mut straight, STEPS);
        let mut first = begin();
        go(&mut first, 3);
        let folder = tempfile::tempdir().unwrap();
        first.save(folder.path()).unwrap();
        let mut second = begin().resume(folder.path()).unwrap();
        assert_eq!(second.steps_done(), 3);
        assert_ne!(bits(second.policy()), bits(begin().policy()), "{algorithm:?}");
        go(&mut second, STEPS);
        assert_eq!(bits(second.policy()), bits(straight.policy()), "{algorithm:?}");
    }
}
