//! Reads a model folder without tokenizer, trains it for 20 steps on one row, and writes it with what it then says.
//!
//! ```text
//! finetune [MODEL [OUT [full | lora]]]
//! ```
//!
//! `OUT` gets the weights, or the adapter, and `expected.json` with the row and the logits at its last position:
//! `tools/reference/compare_logits.py` compares them with those of transformers and PEFT.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::Device;
use moslim_lm::{
    CausalLm, Exchange, LmError, LoraConfig, LrSchedule, ModelConfig, Optimizer, OptimizerConfig, Padding,
    Precision, TargetModules, load_weights, save_weights, sft_gradients, write_folder, write_json,
};
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

const STEPS: usize = 20;

#[allow(clippy::print_stdout)]
fn main() -> Result<(), LmError> {
    let mut arguments = std::env::args().skip(1);
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny-llama3");
    let base = arguments.next().map_or(base, PathBuf::from);
    let scratch = tempfile::tempdir().map_err(LmError::io("a temporary folder"))?;
    let out = arguments.next().map_or(scratch.path().join("finetuned"), PathBuf::from);
    let lora = arguments.next().is_none_or(|kind| kind == "lora");

    let device = Device::default().autodiff();
    let mut rng = ChaCha8Rng::seed_from_u64(0);
    let config_path = base.join("config.json");
    let config = ModelConfig::read(&config_path)?;
    let mut model = CausalLm::new(&config, &mut rng, &device);
    load_weights(&mut model, &base)?;
    let adapter = LoraConfig::new(4, 8.0, TargetModules::Pattern("all-linear".into()));
    if lora {
        model = model.with_adapter(&adapter, &mut rng, &config_path)?;
    }

    let row: Vec<u32> = (1..=24).map(|i| i * 7 % config.vocab_size as u32).collect();
    let exchanges = [Exchange { prompt: &row[..4], response: &row[4..] }];
    let mut optimizer = Optimizer::new(
        OptimizerConfig {
            learning_rate: if lora { 1e-2 } else { 1e-3 },
            warmup_ratio: 0.1,
            lr_scheduler_type: LrSchedule::Linear,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
        },
        STEPS,
    );
    let mut losses = Vec::new();
    for _ in 0..STEPS {
        let (gradients, loss) = sft_gradients(&model, &exchanges, 1, Precision::F32);
        (model, _) = optimizer.step(model, gradients);
        losses.push(loss);
    }
    println!("loss {:.3} -> {:.3}", losses[0], losses[STEPS - 1]);

    let model = model.valid();
    let logits = model.logits(&[&row], Padding::Right, None);
    let [length, vocabulary] = logits.dims();
    let last = logits.narrow(0, length - 1, 1).reshape([vocabulary]);
    let last: Vec<f32> = last.into_data().try_to_vec().expect("logits are floats");
    write_folder(&out, |folder| {
        write_json(&folder.join("expected.json"), &serde_json::json!({ "ids": row, "last_logits": last }))?;
        if lora {
            return adapter.write_adapter_into(folder, &model);
        }
        write_json(&folder.join("config.json"), &config)?;
        save_weights(&model, folder)
    })
}
