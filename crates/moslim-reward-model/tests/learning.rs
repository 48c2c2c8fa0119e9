//! A reward model learns what can be seen, keeps what it learned in its folder, and leaves heads without labels alone.

use std::ops::ControlFlow;

use burn::module::Module;
use burn::tensor::Device;
use moslim_data::{LabeledResponse, Objective, ObjectiveSchema};
use moslim_lm::{CausalLm, LrSchedule, ModelConfig, OptimizerConfig, Tokenizer, TokenizerKind};
use moslim_reward_model::{FitConfig, LabeledExchange, MultiHeadRewardModel, RewardModelFolder, fit};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

/// The level of `count` is how many times "ping" stands in the answer; `shout` is whether "pong" does.
fn schema() -> ObjectiveSchema {
    ObjectiveSchema::new(vec![Objective::with_scale("count", 0, 3), Objective::with_scale("shout", 0, 1)])
        .unwrap()
}

fn records(n: usize, seed: u64, labels: impl Fn(usize) -> [bool; 2]) -> Vec<LabeledResponse> {
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

fn tokenizer() -> Tokenizer {
    Tokenizer::train(TokenizerKind::Word, ["go ping pong and"].into_iter(), &[]).unwrap()
}

fn fresh() -> (MultiHeadRewardModel, ModelConfig) {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let config = ModelConfig::small(tokenizer().vocab_size(), 16, 32, 1, 2);
    let start = CausalLm::new(&config, &mut rng, &Device::default().autodiff());
    (MultiHeadRewardModel::new(&start, config.hidden_size, &schema(), &mut rng), config)
}

fn fit_on(records: &[LabeledResponse], epochs: f64) -> (MultiHeadRewardModel, ModelConfig) {
    let tokenizer = tokenizer();
    let examples: Vec<LabeledExchange> =
        records.iter().map(|record| LabeledExchange::new(&tokenizer, record).unwrap()).collect();
    let optimizer = OptimizerConfig {
        learning_rate: 5e-3,
        warmup_ratio: 0.05,
        lr_scheduler_type: LrSchedule::Linear,
        adam_beta1: 0.9,
        adam_beta2: 0.95,
        adam_epsilon: 1e-8,
        weight_decay: 0.01,
        max_grad_norm: 1.0,
    };
    let config = FitConfig { micro_batch_size: 8, ..FitConfig::new(epochs, 16, optimizer) };
    let (model, model_config) = fresh();
    (fit(model, &examples, &config, 1, |_| ControlFlow::Continue(())).valid(), model_config)
}

fn probabilities(model: &MultiHeadRewardModel, records: &[LabeledResponse]) -> Vec<Vec<Vec<f64>>> {
    let tokenizer = tokenizer();
    let answers: Vec<LabeledExchange> =
        records.iter().map(|record| LabeledExchange::new(&tokenizer, record).unwrap()).collect();
    model.class_probabilities(&answers.iter().map(LabeledExchange::exchange).collect::<Vec<_>>())
}

fn accuracy(model: &MultiHeadRewardModel, records: &[LabeledResponse], objective: usize) -> f64 {
    let heads = probabilities(model, records);
    let hits = heads.iter().zip(records).filter(|(heads, record)| {
        let head = &heads[objective];
        (0..head.len()).max_by(|&a, &b| head[a].total_cmp(&head[b])) == record.levels[objective]
    });
    hits.count() as f64 / records.len() as f64
}

#[test]
fn incomplete_labels_teach_both_heads() {
    // Every answer is labelled for one objective only.
    let (model, _) = fit_on(&records(1200, 0, |row| [row % 2 == 0, row % 2 == 1]), 3.0);
    let held_out = records(200, 9, |_| [true, true]);
    // Guessing reaches about 1/4 and 1/2.
    assert!(accuracy(&model, &held_out, 0) > 0.95, "{}", accuracy(&model, &held_out, 0));
    assert!(accuracy(&model, &held_out, 1) > 0.95, "{}", accuracy(&model, &held_out, 1));
}

#[test]
fn a_head_without_labels_keeps_its_weights_to_the_bit() {
    let folder = |model: MultiHeadRewardModel, config: ModelConfig| {
        let folder = tempfile::tempdir().unwrap();
        RewardModelFolder { config, tokenizer: tokenizer(), schema: schema(), model }
            .write_into(folder.path())
            .unwrap();
        let file = std::fs::read(folder.path().join("model.safetensors")).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&file).unwrap();
        tensors.tensor("score.weight").unwrap().data().to_vec()
    };
    let (model, config) = fresh();
    let before = folder(model.valid(), config.clone());
    let (model, config) = fit_on(&records(64, 0, |_| [false, true]), 1.0);
    let after = folder(model, config);
    // Four rows of 16 numbers belong to `count`, the other two to `shout`.
    let count = 4 * 16 * 4;
    assert_eq!(before[..count], after[..count]);
    assert_ne!(before[count..], after[count..]);
}

#[test]
fn the_folder_gives_the_same_probabilities_back() {
    let (model, config) = fit_on(&records(64, 0, |_| [true, true]), 1.0);
    let held_out = records(20, 5, |_| [true, true]);
    let expected = probabilities(&model, &held_out);
    let folder = tempfile::tempdir().unwrap();
    RewardModelFolder { config, tokenizer: tokenizer(), schema: schema(), model }
        .write_into(folder.path())
        .unwrap();
    let config: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(folder.path().join("config.json")).unwrap()).unwrap();
    assert_eq!(config["id2label"]["3"], "count=3");
    assert_eq!(config["id2label"]["5"], "shout=1");
    let read = RewardModelFolder::read(folder.path(), &Device::default()).unwrap();
    assert_eq!(read.schema, schema());
    assert_eq!(probabilities(&read.model, &held_out), expected);
    std::fs::write(folder.path().join("objectives.json"), r#"[{"name": "count", "scale": [0, 4]}]"#).unwrap();
    let message = RewardModelFolder::read(folder.path(), &Device::default()).unwrap_err().to_string();
    assert!(message.contains("score.weight"), "{message}");

    // Sizes that the file cannot have are refused before memory is taken for them.
    let mut huge = config.clone();
    huge["vocab_size"] = (1 << 24).into();
    std::fs::write(folder.path().join("config.json"), huge.to_string()).unwrap();
    let message = RewardModelFolder::read(folder.path(), &Device::default()).unwrap_err().to_string();
    assert!(message.contains("bytes, expected the"), "{message}");
}
