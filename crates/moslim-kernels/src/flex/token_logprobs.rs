//! Log-probability and entropy of tokens. A node has one output, so both come as the columns of one matrix.

use super::gradient_sums::Share;
use super::route::{Operation, Tracked, apply, input};
use super::storage::{elements, from_elements, from_transposed_elements, matrix, row_major, unflipped};
use crate::Vocabulary;
use crate::kernels::token_logprobs::{
    self as kernel, LogprobGradients, Statistics, TokenLogprobs, Upstream, Wanted,
};
use crate::kernels::view::Matrix;
use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::CheckpointStrategy;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::FlexTensor;
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::{Int, Tensor};
use std::sync::Arc;

/// Logits kept for the backward pass: 64 MB. Above this they are computed again.
const KEPT_LOGITS: usize = 16 << 20;

/// Whether the logits are kept, so that the backward pass finds them.
fn keeps(n_tokens: usize, n_vocabulary: usize) -> bool {
    n_tokens.saturating_mul(n_vocabulary) <= KEPT_LOGITS
}

/// The logits that exist at once.
pub(crate) fn logits_at_once(n_tokens: usize, n_vocabulary: usize, is_tracked: bool) -> usize {
    match is_tracked && keeps(n_tokens, n_vocabulary) {
        true => n_tokens * n_vocabulary,
        false => kernel::logits_at_once(n_tokens, n_vocabulary, is_tracked),
    }
}

pub(crate) fn token_logprobs(
    hidden: &Tensor<2>,
    vocabulary: &Vocabulary,
    tokens: &Tensor<1, Int>,
    temperature: f64,
) -> Option<(Tensor<1>, Tensor<1>)> {
    let (matrix, is_embedding) = match vocabulary {
        Vocabulary::Head(matrix) => (matrix, false),
        Vocabulary::Embedding(embedding) => (embedding, true),
    };
    let inputs = [input(hidden), input(matrix)];
    if inputs.iter().any(Option::is_none) {
        // Before the tokens are fetched, which another device would have to wait for.
        return None;
    }
    let [_, n_vocabulary] = vocabulary.dims();
    let tokens: Vec<usize> = tokens
        .to_data()
        .iter::<i64>()
        .map(|token| match usize::try_from(token) {
            Ok(token) if token < n_vocabulary => token,
            _ => panic!("token {token} of a vocabulary of {n_vocabulary}"),
        })
        .collect();
    let inverse_temperature = temperature.recip() as f32;
    let out: Tensor<2> = apply(Chosen { tokens: tokens.into(), inverse_temperature, is_embedding }, inputs)?;
    let column = |column| out.clone().narrow(1, column, 1).squeeze_dim(1);
    Some((column(0), column(1)))
}

/// Whether a matrix is the transposed view of one in row-major order.
fn is_transposed(matrix: &Matrix) -> bool {
    matrix.strides()[0] == 1 && matrix.shape()[1] > 1
}

/// The tokens whose log-probabilities are asked for.
#[derive(Clone, Debug)]
struct Chosen {
    tokens: Arc<[usize]>,
    inverse_temperature: f32,
    /// Whether the matrix is `[n_vocabulary, d]`.
    is_embedding: bool,
}

impl Chosen {
    /// What the kernel works on; both tensors unflipped.
    fn of<'a>(&'a self, hidden: &'a FlexTensor, vocabulary: &'a FlexTensor) -> TokenLogprobs<'a> {
        let vocabulary = matrix(vocabulary);
        let vocabulary = if self.is_embedding { vocabulary.transposed() } else { vocabulary };
        TokenLogprobs {
            hidden: matrix(hidden),
            by_words: self.is_embedding || is_transposed(&vocabulary),
            vocabulary,
            tokens: &self.tokens,
            inverse_temperature: self.inverse_temperature,
        }
    }

    /// The gradient of the matrix as [`TokenLogprobs`] finds it.
    fn tensor(&self, gradient: Vec<f32>, shape: [usize; 2], by_words: bool) -> FlexTensor {
        match by_words && !self.is_embedding {
            true => from_transposed_elements(gradient, shape),
            false => from_elements(gradient, shape),
        }
    }

    fn statistics(&self, hidden: &FlexTensor, vocabulary: &FlexTensor, is_tracked: bool) -> Statistics {
        let (hidden, vocabulary) = (unflipped(hidden), unflipped(vocabulary));
        let operation = self.of(&hidden, &vocabulary);
        let keeps = is_tracked && keeps(self.tokens.len(), operation.vocabulary.shape()[1]);
        operation.forward(keeps)
    }
}

