//! Speed of gold levels (answers per second) and of generation.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use moslim_testbed::{Split, World, WorldKind};

const N_ANSWERS: usize = 1000;

fn gold(c: &mut Criterion) {
    let mut group = c.benchmark_group("gold");
    group.throughput(Throughput::Elements(N_ANSWERS as u64));
    for kind in [WorldKind::Local, WorldKind::Lookup] {
        let world = World::new(kind, 1);
        let answered = world.answered(Split::Train, N_ANSWERS, 0);
        group.bench_function(format!("{kind:?}/{N_ANSWERS}").to_lowercase(), |b| {
            b.iter(|| {
                for (prompt, answer) in &answered {
                    assert!(black_box(world.gold().levels(prompt, answer)).is_some());
                }
            });
        });
    }
    group.finish();
}

fn generation(c: &mut Criterion) {
    let mut group = c.benchmark_group("answered");
    group.throughput(Throughput::Elements(N_ANSWERS as u64));
    for kind in [WorldKind::Local, WorldKind::Lookup] {
        let world = World::new(kind, 1);
        group.bench_function(format!("{kind:?}/{N_ANSWERS}").to_lowercase(), |b| {
            b.iter(|| assert_eq!(black_box(world.answered(Split::Train, N_ANSWERS, 0)).len(), N_ANSWERS));
        });
    }
    group.finish();
}

criterion_group!(benches, gold, generation);
criterion_main!(benches);
