//! Fine-tunes a tiny model on two answers and lets it answer.

use burn::module::Module;
use burn::tensor::Device;
use moslim_lm::{
    CausalLm, Exchange, LmError, LrSchedule, Message, ModelConfig, Optimizer, OptimizerConfig, Precision,
    SamplingParams, Stops, TokenRng, Tokenizer, TokenizerKind, generate, sft_gradients,
};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

const STEPS: usize = 40;

#[allow(clippy::print_stdout)]
fn main() -> Result<(), LmError> {
    let pairs =
        [("what is its food ?", "its food is plum ."), ("what is its fate ?", "nobody knows its fate .")];
    let texts = pairs.iter().flat_map(|(question, answer)| [*question, *answer]);
    let tokenizer = Tokenizer::train(TokenizerKind::Word, texts, &[])?;
    let config = ModelConfig::small(tokenizer.vocab_size(), 32, 64, 1, 2);
    let device = Device::default().autodiff();
    let mut model = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(0), &device);

    let examples: Vec<(Vec<u32>, Vec<u32>)> = pairs
        .iter()
        .map(|(question, answer)| tokenizer.encode_exchange(&[Message::user(*question)], answer))
        .collect::<Result<_, _>>()?;
    let exchanges: Vec<Exchange> =
        examples.iter().map(|(prompt, response)| Exchange { prompt, response }).collect();
    let settings = OptimizerConfig {
        warmup_ratio: 0.1,
        lr_scheduler_type: LrSchedule::Cosine,
        adam_beta2: 0.95,
        ..OptimizerConfig::new(1e-2)
    };
    let mut optimizer = Optimizer::new(settings, STEPS);
    for step in 0..STEPS {
        let (gradients, loss) = sft_gradients(&model, &exchanges, exchanges.len(), Precision::F32);
        if step % 10 == 0 {
            println!("step {step:2}: loss {loss:.3}");
        }
        model = optimizer.step(model, gradients).0;
    }

    let prompts: Vec<Vec<u32>> = examples.into_iter().map(|(prompt, _)| prompt).collect();
    let greedy = SamplingParams { temperature: 0.0, max_new_tokens: 10, ..SamplingParams::default() };
    let stops = Stops::from(vec![tokenizer.eos()]);
    let answers = generate(&model.valid(), &prompts, 1, &greedy, &stops, &TokenRng::new(0, 0));
    for ((question, _), answer) in pairs.iter().zip(answers) {
        println!("{question} -> {}", tokenizer.decode(&answer.tokens)?);
    }
    Ok(())
}
