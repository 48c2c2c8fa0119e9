//! A world, models on it, and what they are worth.

use std::ops::ControlFlow;

use burn::module::Module;
use burn::tensor::Device;
use moslim_data::{LabeledResponse, Level, Objective, ObjectiveSchema};
use moslim_eval::classification::{Classified, HeadReport};
use moslim_lm::*;
use moslim_reward_model::*;
use moslim_testbed::{LabelOptions, MissingPattern, Split, World, WorldKind};
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};

use crate::Arguments;

/// What a model of one setting is worth for one objective, with one seed.
pub struct Found {
    pub n: f64,
    pub accuracy: f64,
    pub mae: f64,
    pub ece: f64,
    pub ece_calibrated: f64,
}

pub fn optimizer(learning_rate: f64) -> OptimizerConfig {
    OptimizerConfig {
        warmup_ratio: 0.05,
        lr_scheduler_type: LrSchedule::Linear,
        adam_beta2: 0.95,
        weight_decay: 0.01,
        ..OptimizerConfig::new(learning_rate)
    }
}

/// A seed's world, and a language model that has read answers of it without labels.
pub struct Ground {
    pub seed: u64,
    pub world: World,
    pub tokenizer: Tokenizer,
    pub config: ModelConfig,
    pub start: CausalLm,
    pub schema: ObjectiveSchema,
    /// From the levels of helpfulness, honesty and harmlessness to those of the schema.
    relabel: fn(&[Level], usize) -> Vec<Level>,
}

impl Ground {
    pub fn new(arguments: &Arguments, seed: u64) -> Self {
        let world = World::new(WorldKind::Local, seed);
        let texts = world.answered(Split::Train, arguments.sft_answers, 0);
        let corpus = texts.iter().flat_map(|(prompt, answer)| [prompt.as_str(), answer.as_str()]);
        let tokenizer = Tokenizer::train(TokenizerKind::Word, corpus, &[]).expect("a tokenizer");
        let d = arguments.hidden_size;
        let config = ModelConfig::small(tokenizer.vocab_size(), d, 8 * d / 3, arguments.layers, 4);
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut start = CausalLm::new(&config, &mut rng, &Device::default().autodiff());
        let tokens: Vec<(Vec<u32>, Vec<u32>)> = texts
            .iter()
            .map(|(prompt, answer)| tokenizer.encode_exchange(&[Message::user(prompt.clone())], answer))
            .collect::<Result<_, _>>()
            .expect("answers of the world are words");
        let total = tokens.len() / 32;
        let mut adam = Optimizer::new(optimizer(3e-3), total);
        for rows in EpochBatches::new(tokens.len(), 32, seed).take(total) {
            let exchange = |row: &usize| Exchange { prompt: &tokens[*row].0, response: &tokens[*row].1 };
            let batch: Vec<Exchange<'_>> = rows.iter().map(exchange).collect();
            let (gradients, _) = sft_gradients(&start, &batch, 16, Precision::F32);
            (start, _) = adam.step(start, gradients);
        }
        let (schema, relabel) =
            (world.schema(), (|levels: &[Level], _| levels.to_vec()) as fn(&[Level], usize) -> _);
        Self { seed, world, tokenizer, config, start, schema, relabel }
    }

    /// The same with one objective of so many levels, made of helpfulness, and with ten of harmlessness too.
    pub fn with_levels(mut self, n_levels: usize) -> Self {
        let objective = Objective::with_scale("merit", 0, n_levels as i64 - 1);
        self.schema = ObjectiveSchema::new(vec![objective]).expect("one objective");
        self.relabel = |levels, n| vec![if n == 10 { 2 * levels[0] + levels[2] } else { levels[0] * n / 5 }];
        self
    }

