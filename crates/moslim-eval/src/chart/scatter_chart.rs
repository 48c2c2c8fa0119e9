//! Points with their uncertainty in both directions, such as the fronts of several methods.

use plotters::prelude::*;

use super::canvas::{
    self, Area, LegendEntry, MUTED, Marker, Plot, Symbol, can_be_drawn, draw_legend, draw_marker, draw_svg,
    drawn, legend_height, padded_range,
};
use crate::stats::Interval;

const SIZE: (i32, i32) = (860, 560);
/// Whiskers of many points lie over each other.
const WHISKER_OPACITY: f64 = 0.4;

/// One point of a [`ScatterSeries`].
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScatterPoint {
    /// Where it stands on the horizontal axis.
    pub x: f64,
    /// Where it stands on the vertical axis.
    pub y: f64,
    /// The uncertainty of x, drawn as a whisker.
    pub x_interval: Option<Interval>,
    /// The uncertainty of y, drawn as a whisker.
    pub y_interval: Option<Interval>,
}

/// How much a series stands out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Emphasis {
    /// Grey and below the others, for what they are compared with; it takes no colour from them.
    Muted,
    /// Like most.
    #[default]
    Plain,
    /// Larger points and a thicker line, above the others.
    Strong,
}

/// The points of one colour and shape.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScatterSeries {
    /// Its name in the legend.
    pub name: String,
    /// Its points.
    pub points: Vec<ScatterPoint>,
    /// A line (x, y) in its colour, such as the one through the points of its front.
    pub line: Vec<(f64, f64)>,
    /// How much it stands out.
    pub emphasis: Emphasis,
}

/// What [`scatter_chart`] draws.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ScatterChart {
    /// The heading.
    pub title: String,
    /// What the horizontal axis measures.
    pub x_label: String,
    /// What the vertical axis measures.
    pub y_label: String,
    /// The series, in the order of the legend.
    pub series: Vec<ScatterSeries>,
    /// What the horizontal axis covers at least; it grows with the data.
    pub x_range: Option<(f64, f64)>,
    /// What the vertical axis covers at least; it grows with the data.
    pub y_range: Option<(f64, f64)>,
}

/// Draws points with whiskers and the lines of their series; shapes tell series apart where colours come again.
///
/// ```
/// use moslim_eval::chart::{ScatterChart, ScatterPoint, ScatterSeries, scatter_chart};
///
/// let point = |x, y| ScatterPoint { x, y, ..ScatterPoint::default() };
/// let svg = scatter_chart(&ScatterChart {
///     x_label: "helpfulness".into(),
///     y_label: "honesty".into(),
///     series: vec![ScatterSeries {
///         name: "one policy".into(),
///         points: vec![point(0.2, 0.8), point(0.7, 0.4), point(0.1, 0.1)],
///         line: vec![(0.2, 0.8), (0.7, 0.4)],
///         ..ScatterSeries::default()
///     }],
///     ..ScatterChart::default()
/// });
/// assert!(svg.starts_with("<svg") && svg.contains("one policy"));
/// ```
pub fn scatter_chart(chart: &ScatterChart) -> String {
    draw_svg(SIZE, &chart.title, |area| {
        let looks = looks(&chart.series);
        let legend: Vec<LegendEntry> = (chart.series.iter().zip(&looks))
            .map(|(series, &(color, marker))| LegendEntry {
                name: &series.name,
                color,
                symbol: Symbol::Marked(marker),
            })
            .collect();
        let (legend_area, plot_area) = area.split_vertically(legend_height(&legend, SIZE.0));
        draw_legend(&legend_area, &legend);

        let points = || chart.series.iter().flat_map(|series| &series.points).filter(|point| is_drawn(point));
        let lines = || chart.series.iter().flat_map(|series| &series.line).filter(|end| can_be_placed(end));
        let x_values = points().flat_map(|p| with_ends(p.x, p.x_interval)).chain(lines().map(|end| end.0));
        let y_values = points().flat_map(|p| with_ends(p.y, p.y_interval)).chain(lines().map(|end| end.1));
        let ranges = (padded_range(x_values, chart.x_range), padded_range(y_values, chart.y_range));
        let mut plot = canvas::plot(&plot_area, ranges, (&chart.x_label, &chart.y_label), true);

        // What stands out is drawn last, above the others.
        let mut order: Vec<(&ScatterSeries, (RGBColor, Marker))> = chart.series.iter().zip(looks).collect();
        order.sort_by_key(|(series, _)| series.emphasis);
        for (series, (color, marker)) in order {
            draw_series(&plot_area, &mut plot, series, color, marker);
        }
    })
}

fn draw_series(area: &Area, plot: &mut Plot, series: &ScatterSeries, color: RGBColor, marker: Marker) {
    let line: Vec<(f64, f64)> = series.line.iter().copied().filter(can_be_placed).collect();
    drawn(plot.draw_series(LineSeries::new(line, color.stroke_width(marker.line_width))));
    let (left, top) = area.get_base_pixel();
    for point in series.points.iter().filter(|point| is_drawn(point)) {
        let ends = [
            drawable(point.x_interval).map(|ends| [(ends.low, point.y), (ends.high, point.y)]),
            drawable(point.y_interval).map(|ends| [(point.x, ends.low), (point.x, ends.high)]),
        ];
        let whisker = color.mix(WHISKER_OPACITY).stroke_width(1);
        drawn(plot.draw_series(ends.into_iter().flatten().map(|ends| PathElement::new(ends, whisker))));
        let (x, y) = plot.backend_coord(&(point.x, point.y));
        draw_marker(area, (x - left, y - top), color, marker);
    }
}

