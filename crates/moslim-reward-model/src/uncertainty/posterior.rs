//! What one head does not know: a normal distribution around its linear map.

use burn::module::{Module, Param};
use burn::tensor::{Device, Tensor, TensorData};
use nalgebra::{DMatrix, SymmetricEigen};

use crate::calibration::{log_softmax, root, sigmoid};
use crate::loss::Said;
use crate::model::{matrix, rows};
use crate::{HeadKind, Label, RewardHead, Target};

/// Laplace's approximation of the posterior of a head's linear map ([MacKay 1992](https://doi.org/10.1162/neco.1992.4.3.448)),
/// with everything before it taken as known ([Kristiadi et al. 2020](https://arxiv.org/abs/2002.10118)).
///
/// With x what the map reads, Λ the Hessian of a label's negative log-likelihood over the m outputs and λ the precision of a
/// normal prior around 0, the precision of the weights is `Σ_n x_n x_nᵀ ⊗ Λ_n + λI`.
/// The sum is taken as `A ⊗ B` with `A = Σ_n tr(Λ_n) x_n x_nᵀ` and `B = Σ_n Λ_n / Σ_n tr(Λ_n)`, which is exact where all Λ_n
/// are multiples of one matrix: for one output, and for two classes.
/// In the eigenvectors u of A and v of B everything is closed: the outputs for x have the covariance
/// `Σ_k q_k v_k v_kᵀ` with `q_k = Σ_j (u_jᵀ x)² / (a_j b_k + λ)`.
#[derive(Module, Debug)]
pub struct HeadPosterior {
    /// The eigenvectors of A as columns. `[d, d]`
    basis: Param<Tensor<2>>,
    /// The eigenvalues of A. `[d]`
    curvature: Param<Tensor<1>>,
    /// The eigenvectors of B as columns. `[m, m]`
    output_basis: Param<Tensor<2>>,
    /// The eigenvalues of B. `[m]`
    output_curvature: Param<Tensor<1>>,
    /// λ. `[1]`
    prior_precision: Param<Tensor<1>>,
    /// What inputs are told from: 0, or for a head of pairs, which does not know where its scores lie, the mean input. `[d]`
    center: Param<Tensor<1>>,
}

/// The prior precisions among which the evidence chooses.
const PRECISIONS: (f64, f64) = (1e-3, 1e6);

/// The smallest deviation of a regression's residuals that is believed, in levels.
const LEAST_DEVIATION: f64 = 0.05;

impl HeadPosterior {
    /// The posterior of a trained head.
    ///
    /// Without a prior precision the evidence chooses it: it is the λ with `λ ‖W‖² = Σ_jk a_j b_k / (a_j b_k + λ)`
    /// (MacKay 1992, eq. 4.9); a head without labels has that of its first weights, d + 1.
    ///
    /// # Shapes
    /// - `pooled`: `[n_answers, d]`, what the model gives its heads
    /// - `labels`: those of this head; each stands for `labels_each` of the data
    pub(crate) fn fit(
        head: &RewardHead,
        pooled: &Tensor<2>,
        labels: &[Label],
        labels_each: f64,
        prior_precision: Option<f64>,
    ) -> Self {
        let inputs = head.features(pooled.clone());
        let outputs = rows(head.score.forward(inputs.clone()));
        let inputs = rows(inputs);
        let [d, m] = head.score.weight.dims();
        let noise = noise_precision(head, &outputs, labels);
        let mut weighted = Vec::with_capacity(labels.len());
        let mut curvature = DMatrix::zeros(m, m);
        for Label { row, what, weight } in labels {
            let (input, of_label): (Vec<f32>, DMatrix<f64>) = match what {
                Said::Target(_) => (inputs[*row].clone(), curvature_of(head, &outputs[*row], noise)),
                Said::BetterThan { rejected, distance } => {
                    let pairs = inputs[*row].iter().zip(&inputs[*rejected]);
                    let margin = if let HeadKind::BradleyTerry { margin } = head.kind { margin } else { 0.0 };
                    let gap = f64::from(outputs[*row][0] - outputs[*rejected][0]) - margin * distance;
                    (pairs.map(|(a, b)| a - b).collect(), DMatrix::from_element(1, 1, sigmoid_slope(gap)))
                }
            };
            let of_label = of_label * (*weight * labels_each);
            let scale = of_label.trace().sqrt() as f32;
            weighted.push(input.into_iter().map(|x| x * scale).collect::<Vec<f32>>());
            curvature += of_label;
        }
        let second_moment = match weighted.is_empty() {
            true => DMatrix::zeros(d, d),
            false => {
                let weighted = matrix(weighted.iter().map(Vec::as_slice), &pooled.device());
                to_matrix(weighted.clone().transpose().matmul(weighted))
            }
        };
        let total = curvature.trace();
        let of_outputs = SymmetricEigen::new(if total > 0.0 { curvature / total } else { curvature });
        let of_inputs = SymmetricEigen::new(second_moment);
        // Rounding makes eigenvalues of 0 a little negative.
        let not_negative = |values: &[f64]| values.iter().map(|value| value.max(0.0)).collect::<Vec<f64>>();
        let (a, b) =
            (not_negative(of_inputs.eigenvalues.as_slice()), not_negative(of_outputs.eigenvalues.as_slice()));
        let weights = rows(head.score.weight.val());
        let square: f64 = weights.iter().flatten().map(|w| f64::from(*w).powi(2)).sum();
        let center: Vec<f64> = match head.kind.compares() {
            false => vec![0.0; d],
            true => (0..d)
                .map(|j| inputs.iter().map(|x| f64::from(x[j])).sum::<f64>() / inputs.len() as f64)
                .collect(),
        };
        let precision = prior_precision.unwrap_or_else(|| most_evident(&a, &b, square, d));
        let device = head.score.weight.device();
        let column = |values: Vec<f64>| {
            let n = values.len();
            Param::from_tensor(Tensor::from_data(TensorData::new(values, [n]), &device))
        };
        Self {
            basis: Param::from_tensor(to_tensor(&of_inputs.eigenvectors, &device)),
            curvature: column(a),
            output_basis: Param::from_tensor(to_tensor(&of_outputs.eigenvectors, &device)),
            output_curvature: column(b),
            prior_precision: column(vec![precision]),
            center: column(center),
        }
    }

