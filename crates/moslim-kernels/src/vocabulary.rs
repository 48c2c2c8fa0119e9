//! The matrix between hidden states and logits.

use burn::tensor::Tensor;

/// The matrix that makes logits of hidden states.
///
/// A tied embedding is named as such instead of being transposed, so that its gradient is found in the embedding's own order.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// # use moslim_kernels::Vocabulary;
/// let embedding = Tensor::from_floats([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]], &Device::flex());
/// let vocabulary = Vocabulary::Embedding(embedding);
/// assert_eq!(vocabulary.dims(), [2, 3]);
/// let matrix: Vec<f32> = vocabulary.matrix().into_data().iter().collect();
/// assert_eq!(matrix, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0]);
/// ```
#[derive(Clone, Debug)]
pub enum Vocabulary {
    /// A map of its own. `[d, n_vocabulary]`
    Head(Tensor<2>),
    /// The embedding, whose rows stand for the tokens. `[n_vocabulary, d]`
    Embedding(Tensor<2>),
}

impl Vocabulary {
    /// The matrix that hidden states are multiplied with. `[d, n_vocabulary]`
    pub fn matrix(&self) -> Tensor<2> {
        match self {
            Self::Head(matrix) => matrix.clone(),
            Self::Embedding(embedding) => embedding.clone().transpose(),
        }
    }

    /// The width of a hidden state, and the number of tokens.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Head(matrix) => matrix.dims(),
            Self::Embedding(embedding) => {
                let [n_vocabulary, d] = embedding.dims();
                [d, n_vocabulary]
            }
        }
    }
}

impl From<Tensor<2>> for Vocabulary {
    fn from(matrix: Tensor<2>) -> Self {
        Self::Head(matrix)
    }
}
