//! Activation checkpointing: layers forget what they computed and compute it again in the backward pass
//! ([Chen et al. 2016](https://arxiv.org/abs/1604.06174)).
//!
//! Between forward and backward pass only the input of every layer is kept, and one layer at a time has its activations.
//! The forward pass of a model ends in a leaf; the backward pass of a loss ends there and is carried on layer by layer.

use std::cell::RefCell;

use burn::module::Module;
use burn::tensor::{Gradients, Tensor};

use crate::Decoder;
use crate::frame::Frame;

/// The forward pass of a decoder, as far as its backward pass needs it.
pub(crate) struct Forgotten {
    decoder: Decoder,
    frame: Frame,
    /// All tokens.
    tokens: Vec<u32>,
    /// What every layer read. `[n_tokens, hidden_size]`
    inputs: Vec<Tensor<2>>,
    /// What the last layer wrote, a leaf. `[n_wanted, hidden_size]`
    states: Tensor<2>,
}

thread_local! {
    /// What was forgotten since a [`Recording`] began in this thread.
    static FORGOTTEN: RefCell<Option<Vec<Forgotten>>> = const { RefCell::new(None) };
}

/// While it lives, decoders of this thread that checkpoint forget what their layers compute.
pub(crate) struct Recording(());

impl Forgotten {
    /// What the last layer writes of these rows, as a leaf whose gradient a [`Recording`] carries on.
    ///
    /// `[n_wanted, hidden_size]`
    pub(crate) fn forward(decoder: &Decoder, rows: &[&[u32]], frame: Frame) -> Tensor<2> {
        let untracked = decoder.valid();
        let plain_frame = frame.to_device(&untracked.device());
        let mut inputs = Vec::with_capacity(untracked.layers.len());
        let mut x = untracked.embedded(rows);
        for index in 0..untracked.layers.len() {
            inputs.push(x.clone());
            x = untracked.layer(index, x, &plain_frame, None);
        }
        let states = Tensor::from_inner(x).require_grad();
        let pass =
            Self { decoder: decoder.clone(), frame, tokens: rows.concat(), inputs, states: states.clone() };
        FORGOTTEN.with_borrow_mut(|forgotten| forgotten.as_mut().expect("a recording lives").push(pass));
        states
    }

    /// From the gradient of what the last layer wrote to those of all weights beneath.
    fn backward(self, mut upstream: Tensor<2>, mut take: impl FnMut(Gradients)) {
        let Self { decoder, frame, tokens, inputs, .. } = self;
        let pull_back = |out: Tensor<2>, upstream| (out * Tensor::from_inner(upstream)).sum().backward();
        for (index, input) in inputs.into_iter().enumerate().rev() {
            let input = Tensor::from_inner(input).require_grad();
            let mut gradients = pull_back(decoder.layer(index, input.clone(), &frame, None), upstream);
            upstream = input.grad_remove(&mut gradients).expect("a layer passes on what it reads");
            take(gradients);
        }
        let embedded = decoder.embedded(&[&tokens]);
        if embedded.is_tracked() {
            take(pull_back(embedded, upstream));
        }
    }
}

impl Recording {
    /// Begins.
    pub(crate) fn begin() -> Self {
        FORGOTTEN.replace(Some(Vec::new()));
        Self(())
    }

    /// Whether one lives in this thread.
    pub(crate) fn is_on() -> bool {
        FORGOTTEN.with_borrow(Option::is_some)
    }

    /// Carries the backward pass of a loss on through all that was forgotten; `take` gets the gradients of every layer.
    pub(crate) fn backward(self, mut gradients: Gradients, mut take: impl FnMut(Gradients)) {
        let forgotten = FORGOTTEN.replace(None).unwrap_or_default();
        let upstreams: Vec<_> =
            forgotten.iter().map(|pass| pass.states.grad_remove(&mut gradients)).collect();
        take(gradients);
        for (pass, upstream) in forgotten.into_iter().zip(upstreams) {
            if let Some(upstream) = upstream {
                pass.backward(upstream, &mut take);
            }
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        FORGOTTEN.replace(None);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use burn::optim::GradientsParams;
    use burn::tensor::Device;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use crate::gradients::values;
    use crate::{
        CausalLm, Exchange, LoraConfig, ModelConfig, Optimizer, OptimizerConfig, Precision, TargetModules,
        sft_gradients,
    };

    use super::*;

    fn model(tie_word_embeddings: bool) -> CausalLm {
        let config =
            ModelConfig { tie_word_embeddings, attention_bias: true, ..ModelConfig::small(11, 8, 16, 3, 2) };
        CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(5), &Device::default().autodiff())
    }

    /// Two answers share their prompt, and lengths differ.
    const EXCHANGES: [Exchange<'static>; 4] = [
        Exchange { prompt: &[1, 2, 3], response: &[4, 5] },
        Exchange { prompt: &[1, 2, 3], response: &[6, 7, 8, 9, 10] },
        Exchange { prompt: &[5], response: &[1] },
        Exchange { prompt: &[9, 0, 2, 2], response: &[3, 3, 3] },
    ];

    #[test]
    fn gradients_are_those_without_checkpointing() {
        let lora = LoraConfig::new(2, 4.0, TargetModules::Pattern("all-linear".into()));
        let adapted = |model: CausalLm| {
            let rng = &mut ChaCha8Rng::seed_from_u64(1);
            let fresh = model.with_adapter(&lora, rng, Path::new("test")).unwrap();
            // A fresh B is 0, and then A has no gradient: one step first.
            let (gradients, _) = sft_gradients(&fresh, &EXCHANGES, 4, Precision::F32);
            Optimizer::new(OptimizerConfig::new(1e-2), 1).step(fresh, gradients).0
        };
        for (model, precision) in [
            (model(true), Precision::F32),
            (model(false), Precision::F32),
            (adapted(model(false)), Precision::F32),
            (model(true), Precision::Bf16),
        ] {
            let [plain, checkpointed] = [false, true].map(|on| {
                let model = model.clone().with_gradient_checkpointing(on);
                let (gradients, loss) = sft_gradients(&model, &EXCHANGES, 3, precision);
                (values(&model, &gradients), loss)
            });
            assert!((plain.1 - checkpointed.1).abs() < 1e-6, "{} and {}", plain.1, checkpointed.1);
            assert!(plain.0.iter().any(|&gradient| gradient != 0.0));
            let largest = plain.0.iter().fold(0.0, |most: f32, gradient| most.max(gradient.abs()));
            for (index, (plain, checkpointed)) in plain.0.iter().zip(&checkpointed.0).enumerate() {
                let error = (plain - checkpointed).abs() / largest;
                assert!(error < 1e-5, "gradient {index}: {checkpointed}, expected {plain}");
            }
        }
    }

    #[test]
    fn nothing_is_recorded_outside_of_a_sum_of_gradients() {
        let model = model(false).with_gradient_checkpointing(true);
        let logits = model.logits(&[&[1, 2, 3]], crate::Padding::Right, None);
        let gradients = GradientsParams::from_grads(logits.sum().backward(), &model);
        assert_eq!(values(&model, &gradients).len(), model.num_params());
        assert!(!Recording::is_on());
    }
}
