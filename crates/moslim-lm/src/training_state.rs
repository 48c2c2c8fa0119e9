//! Everything that the next step of a training depends on, as files.

use std::path::Path;

use burn::module::Module;
use burn::optim::OptimizerRecord;
use burn::store::{ModuleRecord, RecordError};
use burn::tensor::Bytes;
use serde::{Deserialize, Serialize};

use crate::{LmError, Optimizer, read_json, write_json};

const WEIGHTS: &str = "weights.bpk";
const OPTIMIZER: &str = "optimizer.bpk";
const STEPS: &str = "optimizer.json";

/// What an optimizer knows beside its running means.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Steps {
    steps: usize,
}

/// Writes a module and its optimizer into an existing folder, bit for bit.
///
/// # Errors
/// If a file cannot be written.
pub fn save_training<M: Module>(module: &M, optimizer: &Optimizer, folder: &Path) -> Result<(), LmError> {
    let (record, steps) = optimizer.state();
    let means = folder.join(OPTIMIZER);
    save_module(module, &folder.join(WEIGHTS))?;
    record.save(&means).map_err(failed(&means))?;
    write_json(&folder.join(STEPS), &Steps { steps })
}

/// Reads what [`save_training`] wrote into a module of the same shape, and an optimizer of the same configuration.
///
/// # Errors
/// If a file is missing or malformed, or belongs to another module.
pub fn load_training<M: Module>(
    module: M,
    optimizer: Optimizer,
    folder: &Path,
) -> Result<(M, Optimizer), LmError> {
    let means = folder.join(OPTIMIZER);
    let module = load_module(module, &folder.join(WEIGHTS))?;
    let record = OptimizerRecord::from_bytes(read(&means)?).map_err(failed(&means))?;
    let Steps { steps } = read_json(&folder.join(STEPS))?;
    Ok((module, optimizer.with_state(record, steps)))
}

/// Writes a module into a file, bit for bit.
///
/// # Errors
/// If the file cannot be written.
pub fn save_module<M: Module>(module: &M, path: &Path) -> Result<(), LmError> {
    module.clone().into_record().save(path).map_err(failed(path))
}

/// Reads what [`save_module`] wrote into a module of the same shape.
///
/// # Errors
/// If the file is missing or malformed, or holds another module.
pub fn load_module<M: Module>(module: M, path: &Path) -> Result<M, LmError> {
    // The record has the parameters' ids too, by which an optimizer knows them.
    let record = ModuleRecord::from_bytes(read(path)?).map_err(failed(path))?;
    module.try_load_record(record).map_err(failed(path))
}

/// A file's content; records of a file itself would read it only when somebody asks, and by then it may be gone.
fn read(path: &Path) -> Result<Bytes, LmError> {
    Ok(Bytes::from_bytes_vec(std::fs::read(path).map_err(LmError::io(path))?))
}

fn failed(path: &Path) -> impl FnOnce(RecordError) -> LmError {
    let path = path.to_owned();
    move |error| LmError::io(path)(std::io::Error::other(error.to_string()))
}

#[cfg(test)]
mod tests {
    use burn::optim::GradientsParams;
    use burn::tensor::Device;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;
    use crate::{CausalLm, LrSchedule, ModelConfig, OptimizerConfig, Padding};

    fn model(seed: u64) -> CausalLm {
        let config = ModelConfig::small(20, 8, 16, 1, 2);
        CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(seed), &Device::default().autodiff())
    }

    fn optimizer() -> Optimizer {
        let config = OptimizerConfig {
            warmup_ratio: 0.2,
            lr_scheduler_type: LrSchedule::Cosine,
            adam_beta2: 0.95,
            weight_decay: 0.1,
            ..OptimizerConfig::new(1e-2)
        };
        Optimizer::new(config, 10)
    }

    fn step(model: CausalLm, optimizer: &mut Optimizer, tokens: [u32; 3]) -> CausalLm {
        let loss = model.logits(&[&tokens], Padding::Right, None).square().mean();
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        optimizer.step(model, gradients).0
    }

    fn bits(model: &CausalLm) -> Vec<u32> {
        let logits: Vec<f32> =
            model.logits(&[&[1, 2, 3, 4]], Padding::Right, None).into_data().try_to_vec().unwrap();
        logits.into_iter().map(f32::to_bits).collect()
    }

    #[test]
    fn what_goes_on_from_files_is_what_never_stopped() {
        let folder = tempfile::tempdir().unwrap();
        let (mut straight, mut its_optimizer) = (model(0), optimizer());
        for tokens in [[1, 2, 3], [4, 5, 6]] {
            straight = step(straight, &mut its_optimizer, tokens);
        }
        save_training(&straight, &its_optimizer, folder.path()).unwrap();
        // Another start: everything must come from the files.
        let (mut resumed, mut other) = load_training(model(1), optimizer(), folder.path()).unwrap();
        assert_eq!(other.learning_rate(), its_optimizer.learning_rate());
        for tokens in [[7, 8, 9], [1, 5, 9]] {
            straight = step(straight, &mut its_optimizer, tokens);
            resumed = step(resumed, &mut other, tokens);
        }
        assert_eq!(bits(&resumed), bits(&straight));
        // Without the running means the same steps lead elsewhere.
        let (mut forgetful, _) = load_training(model(1), optimizer(), folder.path()).unwrap();
        let mut fresh = optimizer();
        for tokens in [[7, 8, 9], [1, 5, 9]] {
            forgetful = step(forgetful, &mut fresh, tokens);
        }
        assert_ne!(bits(&forgetful), bits(&straight));
    }

    #[test]
    fn files_of_another_model_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        save_training(&model(0), &optimizer(), folder.path()).unwrap();
        let config = ModelConfig::small(20, 8, 16, 2, 2);
        let other = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(0), &Device::default().autodiff());
        let message = load_training(other, optimizer(), folder.path()).err().unwrap().to_string();
        assert!(message.contains("weights.bpk"), "{message}");
        std::fs::write(folder.path().join("optimizer.bpk"), "no").unwrap();
        let message = load_training(model(0), optimizer(), folder.path()).err().unwrap().to_string();
        assert!(message.contains("optimizer.bpk"), "{message}");
    }
}
