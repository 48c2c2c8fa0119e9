//! What settings do to scores, answers and weights.

use burn::module::Module;
use moslim_data::Request;
use moslim_lm::{CausalLm, Exchange, Generated, LoraConfig, TargetModules, response_logprobs};
use moslim_rl::{
    Aggregation, Algorithm, GrpoConfig, KlConfig, MissingEos, ObjectiveScores, PolicyPrompt, PolicyTrainer,
    Reward, RewardError, RlooConfig, Rollout, RolloutEngine, RolloutError, RolloutJobs, Scores, StepStats,
    TrainingConfig, ops::AdaptiveKl,
};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

use super::{Recorded, algorithms, asking, model, rng, trainer, training};

fn answer(tokens: &[u32], finished: bool) -> Generated {
    Generated { tokens: tokens.to_vec(), logprobs: vec![-1.5; tokens.len()], finished }
}

fn rloo() -> Algorithm {
    Algorithm::Rloo(RlooConfig { kl: KlConfig::in_reward(0.0), ..RlooConfig::default() })
}

/// One step on two answers to one prompt, the second without an end token; scores 1 and 3.
fn step(config: TrainingConfig) -> (moslim_rl::Step, CausalLm) {
    let answers = vec![answer(&[1, 2], true), answer(&[3], false)];
    let trainer = trainer(TrainingConfig { num_generations: 2, ..config }, rloo(), model(5, 0), 1);
    let mut trainer = trainer.with_engine(Box::new(Recorded(answers)));
    let mut reward = |_: &PolicyPrompt, answer: &[u32]| if answer.len() == 2 { 1.0 } else { 3.0 };
    let step = trainer.step(&[asking(vec![0])], &mut reward, &rng(0)).unwrap();
    (step, trainer.policy().clone())
}

#[test]
fn answers_without_an_end_are_treated_as_asked() {
    let config = training(2, 4);
    for (missing_eos, expected) in [
        (MissingEos::Keep, [1.0, 3.0]),
        (MissingEos::Subtract(0.5), [1.0, 2.5]),
        (MissingEos::Replace(-1.0), [1.0, -1.0]),
        (MissingEos::Drop, [1.0, 3.0]),
    ] {
        let (step, _) = step(TrainingConfig { missing_eos, ..config.clone() });
        assert_eq!(step.final_scores, expected);
        assert_eq!(step.scores.values, [1.0, 3.0]);
        assert_eq!(step.stats.clipped_ratio, 0.5);
    }
    let (step, _) = step(TrainingConfig { reward_clip_range: Some([-1.0, 2.0]), ..config });
    assert_eq!(step.final_scores, [1.0, 2.0]);
}

/// With the only bad answer dropped, nothing but the good one is learned from, with the baseline that both give.
#[test]
fn a_dropped_answer_is_not_learned_from() {
    let config = TrainingConfig { missing_eos: MissingEos::Drop, ..training(2, 4) };
    let (dropped, _) = step(config);
    // A = 1 − 3, normalised by its own size to −1; ρ is that of the recorded probabilities.
    let now = {
        let policy = model(5, 0).valid();
        let exchange = [Exchange { prompt: &[0], response: &[1, 2] }];
        f64::from(response_logprobs(&policy, &exchange, 1.0).logprobs.sum().into_scalar::<f32>())
    };
    let ratio = (now + 3.0).exp();
    let expected = ratio.max(ratio.clamp(0.8, 1.2));
    assert!((dropped.stats.loss - expected).abs() < 1e-5, "{} {expected}", dropped.stats.loss);
}

#[test]
fn mini_batches_are_updates_of_their_own() {
    let run = |num_mini_batches, num_iterations| {
        let config = TrainingConfig { num_mini_batches, num_iterations, ..training(4, 2) };
        let mut trainer = trainer(config, rloo(), model(5, 0), 1);
        let mut reward = |_: &PolicyPrompt, answer: &[u32]| f64::from(answer[0]);
        let prompts = vec![asking(vec![0]); 4];
        let stats = trainer.step(&prompts, &mut reward, &rng(0)).unwrap().stats;
        let exchange = [Exchange { prompt: &[0], response: &[4] }];
        let logprobs = response_logprobs(&trainer.policy().valid(), &exchange, 1.0).logprobs;
        (stats, logprobs.into_scalar::<f32>())
    };
    let (whole, once) = run(1, 1);
    let (parts, twice) = run(2, 1);
    let (_, often) = run(2, 3);
    // The first part is sampled by the policy itself, the second by the one before the first update.
    assert!(whole.metrics["policy/approxkl_avg"] < 1e-9 && parts.metrics["policy/approxkl_avg"] > 1e-6);
    assert!(parts.ratio_error < 1e-4);
    assert!(once != twice && twice != often, "{once} {twice} {often}");
    assert_eq!(run(2, 3).1.to_bits(), often.to_bits());
}

