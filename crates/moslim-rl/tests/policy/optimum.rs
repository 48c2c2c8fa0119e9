//! Tasks with a known optimum.

use burn::module::Module;
use moslim_lm::{CausalLm, Exchange, LrSchedule, OptimizerConfig, response_distributions};
use moslim_rl::{
    Algorithm, GrpoConfig, KlConfig, KlPlacement, PolicyPrompt, PpoConfig, RlooConfig, TrainingConfig,
    ValueModel,
};

use super::{algorithms, asking, model, rng, trainer, training};

const ARMS: usize = 4;

/// The probability of every first token.
fn probabilities(policy: &CausalLm, prompt: &[u32]) -> Vec<f64> {
    let exchange = [Exchange { prompt, response: &[0] }];
    let logprobs = response_distributions(&policy.valid(), &exchange, 1.0);
    let logprobs: Vec<f32> = logprobs.into_data().try_to_vec().unwrap();
    logprobs.into_iter().map(|logprob| f64::from(logprob).exp()).collect()
}

/// With a reward r and a weight β of the KL term the best policy is `π ∝ π_ref e^{r/β}`, wherever the term is.
#[test]
fn the_kl_term_leads_to_the_tilted_reference() {
    const REWARDS: [f64; ARMS] = [0.0, 0.5, 1.0, -1.0];
    const BETA: f64 = 0.5;
    const STEPS: usize = 150;
    let kl = KlConfig::in_reward(BETA);
    let in_loss = KlConfig { placement: KlPlacement::Loss, ..kl };
    let rloo = |kl| Algorithm::Rloo(RlooConfig { kl, normalize_advantages: false, ..RlooConfig::default() });
    let ppo = |kl, value_model| {
        Algorithm::Ppo(PpoConfig {
            kl,
            value_model,
            whiten_advantages: false,
            lam: 1.0,
            ..PpoConfig::default()
        })
    };
    for algorithm in [
        rloo(kl),
        rloo(in_loss),
        ppo(kl, ValueModel::Policy),
        ppo(in_loss, ValueModel::SharedTrunk),
        ppo(kl, ValueModel::None),
        Algorithm::Grpo(GrpoConfig { kl: in_loss, scale_rewards: false, ..GrpoConfig::default() }),
    ] {
        let start = model(ARMS, 3);
        let prompt = asking(vec![0, 1]);
        let tilted: Vec<f64> = probabilities(&start, &prompt.tokens)
            .iter()
            .zip(REWARDS)
            .map(|(p, reward)| p * (reward / BETA).exp())
            .collect();
        let total: f64 = tilted.iter().sum();
        // The rate falls to 0, so that the noise of sampling is averaged.
        let optimizer =
            OptimizerConfig { lr_scheduler_type: LrSchedule::Linear, ..training(16, 1).optimizer };
        let config = TrainingConfig { optimizer, micro_batch_size: 512, ..training(16, 1) };
        let mut trainer = trainer(config, algorithm.clone(), start, STEPS);
        let mut reward = |_: &PolicyPrompt, answer: &[u32]| REWARDS[answer[0] as usize];
        for step in 0..STEPS {
            trainer.step(&vec![prompt.clone(); 16], &mut reward, &rng(step)).unwrap();
        }
        let found = probabilities(trainer.policy(), &prompt.tokens);
        let expected: Vec<f64> = tilted.iter().map(|weight| weight / total).collect();
        let largest = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(largest < 0.05, "{algorithm:?}: {found:?} instead of {expected:?}");
    }
}

/// Two tokens: after 0 everything is worth 0.2, after 1 only 2 is worth something, 1: at first 0.25 in the mean, in the end all.
#[test]
fn every_algorithm_finds_the_path_that_pays_later() {
    const STEPS: usize = 120;
    let worth = |answer: &[u32]| match answer {
        [0, _] => 0.2,
        [1, 2] => 1.0,
        _ => 0.0,
    };
    for algorithm in algorithms(0.0) {
        let name = algorithm.name();
        // Slowly, or whoever tries 1 too early never finds the 2.
        let optimizer = OptimizerConfig { learning_rate: 4e-3, ..training(16, 2).optimizer };
        let config = TrainingConfig { micro_batch_size: 256, optimizer, ..training(16, 2) };
        let mut trainer = trainer(config, algorithm, model(ARMS, 7), STEPS);
        let mut reward = |_: &PolicyPrompt, answer: &[u32]| worth(answer);
        let prompts = vec![asking(vec![0, 1]); 16];
        let scores: Vec<f64> = (0..STEPS)
            .map(|step| trainer.step(&prompts, &mut reward, &rng(step)).unwrap().stats.score)
            .collect();
        // One of 4 firsts gives 0.2, one of 16 pairs 1: 0.1125 at random.
        assert!((scores[0] - 0.1125).abs() < 0.1, "{name}: {}", scores[0]);
        assert!(scores[STEPS - 1] > 0.9, "{name}: {}", scores[STEPS - 1]);
    }
}

/// A value model learns what a state is worth: with it the advantages of a task without choice are 0.
#[test]
fn values_become_returns() {
    const STEPS: usize = 200;
    for value_model in [ValueModel::Policy, ValueModel::SharedTrunk] {
        let ppo = PpoConfig {
            kl: KlConfig::in_reward(0.0),
            value_model,
            lam: 1.0,
            vf_coef: 1.0,
            ..PpoConfig::default()
        };
        let mut trainer = trainer(training(4, 2), Algorithm::Ppo(ppo), model(ARMS, 2), STEPS);
        // The prompt alone decides: 1 or 0.
        let prompts: Vec<PolicyPrompt> = (0..8).map(|i| asking(vec![0, i % 2])).collect();
        let mut reward = |prompt: &PolicyPrompt, _: &[u32]| f64::from(prompt.tokens[1]);
        let losses: Vec<f64> = (0..STEPS)
            .map(|step| {
                trainer.step(&prompts, &mut reward, &rng(step)).unwrap().stats.metrics["loss/value_avg"]
            })
            .collect();
        // Values are 0 at first, returns 0 or 1: ½ · ½.
        assert!((losses[0] - 0.25).abs() < 1e-3, "{value_model:?}: {}", losses[0]);
        assert!(losses[STEPS - 1] < 0.01, "{value_model:?}: {}", losses[STEPS - 1]);
    }
}
