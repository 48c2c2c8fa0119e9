//! A linear map with a low-rank one beside it: both products are summed where they are written.

use super::gemm::{product, product_into};
use super::view::{Matrix, MatrixMut};

/// The operands; `x`: `[n, d_in]`, `weight`: `[d_in, d_out]`, `a`: `[d_in, rank]`, `b`: `[rank, d_out]`.
pub(crate) struct LoraLinear<'a> {
    pub(crate) x: Matrix<'a>,
    pub(crate) weight: Matrix<'a>,
    pub(crate) a: Matrix<'a>,
    pub(crate) b: Matrix<'a>,
    pub(crate) scaling: f32,
}

/// Which gradients are asked for.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) x: bool,
    pub(crate) weight: bool,
    pub(crate) a: bool,
    pub(crate) b: bool,
}

/// The gradients that were asked for, row-major.
#[derive(Default)]
pub(crate) struct Gradients {
    pub(crate) x: Option<Vec<f32>>,
    pub(crate) weight: Option<Vec<f32>>,
    pub(crate) a: Option<Vec<f32>>,
    pub(crate) b: Option<Vec<f32>>,
}

impl LoraLinear<'_> {
    /// `x·W + s·(x·A)·B`, and `x·A` for the backward pass.
    pub(crate) fn forward(&self) -> (Vec<f32>, Vec<f32>) {
        let &Self { x, weight, a, b, scaling } = self;
        let narrow = product(x, a, 1.0);
        let mut out = product(x, weight, 1.0);
        let shape = [x.shape()[0], weight.shape()[1]];
        let narrow_view = Matrix::row_major(&narrow, [shape[0], a.shape()[1]]);
        product_into(narrow_view, b, scaling, true, MatrixMut::row_major(&mut out, shape));
        (out, narrow)
    }

    /// With `u` the gradient of the result and `v = s·u·Bᵀ`: `u·Wᵀ + v·Aᵀ`, `xᵀ·u`, `xᵀ·v` and `s·(x·A)ᵀ·u`.
    pub(crate) fn backward(&self, narrow: &[f32], upstream: Matrix, wanted: Wanted) -> Gradients {
        let &Self { x, weight, a, b, scaling } = self;
        let mut gradients = Gradients::default();
        if wanted.x || wanted.a {
            let narrow_upstream = product(upstream, b.transposed(), scaling);
            let v = Matrix::row_major(&narrow_upstream, [upstream.shape()[0], b.shape()[0]]);
            if wanted.x {
                let mut of_x = product(upstream, weight.transposed(), 1.0);
                product_into(v, a.transposed(), 1.0, true, MatrixMut::row_major(&mut of_x, x.shape()));
                gradients.x = Some(of_x);
            }
            gradients.a = wanted.a.then(|| product(x.transposed(), v, 1.0));
        }
        gradients.weight = wanted.weight.then(|| product(x.transposed(), upstream, 1.0));
        gradients.b = wanted.b.then(|| {
            let narrow = Matrix::row_major(narrow, [x.shape()[0], a.shape()[1]]);
            product(narrow.transposed(), upstream, scaling)
        });
        gradients
    }
}
