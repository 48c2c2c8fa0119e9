//! Lines and points over two numeric axes.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::canvas::{
    self, LegendEntry, MUTED, Symbol, TICK_SIZE, can_be_drawn, draw_legend, draw_svg, drawn, legend_height,
    padded_range, text_width,
};

const SIZE: (i32, i32) = (760, 460);

/// Up to this many points, each is marked on its line.
const MOST_MARKED_POINTS: usize = 40;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeriesStyle {
    /// A line through the points, which are marked when they are few.
    #[default]
    Line,
    /// A grey dashed line, for what the others are compared with.
    Dashed,
    /// Points only.
    Points,
}

/// One series of a [`LineChart`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Its points (x, y), in the order in which the line visits them.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub style: SeriesStyle,
}

/// A vertical line with a few words, where something happened.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VerticalMark {
    /// Where it stands.
    pub x: f64,
    /// What happened there.
    pub label: String,
}

/// What [`line_chart`] draws.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LineChart {
    /// The heading.
    pub title: String,
    /// What the horizontal axis measures.
    pub x_label: String,
    /// What the vertical axis measures.
    pub y_label: String,
    /// The series, in the order of the legend.
    pub series: Vec<Series>,
    /// Vertical lines.
    pub marks: Vec<VerticalMark>,
    /// What the horizontal axis covers at least; it grows with the data.
    pub x_range: Option<(f64, f64)>,
    /// What the vertical axis covers at least; it grows with the data.
    pub y_range: Option<(f64, f64)>,
}

/// Draws lines and points, with the legend above the plot.
///
/// ```
/// use moslim_eval::chart::{LineChart, Series, line_chart};
///
/// let svg = line_chart(&LineChart {
///     title: "Reward".into(),
///     x_label: "step".into(),
///     y_label: "mean score".into(),
///     series: vec![Series { name: "gold".into(), points: vec![(0.0, 0.1), (1.0, 0.4)], ..Series::default() }],
///     ..LineChart::default()
/// });
/// assert!(svg.starts_with("<svg") && svg.contains("mean score"));
/// ```
pub fn line_chart(chart: &LineChart) -> String {
    draw_svg(SIZE, &chart.title, |area| {
        let styles = series_styles(&chart.series);
        let legend: Vec<LegendEntry> = (chart.series.iter().zip(&styles))
            .map(|(series, &(color, symbol))| LegendEntry { name: &series.name, color, symbol })
            .collect();
        let (legend_area, plot_area) = area.split_vertically(legend_height(&legend, SIZE.0));
        draw_legend(&legend_area, &legend);

        let points = || chart.series.iter().flat_map(|series| &series.points).filter(|point| is_drawn(point));
        let marks = || chart.marks.iter().filter(|mark| can_be_drawn(mark.x));
        let x_range = padded_range(points().map(|p| p.0).chain(marks().map(|mark| mark.x)), chart.x_range);
        let y_range = padded_range(points().map(|p| p.1), chart.y_range);
        let mut plot =
            canvas::plot(&plot_area, (x_range, y_range.clone()), (&chart.x_label, &chart.y_label), true);

        for (series, (color, _)) in chart.series.iter().zip(styles) {
            let points: Vec<(f64, f64)> = series.points.iter().copied().filter(is_drawn).collect();
            let line = color.stroke_width(2);
            if series.style == SeriesStyle::Dashed {
                drawn(plot.draw_series(DashedLineSeries::new(points, 6, 4, line)));
                continue;
            }
            if series.style == SeriesStyle::Points || points.len() <= MOST_MARKED_POINTS {
                let dots = points.iter().map(|&point| Circle::new(point, 4, color.filled()));
                drawn(plot.draw_series(dots));
            }
            if series.style == SeriesStyle::Line {
                drawn(plot.draw_series(LineSeries::new(points, line)));
            }
        }
        for mark in marks() {
            let ends = [(mark.x, y_range.start), (mark.x, y_range.end)];
            drawn(plot.draw_series(DashedLineSeries::new(ends, 3, 3, MUTED.stroke_width(1))));
            let (x, y) = plot.backend_coord(&ends[1]);
            let (left, top) = plot_area.get_base_pixel();
            let fits_on_the_right = x + 6 + text_width(&mark.label, TICK_SIZE) < SIZE.0;
            let (x, align) = if fits_on_the_right { (x + 6, HPos::Left) } else { (x - 6, HPos::Right) };
            canvas::text(&plot_area, &mark.label, (x - left, y - top + 8), TICK_SIZE, MUTED, align);
        }
    })
}

fn is_drawn(point: &(f64, f64)) -> bool {
    can_be_drawn(point.0) && can_be_drawn(point.1)
}

/// Dashed series are grey and take no colour from the others.
fn series_styles(series: &[Series]) -> Vec<(RGBColor, Symbol)> {
    let mut n_coloured = 0;
    series
        .iter()
        .map(|series| {
            let symbol = match series.style {
                SeriesStyle::Dashed => return (MUTED, Symbol::Dashes),
                SeriesStyle::Line => Symbol::Line,
                SeriesStyle::Points => Symbol::Dot,
            };
            n_coloured += 1;
            (canvas::color(n_coloured - 1), symbol)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chart(points: Vec<(f64, f64)>) -> LineChart {
        LineChart {
            title: "title".into(),
            series: vec![Series { name: "a < b & c".into(), points, ..Series::default() }],
            ..LineChart::default()
        }
    }

    #[test]
    fn a_line_goes_from_corner_to_corner() {
        let svg = line_chart(&LineChart {
            x_range: Some((0.0, 1.0)),
            y_range: Some((0.0, 1.0)),
            ..chart(vec![(0.0, 0.0), (1.0, 1.0)])
        });
        // The legend's line comes first.
        let line =
            svg.lines().filter(|line| line.contains("polyline") && line.contains("#0072B2")).nth(1).unwrap();
        let coordinates: Vec<i32> = (line.split("points=\"").nth(1).unwrap().split('"').next().unwrap())
            .split([' ', ','])
            .filter_map(|number| number.parse().ok())
            .collect();
        let [x0, y0, x1, y1] = coordinates[..] else { panic!("two points in {line}") };
        assert!(x0 < 110 && x1 > 700 && y0 > 350 && y1 < 120, "{coordinates:?}");
    }

    #[test]
    fn names_are_escaped() {
        assert!(line_chart(&chart(vec![(0.0, 0.0)])).contains("a &lt; b &amp; c"));
    }

    #[test]
    fn empty_single_constant_and_undefined_data_are_drawn() {
        for points in [
            vec![],
            vec![(1.0, 2.0)],
            vec![(0.0, 5.0), (1.0, 5.0)],
            vec![(f64::NAN, 1.0), (0.0, f64::INFINITY)],
        ] {
            let svg = line_chart(&chart(points));
            assert!(svg.trim_end().ends_with("</svg>") && !svg.contains("NaN"));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_points_can_be_drawn(points in prop::collection::vec((any::<f64>(), any::<f64>()), 0..20)) {
            let mut chart = chart(points);
            chart.marks = vec![VerticalMark { x: chart.series[0].points.first().map_or(0.0, |p| p.0), label: "\0".into() }];
            for style in [SeriesStyle::Line, SeriesStyle::Dashed, SeriesStyle::Points] {
                chart.series[0].style = style;
                prop_assert!(line_chart(&chart).trim_end().ends_with("</svg>"));
            }
        }
    }
}
