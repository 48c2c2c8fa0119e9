//! Curves, and their slopes on logarithmic scales.

use serde_json::{Value, json};

use super::axes::Axis;
use crate::numbers::{bytes, median, seconds};
use crate::side::{Execution, Ready};

/// What was measured at one size, and what was counted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The size.
    pub value: usize,
    /// The median of the executions.
    pub seconds: f64,
    /// The median of the memory beyond what was there before the first execution, where the system says so.
    pub beyond_bytes: Option<f64>,
    /// Additions and multiplications.
    pub operations: f64,
    /// Bytes beyond model and inputs, as counted.
    pub expected_bytes: f64,
}

/// The points of an axis, by rising size.
pub struct Curve {
    /// What grows.
    pub axis: &'static Axis,
    /// What came of it.
    pub points: Vec<Point>,
}

/// What is measured at every point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Seconds, beside additions and multiplications.
    Time,
    /// Bytes beyond model and inputs.
    Memory,
}

/// Pairs of a size and an amount.
pub type Line = Vec<(f64, f64)>;

impl Point {
    /// Puts executions together, of which there is at least one.
    pub fn of(value: usize, ready: &Ready, executions: &[Execution]) -> Self {
        let times: Vec<f64> = executions.iter().map(|execution| execution.seconds).collect();
        let beyond = executions.iter().map(|execution| Some(execution.peak_bytes? - execution.base_bytes?));
        let beyond: Option<Vec<f64>> = beyond.collect();
        Self {
            value,
            seconds: median(&times),
            beyond_bytes: beyond.map(|beyond| median(&beyond)),
            operations: ready.floating_point_operations,
            expected_bytes: ready.expected_bytes,
        }
    }

    fn measured(&self, measure: Measure) -> Option<f64> {
        let amount = match measure {
            Measure::Time => Some(self.seconds),
            Measure::Memory => self.beyond_bytes,
        };
        // A logarithm has no place for nothing.
        amount.filter(|&amount| amount > 0.0)
    }

    fn counted(&self, measure: Measure) -> f64 {
        match measure {
            Measure::Time => self.operations,
            Measure::Memory => self.expected_bytes,
        }
    }
}

impl Curve {
    /// What was measured.
    pub fn measured(&self, measure: Measure) -> Line {
        let of_point = |point: &Point| Some((point.value as f64, point.measured(measure)?));
        self.points.iter().filter_map(of_point).collect()
    }

    /// What was counted where something was measured, brought to the height of the upper half of the measured line.
    pub fn expected(&self, measure: Measure) -> Line {
        let measurable = self.points.iter().filter(|point| point.measured(measure).is_some());
        let counted: Line = measurable.map(|point| (point.value as f64, point.counted(measure))).collect();
        let height = |line: &[(f64, f64)]| mean(upper_half(line).iter().map(|(_, amount)| amount.ln()));
        let factor = (height(&self.measured(measure)) - height(&counted)).exp();
        counted.into_iter().map(|(value, amount)| (value, amount * factor)).collect()
    }

    /// The slopes of the measured and of the expected line, if two sizes or more were measured.
    pub fn slopes(&self, measure: Measure) -> Option<[f64; 2]> {
        Some([slope(&self.measured(measure))?, slope(&self.expected(measure))?])
    }
}

/// The points that a slope is taken from: small sizes are ruled by what does not grow.
fn upper_half<T>(line: &[T]) -> &[T] {
    &line[line.len().saturating_sub(1) / 2..]
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = values.len() as f64;
    values.sum::<f64>() / n
}

/// The slope of the line of least squares through the upper half, both scales logarithmic.
fn slope(line: &[(f64, f64)]) -> Option<f64> {
    let logarithms: Line = upper_half(line).iter().map(|(value, amount)| (value.ln(), amount.ln())).collect();
    if logarithms.len() < 2 {
        return None;
    }
    let middle = |of: fn(&(f64, f64)) -> f64| mean(logarithms.iter().map(of));
    let (x, y) = (middle(|point| point.0), middle(|point| point.1));
    let covariance: f64 = logarithms.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    let variance: f64 = logarithms.iter().map(|point| (point.0 - x).powi(2)).sum();
    Some(covariance / variance)
}

/// Every point as a line of a Markdown table.
pub fn points_table(curves: &[Curve]) -> String {
    let mut lines =
        vec!["| axis | size | time | memory beyond its inputs |".to_owned(), "|---|---|---|---|".into()];
    for Curve { axis, points } in curves {
        for point in points {
            let memory = point.beyond_bytes.map_or("–".into(), bytes);
            let time = seconds(point.seconds);
            lines.push(format!("| {} | {} {} | {time} | {memory} |", axis.name, point.value, axis.unit));
        }
    }
    lines.join("\n")
}

