//! Log-probabilities of chosen tokens and entropies straight from hidden states and vocabulary matrix, a chunk of rows at a time.

mod rows;

use super::gemm::product;
use super::simd::run;
use super::view::{Matrix, MatrixMut};
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
    /// In the vocabulary matrix's own memory order: `[n_vocabulary, d]` if its columns are contiguous, else `[d, n_vocabulary]`.
    pub(crate) vocabulary: Option<Vec<f32>>,
}

impl TokenLogprobs<'_> {
    fn dims(&self) -> [usize; 3] {
        let ([n_tokens, d], [_, n_vocabulary]) = (self.hidden.shape(), self.vocabulary.shape());
        [n_tokens, d, n_vocabulary]
    }

    /// Rows whose logits are computed together.
    ///
    /// Up to 512, and at most about 32 MB of logits: smaller chunks would read the vocabulary matrix, and write its gradient, too often.
    fn chunk_rows(&self) -> usize {
        let [n_tokens, _, n_vocabulary] = self.dims();
        ((1 << 23) / n_vocabulary).clamp(64, 512).min(n_tokens)
    }

    /// Whether a vocabulary matrix is the transposed view of an embedding.
    pub(crate) fn is_tied(&self) -> bool {
        self.vocabulary.strides()[0] == 1 && self.vocabulary.shape()[1] > 1
    }

    /// The scaled logits of some rows.
    fn logits(&self, rows: std::ops::Range<usize>, logits: &mut [f32]) {
        let out = MatrixMut::row_major(logits, [rows.len(), self.vocabulary.shape()[1]]);
        product(self.hidden.rows(rows), self.vocabulary, self.inverse_temperature, false, out);
    }

    /// Log-probabilities and entropies.
    pub(crate) fn forward(&self, keep_logits: bool) -> Statistics {
        let [n_tokens, _, n_vocabulary] = self.dims();
        let chunk_rows = self.chunk_rows();
        // The largest first: an allocator that cut the small ones from where it lay the last time would have to find it a new place.
        let mut buffer = vec![0.0; if keep_logits { n_tokens } else { chunk_rows } * n_vocabulary];
        let mut out = vec![0.0; 2 * n_tokens];
        let mut logsumexp = vec![0.0; n_tokens];
        for first in (0..n_tokens).step_by(chunk_rows) {
            let rows = first..n_tokens.min(first + chunk_rows);
            let kept = if keep_logits { first } else { 0 };
            let logits = &mut buffer[kept * n_vocabulary..][..rows.len() * n_vocabulary];
            self.logits(rows.clone(), logits);
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

    /// The gradients. Kept logits are consumed; otherwise they are computed again.
    pub(crate) fn backward(
        &self,
        upstream: &Upstream,
        kept_logits: Option<Vec<f32>>,
        wanted: Wanted,
    ) -> LogprobGradients {
        let [n_tokens, d, n_vocabulary] = self.dims();
        let chunk_rows = self.chunk_rows();
        let is_kept = kept_logits.is_some();
        let mut buffer = kept_logits.unwrap_or_else(|| vec![0.0; chunk_rows * n_vocabulary]);
        let mut hidden_gradient = wanted.hidden.then(|| vec![0.0; n_tokens * d]);
        let mut vocabulary_gradient = wanted.vocabulary.then(|| vec![0.0; d * n_vocabulary]);
        for first in (0..n_tokens).step_by(chunk_rows) {
            let rows = first..n_tokens.min(first + chunk_rows);
            let kept = if is_kept { first } else { 0 };
            let logits = &mut buffer[kept * n_vocabulary..][..rows.len() * n_vocabulary];
            if !is_kept {
                self.logits(rows.clone(), logits);
            }
            self.logits_to_gradients(upstream, first, logits);
            let logit_gradients = Matrix::row_major(logits, [rows.len(), n_vocabulary]);
            if let Some(gradient) = &mut hidden_gradient {
                let out = MatrixMut::row_major(&mut gradient[first * d..rows.end * d], [rows.len(), d]);
                product(logit_gradients, self.vocabulary.transposed(), self.inverse_temperature, false, out);
            }
            if let Some(gradient) = &mut vocabulary_gradient {
                let hidden = self.hidden.rows(rows);
                let (a, b) =
                    if self.is_tied() { (logit_gradients, hidden) } else { (hidden, logit_gradients) };
                let out = MatrixMut::row_major(gradient, [a.shape()[1], b.shape()[1]]);
                product(a.transposed(), b, self.inverse_temperature, first > 0, out);
            }
        }
        LogprobGradients { hidden: hidden_gradient, vocabulary: vocabulary_gradient }
    }

    /// Replaces the logits of the rows from `first` on by their gradients.
    fn logits_to_gradients(&self, upstream: &Upstream, first: usize, logits: &mut [f32]) {
        let n_vocabulary = self.vocabulary.shape()[1];
        let rows = logits.par_chunks_mut(n_vocabulary).enumerate().with_min_len(rows_per_task(n_vocabulary));
        rows.for_each(|(row, logits)| {
            let row = first + row;
            run(RowGradient {
                logits,
                token: self.tokens[row],
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

    /// Kept and recomputed logits are two ways to the same gradients.
    #[test]
    fn recomputed_logits_give_the_same_gradients() {
        let (n_tokens, d, n_vocabulary) = (600, 5, 301);
        let wave = |n: usize, step: f32| -> Vec<f32> { (0..n).map(|i| (i as f32 * step).sin()).collect() };
        let (hidden, vocabulary, gradient) =
            (wave(n_tokens * d, 0.7), wave(d * n_vocabulary, 0.3), wave(2 * n_tokens, 1.1));
        let tokens: Vec<usize> = (0..n_tokens).map(|i| i * 31 % n_vocabulary).collect();
        let operation = TokenLogprobs {
            hidden: Matrix::row_major(&hidden, [n_tokens, d]),
            vocabulary: Matrix::row_major(&vocabulary, [n_vocabulary, d]).transposed(),
            tokens: &tokens,
            inverse_temperature: 0.7,
        };
        assert!(operation.chunk_rows() < n_tokens, "more than one chunk");
        let (kept, recomputed) = (operation.forward(true), operation.forward(false));
        assert_eq!(kept.out, recomputed.out);
        let upstream = Upstream { out: &kept.out, logsumexp: &kept.logsumexp, gradient: &gradient };
        let both = Wanted { hidden: true, vocabulary: true };
        let from_kept = operation.backward(&upstream, kept.logits, both);
        let from_recomputed = operation.backward(&upstream, None, both);
        assert_eq!(from_kept.hidden, from_recomputed.hidden);
        assert_eq!(from_kept.vocabulary, from_recomputed.vocabulary);
    }

    /// Two classes with logits ln 3 and 0: probabilities 3/4 and 1/4.
    #[test]
    fn two_classes_by_hand() {
        let operation = TokenLogprobs {
            hidden: Matrix::row_major(&[1.0], [1, 1]),
            vocabulary: Matrix::row_major(&[1.098_612_3, 0.0], [1, 2]),
            tokens: &[0],
            inverse_temperature: 1.0,
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
