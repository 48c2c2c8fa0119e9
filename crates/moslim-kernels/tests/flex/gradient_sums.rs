//! Gradients of weights summed over parts.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use burn::tensor::{DType, Device, Int, Tensor};
use moslim_kernels::{GradientSums, RowIndices, Vocabulary, matmul, select_rows, token_logprobs};

use crate::support::{Sample, TOLERANCE, error, numbers};

/// A map and an embedding that is used at both ends.
fn weights(device: &Device) -> [Tensor<2>; 2] {
    let matrix = |shape: [usize; 2], seed| {
        let sample = Sample::new([1, 1, shape[0], shape[1]], 1.0, seed);
        sample.tensor(device, DType::F32).reshape(shape).detach().require_grad()
    };
    [matrix([6, 6], 1), matrix([11, 6], 2)]
}

/// The loss of tokens, each of which is to tell the next; the map is left out where there is one token only.
fn loss([map, embedding]: &[Tensor<2>; 2], tokens: &[u32]) -> Tensor<1> {
    let mut states = select_rows(embedding.clone(), &RowIndices::new(tokens, &embedding.device()));
    if tokens.len() > 1 {
        states = matmul(states, map.clone());
    }
    let next: Vec<i32> = tokens.iter().map(|&token| (token as i32 + 1) % 11).collect();
    let next = Tensor::<1, Int>::from_ints(next.as_slice(), &Device::flex());
    token_logprobs(states, Vocabulary::Embedding(embedding.clone()), next, 1.0).0.sum()
}

#[test]
fn sums_are_the_gradients_of_the_sum() {
    let device = Device::flex().autodiff();
    let parts: [&[u32]; 4] = [&[1, 2, 2], &[9], &[10, 3, 1, 1], &[4, 5]];
    let together = weights(&device);
    let gradients =
        parts.map(|part| loss(&together, part)).into_iter().reduce(|a, b| a + b).unwrap().backward();
    let expected = together.each_ref().map(|weight| numbers(weight.grad(&gradients).unwrap()));

    let run = |workers: usize| {
        let sums = GradientSums::new(2);
        let work = |part: usize| {
            let weights = weights(&device);
            let gradients = sums.in_turn(part, &weights, || loss(&weights, parts[part]).backward());
            assert!(weights.iter().all(|weight| weight.grad(&gradients).is_none()), "nothing is left behind");
        };
        thread::scope(|scope| {
            for worker in 0..workers {
                scope.spawn(move || (worker..parts.len()).step_by(workers).for_each(work));
            }
        });
        sums.into_tensors().into_iter().map(|sum| numbers(sum.expect("it was used"))).collect::<Vec<_>>()
    };
    let one_by_one = run(1);
    for (sum, expected) in one_by_one.iter().zip(&expected) {
        assert!(error(sum, expected, 1e-30) <= TOLERANCE, "{sum:?}, expected {expected:?}");
    }
    for workers in [2, 4] {
        assert_eq!(run(workers), one_by_one, "{workers} parts at once");
    }
}

/// In order, the large ones are gone before the small one comes, which would be lost beside either.
#[test]
fn parts_add_in_their_order_whichever_is_faster() {
    let device = Device::flex().autodiff();
    let sums = GradientSums::new(1);
    let parts = [(1e8, 60), (-1e8, 30), (1.0, 0)];
    thread::scope(|scope| {
        for (part, (x, milliseconds)) in parts.into_iter().enumerate() {
            let (sums, device) = (&sums, &device);
            scope.spawn(move || {
                let weight = Tensor::<2>::ones([1, 1], device).require_grad();
                sums.in_turn(part, std::slice::from_ref(&weight), || {
                    let product = matmul(Tensor::from_floats([[x]], device), weight.clone());
                    thread::sleep(Duration::from_millis(milliseconds));
                    product.sum().backward()
                });
            });
        }
    });
    let sum = sums.into_tensors().remove(0).unwrap();
    assert_eq!(sum.into_scalar::<f32>(), 1.0);
}

#[test]
fn what_no_fused_operation_uses_has_no_sum() {
    let device = Device::flex().autodiff();
    let sums = GradientSums::new(2);
    let [map, embedding] = weights(&device);
    let gradients = sums.in_turn(0, &[map.clone(), embedding.clone()], || {
        map.clone().matmul(embedding.transpose()).sum().backward()
    });
    assert!(map.grad(&gradients).is_some());
    assert!(sums.into_tensors().iter().all(Option::is_none));
    // Outside of a turn all gradients are the backward pass's own.
    let weights = weights(&device);
    let gradients = loss(&weights, &[1, 2]).backward();
    assert!(weights.iter().all(|weight| weight.grad(&gradients).is_some()));
}

#[test]
fn nobody_waits_for_a_part_that_failed() {
    let device = Device::flex().autodiff();
    let sums = GradientSums::new(2);
    thread::scope(|scope| {
        scope.spawn(|| {
            let weights = weights(&device);
            sums.in_turn(1, &weights, || loss(&weights, &[1, 2]).backward());
        });
        thread::sleep(Duration::from_millis(20));
        let fails = || sums.in_turn(0, &weights(&device), || panic!("the first part fails"));
        assert!(catch_unwind(AssertUnwindSafe(fails)).is_err());
    });
}
