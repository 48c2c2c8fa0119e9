//! Sharing a backbone, growing, and knowing what is not known.

use std::sync::Arc;
use std::time::Instant;

use burn::module::Module;
use moslim_data::LabeledResponse;
use moslim_lm::Precision;
use moslim_reward_model::*;
use moslim_testbed::{Split, World, WorldKind};
use rand::rngs::ChaCha8Rng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::Arguments;
use crate::ground::{Found, Ground, exchanges, readers, reports};
use crate::heads::config;
use crate::table::{Table, done};

/// The records with labels for some objectives alone.
fn only(records: &[LabeledResponse], keep: impl Fn(usize) -> bool) -> Vec<LabeledResponse> {
    let mut records = records.to_vec();
    for record in &mut records {
        record
            .levels
            .iter_mut()
            .enumerate()
            .filter(|(index, _)| !keep(*index))
            .for_each(|(_, level)| *level = None);
    }
    records
}

pub fn sharing(arguments: &Arguments) -> Table {
    let mut table = Table::default();
    for seed in 0..arguments.seeds {
        let ground = Ground::new(arguments, seed);
        let heads = vec![HeadConfig::default(); 3];
        for &n in &arguments.answers {
            let records = ground.labeled(Split::Train, n, 1, arguments.noise[0], false);
            let backbone = ground.config.n_decoder_weights();
            let mut of = |name: &str,
                          records: &[LabeledResponse],
                          shown: &dyn Fn(usize) -> bool,
                          config: &FitConfig| {
                let set = ground.set(&heads, records);
                let began = Instant::now();
                let folder = ground.trained(ground.fresh(&heads, 0), &heads, &set, records, config, 0);
                let seconds = began.elapsed().as_secs_f64();
                let mut found = ground.measure(&folder, arguments, 0.0);
                found
                    .iter_mut()
                    .enumerate()
                    .filter(|(index, _)| !shown(*index))
                    .for_each(|(_, found)| found.n = 0.0);
                let row = format!("{n} answers: {name}");
                table.add_found(&row, &ground.schema, &found);
                done(seed, &row);
                seconds
            };
            let all = |_| true;
            let together = of("one model", &records, &all, &config(arguments));
            let frozen = FitConfig { backbone: Backbone::Frozen, ..config(arguments) };
            let frozen = of("one model, frozen backbone", &records, &all, &frozen);
            let mut apart = 0.0;
            for objective in 0..3 {
                let own = |index: usize| index == objective;
                apart += of("a model for each", &only(&records, own), &own, &config(arguments));
            }
            for objective in 0..3 {
                let others = |index: usize| index != objective;
                let name = format!("without {}", ground.schema.objectives()[objective].name);
                of(&name, &only(&records, others), &others, &config(arguments));
            }
            for (name, seconds, models) in [
                ("one model", together, 1.0),
                ("one model, frozen backbone", frozen, 1.0),
                ("a model for each", apart, 3.0),
            ] {
                table.add(&format!("{n} answers: {name}"), "seconds", seconds);
                // Four bytes a weight; head weights beside them are few.
                table.add(&format!("{n} answers: {name}"), "MB of weights", models * backbone * 4e-6);
            }
        }
    }
    table
}

