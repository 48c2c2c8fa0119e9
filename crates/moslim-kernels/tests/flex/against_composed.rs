//! Every fused operation against its composed form in f64, which is itself checked by finite differences.

use crate::support::{Sample, check};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use moslim_kernels::{
    RowIndices, Vocabulary, causal_attention, lora_linear, matmul, rms_norm, rope, select_rows, swiglu,
    token_logprobs,
};

#[test]
fn swiglu_agrees() {
    for (shape, scale) in
        [([2, 3, 5, 77], 2.0), ([1, 1, 1, 1], 2.0), ([1, 130, 3, 100], 4.0), ([2, 2, 4, 33], 80.0)]
    {
        let inputs = [Sample::new(shape, scale, 1), Sample::new(shape, 2.0, 2)];
        check(|x| swiglu(x[0].clone(), x[1].clone()), &inputs);
    }
}

#[test]
fn rms_norm_agrees() {
    for (shape, scale) in
        [([2, 9, 5, 75], 1.0), ([1, 1, 1, 2], 1.0), ([3, 70, 2, 96], 1.0), ([2, 3, 4, 8], 80.0)]
    {
        let inputs = [Sample::new(shape, scale, 3), Sample::new([1, 1, 1, shape[3]], 1.0, 4)];
        check(|x| rms_norm(x[0].clone(), x[1].clone().reshape([-1]), 1e-5), &inputs);
    }
}

#[test]
fn matmul_agrees() {
    for ([rows, inner, columns], scale) in [
        ([33, 17, 9], 1.0),
        ([1, 1, 1], 1.0),
        ([130, 140, 150], 1.0),
        ([1, 300, 40], 1.0),
        ([5, 3, 40], 80.0),
    ] {
        let inputs =
            [Sample::new([1, 1, rows, inner], scale, 31), Sample::new([1, 1, inner, columns], 1.0, 32)];
        let flat = |x: &Tensor<4>| x.clone().squeeze_dims::<2>(&[0, 1]);
        check(|x| matmul(flat(&x[0]), flat(&x[1])).unsqueeze::<4>(), &inputs);
        // A tied embedding is a transposed view.
        let inputs =
            [Sample::new([1, 1, rows, inner], scale, 31), Sample::new([1, 1, columns, inner], 1.0, 32)];
        check(|x| matmul(flat(&x[0]), flat(&x[1]).transpose()).unsqueeze::<4>(), &inputs);
    }
}

#[test]
fn select_rows_agrees() {
    for (shape, n_selected) in [([7, 2, 3, 5], 12), ([1, 1, 1, 1], 3), ([40, 3, 1, 33], 1), ([5, 1, 4, 2], 5)]
    {
        // Some rows more than once, some not at all.
        let rows: Vec<u32> = (0..n_selected).map(|i| i * 3 % shape[0] as u32).collect();
        let rows = RowIndices::new(rows, &Device::flex());
        check(|x| select_rows(x[0].clone(), &rows), &[Sample::new(shape, 1.0, 41)]);
        let [n, a, b, c] = shape;
        let matrix = |x: &[Tensor<4>]| {
            let rows = select_rows(x[0].clone().reshape([n, a * b * c]), &rows);
            rows.reshape([n_selected as usize, a, b, c])
        };
        check(matrix, &[Sample::new(shape, 1.0, 42)]);
    }
}

#[test]
fn lora_linear_agrees() {
    for ([n, d_in, d_out, rank], scale) in
        [([33, 17, 9, 4], 1.0), ([1, 1, 1, 1], 1.0), ([130, 64, 70, 8], 1.0), ([5, 3, 40, 3], 80.0)]
    {
        let inputs = [
            Sample::new([1, 1, n, d_in], scale, 21),
            Sample::new([1, 1, d_in, d_out], 1.0, 22),
            Sample::new([1, 1, d_in, rank], 1.0, 23),
            Sample::new([1, 1, rank, d_out], 1.0, 24),
        ];
        let flat = |x: &Tensor<4>| x.clone().squeeze_dims::<2>(&[0, 1]);
        check(
            |x| lora_linear(flat(&x[0]), flat(&x[1]), flat(&x[2]), flat(&x[3]), 1.7).unsqueeze::<4>(),
            &inputs,
        );
    }
}

#[test]
fn rope_agrees() {
    for shape in [[2, 3, 11, 12], [1, 1, 1, 2], [3, 4, 1, 24], [2, 5, 70, 6]] {
        let [batch, _, time, head_dim] = shape;
        // Every row has its own positions.
        let angles = Sample::new([1, batch, time, head_dim / 2], 3.0, 5).numbers;
        let table = |x: &Tensor<4>, f: fn(f64) -> f64| {
            let values: Vec<f64> = angles.iter().copied().map(f).collect();
            Tensor::<3>::from_data(
                TensorData::new(values, [batch, time, head_dim / 2]),
                (&x.device(), x.dtype()),
            )
        };
        let rotate = |x: &[Tensor<4>]| rope(x[0].clone(), table(&x[0], f64::cos), table(&x[0], f64::sin));
        check(rotate, &[Sample::new(shape, 1.0, 6)]);
    }
}

