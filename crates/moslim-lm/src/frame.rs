//! What every layer of one forward pass shares: which tokens stand where, and whose states are asked for.

use burn::tensor::{Device, Tensor};
use moslim_kernels::{self as kernels, RowIndices};

use crate::rope::Angles;
use crate::rows::{Grid, Packing, Padding};

/// The tokens of a forward pass, in segments that are packed after each other.
///
/// Maps, norms and rotations take all tokens at once; attention takes the segments one by one, and a later one sees the keys of an earlier one.
#[derive(Clone)]
pub(crate) struct Frame {
    /// Of every token.
    pub angles: Angles,
    pub segments: Vec<Segment>,
    /// The tokens that the last layer writes, if not all.
    pub readout: Option<Readout>,
}

/// Rows that attention takes together.
#[derive(Clone)]
pub(crate) struct Segment {
    pub queries: Packing,
    /// What the queries see besides what a cache holds; those of the rows stand in the last columns.
    pub keys: Grid,
    /// The first column of every row, those of a cache included.
    pub starts: Vec<usize>,
}

/// Tokens that are read on, when those around them have been seen by all layers but the last.
///
/// Of the others, the last layer only needs keys and values.
#[derive(Clone)]
pub(crate) struct Readout {
    /// Their numbers among all tokens, ascending.
    tokens: RowIndices,
    pub angles: Angles,
    /// Where they stand in the last columns of every segment; absent where a segment has none.
    queries: Vec<Option<Packing>>,
}

impl Frame {
    /// Rows that begin, or continue what a cache holds: so many columns, in which the rows start there.
    pub(crate) fn of_rows(
        rows: &[&[u32]],
        padding: Padding,
        held: Option<(usize, &[usize])>,
        frequencies: &[f64],
        device: &Device,
    ) -> Self {
        let (queries, firsts) = Packing::of_rows(rows, padding, None, device);
        let (positions, starts) = match held {
            Some((columns, starts)) => {
                let begin = |(first, start): (&usize, &usize)| columns + first - start;
                (firsts.iter().zip(starts).map(begin).collect(), starts.to_vec())
            }
            None => (vec![0; rows.len()], firsts),
        };
        let positions: Vec<usize> = positions_from(&positions, rows).collect();
        let keys = queries.grid().clone();
        let angles = Angles::new(frequencies, &positions, device);
        Self { angles, segments: vec![Segment { queries, keys, starts }], readout: None }
    }

    /// Prompts and responses to them; response `i` continues prompt `prompt_of[i]`.
    pub(crate) fn of_responses(
        prompts: &[&[u32]],
        responses: &[&[u32]],
        prompt_of: &[usize],
        frequencies: &[f64],
        device: &Device,
    ) -> Self {
        let (queries, starts) = Packing::of_rows(prompts, Padding::Left, Some(0), device);
        let read = Segment { keys: queries.grid().clone(), queries, starts };
        let (queries, _) = Packing::of_rows(responses, Padding::Right, Some(n_tokens(prompts)), device);
        let keys = read.keys.rows_before(prompt_of, queries.grid(), device);
        let starts = prompt_of.iter().map(|&prompt| read.starts[prompt]).collect();
        let written = Segment { queries, keys, starts };

        let ends: Vec<usize> = prompt_of.iter().map(|&prompt| prompts[prompt].len()).collect();
        let of_prompts = positions_from(&vec![0; prompts.len()], prompts).collect::<Vec<_>>();
        let positions: Vec<usize> = of_prompts.into_iter().chain(positions_from(&ends, responses)).collect();
        let angles = Angles::new(frequencies, &positions, device);
        Self { angles, segments: vec![read, written], readout: None }
    }