pub fn growing(arguments: &Arguments) -> Table {
    let mut table = Table::default();
    for seed in 0..arguments.seeds {
        let ground = Ground::new(arguments, seed);
        let heads = vec![HeadConfig::default(); 3];
        for &n in &arguments.answers {
            let records = ground.labeled(Split::Train, n, 1, arguments.noise[0], true);
            let first = only(&records, |index| index < 2);
            let config = config(arguments);
            let old = ground.trained(
                ground.fresh(&heads, 0),
                &heads,
                &ground.set(&heads, &first),
                &first,
                &config,
                0,
            );
            let mut measured = |name: &str, folder: &RewardModelFolder, heads: usize| {
                let mut found: Vec<Found> = ground.measure(folder, arguments, 0.0);
                found.iter_mut().skip(heads).for_each(|found| found.n = 0.0);
                let row = format!("{n} answers: {name}");
                table.add_found(&row, &ground.schema, &found);
                done(seed, &row);
            };
            measured("helpfulness and honesty", &old, 2);
            // Other answers, labelled for harmlessness alone.
            let later =
                only(&ground.labeled(Split::Train, n, 2, arguments.noise[0], true), |index| index == 2);
            for (name, rehearsal, backbone) in [
                ("then harmlessness, with rehearsal", true, Backbone::Trained),
                ("then harmlessness, without", false, Backbone::Trained),
                ("then harmlessness, frozen backbone", false, Backbone::Frozen),
            ] {
                let mut set = ground.set(&heads, &later);
                if rehearsal {
                    set.rehearse(&old.model, 3);
                    set.answers.iter_mut().zip(&later).for_each(|(answer, record)| {
                        // The head of harmlessness knows nothing yet that were worth keeping.
                        answer.targets[2] = record.levels[2].map(|level| Target::Level(level as f64));
                    });
                }
                let config = FitConfig { backbone, ..config.clone() };
                let mut new = ground.trained(old.model.clone().train(), &heads, &set, &later, &config, 1);
                new.readers[..2].clone_from_slice(&old.readers[..2]);
                measured(name, &new, 3);
            }
            let set = ground.set(&heads, &records);
            measured(
                "all at once",
                &ground.trained(ground.fresh(&heads, 0), &heads, &set, &records, &config, 0),
                3,
            );
        }
    }
    table
}

/// The share of pairs, one answer of each kind, in which the strange one has the higher value; ties count half.
fn auroc(strange: &[f64], ordinary: &[f64]) -> f64 {
    let pairs = strange.iter().flat_map(|s| ordinary.iter().map(move |o| (s, o)));
    let wins = pairs.map(|(s, o)| {
        if s > o {
            1.0
        } else if s == o {
            0.5
        } else {
            0.0
        }
    });
    wins.sum::<f64>() / (strange.len() * ordinary.len()) as f64
}

pub fn uncertainty(arguments: &Arguments) -> Table {
    let mut table = Table::default();
    for seed in 0..arguments.seeds {
        let ground = Ground::new(arguments, seed);
        let heads = vec![HeadConfig::default(); 3];
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        for &n in &arguments.answers {
            let records = ground.labeled(Split::Train, n, 1, arguments.noise[0], false);
            let set = ground.set(&heads, &records);
            let config = config(arguments);
            let model = ground.trained(ground.fresh(&heads, 0), &heads, &set, &records, &config, 0);
            let held_out = ground.labeled(Split::HeldOut, arguments.held_out, 3, 0.0, true);
            let strange = strangers(&ground, &held_out, &mut rng);
            for (name, uncertainty) in [
                ("Laplace", laplace(&model, &set, &config)),
                ("5 heads", more_heads(&ground, &model, &set, &records, &config)),
                ("3 models", more_models(&ground, &heads, &set, &records, &config)),
            ] {
                let model = RewardModelFolder { uncertainty: Some(uncertainty), ..model.clone() };
                let row = format!("{n} answers: {name}");
                for (objective, report) in ground.schema.objectives().iter().zip(reports(&model, &held_out)) {
                    let short = &objective.name[..4];
                    let by_opinions = report.selective_by_deviation.as_ref().expect("there are opinions");
                    table.add(&row, &format!("{short} risk"), report.selective.risk);
                    table.add(
                        &row,
                        &format!("{short} mean risk, by probability"),
                        report.selective.mean_risk,
                    );
                    table.add(&row, &format!("{short} by opinions"), by_opinions.mean_risk);
                    table.add(&row, &format!("{short} least"), by_opinions.least_mean_risk);
                }
                let deviations = |records: &[LabeledResponse]| mean_deviations(&model, records);
                let ordinary = deviations(&held_out);
                for (kind, records) in &strange {
                    let strange = deviations(records);
                    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
                    table.add(&row, &format!("{kind}: deviation ×"), mean(&strange) / mean(&ordinary));
                    table.add(&row, &format!("{kind}: AUROC"), auroc(&strange, &ordinary));
                }
                done(seed, &row);
            }
        }
    }
    table
}

