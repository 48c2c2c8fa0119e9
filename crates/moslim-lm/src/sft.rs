//! The loss of supervised fine-tuning.

use burn::optim::GradientsParams;

use crate::{CausalLm, Exchange, Precision, response_logprobs, sum_gradients};

/// Mean negative log-likelihood of the response tokens (prompts and padding do not count), in nats per token, and its gradient.
///
/// The gradient is computed for `micro_batch_size` exchanges at a time, which changes speed and memory, not the result.
///
/// # Panics
/// If a prompt or all responses of a micro-batch are empty, or its size is 0.
pub fn sft_gradients(
    model: &CausalLm,
    exchanges: &[Exchange<'_>],
    micro_batch_size: usize,
    precision: Precision,
) -> (GradientsParams, f64) {
    let n_tokens: usize = exchanges.iter().map(|exchange| exchange.response.len()).sum();
    let parts = exchanges.chunks(micro_batch_size).collect();
    let (gradients, losses) = sum_gradients(model, &model.device(), parts, |model, part| {
        let model = model.in_precision(precision);
        let loss = response_logprobs(&model, part, 1.0).logprobs.sum().neg() / n_tokens as f64;
        let value = f64::from(loss.clone().into_scalar::<f32>());
        (Some(loss), value)
    });
    (gradients, losses.into_iter().sum())
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;
    use crate::{ModelConfig, Optimizer, OptimizerConfig};

    #[test]
    fn micro_batches_change_nothing_but_speed() {
        let device = Device::default().autodiff();
        let config = ModelConfig::small(50, 16, 32, 2, 2);
        let model = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(1), &device);
        let tokens: Vec<u32> = (0..60).map(|i| i * 7 % 50).collect();
        let exchange = |i: usize| Exchange { prompt: &tokens[i..i + 4], response: &tokens[3 * i..5 * i + 2] };
        let exchanges: Vec<Exchange<'_>> = (0..7).map(exchange).collect();
        let settings = OptimizerConfig { adam_beta2: 0.95, max_grad_norm: 1e9, ..OptimizerConfig::new(1e-2) };
        let losses = |micro_batch_size| {
            let (gradients, loss) = sft_gradients(&model, &exchanges, micro_batch_size, Precision::F32);
            let (model, norm) = Optimizer::new(settings.clone(), 1).step(model.clone(), gradients);
            [loss, norm, sft_gradients(&model, &exchanges, 7, Precision::F32).1]
        };
        let (whole, parts) = (losses(7), losses(2));
        assert!(
            whole.iter().zip(parts).all(|(whole, part)| (whole - part).abs() < 1e-4),
            "{whole:?} {parts:?}"
        );
        // It starts as good as guessing and gets better.
        assert!((whole[0] - 50f64.ln()).abs() < 0.1 && whole[2] < whole[0] - 0.1, "{whole:?}");
    }
}
