//! Log-probabilities of chosen tokens and entropies straight from hidden states and vocabulary matrix, a part of the logits at a time.

mod rows;

use super::gemm::{product, product_into, product_onto};
use super::simd::run;
use super::view::{Matrix, MatrixMut};
use std::ops::Range;

use rayon::prelude::*;
use rows::{RowGradient, RowStatistics};

/// The inputs: `log softmax(hidden · vocabulary · inverse_temperature)` at `tokens`.
pub(crate) struct TokenLogprobs<'a> {
    /// `[n_tokens, d]`.
    pub(crate) hidden: Matrix<'a>,
    /// `[d, n_vocabulary]`.
    pub(crate) vocabulary: Matrix<'a>,
    /// `[n_tokens]`, each below `n_vocabulary`.
    pub(crate) tokens: &'a [usize],
    pub(crate) inverse_temperature: f32,
    /// Whether the gradient of the vocabulary matrix is wanted word by word, `[n_vocabulary, d]`, and not `[d, n_vocabulary]`.
    pub(crate) by_words: bool,
}

/// What the forward pass found.
pub(crate) struct Statistics {
    /// `[n_tokens, 2]`: log-probability and entropy.
    pub(crate) out: Vec<f32>,
    /// `[n_tokens]`: the log-sum-exp of the logits.
    pub(crate) logsumexp: Vec<f32>,
    /// `[n_tokens, n_vocabulary]`: the scaled logits, if they were to be kept.
    pub(crate) logits: Option<Vec<f32>>,
}

/// The gradient that arrived and what the forward pass left.
pub(crate) struct Upstream<'a> {
    /// [`Statistics::out`].
    pub(crate) out: &'a [f32],
    /// [`Statistics::logsumexp`].
    pub(crate) logsumexp: &'a [f32],
    /// `[n_tokens, 2]`: the gradient of [`Statistics::out`].
    pub(crate) gradient: &'a [f32],
}

/// Logits that exist at once where they are not kept: 32 MB.
const MOST_LOGITS: usize = 1 << 23;

/// Rows of logits that are computed again together, if there are as many.
const ROWS_OF_A_TILE: usize = 2048;

/// Which gradients are wanted.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) hidden: bool,
    pub(crate) vocabulary: bool,
}

/// Row-major gradients of what was wanted.
pub(crate) struct LogprobGradients {
    /// `[n_tokens, d]`.
    pub(crate) hidden: Option<Vec<f32>>,
    /// `[n_vocabulary, d]` or `[d, n_vocabulary]`, as asked for.
    pub(crate) vocabulary: Option<Vec<f32>>,
}

/// Rows whose logits are computed together.
///
/// Up to 512, and at most about 32 MB of logits, but at least 64: smaller chunks would read the vocabulary matrix too often.
fn chunk_rows(n_tokens: usize, n_vocabulary: usize) -> usize {
    (MOST_LOGITS / n_vocabulary).clamp(64, 512).min(n_tokens)
}

/// Rows and columns of the logits that are computed again together.
///
/// A row's statistics are known by then, so it need not be whole.
/// Many rows of few columns read the vocabulary matrix, and write its gradient, as seldom as can be.
fn tile(n_tokens: usize, n_vocabulary: usize) -> [usize; 2] {
    let rows = n_tokens.min(ROWS_OF_A_TILE.max(MOST_LOGITS / n_vocabulary)).max(1);
    [rows, (MOST_LOGITS / rows).clamp(1, n_vocabulary)]
}

/// The logits that exist at once where they are not kept, with the backward pass or without it.
pub(crate) fn logits_at_once(n_tokens: usize, n_vocabulary: usize, with_gradients: bool) -> usize {
    let forward = chunk_rows(n_tokens, n_vocabulary).saturating_mul(n_vocabulary);
    let [rows, words] = tile(n_tokens, n_vocabulary);
    if with_gradients { forward.max(rows * words) } else { forward }
}

