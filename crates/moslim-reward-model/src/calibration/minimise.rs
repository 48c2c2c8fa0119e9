//! Minima of convex functions.

/// Newton's method has long converged by then.
const MAX_STEPS: usize = 200;
const MAX_HALVINGS: i32 = 40;

/// A step that promises to lower the function by less is not taken: rounding could hide the fall.
const LEAST_FALL: f64 = 1e-14;

/// The share of the promised fall that a step has to keep (Armijo's condition).
const KEPT_SHARE: f64 = 1e-4;

/// A function around a point: its value, its gradient `[n]` and its Hessian `[n][n]`.
pub(crate) struct Local {
    pub(crate) value: f64,
    pub(crate) gradient: Vec<f64>,
    pub(crate) hessian: Vec<Vec<f64>>,
}

impl Local {
    /// A function of `n` parameters that has `value` and is flat.
    pub(crate) fn flat(value: f64, n: usize) -> Self {
        Self { value, gradient: vec![0.0; n], hessian: vec![vec![0.0; n]; n] }
    }
}

/// Where the smooth convex `function` is smallest, by Newton's method with steps halved until they lower it.
///
/// Outside of its domain it is infinite; `start` lies inside.
/// Whatever the function, its value at the result is at most the one at `start`.
pub(crate) fn newton(start: Vec<f64>, function: impl Fn(&[f64]) -> Local) -> Vec<f64> {
    let mut here = function(&start);
    let mut point = start;
    for _ in 0..MAX_STEPS {
        let step = newton_step(&here);
        let fall: f64 = here.gradient.iter().zip(&step).map(|(g, s)| g * s).sum();
        if fall.is_nan() || fall <= LEAST_FALL {
            break;
        }
        let lower = (0..MAX_HALVINGS).map(|halvings| 0.5_f64.powi(halvings)).find_map(|length| {
            let trial: Vec<f64> = point.iter().zip(&step).map(|(x, s)| x - length * s).collect();
            let there = function(&trial);
            (there.value <= here.value - KEPT_SHARE * length * fall).then_some((trial, there))
        });
        let Some((trial, there)) = lower else { break };
        (point, here) = (trial, there);
    }
    point
}

/// `H⁻¹ g`.
///
/// H is first scaled to a diagonal of ones, so that parameters of very different size do no harm.
/// Where it is singular by rounding, more and more of the identity is added.
fn newton_step(local: &Local) -> Vec<f64> {
    let n = local.gradient.len();
    let scale: Vec<f64> =
        (0..n).map(|i| local.hessian[i][i]).map(|h| if h > 0.0 { h.sqrt() } else { 1.0 }).collect();
    let right: Vec<f64> = local.gradient.iter().zip(&scale).map(|(g, s)| g / s).collect();
    let solve = |damping: f64| {
        let entry = |i: usize, j: usize| {
            local.hessian[i][j] / scale[i] / scale[j] + if i == j { damping } else { 0.0 }
        };
        solve_positive_definite(n, entry, &right)
    };
    let dampings = [0.0, 1e-12, 1e-9, 1e-6, 1e-3, 1.0];
    let scaled = dampings.into_iter().find_map(solve).unwrap_or(right);
    scaled.iter().zip(&scale).map(|(x, s)| x / s).collect()
}

/// `A x = right` by Cholesky's factorisation `A = L Lᵀ`, if A is positive definite beyond rounding.
fn solve_positive_definite(n: usize, a: impl Fn(usize, usize) -> f64, right: &[f64]) -> Option<Vec<f64>> {
    let dot = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| x * y).sum() };
    let mut l: Vec<Vec<f64>> = Vec::with_capacity(n);
    for i in 0..n {
        let mut row = Vec::with_capacity(n);
        for (j, above) in l.iter().enumerate() {
            row.push((a(i, j) - dot(&row, &above[..j])) / above[j]);
        }
        let pivot = a(i, i) - dot(&row, &row);
        if pivot.is_nan() || pivot < 1e-14 {
            return None;
        }
        row.push(pivot.sqrt());
        l.push(row);
    }
    let mut x: Vec<f64> = Vec::with_capacity(n);
    for (i, row) in l.iter().enumerate() {
        x.push((right[i] - dot(&row[..i], &x)) / row[i]);
    }
    for i in (0..n).rev() {
        x[i] /= l[i][i];
        for j in 0..i {
            x[j] -= l[i][j] * x[i];
        }
    }
    Some(x)
}

/// Where the non-decreasing `function` changes its sign in `low..=high`, both positive; an end if it does
/// not.
///
/// By bisection of the logarithm.
pub(crate) fn root(low: f64, high: f64, function: impl Fn(f64) -> f64) -> f64 {
    let (mut low, mut high) = (low, high);
    if function(low) >= 0.0 {
        return low;
    }
    if function(high) <= 0.0 {
        return high;
    }
    for _ in 0..64 {
        let middle = (low * high).sqrt();
        if function(middle) < 0.0 { low = middle } else { high = middle }
    }
    (low * high).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quadratic_takes_its_parameters_of_any_size_to_the_minimum() {
        // ½ xᵀ A x − bᵀ x with A = [[4, 2e-6], [2e-6, 3e-12]] and b = (8, 5e-6): by hand x = (1.75, 5e5).
        let (a, b) = ([[4.0, 2e-6], [2e-6, 3e-12]], [8.0, 5e-6]);
        let function = |x: &[f64]| {
            let ax = [0, 1].map(|i| a[i][0] * x[0] + a[i][1] * x[1]);
            let value = 0.5 * (x[0] * ax[0] + x[1] * ax[1]) - b[0] * x[0] - b[1] * x[1];
            let gradient = vec![ax[0] - b[0], ax[1] - b[1]];
            Local { value, gradient, hessian: a.map(|row| row.to_vec()).to_vec() }
        };
        let x = newton(vec![0.0, 0.0], function);
        assert!((x[0] - 1.75).abs() < 1e-9 && (x[1] - 5e5).abs() < 1e-3, "{x:?}");
    }

    #[test]
    fn steps_stay_in_the_domain_and_go_down() {
        // x − ln x, smallest at 1; from 100 the whole Newton step leads to −9800.
        let function = |x: &[f64]| {
            let mut local = Local::flat(f64::INFINITY, 1);
            if x[0] > 0.0 {
                local.value = x[0] - x[0].ln();
                local.gradient[0] = 1.0 - 1.0 / x[0];
                local.hessian[0][0] = x[0].powi(-2);
            }
            local
        };
        for start in [1e-3, 3.0, 100.0] {
            assert!((newton(vec![start], function)[0] - 1.0).abs() < 1e-6, "{start}");
        }
    }

    #[test]
    fn a_singular_hessian_does_not_stop_the_other_direction() {
        let function = |x: &[f64]| {
            let sum = x[0] + x[1] - 2.0;
            Local { value: 0.5 * sum * sum, gradient: vec![sum; 2], hessian: vec![vec![1.0; 2]; 2] }
        };
        let x = newton(vec![5.0, 0.0], function);
        assert!((x[0] + x[1] - 2.0).abs() < 1e-9, "{x:?}");
    }

    #[test]
    fn roots_lie_inside_or_at_an_end() {
        assert!((root(0.05, 20.0, |x| x * x - 2.0) - 2f64.sqrt()).abs() < 1e-14);
        assert_eq!(root(0.05, 20.0, |_| 1.0), 0.05);
        assert_eq!(root(0.05, 20.0, |_| -1.0), 20.0);
    }
}
