//! What the charts have in common: fonts, colours, the frame, axis ranges and tick labels.

use std::ops::Range;

use plotters::coord::{Shift, types::RangedCoordf64};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Plot<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<RangedCoordf64, RangedCoordf64>>;

pub(super) const INK: RGBColor = RGBColor(0x22, 0x28, 0x30);
pub(super) const MUTED: RGBColor = RGBColor(0x6B, 0x72, 0x80);
const GRID: RGBColor = RGBColor(0xE5, 0xE7, 0xEB);

/// Okabe and Ito's colours, without the yellow that white swallows.
const PALETTE: [RGBColor; 7] = [
    RGBColor(0x00, 0x72, 0xB2),
    RGBColor(0xE6, 0x9F, 0x00),
    RGBColor(0x00, 0x9E, 0x73),
    RGBColor(0xCC, 0x79, 0xA7),
    RGBColor(0x56, 0xB4, 0xE9),
    RGBColor(0xD5, 0x5E, 0x00),
    RGBColor(0x00, 0x00, 0x00),
];

pub(super) const TITLE_SIZE: i32 = 22;
pub(super) const LABEL_SIZE: i32 = 17;
pub(super) const TICK_SIZE: i32 = 15;

pub(super) const MARGIN: i32 = 16;
const TITLE_HEIGHT: i32 = 40;
const LEGEND_ROW_HEIGHT: i32 = 22;
const LEGEND_SYMBOL_WIDTH: i32 = 28;
const LEGEND_GAP: i32 = 20;

/// Values beyond this count as infinite, so that a span never overflows.
const LARGEST: f64 = 1e300;

pub(super) fn color(series: usize) -> RGBColor {
    PALETTE[series % PALETTE.len()]
}

/// How a legend shows a series.
#[derive(Clone, Copy)]
pub(super) enum Symbol {
    Line,
    Dashes,
    Dot,
    Box,
    /// A line with a marker on it.
    Marked(Marker),
}

/// A point that shape and size tell from those of other series.
#[derive(Clone, Copy)]
pub(super) struct Marker {
    /// Which of the four shapes; they come again.
    pub(super) shape: usize,
    /// Half its width, in pixels.
    pub(super) size: i32,
    /// The width of its series' line, in pixels.
    pub(super) line_width: u32,
}

/// Draws a marker around a pixel of the area.
pub(super) fn draw_marker(area: &Area, at: (i32, i32), color: RGBColor, marker: Marker) {
    let outline = color.stroke_width(2);
    match marker.shape % 4 {
        0 => drawn(area.draw(&Circle::new(at, marker.size, color.filled()))),
        1 => drawn(area.draw(&TriangleMarker::new(at, marker.size + 2, color.filled()))),
        2 => drawn(area.draw(&Cross::new(at, marker.size, outline))),
        _ => drawn(area.draw(&Circle::new(at, marker.size, outline))),
    }
}

pub(super) struct LegendEntry<'a> {
    pub(super) name: &'a str,
    pub(super) color: RGBColor,
    pub(super) symbol: Symbol,
}

/// Draws on a white canvas under a title and returns the SVG text; `draw` gets the area below the title.
pub(super) fn draw_svg(size: (i32, i32), title: &str, draw: impl FnOnce(&Area)) -> String {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (size.0 as u32, size.1 as u32)).into_drawing_area();
        drawn(root.fill(&WHITE));
        text(&root, title, (MARGIN, MARGIN / 2 + TITLE_HEIGHT / 2), TITLE_SIZE, INK, HPos::Left);
        draw(&root.split_vertically(TITLE_HEIGHT + MARGIN / 2).1);
        drawn(root.present());
    }
    svg
}

/// Drawing into a string has no way to fail.
pub(super) fn drawn<T, E: std::error::Error + Send + Sync>(result: Result<T, DrawingAreaErrorKind<E>>) -> T {
    result.expect("SVG text can always be written")
}

/// One line of text, vertically centred on the point.
pub(super) fn text(area: &Area, words: &str, at: (i32, i32), size: i32, color: RGBColor, align: HPos) {
    let style = ("sans-serif", size).into_font().color(&color).pos(Pos::new(align, VPos::Center));
    drawn(area.draw(&Text::new(printable(words), at, style)));
}

/// One line of text that reads upwards, centred on the point.
pub(super) fn upward_text(area: &Area, words: &str, at: (i32, i32), size: i32) {
    let style = ("sans-serif", size)
        .into_font()
        .transform(FontTransform::Rotate270)
        .color(&INK)
        .pos(Pos::new(HPos::Center, VPos::Center));
    drawn(area.draw(&Text::new(printable(words), at, style)));
}