    /// The same, where only these tokens are read on, numbers in ascending order.
    pub(crate) fn reading(self, tokens: &[u32], device: &Device) -> Self {
        let mut queries = Vec::with_capacity(self.segments.len());
        let (mut first, mut n_read) = (0, 0);
        for segment in &self.segments {
            let end = first + segment.queries.n_tokens() as u32;
            let n_of_segment = tokens[n_read..].partition_point(|&token| token < end);
            let of_segment: Vec<u32> =
                tokens[n_read..n_read + n_of_segment].iter().map(|token| token - first).collect();
            let n_before = (n_of_segment < tokens.len()).then_some(n_read);
            let part = || segment.queries.part(&of_segment, n_before, device);
            queries.push((n_of_segment > 0).then(part));
            (first, n_read) = (end, n_read + n_of_segment);
        }
        let tokens = RowIndices::new(tokens, device);
        let readout = Readout { angles: self.angles.select(&tokens), tokens, queries };
        Self { readout: Some(readout), ..self }
    }

    /// The same on another device; no gradient reaches angles and indices.
    pub(crate) fn to_device(&self, device: &Device) -> Self {
        let moved = |segment: &Segment| Segment {
            queries: segment.queries.to_device(device),
            keys: segment.keys.to_device(device),
            starts: segment.starts.clone(),
        };
        let readout = self.readout.as_ref().map(|readout| Readout {
            tokens: readout.tokens.to_device(device),
            angles: readout.angles.to_device(device),
            queries: (readout.queries.iter())
                .map(|queries| queries.as_ref().map(|queries| queries.to_device(device)))
                .collect(),
        });
        Self {
            angles: self.angles.to_device(device),
            segments: self.segments.iter().map(moved).collect(),
            readout,
        }
    }
}

impl Readout {
    /// The tokens that are read on. `x`: `[n_tokens, width]`, returns: `[n_read, width]`
    pub(crate) fn select(&self, x: Tensor<2>) -> Tensor<2> {
        kernels::select_rows(x, &self.tokens)
    }

    /// Where those of a segment stand in its last columns, if it has any.
    pub(crate) fn queries(&self, segment: usize) -> Option<&Packing> {
        self.queries[segment].as_ref()
    }
}

/// The tokens of all rows.
pub(crate) fn n_tokens(rows: &[&[u32]]) -> usize {
    rows.iter().map(|row| row.len()).sum()
}

/// The position of every token, where the rows begin at these.
fn positions_from<'a>(firsts: &'a [usize], rows: &'a [&[u32]]) -> impl Iterator<Item = usize> + 'a {
    firsts.iter().zip(rows).flat_map(|(&first, row)| first..first + row.len())
}

#[cfg(test)]
mod tests {
    use burn::module::{ModuleVisitor, Param};
    use burn::optim::GradientsParams;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;
    use crate::rows::{Padding, select_rows};
    use crate::{CausalLm, Decoder, KvCache, ModelConfig};

    const ROWS: [&[u32]; 4] = [&[1, 2, 3, 4], &[5], &[6, 7, 8, 9, 10, 0], &[2, 2, 2]];

