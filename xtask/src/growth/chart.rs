//! The curves as a self-contained SVG text: for every axis its time above its memory, all scales logarithmic.
//!
//! It is written by hand: the charts of `moslim-eval` have linear scales, and bring along what `xtask` must not wait for.

use std::fmt::Write;
use std::ops::Range;

use super::curve::{Curve, Line, Measure, two_decimals};

const INK: &str = "#222830";
const MUTED: &str = "#6B7280";
const GRID: &str = "#E5E7EB";

const COLUMNS: usize = 3;
const HEADING: f64 = 76.0;
const CELL: (f64, f64) = (336.0, 368.0);
/// Of a plot: from the left of its cell, wide, and high.
const PLOT: (f64, f64, f64) = (64.0, 252.0, 112.0);
/// The tops of both plots in their cell.
const TOPS: [f64; 2] = [42.0, 182.0];

/// Draws all curves.
pub fn draw(model: &str, curves: &[Curve]) -> String {
    let columns = COLUMNS.min(curves.len()).max(2);
    let (width, height) =
        (16.0 + columns as f64 * CELL.0, HEADING + curves.len().div_ceil(columns) as f64 * CELL.1);
    let mut svg = format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\" font-family=\"sans-serif\">\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#FFFFFF\"/>\n"
    );
    let title = format!("How time and memory grow: {model}");
    text(&mut svg, &title, (16.0, 30.0), 18.0, INK, "start");
    legend(&mut svg, 16.0, 54.0);
    for (index, curve) in curves.iter().enumerate() {
        let (column, row) = (index % columns, index / columns);
        let corner = (8.0 + column as f64 * CELL.0, HEADING + row as f64 * CELL.1);
        let left = corner.0 + PLOT.0;
        text(&mut svg, curve.axis.title, (left, corner.1 + 12.0), 14.0, INK, "start");
        for (measure, top) in [Measure::Time, Measure::Memory].into_iter().zip(TOPS) {
            panel(&mut svg, curve, measure, (left, corner.1 + top));
        }
        x_labels(&mut svg, curve, (left, corner.1 + TOPS[1] + PLOT.2));
    }
    svg + "</svg>\n"
}

fn color(measure: Measure) -> &'static str {
    match measure {
        Measure::Time => "#0072B2",
        Measure::Memory => "#D55E00",
    }
}

fn name(measure: Measure) -> &'static str {
    match measure {
        Measure::Time => "time",
        Measure::Memory => "memory",
    }
}

fn legend(svg: &mut String, left: f64, y: f64) {
    let mut x = left;
    for (words, color, dashes, width) in [
        ("time", color(Measure::Time), "", 62.0),
        ("memory beyond model and inputs", color(Measure::Memory), "", 260.0),
        ("as steep as additions and multiplications, or bytes, are counted", MUTED, "4 3", 0.0),
    ] {
        line(
            svg,
            [(x, y - 4.0), (x + 22.0, y - 4.0)],
            color,
            if dashes.is_empty() { 2.0 } else { 1.2 },
            dashes,
        );
        text(svg, words, (x + 28.0, y), 13.0, INK, "start");
        x += 28.0 + width - 14.0;
    }
}

/// A plot of a measure, below its slopes.
fn panel(svg: &mut String, curve: &Curve, measure: Measure, (left, top): (f64, f64)) {
    let (measured, expected) = (curve.measured(measure), curve.expected(measure));
    let (_, width, height) = PLOT;
    let x_range = logarithms(curve.points.iter().map(|point| point.value as f64), 0.0);
    let y_range = logarithms(measured.iter().map(|point| point.1), 1.2);
    let x = |value: f64| left + width * share(value, &x_range);
    let y = |amount: f64| top + height * (1.0 - share(amount, &y_range));
    for point in &curve.points {
        let x = x(point.value as f64);
        line(svg, [(x, top), (x, top + height)], GRID, 1.0, "");
    }
    for tick in ticks(&y_range) {
        let y = y(tick);
        line(svg, [(left, y), (left + width, y)], GRID, 1.0, "");
        text(svg, &amount(tick, measure), (left - 8.0, y + 4.0), 12.0, INK, "end");
    }
    let _ = writeln!(
        svg,
        "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width}\" height=\"{height}\" fill=\"none\" stroke=\"{MUTED}\"/>"
    );
    let on_plot = |line: &Line| line.iter().map(|&(value, amount)| (x(value), y(amount))).collect::<Vec<_>>();
    // What is expected may leave the plot where little is measured.
    let inside = expected.iter().filter(|point| (0.0..=1.0).contains(&share(point.1, &y_range)));
    line(svg, on_plot(&inside.copied().collect()), MUTED, 1.2, "4 3");
    let points = on_plot(&measured);
    for (x, y) in &points {
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{}\"/>", color(measure));
    }
    line(svg, points, color(measure), 2.0, "");
    let slopes = curve.slopes(measure).map(|slopes| slopes.map(two_decimals));
    let slopes = slopes.map(|[measured, expected]| format!("slope {measured}, expected {expected}"));
    let words = format!("{}: {}", name(measure), slopes.as_deref().unwrap_or("not measured"));
    text(svg, &words, (left, top - 7.0), 12.0, color(measure), "start");
}

