//! A made-up task, models for it, and how well they do.

use std::ops::ControlFlow;

use burn::module::Module;
use burn::tensor::Device;
use moslim_data::{LabeledResponse, Objective, ObjectiveSchema};
use moslim_lm::{CausalLm, LrSchedule, ModelConfig, OptimizerConfig, Tokenizer, TokenizerKind};
use moslim_reward_model::*;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// The level of `count` is how many times "ping" stands in the answer; `shout` is whether "pong" does.
pub fn schema() -> ObjectiveSchema {
    ObjectiveSchema::new(vec![Objective::with_scale("count", 0, 3), Objective::with_scale("shout", 0, 1)])
        .unwrap()
}

pub fn records(n: usize, seed: u64, labels: impl Fn(usize) -> [bool; 2]) -> Vec<LabeledResponse> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let answer = |row| {
        let (count, shout) = (rng.random_range(0..4), rng.random_range(0..2));
        let mut words = vec!["ping"; count];
        words.extend(vec!["pong"; shout]);
        words.extend(["and"; 2]);
        for last in (1..words.len()).rev() {
            words.swap(last, rng.random_range(0..=last));
        }
        let [has_count, has_shout] = labels(row);
        let levels = vec![has_count.then_some(count), has_shout.then_some(shout)];
        LabeledResponse::new("go", words.join(" "), levels)
    };
    (0..n).map(answer).collect()
}

pub fn tokenizer() -> Tokenizer {
    Tokenizer::train(TokenizerKind::Word, ["go ping pong and"].into_iter(), &[]).unwrap()
}

pub fn fresh(heads: &[HeadConfig; 2]) -> (MultiHeadRewardModel, ModelConfig) {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let config = ModelConfig::small(tokenizer().vocab_size(), 16, 32, 1, 2);
    let start = CausalLm::new(&config, &mut rng, &Device::default().autodiff());
    (MultiHeadRewardModel::new(&start, config.hidden_size, &schema(), heads, &mut rng), config)
}

pub fn config(epochs: f64) -> FitConfig {
    let optimizer = OptimizerConfig {
        warmup_ratio: 0.05,
        lr_scheduler_type: LrSchedule::Linear,
        adam_beta2: 0.95,
        weight_decay: 0.01,
        ..OptimizerConfig::new(5e-3)
    };
    FitConfig { micro_batch_size: 8, ..FitConfig::new(epochs, 16, optimizer) }
}

/// Two heads of a kind.
pub fn both(kind: HeadKind) -> [HeadConfig; 2] {
    [(); 2].map(|()| HeadConfig { kind: kind.clone(), hidden_size: None })
}

pub fn data(records: &[LabeledResponse], heads: &[HeadConfig]) -> TrainingSet {
    TrainingSet::new(&tokenizer(), &schema(), heads, records, &[]).unwrap()
}

/// Trains, and reads scores as they were on the training answers.
pub fn fit_heads(
    records: &[LabeledResponse],
    heads: &[HeadConfig; 2],
    config: &FitConfig,
) -> RewardModelFolder {
    let (model, model_config) = fresh(heads);
    let model = fit(model, &data(records, heads), config, 1, |_| ControlFlow::Continue(())).valid();
    let mut fitted = folder(model, model_config, heads);
    let answers = exchanges(records);
    let outputs = fitted.model.outputs(&answers.iter().map(LabeledExchange::exchange).collect::<Vec<_>>());
    let targets: Vec<_> = answers.iter().map(|answer| (answer.targets.as_slice(), answer.weight)).collect();
    let reader = |head: usize| {
        let scores: Vec<f64> = outputs.iter().map(|outputs| outputs[head][0]).collect();
        let labelled = Labelled::of(head, &outputs, &targets);
        HeadReader::of_training(&fitted.model.heads()[head], &labelled, &scores)
    };
    fitted.readers = (0..2).map(reader).collect();
    fitted
}

pub fn fit_on(records: &[LabeledResponse], epochs: f64) -> RewardModelFolder {
    fit_heads(records, &both(HeadKind::Softmax), &config(epochs))
}

pub fn exchanges(records: &[LabeledResponse]) -> Vec<LabeledExchange> {
    records.iter().map(|record| LabeledExchange::new(&tokenizer(), record).unwrap()).collect()
}

pub fn folder(model: MultiHeadRewardModel, config: ModelConfig, heads: &[HeadConfig]) -> RewardModelFolder {
    let token = |text: &str| tokenizer().encode(text).unwrap();
    RewardModelFolder {
        config,
        tokenizer: tokenizer(),
        schema: schema(),
        model,
        heads: heads.to_vec(),
        readers: [4, 2].map(|n_levels| HeadReader::plain(Readout::softmax(n_levels))).into(),
        uncertainty: None,
        statistics: None,
        mapping: None,
        golden: vec![(token("go"), token("ping pong and"))],
    }
}

pub fn probabilities(model: &RewardModelFolder, records: &[LabeledResponse]) -> Vec<Vec<Vec<f64>>> {
    let answers = exchanges(records);
    model.class_probabilities(&answers.iter().map(LabeledExchange::exchange).collect::<Vec<_>>())
}

pub fn accuracy(model: &RewardModelFolder, records: &[LabeledResponse], objective: usize) -> f64 {
    let heads = probabilities(model, records);
    let hits = heads.iter().zip(records).filter(|(heads, record)| {
        let head = &heads[objective];
        (0..head.len()).max_by(|&a, &b| head[a].total_cmp(&head[b])) == record.levels[objective]
    });
    hits.count() as f64 / records.len() as f64
}

/// The rows of `score.weight` as bytes.
pub fn score_weights(model: &RewardModelFolder) -> Vec<u8> {
    let path = tempfile::tempdir().unwrap();
    model.write_into(path.path()).unwrap();
    let file = std::fs::read(path.path().join("model.safetensors")).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
    tensors.tensor("score.weight").unwrap().data().to_vec()
}

/// All outputs for some answers, bit by bit.
pub fn bits(model: &MultiHeadRewardModel) -> Vec<u64> {
    let answers = exchanges(&records(8, 77, |_| [true, true]));
    let outputs = model.outputs(&answers.iter().map(LabeledExchange::exchange).collect::<Vec<_>>());
    outputs.concat().concat().into_iter().map(f64::to_bits).collect()
}
