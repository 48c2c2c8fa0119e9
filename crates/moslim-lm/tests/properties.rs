//! What must not matter does not matter, for models and rows of any shape: the company in a batch, the side of the
//! padding, the cache, and whether a prompt is read once for all its answers.

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{Device, Tensor};
use moslim_lm::{
    CausalLm, Exchange, Generated, KvCache, ModelConfig, Padding, SamplingParams, Stops, TokenRng, generate,
    response_logprobs,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;

const VOCABULARY: usize = 20;

/// The end token of the tests.
const END: u32 = 3;

/// Makes freshly drawn matrices large enough that the distributions are far from uniform.
struct Enlarge;

impl ModuleMapper for Enlarge {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        if D == 2 { param.map(|matrix| matrix * 15) } else { param }
    }
}

fn any_model() -> impl Strategy<Value = CausalLm> {
    (1..=3_usize, 1..=3_usize, 1..=3_usize, 1..=3_usize, any::<bool>(), any::<u64>()).prop_map(
        |(layers, key_heads, groups, half_dim, tie_word_embeddings, seed)| {
            let heads = key_heads * groups;
            let config = ModelConfig {
                num_key_value_heads: Some(key_heads),
                head_dim: Some(2 * half_dim),
                tie_word_embeddings,
                ..ModelConfig::small(VOCABULARY, 8 * heads, 24, layers, heads)
            };
            let fresh = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(seed), &Device::default());
            fresh.map(&mut Enlarge)
        },
    )
}

fn any_rows(n: std::ops::RangeInclusive<usize>) -> impl Strategy<Value = Vec<Vec<u32>>> {
    prop::collection::vec(prop::collection::vec(0..VOCABULARY as u32, 1..12), n)
}

fn settings() -> ProptestConfig {
    ProptestConfig { cases: 48, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Default::default() }
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.into_data().try_to_vec().unwrap()
}

/// The logits of all rows, one row after the other.
fn logits(model: &CausalLm, rows: &[Vec<u32>], padding: Padding) -> Vec<f32> {
    let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
    values(model.logits(&rows, padding, None))
}

fn assert_close(found: &[f32], expected: &[f32]) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        prop_assert!((found - expected).abs() <= 1e-5, "{} instead of {}", found, expected);
    }
    Ok(())
}

fn write(model: &CausalLm, prompts: &[Vec<u32>], n_samples: usize, temperature: f64) -> Vec<Generated> {
    write_with(&TokenRng::new(7, 0), model, prompts, n_samples, temperature)
}

fn write_with(
    rng: &TokenRng,
    model: &CausalLm,
    prompts: &[Vec<u32>],
    n_samples: usize,
    temperature: f64,
) -> Vec<Generated> {
    let params = SamplingParams { temperature, max_new_tokens: 12, ..SamplingParams::default() };
    generate(model, prompts, n_samples, &params, &Stops::from(vec![END]), rng)
}

/// The same tokens, with the same log-probabilities up to rounding.
fn assert_same(found: &Generated, expected: &Generated) -> Result<(), TestCaseError> {
    prop_assert_eq!(&found.tokens, &expected.tokens);
    prop_assert_eq!(found.finished, expected.finished);
    assert_close(&found.logprobs, &expected.logprobs)
}