impl Operation<2> for Chosen {
    fn forward(self, [hidden, vocabulary]: [FlexTensor; 2]) -> FlexTensor {
        let statistics = self.statistics(&hidden, &vocabulary, false);
        from_elements(statistics.out, [self.tokens.len(), 2])
    }

    fn forward_tracked<C: CheckpointStrategy>(self, [hidden, vocabulary]: [Tracked; 2]) -> Tracked {
        let step =
            LogprobBackward.prepare::<C>([hidden.node(), vocabulary.node()]).compute_bound().stateful();
        let is_tracked = matches!(step, OpsKind::Tracked(_));
        let Statistics { out, logsumexp, logits } =
            self.statistics(hidden.primitive(), vocabulary.primitive(), is_tracked);
        let out = from_elements(out, [self.tokens.len(), 2]);
        match step {
            OpsKind::Tracked(mut step) => {
                // A sum is row-major, and where logits are computed again it would be held for long: other parts would wait.
                let in_order =
                    self.is_embedding || !is_transposed(&matrix(&unflipped(vocabulary.primitive())));
                let share = (logits.is_some() && in_order).then(|| Share::of(&vocabulary)).flatten();
                let state = LogprobState {
                    hidden: step.checkpoint(&hidden),
                    vocabulary: step.checkpoint(&vocabulary),
                    chosen: self,
                    out: out.clone(),
                    logsumexp: logsumexp.into(),
                    logits: logits.map(Arc::new),
                    share,
                };
                step.finish(state, out)
            }
            OpsKind::UnTracked(step) => step.finish(out),
        }
    }
}

#[derive(Clone, Debug)]
struct LogprobState {
    hidden: NodeId,
    vocabulary: NodeId,
    chosen: Chosen,
    out: FlexTensor,
    logsumexp: Arc<[f32]>,
    logits: Option<Arc<Vec<f32>>>,
    /// If the gradient of the matrix is summed over parts.
    share: Option<Share>,
}

#[derive(Debug)]
struct LogprobBackward;

impl Backward<Flex, 2> for LogprobBackward {
    type State = LogprobState;

    fn backward(self, ops: Ops<Self::State, 2>, grads: &mut Gradients, checkpointer: &mut Checkpointer) {
        let LogprobState { hidden, vocabulary, chosen, out, logsumexp, logits, share } = ops.state;
        let [hidden, vocabulary] =
            [hidden, vocabulary].map(|input| unflipped(&checkpointer.retrieve_node_output(input)));
        let gradient = row_major(&grads.consume::<Flex>(&ops.node));
        let [hidden_parent, vocabulary_parent] = ops.parents;
        let operation = chosen.of(&hidden, &vocabulary);
        let upstream = Upstream { out: elements(&out), logsumexp: &logsumexp, gradient: elements(&gradient) };
        let wanted = Wanted { hidden: hidden_parent.is_some(), vocabulary: vocabulary_parent.is_some() };
        let gradients = match logits {
            Some(logits) => {
                // The state holds the only reference to the logits, so they are not copied.
                let logits = operation.logit_gradients(&upstream, Arc::unwrap_or_clone(logits));
                let of_vocabulary = |sum| operation.vocabulary_gradient(&logits, sum);
                LogprobGradients {
                    hidden: wanted.hidden.then(|| operation.hidden_gradient(&logits)),
                    vocabulary: match share {
                        Some(share) => {
                            share.add(of_vocabulary);
                            None
                        }
                        None => wanted.vocabulary.then(|| of_vocabulary(None)),
                    },
                }
            }
            None => operation.backward(&upstream, wanted),
        };
        if let (Some(parent), Some(gradient)) = (hidden_parent, gradients.hidden) {
            grads.register::<Flex>(parent.id, from_elements(gradient, hidden.shape()));
        }
        if let (Some(parent), Some(gradient)) = (vocabulary_parent, gradients.vocabulary) {
            let gradient = chosen.tensor(gradient, vocabulary.shape().dims(), operation.by_words);
            grads.register::<Flex>(parent.id, gradient);
        }
    }
}
