//! A contextual bandit: the prompt's last token names the token to answer with.

use burn::tensor::Device;
use moslim_data::Request;
use moslim_lm::{SamplingParams, in_parallel};
use moslim_rl::{
    Algorithm, KlConfig, PolicyPrompt, PpoConfig, ReferencePrompt, RlooConfig, StepStats, TrainingConfig,
};

use super::{algorithms, model, rng, trainer, training};

/// Ids 0..4 are answers, ids 4..8 name them.
const N_ARMS: u32 = 4;
const BEGIN: u32 = 8;
const STEPS: usize = 60;

fn config() -> TrainingConfig {
    TrainingConfig { reference_prompt: ReferencePrompt::Plain, free_prompt_coef: 1.0, ..training(4, 1) }
}

fn rloo() -> Algorithm {
    Algorithm::Rloo(RlooConfig { kl: KlConfig::in_reward(0.01), ..RlooConfig::default() })
}

/// A prompt that asks for an arm, or for none.
fn prompt(arm: Option<u32>) -> PolicyPrompt {
    let tokens = arm.map_or(vec![BEGIN], |arm| vec![BEGIN, N_ARMS + arm]);
    let request = Request { levels: vec![arm.map(f64::from)] };
    PolicyPrompt { prompt: "".into(), request, tokens, plain_tokens: vec![BEGIN] }
}

fn asked_arm(prompt: &PolicyPrompt, answer: &[u32]) -> f64 {
    let asked = prompt.request.levels[0].expect("only prompts with a request are scored");
    f64::from(u8::from(f64::from(answer[0]) == asked))
}

fn train(config: TrainingConfig, reward: impl Fn(&PolicyPrompt, &[u32]) -> f64) -> Vec<StepStats> {
    train_by(rloo(), config, reward)
}

fn train_by(
    algorithm: Algorithm,
    config: TrainingConfig,
    mut reward: impl Fn(&PolicyPrompt, &[u32]) -> f64,
) -> Vec<StepStats> {
    let mut trainer = trainer(config, algorithm, model(9, 1), STEPS);
    let prompts: Vec<PolicyPrompt> = (0..16).map(|i| prompt((i % 5 < 4).then_some(i % 5))).collect();
    (0..STEPS).map(|step| trainer.step(&prompts, &mut reward, &rng(step)).unwrap().stats).collect()
}

#[test]
fn every_algorithm_learns_the_asked_arm() {
    for algorithm in algorithms(0.01) {
        let name = algorithm.name();
        let stats = train_by(algorithm, config(), asked_arm);
        let (first, last) = (&stats[0], &stats[STEPS - 1]);
        // 9 ids, so chance is 1/9.
        assert!(first.score < 0.35, "{name}: {}", first.score);
        assert!(last.score > 0.9, "{name}: {}", last.score);
        assert!(last.kl > 0.5 && first.kl.abs() < 0.2, "{name}: {} {}", first.kl, last.kl);
        assert!(stats.iter().all(|step| step.grad_norm.is_finite()), "{name}");
    }
}

#[test]
fn sampling_and_training_agree() {
    // One update per rollout: the policy that samples is the policy that is differentiated, at every step, at any temperature.
    for temperature in [1.0, 0.7] {
        for algorithm in algorithms(0.01) {
            let sampling = SamplingParams { temperature, ..config().sampling };
            let stats = train_by(algorithm, TrainingConfig { sampling, ..config() }, asked_arm);
            assert!(stats.iter().all(|step| step.ratio_error < 1e-4));
        }
    }
}

#[test]
fn a_reward_that_ignores_the_request_teaches_no_control() {
    let stats = train(config(), |_, answer| f64::from(u8::from(answer[0] == 2)));
    assert!(stats[STEPS - 1].score > 0.9);
    // Scored against the request, always answering 2 is right for a quarter of the prompts.
    let stats = train(config(), |_, _| 0.5);
    assert!((stats[STEPS - 1].frac_reward_zero_std, stats[STEPS - 1].score) == (1.0, 0.5));
}

#[test]
fn answers_to_prompts_without_request_stay_where_they_were() {
    let anchored = train(config(), asked_arm);
    let adrift = train(TrainingConfig { free_prompt_coef: 0.0, ..config() }, asked_arm);
    let divergence = |stats: &[StepStats]| {
        let late = stats[STEPS - 20..].iter().map(|step| step.free_prompt_kl.expect("some prompts are free"));
        late.sum::<f64>() / 20.0
    };
    assert!(anchored[0].free_prompt_kl.expect("some prompts are free").abs() < 1e-6);
    let (anchored, adrift) = (divergence(&anchored), divergence(&adrift));
    assert!(anchored < 0.1 && adrift > anchored + 0.1, "{anchored} {adrift}");
}

#[test]
fn micro_batches_change_nothing_but_speed() {
    let whole = train(TrainingConfig { micro_batch_size: 1000, ..config() }, asked_arm);
    let parts = train(TrainingConfig { micro_batch_size: 3, ..config() }, asked_arm);
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-4 * (1.0 + a.abs());
    assert!(close(whole[0].grad_norm, parts[0].grad_norm), "{} {}", whole[0].grad_norm, parts[0].grad_norm);
    assert!(
        close(whole[0].loss, parts[0].loss) && close(whole[0].entropy.unwrap(), parts[0].entropy.unwrap())
    );
    let bits = |stats: &[StepStats]| stats.iter().map(|step| step.loss.to_bits()).collect::<Vec<_>>();
    let again = train(TrainingConfig { micro_batch_size: 3, ..config() }, asked_arm);
    assert_eq!(bits(&parts), bits(&again));
    // Two runs at once have one core each, so their micro-batches take turns.
    for on_one_core in in_parallel(&Device::default(), vec![(), ()], |()| {
        train(TrainingConfig { micro_batch_size: 3, ..config() }, asked_arm)
    }) {
        assert_eq!(bits(&parts), bits(&on_one_core));
    }
}

#[test]
fn gradient_checkpointing_changes_nothing_but_memory_and_speed() {
    // PPO has a value model of its own, whose layers forget as well.
    for algorithm in [rloo(), Algorithm::Ppo(PpoConfig::default())] {
        let [kept, forgotten] = [false, true].map(|gradient_checkpointing| {
            train_by(algorithm.clone(), TrainingConfig { gradient_checkpointing, ..config() }, asked_arm)
        });
        let close = |a: f64, b: f64| (a - b).abs() <= 1e-4 * (1.0 + a.abs());
        for (kept, forgotten) in kept.iter().zip(&forgotten).take(5) {
            assert!(close(kept.loss, forgotten.loss), "{} {}", kept.loss, forgotten.loss);
            assert!(close(kept.grad_norm, forgotten.grad_norm), "{} {}", kept.grad_norm, forgotten.grad_norm);
        }
    }
}
