//! Fused against composed, side by side. Ids: `operation/pass/form/shape`.

use burn::tensor::{Device, Distribution, Int, Tensor};
use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use moslim_kernels::{RowIndices, composed};

const FORMS: [&str; 2] = ["fused", "composed"];

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

/// Times an operation without autodiff, and with its backward pass under autodiff.
///
/// `operation` gets the form (0: fused, 1: composed) and the inputs.
fn forward_and_backward<const D: usize>(
    criterion: &mut Criterion,
    name: &str,
    shape: &str,
    inputs: &[Tensor<D>],
    operation: impl Fn(usize, &[Tensor<D>]) -> Tensor<1>,
) {
    let leaves: Vec<Tensor<D>> =
        inputs.iter().map(|input| Tensor::from_inner(input.clone()).require_grad()).collect();
    for (form, form_name) in FORMS.into_iter().enumerate() {
        let mut group = criterion.benchmark_group(format!("{name}/forward"));
        group.bench_function(BenchmarkId::new(form_name, shape), |bencher| {
            bencher.iter(|| operation(form, inputs))
        });
        group.finish();
        let mut group = criterion.benchmark_group(format!("{name}/forward_backward"));
        group.bench_function(BenchmarkId::new(form_name, shape), |bencher| {
            bencher.iter(|| operation(form, &leaves).backward());
        });
        group.finish();
    }
}

fn swiglu(criterion: &mut Criterion) {
    let device = Device::flex();
    for shape @ [rows, width] in [[64 * 65, 256], [2048, 688]] {
        forward_and_backward(
            criterion,
            "swiglu",
            &format!("{rows}x{width}"),
            &[random(shape, &device), random(shape, &device)],
            |form, x| {
                let operation = [moslim_kernels::swiglu::<2>, composed::swiglu::<2>][form];
                operation(x[0].clone(), x[1].clone()).sum()
            },
        );
    }
}

fn rms_norm(criterion: &mut Criterion) {
    let device = Device::flex();
    for shape @ [rows, width] in [[64 * 65, 96], [2048, 256]] {
        forward_and_backward(
            criterion,
            "rms_norm",
            &format!("{rows}x{width}"),
            &[random(shape, &device), random([1, width], &device)],
            |form, x| {
                let operation = [moslim_kernels::rms_norm::<2>, composed::rms_norm::<2>][form];
                operation(x[0].clone(), x[1].clone().reshape([width]), 1e-5).sum()
            },
        );
    }
}

/// Few rows by the matrix of a layer, or by a transposed view as of a tied embedding: packed before against an ordinary product.
fn few_rows(criterion: &mut Criterion) {
    let device = Device::flex();
    let mut group = criterion.benchmark_group("few_rows");
    let sizes = [[96, 256], [256, 688], [512, 1376], [768, 2048], [768, 32_000]];
    let matrices = sizes.map(|size| (size, "", random(size, &device)));
    let views =
        sizes.map(|size @ [inner, columns]| (size, "/view", random([columns, inner], &device).transpose()));
    for ([inner, columns], order, matrix) in matrices.into_iter().chain(views) {
        let packed = moslim_kernels::PackedMatrix::new(&matrix).expect("it is on the CPU");
        for rows in [1, 4, 8, 16, 32, 64] {
            let x = random([rows, inner], &device);
            let shape = format!("{rows}x{inner}x{columns}{order}");
            group.bench_function(BenchmarkId::new("packed", &shape), |bencher| {
                bencher.iter(|| packed.product(&x).expect("few rows"))
            });
            group.bench_function(BenchmarkId::new("ordinary", &shape), |bencher| {
                bencher.iter(|| x.clone().matmul(matrix.clone()))
            });
        }
    }
    group.finish();
}

/// Memory as projections leave it: `[batch, time, heads, head_dim]`.
fn heads(shape: [usize; 4], device: &Device) -> Tensor<4> {
    let [batch, heads, time, head_dim] = shape;
    random([batch, time, heads, head_dim], device)
}

fn rope(criterion: &mut Criterion) {
    let device = Device::flex();
    for shape @ [batch, n_heads, time, head_dim] in [[64, 4, 65, 24], [256, 4, 1, 24], [16, 8, 128, 32]] {
        let angles = random([batch, time, head_dim / 2], &device);
        let (cos, sin) = (angles.clone().cos(), angles.sin());
        forward_and_backward(
            criterion,
            "rope",
            &format!("{batch}x{n_heads}x{time}x{head_dim}"),
            &[heads(shape, &device)],
            |form, x| {
                let operation = [moslim_kernels::rope, composed::rope][form];
                operation(x[0].clone().swap_dims(1, 2), cos.clone(), sin.clone()).sum()
            },
        );
    }
}

