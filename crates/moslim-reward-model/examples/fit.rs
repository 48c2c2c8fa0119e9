//! Trains a small reward model on the testbed and compares it with always naming the most frequent level.

use std::ops::ControlFlow;

use burn::module::Module;
use burn::tensor::Device;
use moslim_data::{level_counts, majority_share};
use moslim_lm::{CausalLm, LrSchedule, ModelConfig, OptimizerConfig, Tokenizer, TokenizerKind};
use moslim_reward_model::{
    FitConfig, HeadReader, LabeledExchange, MultiHeadRewardModel, Readout, TrainingSet, fit,
};
use moslim_testbed::{LabelOptions, MissingPattern, Split, World, WorldKind};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

#[allow(clippy::print_stdout)]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    let world = World::new(WorldKind::Local, 0);
    let schema = world.schema();
    let records = world.labeled(Split::Train, 1500, 0, &LabelOptions::default())?;
    let complete = LabelOptions { noise: 0.0, missing: MissingPattern::NOTHING };
    let held_out = world.labeled(Split::HeldOut, 300, 1, &complete)?;

    let texts = records.iter().flat_map(|record| [record.prompt.question.as_str(), record.response.as_str()]);
    let tokenizer = Tokenizer::train(TokenizerKind::Word, texts, &[])?;
    let heads = vec![Default::default(); schema.len()];
    let set = |records: &[_]| TrainingSet::new(&tokenizer, &schema, &heads, records, &[]);
    let (examples, measured) = (set(&records)?, set(&held_out)?);

    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let device = Device::default().autodiff();
    let config = ModelConfig::small(tokenizer.vocab_size(), 32, 64, 2, 2);
    let start = CausalLm::new(&config, &mut rng, &device);
    let model = MultiHeadRewardModel::new(&start, config.hidden_size, &schema, &heads, &mut rng);
    let optimizer = OptimizerConfig {
        warmup_ratio: 0.05,
        lr_scheduler_type: LrSchedule::Linear,
        adam_beta2: 0.95,
        weight_decay: 0.01,
        ..OptimizerConfig::new(3e-3)
    };
    let fit_config = FitConfig { micro_batch_size: 8, ..FitConfig::new(1.0, 16, optimizer) };
    let model = fit(model, &examples, &fit_config, 0, |step| {
        if step.step % 30 == 0 {
            println!("step {}/{}: losses {:.2?}", step.step, step.total_steps, step.head_losses);
        }
        ControlFlow::Continue(())
    });

    let answers: Vec<_> = measured.answers.iter().map(LabeledExchange::exchange).collect();
    let outputs = model.valid().outputs(&answers);
    let counts = level_counts(&held_out, &schema);
    for (index, objective) in schema.objectives().iter().enumerate() {
        let reader = HeadReader::plain(Readout::softmax(objective.n_levels()));
        let hits = outputs.iter().zip(&held_out).filter(|(heads, record)| {
            let head = reader.probabilities(&heads[index]);
            let best = (0..head.len()).max_by(|&a, &b| head[a].total_cmp(&head[b]));
            best == record.levels[index]
        });
        let accuracy = hits.count() as f64 / held_out.len() as f64;
        let majority = majority_share(&counts[index]).unwrap_or(f64::NAN);
        println!("{}: accuracy {accuracy:.2}, majority {majority:.2}", objective.name);
    }
    Ok(())
}
