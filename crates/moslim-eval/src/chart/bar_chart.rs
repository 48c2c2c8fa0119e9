//! Groups of bars, with intervals and something to compare them with.

use plotters::prelude::*;
use plotters::style::text_anchor::HPos;

use super::canvas::{
    self, INK, LegendEntry, MUTED, Symbol, TICK_SIZE, can_be_drawn, color, draw_legend, draw_svg, drawn,
    legend_height, padded_range, short_number, text, text_width,
};
use crate::stats::Interval;

const HEIGHT: i32 = 460;
const LEAST_WIDTH: i32 = 760;
const AXES_WIDTH: i32 = 104;
const LEAST_BAR_WIDTH: i32 = 44;
const LARGEST_BAR_WIDTH: i32 = 90;
/// The share of a group's width that its bars take at most.
const LARGEST_FILL: f64 = 0.76;

/// One bar.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bar {
    /// Its height; a non-finite value draws no bar.
    pub value: f64,
    /// Its uncertainty, drawn as a whisker.
    pub interval: Option<Interval>,
}

/// The bars of one colour, one in every group.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BarSeries {
    /// Its name in the legend.
    pub name: String,
    /// One bar per group.
    pub bars: Vec<Bar>,
}

/// A dashed line across every group, such as the accuracy of always guessing the most frequent label.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reference {
    /// Its name in the legend.
    pub name: String,
    /// One height per group.
    pub values: Vec<f64>,
}

/// What [`bar_chart`] draws.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BarChart {
    /// The heading.
    pub title: String,
    /// What the vertical axis measures.
    pub y_label: String,
    /// The names of the groups, from the left.
    pub groups: Vec<String>,
    /// The series, in the order of the bars of a group.
    pub series: Vec<BarSeries>,
    /// What to compare the bars with.
    pub reference: Option<Reference>,
    /// What the vertical axis covers at least, beside 0; it grows with the data.
    pub y_range: Option<(f64, f64)>,
}

/// Draws bars from 0, their values above them and the legend above the plot; many groups make a wider chart.
///
/// ```
/// use moslim_eval::chart::{Bar, BarChart, BarSeries, bar_chart};
///
/// let svg = bar_chart(&BarChart {
///     groups: vec!["helpfulness".into()],
///     series: vec![BarSeries { name: "accuracy".into(), bars: vec![Bar { value: 0.875, interval: None }] }],
///     ..BarChart::default()
/// });
/// assert!(svg.contains("helpfulness") && svg.contains("0.875"));
/// ```
pub fn bar_chart(chart: &BarChart) -> String {
    let n_series = chart.series.len().max(1);
    let bars_width = (f64::from(LEAST_BAR_WIDTH) * n_series as f64 / LARGEST_FILL) as i32;
    let names = chart.groups.iter().map(|name| text_width(name, TICK_SIZE) + 12);
    let group_width = names.max().unwrap_or(0).max(bars_width);
    let n_groups = chart.groups.len().max(1);
    let width = LEAST_WIDTH.max(AXES_WIDTH + group_width * n_groups as i32);

    draw_svg((width, HEIGHT), &chart.title, |area| {
        let series = (chart.series.iter().enumerate()).map(|(index, series)| LegendEntry {
            name: &series.name,
            color: color(index),
            symbol: Symbol::Box,
        });
        let reference = (chart.reference.iter()).map(|reference| LegendEntry {
            name: &reference.name,
            color: INK,
            symbol: Symbol::Dashes,
        });
        let legend: Vec<LegendEntry> = series.chain(reference).collect();
        let (legend_area, plot_area) = area.split_vertically(legend_height(&legend, width));
        draw_legend(&legend_area, &legend);

        let y_range = value_range(chart);
        let mut plot =
            canvas::plot(&plot_area, (0.0..n_groups as f64, y_range.clone()), ("", &chart.y_label), false);
        // Bars are measured in groups.
        let group_pixels = f64::from(width - AXES_WIDTH) / n_groups as f64;
        let bar_width = f64::min(LARGEST_FILL / n_series as f64, f64::from(LARGEST_BAR_WIDTH) / group_pixels);
        let (left, top) = plot_area.get_base_pixel();
        for (group, name) in chart.groups.iter().enumerate() {
            let start = group as f64 + (1.0 - n_series as f64 * bar_width) / 2.0;
            for (index, series) in chart.series.iter().enumerate() {
                let Some(bar) = series.bars.get(group).filter(|bar| can_be_drawn(bar.value)) else {
                    continue;
                };
                let x = (start + index as f64 * bar_width, start + (index as f64 + 0.94) * bar_width);
                let corners = [(x.0, 0.0), (x.1, bar.value)];
                drawn(plot.draw_series([Rectangle::new(corners, color(index).filled())]));
                let middle = (x.0 + x.1) / 2.0;
                let interval = bar.interval.filter(|ends| can_be_drawn(ends.low) && can_be_drawn(ends.high));
                if let Some(Interval { low, high }) = interval {
                    let cap = |y| [(middle - 0.12 * bar_width, y), (middle + 0.12 * bar_width, y)];
                    let strokes = [[(middle, low), (middle, high)], cap(low), cap(high)];
                    drawn(plot.draw_series(strokes.map(|ends| PathElement::new(ends, INK.stroke_width(1)))));
                }
                let above = interval.map_or(bar.value, |ends| ends.high).max(bar.value).max(0.0);
                let (x, y) = plot.backend_coord(&(middle, above));
                let words = short_number(bar.value);
                text(&plot_area, &words, (x - left, y - top - 10), TICK_SIZE, INK, HPos::Center);
            }
            let reference = chart.reference.as_ref().and_then(|reference| reference.values.get(group));
            if let Some(&height) = reference.filter(|height| can_be_drawn(**height)) {
                let ends = [(group as f64 + 0.04, height), (group as f64 + 0.96, height)];
                drawn(plot.draw_series(DashedLineSeries::new(ends, 6, 4, INK.stroke_width(2))));
            }
            let (x, y) = plot.backend_coord(&(group as f64 + 0.5, y_range.start));
            text(&plot_area, name, (x - left, y - top + 18), TICK_SIZE, INK, HPos::Center);
        }
        let zero = [(0.0, 0.0), (n_groups as f64, 0.0)];
        drawn(plot.draw_series(LineSeries::new(zero, MUTED.stroke_width(1))));
    })
}

