//! How long the intervals of an evaluation take.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use moslim_data::{Objective, ObjectiveSchema};
use moslim_eval::controllability::{Judged, controllability};
use moslim_eval::stats::{bootstrap_interval, kendall_tau_b, mean};
use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng};

fn kendall(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let mut values = |n: usize| -> Vec<f64> { (0..n).map(|_| rng.random_range(0.0..1.0)).collect() };
    let (x, y) = (values(1000), values(1000));
    criterion.bench_function("kendall_tau_b/continuous/1000", |bencher| {
        bencher.iter(|| kendall_tau_b(black_box(&x), black_box(&y)));
    });
    let levels = |values: &[f64]| -> Vec<f64> { values.iter().map(|value| (5.0 * value).floor()).collect() };
    let (x, y) = (levels(&x), levels(&y));
    criterion.bench_function("kendall_tau_b/5-levels/1000", |bencher| {
        bencher.iter(|| kendall_tau_b(black_box(&x), black_box(&y)));
    });
}

fn bootstrap(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let values: Vec<f64> = (0..200).map(|_| rng.random_range(0.0..1.0)).collect();
    criterion.bench_function("bootstrap_interval/mean/200x1000", |bencher| {
        bencher.iter(|| {
            bootstrap_interval(values.len(), 1000, &mut rng, |drawn| {
                mean(&drawn.iter().map(|&index| values[index]).collect::<Vec<_>>())
            })
        });
    });
}

fn control(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let objectives = ["helpfulness", "honesty"].map(|name| Objective::with_scale(name, 1, 5));
    let schema = ObjectiveSchema::new(objectives.to_vec()).expect("two different objectives");
    let judged: Vec<Judged> = (0..2500)
        .map(|answer| Judged {
            prompt: answer / 25,
            asked: vec![Some(answer % 5), Some(answer / 5 % 5)],
            achieved: vec![rng.random_range(0..5), rng.random_range(0..5)],
        })
        .collect();
    criterion.bench_function("controllability/2500-answers/1000-resamples", |bencher| {
        bencher.iter(|| controllability(black_box(&judged), &schema, 1000, &mut rng));
    });
}

criterion_group!(benches, kendall, bootstrap, control);
criterion_main!(benches);
