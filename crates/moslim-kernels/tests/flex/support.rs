//! Compares an operation in f32, which runs fused, with itself in f64, which runs composed.

use burn::tensor::{DType, Device, Tensor, TensorData};

/// Largest accepted error of values and gradients, relative to the largest element.
pub const TOLERANCE: f64 = 1e-5;

/// Numbers for a tensor.
#[derive(Clone)]
pub struct Sample {
    pub numbers: Vec<f64>,
    pub shape: [usize; 4],
}

impl Sample {
    /// Uniform in `-scale..scale`, the same for the same seed.
    pub fn new(shape: [usize; 4], scale: f64, seed: u64) -> Self {
        let mut state = seed;
        let numbers = (0..shape.iter().product())
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 33) as f64 / (1u64 << 30) as f64 - 1.0) * scale
            })
            .collect();
        Self { numbers, shape }
    }

    pub fn tensor(&self, device: &Device, dtype: DType) -> Tensor<4> {
        Tensor::from_data(TensorData::new(self.numbers.clone(), self.shape), (device, dtype))
    }
}

/// How an input lies in memory.
#[derive(Clone, Copy, Debug)]
enum Memory {
    RowMajor,
    /// A swapped view of a swapped copy.
    Swapped,
    /// A part of a larger tensor, as of a cache.
    Part,
}

/// How the gradient of the output arrives.
#[derive(Clone, Copy, Debug)]
enum Loss {
    /// Dense, with every element its own.
    Weighted,
    /// As the expanded view of a single number.
    Sum,
    /// As a view with swapped dimensions.
    SwappedWeighted,
}

impl Loss {
    fn of(self, out: Tensor<4>) -> Tensor<1> {
        match self {
            Self::Weighted => weigh(out),
            Self::Sum => out.sum(),
            Self::SwappedWeighted => weigh(out.swap_dims(1, 2)),
        }
    }
}

fn weigh(out: Tensor<4>) -> Tensor<1> {
    let weights = Sample { numbers: weights(out.shape().num_elements()), shape: out.dims() };
    // Weights in the output's own device context and number type.
    let weights = weights.tensor(&out.device(), out.dtype());
    (out * weights).sum()
}

/// The gradient of a loss: every element has its own.
pub fn weights(n: usize) -> Vec<f64> {
    (0..n).map(|i| (i * 7919 % 101) as f64 / 50.0 - 1.0).collect()
}

struct Outcome {
    value: Vec<f64>,
    gradients: Vec<Vec<f64>>,
}

/// Value and gradients with all inputs tracked.
fn run(
    operation: &dyn Fn(&[Tensor<4>]) -> Tensor<4>,
    inputs: &[Sample],
    device: &Device,
    dtype: DType,
    memory: Memory,
    loss: Loss,
) -> Outcome {
    let leaves: Vec<Tensor<4>> =
        inputs.iter().map(|input| input.tensor(device, dtype).require_grad()).collect();
    let views: Vec<Tensor<4>> = leaves.iter().map(|leaf| place(leaf.clone(), memory)).collect();
    let out = operation(&views);
    let gradients = loss.of(out.clone()).backward();
    let gradients = leaves.iter().map(|leaf| numbers(leaf.grad(&gradients).expect("a gradient"))).collect();
    Outcome { value: numbers(out), gradients }
}

fn place(tensor: Tensor<4>, memory: Memory) -> Tensor<4> {
    let [a, b, c, d] = tensor.dims();
    match memory {
        Memory::RowMajor => tensor,
        Memory::Swapped => tensor.swap_dims(1, 2).reshape([a, c, b, d]).mul_scalar(1.0).swap_dims(1, 2),
        Memory::Part => {
            let margin = Tensor::full([a, b, 3, d], 1e3, (&tensor.device(), tensor.dtype()));
            Tensor::cat(vec![margin.clone(), tensor, margin], 2).narrow(2, 3, c)
        }
    }
}

pub fn numbers<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// The largest difference, relative to the largest expected element or to `least`.
pub fn error(actual: &[f64], expected: &[f64], least: f64) -> f64 {
    assert_eq!(actual.len(), expected.len());
    assert!(actual.iter().all(|x| x.is_finite()), "not finite");
    let scale = expected.iter().fold(least, |scale, x| scale.max(x.abs()));
    actual.iter().zip(expected).fold(0.0f64, |error, (x, y)| error.max((x - y).abs())) / scale
}