/// The sizes below the plots of an axis, as many as there is room for, and what they count.
fn x_labels(svg: &mut String, curve: &Curve, (left, bottom): (f64, f64)) {
    let range = logarithms(curve.points.iter().map(|point| point.value as f64), 0.0);
    let mut free_from = f64::NEG_INFINITY;
    for point in &curve.points {
        let (words, x) = (size(point.value), left + PLOT.1 * share(point.value as f64, &range));
        let half = 3.6 * words.len() as f64;
        if x - half >= free_from {
            text(svg, &words, (x, bottom + 16.0), 12.0, INK, "middle");
            free_from = x + half + 5.0;
        }
    }
    text(svg, curve.axis.unit, (left + PLOT.1 / 2.0, bottom + 34.0), 13.0, INK, "middle");
}

/// The decimal logarithms that a scale has, a little beyond the amounts and no fewer decades than `least`.
fn logarithms(amounts: impl Iterator<Item = f64>, least: f64) -> Range<f64> {
    let (low, high) = amounts
        .map(f64::log10)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), amount| (low.min(amount), high.max(amount)));
    if low > high {
        return 0.0..1.0;
    }
    let middle = (low + high) / 2.0;
    let half = ((high - low) * 1.12 + 0.01).max(least) / 2.0;
    middle - half..middle + half
}

fn share(amount: f64, range: &Range<f64>) -> f64 {
    (amount.log10() - range.start) / (range.end - range.start)
}

/// Round amounts on a scale: powers of ten, with 2 and 5 between them where there are few.
fn ticks(range: &Range<f64>) -> Vec<f64> {
    let steps: &[f64] = if range.end - range.start < 1.8 { &[1.0, 2.0, 5.0] } else { &[1.0] };
    let decades = range.start.floor() as i32..=range.end.ceil() as i32;
    let all = decades.flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
    all.filter(|tick| range.contains(&tick.log10())).collect()
}

fn amount(value: f64, measure: Measure) -> String {
    let units: [(f64, &str); 3] = match measure {
        Measure::Time => [(1.0, "s"), (1e-3, "ms"), (1e-6, "µs")],
        Measure::Memory => [(1e9, "GB"), (1e6, "MB"), (1e3, "kB")],
    };
    let fits = |(unit, _): &&(f64, &str)| value >= unit * 0.999;
    let (unit, name) = units.iter().find(fits).unwrap_or(&units[2]);
    format!("{} {name}", (value / unit * 1000.0).round() / 1000.0)
}

fn size(value: usize) -> String {
    if value < 10_000 { value.to_string() } else { format!("{:.0}k", value as f64 / 1000.0) }
}

fn line(
    svg: &mut String,
    points: impl IntoIterator<Item = (f64, f64)>,
    color: &str,
    width: f64,
    dashes: &str,
) {
    let points: Vec<String> = points.into_iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let dashes = if dashes.is_empty() { String::new() } else { format!(" stroke-dasharray=\"{dashes}\"") };
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{color}\" stroke-width=\"{width}\"{dashes}/>",
        points.join(" ")
    );
}

fn text(svg: &mut String, words: &str, (x, y): (f64, f64), size: f64, color: &str, anchor: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" fill=\"{color}\" text-anchor=\"{anchor}\">{words}</text>"
    );
}

#[cfg(test)]
mod tests {
    use super::super::axes::AXES;
    use super::super::curve::tests::curve;
    use super::*;

    #[test]
    fn every_axis_has_two_plots_with_their_slopes() {
        let svg = draw("a < b", &[curve(), curve()]);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.contains("grow: a &lt; b"));
        for words in ["slope 1.00, expected 1.00", "slope 0.50, expected 0.00"] {
            assert_eq!(svg.matches(words).count(), 2, "{words}");
        }
        assert_eq!(svg.matches("<circle").count(), 2 * 2 * 7);
    }

    #[test]
    fn without_memory_and_without_points_there_is_still_a_picture() {
        let mut unknown = curve();
        unknown.points.iter_mut().for_each(|point| point.beyond_bytes = None);
        let empty = Curve { axis: &AXES[0], points: vec![] };
        let svg = draw("m", &[unknown, empty]);
        assert_eq!(svg.matches("not measured").count(), 3);
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        assert!(draw("m", &[]).ends_with("</svg>\n"));
    }

    #[test]
    fn ticks_are_round_and_within_the_scale() {
        assert_eq!(ticks(&(0.5..2.0)), [5.0, 10.0, 20.0, 50.0]);
        assert_eq!(ticks(&(-0.5..2.5)), [1.0, 10.0, 100.0]);
        let times = [0.0005, 0.02, 5.0, 200.0].map(|value| amount(value, Measure::Time));
        assert_eq!(times, ["500 µs", "20 ms", "5 s", "200 s"]);
        assert_eq!([2e5, 1e7, 2e9].map(|value| amount(value, Measure::Memory)), ["200 kB", "10 MB", "2 GB"]);
        assert_eq!([64, 2048, 16_384, 151_936].map(size), ["64", "2048", "16k", "152k"]);
    }

    #[test]
    fn a_scale_holds_its_amounts() {
        let range = logarithms([10.0, 1000.0].into_iter(), 0.0);
        assert!(range.start < 1.0 && range.end > 3.0, "{range:?}");
        assert_eq!(logarithms([10.0].into_iter(), 2.0), 0.0..2.0);
        assert_eq!((share(10.0, &(0.0..2.0)), share(1.0, &(0.0..2.0))), (0.5, 0.0));
    }
}
