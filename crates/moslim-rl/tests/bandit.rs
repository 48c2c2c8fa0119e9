//! RLOO on a contextual bandit: the prompt's last token names the token to answer with.

use burn::tensor::Device;
use moslim_data::Request;
use moslim_lm::{
    CausalLm, LrSchedule, ModelConfig, OptimizerConfig, Precision, SamplingParams, Stops, TokenRng,
    in_parallel,
};
use moslim_rl::{PolicyPrompt, ReferencePrompt, Rloo, RlooConfig, StepStats};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

/// Ids 0..4 are answers, ids 4..8 name them.
const N_ARMS: u32 = 4;
const BEGIN: u32 = 8;
const STEPS: usize = 60;

fn model_config() -> ModelConfig {
    ModelConfig::small(9, 16, 32, 1, 2)
}

fn config() -> RlooConfig {
    RlooConfig {
        num_generations: 4,
        beta: 0.01,
        num_iterations: 1,
        epsilon: 0.2,
        normalize_advantages: true,
        missing_eos_penalty: 0.0,
        reference_prompt: ReferencePrompt::Plain,
        free_prompt_coef: 1.0,
        micro_batch_size: 16,
        precision: Precision::F32,
        sampling: SamplingParams { max_new_tokens: 1, ..SamplingParams::default() },
        optimizer: OptimizerConfig {
            learning_rate: 1e-2,
            warmup_ratio: 0.0,
            lr_scheduler_type: LrSchedule::Constant,
            adam_beta1: 0.9,
            adam_beta2: 0.95,
            adam_epsilon: 1e-8,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
        },
    }
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

fn train(config: RlooConfig, reward: impl Fn(&PolicyPrompt, &[u32]) -> f64) -> Vec<StepStats> {
    let device = Device::default().autodiff();
    let policy = CausalLm::new(&model_config(), &mut ChaCha8Rng::seed_from_u64(1), &device);
    let mut rloo = Rloo::new(config, policy, Stops::default(), STEPS);
    let prompts: Vec<PolicyPrompt> = (0..16).map(|i| prompt((i % 5 < 4).then_some(i % 5))).collect();
    let mut reward = reward;
    (0..STEPS as u64).map(|step| rloo.step(&prompts, &mut reward, &TokenRng::new(5, step)).unwrap()).collect()
}

#[test]
fn the_asked_arm_is_learned() {
    let stats = train(config(), asked_arm);
    let (first, last) = (&stats[0], &stats[STEPS - 1]);
    // 9 ids, so chance is 1/9.
    assert!(first.score < 0.35, "{}", first.score);
    assert!(last.score > 0.9, "{}", last.score);
    assert!(last.kl > 0.5 && first.kl.abs() < 0.2, "{} {}", first.kl, last.kl);
    assert!(stats.iter().all(|step| step.grad_norm.is_finite()));
}

#[test]
fn sampling_and_training_agree() {
    let stats = train(config(), asked_arm);
    // One update per rollout: the policy that samples is the policy that is differentiated, at every step.
    assert!(stats.iter().all(|step| step.ratio_error < 1e-4));
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
    let adrift = train(RlooConfig { free_prompt_coef: 0.0, ..config() }, asked_arm);
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
    let whole = train(RlooConfig { micro_batch_size: 1000, ..config() }, asked_arm);
    let parts = train(RlooConfig { micro_batch_size: 3, ..config() }, asked_arm);
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-4 * (1.0 + a.abs());
    assert!(close(whole[0].grad_norm, parts[0].grad_norm), "{} {}", whole[0].grad_norm, parts[0].grad_norm);
    assert!(close(whole[0].loss, parts[0].loss) && close(whole[0].entropy, parts[0].entropy));
    let bits = |stats: &[StepStats]| stats.iter().map(|step| step.loss.to_bits()).collect::<Vec<_>>();
    let again = train(RlooConfig { micro_batch_size: 3, ..config() }, asked_arm);
    assert_eq!(bits(&parts), bits(&again));
    // Two runs at once have one core each, so their micro-batches take turns.
    for on_one_core in in_parallel(&Device::default(), vec![(), ()], |()| {
        train(RlooConfig { micro_batch_size: 3, ..config() }, asked_arm)
    }) {
        assert_eq!(bits(&parts), bits(&on_one_core));
    }
}