fn causal_attention(criterion: &mut Criterion) {
    let device = Device::flex();
    for (shape @ [batch, n_heads, time, head_dim], key_heads) in
        [([64, 4, 65, 24], 4), ([16, 8, 128, 32], 8), ([2, 14, 512, 64], 2)]
    {
        let key = || heads([batch, key_heads, time, head_dim], &device);
        let inputs = [heads(shape, &device), key(), key()];
        let id = format!("{batch}x{n_heads}/{key_heads}x{time}x{head_dim}");
        forward_and_backward(criterion, "causal_attention", &id, &inputs, |form, x| {
            let operation = [moslim_kernels::causal_attention, composed::causal_attention][form];
            let [query, key, value] = [0, 1, 2].map(|i| x[i].clone().swap_dims(1, 2));
            operation(query, key, value, &[]).sum()
        });
    }
}

/// One new token for every row, over the first part of a pre-allocated cache.
fn decode(criterion: &mut Criterion) {
    let device = Device::flex();
    let mut group = criterion.benchmark_group("causal_attention/decode");
    for [batch, n_heads, key_time, head_dim] in [
        [256, 4, 100, 24],
        [16, 8, 200, 32],
        [32, 8, 96, 32],
        [32, 8, 96, 64],
        [32, 8, 1000, 32],
        [32, 8, 1000, 64],
    ] {
        let capacity = usize::next_power_of_two(key_time);
        let cache = || random([batch, n_heads, capacity, head_dim], &device).narrow(2, 0, key_time);
        let (query, key, value) = (random([batch, n_heads, 1, head_dim], &device), cache(), cache());
        let starts: Vec<usize> = (0..batch).map(|row| row % 20).collect();
        for (form, form_name) in FORMS.into_iter().enumerate() {
            let operation = [moslim_kernels::causal_attention, composed::causal_attention][form];
            let id = BenchmarkId::new(form_name, format!("{batch}x{n_heads}x{key_time}x{head_dim}"));
            group.bench_function(id, |bencher| {
                bencher.iter(|| operation(query.clone(), key.clone(), value.clone(), &starts));
            });
        }
    }
    group.finish();
}

fn token_logprobs(criterion: &mut Criterion) {
    let device = Device::flex();
    for [n_tokens, width, n_vocabulary] in [[64 * 64, 96, 300], [2048, 256, 4096]] {
        let tokens = Tensor::<1, Int>::arange(0..n_tokens as i64, &device) % n_vocabulary as i64;
        let inputs = [random([n_tokens, width], &device), random([width, n_vocabulary], &device)];
        let id = format!("{n_tokens}x{width}x{n_vocabulary}");
        forward_and_backward(criterion, "token_logprobs", &id, &inputs, |form, x| {
            let operation = [moslim_kernels::token_logprobs, composed::token_logprobs][form];
            let (logprobs, entropies) = operation(x[0].clone(), x[1].clone(), tokens.clone(), 1.0);
            (logprobs + entropies).sum()
        });
    }
}

/// Packed rows into a grid with a tenth of padding.
fn select_rows(criterion: &mut Criterion) {
    let device = Device::flex();
    for shape @ [rows, width] in [[4096, 96], [2048, 512]] {
        let of_cell = |cell: usize| if cell % 10 == 9 { 0 } else { (cell - cell / 10) as u32 };
        let indices = RowIndices::new((0..rows).map(of_cell).collect::<Vec<_>>(), &device);
        forward_and_backward(
            criterion,
            "select_rows",
            &format!("{rows}x{width}"),
            &[random(shape, &device)],
            |form, x| {
                let operation = [moslim_kernels::select_rows::<2>, composed::select_rows::<2>][form];
                operation(x[0].clone(), &indices).sum()
            },
        );
    }
}

criterion_group! {
    name = kernels;
    config = Criterion::default().sample_size(20).measurement_time(std::time::Duration::from_secs(2)).warm_up_time(std::time::Duration::from_millis(500));
    targets = few_rows, swiglu, rms_norm, rope, causal_attention, decode, token_logprobs, select_rows
}
criterion_main!(kernels);