/// Every axis as a line of a Markdown table: from where to where, and how steep.
pub fn slopes_table(curves: &[Curve]) -> String {
    let mut lines = vec![
        "| what grows | from, to | time | slope | expected | memory | slope | expected |".to_owned(),
        "|---|---|---|---|---|---|---|---|".into(),
    ];
    for curve in curves {
        let ends = |measure, text: fn(f64) -> String| {
            let line = curve.measured(measure);
            let end = |point: Option<&(f64, f64)>| point.map_or("–".into(), |&(_, amount)| text(amount));
            format!("{} to {}", end(line.first()), end(line.last()))
        };
        let steep = |measure| match curve.slopes(measure) {
            Some([measured, expected]) => format!("{} | {}", two_decimals(measured), two_decimals(expected)),
            None => "– | –".into(),
        };
        let Axis { title, unit, values, .. } = curve.axis;
        let (time, memory) = (ends(Measure::Time, seconds), ends(Measure::Memory, bytes));
        let [time_slopes, memory_slopes] = [steep(Measure::Time), steep(Measure::Memory)];
        let (first, last) = (values[0], values[values.len() - 1]);
        lines.push(format!(
            "| {title} | {first} to {last} {unit} | {time} | {time_slopes} | {memory} | {memory_slopes} |"
        ));
    }
    lines.join("\n")
}

/// A slope for a reader.
pub fn two_decimals(slope: f64) -> String {
    // Without the sign of a zero.
    format!("{:.2}", (slope * 100.0).round() / 100.0 + 0.0)
}

/// Everything that was measured and counted.
pub fn to_json(model: &str, curves: &[Curve]) -> Value {
    let point = |point: &Point| {
        json!({
            "size": point.value,
            "seconds": point.seconds,
            "beyond_bytes": point.beyond_bytes,
            "operations": point.operations,
            "expected_bytes": point.expected_bytes,
        })
    };
    let slopes = |curve: &Curve, measure| {
        curve
            .slopes(measure)
            .map(|[measured, expected]| json!({ "measured": measured, "expected": expected }))
    };
    let of_curve = |curve: &Curve| {
        json!({
            "axis": curve.axis.name,
            "model": model,
            "dimension": curve.axis.dimension,
            "fixed": curve.axis.fixed,
            "time_slope": slopes(curve, Measure::Time),
            "memory_slope": slopes(curve, Measure::Memory),
            "points": curve.points.iter().map(point).collect::<Vec<_>>(),
        })
    };
    curves.iter().map(of_curve).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::axes::AXES;
    use super::*;

    /// Time that is linear beyond 100, square roots of memory, and counts that are linear and constant.
    pub fn curve() -> Curve {
        let point = |value: usize| Point {
            value,
            seconds: 0.01 * value.max(100) as f64,
            beyond_bytes: Some(1e6 * (value as f64).sqrt()),
            operations: 7.0 * value as f64,
            expected_bytes: 5.0,
        };
        Curve { axis: &AXES[1], points: [32, 64, 128, 256, 512, 1024, 2048].map(point).into() }
    }

    #[test]
    fn slopes_are_those_of_the_upper_half() {
        let [time, counted] = curve().slopes(Measure::Time).unwrap();
        assert!((time - 1.0).abs() < 1e-12 && (counted - 1.0).abs() < 1e-12, "{time} {counted}");
        let [memory, counted] = curve().slopes(Measure::Memory).unwrap();
        assert!((memory - 0.5).abs() < 1e-12 && counted.abs() < 1e-12, "{memory} {counted}");
        assert_eq!([0, 1, 2, 5, 6, 7].map(|n| upper_half(&vec![0; n]).len()), [0, 1, 2, 3, 4, 4]);
        assert_eq!(slope(&[(1.0, 2.0)]), None);
        // y = x², through points that are not on it by ±ln 2 in turns of equal weight.
        let bent = [(1.0, 2.0), (2.0, 2.0), (4.0, 32.0), (1.0, 0.5), (2.0, 8.0), (4.0, 8.0)];
        let whole: Line = [(0.5, 1.0); 5].into_iter().chain(bent).collect();
        assert!((slope(&whole).unwrap() - 2.0).abs() < 1e-12);
    }

    #[test]
    fn what_is_expected_stands_at_the_height_of_what_is_measured() {
        let expected = curve().expected(Measure::Time);
        assert!(expected.iter().all(|&(value, amount)| (amount - 0.01 * value).abs() < 1e-9), "{expected:?}");
    }

    #[test]
    fn the_median_counts_and_what_is_not_known_is_left_out() {
        let ready = Ready { floating_point_operations: 3.0, expected_bytes: 4.0, ..Ready::default() };
        let execution = |seconds, base_bytes| Execution { seconds, base_bytes, peak_bytes: Some(9.0) };
        let point = Point::of(2, &ready, &[execution(1.0, Some(1.0)), execution(5.0, Some(4.0))]);
        assert_eq!((point.seconds, point.beyond_bytes), (3.0, Some(6.5)));
        let unknown = Point::of(2, &ready, &[execution(1.0, None)]);
        assert_eq!((unknown.beyond_bytes, unknown.operations, unknown.expected_bytes), (None, 3.0, 4.0));
        let curve = Curve { axis: &AXES[0], points: vec![unknown] };
        assert_eq!((curve.slopes(Measure::Memory), curve.expected(Measure::Memory)), (None, vec![]));
        assert!(points_table(&[curve]).ends_with("| train-batch | 2 sequences | 1.00 s | – |"));
    }

    #[test]
    fn a_curve_is_a_line_of_the_table() {
        let table = slopes_table(&[curve()]);
        assert_eq!(
            table.lines().last().unwrap(),
            "| training step, 4 sequences | 32 to 2048 tokens each | 1.00 s to 20.48 s | 1.00 | 1.00 \
             | 5.7 MB to 45 MB | 0.50 | 0.00 |"
        );
        assert_eq!([-0.001, 0.999].map(two_decimals), ["0.00", "1.00"]);
    }
}
