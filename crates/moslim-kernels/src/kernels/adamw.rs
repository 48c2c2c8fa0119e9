//! AdamW's step, element by element in one pass.

use super::TASK_ELEMENTS;
use super::simd::{Kernel, run};
use crate::AdamWStep;
use rayon::prelude::*;

/// The changed parameter; both moments change in place.
pub(crate) fn step(
    parameter: &[f32],
    gradient: &[f32],
    moments: [&mut [f32]; 2],
    step: &AdamWStep,
) -> Vec<f32> {
    let mut out = vec![0.0; parameter.len()];
    let [moment_1, moment_2] = moments;
    out.par_chunks_mut(TASK_ELEMENTS)
        .zip(parameter.par_chunks(TASK_ELEMENTS))
        .zip(gradient.par_chunks(TASK_ELEMENTS))
        .zip(moment_1.par_chunks_mut(TASK_ELEMENTS))
        .zip(moment_2.par_chunks_mut(TASK_ELEMENTS))
        .for_each(|((((out, parameter), gradient), moment_1), moment_2)| {
            run(Step { parameter, gradient, moment_1, moment_2, out, step });
        });
    out
}

struct Step<'a> {
    parameter: &'a [f32],
    gradient: &'a [f32],
    moment_1: &'a mut [f32],
    moment_2: &'a mut [f32],
    out: &'a mut [f32],
    step: &'a AdamWStep,
}

impl Kernel for Step<'_> {
    type Output = ();

    #[inline(always)]
    fn run<const FMA: bool>(self) {
        let &AdamWStep { learning_rate, beta_1, beta_2, epsilon, weight_decay, time } = self.step;
        // In the order and the precision of the composed form, so that bits are the same.
        let (factor_1, factor_2) = (1.0 - beta_1, 1.0 - beta_2);
        let (correction_1, correction_2) = (1.0 - beta_1.powi(time), 1.0 - beta_2.powi(time));
        let kept = (1.0 - learning_rate * f64::from(weight_decay)) as f32;
        let learning_rate = learning_rate as f32;
        let inputs = self.parameter.iter().zip(self.gradient);
        let moments = self.moment_1.iter_mut().zip(self.moment_2);
        for ((out, (&parameter, &gradient)), (moment_1, moment_2)) in
            self.out.iter_mut().zip(inputs).zip(moments)
        {
            *moment_1 = *moment_1 * beta_1 + gradient * factor_1;
            *moment_2 = *moment_2 * beta_2 + gradient * gradient * factor_2;
            let direction = (*moment_1 / correction_1) / ((*moment_2 / correction_2).sqrt() + epsilon);
            *out = parameter * kept - direction * learning_rate;
        }
    }
}