/// How far opinions lie apart, as shares of the scales, over all objectives.
fn mean_deviations(model: &RewardModelFolder, records: &[LabeledResponse]) -> Vec<f64> {
    let answers = exchanges(&model.tokenizer, records);
    let judged = model.classify(&answers.iter().map(LabeledExchange::exchange).collect::<Vec<_>>());
    let scales: Vec<f64> = model.schema.n_levels().iter().map(|n| (n - 1) as f64).collect();
    let of_answer = |judged: &Judgement| {
        let shares =
            judged.level_deviations().into_iter().zip(&scales).map(|(deviation, scale)| deviation / scale);
        shares.sum::<f64>() / scales.len() as f64
    };
    judged.iter().map(of_answer).collect()
}

/// Answers that the reward model has seen nothing like: shuffled words, random words, and those of another world.
fn strangers(
    ground: &Ground,
    ordinary: &[LabeledResponse],
    rng: &mut ChaCha8Rng,
) -> [(&'static str, Vec<LabeledResponse>); 3] {
    let words: Vec<&str> = ordinary.iter().flat_map(|record| record.response.split(' ')).collect();
    let with = |response: String, record: &LabeledResponse| LabeledResponse { response, ..record.clone() };
    let mut shuffle = |record: &LabeledResponse| {
        let mut words: Vec<&str> = record.response.split(' ').collect();
        words.shuffle(rng);
        with(words.join(" "), record)
    };
    let shuffled = ordinary.iter().map(&mut shuffle).collect();
    let mut garbage = |record: &LabeledResponse| {
        let n = record.response.split(' ').count();
        let drawn: Vec<&str> = (0..n).map(|_| words[rng.random_range(0..words.len())]).collect();
        with(drawn.join(" "), record)
    };
    let random = ordinary.iter().map(&mut garbage).collect();
    let other = World::new(WorldKind::Lookup, ground.seed + 7);
    let other = other.answered(Split::HeldOut, ordinary.len(), 5).into_iter();
    let other = other.map(|(prompt, answer)| LabeledResponse::new(prompt, answer, vec![None; 3])).collect();
    [("shuffled words", shuffled), ("random words", random), ("another world", other)]
}

fn laplace(model: &RewardModelFolder, set: &TrainingSet, config: &FitConfig) -> Uncertainty {
    Uncertainty::Laplace { posteriors: fit_posteriors(&model.model, set, config, None), draws: 16, seed: 0 }
}

fn more_heads(
    ground: &Ground,
    model: &RewardModelFolder,
    set: &TrainingSet,
    records: &[LabeledResponse],
    config: &FitConfig,
) -> Uncertainty {
    let features = Arc::new(Features::of(&model.model, set, Precision::F32));
    let fitted = exchanges(&ground.tokenizer, &records[..records.len().min(2000)]);
    let member = |member: u64| {
        let mut rng = ChaCha8Rng::seed_from_u64(ground.seed + 100 * member);
        let drawn = set.bootstrapped(&mut rng);
        let fresh = model.model.clone().train().with_fresh_heads(&model.heads, &mut rng);
        let mut trainer = Trainer::on_features(fresh, &drawn, config, member, features.clone());
        while trainer.step().is_some() {}
        let trained = trainer.model().valid();
        EnsembleMember { readers: readers(&trained, &fitted, None), heads: trained.heads().to_vec() }
    };
    Uncertainty::Heads((1..5).map(member).collect())
}

fn more_models(
    ground: &Ground,
    heads: &[HeadConfig],
    set: &TrainingSet,
    records: &[LabeledResponse],
    config: &FitConfig,
) -> Uncertainty {
    let model = |member| ground.trained(ground.fresh(heads, member), heads, set, records, config, member);
    Uncertainty::Models((1..3).map(model).collect())
}