/// Two units in five parts are two updates, each as large as one that learns from it alone.
#[test]
fn there_are_no_more_mini_batches_than_answers() {
    let stats = |num_mini_batches| {
        let (step, _) = step(TrainingConfig { num_mini_batches, ..training(2, 4) });
        step.stats
    };
    let [two, five] = [stats(2), stats(5)];
    assert!(two.entropy.unwrap() > 0.0 && two.loss != 0.0);
    assert_eq!((five.loss, five.entropy, five.grad_norm), (two.loss, two.entropy, two.grad_norm));
    assert_eq!(five.metrics, two.metrics);
}

/// Answers that all scored the same are no pairs, and nothing is said of what was not looked at.
#[test]
fn a_step_without_pairs_changes_nothing() {
    let [.., dpo, _, _] = algorithms(0.0);
    let before = model(5, 0);
    let mut trainer = trainer(training(4, 2), dpo, before.clone(), 1);
    let mut reward = |_: &PolicyPrompt, _: &[u32]| 0.5;
    let stats = trainer.step(&[asking(vec![0])], &mut reward, &rng(0)).unwrap().stats;
    assert_eq!((stats.entropy, stats.grad_norm, stats.frac_reward_zero_std), (None, 0.0, 1.0));
    let exchange = [Exchange { prompt: &[0], response: &[1] }];
    let logprob =
        |model: &CausalLm| response_logprobs(&model.valid(), &exchange, 1.0).logprobs.into_scalar::<f32>();
    assert_eq!(logprob(trainer.policy()), logprob(&before));
}

#[test]
fn scores_that_are_no_numbers_are_refused_by_answer() {
    let mut trainer = trainer(training(2, 1), rloo(), model(5, 0), 1);
    let mut n = 0;
    let mut reward = |_: &PolicyPrompt, _: &[u32]| {
        n += 1;
        if n == 2 { f64::NAN } else { 1.0 }
    };
    let message = trainer.step(&[asking(vec![0])], &mut reward, &rng(0)).unwrap_err().to_string();
    assert_eq!(message, "reward: answer 1 of 2: found NaN, expected a finite score for each");
}

#[test]
fn the_weight_of_the_kl_term_follows_the_divergence() {
    let kl =
        KlConfig { adaptive: Some(AdaptiveKl { target: 0.01, horizon: 32.0 }), ..KlConfig::in_reward(0.1) };
    let algorithm = Algorithm::Rloo(RlooConfig { kl, ..RlooConfig::default() });
    let mut trainer = trainer(training(4, 2), algorithm, model(5, 0), 20);
    let mut reward = |_: &PolicyPrompt, answer: &[u32]| f64::from(answer[0]);
    let prompts = vec![asking(vec![0]); 4];
    let stats: Vec<StepStats> =
        (0..20).map(|step| trainer.step(&prompts, &mut reward, &rng(step)).unwrap().stats).collect();
    for pair in stats.windows(2) {
        let error = (pair[0].kl / 0.01 - 1.0).clamp(-0.2, 0.2);
        let expected = pair[0].beta.unwrap() * (1.0 + error * 16.0 / 32.0);
        assert!((pair[1].beta.unwrap() - expected).abs() < 1e-12);
    }
    assert!(stats[19].beta.unwrap() > 0.15, "{:?}", stats[19].beta);
}

#[test]
fn a_reference_that_is_moved_is_where_the_policy_is() {
    let config = TrainingConfig { ref_model_sync_steps: Some(3), ..training(4, 2) };
    let mut trainer = trainer(config, rloo(), model(5, 0), 20);
    let mut reward = |_: &PolicyPrompt, answer: &[u32]| f64::from(answer[0]);
    let prompts = vec![asking(vec![0]); 4];
    let kl: Vec<f64> =
        (0..7).map(|step| trainer.step(&prompts, &mut reward, &rng(step)).unwrap().stats.kl_k3).collect();
    assert!(kl[0] < 1e-9 && kl[2] > 1e-5 && kl[3] < 1e-9 && kl[5] > 1e-5 && kl[6] < 1e-9, "{kl:?}");
    let exchanges = [Exchange { prompt: &[0], response: &[1, 2] }];
    assert!(trainer.whole_kl(&exchanges, &exchanges) > 0.0);
}