proptest! {
    #![proptest_config(settings())]

    #[test]
    fn the_company_in_a_batch_and_the_side_of_the_padding(model in any_model(), rows in any_rows(1..=5)) {
        let alone: Vec<f32> =
            rows.iter().flat_map(|row| logits(&model, std::slice::from_ref(row), Padding::Right)).collect();
        assert_close(&logits(&model, &rows, Padding::Right), &alone)?;
        assert_close(&logits(&model, &rows, Padding::Left), &alone)?;
    }

    #[test]
    fn a_cache_and_where_it_was_cut(
        model in any_model(),
        rows in any_rows(1..=4),
        cut in 0.0..1.0,
    ) {
        // Every row is read up to the cut with padding on the left, and the rest with padding on the right.
        let mut rows = rows;
        rows.iter_mut().for_each(|row| row.push(0));
        let at = |row: &[u32]| 1 + ((row.len() - 1) as f64 * cut) as usize;
        let longest = rows.iter().map(Vec::len).max().unwrap();
        let mut cache = KvCache::with_capacity(2 * longest);
        let firsts: Vec<&[u32]> = rows.iter().map(|row| &row[..at(row)]).collect();
        let rests: Vec<&[u32]> = rows.iter().map(|row| &row[at(row)..]).collect();
        let first = values(model.logits(&firsts, Padding::Left, Some(&mut cache)));
        let rest = match rests.iter().all(|rest| rest.is_empty()) {
            true => vec![],
            false => values(model.logits(&rests, Padding::Right, Some(&mut cache))),
        };
        let (mut first, mut rest) = (first.chunks(VOCABULARY), rest.chunks(VOCABULARY));
        let mut cached = Vec::new();
        for row in &rows {
            (0..at(row)).for_each(|_| cached.extend_from_slice(first.next().unwrap()));
            (at(row)..row.len()).for_each(|_| cached.extend_from_slice(rest.next().unwrap()));
        }
        assert_close(&cached, &logits(&model, &rows, Padding::Right))?;
    }

    #[test]
    fn a_prompt_that_answers_share(
        model in any_model(),
        prompts in any_rows(1..=3),
        responses in any_rows(6..=6),
        temperature in 0.5..2.0,
    ) {
        // Neighbours share a prompt, or not, as the draw has it.
        let exchanges: Vec<Exchange<'_>> = responses
            .iter()
            .enumerate()
            .map(|(index, response)| Exchange { prompt: &prompts[index * prompts.len() / 6], response })
            .collect();
        let together = response_logprobs(&model, &exchanges, temperature);
        let longest = together.logprobs.dims()[1];
        let (logprobs, entropies) = (values(together.logprobs), values(together.entropies));
        for (index, exchange) in exchanges.iter().enumerate() {
            let alone = response_logprobs(&model, &[*exchange], temperature);
            let cells = index * longest..index * longest + exchange.response.len();
            assert_close(&logprobs[cells.clone()], &values(alone.logprobs))?;
            assert_close(&entropies[cells], &values(alone.entropies))?;
        }
    }

    #[test]
    fn an_answer_alone_and_in_company(
        model in any_model(),
        prompts in any_rows(2..=4),
        others in any_rows(4..=4),
        temperature in prop_oneof![Just(0.0), 0.5..1.5],
    ) {
        let answers = write(&model, &prompts, 1, temperature);
        for index in 0..prompts.len() {
            let alone =
                write_with(&TokenRng::new(7, 0).from_row(index), &model, &prompts[index..=index], 1, temperature);
            assert_same(&alone[0], &answers[index])?;
            // Only this prompt keeps its place among others.
            let mut company = others[..prompts.len()].to_vec();
            company[index].clone_from(&prompts[index]);
            assert_same(&write(&model, &company, 1, temperature)[index], &answers[index])?;
        }
    }

    #[test]
    fn answers_to_one_reading_of_a_prompt(model in any_model(), prompts in any_rows(1..=3), n in 1..4_usize) {
        let repeated: Vec<Vec<u32>> =
            prompts.iter().flat_map(|prompt| std::iter::repeat_n(prompt.clone(), n)).collect();
        let (shared, single) = (write(&model, &prompts, n, 1.0), write(&model, &repeated, 1, 1.0));
        prop_assert_eq!(shared.len(), single.len());
        for (found, expected) in shared.iter().zip(&single) {
            assert_same(found, expected)?;
            // What was noted while it was written is what reading it gives.
            prop_assert_eq!(found.finished, found.tokens.last() == Some(&END));
        }
        for (answer, prompt) in single.iter().zip(&repeated) {
            let exchange = Exchange { prompt, response: &answer.tokens };
            assert_close(&values(response_logprobs(&model, &[exchange], 1.0).logprobs), &answer.logprobs)?;
        }
    }
}