/// 0, every bar, whisker and reference, with room for a number above the highest.
fn value_range(chart: &BarChart) -> std::ops::Range<f64> {
    let bars = chart.series.iter().flat_map(|series| &series.bars);
    let tops = bars.flat_map(|bar| {
        let ends = bar.interval.map_or([bar.value; 2], <[f64; 2]>::from);
        [bar.value, ends[0], ends[1]]
    });
    let references = chart.reference.iter().flat_map(|reference| reference.values.iter().copied());
    let (low, high) = chart.y_range.unwrap_or((0.0, 0.0));
    let range = padded_range(tops.chain(references), Some((low.min(0.0), high.max(0.0))));
    range.start..range.end + 0.06 * (range.end - range.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[f64]) -> BarChart {
        let bars = values.iter().map(|&value| Bar { value, interval: None }).collect();
        BarChart {
            groups: values.iter().map(|value| format!("group {value}")).collect(),
            series: vec![BarSeries { name: "series".into(), bars }],
            ..BarChart::default()
        }
    }

    /// The heights of the rectangles in a series' colour, without the legend's box.
    fn heights(svg: &str, fill: &str) -> Vec<i32> {
        let attribute = |line: &str, name: &str| -> Option<i32> {
            line.split(&format!(" {name}=\"")).nth(1)?.split('"').next()?.parse().ok()
        };
        svg.lines()
            .filter(|line| line.starts_with("<rect") && line.contains(fill))
            .filter_map(|line| attribute(line, "height"))
            .skip(1)
            .collect()
    }

    #[test]
    fn bars_are_as_high_as_their_values() {
        let svg = bar_chart(&chart(&[0.25, 0.5, f64::NAN]));
        let heights = heights(&svg, "#0072B2");
        assert_eq!(heights.len(), 2, "no bar for what is not a number");
        assert!((heights[1] - 2 * heights[0]).abs() <= 2 && heights[0] > 50, "{heights:?}");
    }

    #[test]
    fn whiskers_and_references_widen_the_axis() {
        let mut chart = chart(&[0.5]);
        chart.series[0].bars[0].interval = Some(Interval { low: 0.3, high: 0.9 });
        assert!(value_range(&chart).end > 0.9);
        chart.reference = Some(Reference { name: "majority".into(), values: vec![2.0] });
        assert!(value_range(&chart).end > 2.0 && value_range(&chart).start == 0.0);
        assert!(bar_chart(&chart).contains("majority"));
    }

    #[test]
    fn long_names_make_a_wider_chart() {
        let mut wide = chart(&[1.0; 12]);
        wide.groups = vec!["a name of thirty letters or so".into(); 12];
        let width: i32 = bar_chart(&wide)[12..].split('"').next().unwrap().parse().unwrap();
        assert!(width > 12 * 200, "{width}");
    }

    #[test]
    fn odd_data_are_drawn() {
        for odd in [
            chart(&[]),
            chart(&[0.0]),
            chart(&[-3.0, 2.0]),
            chart(&[1e308, f64::INFINITY]),
            BarChart::default(),
        ] {
            assert!(bar_chart(&odd).trim_end().ends_with("</svg>"));
        }
        let mut without_bars = chart(&[1.0]);
        without_bars.series[0].bars.clear();
        assert!(!bar_chart(&without_bars).contains("NaN"));
    }
}
