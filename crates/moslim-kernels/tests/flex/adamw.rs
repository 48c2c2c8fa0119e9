//! AdamW's step against its composed form.

use crate::support::Sample;
use burn::tensor::{DType, Device, Tensor};
use moslim_kernels::{AdamWStep, adamw, composed};

fn numbers(tensor: &Tensor<4>) -> Vec<f32> {
    tensor.clone().into_data().try_to_vec().expect("f32")
}

/// Five steps of parameters that are split, or lie in memory in another order than their gradients.
#[test]
fn steps_have_the_bits_of_the_composed_form() {
    let device = Device::flex();
    let sample = |shape, scale, seed| Sample::new(shape, scale, seed).tensor(&device, DType::F32);
    for (shape, weight_decay) in [([1, 1, 1, 1], 0.0), ([1, 3, 7, 9], 0.1), ([2, 3, 70, 101], 0.01)] {
        let [a, b, c, d] = shape;
        let swapped = sample([a, c, b, d], 1.0, 1).swap_dims(1, 2);
        for start in [sample(shape, 1.0, 1), swapped] {
            let zeros = || Tensor::zeros(shape, &device);
            let mut fused = (start.clone(), [zeros(), zeros()]);
            let mut expected = fused.clone();
            for time in 1..=5 {
                let step = AdamWStep {
                    learning_rate: 0.01 / f64::from(time),
                    beta_1: 0.9,
                    beta_2: 0.999,
                    epsilon: 1e-8,
                    weight_decay,
                    time,
                };
                let gradient = match time {
                    2 => sample([a, c, b, d], 30.0, 7).swap_dims(1, 2),
                    _ => sample(shape, 0.5, 10 + time as u64),
                };
                fused = adamw(fused.0, gradient.clone(), fused.1, &step);
                expected = composed::adamw(expected.0, gradient, expected.1, &step);
                assert_eq!(numbers(&fused.0), numbers(&expected.0), "{shape:?}, step {time}");
                for (moment, expected) in fused.1.iter().zip(&expected.1) {
                    assert_eq!(numbers(moment), numbers(expected), "{shape:?}, step {time}");
                }
            }
            assert_ne!(numbers(&fused.0), numbers(&start));
        }
    }
}

#[test]
fn moments_that_others_hold_stay() {
    let of = |x: f32| Tensor::<1>::from_floats([x, x], &Device::flex());
    let step =
        AdamWStep { learning_rate: 1.0, beta_1: 0.5, beta_2: 0.5, epsilon: 0.0, weight_decay: 0.0, time: 1 };
    let both = Tensor::<1>::from_floats([7.0, 0.0, 0.0, 7.0], &Device::flex());
    let held = of(0.0);
    let (_, [moment, part]) = adamw(of(1.0), of(2.0), [held.clone(), both.clone().narrow(0, 1, 2)], &step);
    assert_eq!(moment.into_data().try_to_vec::<f32>().unwrap(), [1.0, 1.0]);
    assert_eq!(part.into_data().try_to_vec::<f32>().unwrap(), [2.0, 2.0]);
    assert_eq!(held.into_data().try_to_vec::<f32>().unwrap(), [0.0, 0.0]);
    assert_eq!(both.into_data().try_to_vec::<f32>().unwrap(), [7.0, 0.0, 0.0, 7.0]);
}