/// `[batch, heads, key_heads, time, key_time, head_dim]`; queries without a visible key are left out of the comparison.
fn check_attention(
    [batch, heads, key_heads, time, key_time, head_dim]: [usize; 6],
    starts: &[usize],
    scale: f64,
) {
    let key_shape = [batch, key_heads, key_time, head_dim];
    let inputs = [
        Sample::new([batch, heads, time, head_dim], scale, 7),
        Sample::new(key_shape, scale, 8),
        Sample::new(key_shape, 1.0, 9),
    ];
    let hidden = starts.iter().max().map_or(0, |&start| start.saturating_sub(key_time - time));
    check(
        |x| {
            causal_attention(x[0].clone(), x[1].clone(), x[2].clone(), starts).narrow(
                2,
                hidden,
                time - hidden,
            )
        },
        &inputs,
    );
}

#[test]
fn attention_agrees() {
    check_attention([2, 3, 3, 70, 70, 32], &[], 2.0);
    check_attention([2, 4, 4, 33, 33, 24], &[], 2.0);
    check_attention([1, 2, 1, 1, 1, 1], &[], 2.0);
    check_attention([1, 2, 2, 150, 150, 12], &[], 2.0);
}

#[test]
fn grouped_queries_agree() {
    check_attention([1, 6, 2, 61, 61, 8], &[], 2.0);
    check_attention([2, 4, 1, 35, 40, 21], &[], 2.0);
}

#[test]
fn left_padding_agrees() {
    check_attention([3, 4, 2, 65, 65, 24], &[0, 5, 63], 2.0);
    check_attention([2, 2, 2, 9, 140, 16], &[131, 1], 2.0);
}

#[test]
fn few_queries_over_a_cache_agree() {
    check_attention([3, 4, 2, 1, 97, 24], &[], 2.0);
    check_attention([3, 4, 4, 1, 40, 8], &[0, 39, 7], 2.0);
    check_attention([2, 2, 1, 5, 37, 12], &[3, 0], 2.0);
}

#[test]
fn extreme_scores_agree() {
    // Scores of up to ± 8 · 8 · 12 / √12 ≈ 222.
    check_attention([1, 2, 2, 20, 20, 12], &[], 8.0);
}

#[test]
fn a_query_without_a_visible_key_gives_zeros_and_no_gradient() {
    let device = Device::flex().autodiff();
    let x = Tensor::<4>::ones([2, 1, 12, 4], &device).require_grad();
    let out = causal_attention(x.clone(), x.clone(), x.clone(), &[20, 3]);
    let values: Vec<f32> = out.clone().into_data().iter().collect();
    let expected: Vec<f32> =
        (0..24).flat_map(|position| [if position < 15 { 0.0 } else { 1.0 }; 4]).collect();
    assert!(values.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-6), "{values:?}");
    let gradient: Vec<f32> = x.grad(&out.sum().backward()).expect("a gradient").into_data().iter().collect();
    assert!(gradient[..60].iter().all(|&x| x == 0.0), "{gradient:?}");
    // The nine visible values get the nine visible queries' weights: 4 · 9 in all.
    assert!((gradient.iter().sum::<f32>() - 36.0).abs() < 1e-4, "{gradient:?}");
}

/// How the vocabulary matrix is given.
#[derive(Clone, Copy, PartialEq)]
enum Given {
    Head,
    Embedding,
    TransposedView,
}

/// `token_logprobs` with both results as the columns of `[1, 1, n_tokens, 2]`.
fn check_logprobs([n_tokens, d, n_vocabulary]: [usize; 3], given: Given, scale: f64) {
    let tokens: Vec<i64> = (0..n_tokens).map(|i| (i * 31 % n_vocabulary) as i64).collect();
    let is_head = given == Given::Head;
    let vocabulary_shape = if is_head { [1, 1, d, n_vocabulary] } else { [1, 1, n_vocabulary, d] };
    let inputs = [Sample::new([1, 1, n_tokens, d], scale, 10), Sample::new(vocabulary_shape, 1.0, 11)];
    let logprobs = |x: &[Tensor<4>]| {
        let [hidden, vocabulary] = [0, 1].map(|i| x[i].clone().squeeze_dims::<2>(&[0, 1]));
        let vocabulary = match given {
            Given::Head => vocabulary.into(),
            Given::Embedding => Vocabulary::Embedding(vocabulary),
            Given::TransposedView => vocabulary.transpose().into(),
        };
        let tokens =
            Tensor::<1, Int>::from_data(TensorData::new(tokens.clone(), [n_tokens]), &Device::flex());
        let (logprobs, entropies) = token_logprobs(hidden, vocabulary, tokens, 0.7);
        Tensor::stack::<2>(vec![logprobs, entropies], 1).unsqueeze::<4>()
    };
    check(logprobs, &inputs);
}

