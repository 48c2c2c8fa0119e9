//! Which positions of a padded batch are tokens.

use burn::tensor::{Device, Tensor, TensorData};

/// The tokens that the policy chose, the end token included; padding is out.
///
/// Made from lengths, never from ids: a pad token that equals the end token changes nothing.
#[derive(Clone, Debug)]
pub struct ResponseMask {
    /// 1 at tokens, 0 at padding. `[n_responses, longest]`
    tokens: Tensor<2>,
}

impl ResponseMask {
    /// The mask of right-padded responses of these lengths. `[n_responses, longest]`
    pub fn from_lengths(lengths: &[usize], device: &Device) -> Self {
        let longest = lengths.iter().copied().max().unwrap_or(0);
        let cells: Vec<f32> = lengths
            .iter()
            .flat_map(|&length| (0..longest).map(move |column| if column < length { 1.0 } else { 0.0 }))
            .collect();
        Self { tokens: Tensor::from_data(TensorData::new(cells, [lengths.len(), longest]), device) }
    }

    /// The same mask for tensors without gradients.
    #[must_use]
    pub fn inner(self) -> Self {
        Self { tokens: self.tokens.inner() }
    }

    /// Sum over all tokens. `[1]`
    pub fn sum(&self, values: Tensor<2>) -> Tensor<1> {
        self.sum_per_response(values).sum()
    }

    /// Sum over the tokens of every response. `[n_responses]`
    pub fn sum_per_response(&self, values: Tensor<2>) -> Tensor<1> {
        // Chosen, not multiplied: 0 · ∞ is not a number.
        let padding = self.tokens.clone().equal_elem(0.0);
        values.mask_fill(padding, 0.0).sum_dim(1).squeeze_dim(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_changes_nothing() {
        let device = Device::default();
        let mask = ResponseMask::from_lengths(&[2, 0, 3], &device);
        let values = Tensor::<2>::from_data(
            [[1.0, 2.0, f32::INFINITY], [f32::NAN, 5.0, 6.0], [7.0, 8.0, 9.0]],
            &device,
        );
        let sums: Vec<f32> = mask.sum_per_response(values).into_data().try_to_vec().unwrap();
        assert_eq!(sums, [3.0, 0.0, 24.0]);
    }
}
