//! Matrices that stand ready for products with few rows.

use std::fmt;

use burn::tensor::Tensor;

#[cfg(feature = "flex")]
use crate::{flex, kernels::panels::Panels};

/// A copy of a matrix in the order in which a product with few rows reads it, for writing token after token with the same weights.
///
/// It exists where it can make such products faster, which is on the CPU, and carries no gradients.
///
/// ```
/// # use burn::tensor::{Device, Tensor};
/// # use moslim_kernels::PackedMatrix;
/// let device = Device::flex();
/// let matrix = Tensor::<2>::from_floats([[1.0, 2.0], [3.0, 4.0]], &device);
/// let packed = PackedMatrix::new(&matrix).expect("it is on the CPU");
/// let product = packed.product(&Tensor::from_floats([[10.0, 1.0]], &device)).expect("there is one row");
/// assert_eq!(product.into_data().to_vec::<f32>().unwrap(), [13.0, 24.0]);
/// ```
#[derive(Clone)]
pub struct PackedMatrix {
    #[cfg(feature = "flex")]
    panels: std::sync::Arc<Panels>,
    /// Never there: without kernels there is no packed matrix.
    #[cfg(not(feature = "flex"))]
    never: std::convert::Infallible,
}

/// With more rows there is little left to gain; the crate's README has what was measured.
#[cfg(feature = "flex")]
const MOST_ROWS: usize = 64;

impl PackedMatrix {
    /// Packs a matrix; `None` where that is of no use: on other back ends, under autodiff, for other numbers than f32.
    ///
    /// # Shapes
    /// - `matrix`: `[inner, columns]`, possibly a transposed view
    pub fn new(matrix: &Tensor<2>) -> Option<Self> {
        #[cfg(feature = "flex")]
        return Some(Self { panels: flex::pack(matrix)?.into() });
        #[cfg(not(feature = "flex"))]
        {
            let _ = matrix;
            None
        }
    }

    /// `x · matrix`; `None` for more than 64 rows, or if `x` is tracked by autodiff.
    ///
    /// # Shapes
    /// - `x`: `[rows, inner]`, returns: `[rows, columns]`
    pub fn product(&self, x: &Tensor<2>) -> Option<Tensor<2>> {
        #[cfg(feature = "flex")]
        return (x.dims()[0] <= MOST_ROWS).then(|| flex::packed_product(x, &self.panels)).flatten();
        #[cfg(not(feature = "flex"))]
        {
            let _ = x;
            match self.never {}
        }
    }
}

impl fmt::Debug for PackedMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedMatrix").finish_non_exhaustive()
    }
}