impl TokenLogprobs<'_> {
    fn dims(&self) -> [usize; 3] {
        let ([n_tokens, d], [_, n_vocabulary]) = (self.hidden.shape(), self.vocabulary.shape());
        [n_tokens, d, n_vocabulary]
    }

    /// The vocabulary matrix of some of the words.
    fn words(&self, words: Range<usize>) -> Matrix<'_> {
        self.vocabulary.transposed().rows(words).transposed()
    }

    /// The scaled logits of some words at some rows.
    fn logits(&self, rows: Range<usize>, words: Range<usize>, logits: &mut [f32]) {
        let out = MatrixMut::row_major(logits, [rows.len(), words.len()]);
        product_into(self.hidden.rows(rows), self.words(words), self.inverse_temperature, false, out);
    }

    /// Log-probabilities and entropies.
    pub(crate) fn forward(&self, keep_logits: bool) -> Statistics {
        let [n_tokens, _, n_vocabulary] = self.dims();
        let chunk_rows = chunk_rows(n_tokens, n_vocabulary);
        // The largest first: an allocator that cut the small ones from where it lay the last time would have to find it a new place.
        let mut buffer = vec![0.0; if keep_logits { n_tokens } else { chunk_rows } * n_vocabulary];
        let mut out = vec![0.0; 2 * n_tokens];
        let mut logsumexp = vec![0.0; n_tokens];
        for first in (0..n_tokens).step_by(chunk_rows) {
            let rows = first..n_tokens.min(first + chunk_rows);
            let kept = if keep_logits { first } else { 0 };
            let logits = &mut buffer[kept * n_vocabulary..][..rows.len() * n_vocabulary];
            self.logits(rows.clone(), 0..n_vocabulary, logits);
            logits
                .par_chunks(n_vocabulary)
                .zip(out[2 * first..2 * rows.end].par_chunks_mut(2))
                .zip(&mut logsumexp[rows.clone()])
                .zip(&self.tokens[rows])
                .with_min_len(rows_per_task(n_vocabulary))
                .for_each(|(((logits, out), logsumexp), &token)| {
                    let row = run(RowStatistics { logits });
                    *logsumexp = row.logsumexp;
                    out.copy_from_slice(&[logits[token] - row.logsumexp, row.entropy]);
                });
        }
        Statistics { out, logsumexp, logits: keep_logits.then_some(buffer) }
    }

    /// The gradient of kept logits, in their memory. `[n_tokens, n_vocabulary]`
    pub(crate) fn logit_gradients(&self, upstream: &Upstream, mut logits: Vec<f32>) -> Vec<f32> {
        self.logits_to_gradients(upstream, 0, 0..self.vocabulary.shape()[1], &mut logits);
        logits
    }

    /// The gradient of the hidden states, from that of all logits. `[n_tokens, d]`
    pub(crate) fn hidden_gradient(&self, logit_gradients: &[f32]) -> Vec<f32> {
        let [n_tokens, _, n_vocabulary] = self.dims();
        let logit_gradients = Matrix::row_major(logit_gradients, [n_tokens, n_vocabulary]);
        product(logit_gradients, self.vocabulary.transposed(), self.inverse_temperature)
    }

    /// The gradient of the vocabulary matrix, from that of all logits, added to a sum if there is one.
    pub(crate) fn vocabulary_gradient(&self, logit_gradients: &[f32], sum: Option<Vec<f32>>) -> Vec<f32> {
        let [n_tokens, _, n_vocabulary] = self.dims();
        let logit_gradients = Matrix::row_major(logit_gradients, [n_tokens, n_vocabulary]);
        let [a, b] = match self.by_words {
            true => [logit_gradients.transposed(), self.hidden],
            false => [self.hidden.transposed(), logit_gradients],
        };
        product_onto(sum, a, b, self.inverse_temperature)
    }

    /// The gradients, with the logits computed again, a tile at a time.
    pub(crate) fn backward(&self, upstream: &Upstream, wanted: Wanted) -> LogprobGradients {
        let [n_tokens, _, n_vocabulary] = self.dims();
        self.backward_by(tile(n_tokens, n_vocabulary), upstream, wanted)
    }

    /// The gradients, by tiles of so many rows and words.
    fn backward_by(
        &self,
        [tile_rows, tile_words]: [usize; 2],
        upstream: &Upstream,
        wanted: Wanted,
    ) -> LogprobGradients {
        let [n_tokens, d, n_vocabulary] = self.dims();
        let mut buffer = vec![0.0; tile_rows * tile_words];
        let mut hidden_gradient = wanted.hidden.then(|| vec![0.0; n_tokens * d]);
        let mut vocabulary_gradient = wanted.vocabulary.then(|| vec![0.0; d * n_vocabulary]);
        let tiles = (0..n_tokens).step_by(tile_rows).flat_map(|row| {
            let rows = row..n_tokens.min(row + tile_rows);
            let words = (0..n_vocabulary).step_by(tile_words);
            words.map(move |word| (rows.clone(), word..n_vocabulary.min(word + tile_words)))
        });
        for (rows, words) in tiles {
            let logits = &mut buffer[..rows.len() * words.len()];
            self.logits(rows.clone(), words.clone(), logits);
            self.logits_to_gradients(upstream, rows.start, words.clone(), logits);
            let logit_gradients = Matrix::row_major(logits, [rows.len(), words.len()]);
            if let Some(gradient) = &mut hidden_gradient {
                let gradient = &mut gradient[rows.start * d..rows.end * d];
                let out = MatrixMut::row_major(gradient, [rows.len(), d]);
                let words_seen = words.start > 0;
                let vocabulary = self.words(words.clone()).transposed();
                product_into(logit_gradients, vocabulary, self.inverse_temperature, words_seen, out);
            }
            if let Some(gradient) = &mut vocabulary_gradient {
                let (hidden, rows_seen) = (self.hidden.rows(rows.clone()), rows.start > 0);
                if self.by_words {
                    let gradient = &mut gradient[words.start * d..words.end * d];
                    let out = MatrixMut::row_major(gradient, [words.len(), d]);
                    let transposed = logit_gradients.transposed();
                    product_into(transposed, hidden, self.inverse_temperature, rows_seen, out);
                } else {
                    let out = MatrixMut::new(&mut gradient[words.start..], [d, words.len()], n_vocabulary);
                    product_into(
                        hidden.transposed(),
                        logit_gradients,
                        self.inverse_temperature,
                        rows_seen,
                        out,
                    );
                }
            }
        }
        LogprobGradients { hidden: hidden_gradient, vocabulary: vocabulary_gradient }
    }

    /// Replaces the logits of some words at the rows from `first` on by their gradients.
    fn logits_to_gradients(
        &self,
        upstream: &Upstream,
        first: usize,
        words: Range<usize>,
        logits: &mut [f32],
    ) {
        let rows = logits.par_chunks_mut(words.len()).enumerate().with_min_len(rows_per_task(words.len()));
        rows.for_each(|(row, logits)| {
            let row = first + row;
            let token = self.tokens[row];
            run(RowGradient {
                logits,
                token: words.contains(&token).then(|| token - words.start),
                logsumexp: upstream.logsumexp[row],
                entropy: upstream.out[2 * row + 1],
                logprob_gradient: upstream.gradient[2 * row],
                entropy_gradient: upstream.gradient[2 * row + 1],
            });
        });
    }
}

