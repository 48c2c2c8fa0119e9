//! Rotary position embedding: frequencies, angles and rotation ([Su et al. 2021](https://arxiv.org/abs/2104.09864)).

use burn::tensor::{Device, Tensor, TensorData};
use moslim_kernels::{self as kernels, RowIndices};
use serde::{Deserialize, Serialize};

/// How the frequencies are changed for contexts longer than those of pretraining.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "rope_type", rename_all = "snake_case")]
pub enum RopeScaling {
    /// Not at all.
    Default,
    /// Every position divided by `factor`.
    Linear {
        /// How many times longer the context becomes.
        factor: f64,
    },
    /// Llama 3's rule: long wavelengths are divided by `factor`, short ones kept, those between interpolated.
    Llama3 {
        /// How many times longer the context becomes.
        factor: f64,
        /// Wavelengths above the original context divided by this are scaled fully.
        low_freq_factor: f64,
        /// Wavelengths below the original context divided by this are kept.
        high_freq_factor: f64,
        /// The context of pretraining, in tokens.
        original_max_position_embeddings: f64,
    },
}

impl RopeScaling {
    /// Refuses factors that give no frequencies.
    pub(crate) fn check(self) -> Result<(), String> {
        let is_factor = |value: f64| value.is_finite() && value > 0.0;
        match self {
            Self::Linear { factor } | Self::Llama3 { factor, .. } if !is_factor(factor) => {
                Err(format!("factor {factor}"))
            }
            Self::Llama3 { low_freq_factor, high_freq_factor, .. }
                if !(is_factor(low_freq_factor)
                    && is_factor(high_freq_factor)
                    && low_freq_factor < high_freq_factor) =>
            {
                Err(format!("low_freq_factor {low_freq_factor} and high_freq_factor {high_freq_factor}"))
            }
            Self::Llama3 { original_max_position_embeddings: context, .. } if !is_factor(context) => {
                Err(format!("original_max_position_embeddings {context}"))
            }
            _ => Ok(()),
        }
    }
}

/// The angular frequencies θ^(−2i/d), i = 0 .. d/2, after scaling.
pub(crate) fn frequencies(head_dim: usize, theta: f64, scaling: RopeScaling) -> Vec<f64> {
    let plain = (0..head_dim / 2).map(|i| theta.powf(-2.0 * i as f64 / head_dim as f64));
    match scaling {
        RopeScaling::Default => plain.collect(),
        RopeScaling::Linear { factor } => plain.map(|frequency| frequency / factor).collect(),
        RopeScaling::Llama3 {
            factor,
            low_freq_factor,
            high_freq_factor,
            original_max_position_embeddings: context,
        } => plain
            .map(|frequency| {
                let turns = context * frequency / std::f64::consts::TAU;
                let kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
                frequency * (kept + (1.0 - kept) / factor)
            })
            .collect(),
    }
}

/// Cosines and sines of the angles of tokens. `[1, n_tokens, head_dim / 2]`
#[derive(Clone)]
pub(crate) struct Angles {
    cos: Tensor<3>,
    sin: Tensor<3>,
}

impl Angles {
    /// Of tokens at these positions.
    pub(crate) fn new(frequencies: &[f64], positions: &[usize], device: &Device) -> Self {
        let half = frequencies.len();
        let mut distinct = positions.to_vec();
        distinct.sort_unstable();
        distinct.dedup();
        let number = |position| distinct.binary_search(position).expect("it is among them");
        let numbers: Vec<usize> = positions.iter().map(number).collect();
        let values = |f: fn(f64) -> f64| {
            let of_position = |&position: &usize| {
                frequencies.iter().map(move |frequency| f(position as f64 * frequency) as f32)
            };
            let table: Vec<f32> = distinct.iter().flat_map(of_position).collect();
            let mut values = Vec::with_capacity(positions.len() * half);
            numbers.iter().for_each(|number| values.extend_from_slice(&table[number * half..][..half]));
            Tensor::from_data(TensorData::new(values, [1, positions.len(), half]), device)
        };
        Self { cos: values(f64::cos), sin: values(f64::sin) }
    }

    /// Those of some of the tokens.
    pub(crate) fn select(&self, tokens: &RowIndices) -> Self {
        let selected = |angles: &Tensor<3>| {
            let [_, _, half] = angles.dims();
            kernels::select_rows(angles.clone().squeeze_dim::<2>(0), tokens).reshape([
                1,
                tokens.rows().len(),
                half,
            ])
        };
        Self { cos: selected(&self.cos), sin: selected(&self.sin) }
    }

    /// Queries or keys turned by the angles of their positions.
    ///
    /// `x`, returns: `[n_tokens, n_heads · head_dim]`
    pub(crate) fn rotated(&self, x: Tensor<2>, head_dim: usize) -> Tensor<2> {
        let [n_tokens, width] = x.dims();
        let heads = x.reshape([1, n_tokens, width / head_dim, head_dim]).swap_dims(1, 2);
        let turned = kernels::rope(heads, self.cos.clone(), self.sin.clone());
        turned.swap_dims(1, 2).reshape([n_tokens, width])
    }

    /// The same on another device; no gradient reaches them.
    pub(crate) fn to_device(&self, device: &Device) -> Self {
        let moved = |angles: &Tensor<3>| {
            let moved = angles.clone().to_device(device);
            if device.is_autodiff() { moved } else { moved.without_autodiff() }
        };
        Self { cos: moved(&self.cos), sin: moved(&self.sin) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Llama 3's published rule with factor 8, 1, 4 and context 8192, at wavelengths by hand.
    #[test]
    fn llama3_keeps_short_and_divides_long_wavelengths() {
        let scaling = RopeScaling::Llama3 {
            factor: 8.0,
            low_freq_factor: 1.0,
            high_freq_factor: 4.0,
            original_max_position_embeddings: 64.0,
        };
        let plain = frequencies(8, 10_000.0, RopeScaling::Default);
        let scaled = frequencies(8, 10_000.0, scaling);
        assert_eq!(plain, [1.0, 0.1, 0.01, 0.001]);
        // 64·1/2π = 10.2 turns: kept. 64·0.1/2π = 1.0186 turns: (0.0186/3) kept, the rest divided by 8. Fewer: divided.
        assert_eq!(scaled[0], 1.0);
        let kept = (6.4 / std::f64::consts::TAU - 1.0) / 3.0;
        assert!((scaled[1] - 0.1 * (kept + (1.0 - kept) / 8.0)).abs() < 1e-15);
        assert_eq!(scaled[2..], [0.01 / 8.0, 0.001 / 8.0]);
        assert_eq!(frequencies(8, 10_000.0, RopeScaling::Linear { factor: 2.0 })[0], 0.5);
    }

    #[test]
    fn angles_are_those_of_positions_in_any_order() {
        let Angles { cos, sin } = Angles::new(&[1.0, 0.5], &[7, 3, 0, 7], &Device::default());
        let expected = |f: fn(f64) -> f64| -> Vec<f32> {
            [7.0, 3.5, 3.0, 1.5, 0.0, 0.0, 7.0, 3.5].map(|angle| f(angle) as f32).to_vec()
        };
        assert_eq!(cos.into_data().try_to_vec::<f32>().unwrap(), expected(f64::cos));
        assert_eq!(sin.into_data().try_to_vec::<f32>().unwrap(), expected(f64::sin));
    }
}