    pub fn labeled(
        &self,
        split: Split,
        n: usize,
        stream: u64,
        noise: f64,
        all: bool,
    ) -> Vec<LabeledResponse> {
        let natural = self.schema.len() == 3;
        let missing = if all || !natural { MissingPattern::NOTHING } else { MissingPattern::default() };
        let options = LabelOptions { noise: if natural { noise } else { 0.0 }, missing };
        let mut records = self.world.labeled(split, n, stream, &options).expect("options in their range");
        let n_levels = self.schema.n_levels();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ stream);
        for record in records.iter_mut().filter(|_| !natural) {
            let gold: Vec<Level> = record.levels.iter().map(|level| level.expect("all are there")).collect();
            let mut levels = (self.relabel)(&gold, n_levels[0]);
            if rng.random_bool(noise) {
                levels[0] = (levels[0] + rng.random_range(1..n_levels[0])) % n_levels[0];
            }
            record.sources = vec![None; levels.len()];
            record.levels = levels.into_iter().map(Some).collect();
        }
        records
    }

    /// Half as many prompts with two labelled answers each, so that heads of pairs can learn from the same answers.
    pub fn paired(&self, n: usize, stream: u64, noise: f64) -> Vec<LabeledResponse> {
        let first = self.labeled(Split::Train, n / 2, stream, noise, false);
        let n_levels = self.schema.n_levels();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ (stream << 8));
        let mut records = Vec::with_capacity(n);
        for record in first {
            let gold = [5, 5, 2].map(|n| rng.random_range(0..n));
            let question = &record.prompt.question;
            let response =
                self.world.answer_with_levels(question, gold, &mut rng).expect("a question of the world");
            let levels = (self.relabel)(&gold, n_levels[0]).into_iter().zip(&record.levels).zip(&n_levels);
            let levels = levels.map(|((level, other), n)| {
                let noisy =
                    if rng.random_bool(noise) { (level + rng.random_range(1..*n)) % n } else { level };
                other.map(|_| noisy)
            });
            let second = LabeledResponse::new(question.clone(), response, levels.collect());
            records.extend([record, second]);
        }
        records
    }

    pub fn set(&self, heads: &[HeadConfig], records: &[LabeledResponse]) -> TrainingSet {
        TrainingSet::new(&self.tokenizer, &self.schema, heads, records, &[]).expect("words of the world")
    }

    pub fn fresh(&self, heads: &[HeadConfig], seed: u64) -> MultiHeadRewardModel {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed + 1000 * (seed + 1));
        MultiHeadRewardModel::new(&self.start, self.config.hidden_size, &self.schema, heads, &mut rng)
    }

    /// A trained model with readers that are fitted to its training answers.
    pub fn trained(
        &self,
        model: MultiHeadRewardModel,
        heads: &[HeadConfig],
        set: &TrainingSet,
        records: &[LabeledResponse],
        config: &FitConfig,
        order: u64,
    ) -> RewardModelFolder {
        let model = fit(model, set, config, order, |_| ControlFlow::Continue(())).valid();
        let fitted = exchanges(&self.tokenizer, &records[..records.len().min(2000)]);
        let readers = readers(&model, &fitted, None);
        RewardModelFolder {
            config: self.config.clone(),
            tokenizer: self.tokenizer.clone(),
            schema: self.schema.clone(),
            model,
            heads: heads.to_vec(),
            readers,
            uncertainty: None,
            statistics: None,
            mapping: None,
            golden: vec![],
        }
    }

    /// Measures on gold labels, as it is and with a temperature fitted to answers with labels as those of training.
    pub fn measure(&self, folder: &RewardModelFolder, arguments: &Arguments, noise: f64) -> Vec<Found> {
        let held_out = self.labeled(Split::HeldOut, arguments.held_out, 3, 0.0, true);
        let before = reports(folder, &held_out);
        let kept = exchanges(
            &self.tokenizer,
            &self.labeled(Split::Train, 500.min(arguments.held_out), 4, noise, true),
        );
        let mut calibrated = folder.clone();
        calibrated.readers = readers(&folder.model, &kept, Some(&folder.readers));
        let after = reports(&calibrated, &held_out);
        let found = |(before, after): (&HeadReport, &HeadReport)| Found {
            n: 1.0,
            accuracy: before.measures.intensity_accuracy,
            mae: before.measures.mae,
            ece: before.measures.ece,
            ece_calibrated: after.measures.ece,
        };
        before.iter().zip(&after).map(found).collect()
    }
}

pub fn exchanges(tokenizer: &Tokenizer, records: &[LabeledResponse]) -> Vec<LabeledExchange> {
    let tokens = |record| LabeledExchange::new(tokenizer, record).expect("words of the world");
    records.iter().map(tokens).collect()
}

/// Readers fitted to answers: from scratch, or those given, calibrated.
pub fn readers(
    model: &MultiHeadRewardModel,
    answers: &[LabeledExchange],
    given: Option<&[HeadReader]>,
) -> Vec<HeadReader> {
    let outputs = model.outputs(&answers.iter().map(LabeledExchange::exchange).collect::<Vec<_>>());
    let targets: Vec<_> = answers.iter().map(|answer| (answer.targets.as_slice(), answer.weight)).collect();
    let reader = |(index, head): (usize, &RewardHead)| {
        let labelled = Labelled::of(index, &outputs, &targets);
        let scores: Vec<f64> = outputs.iter().map(|outputs| outputs[index][0]).collect();
        match given {
            Some(given) => given[index].clone().calibrated(Calibration::Temperature, &labelled),
            None => HeadReader::of_training(head, &labelled, &scores),
        }
    };
    model.heads().iter().enumerate().map(reader).collect()
}

/// How well a model classifies answers.
pub fn reports(folder: &RewardModelFolder, records: &[LabeledResponse]) -> Vec<HeadReport> {
    let answers = exchanges(&folder.tokenizer, records);
    let judged = folder.classify(&answers.iter().map(LabeledExchange::exchange).collect::<Vec<_>>());
    let deviations: Vec<Vec<f64>> = judged.iter().map(Judgement::level_deviations).collect();
    let of_head = |head: usize| {
        let classified = Classified {
            probabilities: judged.iter().map(|judged| judged.probabilities.0[head].clone()).collect(),
            labels: records.iter().map(|record| record.levels[head].expect("all are labelled")).collect(),
            prompts: (0..records.len()).collect(),
            sources: vec![None; records.len()],
            deviations: folder.uncertainty.is_some().then(|| deviations.iter().map(|of| of[head]).collect()),
        };
        HeadReport::new(&classified, 1, &mut ChaCha8Rng::seed_from_u64(0))
    };
    (0..folder.schema.len()).map(of_head).collect()
}
