//! How long the hypervolume takes, and its interval.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use moslim_eval::pareto::{bootstrap_hypervolume, hypervolume, non_dominated, simplex_weights};
use rand::{Rng, RngExt, SeedableRng, rngs::ChaCha8Rng};

/// A point of the unit sphere with no negative entry: no such point dominates another.
fn on_the_sphere(n_objectives: usize, rng: &mut impl Rng) -> Vec<f64> {
    let point: Vec<f64> = (0..n_objectives).map(|_| rng.random_range(0.01..1.0)).collect();
    let length = point.iter().map(|x| x * x).sum::<f64>().sqrt();
    point.iter().map(|x| x / length).collect()
}

fn sphere(criterion: &mut Criterion) {
    for n_objectives in 2..=6 {
        let mut rng = ChaCha8Rng::seed_from_u64(0);
        let points: Vec<Vec<f64>> = (0..100).map(|_| on_the_sphere(n_objectives, &mut rng)).collect();
        assert_eq!(non_dominated(&points).expect("finite numbers").len(), 100);
        // Sliced from the other side, the same volume is put together from other parts.
        let mirrored: Vec<Vec<f64>> =
            points.iter().map(|point| point.iter().rev().copied().collect()).collect();
        let reference = vec![0.0; n_objectives];
        let expected = hypervolume(&mirrored, &reference).expect("finite numbers");
        criterion.bench_function(&format!("hypervolume/sphere/100x{n_objectives}"), |bencher| {
            bencher.iter(|| {
                let volume = hypervolume(black_box(&points), &reference).expect("finite numbers");
                assert!((volume - expected).abs() < 1e-12);
            });
        });
    }
}

fn lattice(criterion: &mut Criterion) {
    // All losses in quarters that sum to 1 dominate all of the 4⁶ cells but those whose indices sum to less than 4, C(9, 6) = 84.
    let points: Vec<Vec<f64>> =
        simplex_weights(6, 4).iter().map(|point| point.iter().map(|loss| -loss).collect()).collect();
    criterion.bench_function("hypervolume/lattice/126x6", |bencher| {
        bencher.iter(|| {
            let volume = hypervolume(black_box(&points), &[-1.0; 6]).expect("finite numbers");
            assert!((volume - (1.0 - 84.0 / 4096.0)).abs() < 1e-12);
        });
    });
}

fn interval(criterion: &mut Criterion) {
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let scores: Vec<Vec<Vec<f64>>> =
        (0..11).map(|_| (0..200).map(|_| on_the_sphere(3, &mut rng)).collect()).collect();
    criterion.bench_function("bootstrap_hypervolume/11x200x3/1000-resamples", |bencher| {
        bencher.iter(|| {
            let volume = bootstrap_hypervolume(black_box(&scores), &[0.0; 3], 1000, &mut rng);
            let volume = volume.expect("finite numbers");
            assert!(volume.interval.low < volume.mean && volume.mean < volume.interval.high);
        });
    });
}

criterion_group!(benches, sphere, lattice, interval);
criterion_main!(benches);