#[test]
fn token_logprobs_agree() {
    for shape in [[45, 24, 301], [1, 96, 300], [3, 1, 2], [530, 8, 50]] {
        check_logprobs(shape, Given::Head, 1.0);
    }
}

#[test]
fn token_logprobs_of_a_tied_embedding_agree() {
    for given in [Given::Embedding, Given::TransposedView] {
        for shape in [[45, 24, 301], [530, 8, 50], [3, 4, 2], [3, 1, 5]] {
            check_logprobs(shape, given, 1.0);
        }
    }
}

#[test]
fn token_logprobs_with_extreme_logits_agree() {
    check_logprobs([9, 1, 12], Given::Head, 80.0);
}

#[test]
fn flipped_tensors_agree() {
    let device = Device::flex();
    let sample = Sample::new([1, 2, 10, 8], 1.0, 12);
    let attend = |dtype: DType| -> Vec<f64> {
        let x =
            Tensor::<4>::from_data(TensorData::new(sample.numbers.clone(), sample.shape), (&device, dtype));
        causal_attention(x.clone().flip([2]), x.clone().flip([3]), x, &[]).into_data().iter().collect()
    };
    let (fused, composed) = (attend(DType::F32), attend(DType::F64));
    assert!(fused.iter().zip(&composed).all(|(a, b)| (a - b).abs() < 1e-6));
}

/// No rows, no tokens: nothing is computed and nothing fails, with autodiff and without.
#[test]
fn empty_tensors_stay_empty() {
    for device in [Device::flex(), Device::flex().autodiff()] {
        let empty = |shape: [usize; 4]| Tensor::<4>::zeros(shape, &device);
        assert_eq!(swiglu(empty([0, 1, 2, 7]), empty([0, 1, 2, 7])).dims(), [0, 1, 2, 7]);
        assert_eq!(rms_norm(empty([1, 0, 2, 7]), Tensor::ones([7], &device), 1e-5).dims(), [1, 0, 2, 7]);
        for [batch, heads, time] in [[0, 2, 5], [2, 0, 5], [2, 3, 0]] {
            let table = Tensor::<3>::ones([batch, time, 2], &device);
            let rotated = rope(empty([batch, heads, time, 4]), table.clone(), table);
            assert_eq!(rotated.dims(), [batch, heads, time, 4]);
        }
        for [batch, time, key_time] in [[0, 5, 5], [0, 1, 9], [2, 0, 0], [2, 0, 9]] {
            let keys = empty([batch, 1, key_time, 4]);
            for starts in [vec![], vec![key_time; batch]] {
                let attended =
                    causal_attention(empty([batch, 2, time, 4]), keys.clone(), keys.clone(), &starts);
                assert_eq!(attended.dims(), [batch, 2, time, 4]);
            }
        }
        let none = RowIndices::new([], &device);
        assert_eq!(select_rows(empty([3, 1, 2, 7]), &none).dims(), [0, 1, 2, 7]);
        assert_eq!(select_rows(empty([3, 0, 2, 7]), &RowIndices::new([1], &device)).dims(), [1, 0, 2, 7]);
        let tokens = Tensor::<1, Int>::zeros([0], &Device::flex());
        let (logprobs, entropies) =
            token_logprobs(Tensor::zeros([0, 3], &device), Tensor::ones([3, 5], &device), tokens, 1.0);
        assert_eq!((logprobs.dims(), entropies.dims()), ([0], [0]));
    }
}

#[test]
#[should_panic(expected = "token 5 of a vocabulary of 5")]
fn a_token_outside_the_vocabulary_is_refused() {
    let device = Device::flex();
    let tokens = Tensor::<1, Int>::from_ints([5], &device);
    token_logprobs(Tensor::zeros([1, 2], &device), Tensor::zeros([2, 5], &device), tokens, 1.0);
}

#[test]
#[should_panic(expected = "row 2 of 2")]
fn a_row_that_is_not_there_is_refused() {
    let device = Device::flex();
    select_rows(Tensor::<2>::zeros([2, 3], &device), &RowIndices::new([1, 2], &device));
}

#[test]
#[should_panic(expected = "2 keys for 3 queries")]
fn fewer_keys_than_queries_are_refused() {
    let device = Device::flex();
    let key = Tensor::<4>::zeros([1, 1, 2, 4], &device);
    causal_attention(Tensor::zeros([1, 1, 3, 4], &device), key.clone(), key, &[]);
}
