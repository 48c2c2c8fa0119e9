//! Prints a few questions and answers of both worlds with their levels, and what ten thousand answers look like in numbers.
#![expect(clippy::print_stdout, reason = "an example shows its output")]

use moslim_testbed::{Split, World, WorldKind, vocabulary};

const N_SHOWN: usize = 5;
const N_ANSWERS: usize = 10_000;

fn main() {
    for kind in [WorldKind::Local, WorldKind::Lookup] {
        let world = World::new(kind, 1);
        let names: Vec<String> =
            world.schema().objectives().iter().map(|objective| objective.name.clone()).collect();
        println!("== {kind:?} world ==\n");

        let mut counts = [[0_usize; 5]; 3];
        let mut lengths = Vec::with_capacity(N_ANSWERS);
        for (i, (prompt, answer)) in world.answered(Split::Train, N_ANSWERS, 0).iter().enumerate() {
            let levels = world.gold().levels(prompt, answer).expect("the world's own prompts are questions");
            for (objective, level) in levels.into_iter().enumerate() {
                counts[objective][level] += 1;
            }
            lengths.push(answer.split(' ').count());
            if i < N_SHOWN {
                println!("question: {prompt}\nanswer:   {answer}");
                for ((name, level), objective) in names.iter().zip(levels).zip(world.schema().objectives()) {
                    println!("          {name} {}", objective.levels[level]);
                }
                println!();
            }
        }

        for (name, counts) in names.iter().zip(counts) {
            println!("{name}: {counts:?} answers per level");
        }
        lengths.sort_unstable();
        let mean = lengths.iter().sum::<usize>() as f64 / N_ANSWERS as f64;
        println!(
            "answer length: mean {mean:.1}, 95 % up to {}, longest {} tokens\n",
            lengths[N_ANSWERS * 95 / 100],
            lengths[N_ANSWERS - 1]
        );
    }
    println!("vocabulary of both worlds: {} tokens", vocabulary().len());
}
