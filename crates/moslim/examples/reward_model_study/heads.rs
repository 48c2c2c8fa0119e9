//! Kinds of heads, ways to put their losses together, numbers of levels.

use moslim_reward_model::{FitConfig, HeadConfig, HeadKind, LossAggregation};

use crate::Arguments;
use crate::ground::{Found, Ground, optimizer};
use crate::table::{Table, done};

fn all_kinds() -> [(&'static str, HeadKind); 7] {
    [
        ("softmax", HeadKind::Softmax),
        ("smoothed 0.1", HeadKind::SmoothedSoftmax { smoothing: 0.1 }),
        ("HL-Gauss 0.75", HeadKind::HlGauss { sigma: 0.75 }),
        ("ordinal", HeadKind::Ordinal),
        ("regression", HeadKind::Regression),
        ("Bradley-Terry", HeadKind::BradleyTerry { margin: 0.0 }),
        ("Bradley-Terry, margin 1", HeadKind::BradleyTerry { margin: 1.0 }),
    ]
}

/// The configuration of a training; Bradley–Terry heads learn from pairs of the same answers.
pub fn config(arguments: &Arguments) -> FitConfig {
    FitConfig { micro_batch_size: 16, ..FitConfig::new(arguments.epochs, 32, optimizer(1.5e-3)) }
}

/// Trains heads of one kind on labels of this noise, and measures them.
fn of_heads(
    ground: &Ground,
    arguments: &Arguments,
    kind: &HeadKind,
    n: usize,
    noise: f64,
    config: &FitConfig,
) -> Vec<Found> {
    let heads = vec![HeadConfig { kind: kind.clone(), hidden_size: None }; ground.schema.len()];
    let records = ground.paired(n, 1, noise);
    let set = ground.set(&heads, &records);
    let folder = ground.trained(ground.fresh(&heads, 0), &heads, &set, &records, config, 0);
    ground.measure(&folder, arguments, noise)
}

pub fn kinds(arguments: &Arguments) -> Table {
    let mut table = Table::default();
    for seed in 0..arguments.seeds {
        let ground = Ground::new(arguments, seed);
        for &n in &arguments.answers {
            for &noise in &arguments.noise {
                for (name, kind) in all_kinds().into_iter().filter(|(name, _)| name.contains(&arguments.kind))
                {
                    let found = of_heads(&ground, arguments, &kind, n, noise, &config(arguments));
                    let row = format!("{n} answers, noise {noise}: {name}");
                    table.add_found(&row, &ground.schema, &found);
                    done(seed, &row);
                }
            }
        }
    }
    table
}

pub fn aggregations(arguments: &Arguments) -> Table {
    let mut table = Table::default();
    for seed in 0..arguments.seeds {
        let ground = Ground::new(arguments, seed);
        for &n in &arguments.answers {
            for &noise in &arguments.noise {
                for (name, loss_aggregation) in [
                    ("sum of head means", LossAggregation::SumOfHeadMeans),
                    ("mean over labels", LossAggregation::MeanOverLabels),
                    ("entropy-normalised", LossAggregation::EntropyNormalised),
                    ("uncertainty", LossAggregation::Uncertainty),
                ] {
                    let config = FitConfig { loss_aggregation, ..config(arguments) };
                    let found = of_heads(&ground, arguments, &HeadKind::Softmax, n, noise, &config);
                    let row = format!("{n} answers, noise {noise}: {name}");
                    table.add_found(&row, &ground.schema, &found);
                    done(seed, &row);
                }
            }
        }
    }
    table
}

pub fn levels(arguments: &Arguments) -> Table {
    let mut table = Table::default();
    for seed in 0..arguments.seeds {
        for n_levels in [2, 3, 5, 10] {
            let ground = Ground::new(arguments, seed).with_levels(n_levels);
            for &n in &arguments.answers {
                for &noise in &arguments.noise {
                    for (name, kind) in
                        all_kinds().into_iter().filter(|(name, _)| name.contains(&arguments.kind))
                    {
                        let found = of_heads(&ground, arguments, &kind, n, noise, &config(arguments));
                        let row = format!("K = {n_levels}, {n} answers, noise {noise}: {name}");
                        table.add_found(&row, &ground.schema, &found);
                        done(seed, &row);
                    }
                }
            }
        }
    }
    table
}
