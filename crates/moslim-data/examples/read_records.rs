//! Writes a small preference file, reads it again and shows what is in it.
//!
//! `cargo run -p moslim-data --example read_records`
#![allow(clippy::print_stdout)]

use moslim_data::{
    LabeledResponse, Objective, ObjectiveSchema, level_counts, majority_share, read_records, split_by_prompt,
    write_records,
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schema = ObjectiveSchema::new(vec![
        Objective::with_scale("helpfulness", 1, 5),
        Objective::with_scale("harmlessness", 0, 1),
    ])?;
    let records: Vec<LabeledResponse> = (0..40)
        .map(|i| {
            let levels = vec![Some(i * i % 5), (i % 4 == 0).then_some(1)];
            LabeledResponse::new(format!("Question {}?", i / 2), format!("Answer {i}."), levels)
                .from_source("example")
        })
        .collect();

    let folder = tempfile::tempdir()?;
    let path = folder.path().join("prefs.jsonl");
    write_records(&path, &schema, &records)?;
    let records = read_records(&path, &schema)?;
    println!("{} records", records.len());

    for (objective, counts) in schema.objectives().iter().zip(level_counts(&records, &schema)) {
        let majority = majority_share(&counts)
            .map_or("no labels".into(), |share| format!("majority {:.0} %", 100.0 * share));
        println!(
            "{}: levels {} occur {counts:?} times, {majority}",
            objective.name,
            objective.levels.join(", ")
        );
    }
    let (train, held_out) = split_by_prompt(records, 0.2, 0);
    println!("{} to train on, {} held out", train.len(), held_out.len());

    std::fs::write(&path, r#"{"prompt": "Why?", "response": "Because.", "labels": {"helpfulness": 7}}"#)?;
    if let Err(error) = read_records(&path, &schema) {
        println!("a bad file: {error}");
    }
    Ok(())
}