    /// Of a head with so many inputs and outputs, to be filled.
    pub(crate) fn zeros(d: usize, m: usize, device: &Device) -> Self {
        let square = |n: usize| Param::from_tensor(Tensor::zeros([n, n], device));
        let column = |n: usize| Param::from_tensor(Tensor::zeros([n], device));
        Self {
            basis: square(d),
            curvature: column(d),
            output_basis: square(m),
            output_curvature: column(m),
            prior_precision: column(1),
            center: column(d),
        }
    }

    /// λ, the precision of the prior.
    pub fn prior_precision(&self) -> f64 {
        values(&self.prior_precision.val())[0]
    }

    /// Whether its numbers can be computed with, for one that was read from a file.
    pub(crate) fn is_sound(&self) -> bool {
        let finite_column = |column: &Param<Tensor<1>>| values(&column.val()).iter().all(|x| x.is_finite());
        let not_negative = |column: &Param<Tensor<1>>| {
            finite_column(column) && values(&column.val()).iter().all(|value| *value >= 0.0)
        };
        let finite = |square: &Param<Tensor<2>>| rows(square.val()).iter().flatten().all(|x| x.is_finite());
        self.prior_precision() > 0.0
            && not_negative(&self.prior_precision)
            && finite_column(&self.center)
            && not_negative(&self.curvature)
            && not_negative(&self.output_curvature)
            && finite(&self.basis)
            && finite(&self.output_basis)
    }

    /// The standard deviations of a head's outputs along the columns of the output basis, √q. `[n_answers][m]`
    pub(crate) fn deviations(&self, head: &RewardHead, pooled: Tensor<2>) -> Vec<Vec<f64>> {
        let lambda = self.prior_precision();
        let outputs = values(&self.output_curvature.val());
        let inverse: Vec<Vec<f32>> = values(&self.curvature.val())
            .iter()
            .map(|a| outputs.iter().map(|b| (a * b + lambda).recip() as f32).collect())
            .collect();
        let inverse = matrix(inverse.iter().map(Vec::as_slice), &pooled.device());
        let inputs = head.features(pooled) - self.center.val().unsqueeze();
        let squares = inputs.matmul(self.basis.val()).square();
        let variances = rows(squares.matmul(inverse));
        variances.into_iter().map(|q| q.into_iter().map(|q| f64::from(q).max(0.0).sqrt()).collect()).collect()
    }

    /// The covariance of the outputs whose deviations are given. `[m][m]`
    pub(crate) fn covariance(&self, deviations: &[f64]) -> Vec<Vec<f64>> {
        let basis = rows(self.output_basis.val());
        let entry = |i: usize, j: usize| {
            let parts = deviations.iter().enumerate();
            parts.map(|(k, q)| q * q * f64::from(basis[i][k]) * f64::from(basis[j][k])).sum()
        };
        (0..basis.len()).map(|i| (0..basis.len()).map(|j| entry(i, j)).collect()).collect()
    }