fn rows_per_task(n_vocabulary: usize) -> usize {
    (super::TASK_ELEMENTS / n_vocabulary).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Kept and recomputed logits are two ways to the same gradients, whatever the tiles.
    #[test]
    fn recomputed_logits_give_the_same_gradients() {
        let (n_tokens, d, n_vocabulary) = (600, 5, 301);
        let wave = |n: usize, step: f32| -> Vec<f32> { (0..n).map(|i| (i as f32 * step).sin()).collect() };
        let (hidden, vocabulary, gradient) =
            (wave(n_tokens * d, 0.7), wave(d * n_vocabulary, 0.3), wave(2 * n_tokens, 1.1));
        let tokens: Vec<usize> = (0..n_tokens).map(|i| i * 31 % n_vocabulary).collect();
        let tied = Matrix::row_major(&vocabulary, [n_vocabulary, d]).transposed();
        for (vocabulary, by_words) in
            [(tied, true), (Matrix::row_major(&vocabulary, [d, n_vocabulary]), false)]
        {
            let operation = TokenLogprobs {
                hidden: Matrix::row_major(&hidden, [n_tokens, d]),
                vocabulary,
                tokens: &tokens,
                inverse_temperature: 0.7,
                by_words,
            };
            assert!(chunk_rows(n_tokens, n_vocabulary) < n_tokens, "more than one chunk");
            let (kept, recomputed) = (operation.forward(true), operation.forward(false));
            assert_eq!(kept.out, recomputed.out);
            let upstream = Upstream { out: &kept.out, logsumexp: &kept.logsumexp, gradient: &gradient };
            let both = Wanted { hidden: true, vocabulary: true };
            let logit_gradients = operation.logit_gradients(&upstream, kept.logits.unwrap());
            let from_kept = [
                operation.hidden_gradient(&logit_gradients),
                operation.vocabulary_gradient(&logit_gradients, None),
            ];
            for tile in [tile(n_tokens, n_vocabulary), [250, n_vocabulary], [250, 64], [1000, 7], [1, 301]] {
                let LogprobGradients { hidden, vocabulary } = operation.backward_by(tile, &upstream, both);
                for (kept, recomputed) in from_kept.iter().zip([hidden.unwrap(), vocabulary.unwrap()]) {
                    let largest = kept.iter().fold(0.0, |largest: f32, x| largest.max(x.abs()));
                    let is_close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5 * largest;
                    assert!(kept.iter().zip(&recomputed).all(is_close), "{tile:?}");
                }
            }
            let twice = operation.vocabulary_gradient(&logit_gradients, Some(from_kept[1].clone()));
            assert!(twice.iter().zip(&from_kept[1]).all(|(twice, once)| (twice - 2.0 * once).abs() < 1e-3));
        }
    }

    #[test]
    fn tiles_hold_what_fits_and_many_rows() {
        assert_eq!(tile(2048, 151_936), [2048, 4096]);
        assert_eq!(tile(100_000, 151_936), [2048, 4096]);
        assert_eq!(tile(128, 151_936), [128, 65_536]);
        assert_eq!(tile(100_000, 1024), [8192, 1024]);
        assert_eq!(tile(10, 20), [10, 20]);
        // Two million words leave room for fewer rows than are read at least; the tiles of a backward pass stay as large.
        assert_eq!(logits_at_once(2048, 1 << 21, false), 64 << 21);
        assert_eq!(logits_at_once(2048, 1 << 15, false), 256 << 15);
        assert_eq!(logits_at_once(2048, 1 << 13, false), 512 << 13);
        assert_eq!(logits_at_once(2048, 1 << 13, true), 1024 << 13);
    }

    /// Two classes with logits ln 3 and 0: probabilities 3/4 and 1/4.
    #[test]
    fn two_classes_by_hand() {
        let operation = TokenLogprobs {
            hidden: Matrix::row_major(&[1.0], [1, 1]),
            vocabulary: Matrix::row_major(&[1.098_612_3, 0.0], [1, 2]),
            tokens: &[0],
            inverse_temperature: 1.0,
            by_words: false,
        };
        let statistics = operation.forward(false);
        let [logprob, entropy] = [0.75_f32.ln(), -0.75 * 0.75_f32.ln() - 0.25 * 0.25_f32.ln()];
        assert!(
            (statistics.out[0] - logprob).abs() < 1e-6 && (statistics.out[1] - entropy).abs() < 1e-6,
            "{:?}",
            statistics.out
        );
    }
}