/// With an adapter nothing but it changes, the reference is the base, and what samples is what is trained.
#[test]
fn adapters_are_trained_alone() {
    for algorithm in algorithms(0.01) {
        let base = model(5, 4);
        let lora = LoraConfig::new(2, 4.0, TargetModules::Pattern("all-linear".into()));
        let policy =
            base.clone().with_adapter(&lora, &mut ChaCha8Rng::seed_from_u64(1), "lora".as_ref()).unwrap();
        let mut trainer = trainer(training(4, 2), algorithm, policy, 5);
        let mut reward = |_: &PolicyPrompt, answer: &[u32]| f64::from(answer[0]);
        let stats: Vec<StepStats> = (0..5)
            .map(|step| trainer.step(&vec![asking(vec![0]); 4], &mut reward, &rng(step)).unwrap().stats)
            .collect();
        assert!(stats.iter().all(|step| step.ratio_error < 1e-4));
        let logprobs = |model: &CausalLm| -> Vec<f32> {
            let exchange = [Exchange { prompt: &[0], response: &[1, 2] }];
            response_logprobs(&model.valid(), &exchange, 1.0).logprobs.into_data().try_to_vec().unwrap()
        };
        assert_eq!(logprobs(&trainer.policy().without_adapter()), logprobs(&base));
        assert_ne!(logprobs(trainer.policy()), logprobs(&base));
    }
}

/// An engine that samples from the policy but tells other log-probabilities.
struct Elsewhere(f32);

impl RolloutEngine for Elsewhere {
    fn sample(&mut self, jobs: &RolloutJobs<'_>) -> Result<[Vec<Generated>; 2], RolloutError> {
        let [mut asked, free] = moslim_rl::BuiltInEngine.sample(jobs)?;
        asked.iter_mut().flat_map(|answer| &mut answer.logprobs).for_each(|logprob| *logprob += self.0);
        Ok([asked, free])
    }

    fn is_elsewhere(&self) -> bool {
        true
    }
}

#[test]
fn the_gap_of_another_engine_is_told_and_weighed() {
    let run = |gap, importance_cap, algorithm| {
        let config = TrainingConfig { importance_cap, ..training(4, 2) };
        let trainer: PolicyTrainer = trainer(config, algorithm, model(5, 0), 2);
        let mut trainer = trainer.with_engine(Box::new(Elsewhere(gap)));
        let mut reward = |_: &PolicyPrompt, answer: &[u32]| f64::from(answer[0]);
        trainer.step(&vec![asking(vec![0]); 4], &mut reward, &rng(0)).unwrap().stats
    };
    let grpo = || Algorithm::Grpo(GrpoConfig::default());
    let [exact, off] = [run(0.0, None, grpo()), run(-0.5, None, grpo())];
    assert!(exact.engine_gap.unwrap() < 1e-5 && (off.engine_gap.unwrap() - 0.5).abs() < 1e-5);
    // The log-probabilities are computed again, so the ratio is 1 all the same, and without weights so is the gradient.
    assert!(off.ratio_error < 1e-4 && (off.grad_norm - exact.grad_norm).abs() < 1e-5);
    // Every token has the weight e^0.5, or the cap.
    for (cap, weight) in [(10.0, 0.5f64.exp()), (1.2, 1.2)] {
        let weighed = run(-0.5, Some(cap), grpo());
        assert!((weighed.grad_norm / exact.grad_norm - weight).abs() < 1e-4, "{cap}");
    }
}

/// Two objectives of very different loudness.
struct LoudAndQuiet;

impl Reward for LoudAndQuiet {
    fn score(&mut self, _: &[PolicyPrompt], rollout: &Rollout) -> Result<Scores, RewardError> {
        let of = |name: &str, value: fn(u32) -> f64| ObjectiveScores {
            objective: name.into(),
            scores: rollout.answers.iter().map(|answer| Some(value(answer.tokens[0]))).collect(),
            levels: vec![0.0; rollout.answers.len()],
        };
        let objectives =
            vec![of("loud", |token| 100.0 * f64::from(token)), of("quiet", |token| f64::from(token == 0))];
        let values = (0..rollout.answers.len())
            .map(|row| objectives.iter().filter_map(|objective| objective.scores[row]).sum())
            .collect();
        Ok(Scores { values, objectives, penalties: vec![] })
    }
}

