//! Writes one request into a prompt in the forms that related work uses, and reads it back.
//!
//! `cargo run -p moslim-data --example codec`
#![allow(clippy::print_stdout)]

use moslim_data::{Objective, ObjectiveSchema, PromptCodec, PromptCodecConfig, Request};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let schema = ObjectiveSchema::new(vec![
        Objective::with_scale("helpfulness", 1, 5),
        Objective::with_scale("honesty", 1, 5),
        Objective::with_scale("harmlessness", 0, 1),
    ])?;
    let request = Request::parse("helpfulness=5,honesty=3.5", &schema)?;

    for (name, config) in [
        ("CPO's tokens", PromptCodecConfig::cpo_tokens()),
        ("one token per item", PromptCodecConfig::one_token()),
        ("a list of levels", PromptCodecConfig::level_list()),
        ("sentences", PromptCodecConfig::sentences()),
    ] {
        let codec = PromptCodec::new(config, &schema)?;
        let text = codec.render("Why is the sky blue?", &request)?;
        let (prompt, read_back) = codec.parse(&text)?;
        println!("{name}:\n{text}");
        println!("  read back: `{prompt}` with {}\n", read_back.describe(&schema));
    }
    Ok(())
}
