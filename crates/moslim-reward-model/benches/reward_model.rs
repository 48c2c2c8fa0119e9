//! A step of training, scoring and calibration; ids carry answers × tokens, or answers × levels.

use std::hint::black_box;

use burn::module::Module;
use burn::tensor::Device;
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use moslim_data::{Objective, ObjectiveSchema};
use moslim_lm::{CausalLm, ModelConfig, OptimizerConfig};
use moslim_reward_model::{
    Backbone, FitConfig, HeadConfig, HeadKind, Isotonic, LabeledExchange, Labels, MultiHeadRewardModel,
    Target, Trainer, TrainingSet, fit_cumulative, fit_temperature, fit_vector_scaling,
};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

const BATCH: usize = 32;
const TOKENS: usize = 48;
const VOCABULARY: u32 = 300;
const LEVELS: [usize; 3] = [5, 5, 2];

fn answers(n: usize) -> Vec<LabeledExchange> {
    let answer = |index: usize| LabeledExchange {
        prompt: (0..8).map(|token| (index as u32 * 31 + token * 7) % VOCABULARY).collect(),
        response: (8..TOKENS as u32).map(|token| (index as u32 * 17 + token * 5) % VOCABULARY).collect(),
        targets: LEVELS.map(|n_levels| Some(Target::Level((index % n_levels) as f64))).into(),
        weight: 1.0,
    };
    (0..n).map(answer).collect()
}

fn model(kind: HeadKind) -> MultiHeadRewardModel {
    let objective = |(index, n_levels): (usize, usize)| {
        Objective::with_scale(format!("o{index}"), 0, n_levels as i64 - 1)
    };
    let schema = ObjectiveSchema::new(LEVELS.into_iter().enumerate().map(objective).collect());
    let config = ModelConfig::small(VOCABULARY as usize, 64, 172, 2, 4);
    let rng = &mut ChaCha8Rng::seed_from_u64(0);
    let start = CausalLm::new(&config, rng, &Device::default().autodiff());
    let heads = [(); LEVELS.len()].map(|()| HeadConfig { kind: kind.clone(), hidden_size: None });
    MultiHeadRewardModel::new(&start, config.hidden_size, &schema.expect("the names differ"), &heads, rng)
}

fn fit_step(criterion: &mut Criterion) {
    let optimizer = OptimizerConfig { adam_beta2: 0.95, weight_decay: 0.01, ..OptimizerConfig::new(1e-4) };
    let data = TrainingSet { answers: answers(4 * BATCH), pairs: vec![] };
    let mut group = criterion.benchmark_group("fit step");
    group.sample_size(10);
    for (name, kind, backbone) in [
        ("classes", HeadKind::Softmax, Backbone::Trained),
        ("cumulative", HeadKind::Ordinal, Backbone::Trained),
        ("classes, frozen backbone", HeadKind::Softmax, Backbone::Frozen),
    ] {
        // More epochs than any benchmark reaches the end of.
        let config =
            FitConfig { micro_batch_size: 8, backbone, ..FitConfig::new(1e9, BATCH, optimizer.clone()) };
        let mut trainer = Trainer::new(model(kind), &data, &config, 0);
        group.bench_function(BenchmarkId::new(name, format!("{BATCH}x{TOKENS}")), |bencher| {
            bencher.iter(|| {
                let step = trainer.step().expect("the run is long");
                assert!(step.head_losses.iter().all(|loss| loss.is_some_and(f64::is_finite)));
            });
        });
    }
    group.finish();
}

fn scoring(criterion: &mut Criterion) {
    let (model, answers) = (model(HeadKind::Softmax).valid(), answers(4 * BATCH));
    let exchanges: Vec<_> = answers.iter().map(LabeledExchange::exchange).collect();
    criterion.bench_function(&format!("outputs/{}x{TOKENS}", exchanges.len()), |bencher| {
        bencher.iter(|| assert_eq!(model.outputs(black_box(&exchanges)).len(), exchanges.len()));
    });
}

fn calibration(criterion: &mut Criterion) {
    const N_ANSWERS: usize = 1000;
    const N_LEVELS: usize = 5;
    let positions: Vec<f64> = (0..N_ANSWERS).map(|answer| (answer * 7 % N_LEVELS) as f64).collect();
    let noise = |i: usize| (i as f64 * 0.7).sin();
    let labels = Labels::new(&positions, &[1.0; N_ANSWERS], N_LEVELS);
    let logit = |answer: usize, level: usize| {
        3.0 * noise(answer * N_LEVELS + level) + f64::from(u8::from(positions[answer] == level as f64))
    };
    let logits: Vec<Vec<f64>> =
        (0..N_ANSWERS).map(|answer| (0..N_LEVELS).map(|level| logit(answer, level)).collect()).collect();
    let scores: Vec<f64> = (0..N_ANSWERS).map(|answer| positions[answer] + 2.0 * noise(answer)).collect();
    let shape = format!("{N_ANSWERS}x{N_LEVELS}");
    let mut group = criterion.benchmark_group("calibration");
    group.sample_size(10);
    group.bench_function(BenchmarkId::new("temperature", &shape), |bencher| {
        bencher.iter(|| assert_eq!(fit_temperature(black_box(&logits), &labels).n_levels(), N_LEVELS));
    });
    group.bench_function(BenchmarkId::new("vector scaling", &shape), |bencher| {
        bencher.iter(|| assert_eq!(fit_vector_scaling(black_box(&logits), &labels).n_levels(), N_LEVELS));
    });
    group.bench_function(BenchmarkId::new("cumulative", &shape), |bencher| {
        bencher.iter(|| assert_eq!(fit_cumulative(black_box(&scores), &labels).n_levels(), N_LEVELS));
    });
    group.bench_function(BenchmarkId::new("isotonic", N_ANSWERS), |bencher| {
        bencher.iter(|| {
            let map = Isotonic::fit(black_box(&scores), &positions, &[1.0; N_ANSWERS]);
            assert!(map.apply(-1.0) < map.apply(5.0));
        });
    });
    group.finish();
}

criterion_group!(benches, fit_step, scoring, calibration);
criterion_main!(benches);
