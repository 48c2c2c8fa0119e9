//! A made-up comparison whose numbers can be computed by hand.

use std::collections::BTreeMap;

use moslim_data::{Objective, ObjectiveSchema};
use moslim_lm::{OptimizerConfig, Precision};

use super::Compared;
use crate::checkpoints::Settings;
use crate::comparison::measured::{
    AskedAnswer, Control, Cost, LevelCurve, LookUp, Measured, Outcome, Point, SharedGround, ShownAnswer,
};
use crate::{
    BudgetName, ComparisonRecipe, CpoRecipe, LevelsOfWeights, MethodName, ModpoRecipe, MorlhfRecipe,
    MoslimRecipe, PersonalizedRecipe, Recipe, RejectionSamplingRecipe, RewardModels, RewardedSoupsRecipe,
    RicRecipe, SteerLm2Recipe, TuningRecipe,
};

/// What a [`Compared`] borrows.
pub(super) struct Sample {
    pub recipe: Recipe,
    pub schema: ObjectiveSchema,
    pub grounds: Vec<SharedGround>,
    pub outcomes: Vec<Outcome>,
}

impl Sample {
    /// Two objectives of three levels each, and nothing measured yet.
    pub(super) fn new(methods: &[MethodName], budgets: &[BudgetName], seeds: &[u64]) -> Self {
        let tuning = TuningRecipe {
            num_train_epochs: 1.0,
            batch_size: 8,
            micro_batch_size: 8,
            precision: Precision::default(),
            optimizer: OptimizerConfig::new(1e-3),
        };
        let mut recipe = Recipe::read("quickstart", &["evaluation.resamples=200".into()]).expect("a recipe");
        recipe.comparison = Some(ComparisonRecipe {
            methods: methods.to_vec(),
            variants: Vec::new(),
            seeds: seeds.to_vec(),
            budgets: budgets.to_vec(),
            weight_steps: 2,
            levels_of_weights: LevelsOfWeights::Best,
            reward_models: RewardModels::Shared,
            fine_tuning: tuning.clone(),
            preference_tuning: tuning,
            moslim: MoslimRecipe::default(),
            morlhf: MorlhfRecipe::default(),
            rewarded_soups: RewardedSoupsRecipe::default(),
            personalized: PersonalizedRecipe::default(),
            ric: RicRecipe::default(),
            cpo: CpoRecipe::default(),
            modpo: ModpoRecipe::default(),
            rejection_sampling: RejectionSamplingRecipe::default(),
            dpa: RejectionSamplingRecipe::default(),
            steerlm2: SteerLm2Recipe::default(),
        });
        let objectives = ["helpfulness", "honesty"].map(|name| Objective::with_scale(name, 1, 3));
        let schema = ObjectiveSchema::new(objectives.into()).expect("two objectives");
        let grounds = seeds.iter().map(|&seed| ground(seed)).collect();
        Self { recipe, schema, grounds, outcomes: Vec::new() }
    }

    /// Adds an outcome; every point is `(helpfulness, honesty)` on all of two questions.
    pub(super) fn with(mut self, budget: BudgetName, method: &str, by_seed: &[&[[f64; 2]]]) -> Self {
        let seeds = self.recipe.comparison.as_ref().map_or(Vec::new(), |comparison| comparison.seeds.clone());
        let measured =
            seeds.iter().zip(by_seed).map(|(&seed, points)| measured(method, seed, points)).collect();
        self.outcomes.push(Outcome { budget, method: method.into(), measured, reached: true });
        self
    }

    /// What was measured of the method that was added last.
    pub(super) fn last(&mut self) -> &mut Outcome {
        self.outcomes.last_mut().expect("a method was added")
    }

    pub(super) fn comparison(&self) -> Compared<'_> {
        Compared {
            recipe: &self.recipe,
            schema: &self.schema,
            judge: "gold",
            grounds: &self.grounds,
            outcomes: &self.outcomes,
        }
    }
}

fn point(weights: &[f64], [helpfulness, honesty]: [f64; 2]) -> Point {
    Point {
        weights: weights.to_vec(),
        asked: "as the weights say".into(),
        gold: vec![vec![helpfulness, honesty]; 2],
        proxy: vec![vec![0.5, 0.5]; 2],
        kl: 2.0,
        mean_length: 12.0,
        answers: vec![ShownAnswer {
            question: "Why?".into(),
            response: "Because.".into(),
            levels: vec![2, 0],
        }],
    }
}

fn measured(method: &str, seed: u64, points: &[[f64; 2]]) -> Measured {
    let steps = (points.len().max(2) - 1) as f64;
    let points = points.iter().enumerate().map(|(index, &levels)| {
        let weight = index as f64 / steps;
        point(&[weight, 1.0 - weight], levels)
    });
    // Both questions are answered at the level asked for, one objective at a time, and at the highest when all are asked.
    let levels = || (0..2).flat_map(|prompt| (0..3).map(move |level| (prompt, level)));
    let one = levels().map(|(prompt, level)| AskedAnswer {
        prompt,
        asked: vec![Some(level), None],
        achieved: vec![level, 1],
    });
    let all = levels().map(|(prompt, level)| AskedAnswer {
        prompt,
        asked: vec![Some(level), Some(2 - level)],
        achieved: vec![2, 2],
    });
    Measured {
        method: method.into(),
        seed,
        samples_allowed: 100,
        cost: Cost {
            samples: 100,
            data_answers: 0,
            trainings: 1,
            seconds: BTreeMap::from([("generate".into(), 6.0), ("update".into(), 4.0)]),
            peak_bytes: Some(5e6),
            resident_bytes: BTreeMap::from([("policy".into(), 2e6)]),
        },
        look_up: LookUp { answers: 60, seconds: 1.5 },
        points: points.collect(),
        control: Control { one: one.collect(), all: all.collect() },
        curves: vec![LevelCurve {
            objective: "helpfulness".into(),
            weights: vec![0.0, 1.0],
            observed: vec![0.5, 1.5],
            fitted: vec![0.5, 1.5],
        }],
    }
}

fn ground(seed: u64) -> SharedGround {
    SharedGround {
        seed,
        decided_by: Settings::default(),
        seconds: BTreeMap::from([("sft".into(), 20.0), ("reward_model".into(), 30.0)]),
        accuracy: BTreeMap::from([("helpfulness".into(), 0.75), ("honesty".into(), 0.875)]),
        separate_accuracy: BTreeMap::new(),
        start: point(&[], [0.25, 0.25]),
    }
}