    /// Outputs drawn from the posterior, from numbers drawn from a standard normal distribution.
    ///
    /// # Shapes
    /// - `outputs`: `[m]`, those of the trained head
    /// - `deviations`: `[m]`
    /// - `normals`: `[n_draws][m]`
    pub(crate) fn draws(&self, outputs: &[f64], deviations: &[f64], normals: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let basis = rows(self.output_basis.val());
        let draw = |normals: &Vec<f64>| {
            let along: Vec<f64> = normals.iter().zip(deviations).map(|(z, q)| z * q).collect();
            let moved = basis.iter().map(|row| row.iter().zip(&along).map(|(v, x)| f64::from(*v) * x).sum());
            outputs.iter().zip(moved).map(|(output, moved): (&f64, f64)| output + moved).collect()
        };
        normals.iter().map(draw).collect()
    }
}

/// The λ of the largest evidence, for the eigenvalues of A and B and the squared norm of the weights.
fn most_evident(a: &[f64], b: &[f64], square: f64, d: usize) -> f64 {
    let products = || a.iter().flat_map(|a| b.iter().map(move |b| a * b));
    if products().all(|h| h == 0.0) || square == 0.0 {
        return d as f64 + 1.0;
    }
    let (low, high) = PRECISIONS;
    root(low, high, |lambda| lambda * square - products().map(|h| h / (h + lambda)).sum::<f64>())
}

/// Λ: the Hessian of what a head loses on a level, over its outputs. `[m, m]`
fn curvature_of(head: &RewardHead, outputs: &[f32], noise_precision: f64) -> DMatrix<f64> {
    let outputs: Vec<f64> = outputs.iter().map(|output| f64::from(*output)).collect();
    match head.kind {
        HeadKind::Softmax | HeadKind::SmoothedSoftmax { .. } | HeadKind::HlGauss { .. } => {
            let p: Vec<f64> = log_softmax(&outputs).into_iter().map(f64::exp).collect();
            DMatrix::from_fn(p.len(), p.len(), |i, j| if i == j { p[i] * (1.0 - p[i]) } else { -p[i] * p[j] })
        }
        HeadKind::Ordinal => {
            let slopes = head.thresholds().into_iter().map(|threshold| sigmoid_slope(outputs[0] - threshold));
            DMatrix::from_element(1, 1, slopes.sum())
        }
        HeadKind::Regression | HeadKind::BradleyTerry { .. } => DMatrix::from_element(1, 1, noise_precision),
    }
}

/// `1/σ²` of the residuals of a head that learns numbers; 1 for others.
fn noise_precision(head: &RewardHead, outputs: &[Vec<f32>], labels: &[Label]) -> f64 {
    let residual = |label: &Label| {
        let output = f64::from(outputs[label.row][0]);
        match (&head.kind, &label.what) {
            (HeadKind::Regression, Said::Target(Target::Level(level))) => {
                Some(output + head.center() - level)
            }
            (HeadKind::Regression | HeadKind::BradleyTerry { .. }, Said::Target(Target::Outputs(other))) => {
                Some(output - other[0])
            }
            _ => None,
        }
    };
    let (mut squares, mut weights) = (0.0, 0.0);
    for label in labels {
        if let Some(residual) = residual(label) {
            squares += label.weight * residual * residual;
            weights += label.weight;
        }
    }
    if weights > 0.0 { (squares / weights).max(LEAST_DEVIATION * LEAST_DEVIATION).recip() } else { 1.0 }
}

/// `σ'(x) = σ(x) σ(−x)`
fn sigmoid_slope(x: f64) -> f64 {
    sigmoid(x) * sigmoid(-x)
}

fn to_matrix(tensor: Tensor<2>) -> DMatrix<f64> {
    let rows = rows(tensor);
    DMatrix::from_fn(rows.len(), rows[0].len(), |i, j| f64::from(rows[i][j]))
}

fn to_tensor(matrix: &DMatrix<f64>, device: &Device) -> Tensor<2> {
    let (n, m) = matrix.shape();
    let rows = (0..n).flat_map(|i| (0..m).map(move |j| matrix[(i, j)] as f32));
    Tensor::from_data(TensorData::new(rows.collect::<Vec<f32>>(), [n, m]), device)
}

fn values(column: &Tensor<1>) -> Vec<f64> {
    let values: Vec<f32> = column.to_data().convert::<f32>().try_to_vec().expect("columns are floats");
    values.into_iter().map(f64::from).collect()
}

#[cfg(test)]
mod tests;
