//! AdamW with a clipped global gradient norm and a learning-rate schedule.

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{GradientsParams, ModuleOptimizer, OptimizerRecord};
use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::adamw::AdamW;

/// How the learning rate changes over a run, after its warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LrSchedule {
    /// It stays.
    Constant,
    /// It falls in a line to 0.
    Linear,
    /// It falls along half a cosine to 0.
    Cosine,
}

/// AdamW ([Loshchilov & Hutter 2019](https://arxiv.org/abs/1711.05101)) with everything spelled out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The highest learning rate.
    pub learning_rate: f64,
    /// The share of the run in which the learning rate rises from 0.
    pub warmup_ratio: f64,
    /// What follows the warm-up.
    pub lr_scheduler_type: LrSchedule,
    /// Decay of the running mean of gradients.
    pub adam_beta1: f64,
    /// Decay of the running mean of squared gradients.
    pub adam_beta2: f64,
    /// Added to the root of the squared gradients.
    pub adam_epsilon: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// The gradient is scaled down to this norm, taken over all parameters together.
    pub max_grad_norm: f64,
}

impl OptimizerConfig {
    /// A constant learning rate, PyTorch's decays and ε, no weight decay, and gradients of a norm of at most 1, as TRL trains.
    pub fn new(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            warmup_ratio: 0.0,
            lr_scheduler_type: LrSchedule::Constant,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            weight_decay: 0.0,
            max_grad_norm: 1.0,
        }
    }

    /// The learning rate of a step, counted from 0, of a run of `total` steps.
    pub fn learning_rate_at(&self, step: usize, total: usize) -> f64 {
        let warmup = (self.warmup_ratio * total as f64).round();
        let step = step as f64;
        if step < warmup {
            return self.learning_rate * (step + 1.0) / (warmup + 1.0);
        }
        let progress = ((step - warmup) / (total as f64 - warmup).max(1.0)).clamp(0.0, 1.0);
        let factor = match self.lr_scheduler_type {
            LrSchedule::Constant => 1.0,
            LrSchedule::Linear => 1.0 - progress,
            LrSchedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
        };
        self.learning_rate * factor
    }
}

/// An optimizer in the middle of a run of known length.
pub struct Optimizer {
    config: OptimizerConfig,
    adamw: ModuleOptimizer,
    step: usize,
    total_steps: usize,
}

impl Optimizer {
    /// At the start of a run of `total_steps` steps.
    pub fn new(config: OptimizerConfig, total_steps: usize) -> Self {
        let adamw = ModuleOptimizer::from(AdamW::of(&config));
        Self { config, adamw, step: 0, total_steps }
    }

    /// The learning rate of the next step.
    pub fn learning_rate(&self) -> f64 {
        self.config.learning_rate_at(self.step, self.total_steps)
    }

    /// The running means, by the ids of the parameters, and the number of steps done.
    pub(crate) fn state(&self) -> (OptimizerRecord, usize) {
        (self.adamw.to_record(), self.step)
    }

    /// The optimizer as it was when [`state`](Self::state) was called.
    pub(crate) fn with_state(self, record: OptimizerRecord, step: usize) -> Self {
        Self { adamw: self.adamw.load_record(record), step, ..self }
    }

    /// One step; returns the changed module and the norm of the gradient before it was clipped.
    ///
    /// A gradient that is not finite changes nothing but the step count; its norm is returned as it is.
    pub fn step<M: Module>(&mut self, module: M, gradients: GradientsParams) -> (M, f64) {
        let learning_rate = self.learning_rate();
        self.step += 1;
        let (gradients, norm) = clip_global_norm(&module, gradients, self.config.max_grad_norm);
        match norm.is_finite() {
            true => (self.adamw.step(learning_rate, module, gradients), norm),
            false => (module, norm),
        }
    }
}

/// Scales all gradients together so that their joint norm is at most `max_norm`; returns the norm before.
fn clip_global_norm<M: Module>(
    module: &M,
    mut gradients: GradientsParams,
    max_norm: f64,
) -> (GradientsParams, f64) {
    let mut visitor = SquaredNorm { gradients: &gradients, sum: 0.0, parameters: vec![] };
    module.visit(&mut visitor);
    let (norm, parameters) = (visitor.sum.sqrt(), visitor.parameters);
    if norm.is_finite() && norm > max_norm {
        let factor = max_norm / norm;
        for (id, rank) in parameters {
            match rank {
                1 => scale::<1>(&mut gradients, id, factor),
                2 => scale::<2>(&mut gradients, id, factor),
                rank => unreachable!("a language model has vectors and matrices, not tensors of rank {rank}"),
            }
        }
    }
    (gradients, norm)
}

fn scale<const D: usize>(gradients: &mut GradientsParams, id: ParamId, factor: f64) {
    if let Some(gradient) = gradients.remove::<D>(id) {
        gradients.register::<D>(id, gradient * factor);
    }
}

struct SquaredNorm<'a> {
    gradients: &'a GradientsParams,
    sum: f64,
    parameters: Vec<(ParamId, usize)>,
}

impl ModuleVisitor for SquaredNorm<'_> {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        if let Some(gradient) = self.gradients.get::<D>(parameter.id) {
            self.sum += f64::from(gradient.square().sum().into_scalar::<f32>());
            self.parameters.push((parameter.id, D));
        }
    }
}
