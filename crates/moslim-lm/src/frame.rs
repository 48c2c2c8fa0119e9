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
    /// Absent if the states of all tokens are wanted.
    pub wanted: Option<Wanted>,
}

/// Rows that attention takes together.
#[derive(Clone)]
pub(crate) struct Segment {
    /// The tokens that see.
    pub queries: Packing,
    /// The tokens that they see, besides those of a cache; both end in the same column.
    pub keys: Grid,
    /// The first column of every row, those of a cache included.
    pub starts: Vec<usize>,
}

/// Tokens whose states are wanted.
///
/// The last layer writes no others; of those it only needs keys and values.
#[derive(Clone)]
pub(crate) struct Wanted {
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
        let (queries, columns) = Packing::of_rows(rows, padding, None, device);
        let (begin, starts): (Vec<usize>, _) = match held {
            Some((held, starts)) => {
                let position = |(column, start): (&usize, &usize)| held + column - start;
                (columns.iter().zip(starts).map(position).collect(), starts.to_vec())
            }
            None => (vec![0; rows.len()], columns),
        };
        let positions: Vec<usize> = positions_from(&begin, rows).collect();
        let keys = queries.grid().clone();
        let angles = Angles::new(frequencies, &positions, device);
        Self { angles, segments: vec![Segment { queries, keys, starts }], wanted: None }
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

        let n_prompt_tokens = n_tokens(prompts);
        let of_prompts = firsts(0, prompts.iter().map(|prompt| prompt.len()));
        let of_responses = firsts(n_prompt_tokens, responses.iter().map(|response| response.len()));
        let tokens = |first: usize, row: &[u32]| first as u32..(first + row.len()) as u32;
        let seen = prompt_of.iter().zip(responses).zip(of_responses).map(|((&prompt, response), first)| {
            tokens(of_prompts[prompt], prompts[prompt]).chain(tokens(first, response)).collect()
        });
        let (keys, starts) = Grid::of_tokens(&seen.collect::<Vec<_>>(), device);
        let (queries, _) = Packing::of_rows(responses, Padding::Left, Some(n_prompt_tokens), device);
        let written = Segment { queries, keys, starts };

        let begin: Vec<usize> = prompt_of.iter().map(|&prompt| prompts[prompt].len()).collect();
        let mut positions: Vec<usize> = positions_from(&vec![0; prompts.len()], prompts).collect();
        positions.extend(positions_from(&begin, responses));
        let angles = Angles::new(frequencies, &positions, device);
        Self { angles, segments: vec![read, written], wanted: None }
    }

    /// The same, where the states of these tokens are wanted, numbers distinct and ascending.
    pub(crate) fn wanting(self, tokens: &[u32], device: &Device) -> Self {
        let mut queries = Vec::with_capacity(self.segments.len());
        let (mut first, mut n_before) = (0, 0);
        for segment in &self.segments {
            let end = first + segment.queries.n_tokens() as u32;
            let n = tokens[n_before..].partition_point(|&token| token < end);
            let of_segment: Vec<u32> =
                tokens[n_before..n_before + n].iter().map(|token| token - first).collect();
            let others = (n < tokens.len()).then_some(n_before);
            queries.push((n > 0).then(|| segment.queries.part(&of_segment, others, device)));
            (first, n_before) = (end, n_before + n);
        }
        let tokens = RowIndices::new(tokens, device);
        let wanted = Wanted { angles: self.angles.select(&tokens), tokens, queries };
        Self { wanted: Some(wanted), ..self }
    }

    /// The same on another device; no gradient reaches angles and indices.
    pub(crate) fn to_device(&self, device: &Device) -> Self {
        let moved = |segment: &Segment| Segment {
            queries: segment.queries.to_device(device),
            keys: segment.keys.to_device(device),
            starts: segment.starts.clone(),
        };
        let wanted = self.wanted.as_ref().map(|wanted| Wanted {
            tokens: wanted.tokens.to_device(device),
            angles: wanted.angles.to_device(device),
            queries: (wanted.queries.iter())
                .map(|queries| queries.as_ref().map(|queries| queries.to_device(device)))
                .collect(),
        });
        Self {
            angles: self.angles.to_device(device),
            segments: self.segments.iter().map(moved).collect(),
            wanted,
        }
    }
}

impl Wanted {
    /// The wanted ones of all tokens. `x`: `[n_tokens, width]`, returns: `[n_wanted, width]`
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

/// Where rows of these lengths begin, one after the other, the first one there.
pub(crate) fn firsts(first: usize, lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let begin = |next: &mut usize, length| Some(std::mem::replace(next, *next + length));
    lengths.scan(first, begin).collect()
}

#[cfg(test)]
mod tests {
    use burn::optim::GradientsParams;
    use rand::SeedableRng;
    use rand::rngs::ChaCha8Rng;

    use super::*;
    use crate::gradients::values;
    use crate::rows::select_rows;
    use crate::{CausalLm, Decoder, Family, KvCache, ModelConfig};

    const ROWS: [&[u32]; 4] = [&[1, 2, 3, 4], &[5], &[6, 7, 8, 9, 10, 0], &[2, 2, 2]];

    /// One with biases, and one with grouped keys and normalised heads.
    fn decoders(device: &Device) -> [Decoder; 2] {
        let small = ModelConfig::small(11, 8, 16, 3, 2);
        [
            ModelConfig { attention_bias: true, ..small.clone() },
            ModelConfig { model_type: Family::Qwen3, num_key_value_heads: Some(1), ..small },
        ]
        .map(|config| CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(5), device).decoder().clone())
    }

    /// Unlike numbers for every state, so that mixed up states or gradients show.
    fn loss(states: Tensor<2>) -> Tensor<1> {
        let [n, width] = states.dims();
        let weights = Tensor::<1, burn::tensor::Int>::arange(0..(n * width) as i64, &states.device()).float();
        (states * (weights.reshape([n, width]) * 0.7).sin()).sum()
    }

    /// The states, and the gradients of all weights.
    fn states_and_gradients(decoder: &Decoder, states: Tensor<2>) -> (Vec<f32>, Vec<f32>) {
        let found = states.clone().into_data().try_to_vec().unwrap();
        let gradients = GradientsParams::from_grads(loss(states).backward(), decoder);
        (found, values(decoder, &gradients))
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
    const WANTED: [&[usize]; 7] = [
        &[3, 4, 10, 13],
        &[2, 3, 8, 9, 10, 12, 13],
        &[7],
        &[9, 0, 9, 5],
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13],
        &[5, 6, 7],
        &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
    ];

    /// Every decoder with each of these.
    fn every<'a>(tokens: impl Iterator<Item = &'a [usize]>) -> Vec<(Decoder, &'a [usize])> {
        let decoders = decoders(&Device::default().autodiff());
        tokens.flat_map(|tokens| decoders.clone().map(|decoder| (decoder, tokens))).collect()
    }

    #[test]
    fn tokens_wanted_alone_have_the_states_and_gradients_they_have_among_all() {
        for (decoder, tokens) in every(WANTED.into_iter()) {
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
    fn tokens_of_prompts_or_responses_wanted_alone_are_as_in_whole_rows() {
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
        let more: [&[usize]; 4] = [&[3, 4], &[14], &[4, 3, 10, 14], &[0, 8]];
        for (decoder, tokens) in every(WANTED.into_iter().chain(more)) {
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
    fn a_cache_is_filled_by_tokens_that_are_not_wanted() {
        let [decoder, _] = decoders(&Device::default());
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
