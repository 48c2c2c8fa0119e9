//! Mapping a batch of answers to scores.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use moslim_data::Request;
use moslim_reward_mapping::{
    ClassProbabilities, Ddof, Divisor, MappingKind, MaskRule, RewardMapping, TargetStats,
};

const N_ANSWERS: usize = 512;

/// Answers with heads of 5, 5 and 2 classes.
fn answers() -> Vec<ClassProbabilities> {
    let head = |n_classes: usize, answer: usize| {
        let weights: Vec<f64> =
            (0..n_classes).map(|class| 1.0 + ((answer * 7 + class * 3) % 11) as f64).collect();
        let sum: f64 = weights.iter().sum();
        weights.into_iter().map(|weight| weight / sum).collect()
    };
    (0..N_ANSWERS).map(|answer| ClassProbabilities([5, 5, 2].map(|n| head(n, answer)).into())).collect()
}

fn score(criterion: &mut Criterion) {
    let answers = answers();
    let stats = TargetStats::from_probabilities(&answers).expect("there are answers");
    let request = Request { levels: vec![Some(4.0), Some(2.5), Some(1.0)] };
    let mut group = criterion.benchmark_group("score");
    group.throughput(Throughput::Elements(N_ANSWERS as u64));
    for (name, kind) in [
        (
            "z_within_head",
            MappingKind::ZWithinHead { eps: 1e-8, ddof: Ddof::Population, scale_by_sqrt_k: false },
        ),
        ("z_dataset", MappingKind::ZDataset),
        ("prob_plus_distance", MappingKind::ProbPlusDistance),
    ] {
        let mapping = RewardMapping::new(kind, Divisor::K, MaskRule::AskedInPrompt);
        group.bench_function(BenchmarkId::new(name, format!("{N_ANSWERS}x5,5,2")), |bencher| {
            bencher.iter(|| {
                let scores =
                    black_box(&answers).iter().map(|answer| mapping.score(answer, &request, Some(&stats)));
                let sum = scores.sum::<Result<f64, _>>();
                assert!(sum.is_ok_and(f64::is_finite));
            });
        });
    }
    group.finish();
}

fn target_stats(criterion: &mut Criterion) {
    let answers = answers();
    criterion.bench_function(&format!("target_stats/{N_ANSWERS}x5,5,2"), |bencher| {
        bencher.iter(|| assert!(TargetStats::from_probabilities(black_box(&answers)).is_ok()));
    });
}

criterion_group!(benches, score, target_stats);
criterion_main!(benches);