/// Answers 0, 1, 2, 3 to one prompt: the loud objective alone orders their sum, normalised apart the quiet one has its say.
#[test]
fn objectives_are_summed_before_or_after_they_are_normalised() {
    let run = |multi_objective_aggregation| {
        let answers = (0..4).map(|token| answer(&[token], true)).collect();
        let grpo = GrpoConfig { multi_objective_aggregation, ..GrpoConfig::default() };
        let trainer = trainer(training(4, 1), Algorithm::Grpo(grpo), model(5, 0), 1);
        let mut trainer = trainer.with_engine(Box::new(Recorded(answers)));
        let both = Request { levels: vec![Some(0.0); 2] };
        let prompt = PolicyPrompt { request: both, ..asking(vec![0]) };
        trainer.step(&[prompt], &mut LoudAndQuiet, &rng(0)).unwrap().stats
    };
    let [sum_first, apart] = [Aggregation::SumThenNormalize, Aggregation::NormalizeThenSum].map(run);
    assert!((sum_first.metrics["objective/scores/loud"] - 150.0).abs() < 1e-9);
    assert!((sum_first.metrics["objective/scores/quiet"] - 0.25).abs() < 1e-9);
    let ratios: Vec<f64> = {
        let policy = model(5, 0).valid();
        let logprob = |token: u32| {
            let response = [token];
            let exchange = [Exchange { prompt: &[0], response: &response }];
            f64::from(response_logprobs(&policy, &exchange, 1.0).logprobs.into_scalar::<f32>())
        };
        (0..4).map(|token| (logprob(token) + 1.5).exp()).collect()
    };
    let loss = |advantages: [f64; 4]| {
        let of =
            |(ratio, advantage): (&f64, f64)| -(ratio * advantage).min(ratio.clamp(0.8, 1.2) * advantage);
        ratios.iter().zip(advantages).map(of).sum::<f64>() / 4.0
    };
    // 1, 100, 200, 300: mean 150.25, sample deviation 128.71.
    let deviation = 49_700.75f64 / 3.0;
    let summed = [-149.25, -50.25, 49.75, 149.75].map(|a| a / (deviation.sqrt() + 1e-4));
    assert!((sum_first.loss - loss(summed)).abs() < 1e-5, "{} {}", sum_first.loss, loss(summed));
    // −1.5, −.5, .5, 1.5 over 1.2910 (times 100), and .75, −.25, −.25, −.25 over .5; then over the deviation of the sums.
    let loud = [-150.0, -50.0, 50.0, 150.0].map(|a| a / ((50_000.0f64 / 3.0).sqrt() + 1e-4));
    let quiet = [0.75, -0.25, -0.25, -0.25].map(|a| a / 0.5001);
    let sums: Vec<f64> = loud.iter().zip(quiet).map(|(a, b)| a + b).collect();
    let scale = (sums.iter().map(|sum| sum * sum).sum::<f64>() / 4.0).sqrt();
    let expected = loss([0, 1, 2, 3].map(|index: usize| sums[index] / scale));
    assert!((apart.loss - expected).abs() < 1e-5, "{} {expected}", apart.loss);
}

#[test]
fn settings_out_of_range_are_named() {
    let refused = |config: TrainingConfig, algorithm: Algorithm| {
        let error = PolicyTrainer::new(config, algorithm, model(5, 0), None, Default::default(), 1).err();
        error.map(|error| error.to_string()).unwrap_or_default()
    };
    let config = || training(4, 2);
    let message = refused(TrainingConfig { num_generations: 1, ..config() }, rloo());
    assert_eq!(message, "num_generations: found 1, expected at least 2");
    let negative = Algorithm::Rloo(RlooConfig { kl: KlConfig::in_reward(-1.0), ..RlooConfig::default() });
    assert_eq!(refused(config(), negative), "kl.beta: found -1, expected a number from 0 on");
    let [.., online_dpo, _, _] = algorithms(0.0);
    let message = refused(TrainingConfig { micro_batch_size: 3, ..config() }, online_dpo);
    assert!(message.starts_with("micro_batch_size: found 3, expected an even number"), "{message}");
}