/// Colours come again after seven series and shapes after four, so that 28 series differ.
fn looks(series: &[ScatterSeries]) -> Vec<(RGBColor, Marker)> {
    let mut n_coloured = 0;
    (series.iter())
        .map(|series| {
            let (size, line_width) = if series.emphasis == Emphasis::Strong { (6, 3) } else { (4, 1) };
            if series.emphasis == Emphasis::Muted {
                return (MUTED, Marker { shape: 0, size, line_width });
            }
            n_coloured += 1;
            (canvas::color(n_coloured - 1), Marker { shape: n_coloured - 1, size, line_width })
        })
        .collect()
}

fn is_drawn(point: &ScatterPoint) -> bool {
    can_be_placed(&(point.x, point.y))
}

fn can_be_placed(point: &(f64, f64)) -> bool {
    can_be_drawn(point.0) && can_be_drawn(point.1)
}

/// An interval with two ends.
fn drawable(interval: Option<Interval>) -> Option<Interval> {
    interval.filter(|ends| can_be_drawn(ends.low) && can_be_drawn(ends.high))
}

/// What an axis must hold of a value.
fn with_ends(value: f64, interval: Option<Interval>) -> [f64; 3] {
    let [low, high] = drawable(interval).map_or([value; 2], <[f64; 2]>::from);
    [value, low, high]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn point(x: f64, y: f64) -> ScatterPoint {
        ScatterPoint { x, y, ..ScatterPoint::default() }
    }

    fn series(name: &str, points: Vec<ScatterPoint>) -> ScatterSeries {
        ScatterSeries { name: name.into(), points, ..ScatterSeries::default() }
    }

    #[test]
    fn series_differ_in_colour_or_shape() {
        let series = vec![ScatterSeries::default(); 28];
        let looks = looks(&series).into_iter().map(|(color, marker)| (color, marker.shape % 4));
        let looks: std::collections::HashSet<_> =
            looks.map(|(RGBColor(r, g, b), shape)| (r, g, b, shape)).collect();
        assert_eq!(looks.len(), 28);
    }

    #[test]
    fn what_is_muted_takes_no_colour() {
        let muted = ScatterSeries { emphasis: Emphasis::Muted, ..ScatterSeries::default() };
        let looks = looks(&[muted, ScatterSeries::default()]);
        assert_eq!([looks[0].0, looks[1].0], [MUTED, canvas::color(0)]);
    }

    #[test]
    fn what_stands_out_is_drawn_last() {
        let strong = ScatterSeries { emphasis: Emphasis::Strong, ..series("strong", vec![point(0.5, 0.5)]) };
        let svg = scatter_chart(&ScatterChart {
            series: vec![strong, series("plain", vec![point(0.5, 0.5)])],
            ..ScatterChart::default()
        });
        let last = svg.lines().rfind(|line| line.starts_with("<circle") || line.starts_with("<polygon"));
        assert!(last.unwrap().contains("#0072B2"), "the first series has the first colour: {last:?}");
    }

    #[test]
    fn axes_hold_the_whiskers() {
        let wide = ScatterPoint { x_interval: Some(Interval { low: 0.0, high: 1e5 }), ..point(1.0, 1.0) };
        let svg = scatter_chart(&ScatterChart {
            series: vec![series("wide", vec![wide])],
            ..ScatterChart::default()
        });
        assert!(svg.contains("100000"));
    }

    #[test]
    fn odd_data_are_drawn() {
        let nan = Interval { low: f64::NAN, high: f64::NAN };
        let odd = ScatterPoint { x_interval: Some(nan), y_interval: Some(nan), ..point(1.0, f64::NAN) };
        for points in [vec![], vec![point(0.0, 0.0)], vec![odd], vec![ScatterPoint { y: 1.0, ..odd }]] {
            let line = vec![(f64::NAN, 0.0), (0.0, f64::INFINITY)];
            let series = vec![ScatterSeries { line, ..series("a < b", points) }];
            let svg = scatter_chart(&ScatterChart { series, ..ScatterChart::default() });
            assert!(svg.trim_end().ends_with("</svg>") && !svg.contains("NaN") && svg.contains("a &lt; b"));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_points_can_be_drawn(
            numbers in prop::collection::vec(prop::array::uniform4(any::<f64>()), 0..20),
        ) {
            let of = |[x, y, low, high]: [f64; 4]| {
                let interval = Some(Interval { low, high });
                ScatterPoint { x, y, x_interval: interval, y_interval: interval }
            };
            let line = numbers.iter().map(|numbers| (numbers[0], numbers[1])).collect();
            let points = numbers.into_iter().map(of).collect();
            let chart = ScatterChart { series: vec![ScatterSeries { line, ..series("any", points) }], ..ScatterChart::default() };
            prop_assert!(scatter_chart(&chart).trim_end().ends_with("</svg>"));
        }
    }
}