    fn decoder(device: &Device) -> Decoder {
        let config = ModelConfig { attention_bias: true, ..ModelConfig::small(11, 8, 16, 3, 2) };
        CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(5), device).decoder().clone()
    }

    /// Unlike numbers for every state, so that mixed up states or gradients show.
    fn loss(states: Tensor<2>) -> Tensor<1> {
        let [n, width] = states.dims();
        let weights = Tensor::<1, burn::tensor::Int>::arange(0..(n * width) as i64, &states.device()).float();
        (states * (weights.reshape([n, width]) * 0.7).sin()).sum()
    }

    /// The states, and the gradients of all weights that have one.
    fn states_and_gradients(decoder: &Decoder, states: Tensor<2>) -> (Vec<f32>, Vec<f32>) {
        struct Collect(GradientsParams, Vec<f32>);
        impl ModuleVisitor for Collect {
            fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
                let gradient = self.0.get::<D>(param.id).expect("every weight has a gradient");
                self.1.extend(gradient.into_data().try_to_vec::<f32>().unwrap());
            }
        }
        let values = states.clone().into_data().try_to_vec().unwrap();
        let gradients = GradientsParams::from_grads(loss(states).backward(), decoder);
        let mut collect = Collect(gradients, vec![]);
        burn::module::Module::visit(decoder, &mut collect);
        (values, collect.1)
    }

    #[track_caller]
    fn assert_close(what: &str, found: &[f32], expected: &[f32]) {
        assert_eq!(found.len(), expected.len(), "{what}");
        let largest = expected.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            let error = (found - expected).abs() / largest;
            assert!(error < 1e-5, "{what} {index}: {found}, expected {expected}");
        }
    }

    /// Lasts, ends of rows, one token alone, unordered and repeated ones, all, the tokens of one row.
    const READ: [&[usize]; 7] = [
        &[3, 4, 10, 13],
        &[2, 3, 8, 9, 10, 12, 13],
        &[7],
        &[9, 0, 9, 5],
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
        &[5, 6, 7],
        &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ];

    #[test]
    fn tokens_read_alone_have_the_states_and_gradients_they_have_among_all() {
        let decoder = decoder(&Device::default().autodiff());
        for tokens in READ {
            for padding in [Padding::Left, Padding::Right] {
                let all = decoder.forward(&ROWS, padding, None);
                let expected = states_and_gradients(&decoder, select_rows(all, tokens.iter().copied()));
                let found = decoder.forward_at(&ROWS, padding, None, tokens);
                let found = states_and_gradients(&decoder, found);
                assert_close(&format!("{padding:?} {tokens:?}, state"), &found.0, &expected.0);
                assert_close(&format!("{padding:?} {tokens:?}, gradient"), &found.1, &expected.1);
            }
        }
    }

    #[test]
    fn tokens_of_prompts_or_responses_read_alone_are_as_in_whole_rows() {
        let decoder = decoder(&Device::default().autodiff());
        let (prompts, responses, prompt_of) =
            ([ROWS[0], ROWS[1]], [ROWS[2], ROWS[3], &[][..], ROWS[1]], [0, 0, 0, 1]);
        let rows: Vec<Vec<u32>> = prompt_of
            .iter()
            .zip(responses)
            .map(|(&prompt, response)| [prompts[prompt], response].concat())
            .collect();
        let rows: Vec<&[u32]> = rows.iter().map(Vec::as_slice).collect();
        // Where the tokens of prompts and responses are in whole rows of 10, 7, 4 and 2 tokens.
        let in_rows = [0, 1, 2, 3, 21, 4, 5, 6, 7, 8, 9, 14, 15, 16, 22];
        for tokens in READ.into_iter().chain([&[3, 4][..], &[14], &[4, 3, 10, 14], &[0, 8]]) {
            let all = decoder.forward(&rows, Padding::Right, None);
            let expected = select_rows(all, tokens.iter().map(|&token| in_rows[token]));
            let expected = states_and_gradients(&decoder, expected);
            let found = decoder.forward_responses(&prompts, &responses, &prompt_of, tokens);
            let found = states_and_gradients(&decoder, found);
            assert_close(&format!("{tokens:?}, state"), &found.0, &expected.0);
            assert_close(&format!("{tokens:?}, gradient"), &found.1, &expected.1);
        }
    }

    #[test]
    fn a_cache_is_filled_by_tokens_that_are_not_read_on() {
        let decoder = decoder(&Device::default());
        let further: [&[u32]; 4] = [&[3, 1], &[4, 1], &[5, 9], &[2, 6]];
        let read = |lasts: &[usize]| {
            let mut cache = KvCache::with_capacity(8);
            let first = decoder.forward_at(&ROWS, Padding::Left, Some(&mut cache), lasts);
            let second = decoder.forward_at(&further, Padding::Left, Some(&mut cache), &[1, 3, 5, 7]);
            [first, second].map(|states| states.into_data().try_to_vec::<f32>().unwrap())
        };
        let all: Vec<usize> = (0..14).collect();
        let ([_, expected], [first, found]) = (read(&all), read(&[3, 4, 10, 13]));
        assert_close("after", &found, &expected);
        let alone = select_rows(decoder.forward(&[ROWS[2]], Padding::Left, None), std::iter::once(5));
        assert_close("last", &first[16..24], &alone.into_data().try_to_vec::<f32>().unwrap());
    }
}
