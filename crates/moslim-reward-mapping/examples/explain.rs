//! Explains the score of one answer: every head's own term, for every kind of mapping.
//!
//! `cargo run -p moslim-reward-mapping --example explain`
#![allow(clippy::print_stdout)]

use moslim_data::{Objective, ObjectiveSchema, Request};
use moslim_reward_mapping::{
    ClassProbabilities, Ddof, Divisor, MappingKind, MaskRule, RewardMapping, TargetStats,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schema = ObjectiveSchema::new(vec![
        Objective::with_scale("helpfulness", 1, 5),
        Objective::with_scale("honesty", 1, 5),
        Objective::with_scale("harmlessness", 0, 1),
    ])?;
    let request = Request::parse("helpfulness=4,harmlessness=1", &schema)?;
    let answer = |helpfulness: [f64; 5], honesty: [f64; 5], harmlessness: [f64; 2]| {
        ClassProbabilities(vec![helpfulness.into(), honesty.into(), harmlessness.into()])
    };
    let explained = answer([0.05, 0.1, 0.15, 0.5, 0.2], [0.1, 0.1, 0.2, 0.2, 0.4], [0.3, 0.7]);
    let calibration_set = [
        explained.clone(),
        answer([0.6, 0.2, 0.1, 0.05, 0.05], [0.2, 0.2, 0.2, 0.2, 0.2], [0.1, 0.9]),
        answer([0.1, 0.3, 0.3, 0.2, 0.1], [0.5, 0.2, 0.1, 0.1, 0.1], [0.8, 0.2]),
    ];
    let stats = TargetStats::from_probabilities(&calibration_set)?;

    println!("request: {}", request.describe(&schema));
    for kind in [
        MappingKind::ZWithinHead { eps: 1e-8, ddof: Ddof::Population, scale_by_sqrt_k: false },
        MappingKind::ZDataset,
        MappingKind::ZRunning { momentum: 0.01 },
        MappingKind::Prob,
        MappingKind::LogProb { floor: 1e-6 },
        MappingKind::ExpectedLevelDistance { normalize: true },
        MappingKind::ExpectedAbsError { normalize: true },
        MappingKind::ProbPlusDistance,
        MappingKind::WeightedSum { weights: vec![0.5, 0.3, 0.2] },
    ] {
        let mapping = RewardMapping::new(kind, Divisor::K, MaskRule::AskedInPrompt);
        println!("{:?}", mapping.kind);
        let terms = mapping.terms(&explained, &request, Some(&stats))?;
        for (objective, term) in schema.objectives().iter().zip(terms) {
            let term = term.map_or("not asked".to_owned(), |term| format!("{term:+.3}"));
            println!("  {:<13} {term}", objective.name);
        }
        println!("  {:<13} {:+.3}", "score", mapping.score(&explained, &request, Some(&stats))?);
    }
    Ok(())
}