fn assert_close(what: &str, actual: &Outcome, expected: &Outcome) {
    let value_error = error(&actual.value, &expected.value, 1e-30);
    assert!(value_error <= TOLERANCE, "{what}: value off by {value_error:e}");
    for (input, (actual, expected)) in actual.gradients.iter().zip(&expected.gradients).enumerate() {
        let gradient_error = error(actual, expected, 1e-30);
        assert!(gradient_error <= TOLERANCE, "{what}: gradient of input {input} off by {gradient_error:e}");
    }
}

/// Checks values and gradients for every way in which inputs and gradients may lie in memory, with and without gradient checkpointing, with all inputs tracked, one of them or none.
pub fn check(operation: impl Fn(&[Tensor<4>]) -> Tensor<4>, inputs: &[Sample]) {
    let plain = Device::flex();
    let tracking = plain.clone().autodiff();
    let checkpointing = tracking.clone().gradient_checkpointing();
    for loss in [Loss::Weighted, Loss::Sum, Loss::SwappedWeighted] {
        let expected = run(&operation, inputs, &tracking, DType::F64, Memory::RowMajor, loss);
        check_finite_differences(&operation, inputs, loss, &expected);
        for memory in [Memory::RowMajor, Memory::Swapped, Memory::Part] {
            for (strategy, device) in [("kept", &tracking), ("checkpointing", &checkpointing)] {
                let actual = run(&operation, inputs, device, DType::F32, memory, loss);
                assert_close(&format!("{loss:?} {memory:?} {strategy}"), &actual, &expected);
            }
        }
        check_mixed(&operation, inputs, loss, &expected);
    }
    let expected =
        operation(&inputs.iter().map(|input| input.tensor(&plain, DType::F64)).collect::<Vec<_>>());
    let actual = operation(&inputs.iter().map(|input| input.tensor(&plain, DType::F32)).collect::<Vec<_>>());
    let plain_error = error(&numbers(actual), &numbers(expected), 1e-30);
    assert!(plain_error <= TOLERANCE, "plain: value off by {plain_error:e}");
}

/// The composed form itself, in f64, at some coordinates of every input.
fn check_finite_differences(
    operation: &dyn Fn(&[Tensor<4>]) -> Tensor<4>,
    inputs: &[Sample],
    loss: Loss,
    expected: &Outcome,
) {
    const STEP: f64 = 1e-5;
    for (index, input) in inputs.iter().enumerate() {
        let gradient = &expected.gradients[index];
        let scale = gradient.iter().fold(1e-30f64, |scale, x| scale.max(x.abs()));
        for coordinate in (0..input.numbers.len()).step_by(input.numbers.len().div_ceil(5)) {
            let loss_at = |step: f64| -> f64 {
                let mut inputs = inputs.to_vec();
                inputs[index].numbers[coordinate] += step;
                let inputs: Vec<_> =
                    inputs.iter().map(|input| input.tensor(&Device::flex(), DType::F64)).collect();
                loss.of(operation(&inputs)).into_scalar::<f64>()
            };
            let slope = (loss_at(STEP) - loss_at(-STEP)) / (2.0 * STEP);
            let error = (slope - gradient[coordinate]).abs() / scale;
            assert!(
                error < 1e-5,
                "finite difference of input {index} at {coordinate}: {slope}, gradient {}",
                gradient[coordinate]
            );
        }
    }
}

/// One tracked input among plain ones.
fn check_mixed(
    operation: &dyn Fn(&[Tensor<4>]) -> Tensor<4>,
    inputs: &[Sample],
    loss: Loss,
    expected: &Outcome,
) {
    for tracked in 0..inputs.len() {
        let tensors: Vec<Tensor<4>> = inputs
            .iter()
            .enumerate()
            .map(|(index, input)| match index == tracked {
                true => input.tensor(&Device::flex().autodiff(), DType::F32).require_grad(),
                false => input.tensor(&Device::flex(), DType::F32),
            })
            .collect();
        let gradients = loss.of(operation(&tensors)).backward();
        let gradient = numbers(tensors[tracked].grad(&gradients).expect("a gradient"));
        let gradient_error = error(&gradient, &expected.gradients[tracked], 1e-30);
        assert!(
            gradient_error <= TOLERANCE,
            "{loss:?}, only input {tracked} tracked: gradient off by {gradient_error:e}"
        );
    }
}