/// XML has no control characters, not even escaped.
fn printable(words: &str) -> String {
    words.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// A generous estimate: the viewer's font is not known here.
pub(super) fn text_width(words: &str, size: i32) -> i32 {
    (words.chars().count() as f64 * f64::from(size) * 0.5).ceil() as i32
}

/// The height of the rows that [`draw_legend`] needs.
pub(super) fn legend_height(entries: &[LegendEntry], width: i32) -> i32 {
    legend_positions(entries, width).last().map_or(0, |&(_, y)| y + LEGEND_ROW_HEIGHT)
}

/// Draws the legend at the top of the area, in as many rows as it needs.
pub(super) fn draw_legend(area: &Area, entries: &[LegendEntry]) {
    let width = area.dim_in_pixel().0 as i32;
    for (entry, (x, y)) in entries.iter().zip(legend_positions(entries, width)) {
        let middle = y + LEGEND_ROW_HEIGHT / 2 - 2;
        let (left, right) = (x, x + LEGEND_SYMBOL_WIDTH - 8);
        let line = entry.color.stroke_width(2);
        match entry.symbol {
            Symbol::Line => {
                drawn(area.draw(&PathElement::new([(left, middle), (right, middle)], line)));
            }
            Symbol::Dashes => {
                for dash in [left, left + 8, left + 16] {
                    drawn(area.draw(&PathElement::new([(dash, middle), (dash + 5, middle)], line)));
                }
            }
            Symbol::Dot => {
                drawn(area.draw(&Circle::new(((left + right) / 2, middle), 4, entry.color.filled())));
            }
            Symbol::Marked(marker) => {
                let line = entry.color.stroke_width(marker.line_width);
                drawn(area.draw(&PathElement::new([(left, middle), (right, middle)], line)));
                draw_marker(area, ((left + right) / 2, middle), entry.color, marker);
            }
            Symbol::Box => {
                let corners = [(left + 4, middle - 6), (right - 2, middle + 6)];
                drawn(area.draw(&Rectangle::new(corners, entry.color.filled())));
            }
        }
        text(area, entry.name, (x + LEGEND_SYMBOL_WIDTH, middle), TICK_SIZE, INK, HPos::Left);
    }
}

fn legend_positions(entries: &[LegendEntry], width: i32) -> Vec<(i32, i32)> {
    let (mut x, mut y) = (MARGIN, 0);
    entries
        .iter()
        .map(|entry| {
            let needed = LEGEND_SYMBOL_WIDTH + text_width(entry.name, TICK_SIZE);
            if x > MARGIN && x + needed > width - MARGIN {
                (x, y) = (MARGIN, y + LEGEND_ROW_HEIGHT);
            }
            let position = (x, y);
            x += needed + LEGEND_GAP;
            position
        })
        .collect()
}

/// Axes with a grid behind what is to be drawn; `x_ticks` is off where a chart names its groups itself.
pub(super) fn plot<'a, 'b>(
    area: &'a Area<'b>,
    (x_range, y_range): (Range<f64>, Range<f64>),
    (x_label, y_label): (&str, &str),
    x_ticks: bool,
) -> Plot<'a, 'b> {
    let mut plot = drawn(
        ChartBuilder::on(area)
            .margin_right(MARGIN + 8)
            .margin_top(10)
            .margin_bottom(10)
            .margin_left(8)
            .x_label_area_size(50)
            .y_label_area_size(72)
            .build_cartesian_2d(x_range.clone(), y_range.clone()),
    );
    let mut mesh = plot.configure_mesh();
    if !x_ticks {
        mesh.disable_x_mesh().x_labels(0);
    }
    drawn(
        mesh.max_light_lines(0)
            .bold_line_style(GRID)
            .axis_style(MUTED)
            .x_labels(if x_ticks { 8 } else { 0 })
            .y_labels(6)
            .x_label_formatter(&|value| tick_label(*value, &x_range))
            .y_label_formatter(&|value| tick_label(*value, &y_range))
            .label_style(("sans-serif", TICK_SIZE).into_font().color(&INK))
            .axis_desc_style(("sans-serif", LABEL_SIZE).into_font().color(&INK))
            .x_desc(printable(x_label))
            .y_desc(printable(y_label))
            .draw(),
    );
    plot
}

pub(super) fn can_be_drawn(value: f64) -> bool {
    value.abs() < LARGEST
}

/// A range that holds every value that can be drawn, with some air; never empty.
///
/// `least` is a range to cover whatever the data, without air at an end that no value passes.
pub(super) fn padded_range(values: impl Iterator<Item = f64>, least: Option<(f64, f64)>) -> Range<f64> {
    let extent =
        values.filter(|value| can_be_drawn(*value)).fold(None, |extent: Option<(f64, f64)>, value| {
            match extent {
                None => Some((value, value)),
                Some((low, high)) => Some((low.min(value), high.max(value))),
            }
        });
    let least = least.filter(|(low, high)| can_be_drawn(*low) && can_be_drawn(*high));
    let (low, high) = match (extent, least) {
        (None, None) => return 0.0..1.0,
        (None, Some((low, high))) => (low.min(high), low.max(high)),
        (Some((low, high)), None) => (low, high),
        (Some((low, high)), Some((a, b))) => (low.min(a).min(b), high.max(a).max(b)),
    };
    // A span that rounding would swallow has no ticks.
    let smallest_span = f64::max(1e-9, 1e-6 * low.abs().max(high.abs()));
    if high - low < smallest_span {
        let air = f64::max(0.5 * low.abs().max(high.abs()), 1e-3).min(0.5f64.max(smallest_span));
        return low - air..high + air;
    }
    let air = 0.05 * (high - low);
    let is_end = |end: f64| least.is_some_and(|(a, b)| end == a || end == b);
    (if is_end(low) { low } else { low - air })..(if is_end(high) { high } else { high + air })
}

/// As many decimals as the range needs to tell its ticks apart, without trailing zeros.
pub(super) fn tick_label(value: f64, range: &Range<f64>) -> String {
    let span = range.end - range.start;
    // What is left of a sum that should be zero.
    let value = if value.abs() < 1e-9 * span { 0.0 } else { value };
    let largest = range.start.abs().max(range.end.abs());
    if !(1e-3..1e6).contains(&largest) {
        return if value == 0.0 { "0".into() } else { format!("{value:.1e}").replace(".0e", "e") };
    }
    let decimals = (2.0 - span.log10()).ceil().clamp(0.0, 8.0) as usize;
    trimmed(format!("{value:.decimals$}"))
}

/// A number for the reader, to three decimals at most.
pub(super) fn short_number(value: f64) -> String {
    match value.abs() {
        large if large >= 1e6 => format!("{value:.1e}"),
        large if large >= 100.0 => format!("{value:.0}"),
        _ => trimmed(format!("{value:.3}")),
    }
}

fn trimmed(number: String) -> String {
    if !number.contains('.') {
        return number;
    }
    let short = number.trim_end_matches('0').trim_end_matches('.');
    if short == "-0" { "0".into() } else { short.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_have_the_decimals_they_need() {
        assert_eq!(tick_label(0.30000000000000004, &(0.0..1.0)), "0.3");
        assert_eq!(tick_label(2.0, &(0.0..5.0)), "2");
        assert_eq!(tick_label(1500.0, &(0.0..2000.0)), "1500");
        assert_eq!(tick_label(-1e-17, &(-1.0..1.0)), "0");
        assert_eq!(tick_label(2e7, &(0.0..1e8)), "2e7");
        assert_eq!(tick_label(2.5e-5, &(0.0..1e-4)), "2.5e-5");
        assert_eq!(tick_label(100.002, &(100.0..100.01)), "100.002");
    }

    #[test]
    fn ranges_hold_the_data_and_are_never_empty() {
        assert_eq!(padded_range([0.0, 10.0].into_iter(), None), -0.5..10.5);
        assert_eq!(padded_range([f64::NAN, f64::INFINITY].into_iter(), None), 0.0..1.0);
        assert_eq!(padded_range([0.5].into_iter(), Some((0.0, 1.0))), 0.0..1.0);
        assert_eq!(padded_range([2.0].into_iter(), Some((0.0, 1.0))), 0.0..2.1);
        for constant in [0.0, 3.0, -1e9, 1e200, 1e-12] {
            let range = padded_range([constant].into_iter(), None);
            assert!(range.start < constant && constant < range.end, "{constant}: {range:?}");
        }
    }

    #[test]
    fn a_legend_wraps_instead_of_leaving_the_canvas() {
        let names: Vec<String> = (0..6).map(|index| format!("a long series name {index}")).collect();
        let entries: Vec<LegendEntry> =
            (names.iter()).map(|name| LegendEntry { name, color: INK, symbol: Symbol::Line }).collect();
        let positions = legend_positions(&entries, 400);
        assert!(positions.iter().all(|&(x, _)| x + text_width(&names[0], TICK_SIZE) < 400));
        assert!(legend_height(&entries, 400) > legend_height(&entries, 2000));
    }
}
